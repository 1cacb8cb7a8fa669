//! A refresh token that is damaged where it is stored: another way is gone where there is one,
//! and else a human is told to give another while the token is still served.

use sea_orm::{ConnectionTrait, Statement, Value as Bound};
use serde_json::{Value, json};
use token_server::foundation::clock::Ms;
use token_server::renewal::SealedFindings;

use super::{Scene, invalid_grant, only_refreshing};
use crate::damage::{HARMS, Harm, Stored, number};
use crate::kit::server::Options;
use crate::kit::{Answer, Server, TestDatabase, eventually, on_every_database};

on_every_database! {
    a_main_request_that_stands_alone_takes_the_place_of_a_damaged_refresh_token,
    the_first_refresh_token_is_tried_where_a_failed_call_burns_nothing,
    without_another_way_a_human_is_told_before_the_token_is_due,
    a_pair_kept_beside_takes_the_place_of_a_damaged_refresh_token,
    damaged_pairs_beside_are_passed_over,
    a_refresh_token_outlives_damaged_parameters,
    another_refresh_token_counts_where_both_are_damaged,
}

fn refresh_token() -> Stored {
    Stored::of_key("ts_token", "refresh_token", "k")
}

async fn look(scene: &Scene) -> SealedFindings {
    let found = scene.server.app().renewals.check_sealed().await;
    found.expect("the database can be read")
}

/// A token and a refresh token, "second". The server looks when it is told to.
async fn begin(database: &TestDatabase, config: Value, first: Option<&str>) -> Scene {
    let never = ("TOKEN_SERVER__MAINTENANCE__CHECK_SEALED_EVERY_S", "0");
    let options = Options::default().with(&[never]);
    let (server, clock) = Server::on_manual_clock_with(database, options).await;
    let scene = Scene::on(server, clock, config).await;
    scene.next(Some("second"));
    scene.save(first).await;
    scene.server.client.generation("r", "k", 1).await;
    scene.server.settled().await;
    scene
}

async fn harm(database: &TestDatabase, harm: Harm) {
    let bytes = refresh_token().read(database).await;
    let other = Stored::of_key("ts_token", "token", "k")
        .read(database)
        .await;
    refresh_token()
        .write(database, harm.done_to(bytes, other))
        .await;
}

fn burning() -> Value {
    let mut config = only_refreshing();
    config["refresh"] = json!({"retry": "never"});
    config
}

fn standing_alone() -> Value {
    json!({
        "arguments": [{"name": "grant_type", "place": "body", "value": "client_credentials"}],
        "refresh": {},
    })
}

async fn a_main_request_that_stands_alone_takes_the_place_of_a_damaged_refresh_token(
    database: TestDatabase,
) {
    let scene = begin(&database, standing_alone(), None).await;
    let client = &scene.server.client;
    let mut generation = 1;
    for harmed in HARMS {
        for brings in [Some("next"), None] {
            if number(&database, "refresh_token IS NULL", "k").await == 1 {
                scene.next(Some("anew"));
                generation += 1;
                scene.renewed(generation).await;
                scene.server.settled().await;
            }
            harm(&database, harmed).await;
            scene.next(brings);
            let found = look(&scene).await;
            assert_eq!((found.damaged_values, found.made_due), (1, 1), "{harmed:?}");
            generation += 1;
            client.generation("r", "k", generation).await;
            scene.server.settled().await;
            let sent = scene.provider.request_count() - 1;
            assert_eq!(scene.sent_refresh_token(sent), None, "{harmed:?}");
            assert!(look(&scene).await.is_empty(), "{harmed:?}: it is gone");
        }
    }
    scene.next(Some("x"));
    scene.renewed(generation + 1).await;
    scene.server.settled().await;
    scene.renewed(generation + 2).await;
    let last = scene.provider.request_count() - 1;
    assert_eq!(scene.sent_refresh_token(last).as_deref(), Some("x"));
}

