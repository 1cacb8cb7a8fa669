//! `import` of another token server's database: everything is taken under another key ring, and
//! nothing is written there but who renews a token.

mod refused;

use std::collections::BTreeMap;
use std::process::Command;

use reqwest::Method;
use sea_orm::TransactionTrait;
use serde_json::{Value, json};
use token_server::foundation::clock::{Clock, SystemClock};
use token_server::foundation::ids::SecretId;
use token_server::foundation::named_row;
use token_server::token::elsewhere::{DatabaseId, Renewer, hold};

use super::{ended, migrated, outcomes, report_of, text};
use crate::kit::database::Kind;
use crate::kit::issuer::SigningKey;
use crate::kit::process::ServerProcess;
use crate::kit::push::PushingApp;
use crate::kit::server::Client;
use crate::kit::{Provider, TestDatabase, eventually, on_every_database};

on_every_database! {
    everything_is_taken_under_another_key_ring_and_a_second_run_changes_nothing,
    a_dry_run_changes_neither_database,
    what_is_another_here_is_left_as_it_is,
}

/// Of the source; the target has those of all tests.
pub const KEYS: &str = "theirs:QkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkI=";
const OTHER_KEY: &str = "Q0NDQ0NDQ0NDQ0NDQ0NDQ0NDQ0NDQ0NDQ0NDQ0NDQ0M=";

/// A source on the other kind of database.
pub async fn source_of(target: &TestDatabase) -> TestDatabase {
    match target.kind() {
        Kind::Sqlite => TestDatabase::mysql().await,
        Kind::MySql => TestDatabase::sqlite(),
    }
}

pub fn there(source: &TestDatabase) -> ServerProcess {
    let keys = ("TOKEN_SERVER__SEALING__KEYS", KEYS.to_owned());
    let patient = ("TOKEN_SERVER__UPSTREAM__TIMEOUT_S", "60".to_owned());
    ServerProcess::start(source, &[keys, patient])
}

pub fn prepared(target: &TestDatabase, source: &TestDatabase, keys: &str) -> Command {
    let directory = target.directory.path().join("import");
    let mut command = super::prepared(target, source);
    command
        .env("TOKEN_SERVER__DATA_DIR", directory)
        .env("TOKEN_SERVER_IMPORT_KEYS", keys)
        .args(["--wait", "20"]);
    command
}

pub fn import(target: &TestDatabase, source: &TestDatabase, more: &[&str], code: i32) -> Value {
    report_of(prepared(target, source, KEYS), more, code)
}

fn refused(target: &TestDatabase, source: &TestDatabase, keys: &str) -> String {
    let ended = ended(prepared(target, source, keys), &[]);
    assert_eq!(ended.status.code(), Some(2), "{}", text(&ended.stdout));
    text(&ended.stderr)
}

/// A database with something of everything, its server, and the provider of both.
pub struct Filled {
    pub provider: Provider,
    pub source: TestDatabase,
    pub old: ServerProcess,
    /// The key of a caller.
    pub key: String,
}

pub async fn filled_source(target: &TestDatabase) -> Filled {
    let provider = Provider::start().await;
    let source = source_of(target).await;
    let old = there(&source);
    let key = filled(&old, &provider).await;
    Filled {
        provider,
        source,
        old,
        key,
    }
}

/// The name of a database, which its first server or import has given it.
pub async fn identity(database: &TestDatabase) -> DatabaseId {
    let identity = named_row::identity(&database.connect().await).await;
    DatabaseId(identity.expect("a query").expect("its name"))
}

/// Has a token held because another database renews it.
pub async fn held(database: &TestDatabase, key: &str, renewer: &DatabaseId) {
    let id = format!("SELECT secret_id FROM ts_token WHERE key_name = '{key}'");
    let id = SecretId(database.number(&id).await);
    let transaction = database.connect().await.begin().await.expect("it begins");
    let renewers = hold(&transaction, &[id], renewer).await;
    transaction.commit().await.expect("it is kept");
    let elsewhere = Renewer::Elsewhere(renewer.clone());
    assert_eq!(renewers.expect("it is held"), [(id, elsewhere)]);
}

/// What there is in every table that is taken.
pub async fn rows(database: &TestDatabase) -> BTreeMap<&'static str, i64> {
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

/// An issuer of JWTs whose keys are known.
pub fn issuer(url: &str) -> Value {
    json!({
        "issuer": url, "audiences": ["token-server"], "algorithms": ["EdDSA"],
        "jwks": {"keys": [SigningKey::new("k", "EdDSA").jwk()]},
        "rules": [{"when": "claims.sub is defined", "scopes": ["realm:read"]}],
    })
}

