//! Whoever can write to the database decides neither where a credential goes nor who gets in:
//! rows that no token server wrote are refused by name, and everything else goes on.

mod api_keys;
mod earlier;
mod secrets;

use serde_json::json;
use token_server::foundation::hex;
use token_server::foundation::randomness::Randomness;
use token_server::foundation::sealing::{KeyRing, SealedPlace};

use crate::damage::look;
use crate::kit::process::command;
use crate::kit::server::{Client, SEALING_KEYS};
use crate::kit::{Answer, Provider, Server, TestDatabase, on_every_database};

on_every_database! {
    a_realm_whose_document_was_changed_in_the_database_sends_nothing,
    an_older_document_put_back_under_a_newer_version_sends_nothing,
    custom_logic_that_was_put_in_its_place_sends_nothing,
    a_realm_that_was_changed_is_listed_with_the_reason_and_used_again_once_it_is_saved_as_a_whole,
    a_token_that_was_moved_to_another_realm_sends_nothing_there,
    a_token_that_was_moved_to_another_name_is_not_served_there,
    a_token_whose_row_was_changed_is_not_served,
    a_token_whose_expiry_was_prolonged_is_renewed_instead,
    what_an_earlier_version_stored_is_authenticated_once_and_not_again,
    a_dry_run_of_what_an_earlier_version_stored_says_what_to_run_first,
    a_right_key_ring_starts_where_the_check_values_are_gone,
}

/// Two replicas, a provider, and somebody who wants what is sent to it.
struct Scene {
    servers: [Server; 2],
    provider: Provider,
    thief: Provider,
}

impl Scene {
    async fn set(database: &TestDatabase) -> Self {
        let servers = [Server::start(database).await, Server::start(database).await];
        let (provider, thief) = (Provider::start().await, Provider::start().await);
        thief.answer_with(Answer::token("of-the-thief", 7200));
        let client = &servers[0].client;
        for realm in ["r", "other"] {
            client.register_realm(realm, &provider.url("/token")).await;
            client.save_secret(realm, "k").await;
            client.generation(realm, "k", 1).await;
        }
        Self {
            servers,
            provider,
            thief,
        }
    }

    fn clients(&self) -> [&Client; 2] {
        [&self.servers[0].client, &self.servers[1].client]
    }

    /// On each replica the attacked secret is due and is left alone, by the name of the row, and
    /// the other one is renewed.
    async fn expect_refused(&self, database: &TestDatabase) {
        let sent = self.provider.request_count();
        for (generation, server) in (2..).zip(&self.servers) {
            due(database, server).await;
            server.client.generation("other", "k", generation).await;
            server.settled().await;
            let metrics = server.client.get("/metrics").await.expect(200).text;
            let counted = "token_server_damaged_values_total{table=\"ts_realm\",column=\"mac\"} 1";
            assert!(metrics.contains(counted), "{metrics}");
            look(server).await;
            let secret = server.client.state("r", "k", "needs_attention").await;
            let detail = &secret["last_error"]["detail"];
            let named = "ts_realm.mac of row r cannot be opened any more; look at the realm";
            assert!(detail.to_string().contains(named), "{detail}");
        }
        assert_eq!(self.thief.request_count(), 0);
        assert_eq!(self.provider.request_count(), sent + 2);
    }
}

/// Has a server look at all secrets as due.
async fn due(database: &TestDatabase, server: &Server) {
    database.run("UPDATE ts_token SET renew_at = 0").await;
    server.app().wake.notify_one();
    server.sweeps().await;
}

/// `REPLACE` of the URL in a document, as an attacker would write it.
async fn redirect(database: &TestDatabase, scene: &Scene) {
    let (from, to) = (scene.provider.url("/token"), scene.thief.url("/token"));
    let sql =
        format!("UPDATE ts_realm SET config = REPLACE(config, '{from}', '{to}') WHERE id = 'r'");
    database.run(&sql).await;
}