async fn the_first_refresh_token_is_tried_where_a_failed_call_burns_nothing(
    database: TestDatabase,
) {
    let scene = begin(&database, only_refreshing(), Some("first")).await;
    let client = &scene.server.client;
    for (generation, brings) in [(2, Some("third")), (3, None)] {
        harm(&database, Harm::Ciphertext).await;
        scene.next(brings);
        assert_eq!(look(&scene).await.made_due, 1);
        client.generation("r", "k", generation).await;
        scene.server.settled().await;
        let sent = scene.provider.request_count() - 1;
        assert_eq!(scene.sent_refresh_token(sent).as_deref(), Some("first"));
        assert!(look(&scene).await.is_empty());
    }
    scene.next(Some("fourth"));
    scene.renewed(4).await;
    assert_eq!(scene.sent_refresh_token(3).as_deref(), Some("first"));
    // Where the provider refuses it, a human is needed.
    scene.server.settled().await;
    harm(&database, Harm::Format).await;
    scene.provider.answer_next(invalid_grant());
    assert_eq!(look(&scene).await.made_due, 1);
    let refused = scene.failed("needs_attention").await;
    assert!(refused.contains("refresh_token_refused"), "{refused}");
}

async fn without_another_way_a_human_is_told_before_the_token_is_due(database: TestDatabase) {
    let scene = begin(&database, burning(), Some("first")).await;
    let (client, flush) = (&scene.server.client, json!({"realm": "r", "key": "k"}));
    let row = number(&database, "secret_id", "k").await;
    for (round, harmed) in (1..).zip(HARMS) {
        let asked = scene.provider.request_count();
        let renew_at = number(&database, "renew_at", "k").await;
        harm(&database, harmed).await;
        let found = look(&scene).await;
        assert_eq!(
            (found.damaged_values, found.need_attention),
            (1, 1),
            "{harmed:?}"
        );
        assert_eq!(look(&scene).await.need_attention, 0);
        let told = scene.failed("needs_attention").await;
        assert!(
            told.contains(&format!("ts_token.refresh_token of row {row} ")),
            "{told}"
        );
        assert!(
            told.contains("give the secret another refresh token"),
            "{told}"
        );
        assert_eq!(number(&database, "renew_at", "k").await, renew_at);
        let read = client.token("r", "k").await.expect(200).json();
        assert_eq!(
            (&read["generation"], &read["stale"]),
            (&json!(round), &json!(null))
        );
        let flushed = client
            .post("/api/token/flush", &flush)
            .await
            .expect(200)
            .json();
        assert_eq!(flushed["flushed"], false);
        // Due: an attempt says the same, and sends nothing.
        scene.clock.advance(Ms::from_secs(3100));
        eventually("an attempt", async || {
            let secret = client.secret("r", "k").await;
            assert_eq!(secret["last_error"]["detail"], told);
            (secret["last_error"]["failures"] == 2).then_some(())
        })
        .await;
        client.token("r", "k").await.expect(200);
        assert_eq!(scene.provider.request_count(), asked);
        let another = format!("another-{round}");
        scene.next(Some("next"));
        scene.save(Some(&another)).await;
        let secret = client.generation("r", "k", round + 1).await;
        assert_eq!(secret["state"], "active");
        scene.server.settled().await;
        assert_eq!(
            scene.sent_refresh_token(asked).as_deref(),
            Some(another.as_str())
        );
        assert!(look(&scene).await.is_empty());
    }
}

/// Keeps a sealed refresh token beside the stored pair, as an attempt would whose lease was lost.
async fn keep_beside(database: &TestDatabase, name: &str, sealed: Vec<u8>, obtained_at: i64) {
    let connection = database.connect().await;
    let sql = "INSERT INTO ts_candidate (attempt_id, secret_id, consumed, refresh_line, \
               secret_version, realm_version, token, per_read, obtained_at, refresh_token) \
               SELECT ?, secret_id, generation, refresh_line, 1, 1, ?, ?, ?, ? FROM ts_token";
    let values: [Bound; 5] = [
        name.into(),
        Vec::<u8>::new().into(),
        false.into(),
        obtained_at.into(),
        sealed.into(),
    ];
    let backend = connection.get_database_backend();
    let statement = Statement::from_sql_and_values(backend, sql, values);
    let done = connection.execute_raw(statement).await;
    done.expect("the statement is good");
}

