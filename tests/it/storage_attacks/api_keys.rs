//! Rows of API keys that no token server wrote let nobody in.

use std::process::Command;

use serde_json::json;

use super::Scene;
use crate::kit::process::ServerProcess;
use crate::kit::server::{ADMIN_KEY, Options};
use crate::kit::{Server, TestDatabase, on_every_database, strict_json};

on_every_database! {
    an_api_key_that_was_inserted_lets_nobody_in,
    each_api_key_that_was_inserted_is_named_in_the_log_and_counted,
    an_api_key_whose_row_was_changed_lets_nobody_in,
    a_revoked_administrators_key_does_not_come_back_at_a_start,
    a_revoked_administrators_key_does_not_come_back_where_its_row_was_changed,
}

/// A key that an attacker knows, and what is stored of it.
const FORGED_KEY: &str = "tsk_forged-by-somebody-0123456789abcdef";

/// The forged key's hash, by the means of the machine and not of the server.
fn hash_of(key: &str) -> String {
    let script = format!("printf %s '{key}' | sha256sum");
    let hashed = Command::new("sh").args(["-c", &script]).output();
    let text = String::from_utf8(hashed.expect("it runs").stdout).expect("text");
    text.split_whitespace().next().expect("a hash").to_owned()
}

async fn expect_nobody(scene: &Scene, key: &str) {
    for client in scene.clients() {
        let forged = client.with_key(key);
        forged
            .get("/api/realm")
            .await
            .expect_problem(401, "unauthorized");
        forged
            .token("r", "k")
            .await
            .expect_problem(401, "unauthorized");
    }
}

/// Puts an administrator's key into the table, as an attacker would.
async fn insert(database: &TestDatabase, name: &str, key: &str, mac: &str) {
    let insert = format!(
        "INSERT INTO ts_api_key (name, hash, hint, scopes, created_at, mac) \
         SELECT '{name}', '{}', 'tsk_forg…', scopes, 1, {mac} FROM ts_api_key \
         WHERE name = 'bootstrap-admin'",
        hash_of(key)
    );
    database.run(&insert).await;
}

async fn an_api_key_that_was_inserted_lets_nobody_in(database: TestDatabase) {
    let scene = Scene::set(&database).await;
    for mac in ["NULL", "mac"] {
        insert(&database, "forged", FORGED_KEY, mac).await;
        expect_nobody(&scene, FORGED_KEY).await;
        let client = &scene.servers[0].client;
        let listed = client.list("/api/api-key").await;
        let forged = listed
            .iter()
            .find(|key| key["name"] == "forged")
            .expect("it is listed");
        assert_eq!(forged["authentic"], false);
        assert!(listed.iter().any(|key| key["authentic"] == true));
        let path = format!("/api/api-key/{}", forged["id"]);
        client.delete(&path).await.expect(200);
        // Revoked it is, whoever wrote it, and stays so.
        database
            .run("UPDATE ts_api_key SET revoked_at = NULL WHERE name = 'forged'")
            .await;
        expect_nobody(&scene, FORGED_KEY).await;
        database
            .run("DELETE FROM ts_api_key WHERE name = 'forged'")
            .await;
    }
}

async fn each_api_key_that_was_inserted_is_named_in_the_log_and_counted(database: TestDatabase) {
    let server = ServerProcess::start(&database, &[]);
    let another = FORGED_KEY.replace("forged", "others");
    let another = another.as_str();
    let forged = [("forged", FORGED_KEY, "NULL"), ("another", another, "mac")];
    for (name, key, mac) in forged {
        insert(&database, name, key, mac).await;
    }
    // The one that is tried often does not hide the other.
    for key in [FORGED_KEY, FORGED_KEY, FORGED_KEY, another, FORGED_KEY] {
        let caller = server.client.with_key(key);
        let refused = caller.get("/api/realm").await;
        refused.expect_problem(401, "unauthorized");
    }
    let metrics = server.client.get("/metrics").await.expect(200).text;
    let counted = "token_server_damaged_values_total{table=\"ts_api_key\",column=\"mac\"} 5\n";
    assert!(metrics.contains(counted), "{metrics}");
    server.terminate();
    let log = server.logged_to_the_end();
    let lines: Vec<_> = log.iter().map(|line| strict_json::read(line)).collect();
    for (name, key, _) in forged {
        let id = format!("SELECT id FROM ts_api_key WHERE name = '{name}'");
        let id = database.number(&id).await;
        let told: Vec<_> = lines.iter().filter(|line| line["id"] == id).collect();
        let [told] = told[..] else {
            panic!("{name} is not told of once: {told:?}");
        };
        assert_eq!(told["level"], "ERROR", "{told}");
        assert_eq!(
            json!([told["table"], told["row"], told["column"], told["calls"]]),
            json!(["ts_api_key", name, "mac", 1])
        );
        let says = told["message"].as_str().unwrap_or_default();
        assert!(says.contains("was not written by a token server"), "{says}");
        let log = log.concat();
        assert!(!log.contains(key) && !log.contains(&hash_of(key)));
    }
}

