//! `import` of another token server's database: everything is taken under another key ring, and
//! nothing is written there but who renews a token.

use std::collections::BTreeMap;
use std::process::{Command, Output};

use serde_json::{Value, json};

use super::{outcomes, text};
use crate::kit::database::Kind;
use crate::kit::process::{ServerProcess, command};
use crate::kit::{Provider, TestDatabase, eventually, on_every_database};

on_every_database! {
    everything_is_taken_under_another_key_ring_and_a_second_run_changes_nothing,
    a_dry_run_changes_neither_database,
    keys_that_do_not_open_the_source_are_refused,
    what_no_server_wrote_is_refused_by_table_and_row,
    what_is_another_here_is_left_as_it_is,
    a_schema_of_another_version_is_refused,
}

/// Of the source; the target has those of all tests.
pub(super) const KEYS: &str = "theirs:QkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkI=";
const OTHER_KEY: &str = "Q0NDQ0NDQ0NDQ0NDQ0NDQ0NDQ0NDQ0NDQ0NDQ0NDQ0M=";

/// A source on the other kind of database.
pub(super) async fn source_of(target: &TestDatabase) -> TestDatabase {
    match target.kind() {
        Kind::Sqlite => TestDatabase::mysql().await,
        Kind::MySql => TestDatabase::sqlite(),
    }
}

pub(super) fn there(source: &TestDatabase) -> ServerProcess {
    let keys = ("TOKEN_SERVER__SEALING__KEYS", KEYS.to_owned());
    let patient = ("TOKEN_SERVER__UPSTREAM__TIMEOUT_S", "60".to_owned());
    ServerProcess::start(source, &[keys, patient])
}

pub(super) fn prepared(target: &TestDatabase, source: &TestDatabase, keys: &str) -> Command {
    let patient = (
        "TOKEN_SERVER__DATABASE__WRITE_TIMEOUT_MS",
        "60000".to_owned(),
    );
    let directory = target.directory.path().join("import");
    let directory = ("TOKEN_SERVER__DATA_DIR", directory.display().to_string());
    let mut command = command(target, &[patient, directory]);
    command
        .env("TOKEN_SERVER_IMPORT_URL", &source.url)
        .env("TOKEN_SERVER_IMPORT_KEYS", keys)
        .args(["import", "--wait", "20"]);
    command
}

fn ended(target: &TestDatabase, source: &TestDatabase, keys: &str, more: &[&str]) -> Output {
    let ended = prepared(target, source, keys).args(more).output();
    ended.expect("the binary starts")
}

fn import(target: &TestDatabase, source: &TestDatabase, more: &[&str], code: i32) -> Value {
    let more = [&["--format", "json"], more].concat();
    let ended = ended(target, source, KEYS, &more);
    assert_eq!(ended.status.code(), Some(code), "{}", text(&ended.stderr));
    serde_json::from_slice(&ended.stdout).expect("the report is JSON")
}

fn refused(target: &TestDatabase, source: &TestDatabase, keys: &str) -> String {
    let ended = ended(target, source, keys, &[]);
    assert_eq!(ended.status.code(), Some(2), "{}", text(&ended.stdout));
    text(&ended.stderr)
}

pub(super) fn migrated(target: &TestDatabase) {
    let migrated = command(target, &[]).arg("migrate").output();
    let migrated = migrated.expect("the binary starts");
    assert!(migrated.status.success(), "{}", text(&migrated.stderr));
}