async fn a_realm_whose_document_was_changed_in_the_database_sends_nothing(database: TestDatabase) {
    let scene = Scene::set(&database).await;
    redirect(&database, &scene).await;
    scene.expect_refused(&database).await;
    // What is stored is served for as long as it lives.
    for client in scene.clients() {
        client.token("r", "k").await.expect(200);
    }
}

async fn an_older_document_put_back_under_a_newer_version_sends_nothing(database: TestDatabase) {
    let scene = Scene::set(&database).await;
    database
        .run("CREATE TABLE older AS SELECT * FROM ts_realm WHERE id = 'r'")
        .await;
    let client = &scene.servers[0].client;
    client
        .register_realm("r", &scene.provider.url("/newer"))
        .await;
    database
        .run(
            "UPDATE ts_realm SET config = (SELECT config FROM older), \
             mac = (SELECT mac FROM older) WHERE id = 'r'",
        )
        .await;
    scene.expect_refused(&database).await;
}

async fn custom_logic_that_was_put_in_its_place_sends_nothing(database: TestDatabase) {
    let scene = Scene::set(&database).await;
    let thief = scene.thief.url("/logic");
    let sql = format!("UPDATE ts_realm SET config = NULL, logic_code = '{thief}' WHERE id = 'r'");
    database.run(&sql).await;
    scene.expect_refused(&database).await;
}

async fn a_realm_that_was_changed_is_listed_with_the_reason_and_used_again_once_it_is_saved_as_a_whole(
    database: TestDatabase,
) {
    let scene = Scene::set(&database).await;
    redirect(&database, &scene).await;
    for client in scene.clients() {
        let listed = client.list("/api/realm").await;
        let of = |id: &str| {
            listed
                .iter()
                .find(|realm| realm["id"] == id)
                .expect("it is listed")
        };
        let why = of("r")["unreadable"].as_str().expect("a reason");
        assert!(why.contains("ts_realm.mac of row r"), "{why}");
        assert!(of("r")["config"].is_null() && of("other")["unreadable"].is_null());
        let shown = client.get("/api/realm/r").await;
        shown.expect_problem(409, "unreadable_here");
    }
    // What would be kept is nobody's, and nothing of it is taken over.
    let client = &scene.servers[0].client;
    let comment = json!({"id": "r", "comment": "mine"});
    let refused = client.post("/api/realm", &comment).await;
    refused.expect_problem(409, "unreadable_here");
    let body = json!({"id": "r", "logic_code": null, "config": {
        "url": scene.provider.url("/token"), "method": "GET",
        "token_path": "access_token", "expires_in_path": "expires_in",
    }});
    client.post("/api/realm", &body).await.expect(200);
    for (generation, server) in (2..).zip(&scene.servers) {
        due(&database, server).await;
        server.client.generation("r", "k", generation).await;
        server.settled().await;
    }
    assert_eq!(scene.thief.request_count(), 0);
}

async fn a_token_that_was_moved_to_another_realm_sends_nothing_there(database: TestDatabase) {
    let scene = Scene::set(&database).await;
    let client = &scene.servers[0].client;
    // A realm of the attacker's own, rightly registered.
    client
        .register_realm("trap", &scene.thief.url("/token"))
        .await;
    database
        .run("UPDATE ts_token SET realm_id = 'trap', renew_at = 1 WHERE realm_id = 'r'")
        .await;
    for server in &scene.servers {
        server.app().wake.notify_one();
        server.sweeps().await;
        server.settled().await;
    }
    assert_eq!(scene.thief.request_count(), 0);
    let detail = database
        .number("SELECT COUNT(*) FROM ts_token WHERE failure_detail LIKE '%its name was changed%'")
        .await;
    assert_eq!(detail, 1);
}

