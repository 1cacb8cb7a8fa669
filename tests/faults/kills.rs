//! Row 1: `kill -9` before the request, after the provider answered, before the commit,
//! after it.

use sea_orm::{ConnectionTrait, DatabaseConnection};
use serde_json::Value;

use crate::kit::database::Kind;
use crate::kit::{TestDatabase, eventually, on_every_database};
use crate::provider::{Held, Reuse};
use crate::scene::{LENIENT, LIFETIME_S, Scene};

on_every_database! {
    killed_before_the_request_is_worked_on_a_server_renews_when_it_is_back,
    killed_after_a_lenient_provider_rotated_a_server_renews_when_it_is_back,
    killed_after_a_strict_provider_rotated_a_server_says_that_the_token_may_be_spent,
    killed_before_the_commit_a_server_brings_the_pair_from_its_spool,
    killed_with_the_pairs_of_several_tokens_that_were_due_at_once_a_server_brings_them_all,
    killed_after_the_commit_a_server_asks_for_nothing,
}

on_clusters! {
    killed_before_the_request_is_worked_on_a_server_renews_when_it_is_back,
    killed_after_a_lenient_provider_rotated_a_server_renews_when_it_is_back,
    killed_after_a_strict_provider_rotated_a_server_says_that_the_token_may_be_spent,
    killed_before_the_commit_a_server_brings_the_pair_from_its_spool,
    killed_after_the_commit_a_server_asks_for_nothing,
}

async fn killed_before_the_request_is_worked_on_a_server_renews_when_it_is_back(
    database: TestDatabase,
) {
    let mut scene = Scene::set(database, Reuse::EndsFamily, LIFETIME_S).await;
    let server = scene.replica("a");
    scene.begin(&server.client).await;
    scene.provider.hold(Held::Before);
    scene.due().await;
    scene.asked(2).await;
    scene.kill("a", server).await;
    scene.provider.hold(Held::Dropped);
    let server = scene.replica("a");
    server.client.generation("r", "k", 2).await;
    assert_eq!(scene.provider.rotations(), 2);
    scene.renews_again(&server.client, "k").await;
    scene.judge(&server.client).await;
}

/// Killed while the rotated pair is on its way.
async fn killed_after_the_rotation(database: TestDatabase, reuse: Reuse) -> Scene {
    let mut scene = Scene::set(database, reuse, LIFETIME_S).await;
    let server = scene.replica("a");
    scene.begin(&server.client).await;
    scene.rotates_unanswered().await;
    scene.kill("a", server).await;
    scene.provider.hold(Held::Nowhere);
    scene
}

async fn killed_after_a_lenient_provider_rotated_a_server_renews_when_it_is_back(
    database: TestDatabase,
) {
    let scene = killed_after_the_rotation(database, LENIENT).await;
    let server = scene.replica("a");
    server.client.generation("r", "k", 2).await;
    scene.renews_again(&server.client, "k").await;
    assert_eq!(server.client.secret("r", "k").await["state"], "active");
    scene.judge(&server.client).await;
}

async fn killed_after_a_strict_provider_rotated_a_server_says_that_the_token_may_be_spent(
    database: TestDatabase,
) {
    let mut scene = killed_after_the_rotation(database, Reuse::EndsFamily).await;
    let server = scene.replica("a");
    let secret = server.client.state("r", "k", "needs_attention").await;
    let detail = secret["last_error"]["detail"].as_str().expect("a text");
    assert!(detail.starts_with("refresh_token_maybe_spent"), "{detail}");
    // The stored token is served as long as it lives.
    assert_eq!(scene.read(&server.client, 0, "k").await, Some(1));
    scene.judge(&server.client).await;
}

/// Keeps every other connection from writing the row, or SQLite's file.
pub async fn lock(database: &TestDatabase) -> DatabaseConnection {
    let connection = database.connect().await;
    let statements = match database.kind() {
        Kind::Sqlite => ["BEGIN IMMEDIATE", "SELECT 1"],
        Kind::MySql => ["START TRANSACTION", "SELECT * FROM ts_token FOR UPDATE"],
    };
    for statement in statements {
        let done = connection.execute_unprepared(statement).await;
        done.expect("the statement is good");
    }
    connection
}

pub async fn unlock(connection: DatabaseConnection) {
    let done = connection.execute_unprepared("ROLLBACK").await;
    done.expect("the transaction ends");
    connection.close().await.expect("the connection closes");
}

async fn killed_before_the_commit_a_server_brings_the_pair_from_its_spool(database: TestDatabase) {
    let mut scene = Scene::set(database, Reuse::EndsFamily, LIFETIME_S).await;
    let server = scene.replica("a");
    scene.begin(&server.client).await;
    scene.rotates_unanswered().await;
    let lock = lock(&scene.database).await;
    scene.provider.hold(Held::Nowhere);
    eventually("the pair is in the spool", async || {
        (scene.spooled("a") == 1).then_some(())
    })
    .await;
    scene.kill("a", server).await;
    unlock(lock).await;
    let server = scene.replica("a");
    assert_eq!(scene.read(&server.client, 0, "k").await, Some(2));
    assert_eq!(scene.spooled("a"), 0);
    assert_eq!(scene.provider.rotations(), 2, "nothing was asked again");
    scene.renews_again(&server.client, "k").await;
    scene.judge(&server.client).await;
    let history = server.client.list("/api/renewal?outcome=stored").await;
    let causes: Vec<&Value> = history.iter().map(|entry| &entry["cause"]).collect();
    assert_eq!(causes[1], "recovered", "{causes:?}");
}

async fn killed_with_the_pairs_of_several_tokens_that_were_due_at_once_a_server_brings_them_all(
    database: TestDatabase,
) {
    let mut scene = Scene::set(database, Reuse::EndsFamily, LIFETIME_S).await;
    let server = scene.replica("a");
    scene.begin(&server.client).await;
    let keys = ["k", "l", "m"];
    for key in &keys[1..] {
        scene.register(&server.client, key).await;
        server.client.generation("r", key, 1).await;
    }
    scene.provider.hold(Held::After);
    scene.due().await;
    scene.rotated(2 * keys.len()).await;
    let lock = lock(&scene.database).await;
    scene.provider.hold(Held::Nowhere);
    eventually("all pairs are in the spool", async || {
        (scene.spooled("a") == keys.len()).then_some(())
    })
    .await;
    scene.kill("a", server).await;
    unlock(lock).await;
    let server = scene.replica("a");
    for key in keys {
        assert_eq!(scene.read(&server.client, 0, key).await, Some(2));
        scene.renews_again(&server.client, key).await;
    }
    assert_eq!(scene.provider.rotations(), 3 * keys.len());
    scene.judge(&server.client).await;
}

async fn killed_after_the_commit_a_server_asks_for_nothing(database: TestDatabase) {
    let mut scene = Scene::set(database, Reuse::EndsFamily, LIFETIME_S).await;
    let server = scene.replica("a");
    scene.begin(&server.client).await;
    scene.due().await;
    server.client.generation("r", "k", 2).await;
    scene.kill("a", server).await;
    let server = scene.replica("a");
    assert_eq!(scene.read(&server.client, 0, "k").await, Some(2));
    assert_eq!(scene.provider.rotations(), 2);
    scene.renews_again(&server.client, "k").await;
    scene.judge(&server.client).await;
}
