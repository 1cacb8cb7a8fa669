//! Row 12: an earlier version and this one, together on one database, under load: `make test-upgrade`.

use std::process::Command;

use crate::kit::process::ServerProcess;
use crate::kit::{TestDatabase, eventually, on_every_database};
use crate::provider::Reuse;
use crate::scene::Scene;

on_every_database! {
    an_earlier_version_is_replaced_by_this_one_under_load,
    this_version_is_taken_back_and_put_in_again_under_load,
}

/// Of tokens: some are always being renewed.
const LIFETIME_S: i64 = 20;
const KEYS: [&str; 8] = ["k1", "k2", "k3", "k4", "k5", "k6", "k7", "k8"];

/// The server of the earlier version; `tests/upgrade.sh` has built it.
fn earlier(scene: &Scene, name: &str) -> ServerProcess {
    let is_named = |(name, _): &(String, String)| name == "TEST_EARLIER_BINARY";
    let binary = std::env::vars().find(is_named).map(|(_, binary)| binary);
    let binary = binary.expect("tests/upgrade.sh names the earlier binary");
    scene.replica_by(Command::new(binary), name)
}

/// Reads by all of these until every token was renewed so many times since.
async fn renewed_under_load(scene: &mut Scene, servers: &[(usize, &ServerProcess)], times: i64) {
    let before = generations(scene).await;
    loop {
        for (caller, server) in servers {
            for key in KEYS {
                scene.read(&server.client, *caller, key).await;
            }
        }
        let now = generations(scene).await;
        let renewed = |(now, before): (&i64, &i64)| *now >= before + times;
        if now.iter().zip(&before).all(renewed) {
            return;
        }
    }
}

async fn generations(scene: &Scene) -> Vec<i64> {
    let mut generations = Vec::new();
    for key in KEYS {
        let query = format!("SELECT generation FROM ts_token WHERE key_name = '{key}'");
        generations.push(scene.database.number(&query).await);
    }
    generations
}

/// Stops one as an upgrade does.
fn stop(server: ServerProcess) {
    server.terminate();
    assert_eq!(server.exit_code(), Some(0));
}

async fn begun(database: TestDatabase) -> (Scene, ServerProcess) {
    let mut scene = Scene::set(database, Reuse::EndsFamily, LIFETIME_S).await;
    let old = earlier(&scene, "a");
    scene.register_realm(&old.client).await;
    for key in KEYS {
        scene.register(&old.client, key).await;
        old.client.generation("r", key, 1).await;
    }
    renewed_under_load(&mut scene, &[(0, &old)], 1).await;
    (scene, old)
}

/// Both have stored tokens, and each serves what the other has stored.
async fn both_renew(scene: &mut Scene, old: &ServerProcess, new: &ServerProcess) {
    let count = "SELECT COUNT(*) FROM ts_renewal WHERE outcome = 'stored'";
    let from = scene.database.number(count).await;
    renewed_under_load(scene, &[(0, old), (1, new)], 1).await;
    eventually("both renew", async || {
        let by = format!(
            "SELECT COUNT(DISTINCT replica) FROM (SELECT replica FROM ts_renewal \
             WHERE outcome = 'stored' ORDER BY id LIMIT 1000000 OFFSET {from}) AS since"
        );
        (scene.database.number(&by).await == 2).then_some(())
    })
    .await;
}

async fn an_earlier_version_is_replaced_by_this_one_under_load(database: TestDatabase) {
    let (mut scene, old) = begun(database).await;
    let new = scene.replica("b");
    both_renew(&mut scene, &old, &new).await;
    stop(old);
    renewed_under_load(&mut scene, &[(1, &new)], 2).await;
    scene.judge(&new.client).await;
    stop(new);
}

async fn this_version_is_taken_back_and_put_in_again_under_load(database: TestDatabase) {
    let (mut scene, old) = begun(database).await;
    let new = scene.replica("b");
    both_renew(&mut scene, &old, &new).await;
    stop(new);
    renewed_under_load(&mut scene, &[(0, &old)], 2).await;
    let new = scene.replica("b");
    renewed_under_load(&mut scene, &[(0, &old), (1, &new)], 1).await;
    stop(old);
    renewed_under_load(&mut scene, &[(1, &new)], 1).await;
    scene.judge(&new.client).await;
    stop(new);
}
