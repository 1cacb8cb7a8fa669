//! Rows 1 and 4: answers that come after their attempt has given up, where the refresh
//! token is used up already.

use serde_json::json;
use token_server::foundation::clock::Ms;

use crate::kit::process::ServerProcess;
use crate::kit::{TestDatabase, eventually, on_every_database};
use crate::provider::{Held, Reuse};
use crate::scene::{LIFETIME_S, Scene, rotating_realm};

on_every_database! {
    a_pair_that_comes_after_its_attempt_has_failed_is_waited_for_and_kept,
    where_nothing_comes_late_either_the_next_attempt_waits_no_longer,
    a_pair_that_comes_late_ends_the_trouble_where_nothing_is_sent_twice,
    a_realm_that_is_saved_meanwhile_makes_nobody_forget_what_may_come,
    a_server_that_stops_waits_for_a_late_pair,
    a_run_waits_for_a_late_pair,
    a_killed_server_waits_no_longer_for_what_will_not_come,
}

/// The provider rotates, and keeps its answer until the attempt is over.
async fn fails_while_the_answer_is_held(scene: &Scene, server: &ServerProcess, state: &str) {
    scene.rotates_unanswered().await;
    server.client.state("r", "k", state).await;
}

async fn a_pair_that_comes_after_its_attempt_has_failed_is_waited_for_and_kept(
    database: TestDatabase,
) {
    let mut scene = Scene::set(database, Reuse::EndsFamily, LIFETIME_S).await;
    let server = scene.replica("a");
    scene.begin(&server.client).await;
    fails_while_the_answer_is_held(&scene, &server, "retrying").await;
    next_waits(&scene, &server).await;
    assert_eq!(scene.read(&server.client, 0, "k").await, Some(1));
    assert_eq!(scene.provider.received(), 2, "nothing is sent meanwhile");
    scene.provider.hold(Held::Nowhere);
    server.client.generation("r", "k", 2).await;
    assert_eq!(scene.read(&server.client, 0, "k").await, Some(2));
    scene.renews_again(&server.client, "k").await;
    assert_eq!(scene.provider.rotations(), 3);
    scene.judge(&server.client).await;
}

/// The next attempt is due, and waits for what the one before may bring.
async fn next_waits(scene: &Scene, server: &ServerProcess) {
    scene.due().await;
    eventually("it waits", async || {
        let secret = server.client.secret("r", "k").await;
        secret["waiting"].is_string().then_some(())
    })
    .await;
}

async fn where_nothing_comes_late_either_the_next_attempt_waits_no_longer(database: TestDatabase) {
    let scene = Scene::set(database, Reuse::EndsFamily, LIFETIME_S).await;
    let server = scene.replica("a");
    scene.begin(&server.client).await;
    scene.provider.hold(Held::Before);
    scene.due().await;
    server.client.state("r", "k", "retrying").await;
    next_waits(&scene, &server).await;
    assert_eq!(scene.provider.received(), 2);
    scene.provider.hold(Held::Dropped);
    server.client.generation("r", "k", 2).await;
    assert_eq!(scene.provider.rotations(), 2);
    scene.judge(&server.client).await;
}

async fn a_pair_that_comes_late_ends_the_trouble_where_nothing_is_sent_twice(
    database: TestDatabase,
) {
    let scene = Scene::set(database, Reuse::EndsFamily, LIFETIME_S).await;
    let server = scene.replica("a");
    let mut realm = rotating_realm(&scene.provider);
    realm["refresh"] = json!({"retry": "never", "arguments": realm["arguments"].clone()});
    server.client.save_realm("r", realm).await;
    scene.register(&server.client, "k").await;
    server.client.generation("r", "k", 1).await;
    fails_while_the_answer_is_held(&scene, &server, "needs_attention").await;
    scene.provider.hold(Held::Nowhere);
    server.client.generation("r", "k", 2).await;
    assert_eq!(server.client.secret("r", "k").await["state"], "active");
    scene.renews_again(&server.client, "k").await;
    scene.judge(&server.client).await;
}

