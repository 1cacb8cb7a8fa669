//! What a provider issued is never dropped, whatever has become of the lease it was asked
//! for under; and what may have been used up is not sent again while its successor may come.

use sea_orm::ConnectionTrait;
use serde_json::{Value, json};
use token_server::foundation::clock::{Clock, Ms, Timeline};
use token_server::foundation::ids::ReplicaId;
use token_server::token::lease::release_all_of;

use super::{Scene, invalid_grant, only_refreshing};
use crate::kit::{Answer, TestDatabase, eventually, on_every_database};

on_every_database! {
    a_pair_whose_lease_was_lost_takes_the_tokens_place,
    a_pair_that_comes_after_a_newer_one_is_tried_when_that_is_refused,
    a_kept_pair_is_tried_however_short_an_attempt_is,
    a_change_of_the_secret_meanwhile_keeps_the_refresh_token_and_not_the_token,
    another_refresh_token_given_meanwhile_outlives_the_one_in_flight,
    a_lost_attempt_is_waited_for_until_the_stored_token_nears_its_expiry,
    a_refresh_token_that_may_be_used_up_is_sent_again_while_the_provider_accepts_it,
    a_refresh_token_that_may_be_used_up_is_not_sent_again_where_it_could_come_too_late,
    a_refresh_token_that_may_be_used_up_twice_is_not_sent_again,
    a_successor_that_dies_makes_nobody_forget_what_is_awaited,
    a_token_stored_after_a_pair_that_was_promoted_meanwhile_is_of_the_next_generation,
    a_refusal_is_void_where_a_newer_token_has_come_meanwhile,
    a_refusal_after_a_lost_attempt_says_that_it_may_have_used_up_the_token,
    candidates_go_with_their_secret_and_with_a_newer_success,
}

async fn scene(database: &TestDatabase) -> Scene {
    begin(database, only_refreshing()).await
}

async fn begin(database: &TestDatabase, config: Value) -> Scene {
    let scene = Scene::set(database, config).await;
    scene.next(Some("second"));
    scene.save(Some("first")).await;
    scene.server.client.generation("r", "k", 1).await;
    scene
}

async fn run(database: &TestDatabase, sql: &str) {
    let connection = database.connect().await;
    let done = connection.execute_unprepared(sql).await;
    done.expect("the statement is good");
}

/// Another replica has taken the lease over, as far as the row says.
const TAKEN_OVER: &str =
    "UPDATE ts_token SET fence = fence + 1, claim_id = 'another', lease_owner = 'another'";
/// And has stored another pair.
const OVERTAKEN: &str = "UPDATE ts_token SET fence = fence + 1, claim_id = 'another', \
                         lease_owner = 'another', generation = generation + 1";
const CANDIDATES: &str = "SELECT COUNT(*) FROM ts_candidate";

impl Scene {
    /// Renewal has asked the provider, which has not answered yet.
    async fn in_flight(&self, requests: usize) {
        self.provider.hold();
        self.clock.advance(Ms::from_secs(3100));
        self.provider.wait_for_requests(requests).await;
    }

    async fn served(&self) -> String {
        let token = self.server.client.token("r", "k").await.expect(200).json();
        token["token"].as_str().expect("a text").to_owned()
    }
}

async fn a_pair_whose_lease_was_lost_takes_the_tokens_place(database: TestDatabase) {
    let scene = scene(&database).await;
    scene.next(Some("third"));
    scene.in_flight(2).await;
    run(&database, TAKEN_OVER).await;
    scene.provider.release();
    scene.server.client.generation("r", "k", 2).await;
    assert_eq!(scene.served().await, "token-2");
    assert_eq!(database.number(CANDIDATES).await, 0);
    run(
        &database,
        "UPDATE ts_token SET claim_id = NULL, lease_owner = NULL, lease_until = NULL",
    )
    .await;
    scene.next(Some("fourth"));
    scene.renewed(3).await;
    assert_eq!(scene.sent_refresh_token(2).as_deref(), Some("third"));
}