/// What there is in every table that is taken.
async fn rows(database: &TestDatabase) -> BTreeMap<&'static str, i64> {
    let mut rows = BTreeMap::new();
    for (name, query) in [
        ("realms", "SELECT COUNT(*) FROM ts_realm"),
        (
            "versions",
            "SELECT CAST(COALESCE(SUM(version), 0) AS SIGNED) FROM ts_realm",
        ),
        ("secrets", "SELECT COUNT(*) FROM ts_secret"),
        (
            "saved",
            "SELECT CAST(COALESCE(SUM(version), 0) AS SIGNED) FROM ts_secret",
        ),
        (
            "tokens",
            "SELECT COUNT(*) FROM ts_token WHERE token IS NOT NULL",
        ),
        (
            "generations",
            "SELECT CAST(COALESCE(SUM(generation), 0) AS SIGNED) FROM ts_token",
        ),
        (
            "expiries",
            "SELECT CAST(COALESCE(SUM(expires_at), 0) AS SIGNED) FROM ts_token",
        ),
        (
            "failures",
            "SELECT CAST(COALESCE(SUM(failures), 0) AS SIGNED) FROM ts_token",
        ),
        ("paused", "SELECT COUNT(*) FROM ts_token WHERE paused"),
        ("attempts", "SELECT COUNT(*) FROM ts_renewal"),
        ("deleted", "SELECT COUNT(*) FROM ts_retired"),
        (
            "keys",
            "SELECT COUNT(*) FROM ts_api_key WHERE name <> 'bootstrap-admin'",
        ),
        ("issuers", "SELECT COUNT(*) FROM ts_issuer"),
        ("tickets", "SELECT COUNT(*) FROM ts_ticket"),
        (
            "quotas",
            "SELECT COUNT(*) FROM ts_quota WHERE secret_id IN (SELECT id FROM ts_secret)",
        ),
    ] {
        rows.insert(name, database.number(query).await);
    }
    rows
}

/// Something of everything.
async fn filled(server: &ServerProcess, provider: &Provider) -> String {
    let client = &server.client;
    let mut config = json!({
        "url": provider.url("/token"), "method": "GET",
        "arguments": [{"name": "appid", "place": "url", "value": "$key_1"}],
        "token_path": "access_token", "expires_in_path": "expires_in",
        "policy": {"quota": [{"limit": 1000, "window_s": 86400}]},
    });
    client.save_realm("r", config.clone()).await;
    config["url"] = json!("http://127.0.0.1:1/nobody");
    client.save_realm("broken", config).await;
    client
        .post("/api/realm", &json!({"id": "fixed"}))
        .await
        .expect(200);
    for key in ["a", "b", "paused", "deleted"] {
        client.save_secret("r", key).await;
        client.generation("r", key, 1).await;
    }
    client.save_secret("broken", "c").await;
    eventually("it has failed", async || {
        let secret = client.secret("broken", "c").await;
        (!secret["last_error"].is_null()).then_some(())
    })
    .await;
    let given = json!({"realm": "fixed", "key": "f", "token": "the-fixed-token"});
    client.post("/api/secret", &given).await.expect(200);
    let pause = json!({});
    client
        .post("/api/secret/r/paused/pause", &pause)
        .await
        .expect(200);
    client.delete("/api/secret/r/deleted").await.expect(200);
    let key = json!({"name": "shop", "scopes": ["token:read"], "realms": ["r"]});
    let made = client.post("/api/api-key", &key).await.expect(200).json();
    made["data"]["key"].as_str().expect("a key").to_owned()
}

