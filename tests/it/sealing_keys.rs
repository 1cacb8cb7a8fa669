//! Sealing keys: a server whose keys are another's does not start, one that lacks some is not ready,
//! all of them take another key while they run, and a lost one is given up.

use std::process::Command;

use serde_json::{Value, json};
use token_server::foundation::ids::SecretId;
use token_server::foundation::randomness::Randomness;
use token_server::foundation::sealing::{KeyRing, Sealed, SealedPlace, key_id};
use token_server::foundation::sealing_keys::follow;
use token_server::token::{SealedPart, seal};

use crate::kit::process::{ServerProcess, command};
use crate::kit::server::{Options, SEALING_KEYS};
use crate::kit::{Provider, Server, TestDatabase, eventually, on_every_database};

on_every_database! {
    keys_that_open_nothing_of_what_is_stored_do_not_start_until_the_lost_one_is_given_up,
    a_server_that_lacks_a_key_of_what_is_stored_is_not_ready_and_names_it,
    all_servers_take_another_key_under_reads_and_renewals_and_nothing_is_left_under_the_old_one,
    a_rotation_that_was_killed_goes_on,
    a_running_server_seals_its_spool_anew_once_another_key_seals,
    who_only_writes_to_the_database_does_not_choose_the_key_that_all_seal_with,
    a_choice_of_an_earlier_version_is_not_taken_and_the_log_says_to_make_it_again,
}

const KEYS: &str = "TOKEN_SERVER__SEALING__KEYS";

/// A key beside the one of the kit.
fn other_key() -> String {
    SEALING_KEYS
        .replace("AQE", "AgI")
        .replace("test:", "other:")
}

/// What a command of the real program prints, and its exit code.
fn run(database: &TestDatabase, keys: &str, arguments: &[&str]) -> (String, Option<i32>) {
    let mut command: Command = command(database, &[(KEYS, keys.to_owned())]);
    let output = command.args(arguments).output().expect("it runs");
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8(text).expect("text");
    (text, output.status.code())
}

async fn with_secrets(database: &TestDatabase, provider: &Provider, count: usize) -> Server {
    let server = Server::start(database).await;
    let client = &server.client;
    client.register_realm("r", &provider.url("/token")).await;
    for number in 0..count {
        client.save_secret("r", &format!("k{number}")).await;
    }
    for number in 0..count {
        client.generation("r", &format!("k{number}"), 1).await;
    }
    server
}

async fn keys_that_open_nothing_of_what_is_stored_do_not_start_until_the_lost_one_is_given_up(
    database: TestDatabase,
) {
    let provider = Provider::start().await;
    with_secrets(&database, &provider, 1).await.stop().await;
    let other = other_key();
    let (said, code) = run(&database, &other, &["realm", "list"]);
    assert!(code != Some(0), "{said}");
    let (said, code) = run(&database, &other, &["renew"]);
    assert_eq!(code, Some(64), "{said}");
    // The realm, the administrator's key, the parameters and the token, each with what authenticates
    // it, and what the audit is authenticated with.
    assert!(said.contains("\"test\" (7 values)"), "{said}");
    let registered = "SELECT COUNT(*) FROM ts_sealing_key WHERE key_id = 'other'";
    assert_eq!(database.number(registered).await, 0);
    let (said, code) = run(&database, SEALING_KEYS, &["forget-key", "test"]);
    assert_eq!(code, Some(2), "{said}");
    let (said, code) = run(&database, &other, &["forget-key", "tset"]);
    assert!(code == Some(2) && said.contains("known are test"), "{said}");
    let (said, code) = run(&database, &other, &["forget-key", "test"]);
    assert!(code == Some(0) && said.contains("(7 values)"), "{said}");
    // The key of the administrator is given up, too: it may have been revoked.
    let another = "another-administrators-key-0123456789";
    let env = [(KEYS, other.as_str()), ("TOKEN_SERVER__ADMIN_KEY", another)];
    let server = Server::start_with(&database, Options::default().with(&env)).await;
    let client = &server.client.with_key(another);
    client.get("/readyz").await.expect(200);
    let shown = client.get("/api/realm/r").await;
    shown.expect_problem(409, "unreadable_here");
    let audit = client.list("/api/audit").await;
    assert!(
        audit
            .iter()
            .any(|entry| { entry["action"] == "sealing_key.forget" && entry["target"] == "test" })
    );
    // What is saved again is good again.
    let realm = json!({"id": "r", "config": {
        "url": provider.url("/token"), "method": "GET",
        "token_path": "access_token", "expires_in_path": "expires_in",
    }, "logic_code": null});
    client.post("/api/realm", &realm).await.expect(200);
    client.delete("/api/secret/r/k0").await.expect(200);
    client.save_secret("r", "k0").await;
    client.generation("r", "k0", 2).await;
}