/// A pair, "third", is kept beside the stored one, because another replica was faster.
async fn keep_one_beside(database: &TestDatabase, scene: &Scene) {
    scene.next(Some("third"));
    scene.in_flight(2).await;
    // Whoever took over has stored another pair.
    run(database, OVERTAKEN).await;
    scene.provider.release();
    eventually("the pair is kept", async || {
        (database.number(CANDIDATES).await == 1).then_some(())
    })
    .await;
    run(
        database,
        "UPDATE ts_token SET claim_id = NULL, lease_owner = NULL, lease_until = NULL",
    )
    .await;
    scene.provider.answer_next(invalid_grant());
    let answer = json!({"access_token": "again", "expires_in": 3600, "refresh_token": "fourth"});
    let answer = Answer::status(200).with_json(&answer);
    scene.provider.answer_next(answer);
}

async fn a_pair_that_comes_after_a_newer_one_is_tried_when_that_is_refused(database: TestDatabase) {
    let scene = scene(&database).await;
    keep_one_beside(&database, &scene).await;
    scene.renewed(3).await;
    let sent = [2, 3].map(|index| scene.sent_refresh_token(index));
    assert_eq!(sent, [Some("second".to_owned()), Some("third".to_owned())]);
    assert_eq!(scene.served().await, "again");
    assert_eq!(
        database.number(CANDIDATES).await,
        0,
        "it is of no use any more"
    );
}

async fn a_kept_pair_is_tried_however_short_an_attempt_is(database: TestDatabase) {
    let mut config = only_refreshing();
    config["policy"] = json!({"timeout_s": 1});
    let scene = begin(&database, config).await;
    keep_one_beside(&database, &scene).await;
    scene.in_flight(3).await;
    // So long the provider takes to refuse.
    scene.clock.advance(Ms(100));
    scene.provider.release();
    scene.server.client.generation("r", "k", 3).await;
    assert_eq!(scene.sent_refresh_token(3).as_deref(), Some("third"));
    assert_eq!(scene.served().await, "again");
}

async fn a_change_of_the_secret_meanwhile_keeps_the_refresh_token_and_not_the_token(
    database: TestDatabase,
) {
    let scene = scene(&database).await;
    scene.next(Some("third"));
    scene.in_flight(2).await;
    let change = json!({"realm": "r", "key": "k", "params": {"client_secret": "another-secret"}});
    let client = &scene.server.client;
    client.post("/api/secret", &change).await.expect(200);
    // What was obtained with the old parameters is discarded, but its refresh token is the newest.
    scene.next(Some("fourth"));
    scene.provider.release();
    client.generation("r", "k", 2).await;
    assert_eq!(scene.sent_refresh_token(2).as_deref(), Some("third"));
    assert_eq!(scene.served().await, "token-3");
    assert_eq!(database.number(CANDIDATES).await, 0);
}

async fn another_refresh_token_given_meanwhile_outlives_the_one_in_flight(database: TestDatabase) {
    let scene = scene(&database).await;
    scene.next(Some("third"));
    scene.in_flight(2).await;
    scene.save(Some("given")).await;
    scene.next(Some("after the given one"));
    scene.provider.release();
    scene.server.client.generation("r", "k", 2).await;
    assert_eq!(scene.sent_refresh_token(2).as_deref(), Some("given"));
    scene.next(None);
    scene.renewed(3).await;
    assert_eq!(
        scene.sent_refresh_token(3).as_deref(),
        Some("after the given one")
    );
}

