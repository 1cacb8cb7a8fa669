//! While the audit cannot be written nothing is changed: by no operation of the specification, by
//! no command, and by no start.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use serde_json::json;
use tempfile::TempDir;

use crate::access::audited::{CHANGES, NO_CHANGES, change};
use crate::access::{call, make_key};
use crate::cli::{Ended, all_commands, end};
use crate::import::rows::source;
use crate::kit::process::{ServerProcess, command};
use crate::kit::server::{ADMIN_KEY, Client, Options, SEALING_KEYS};
use crate::kit::{Provider, Server, TestDatabase, on_every_database};
use crate::rights::aimed_at;

on_every_database! {
    an_audit_that_cannot_be_written_stops_changes_and_nothing_else,
    no_command_changes_anything_while_the_audit_cannot_be_written,
    no_start_changes_the_administrators_key_while_the_audit_cannot_be_written,
}

const KEYS: &str = "TOKEN_SERVER__SEALING__KEYS";
const ADMIN: &str = "TOKEN_SERVER__ADMIN_KEY";

/// Commands that change what is stored, here or by a server, with what follows them.
const CHANGING: [(&str, &str); 8] = [
    ("api-key create", "made --scope metrics"),
    ("api-key revoke", "{id}"),
    ("forget-key", "lost"),
    ("import", ""),
    ("realm apply", "{folder}/realm.json"),
    ("rotate-key", "other"),
    ("secret apply", "{folder}/secret.json"),
    ("secret set", "p/k key_1=@{folder}/value"),
];
/// It gives credentials away, and says of which.
const GIVING: &str = "export";
/// It may replace the administrator's key.
const STARTING: &str = "serve";
/// Those that change nothing which an administrator has set: `migrate` brings the schema up to
/// date, and `renew` renews, which has a history of its own.
const OTHERS: [&str; 16] = [
    "api-key list",
    "audit export",
    "audit verify",
    "check-config",
    "completions",
    "healthcheck",
    "man",
    "migrate",
    "openapi",
    "realm check",
    "realm export",
    "realm schema",
    "renew",
    "renewal list",
    "secret list",
    "token get",
];

/// All that is stored, but for the audit itself, for who works on what and for who has which keys.
async fn stored(database: &TestDatabase) -> BTreeMap<String, Vec<Vec<String>>> {
    const OTHERS: [&str; 5] = [
        "ts_audit",
        "ts_audit_chain",
        "ts_audit_sink",
        "ts_lock",
        "ts_replica",
    ];
    let rows = database.rows(|table| table.starts_with("ts_") && !OTHERS.contains(&table));
    let stored = rows.await;
    assert!(stored.len() > 10, "the tables are found: {}", stored.len());
    stored
}

async fn take_away(database: &TestDatabase, table: &str) {
    let away = format!("ALTER TABLE {table} RENAME TO away");
    database.run(&away).await;
}

async fn bring_back(database: &TestDatabase, table: &str) {
    let back = format!("ALTER TABLE away RENAME TO {table}");
    database.run(&back).await;
}

/// Something for each change to change. Answers the id of an API key.
async fn prepare(client: &Client, provider: &Provider) -> String {
    client
        .post("/api/realm", &json!({"id": "r"}))
        .await
        .expect(200);
    for key in ["k", "paused"] {
        let secret = json!({"realm": "r", "key": key, "token": "as it was"});
        client.post("/api/secret", &secret).await.expect(200);
    }
    let pause = client.post("/api/secret/r/paused/pause", &json!({})).await;
    pause.expect(200);
    client.register_realm("p", &provider.url("/token")).await;
    client.save_secret("p", "k").await;
    client.generation("p", "k", 1).await;
    let issuer = json!({"issuer": "https://issuer.example", "audiences": ["b"]});
    let issuer = client.put("/api/issuer/made", &issuer).await;
    issuer.expect(200);
    let key = json!({"name": "to be revoked", "scopes": ["metrics"]});
    make_key(client, &key).await.0.to_string()
}

async fn an_audit_that_cannot_be_written_stops_changes_and_nothing_else(database: TestDatabase) {
    let provider = Provider::start().await;
    let server = Server::start(&database).await;
    let client = &server.client;
    let id = prepare(client, &provider).await;
    server.settled().await;
    let aimed = |operation: &str| {
        let (called, body) = change(operation, &id);
        match operation {
            // What is paused can be resumed.
            "POST /api/secret/{realm}/{key}/resume" => (called.replace("r/k", "r/paused"), body),
            "DELETE /api/realm/{id}" => (format!("{called}?cascade=true"), body),
            _ => (called, body),
        }
    };
    for table in ["ts_audit", "ts_audit_chain"] {
        let before = stored(&database).await;
        take_away(&database, table).await;
        for (operation, _, _) in CHANGES {
            let (called, body) = aimed(operation);
            let refused = call(client, &called, &body).await;
            assert_eq!(refused.status, 503, "{operation}: {}", refused.text);
            refused.expect_problem(503, "database_unavailable");
            assert_eq!(stored(&database).await, before, "{operation}");
        }
        for operation in NO_CHANGES {
            let (called, body) = aimed_at(operation, "p", "k");
            let reply = call(client, &called, &body).await;
            assert!(
                !reply.status.is_server_error(),
                "{operation}: {}",
                reply.text
            );
        }
        client.generation("p", "k", 2).await;
        let token = client.token("r", "k").await.expect(200).json();
        assert_eq!(token["token"], "as it was");
        server.settled().await;
        bring_back(&database, table).await;
    }
    // Each of them would have changed something.
    for (operation, _, _) in CHANGES {
        let before = stored(&database).await;
        let (called, body) = aimed(operation);
        call(client, &called, &body).await.expect(200);
        assert_ne!(stored(&database).await, before, "{operation}");
    }
}