async fn a_pair_kept_beside_takes_the_place_of_a_damaged_refresh_token(database: TestDatabase) {
    let scene = begin(&database, burning(), Some("first")).await;
    let second = refresh_token().read(&database).await;
    scene.next(Some("third"));
    scene.renewed(2).await;
    scene.server.settled().await;
    keep_beside(&database, "beside", second, 1).await;
    harm(&database, Harm::Nonce).await;
    // It brings no other, and takes the place of the damaged one.
    scene.next(None);
    assert_eq!(look(&scene).await.made_due, 1);
    scene.server.client.generation("r", "k", 3).await;
    scene.server.settled().await;
    assert_eq!(scene.sent_refresh_token(2).as_deref(), Some("second"));
    assert!(look(&scene).await.is_empty());
    scene.next(Some("fourth"));
    scene.renewed(4).await;
    assert_eq!(scene.sent_refresh_token(3).as_deref(), Some("second"));
}

async fn damaged_pairs_beside_are_passed_over(database: TestDatabase) {
    let scene = begin(&database, only_refreshing(), Some("first")).await;
    let second = refresh_token().read(&database).await;
    scene.next(Some("third"));
    scene.renewed(2).await;
    scene.server.settled().await;
    keep_beside(&database, "good", second.clone(), 1).await;
    for (at, harmed) in (2..).zip(HARMS) {
        let damaged = harmed.done_to(second.clone(), vec![7; 60]);
        keep_beside(&database, &format!("damaged-{at}"), damaged, at).await;
    }
    let found = look(&scene).await;
    assert_eq!(found.damaged_values, 10);
    assert_eq!((found.made_due, found.need_attention), (0, 0));
    scene.provider.answer_next(invalid_grant());
    // The request that is refused is the third, the next the fourth.
    let answer = json!({"access_token": "again", "expires_in": 3600, "refresh_token": "fourth"});
    let answer = Answer::status(200).with_json(&answer);
    scene.provider.answer_next(answer);
    scene.renewed(3).await;
    let sent = [2, 3].map(|index| scene.sent_refresh_token(index));
    assert_eq!(sent, [Some("third".to_owned()), Some("second".to_owned())]);
}

async fn harm_params(database: &TestDatabase) {
    let params = Stored::of_key("ts_secret", "params", "k");
    let bytes = params.read(database).await;
    params
        .write(database, Harm::Ciphertext.done_to(bytes, Vec::new()))
        .await;
}

async fn a_refresh_token_outlives_damaged_parameters(database: TestDatabase) {
    let scene = begin(&database, burning(), Some("first")).await;
    harm_params(&database).await;
    assert_eq!(look(&scene).await.need_attention, 1);
    scene.next(Some("third"));
    // Nobody knows any more whether that is another one than before.
    scene.save(Some("first")).await;
    scene.server.client.generation("r", "k", 2).await;
    assert_eq!(scene.sent_refresh_token(1).as_deref(), Some("second"));
    scene.server.settled().await;
    // Another one given later is.
    scene.next(Some("fourth"));
    scene.save(Some("another")).await;
    scene.server.client.generation("r", "k", 3).await;
    assert_eq!(scene.sent_refresh_token(2).as_deref(), Some("another"));
}

async fn another_refresh_token_counts_where_both_are_damaged(database: TestDatabase) {
    let scene = begin(&database, burning(), Some("first")).await;
    harm_params(&database).await;
    harm(&database, Harm::Tag).await;
    let found = look(&scene).await;
    assert_eq!((found.damaged_values, found.need_attention), (2, 1));
    scene.next(Some("third"));
    scene.save(Some("another")).await;
    scene.server.client.generation("r", "k", 2).await;
    assert_eq!(scene.sent_refresh_token(1).as_deref(), Some("another"));
}
