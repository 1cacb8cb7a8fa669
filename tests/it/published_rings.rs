//! No value is sealed with a key that another server which runs lacks: each says which keys it has,
//! a newer key waits until all have it, and who lacks one that is sealed with is not ready.

use std::sync::Arc;

use serde_json::json;
use token_server::app::App;
use token_server::foundation::clock::{EpochMs, ManualClock, Ms};
use token_server::foundation::sealing_keys::uses;

use crate::access::make_key;
use crate::kit::process::{ServerProcess, command};
use crate::kit::server::{Options, SEALING_KEYS};
use crate::kit::{Provider, Server, TestDatabase, on_every_database, strict_json};

on_every_database! {
    a_newer_key_waits_until_all_that_run_have_it_and_seals_then_without_a_restart,
    a_server_whose_keys_lack_the_one_that_others_seal_with_is_not_ready,
    a_server_that_died_is_waited_for_no_longer_than_it_counts_as_running,
    a_server_that_starts_while_another_takes_a_newer_key_is_waited_for_or_not_ready,
    a_rotation_to_a_key_that_a_running_server_lacks_changes_nothing,
    commands_seal_with_no_key_that_a_running_server_lacks,
    a_server_without_any_key_in_common_with_those_that_run_does_not_start,
    a_server_of_an_earlier_version_is_noticed_by_what_it_did,
    a_row_that_no_server_wrote_keeps_nobody_from_a_newer_key,
}

const KEYS: &str = "TOKEN_SERVER__SEALING__KEYS";
const WAITS: &str = "token_server_sealing_key_waits";

fn other_key() -> String {
    SEALING_KEYS
        .replace("AQE", "AgI")
        .replace("test:", "other:")
}

/// The newer one first.
fn both() -> String {
    format!("{},{SEALING_KEYS}", other_key())
}

fn with(keys: &str) -> Options {
    Options::default().with(&[(KEYS, keys)])
}

/// Has a server look at what the others have, as it does each ten seconds.
pub async fn look(server: &Server) {
    look_by(server.app()).await;
}

async fn look_by(app: &App) {
    let presence = app.ring_presence.as_ref().expect("it says what it has");
    presence.pass().await.expect("the database answers");
}

async fn sealed_with_other(server: &Server) -> u64 {
    let reader = server.app().database.reader();
    let uses = uses(reader, ["other".to_owned()]).await;
    uses.expect("the database answers")[0].values
}

async fn waits(server: &Server) -> bool {
    let page = server.client.get("/metrics").await.expect(200).text;
    let line = page.lines().find(|line| line.starts_with(WAITS));
    match line.expect("the metric is there") {
        "token_server_sealing_key_waits 1" => true,
        "token_server_sealing_key_waits 0" => false,
        other => panic!("{other}"),
    }
}

fn seals_with(server: &Server) -> &str {
    server.app().ring.sealing_id()
}

async fn a_newer_key_waits_until_all_that_run_have_it_and_seals_then_without_a_restart(
    database: TestDatabase,
) {
    let provider = Provider::start().await;
    let older = Server::start(&database).await;
    let client = &older.client;
    client.register_realm("r", &provider.url("/token")).await;
    let newer = Server::start_with(&database, with(&both())).await;
    assert_eq!(seals_with(&newer), "test");
    assert!(waits(&newer).await);
    // Whatever it stores opens for the other.
    newer.client.save_secret("r", "k").await;
    newer.client.generation("r", "k", 1).await;
    let document = json!({"name": "made", "scopes": ["realm:read"]});
    let (_, made) = make_key(&newer.client, &document).await;
    look(&newer).await;
    assert_eq!(sealed_with_other(&newer).await, 0);
    client.token("r", "k").await.expect(200);
    client.with_key(&made).get("/api/realm/r").await.expect(200);
    client.get("/readyz").await.expect(200);
    newer.client.get("/readyz").await.expect(200);
    // A start says who lacks which.
    let third = ServerProcess::start(&database, &[(KEYS, both())]);
    let told = third.before_it_served.iter();
    let told: Vec<_> = told
        .filter(|line| line.contains("a newer sealing key waits"))
        .collect();
    assert_eq!(told.len(), 1, "{told:?}");
    let line = strict_json::read(told[0]);
    assert_eq!(
        (&line["key"], &line["sealing"]),
        (&json!("other"), &json!("test"))
    );
    let lacking = line["lacking"].to_string();
    assert!(lacking.contains(&older.app().replica.id.0), "{line}");
    assert!(!lacking.contains(&newer.app().replica.id.0), "{line}");
    third.terminate();
    assert_eq!(third.exit_code(), Some(0));
    older.stop().await;
    // In whatever order that one has them.
    let turned = format!("{SEALING_KEYS},{}", other_key());
    let older = Server::start_with(&database, with(&turned)).await;
    look(&newer).await;
    assert_eq!(seals_with(&newer), "other");
    assert!(!waits(&newer).await);
    newer.client.save_secret("r", "later").await;
    newer.client.generation("r", "later", 1).await;
    assert!(sealed_with_other(&newer).await > 0);
    older.client.token("r", "later").await.expect(200);
    for server in [older, newer] {
        server.client.get("/readyz").await.expect(200);
        server.stop().await;
    }
}