async fn a_server_that_lacks_a_key_of_what_is_stored_is_not_ready_and_names_it(
    database: TestDatabase,
) {
    let provider = Provider::start().await;
    let server = with_secrets(&database, &provider, 1).await;
    let both = format!("{},{SEALING_KEYS}", other_key());
    let newer = Server::start_with(&database, Options::default().with(&[(KEYS, &both)])).await;
    eventually("both are ready", async || {
        let ready = server.client.get("/readyz").await.status == 200;
        (ready && newer.client.get("/readyz").await.status == 200).then_some(())
    })
    .await;
    server.stop().await;
    crate::published_rings::look(&newer).await;
    newer.client.save_secret("r", "of-the-newer").await;
    newer.client.generation("r", "of-the-newer", 1).await;
    let lacking = Server::start(&database).await;
    let refused = lacking.client.get("/readyz").await;
    let problem = refused.expect_problem(503, "not_ready");
    let detail = problem["detail"].to_string();
    assert!(detail.contains("other"), "{detail}");
    newer.client.get("/readyz").await.expect(200);
}

/// How many values the command says that each key has.
fn counted(said: &str, key: &str) -> Option<u64> {
    let line = said
        .lines()
        .find(|line| line.starts_with(&format!("{key:?}:")))?;
    line.split(' ').nth(1)?.parse().ok()
}