/// A lease of ten seconds' timeout that another replica was given when the token became
/// due, and that ran out; answers when it was given.
async fn lose_an_attempt(scene: &Scene, database: &TestDatabase) -> i64 {
    // Past the latest date of the first renewal.
    let wait = Ms::from_secs(3_060);
    let given = scene.clock.now().plus(wait).0;
    let lease = format!(
        "UPDATE ts_token SET fence = fence + 1, claim_id = 'lost', lease_owner = 'gone', \
         last_attempt_at = {given}, lease_until = {given} + 15000"
    );
    run(database, &lease).await;
    scene.clock.advance(wait);
    // One may be under way that looked at leases before; the next one looks at them now.
    let app = scene.server.app();
    let before = app.metrics.sweeps.get();
    eventually("the lease is watched", async || {
        app.wake.notify_one();
        (app.metrics.sweeps.get() >= before + 2).then_some(())
    })
    .await;
    scene.clock.advance(Ms::from_secs(16));
    let taken = "SELECT COUNT(*) FROM ts_token WHERE lost_attempt = 'lost' AND lost_awaited";
    eventually("it is taken over", async || {
        scene.server.app().wake.notify_one();
        (database.number(taken).await == 1).then_some(())
    })
    .await;
    given
}

/// When what waits is due again.
async fn waits_until(scene: &Scene, database: &TestDatabase) -> i64 {
    eventually("it waits", async || {
        let secret = scene.server.client.secret("r", "k").await;
        secret["waiting"].is_string().then_some(())
    })
    .await;
    database.number("SELECT renew_at FROM ts_token").await
}

/// Where used refresh tokens are accepted for so long.
async fn accepting(database: &TestDatabase, overlap_s: i64) -> Scene {
    let mut config = only_refreshing();
    config["policy"] = json!({"refresh_overlap_s": overlap_s});
    let scene = Scene::set(database, config).await;
    scene.next(Some("second"));
    scene.save(Some("first")).await;
    scene.server.client.generation("r", "k", 1).await;
    scene
}

async fn a_refresh_token_that_may_be_used_up_is_sent_again_while_the_provider_accepts_it(
    database: TestDatabase,
) {
    let scene = accepting(&database, 60).await;
    let lost = lose_an_attempt(&scene, &database).await;
    // The lease, and the time of an attempt.
    let again = waits_until(&scene, &database).await;
    assert_eq!(again, lost + 25_000);
    assert_eq!(scene.provider.request_count(), 1, "nothing is sent before");
    scene.next(Some("third"));
    scene.clock.advance(Ms(again - scene.clock.now().0));
    scene.server.client.generation("r", "k", 2).await;
    assert_eq!(scene.sent_refresh_token(1).as_deref(), Some("second"));
}

async fn a_refresh_token_that_may_be_used_up_is_not_sent_again_where_it_could_come_too_late(
    database: TestDatabase,
) {
    let scene = accepting(&database, 30).await;
    lose_an_attempt(&scene, &database).await;
    let end = database.number("SELECT expires_at FROM ts_token").await;
    assert_eq!(waits_until(&scene, &database).await, end - 30_000);
}

async fn a_refresh_token_that_may_be_used_up_twice_is_not_sent_again(database: TestDatabase) {
    let scene = accepting(&database, 60).await;
    run(&database, "UPDATE ts_token SET lost_attempt = 'before'").await;
    lose_an_attempt(&scene, &database).await;
    let end = database.number("SELECT expires_at FROM ts_token").await;
    assert_eq!(waits_until(&scene, &database).await, end - 30_000);
}

async fn a_successor_that_dies_makes_nobody_forget_what_is_awaited(database: TestDatabase) {
    let scene = scene(&database).await;
    lose_an_attempt(&scene, &database).await;
    waits_until(&scene, &database).await;
    run(
        &database,
        "UPDATE ts_token SET claim_id = 'next', lease_owner = 'b', lease_until = renew_at",
    )
    .await;
    let (b, now) = (ReplicaId("b".to_owned()), scene.clock.now());
    let connection = database.connect().await;
    let released = release_all_of(&connection, &b, &[], now).await;
    assert_eq!(released.expect("the statement is good"), 1);
    let awaited = "SELECT COUNT(*) FROM ts_token WHERE lost_attempt = 'lost' AND lost_awaited \
                   AND lost_again AND lost_owner = 'gone'";
    assert_eq!(database.number(awaited).await, 1);
    waits_until(&scene, &database).await;
    assert_eq!(
        scene.provider.request_count(),
        1,
        "nothing is sent meanwhile"
    );
}

