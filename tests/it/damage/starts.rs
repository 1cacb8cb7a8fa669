//! What a start finds damaged: the check value of a sealing key, files of the spool.

use std::fs;

use serde_json::json;
use token_server::app::{App, StartError};
use token_server::config::Settings;
use token_server::foundation::clock::SystemClock;
use token_server::foundation::hex;
use token_server::foundation::ids::RealmId;
use token_server::foundation::randomness::Randomness;
use token_server::foundation::sealing::{KeyRing, prefix};
use token_server::foundation::sealing_keys::SEALED_COLUMNS;

use super::{HARMS, Harm, Stored, register, register_realm, run, server};
use crate::kit::process::{ServerProcess, command};
use crate::kit::server::{SEALING_KEYS, environment};
use crate::kit::{Answer, Provider, TestDatabase, on_every_database};

on_every_database! {
    a_damaged_check_value_stops_the_start_and_is_named_where_nothing_proves_the_key,
    a_damaged_check_value_is_written_again_where_the_key_opens_a_secret,
    a_wrong_key_is_refused_although_there_are_secrets,
    a_wrong_key_is_refused_by_each_kind_of_stored_value_alone,
    a_wrong_key_is_refused_behind_more_secrets_of_another_key_than_are_tried,
    a_damaged_refresh_token_in_the_spool_takes_no_good_ones_place,
    a_pair_in_the_spool_waits_for_a_key_that_its_server_lacks,
    a_pair_in_the_spool_is_sealed_with_the_new_key_when_it_is_brought,
}

fn check_value() -> Stored {
    Stored {
        table: "ts_sealing_key",
        column: "check_value",
        row: "key_id = 'test'".to_owned(),
    }
}