async fn an_api_key_whose_row_was_changed_lets_nobody_in(database: TestDatabase) {
    let scene = Scene::set(&database).await;
    let client = &scene.servers[0].client;
    let body = json!({"name": "app", "scopes": ["token:read"], "realms": ["other"]});
    let made = client.post("/api/api-key", &body).await.expect(200).json();
    let key = made["data"]["key"].as_str().expect("a key").to_owned();
    for (attack, repair) in [
        ("scopes = 'token:read,admin'", "scopes = 'token:read'"),
        ("realms = NULL", "realms = '[\"other\"]'"),
        ("expires_at = 9999999999999", "expires_at = NULL"),
        ("name = 'bootstrap-admin-2'", "name = 'app'"),
    ] {
        let id = &made["data"]["id"];
        database
            .run(&format!("UPDATE ts_api_key SET {attack} WHERE id = {id}"))
            .await;
        for client in scene.clients() {
            let app = client.with_key(&key);
            let refused = app.token("other", "k").await;
            refused.expect_problem(401, "unauthorized");
        }
        database
            .run(&format!("UPDATE ts_api_key SET {repair} WHERE id = {id}"))
            .await;
    }
    for client in scene.clients() {
        client.with_key(&key).token("other", "k").await.expect(200);
    }
}

/// Has another administrator revoke the first one's key. Answers the other's, and the id of the first.
async fn revoke_first(server: &Server) -> (String, i64) {
    let client = &server.client;
    let body = json!({"name": "second", "scopes": ["admin"]});
    let made = client.post("/api/api-key", &body).await.expect(200).json();
    let key = made["data"]["key"].as_str().expect("a key").to_owned();
    let second = client.with_key(&key);
    let listed = second.list("/api/api-key").await;
    let first = listed.iter().find(|key| key["name"] == "bootstrap-admin");
    let id = first.expect("it is listed")["id"].as_i64();
    let id = id.expect("a number");
    second
        .delete(&format!("/api/api-key/{id}"))
        .await
        .expect(200);
    (key, id)
}

async fn a_revoked_administrators_key_does_not_come_back_where_its_row_was_changed(
    database: TestDatabase,
) {
    let server = Server::start(&database).await;
    let (second, id) = revoke_first(&server).await;
    server.stop().await;
    let replaced = "SELECT COUNT(*) FROM ts_audit WHERE action = 'api_key.replace'";
    for attack in [
        "revoked_at = NULL",
        "mac = NULL",
        "mac = X'0000'",
        "name = 'elsewhere'",
    ] {
        database
            .run(&format!("UPDATE ts_api_key SET {attack} WHERE id = {id}"))
            .await;
        let server = ServerProcess::start(&database, &[]);
        let first = server.client.with_key(ADMIN_KEY);
        let refused = first.get("/api/realm").await;
        refused.expect_problem(401, "unauthorized");
        let second = server.client.with_key(&second);
        let listed = second.list("/api/api-key").await;
        let first = listed.iter().find(|key| key["id"] == id);
        assert_eq!(first.expect("it is listed")["authentic"], false, "{attack}");
        let said = server.before_it_served.iter();
        let mut said = said.map(|line| strict_json::read(line));
        let told = said.find(|line| line["table"] == "ts_api_key" && line["id"] == id);
        let told = told.unwrap_or_else(|| panic!("{attack} is not told of"));
        assert_eq!(told["level"], "ERROR", "{told}");
        let says = told["message"].to_string();
        assert!(says.contains("set another admin_key"), "{says}");
        server.terminate();
        assert_eq!(server.exit_code(), Some(0));
        assert_eq!(database.number(replaced).await, 0, "{attack}");
    }
    let another = "another-administrators-key-0123456789";
    let options = Options::default().with(&[("TOKEN_SERVER__ADMIN_KEY", another)]);
    let server = Server::start_with(&database, options).await;
    let client = server.client.with_key(another);
    client.get("/api/realm").await.expect(200);
    let refused = server.client.with_key(ADMIN_KEY).get("/api/realm").await;
    refused.expect_problem(401, "unauthorized");
}

async fn a_revoked_administrators_key_does_not_come_back_at_a_start(database: TestDatabase) {
    let server = Server::start(&database).await;
    revoke_first(&server).await;
    server.stop().await;
    let server = Server::start(&database).await;
    let refused = server.client.with_key(ADMIN_KEY).get("/api/realm").await;
    refused.expect_problem(401, "unauthorized");
    let another = "another-administrators-key-0123456789";
    let options = Options::default().with(&[("TOKEN_SERVER__ADMIN_KEY", another)]);
    let replaced = Server::start_with(&database, options).await;
    let client = replaced.client.with_key(another);
    client.get("/api/realm").await.expect(200);
}