/// A realm of tokens that are typed in, and that nobody issues again.
async fn store_fixed(client: &Client, keys: &[&str]) {
    client
        .post("/api/realm", &json!({"id": "fixed"}))
        .await
        .expect(200);
    for key in keys {
        let body = json!({"realm": "fixed", "key": key, "token": format!("token-of-{key}")});
        client.put("/api/token", &body).await.expect(200);
    }
}

async fn a_token_that_was_moved_to_another_name_is_not_served_there(database: TestDatabase) {
    let scene = Scene::set(&database).await;
    store_fixed(&scene.servers[0].client, &["a", "b", "c"]).await;
    for (from, to) in [("a", "x"), ("b", "a"), ("x", "b")] {
        database
            .run(&format!(
                "UPDATE ts_token SET key_name = '{to}' \
                 WHERE realm_id = 'fixed' AND key_name = '{from}'"
            ))
            .await;
    }
    for server in &scene.servers {
        server.client.token("fixed", "c").await.expect(200);
    }
    // The first server remembers what it stored itself; the second reads what is stored.
    let server = &scene.servers[1];
    for key in ["a", "b"] {
        let refused = server.client.token("fixed", key).await;
        assert_ne!(refused.status, 200, "{}", refused.text);
    }
    let metrics = server.client.get("/metrics").await.expect(200).text;
    let counted = "token_server_damaged_values_total{table=\"ts_token\",column=\"mac\"} 2";
    assert!(metrics.contains(counted), "{metrics}");
}

async fn a_token_whose_row_was_changed_is_not_served(database: TestDatabase) {
    let scene = Scene::set(&database).await;
    let changes = [
        ("expires_at", "9999999999999"),
        ("generation", "generation + 1"),
        ("token_type", "'Bearer'"),
        ("obtained_at", "obtained_at + 1"),
        ("per_read", "1"),
        ("served", "token"),
        ("extra", "token"),
        ("mac", "NULL"),
    ];
    store_fixed(&scene.servers[0].client, &changes.map(|(column, _)| column)).await;
    let server = &scene.servers[1];
    for (column, value) in changes {
        database
            .run(&format!(
                "UPDATE ts_token SET {column} = {value} \
                 WHERE realm_id = 'fixed' AND key_name = '{column}'"
            ))
            .await;
        let refused = server.client.token("fixed", column).await;
        assert_ne!(refused.status, 200, "{column}: {}", refused.text);
        look(server).await;
        let secret = server
            .client
            .state("fixed", column, "needs_attention")
            .await;
        let detail = secret["last_error"]["detail"].to_string();
        assert!(detail.contains("store the token again"), "{detail}");
    }
    for (column, _) in changes {
        let body = json!({"realm": "fixed", "key": column, "token": "again"});
        server.client.put("/api/token", &body).await.expect(200);
        let served = server.client.token("fixed", column).await.expect(200);
        assert_eq!(served.json()["token"], "again");
    }
}

async fn a_token_whose_expiry_was_prolonged_is_renewed_instead(database: TestDatabase) {
    let scene = Scene::set(&database).await;
    let prolonged = 9_999_999_999_999_i64;
    database
        .run(&format!(
            "UPDATE ts_token SET expires_at = {prolonged} WHERE realm_id = 'r'"
        ))
        .await;
    let server = &scene.servers[1];
    server.client.token("r", "k").await.expect(200);
    let renewed = server.client.generation("r", "k", 2).await;
    assert_eq!(renewed["generation"], 2);
    let still = format!("SELECT COUNT(*) FROM ts_token WHERE expires_at = {prolonged}");
    assert_eq!(database.number(&still).await, 0);
    let other = server.client.secret("other", "k").await;
    assert_eq!(other["generation"], 1);
}

/// The check value of an earlier version, as a literal of SQL; at first without a word of rows.
fn earlier_check(says: &[u8]) -> String {
    let ring = KeyRing::parse(&SEALING_KEYS.into(), Randomness::seeded(1)).expect("a key ring");
    let place = SealedPlace {
        table: "ts_sealing_key",
        row: "test",
        column: "check_value",
    };
    format!("X'{}'", hex(&ring.seal(&place, says).0))
}