async fn all_servers_take_another_key_under_reads_and_renewals_and_nothing_is_left_under_the_old_one(
    database: TestDatabase,
) {
    const COUNT: usize = 30;
    let provider = Provider::start().await;
    // One seals with the one key, the other with the other.
    let old = format!("{SEALING_KEYS},{}", other_key());
    let new = format!("{},{SEALING_KEYS}", other_key());
    let first = Server::start_with(&database, Options::default().with(&[(KEYS, &old)])).await;
    let second = Server::start_with(&database, Options::default().with(&[(KEYS, &new)])).await;
    let client = &first.client;
    client.register_realm("r", &provider.url("/token")).await;
    for number in 0..COUNT {
        client.save_secret("r", &format!("k{number}")).await;
    }
    for number in 0..COUNT {
        client.generation("r", &format!("k{number}"), 1).await;
    }
    let reading = async {
        for round in 0..10 {
            database.run("UPDATE ts_token SET renew_at = 0").await;
            for server in [&first, &second] {
                server.app().wake.notify_one();
                for number in 0..COUNT {
                    let read = server.client.token("r", &format!("k{number}")).await;
                    assert_eq!(read.status, 200, "{round}: {}", read.text);
                }
            }
        }
    };
    let by = token_server::registry::Actor::command_line();
    let rotating = second
        .app()
        .registry
        .rotate_sealing_key("other", &by, |_| ());
    let ((), rotated) = tokio::join!(reading, rotating);
    let rotated = rotated.expect("all that run have the key");
    let left: Vec<_> = rotated.uses.iter().filter(|key| key.values > 0).collect();
    assert_eq!(left.len(), 1, "{rotated:?}");
    assert!(rotated.sealed_anew >= COUNT as u64, "{rotated:?}");
    // The first goes on sealing with it, although its own first key is another.
    client.save_secret("r", "later").await;
    client.generation("r", "later", 1).await;
    assert_eq!(first.app().ring.sealing_id(), "other");
    for server in [first, second] {
        server.settled().await;
        let damaged = server.client.get("/metrics").await.expect(200).text;
        assert!(
            !damaged.contains("token_server_damaged_values_total{"),
            "{damaged}"
        );
        server.stop().await;
    }
    let (said, code) = run(&database, &new, &["rotate-key", "other"]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(counted(&said, "test"), Some(0), "{said}");
    // Without the old key everything opens.
    let server =
        Server::start_with(&database, Options::default().with(&[(KEYS, &other_key())])).await;
    server.client.get("/readyz").await.expect(200);
    server.client.token("r", "later").await.expect(200);
    server.client.get("/api/realm/r").await.expect(200);
}

async fn a_rotation_that_was_killed_goes_on(database: TestDatabase) {
    let provider = Provider::start().await;
    with_secrets(&database, &provider, 150).await.stop().await;
    let both = format!("{},{SEALING_KEYS}", other_key());
    let mut child = command(&database, &[(KEYS, both.clone())])
        .arg("rotate-key")
        .spawn()
        .expect("it runs");
    let begins = token_server::foundation::hex(&token_server::foundation::sealing::prefix("other"))
        .to_uppercase();
    let new = format!("SELECT COUNT(*) FROM ts_secret WHERE HEX(params) LIKE '{begins}%'");
    eventually("something is sealed anew", async || {
        (database.number(&new).await > 0).then_some(())
    })
    .await;
    child.kill().expect("it can be killed");
    child.wait().expect("it ends");
    let (said, code) = run(&database, &both, &["rotate-key"]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(counted(&said, "test"), Some(0), "{said}");
}

async fn a_running_server_seals_its_spool_anew_once_another_key_seals(database: TestDatabase) {
    let (provider, elsewhere) = (
        Provider::start().await,
        tempfile::tempdir().expect("a place"),
    );
    let both = format!("{SEALING_KEYS},{}", other_key());
    let server = Server::start_with(&database, Options::default().with(&[(KEYS, &both)])).await;
    server.client.register(&provider.url("/token")).await;
    // A pair that its database did not take.
    let app = server.app();
    let id = SecretId(database.number("SELECT id FROM ts_secret").await);
    let value = seal(id, SealedPart::RefreshToken, &"the-pair".into(), &app.ring);
    let file = json!({
        "attempt_id": "pair", "secret_id": id.0, "consumed": 1, "refresh_line": 1,
        "secret_version": 1, "realm_version": 1, "token": [], "token_type": null, "served": null,
        "per_read": false, "extra": null, "expires_at": null, "obtained_at": 1, "renew_at": null,
        "refresh_token": value, "refresh_expires_at": null,
    });
    let path = database.directory.path().join("spool/pair.json");
    std::fs::write(&path, file.to_string()).expect("the spool can be written to");
    // The command of another machine, which does not see that spool.
    let there = elsewhere.path().to_str().expect("a path");
    let mut rotate = command(
        &database,
        &[
            (KEYS, both.clone()),
            ("TOKEN_SERVER__DATA_DIR", there.to_owned()),
        ],
    );
    let rotated = rotate.args(["rotate-key", "other"]).output();
    let rotated = rotated.expect("it runs");
    let said = String::from_utf8(rotated.stdout).expect("text");
    assert!(rotated.status.success(), "{said}");
    assert!(
        said.contains("not counted: what is in the spools"),
        "{said}"
    );
    let refresh_token = || {
        let text = std::fs::read(&path).expect("it is there, whenever one looks");
        let file: Value = serde_json::from_slice(&text).expect("it is whole");
        serde_json::from_value::<Sealed>(file["refresh_token"].clone()).expect("a sealed value")
    };
    eventually("it is under the new key", async || {
        (key_id(&refresh_token()) == Some("other")).then_some(())
    })
    .await;
    // The same value, which opens without the old key.
    let ring = KeyRing::parse(&other_key().as_str().into(), Randomness::seeded(1));
    let ring = ring.expect("a key ring");
    let place = SealedPlace {
        table: "ts_token",
        row: &id.to_string(),
        column: "refresh_token",
    };
    let opened = ring.open(&place, &refresh_token()).expect("it opens");
    assert_eq!(opened.as_slice(), b"the-pair");
}

async fn who_only_writes_to_the_database_does_not_choose_the_key_that_all_seal_with(
    database: TestDatabase,
) {
    // Without a rotation they seal with the first.
    let both = format!("{SEALING_KEYS},{}", other_key());
    let start = || Server::start_with(&database, Options::default().with(&[(KEYS, &both)]));
    let running = start().await;
    assert_eq!(running.app().ring.sealing_id(), "test");
    let (said, code) = run(&database, &both, &["rotate-key", "other"]);
    assert_eq!(code, Some(0), "{said}");
    eventually("the running server takes it", async || {
        (running.app().ring.sealing_id() == "other").then_some(())
    })
    .await;
    let of_other = "SELECT seals_since FROM ts_sealing_key WHERE key_id = 'other'";
    let since = database.number(of_other).await;
    let copies = "CREATE TABLE kept AS SELECT * FROM ts_sealing_key";
    database.run(copies).await;
    for forged in [
        format!("seals_since = {}", since + 1),
        format!(
            "seals_since = {}, seals_mac = (SELECT seals_mac FROM kept WHERE key_id = 'other')",
            since + 1
        ),
        format!("seals_since = {}, seals_mac = check_value", since + 1),
    ] {
        let forged = format!("UPDATE ts_sealing_key SET {forged} WHERE key_id = 'test'");
        database.run(&forged).await;
        let started = start().await;
        for server in [&started, &running] {
            let (reader, ring) = (server.app().database.reader(), &server.app().ring);
            follow(reader, ring).await.expect("the database answers");
            assert_eq!(ring.sealing_id(), "other", "{forged}");
        }
        started.stop().await;
    }
    // A key that nobody has is told of, and stops nobody.
    let unknown = format!(
        "INSERT INTO ts_sealing_key (key_id, check_value, created_at, seals_since, seals_mac) \
         SELECT 'oth3r', check_value, created_at, {}, seals_mac FROM kept WHERE key_id = 'other'",
        since + 2
    );
    database.run(&unknown).await;
    let started = start().await;
    assert_eq!(started.app().ring.sealing_id(), "other");
    started.stop().await;
    // To rotate again is all it takes.
    let (said, code) = run(&database, &both, &["rotate-key", "test"]);
    assert_eq!(code, Some(0), "{said}");
    eventually("the running server takes it", async || {
        (running.app().ring.sealing_id() == "test").then_some(())
    })
    .await;
}

async fn a_choice_of_an_earlier_version_is_not_taken_and_the_log_says_to_make_it_again(
    database: TestDatabase,
) {
    let both = format!("{SEALING_KEYS},{}", other_key());
    let rotate = || {
        let (said, code) = run(&database, &both, &["rotate-key", "other"]);
        assert_eq!(code, Some(0), "{said}");
    };
    let told = || {
        let server = ServerProcess::start(&database, &[(KEYS, both.clone())]);
        let mut log = server.before_it_served.clone();
        log.extend(server.logged());
        log.retain(|line| line.contains("a sealing key is not taken"));
        log
    };
    drop(ServerProcess::start(&database, &[(KEYS, both.clone())]));
    rotate();
    // As migration 29 finds it.
    database
        .run("UPDATE ts_sealing_key SET seals_mac = NULL")
        .await;
    let log = told();
    assert!(!log.is_empty(), "nothing is said");
    for line in log {
        assert!(line.contains("run rotate-key again"), "{line}");
        assert!(line.contains("earlier version"), "{line}");
        assert!(!line.contains("not written by a token server"), "{line}");
    }
    rotate();
    assert_eq!(told(), Vec::<String>::new());
}