async fn everything_is_taken_under_another_key_ring_and_a_second_run_changes_nothing(
    database: TestDatabase,
) {
    let provider = Provider::start().await;
    let source = source_of(&database).await;
    let old = there(&source);
    let key = filled(&old, &provider).await;
    let read = async |server: &ServerProcess, realm: &str, name: &str| {
        let read = server.client.token(realm, name).await.expect(200).json();
        (
            read["token"].clone(),
            read["generation"].clone(),
            read["expires_at"].clone(),
        )
    };
    let before = (read(&old, "r", "a").await, read(&old, "fixed", "f").await);
    migrated(&database);

    let report = import(&database, &source, &[], 0);
    assert_eq!(report["secrets"]["taken"], 5, "{report}");
    assert_eq!(report["realms"]["taken"], 3, "{report}");
    assert_eq!(report["API_keys"]["taken"], 1, "{report}");
    assert_eq!(report["deleted_generations"]["taken"], 1, "{report}");
    assert_eq!(report["attempts"]["unchanged"], 0, "{report}");
    let by_name = outcomes(&report);
    let taken = &by_name[&("r".to_owned(), "a".to_owned())];
    assert_eq!(taken["token"], "kept", "{taken}");
    assert_eq!(rows(&database).await, rows(&source).await);
    let here = "SELECT COUNT(*) FROM ts_token WHERE lease_owner IS NOT NULL";
    assert_eq!(database.number(here).await, 0, "all are renewed here");
    assert_eq!(source.number(here).await, 5, "and none there");
    let plain: Vec<_> = ["the-app", "the-secret", "the-fixed-token"]
        .map(str::to_owned)
        .into();
    assert_eq!(
        database.first_of(&plain).await,
        None,
        "everything is sealed"
    );

    let again = import(&database, &source, &[], 0);
    for kind in [
        "realms",
        "secrets",
        "API_keys",
        "attempts",
        "deleted_generations",
        "quotas",
    ] {
        assert_eq!(again[kind]["taken"], 0, "{again}");
    }
    assert_eq!(again["secrets"]["unchanged"], 5, "{again}");

    let new = ServerProcess::start(&database, &[]);
    assert_eq!(
        (read(&new, "r", "a").await, read(&new, "fixed", "f").await),
        before
    );
    // A caller's key is good here, for what it was good for there.
    let caller = new.client.with_key(&key);
    caller.token("r", "b").await.expect(200);
    caller.token("fixed", "f").await.expect(403);
    // Generations go on.
    new.client.save_secret("r", "deleted").await;
    new.client.generation("r", "deleted", 2).await;
    assert_eq!(new.client.secret("r", "paused").await["state"], "paused");
    // The old server serves what it has.
    assert_eq!(read(&old, "r", "a").await, before.0);
}

async fn a_dry_run_changes_neither_database(database: TestDatabase) {
    let provider = Provider::start().await;
    let source = source_of(&database).await;
    let old = there(&source);
    filled(&old, &provider).await;
    drop(old);
    // It seals nothing without a key of its own.
    drop(ServerProcess::start(&database, &[]));
    let held = "SELECT COUNT(*) FROM ts_token WHERE lease_owner LIKE 'import%'";
    let locks = "SELECT COUNT(*) FROM ts_lock";
    let before = (rows(&database).await, database.number(locks).await);
    let there_before = (rows(&source).await, source.number(locks).await);
    let report = import(&database, &source, &["--dry-run"], 0);
    assert_eq!(report["secrets"]["taken"], 5, "{report}");
    assert_eq!(report["dry_run"], true);
    assert_eq!(
        (rows(&database).await, database.number(locks).await),
        before
    );
    assert_eq!(
        (rows(&source).await, source.number(locks).await),
        there_before
    );
    assert_eq!(source.number(held).await, 0);
}

async fn keys_that_do_not_open_the_source_are_refused(database: TestDatabase) {
    let provider = Provider::start().await;
    let source = source_of(&database).await;
    filled(&there(&source), &provider).await;
    migrated(&database);
    let said = refused(&database, &source, &format!("another:{OTHER_KEY}"));
    assert!(said.contains("\"theirs\" ("), "{said}");
    let said = refused(&database, &source, &format!("theirs:{OTHER_KEY}"));
    assert!(said.contains("\"theirs\" is not the one"), "{said}");
    assert!(!said.contains(OTHER_KEY), "{said}");
    let said = refused(&database, &source, "");
    assert!(said.contains("TOKEN_SERVER_IMPORT_KEYS"), "{said}");
    assert_eq!(database.number("SELECT COUNT(*) FROM ts_realm").await, 0);
    drop(ServerProcess::start(&database, &[]));
    let said = refused(&database, &database, KEYS);
    assert!(said.contains("this server's own database"), "{said}");
}