#[test]
fn of_every_command_it_is_known_whether_it_needs_the_audit() {
    let changing = CHANGING.map(|(command, _)| command);
    let mut known = [&changing[..], &[GIVING, STARTING], &OTHERS].concat();
    known.sort_unstable();
    assert_eq!(all_commands(), known);
}

/// A key beside the one of the kit.
fn key(id: &str, differs: &str) -> String {
    let text = SEALING_KEYS.replace("AQE", differs);
    text.replace("test:", &format!("{id}:"))
}

/// Commands with all that they need, on the database of a running server.
struct Scene<'a> {
    database: &'a TestDatabase,
    folder: TempDir,
    env: Vec<(&'static str, String)>,
    key_id: String,
}

impl Scene<'_> {
    fn write(&self, name: &str, text: &str) -> String {
        let path = self.folder.path().join(name);
        fs::write(&path, text).expect("it is written");
        let private = fs::Permissions::from_mode(0o600);
        fs::set_permissions(&path, private).expect("it is ours");
        path.display().to_string()
    }

    fn command(&self, name: &str, rest: &str) -> Command {
        let folder = self.folder.path().display().to_string();
        let rest = rest.replace("{id}", &self.key_id);
        let rest = rest.replace("{folder}", &folder);
        let mut command = command(self.database, &self.env);
        command.args(name.split(' ')).args(rest.split_whitespace());
        command
    }

    async fn run(&self, name: &str, rest: &str) -> Ended {
        end(&mut self.command(name, rest)).await
    }
}

async fn no_command_changes_anything_while_the_audit_cannot_be_written(database: TestDatabase) {
    let provider = Provider::start().await;
    let both = format!("{SEALING_KEYS},{}", key("other", "AgI"));
    let options = Options::default().with(&[(KEYS, &both)]);
    let server = Server::start_with(&database, options).await;
    let predecessor = source(&provider.url("/token")).await;
    let others = "DELETE FROM realm WHERE id NOT IN ('wx', 'fixed')";
    predecessor.run(others).await;
    let key_id = prepare(&server.client, &provider).await;
    server.settled().await;
    let mut scene = Scene {
        database: &database,
        folder: tempfile::tempdir().expect("a folder"),
        env: vec![(KEYS, format!("{both},{}", key("lost", "AwM")))],
        key_id,
    };
    scene.write("realm.json", &json!({"id": "applied"}).to_string());
    let secret = json!({"realm": "r", "key": "applied", "token": "t"});
    scene.write("secret.json", &secret.to_string());
    scene.write("value", "another");
    let api_key = scene.write("api.key", ADMIN_KEY);
    // That one is registered, and lost from then on.
    let listed = scene.run("api-key list", "").await;
    assert_eq!(listed.code, Some(0), "{}", listed.stderr);
    scene.env = vec![
        (KEYS, both),
        ("TOKEN_SERVER_IMPORT_URL", predecessor.url.clone()),
        ("TOKEN_SERVER_URL", format!("http://{}", server.address())),
        ("TOKEN_SERVER_KEY_FILE", api_key),
    ];

    let before = stored(&database).await;
    take_away(&database, "ts_audit").await;
    for (name, rest) in CHANGING {
        let refused = scene.run(name, rest).await;
        let is_refused = matches!(refused.code, Some(1 | 2));
        assert!(is_refused, "{name}: {refused:?}");
        assert!(!refused.stderr.contains("panicked"), "{name}: {refused:?}");
        assert_eq!(stored(&database).await, before, "{name}: {refused:?}");
    }
    let out = scene.folder.path().join("out");
    let given = scene.run(GIVING, "--output {folder}/out").await;
    assert_eq!(given.code, Some(2), "{given:?}");
    let mut secrets = fs::read_dir(out.join("secrets")).expect("the folder is made");
    assert!(secrets.next().is_none(), "credentials are written");
    fs::remove_dir_all(&out).expect("it is ours");
    bring_back(&database, "ts_audit").await;

    // Each of them would have changed something.
    for (name, rest) in CHANGING {
        let before = stored(&database).await;
        let done = scene.run(name, rest).await;
        assert_eq!(done.code, Some(0), "{name}: {done:?}");
        assert_ne!(stored(&database).await, before, "{name}");
    }
    let given = scene.run(GIVING, "--output {folder}/out").await;
    assert_eq!(given.code, Some(0), "{given:?}");
    let mut secrets = fs::read_dir(out.join("secrets")).expect("the folder is made");
    assert!(secrets.next().is_some(), "nothing is written");
}

async fn no_start_changes_the_administrators_key_while_the_audit_cannot_be_written(
    database: TestDatabase,
) {
    Server::start(&database).await.stop().await;
    let another = "another-administrators-key-0123456789";
    let env = [(ADMIN, another.to_owned())];
    let before = stored(&database).await;
    take_away(&database, "ts_audit").await;
    let refused = end(command(&database, &env).arg(STARTING)).await;
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert_eq!(stored(&database).await, before);
    bring_back(&database, "ts_audit").await;
    let server = ServerProcess::start(&database, &env);
    let client = server.client.with_key(another);
    client.get("/api/realm").await.expect(200);
    assert_ne!(stored(&database).await, before);
}