async fn a_realm_that_is_saved_meanwhile_makes_nobody_forget_what_may_come(database: TestDatabase) {
    let scene = Scene::set(database, Reuse::EndsFamily, LIFETIME_S).await;
    let server = scene.replica("a");
    scene.begin(&server.client).await;
    scene.rotates_unanswered().await;
    let mut realm = rotating_realm(&scene.provider);
    realm["policy"]["timeout_s"] = json!(2);
    server.client.save_realm("r", realm).await;
    next_waits(&scene, &server).await;
    assert_eq!(scene.provider.received(), 2, "nothing is sent meanwhile");
    scene.provider.hold(Held::Nowhere);
    // The pair that came is of the realm as it was: only its refresh token is used.
    server.client.generation("r", "k", 2).await;
    assert_eq!(scene.provider.rotations(), 3);
    scene.judge(&server.client).await;
}

async fn a_server_that_stops_waits_for_a_late_pair(database: TestDatabase) {
    let scene = Scene::set(database, Reuse::EndsFamily, LIFETIME_S).await;
    let server = scene.replica("a");
    scene.begin(&server.client).await;
    fails_while_the_answer_is_held(&scene, &server, "retrying").await;
    server.terminate();
    eventually("the server takes no more requests", async || {
        let request = server.client.request(reqwest::Method::GET, "/healthz");
        request.send().await.is_err().then_some(())
    })
    .await;
    scene.provider.hold(Held::Nowhere);
    assert_eq!(server.exit_code(), Some(0));
    let server = scene.replica("a");
    server.client.generation("r", "k", 2).await;
    scene.renews_again(&server.client, "k").await;
    scene.judge(&server.client).await;
}

async fn a_run_waits_for_a_late_pair(database: TestDatabase) {
    let scene = Scene::set(database, Reuse::EndsFamily, LIFETIME_S).await;
    let server = scene.replica("a");
    scene.begin(&server.client).await;
    server.terminate();
    assert_eq!(server.exit_code(), Some(0));
    scene.provider.hold(Held::After);
    scene.due().await;
    let mut run = scene.command("a").arg("renew").spawn().expect("it starts");
    eventually("the attempt has failed", async || {
        let failed = "SELECT COUNT(*) FROM ts_token WHERE lost_awaited";
        (scene.database.number(failed).await == 1).then_some(())
    })
    .await;
    assert_eq!(scene.provider.rotations(), 2);
    scene.provider.hold(Held::Nowhere);
    let ended = run.wait().expect("it ends");
    assert_eq!(ended.code(), Some(1), "an attempt has failed");
    let server = scene.replica("a");
    assert_eq!(
        server.client.generation("r", "k", 2).await["state"],
        "active"
    );
    scene.renews_again(&server.client, "k").await;
    scene.judge(&server.client).await;
}

async fn a_killed_server_waits_no_longer_for_what_will_not_come(database: TestDatabase) {
    // For longer than a restart takes.
    let accepted = Reuse::AcceptedFor(Ms::from_secs(60));
    let mut scene = Scene::set(database, accepted, LIFETIME_S).await;
    let server = scene.replica("a");
    scene.begin(&server.client).await;
    // The server knows nothing of that: by itself it would not send the used one again in time.
    let mut realm = rotating_realm(&scene.provider);
    realm["policy"]["refresh_overlap_s"] = 0.into();
    server.client.save_realm("r", realm).await;
    fails_while_the_answer_is_held(&scene, &server, "retrying").await;
    next_waits(&scene, &server).await;
    scene.kill("a", server).await;
    scene.provider.hold(Held::Nowhere);
    let server = scene.replica("a");
    server.client.generation("r", "k", 2).await;
    scene.renews_again(&server.client, "k").await;
    scene.judge(&server.client).await;
}