async fn start(
    database: &TestDatabase,
    more: &[(&'static str, String)],
) -> Result<App, StartError> {
    let settings = Settings::load(None, &environment(database, more));
    let settings = settings.expect("the test's configuration is good");
    let clock = std::sync::Arc::new(SystemClock);
    let randomness = Randomness::from_system().expect("the system has randomness");
    Box::pin(App::open(settings, clock, randomness)).await
}

/// It starts, and ends.
async fn starts(database: &TestDatabase) {
    let app = start(database, &[]).await.expect("it starts");
    app.close().await;
}

fn refused(start: Result<App, StartError>) -> String {
    match start {
        Ok(_) => panic!("it started"),
        Err(error) => error.to_string(),
    }
}

async fn a_damaged_check_value_stops_the_start_and_is_named_where_nothing_proves_the_key(
    database: TestDatabase,
) {
    server(&database).await.stop().await;
    for table in ["ts_api_key", "ts_audit_chain", "ts_audit"] {
        run(&database, &format!("DELETE FROM {table}")).await;
    }
    let whole = check_value().read(&database).await;
    for harm in HARMS {
        check_value()
            .write(&database, harm.done_to(whole.clone(), vec![1, 2, 3]))
            .await;
        let why = refused(start(&database, &[]).await);
        assert!(
            why.contains("ts_sealing_key.check_value of row \"test\""),
            "{why}"
        );
        assert!(why.contains("delete that row"), "{why}");
    }
    // What it says helps.
    run(
        &database,
        "DELETE FROM ts_sealing_key WHERE key_id = 'test'",
    )
    .await;
    starts(&database).await;
    starts(&database).await;
}

async fn a_damaged_check_value_is_written_again_where_the_key_opens_a_secret(
    database: TestDatabase,
) {
    let (provider, first) = (Provider::start().await, server(&database).await);
    register_realm(&first, &provider, json!({})).await;
    register(&first, &["damaged", "k"]).await;
    first.stop().await;
    let damaged = Stored::of_key("ts_secret", "params", "damaged");
    damaged.harm(&database, Harm::Tag, &damaged).await;
    let whole = check_value().read(&database).await;
    for harm in HARMS {
        check_value()
            .write(&database, harm.done_to(whole.clone(), vec![1, 2, 3]))
            .await;
        starts(&database).await;
        let written = check_value().read(&database).await;
        assert_eq!(written.len(), whole.len(), "{harm:?}");
        starts(&database).await;
        assert_eq!(check_value().read(&database).await, written, "{harm:?}");
    }
}

async fn a_wrong_key_is_refused_although_there_are_secrets(database: TestDatabase) {
    let (provider, first) = (Provider::start().await, server(&database).await);
    register_realm(&first, &provider, json!({})).await;
    register(&first, &["k"]).await;
    first.stop().await;
    let another = "test:AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=".to_owned();
    let wrong = [("TOKEN_SERVER__SEALING__KEYS", another)];
    let before = check_value().read(&database).await;
    let why = refused(start(&database, &wrong).await);
    assert!(why.contains("is not the one"), "{why}");
    assert_eq!(check_value().read(&database).await, before);
}

/// The key of the kit's id that is another.
const WRONG: &str = "test:AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=";
const OTHER: &str = "other:AwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwM=";

fn keys(keys: String) -> [(&'static str, String); 1] {
    [("TOKEN_SERVER__SEALING__KEYS", keys)]
}

/// What is stored, but for one table of it, goes; so does the check value of the key.
async fn leave(database: &TestDatabase, table: &str) {
    for (other, _) in SEALED_COLUMNS {
        if other != table {
            run(database, &format!("DELETE FROM {other}")).await;
        }
    }
    let check = "DELETE FROM ts_sealing_key WHERE key_id = 'test'";
    run(database, check).await;
}

async fn a_wrong_key_is_refused_by_each_kind_of_stored_value_alone(database: TestDatabase) {
    let (provider, first) = (Provider::start().await, server(&database).await);
    let answer = json!({"access_token": "t", "expires_in": 7200, "refresh_token": "r"});
    provider.answer_with(Answer::status(200).with_json(&answer));
    let refreshing = json!({"refresh_token_path": "refresh_token", "refresh": {}});
    register_realm(&first, &provider, refreshing).await;
    register(&first, &["k"]).await;
    let issuer = json!({"issuer": "https://issuer.example", "audiences": ["a"],
        "rules": [{"when": "claims.sub == 'a'", "scopes": ["token:read"]}]});
    let saved = first.client.put("/api/issuer/one", &issuer).await;
    saved.expect(200);
    first.stop().await;
    // What a provider pushes, and what is kept beside a token.
    let ring = KeyRing::parse(&SEALING_KEYS.into(), Randomness::seeded(1)).expect("a ring");
    let (realm, value) = (RealmId::stored("r".to_owned()), "ticket".into());
    let ticket = hex(&token_server::ticket::seal(&realm, "app", &value, &ring).0);
    run(
        &database,
        &format!(
            "INSERT INTO ts_ticket (realm_id, app_id, value, sent_at, received_at, expires_at) \
             VALUES ('r', 'app', X'{ticket}', 1, 1, 1)"
        ),
    )
    .await;
    run(
        &database,
        "INSERT INTO ts_candidate (attempt_id, secret_id, consumed, refresh_line, \
         secret_version, realm_version, token, per_read, obtained_at, refresh_token) \
         SELECT 'a', secret_id, 1, 1, 1, 1, token, 0, 1, refresh_token FROM ts_token",
    )
    .await;
    for (table, _) in SEALED_COLUMNS {
        run(
            &database,
            &format!("CREATE TABLE kept_{table} AS SELECT * FROM {table}"),
        )
        .await;
        let count = format!("SELECT COUNT(*) FROM {table}");
        assert!(database.number(&count).await > 0, "{table}");
    }
    for (table, _) in SEALED_COLUMNS {
        leave(&database, table).await;
        let why = refused(start(&database, &keys(WRONG.to_owned())).await);
        assert!(why.contains("is not the one"), "{table}: {why}");
        let checks = "SELECT COUNT(*) FROM ts_sealing_key";
        assert_eq!(database.number(checks).await, 0, "{table}");
        // The right one is proved by the same.
        starts(&database).await;
        for (table, _) in SEALED_COLUMNS {
            run(&database, &format!("DELETE FROM {table}")).await;
            let kept = format!("INSERT INTO {table} SELECT * FROM kept_{table}");
            run(&database, &kept).await;
        }
    }
}

async fn a_wrong_key_is_refused_behind_more_secrets_of_another_key_than_are_tried(
    database: TestDatabase,
) {
    // Half-way through a rotation.
    let both = format!("{OTHER},{SEALING_KEYS}");
    let app = start(&database, &keys(both)).await.expect("it starts");
    app.close().await;
    let of_other = hex(&prefix("other"));
    let rows = (0..1100).map(|number| format!("('r', 'k{number}', X'{of_other}', 1, 1, 1)"));
    let rows = rows.collect::<Vec<_>>().join(", ");
    run(
        &database,
        &format!(
            "INSERT INTO ts_secret (realm_id, key_name, params, version, created_at, updated_at) \
             VALUES {rows}"
        ),
    )
    .await;
    let (provider, first) = (Provider::start().await, server(&database).await);
    register_realm(&first, &provider, json!({})).await;
    register(&first, &["last"]).await;
    first.stop().await;
    leave(&database, "ts_secret").await;
    let wrong = keys(format!("{OTHER},{WRONG}"));
    let why = refused(start(&database, &wrong).await);
    assert!(why.contains("is not the one"), "{why}");
    let right = keys(format!("{OTHER},{SEALING_KEYS}"));
    let app = start(&database, &right).await.expect("it starts");
    app.close().await;
}

/// A file of the spool, as a process leaves it that was killed with a pair in hand.
async fn spool(database: &TestDatabase, key: &str, attempt: &str, harm: Option<Harm>) {
    let column = async |column| Stored::of_key("ts_token", column, key).read(database).await;
    let (token, mut refresh) = (column("token").await, column("refresh_token").await);
    if let Some(harm) = harm {
        refresh = harm.done_to(refresh, token.clone());
    }
    let of = async |what: &str| super::number(database, what, key).await;
    let file = json!({
        "attempt_id": attempt, "secret_id": of("secret_id").await,
        "consumed": of("generation").await, "refresh_line": of("refresh_line").await,
        "secret_version": 1, "realm_version": 1,
        "token": token, "token_type": null, "served": null, "per_read": false, "extra": null,
        "expires_at": of("expires_at").await, "obtained_at": of("obtained_at").await + 1,
        "renew_at": of("renew_at").await,
        "refresh_token": refresh, "refresh_expires_at": null,
    });
    let path = database
        .directory
        .path()
        .join(format!("spool/{attempt}.json"));
    fs::write(path, file.to_string()).expect("the spool can be written to");
}

async fn a_damaged_refresh_token_in_the_spool_takes_no_good_ones_place(database: TestDatabase) {
    let (provider, first) = (Provider::start().await, server(&database).await);
    let answer = json!({"access_token": "t", "expires_in": 7200, "refresh_token": "r"});
    provider.answer_with(Answer::status(200).with_json(&answer));
    let refreshing = json!({"refresh_token_path": "refresh_token", "refresh": {}});
    register_realm(&first, &provider, refreshing).await;
    register(&first, &["damaged", "k"]).await;
    first.stop().await;
    let stored = Stored::of_key("ts_token", "refresh_token", "damaged");
    let before = stored.read(&database).await;
    for (index, harm) in HARMS.into_iter().enumerate() {
        spool(
            &database,
            "damaged",
            &format!("damaged-{index}"),
            Some(harm),
        )
        .await;
    }
    spool(&database, "k", "whole", None).await;
    let files = || {
        let files = fs::read_dir(database.directory.path().join("spool"));
        files.expect("the spool can be read").count()
    };
    assert_eq!(files(), 11);
    let second = server(&database).await;
    second.client.generation("r", "k", 2).await;
    assert_eq!(stored.read(&database).await, before);
    assert_eq!(super::number(&database, "generation", "damaged").await, 1);
    // What is damaged stays, for a human to look at.
    crate::kit::eventually("what was brought is gone", async || {
        (files() == 10).then_some(())
    })
    .await;
}

/// A secret with a refresh token, and a file of the spool with its next pair under the key of the
/// kit, of which all that is stored was sealed anew with another since.
async fn with_a_pair_of_before_a_rotation(database: &TestDatabase) {
    let (provider, first) = (Provider::start().await, server(database).await);
    let answer = json!({"access_token": "t", "expires_in": 7200, "refresh_token": "r"});
    provider.answer_with(Answer::status(200).with_json(&answer));
    let refreshing = json!({"refresh_token_path": "refresh_token", "refresh": {}});
    register_realm(&first, &provider, refreshing).await;
    register(&first, &["k"]).await;
    first.stop().await;
    spool(database, "k", "earlier", None).await;
    let (there, away) = spooled(database);
    fs::rename(&there, &away).expect("it can be moved");
    let both = keys(format!("{OTHER},{SEALING_KEYS}"));
    let mut rotate = command(database, &both);
    let rotated = rotate.args(["rotate-key", "other"]).output();
    assert!(rotated.expect("it runs").status.success());
    assert_eq!(under_the_old_key(database).await, 0);
    fs::rename(away, there).expect("it can be moved back");
}

/// The file of that pair, and a place of which no server knows.
fn spooled(database: &TestDatabase) -> (std::path::PathBuf, std::path::PathBuf) {
    let directory = database.directory.path();
    (directory.join("spool/earlier.json"), directory.join("away"))
}

/// Values of tokens that are under the key of the kit.
async fn under_the_old_key(database: &TestDatabase) -> i64 {
    let begins = hex(&prefix("test")).to_uppercase();
    let count = ["token", "refresh_token", "mac"].map(|column| {
        format!("(SELECT COUNT(*) FROM ts_token WHERE HEX({column}) LIKE '{begins}%')")
    });
    database
        .number(&format!("SELECT {}", count.join(" + ")))
        .await
}

async fn a_pair_in_the_spool_waits_for_a_key_that_its_server_lacks(database: TestDatabase) {
    Box::pin(with_a_pair_of_before_a_rotation(&database)).await;
    let stored = Stored::of_key("ts_token", "refresh_token", "k");
    let before = stored.read(&database).await;
    let (file, _) = spooled(&database);
    let text = fs::read(&file).expect("it is there");
    let lacking = ServerProcess::start(&database, &keys(OTHER.to_owned()));
    let mut log = lacking.before_it_served.clone();
    log.extend(lacking.logged());
    let said = log
        .iter()
        .find(|line| line.contains("a pair in the spool is sealed with a key"))
        .unwrap_or_else(|| panic!("nothing is said: {log:?}"));
    assert!(said.contains("test") && said.contains("earlier"), "{said}");
    drop(lacking);
    assert_eq!(fs::read(&file).expect("it stays"), text);
    assert_eq!(stored.read(&database).await, before);
    assert_eq!(super::number(&database, "generation", "k").await, 1);
    // With the key it is brought.
    let both = keys(format!("{OTHER},{SEALING_KEYS}"));
    let app = start(&database, &both).await.expect("it starts");
    crate::kit::eventually("it is brought", async || (!file.exists()).then_some(())).await;
    app.close().await;
    assert_eq!(super::number(&database, "generation", "k").await, 2);
}

async fn a_pair_in_the_spool_is_sealed_with_the_new_key_when_it_is_brought(database: TestDatabase) {
    Box::pin(with_a_pair_of_before_a_rotation(&database)).await;
    let (file, _) = spooled(&database);
    let both = keys(format!("{SEALING_KEYS},{OTHER}"));
    let app = start(&database, &both).await.expect("it starts");
    crate::kit::eventually("it is brought", async || (!file.exists()).then_some(())).await;
    app.close().await;
    assert_eq!(super::number(&database, "generation", "k").await, 2);
    assert_eq!(under_the_old_key(&database).await, 0);
    // Without the old key it opens.
    let options =
        crate::kit::server::Options::default().with(&[("TOKEN_SERVER__SEALING__KEYS", OTHER)]);
    let server = crate::kit::Server::start_with(&database, options).await;
    server.client.token("r", "k").await.expect(200);
}