async fn a_token_stored_after_a_pair_that_was_promoted_meanwhile_is_of_the_next_generation(
    database: TestDatabase,
) {
    let scene = scene(&database).await;
    scene.next(Some("third"));
    scene.in_flight(2).await;
    // A promotion leaves the lease alone.
    run(&database, "UPDATE ts_token SET generation = generation + 1").await;
    scene.provider.release();
    let stored = scene.server.client.generation("r", "k", 3).await;
    assert_eq!(stored["state"], "active");
    let history = "SELECT generation FROM ts_renewal WHERE outcome = 'stored' ORDER BY id DESC";
    assert_eq!(database.number(history).await, 3);
}

async fn a_lost_attempt_is_waited_for_until_the_stored_token_nears_its_expiry(
    database: TestDatabase,
) {
    let scene = scene(&database).await;
    lose_an_attempt(&scene, &database).await;
    waits_until(&scene, &database).await;
    let secret = scene.server.client.secret("r", "k").await;
    assert_eq!(secret["state"], "active");
    assert_eq!(
        scene.provider.request_count(),
        1,
        "nothing is sent meanwhile"
    );
    assert_eq!(scene.served().await, "token-1");
    // Two leases before the token expires, it is sent after all.
    scene.next(Some("third"));
    scene.clock.advance(Ms::from_secs(495));
    scene.server.client.generation("r", "k", 2).await;
    assert_eq!(scene.sent_refresh_token(1).as_deref(), Some("second"));
    let lost = "SELECT COUNT(*) FROM ts_token WHERE lost_attempt IS NOT NULL";
    assert_eq!(database.number(lost).await, 0);
}

async fn a_refusal_is_void_where_a_newer_token_has_come_meanwhile(database: TestDatabase) {
    let grant = json!([
        {"name": "grant_type", "place": "body", "value": "client_credentials"},
    ]);
    let scene = Scene::set(&database, json!({"arguments": grant})).await;
    scene.next(Some("second"));
    scene.save(None).await;
    scene.server.client.generation("r", "k", 1).await;
    scene.provider.answer_next(invalid_grant());
    scene.in_flight(2).await;
    // Whoever used up the refresh token has stored what it brought.
    run(
        &database,
        "UPDATE ts_token SET generation = generation + 1, renew_at = renew_at + 3600000",
    )
    .await;
    scene.provider.release();
    let released = "SELECT COUNT(*) FROM ts_token WHERE lease_owner IS NULL";
    eventually("the lease is given back", async || {
        (database.number(released).await == 1).then_some(())
    })
    .await;
    assert_eq!(scene.provider.request_count(), 2, "nothing more is asked");
    let secret = scene.server.client.secret("r", "k").await;
    assert_eq!(secret["state"], "active");
    assert!(secret["last_error"].is_null(), "{secret}");
}

async fn a_refusal_after_a_lost_attempt_says_that_it_may_have_used_up_the_token(
    database: TestDatabase,
) {
    let scene = scene(&database).await;
    lose_an_attempt(&scene, &database).await;
    scene.provider.answer_next(invalid_grant());
    scene.clock.advance(Ms::from_secs(495));
    let detail = scene.failed("needs_attention").await;
    assert!(detail.starts_with("refresh_token_maybe_spent"), "{detail}");
}

async fn candidates_go_with_their_secret_and_with_a_newer_success(database: TestDatabase) {
    let scene = scene(&database).await;
    scene.next(Some("third"));
    scene.in_flight(2).await;
    run(&database, OVERTAKEN).await;
    scene.provider.release();
    eventually("the pair is kept", async || {
        (database.number(CANDIDATES).await == 1).then_some(())
    })
    .await;
    let client = &scene.server.client;
    client.delete("/api/secret/r/k").await.expect(200);
    assert_eq!(database.number(CANDIDATES).await, 0);
}