/// No row has a code, and the key's check value is as it was.
async fn leave_as_an_earlier_version(database: &TestDatabase) {
    for table in ["ts_realm", "ts_api_key", "ts_token", "ts_secret"] {
        let sql = format!("UPDATE {table} SET mac = NULL");
        database.run(&sql).await;
    }
    let check = earlier_check(b"token-server");
    let sql = format!("UPDATE ts_sealing_key SET check_value = {check}");
    database.run(&sql).await;
}

async fn a_dry_run_of_what_an_earlier_version_stored_says_what_to_run_first(
    database: TestDatabase,
) {
    let scene = Scene::set(&database).await;
    for server in scene.servers {
        server.stop().await;
    }
    leave_as_an_earlier_version(&database).await;
    let files = tempfile::tempdir().expect("a folder can be made");
    let file = files.path().join("new.json");
    std::fs::write(&file, json!({"id": "new"}).to_string()).expect("it can be written");
    let run = |arguments: &[&str]| {
        let mut command = command(&database, &[]);
        let output = command.args(arguments).output().expect("it runs");
        let said = String::from_utf8([output.stdout, output.stderr].concat());
        (said.expect("a text"), output.status.code())
    };
    let file = file.display().to_string();
    let dry_run = || run(&["realm", "apply", &file, "--dry-run"]);
    let unauthenticated = "SELECT COUNT(*) FROM ts_realm WHERE mac IS NULL";
    // To bring the schema up to date is not enough.
    let (said, code) = run(&["migrate"]);
    assert_eq!(code, Some(0), "{said}");
    let (said, code) = dry_run();
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("`token-server api-key list`"), "{said}");
    assert!(!said.contains("the schema of"), "{said}");
    assert_eq!(database.number(unauthenticated).await, 2);
    // What it says helps.
    let (said, code) = run(&["api-key", "list"]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(database.number(unauthenticated).await, 0);
    let (said, code) = dry_run();
    assert_eq!(code, Some(3), "{said}");
}

async fn what_an_earlier_version_stored_is_authenticated_once_and_not_again(
    database: TestDatabase,
) {
    let scene = Scene::set(&database).await;
    for server in scene.servers {
        server.stop().await;
    }
    leave_as_an_earlier_version(&database).await;
    let server = Server::start(&database).await;
    // What was stored is served, and was not obtained again.
    server.client.token("r", "k").await.expect(200);
    assert_eq!(server.client.secret("r", "k").await["generation"], 1);
    due(&database, &server).await;
    server.client.generation("r", "k", 2).await;
    server.stop().await;
    database
        .run("UPDATE ts_realm SET mac = NULL WHERE id = 'r'")
        .await;
    let server = Server::start(&database).await;
    due(&database, &server).await;
    let other = server.client.generation("other", "k", 3).await;
    server.settled().await;
    assert_eq!(other["generation"], 3);
    let secret = server.client.secret("r", "k").await;
    assert_eq!(secret["generation"], 2);
    let shown = server.client.get("/api/realm/r").await;
    let problem = shown.expect_problem(409, "unreadable_here");
    assert!(
        problem["detail"].to_string().contains("is missing"),
        "{problem}"
    );
}

async fn a_right_key_ring_starts_where_the_check_values_are_gone(database: TestDatabase) {
    let scene = Scene::set(&database).await;
    for server in scene.servers {
        server.stop().await;
    }
    database.run("DELETE FROM ts_sealing_key").await;
    let server = Server::start(&database).await;
    due(&database, &server).await;
    server.client.generation("r", "k", 2).await;
    assert_eq!(
        database.number("SELECT COUNT(*) FROM ts_sealing_key").await,
        1
    );
}