async fn a_server_whose_keys_lack_the_one_that_others_seal_with_is_not_ready(
    database: TestDatabase,
) {
    let newer = Server::start_with(&database, with(&both())).await;
    assert_eq!(seals_with(&newer), "other");
    let older = Server::start(&database).await;
    let refused = older.client.get("/readyz").await;
    let problem = refused.expect_problem(503, "not_ready");
    assert!(problem["detail"].to_string().contains("other"), "{problem}");
    // It keeps nobody from that key.
    look(&newer).await;
    assert_eq!(seals_with(&newer), "other");
    newer.client.get("/readyz").await.expect(200);
}

async fn a_server_that_died_is_waited_for_no_longer_than_it_counts_as_running(
    database: TestDatabase,
) {
    let clock = Arc::new(ManualClock::at(EpochMs(1_700_000_000_000)));
    let options = |keys: &str| Options {
        clock: Some(clock.clone()),
        ..with(keys)
    };
    let older = Server::opened(&database, options(SEALING_KEYS)).await;
    // While it runs, another server is another replica.
    let newer = Server::start_with(&database, options(&both())).await;
    // Nobody closes it.
    drop(older);
    clock.advance(Ms::from_secs(29));
    look(&newer).await;
    assert_eq!(seals_with(&newer), "test");
    clock.advance(Ms::from_secs(2));
    look(&newer).await;
    assert_eq!(seals_with(&newer), "other");
    // One that goes on counts.
    let third = Server::start_with(&database, options(&both())).await;
    assert_eq!(seals_with(&third), "other");
}

async fn a_server_that_starts_while_another_takes_a_newer_key_is_waited_for_or_not_ready(
    database: TestDatabase,
) {
    let (mut waited, mut not_ready) = (0, 0);
    for _ in 0..12 {
        let first = Server::opened(&database, with(SEALING_KEYS)).await;
        let newer = Server::opened(&database, with(&both())).await;
        assert_eq!(newer.ring.sealing_id(), "test");
        first.close().await;
        let (older, ()) = tokio::join!(
            Server::opened(&database, with(SEALING_KEYS)),
            look_by(&newer)
        );
        let lacked = older.lacked_keys.now().await.expect("the database answers");
        match newer.ring.sealing_id() {
            "test" => {
                waited += 1;
                assert_eq!(lacked, []);
            }
            _ => {
                not_ready += 1;
                assert!(lacked.iter().any(|key| key.key_id == "other"), "{lacked:?}");
            }
        }
        older.close().await;
        newer.close().await;
    }
    assert_eq!(waited + not_ready, 12);
}

/// What a command of the real program prints, and its exit code.
fn run(database: &TestDatabase, keys: &str, arguments: &[&str]) -> (String, Option<i32>) {
    let mut command = command(database, &[(KEYS, keys.to_owned())]);
    let output = command.args(arguments).output().expect("it runs");
    let text = [output.stdout, output.stderr].concat();
    (String::from_utf8(text).expect("text"), output.status.code())
}