async fn what_no_server_wrote_is_refused_by_table_and_row(database: TestDatabase) {
    let provider = Provider::start().await;
    let source = source_of(&database).await;
    let old = there(&source);
    filled(&old, &provider).await;
    drop(old);
    let id = source
        .number("SELECT secret_id FROM ts_token WHERE key_name = 'a'")
        .await;
    for changed in [
        "UPDATE ts_token SET expires_at = expires_at + 1 WHERE key_name = 'a'",
        "UPDATE ts_realm SET logic_code = 'http://127.0.0.1:1/mine' WHERE id = 'broken'",
        "UPDATE ts_api_key SET scopes = 'admin' WHERE name = 'shop'",
    ] {
        source.run(changed).await;
    }
    migrated(&database);
    let report = import(&database, &source, &[], 1);
    let by_name = outcomes(&report);
    let why = |realm: &str, key: &str| {
        let row = &by_name[&(realm.to_owned(), key.to_owned())];
        assert_eq!(row["outcome"], "refused", "{row}");
        row["why"].as_str().expect("a reason").to_owned()
    };
    let token = why("r", "a");
    assert!(
        token.contains(&format!("ts_token.mac of row {id} ")),
        "{token}"
    );
    assert!(why("broken", "").contains("ts_realm.mac of row broken "));
    assert_eq!(why("broken", "c"), "its realm is refused");
    assert_eq!(report["API_keys"]["refused"], 1, "{report}");
    assert_eq!(report["secrets"]["taken"], 3, "{report}");
    // What is refused is renewed there as before.
    let held = "SELECT COUNT(*) FROM ts_token WHERE lease_owner LIKE 'import%'";
    assert_eq!(source.number(held).await, 3);
}

async fn what_is_another_here_is_left_as_it_is(database: TestDatabase) {
    let provider = Provider::start().await;
    let source = source_of(&database).await;
    let old = there(&source);
    filled(&old, &provider).await;
    let new = ServerProcess::start(&database, &[]);
    new.client
        .register_realm("r", &provider.url("/other"))
        .await;
    let other = json!({"realm": "r", "key": "a", "key_1": "another", "key_2": "secret"});
    new.client.post("/api/secret", &other).await.expect(200);
    new.client.generation("r", "a", 1).await;
    let before = new.client.token("r", "a").await.expect(200).json();
    let report = import(&database, &source, &[], 1);
    let by_name = outcomes(&report);
    let differs = |realm: &str, key: &str| {
        let row = &by_name[&(realm.to_owned(), key.to_owned())];
        assert_eq!(row["outcome"], "changed_since", "{row}");
        row["differs"].clone()
    };
    assert_eq!(differs("r", ""), json!(["config"]));
    assert_eq!(differs("r", "a"), json!(["params", "token"]));
    let after = new.client.token("r", "a").await.expect(200).json();
    assert_eq!(after["token"], before["token"]);
    // It is renewed by both, as what they are: two secrets.
    let held = "SELECT COUNT(*) FROM ts_token WHERE key_name = 'a' AND lease_owner IS NOT NULL";
    assert_eq!(
        (source.number(held).await, database.number(held).await),
        (0, 0)
    );
}

async fn a_schema_of_another_version_is_refused(database: TestDatabase) {
    let source = source_of(&database).await;
    drop(there(&source));
    migrated(&database);
    source
        .run("INSERT INTO ts_migration (version, applied_at) VALUES ('m99', 0)")
        .await;
    let said = refused(&database, &source, KEYS);
    assert!(said.contains("is of a newer version"), "{said}");
    source
        .run("DELETE FROM ts_migration WHERE version = 'm99' OR version LIKE '%_000028_%'")
        .await;
    let steps = source.number("SELECT COUNT(*) FROM ts_migration").await;
    let said = refused(&database, &source, KEYS);
    assert!(said.contains("is of an older version"), "{said}");
    assert_eq!(
        source.number("SELECT COUNT(*) FROM ts_migration").await,
        steps
    );
}