/// Pushes a ticket, and waits for the token that is obtained with it.
async fn push(client: &Client, provider: &Provider) {
    const AES_KEY: &str = "jWmYm7qr5nMoAUwZRjGtBxmz3KA1tkAj3ykkR6q2B2C";
    let config = json!({
        "params": {"app": {"title": "a"}, "verification": {"title": "t"}, "aes": {"title": "k"}},
        "url": provider.url("/token"), "method": "POST",
        "arguments": [{"name": "ticket", "place": "body", "value": "$ticket"}],
        "ticket": {
            "format": "wechat_xml", "app_id": "$app", "token": "$verification",
            "aes_key": "$aes", "valid_s": 1800,
        },
        "token_path": "access_token", "expires_in_path": "expires_in",
    });
    client.save_realm("pushed", config).await;
    let secret = json!({"realm": "pushed", "key": "p", "params": {
        "app": "wx1", "verification": "the-verification", "aes": AES_KEY,
    }});
    client.post("/api/secret", &secret).await.expect(200);
    eventually("it waits for a ticket", async || {
        let secret = client.secret("pushed", "p").await;
        secret["waiting"].as_str().map(drop)
    })
    .await;
    let app = PushingApp::new("wx1", "the-verification", Some(AES_KEY));
    let push = app.wechat_ticket("the-ticket", SystemClock.now().0 / 1000);
    let url = push.url("http://x/");
    let path = format!("/api/ticket/pushed?{}", url.query().unwrap_or_default());
    // Providers show no key.
    let client_of_provider = client.without_key();
    let request = client_of_provider.request(Method::POST, &path);
    let pushed = client_of_provider.send(request.body(push.body)).await;
    pushed.expect(200);
    client.generation("pushed", "p", 1).await;
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
    push(client, provider).await;
    let registration = issuer("https://cluster.example");
    let registered = client.put("/api/issuer/cluster", &registration).await;
    registered.expect(200);
    let key = json!({"name": "shop", "scopes": ["token:read"], "realms": ["r"]});
    let made = client.post("/api/api-key", &key).await.expect(200).json();
    made["data"]["key"].as_str().expect("a key").to_owned()
}

async fn everything_is_taken_under_another_key_ring_and_a_second_run_changes_nothing(
    database: TestDatabase,
) {
    let Filled {
        provider: _provider,
        source,
        old,
        key,
    } = filled_source(&database).await;
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
    assert_eq!(report["secrets"]["taken"], 6, "{report}");
    assert_eq!(report["realms"]["taken"], 4, "{report}");
    assert_eq!(report["issuers"]["taken"], 1, "{report}");
    assert_eq!(report["tickets"]["taken"], 1, "{report}");
    assert_eq!(report["API_keys"]["taken"], 1, "{report}");
    assert_eq!(report["deleted_generations"]["taken"], 1, "{report}");
    assert_eq!(report["attempts"]["unchanged"], 0, "{report}");
    let by_name = outcomes(&report);
    let taken = &by_name[&("r".to_owned(), "a".to_owned())];
    assert_eq!(taken["token"], "kept", "{taken}");
    assert_eq!(rows(&database).await, rows(&source).await);
    let here = "SELECT COUNT(*) FROM ts_token WHERE lease_owner IS NOT NULL";
    assert_eq!(database.number(here).await, 0, "all are renewed here");
    assert_eq!(source.number(here).await, 6, "and none there");
    let plain: Vec<_> = ["the-app", "the-secret", "the-fixed-token", "the-ticket"]
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
        "issuers",
        "tickets",
        "attempts",
        "deleted_generations",
        "quotas",
    ] {
        assert_eq!(again[kind]["taken"], 0, "{again}");
    }
    assert_eq!(again["secrets"]["unchanged"], 6, "{again}");

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
    let Filled {
        provider: _provider,
        source,
        old,
        ..
    } = filled_source(&database).await;
    drop(old);
    // It seals nothing without a key of its own.
    drop(ServerProcess::start(&database, &[]));
    let held = "SELECT COUNT(*) FROM ts_token WHERE lease_owner LIKE 'import%'";
    let locks = "SELECT COUNT(*) FROM ts_lock";
    let before = (rows(&database).await, database.number(locks).await);
    let there_before = (rows(&source).await, source.number(locks).await);
    let report = import(&database, &source, &["--dry-run"], 0);
    assert_eq!(report["secrets"]["taken"], 6, "{report}");
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

async fn what_is_another_here_is_left_as_it_is(database: TestDatabase) {
    let Filled {
        provider,
        source,
        old: _old,
        ..
    } = filled_source(&database).await;
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
