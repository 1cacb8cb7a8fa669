//! Row 3: a replica stands still past its lease, and goes on.

use serde_json::json;
use token_server::foundation::clock::{Clock, Ms, SystemClock};

use crate::kit::process::ServerProcess;
use crate::kit::{TestDatabase, eventually, on_every_database};
use crate::provider::{Held, Reuse};
use crate::scene::{LENIENT, LIFETIME_S, Scene, rotating_realm};

on_every_database! {
    a_pair_in_the_hands_of_a_replica_that_stood_still_is_waited_for_and_kept,
    a_pair_in_the_hands_of_a_replica_that_dies_is_not_missed_where_the_used_one_is_accepted,
    a_replica_that_stood_still_refuses_no_read,
    where_no_token_is_valid_a_lost_attempt_is_waited_for_a_lease_and_no_longer,
}

on_clusters! {
    a_pair_in_the_hands_of_a_replica_that_stood_still_is_waited_for_and_kept,
    a_pair_in_the_hands_of_a_replica_that_dies_is_not_missed_where_the_used_one_is_accepted,
    where_no_token_is_valid_a_lost_attempt_is_waited_for_a_lease_and_no_longer,
}

const TAKEN_OVER: &str = "SELECT COUNT(*) FROM ts_token WHERE lost_awaited";

async fn a_pair_in_the_hands_of_a_replica_that_stood_still_is_waited_for_and_kept(
    database: TestDatabase,
) {
    let mut scene = Scene::set(database, Reuse::EndsFamily, LIFETIME_S).await;
    let (holder, other) = (scene.replica("a"), scene.replica("b"));
    scene.begin(&holder.client).await;
    // Only one of them is awake when the token becomes due.
    other.stand_still();
    scene.rotates_unanswered().await;
    holder.stand_still();
    // The answer is in the socket of a process that stands still.
    scene.provider.hold(Held::Nowhere);
    other.go_on();
    eventually(
        "the lease is taken over, and the pair is waited for",
        async || (scene.database.number(TAKEN_OVER).await == 1).then_some(()),
    )
    .await;
    let secret = eventually("it waits", async || {
        let secret = other.client.secret("r", "k").await;
        secret["waiting"].is_string().then_some(secret)
    })
    .await;
    assert_eq!(secret["state"], "active");
    assert_eq!(scene.read(&other.client, 0, "k").await, Some(1));
    assert_eq!(scene.provider.received(), 2, "nothing is sent meanwhile");
    holder.go_on();
    other.client.generation("r", "k", 2).await;
    assert_eq!(scene.read(&other.client, 0, "k").await, Some(2));
    scene.renews_again(&other.client, "k").await;
    scene.judge(&other.client).await;
}

async fn a_pair_in_the_hands_of_a_replica_that_dies_is_not_missed_where_the_used_one_is_accepted(
    database: TestDatabase,
) {
    // For longer than it may take until the other notices.
    let accepted = Reuse::AcceptedFor(Ms::from_secs(60));
    let mut scene = Scene::set(database, accepted, LIFETIME_S).await;
    let (holder, other) = (scene.replica("a"), scene.replica("b"));
    scene.begin(&holder.client).await;
    // It is stopped long before its attempt ends: who stands still in a transaction keeps
    // everybody out of SQLite.
    let mut realm = rotating_realm(&scene.provider);
    realm["policy"]["timeout_s"] = json!(4);
    holder.client.save_realm("r", realm).await;
    other.stand_still();
    scene.rotates_unanswered().await;
    holder.stand_still();
    scene.provider.hold(Held::Nowhere);
    other.go_on();
    other.client.generation("r", "k", 2).await;
    scene.kill("a", holder).await;
    assert_eq!(scene.read(&other.client, 0, "k").await, Some(2));
    scene.renews_again(&other.client, "k").await;
    scene.judge(&other.client).await;
}

async fn where_no_token_is_valid_a_lost_attempt_is_waited_for_a_lease_and_no_longer(
    database: TestDatabase,
) {
    let scene = Scene::set(database, LENIENT, LIFETIME_S).await;
    let (holder, other) = (scene.replica("a"), scene.replica("b"));
    scene.register_realm(&holder.client).await;
    other.stand_still();
    scene.provider.hold(Held::Before);
    scene.register(&holder.client, "k").await;
    scene.asked(1).await;
    holder.stand_still();
    scene.provider.hold(Held::Dropped);
    other.go_on();
    other.client.generation("r", "k", 1).await;
    holder.go_on();
    scene.renews_again(&holder.client, "k").await;
    scene.judge(&holder.client).await;
}

async fn a_replica_that_stood_still_refuses_no_read(database: TestDatabase) {
    let scene = Scene::set(database, Reuse::EndsFamily, LIFETIME_S).await;
    let impatient = ("TOKEN_SERVER__DATABASE__READ_PATIENCE_MS", "100".to_owned());
    let forgetful = ("TOKEN_SERVER__READ__MEMORY_MIB", "0".to_owned());
    let server = ServerProcess::start(&scene.database, &[impatient, forgetful]);
    scene.begin(&server.client).await;
    for _ in 0..20 {
        let callers: Vec<_> = (0..8)
            .map(|_| {
                let client = server.client.clone();
                tokio::spawn(async move { client.token("r", "k").await })
            })
            .collect();
        server.stand_still();
        // Longer than its patience.
        let stopped = SystemClock.boot();
        eventually("it has stood still", async || {
            (SystemClock.boot().since(stopped) > Ms(200)).then_some(())
        })
        .await;
        server.go_on();
        for caller in callers {
            caller.await.expect("the caller ends").expect(200);
        }
    }
}
