//! Rows 12 and 13: servers that migrate at once, and two versions on one database; SIGTERM
//! under load, and a second one.

use std::sync::Arc;

use crate::kit::{TestDatabase, on_every_database};
use crate::provider::{Held, Reuse};
use crate::scene::{LIFETIME_S, Scene};

on_every_database! {
    replicas_that_start_together_on_an_empty_database_all_serve,
    a_server_goes_on_and_starts_again_on_a_database_that_a_newer_one_has_migrated,
    a_server_told_to_stop_stores_what_is_in_flight_and_cuts_no_request,
    a_second_signal_to_stop_changes_nothing,
}

on_clusters! {
    replicas_that_start_together_on_an_empty_database_all_serve,
    a_server_goes_on_and_starts_again_on_a_database_that_a_newer_one_has_migrated,
    a_server_told_to_stop_stores_what_is_in_flight_and_cuts_no_request,
    a_second_signal_to_stop_changes_nothing,
}

async fn replicas_that_start_together_on_an_empty_database_all_serve(database: TestDatabase) {
    let database = database.without_schema().await;
    let scene = Arc::new(Scene::set(database, Reuse::EndsFamily, LIFETIME_S).await);
    let starting: Vec<_> = ["a", "b", "c"]
        .map(|name| {
            let scene = scene.clone();
            std::thread::spawn(move || scene.replica(name))
        })
        .into_iter()
        .collect();
    let replicas: Vec<_> = starting
        .into_iter()
        .map(|replica| replica.join().expect("it starts"))
        .collect();
    scene.begin(&replicas[0].client).await;
    for replica in &replicas {
        replica.client.get("/readyz").await.expect(200);
        replica.client.token("r", "k").await.expect(200);
    }
}

async fn a_server_goes_on_and_starts_again_on_a_database_that_a_newer_one_has_migrated(
    database: TestDatabase,
) {
    let scene = Scene::set(database, Reuse::EndsFamily, LIFETIME_S).await;
    let server = scene.replica("a");
    scene.begin(&server.client).await;
    for newer in [
        "ALTER TABLE ts_token ADD COLUMN newer VARCHAR(20)",
        "ALTER TABLE ts_secret ADD COLUMN newer INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE ts_renewal ADD COLUMN newer INTEGER NOT NULL DEFAULT 0",
        "CREATE TABLE ts_newer (id INTEGER PRIMARY KEY)",
        "INSERT INTO ts_migration (version, applied_at) VALUES ('m29991231_000001_newer', 0)",
    ] {
        scene.run(newer).await;
    }
    server.client.get("/readyz").await.expect(200);
    scene.renews_again(&server.client, "k").await;
    server.terminate();
    assert_eq!(server.exit_code(), Some(0));
    let server = scene.replica("a");
    server.client.get("/readyz").await.expect(200);
    scene.renews_again(&server.client, "k").await;
    scene.register(&server.client, "another").await;
    server.client.generation("r", "another", 1).await;
    scene.judge(&server.client).await;
}

const HELD: &str = "SELECT COUNT(*) FROM ts_token WHERE lease_owner IS NOT NULL";

async fn a_server_told_to_stop_stores_what_is_in_flight_and_cuts_no_request(
    database: TestDatabase,
) {
    let scene = Scene::set(database, Reuse::EndsFamily, LIFETIME_S).await;
    let server = scene.replica("a");
    scene.begin(&server.client).await;
    // Callers who go on asking until the server takes no more connections.
    let callers: Vec<_> = (0..8)
        .map(|_| {
            let client = server.client.clone();
            tokio::spawn(async move {
                loop {
                    let request = client.request(reqwest::Method::GET, "/api/token?realm=r&key=k");
                    let Ok(answer) = request.send().await else {
                        return;
                    };
                    assert_eq!(answer.status().as_u16(), 200);
                }
            })
        })
        .collect();
    scene.provider.hold(Held::After);
    let flush = {
        let client = server.client.clone();
        let body = serde_json::json!({"realm": "r", "key": "k"});
        tokio::spawn(async move { client.post("/api/token/flush", &body).await })
    };
    scene.rotated(2).await;
    server.terminate();
    scene.provider.hold(Held::Nowhere);
    assert_eq!(server.exit_code(), Some(0));
    for caller in callers {
        caller.await.expect("no caller was answered wrongly");
    }
    let flushed = flush.await.expect("the caller ends").expect(200).json();
    assert_eq!(flushed["generation"], 2, "a request under way is not cut");
    assert_eq!(scene.database.number(HELD).await, 0);
    let stored = "SELECT generation FROM ts_token";
    assert_eq!(scene.database.number(stored).await, 2);
    let server = scene.replica("a");
    scene.renews_again(&server.client, "k").await;
    scene.judge(&server.client).await;
}

async fn a_second_signal_to_stop_changes_nothing(database: TestDatabase) {
    let scene = Scene::set(database, Reuse::EndsFamily, LIFETIME_S).await;
    let server = scene.replica("a");
    scene.begin(&server.client).await;
    scene.rotates_unanswered().await;
    server.terminate();
    server.terminate();
    scene.provider.hold(Held::Nowhere);
    assert_eq!(server.exit_code(), Some(0));
    let stored = "SELECT generation FROM ts_token";
    assert_eq!(scene.database.number(stored).await, 2);
}