async fn a_rotation_to_a_key_that_a_running_server_lacks_changes_nothing(database: TestDatabase) {
    let older = Server::start(&database).await;
    let name = older.app().replica.id.0.clone();
    let (said, code) = run(&database, &both(), &["rotate-key", "other"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(
        said.contains(&name) && said.contains("nothing was changed"),
        "{said}"
    );
    let named = "SELECT COUNT(*) FROM ts_sealing_key WHERE seals_since IS NOT NULL";
    assert_eq!(database.number(named).await, 0);
    assert_eq!(sealed_with_other(&older).await, 0);
    let audit = older.client.list("/api/audit").await;
    assert!(
        audit
            .iter()
            .all(|entry| entry["action"] != "sealing_key.rotate")
    );
    older.stop().await;
    let (said, code) = run(&database, &both(), &["rotate-key", "other"]);
    assert_eq!(code, Some(0), "{said}");
    // Once it is done, nobody who starts with the old keys turns it back.
    let newer = Server::start_with(&database, with(&both())).await;
    let older = Server::start(&database).await;
    older
        .client
        .get("/readyz")
        .await
        .expect_problem(503, "not_ready");
    look(&newer).await;
    assert_eq!(seals_with(&newer), "other");
}

async fn commands_seal_with_no_key_that_a_running_server_lacks(database: TestDatabase) {
    let older = Server::start(&database).await;
    let folder = tempfile::tempdir().expect("a folder can be made");
    let file = |name: &str, content: serde_json::Value| {
        let path = folder.path().join(name);
        std::fs::write(&path, content.to_string()).expect("it can be written");
        path.display().to_string()
    };
    let realm = file("realm.json", json!({"id": "r"}));
    let secret = file(
        "secret.json",
        json!([{"realm": "r", "key": "k", "token": "t"}]),
    );
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&secret, private).expect("its mode can be set");
    for arguments in [
        &["realm", "apply", &realm][..],
        &["secret", "apply", &secret],
        &["api-key", "create", "made", "--scope", "metrics"],
        &["renew"],
    ] {
        let (said, code) = run(&database, &both(), arguments);
        assert_eq!(code, Some(0), "{arguments:?}: {said}");
        assert_eq!(sealed_with_other(&older).await, 0, "{arguments:?}");
    }
    older.client.token("r", "k").await.expect(200);
    older.client.get("/readyz").await.expect(200);
}

async fn a_server_without_any_key_in_common_with_those_that_run_does_not_start(
    database: TestDatabase,
) {
    let first = Server::opened(&database, with(SEALING_KEYS)).await;
    // Nothing is stored that it could not open.
    for table in ["ts_api_key", "ts_audit_chain", "ts_audit"] {
        database.run(&format!("DELETE FROM {table}")).await;
    }
    let (said, code) = run(&database, &other_key(), &["renew"]);
    assert_eq!(code, Some(64), "{said}");
    assert!(said.contains("they seal with \"test\""), "{said}");
    let published = "SELECT COUNT(*) FROM ts_replica WHERE seals = 'other'";
    assert_eq!(database.number(published).await, 0);
    first.close().await;
    let (said, code) = run(&database, &other_key(), &["renew"]);
    assert_eq!(code, Some(0), "{said}");
}

async fn a_server_of_an_earlier_version_is_noticed_by_what_it_did(database: TestDatabase) {
    let clock = Arc::new(ManualClock::at(EpochMs(1_700_000_000_000)));
    let options = |keys: &str| Options {
        clock: Some(clock.clone()),
        ..with(keys)
    };
    let provider = Provider::start().await;
    let earlier = Server::start_with(&database, options(SEALING_KEYS)).await;
    let client = &earlier.client;
    client.register_realm("r", &provider.url("/token")).await;
    client.save_secret("r", "k").await;
    client.generation("r", "k", 1).await;
    earlier.settled().await;
    let name = earlier.app().replica.id.0.clone();
    earlier.stop().await;
    // It publishes nothing.
    database.run("DELETE FROM ts_replica").await;
    let elsewhere = tempfile::tempdir().expect("a folder can be made");
    let data_dir = elsewhere.path().display().to_string();
    let newer = options(&both()).with(&[("TOKEN_SERVER__DATA_DIR", &data_dir)]);
    let newer = Server::start_with(&database, newer).await;
    assert_eq!(seals_with(&newer), "test");
    assert!(waits(&newer).await);
    let by = token_server::registry::Actor::command_line();
    let rotated = newer
        .app()
        .registry
        .rotate_sealing_key("other", &by, |_| ());
    let refused = rotated.await.expect_err("one may lack the key");
    let token_server::registry::RotateError::LackedBy(lacking) = refused else {
        panic!("{refused:?}");
    };
    assert!(format!("{lacking:?}").contains(&name), "{lacking:?}");
    clock.advance(Ms::from_secs(11 * 60));
    look(&newer).await;
    assert_eq!(seals_with(&newer), "other");
    assert!(!waits(&newer).await);
}

async fn a_row_that_no_server_wrote_keeps_nobody_from_a_newer_key(database: TestDatabase) {
    let older = Server::start(&database).await;
    let copied =
        "INSERT INTO ts_replica SELECT 'copied', key_ids, seals, live_until, mac FROM ts_replica";
    database.run(copied).await;
    let prolonged =
        "UPDATE ts_replica SET live_until = live_until + 10000000 WHERE replica <> 'copied'";
    older.stop().await;
    database.run(prolonged).await;
    let newer = Server::start_with(&database, with(&both())).await;
    assert_eq!(seals_with(&newer), "other");
    assert!(!waits(&newer).await);
}
