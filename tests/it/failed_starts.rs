//! A server that cannot start says so in the log that somebody collects.

use std::net::TcpListener;
use std::sync::mpsc::RecvTimeoutError;

use serde_json::{Value, json};

use crate::access::make_key;
use crate::kit::process::{command, serve};
use crate::kit::server::{Options, SEALING_KEYS};
use crate::kit::{PATIENCE, Server, TestDatabase, on_every_database, strict_json};

on_every_database! {
    a_start_that_fails_ends_with_an_error_in_the_log,
    a_wrong_key_does_not_start_whatever_became_of_its_check_value,
    an_administrators_key_that_is_another_key_does_not_start_and_the_log_says_what_to_do,
}

/// The last line of the log of a server that does not start.
fn last_line(database: &TestDatabase, more: &[(&'static str, String)], code: i32) -> Value {
    let (mut child, log) = serve(command(database, more));
    let mut lines = Vec::new();
    loop {
        match log.recv_timeout(PATIENCE) {
            Ok(line) => lines.push(strict_json::read(&line)),
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                child.kill().expect("it can be killed");
                panic!("it goes on: {more:?}: {lines:?}");
            }
        }
    }
    let ended = child.wait().expect("it ends");
    assert_eq!(ended.code(), Some(code), "{lines:?}");
    let errors = lines.iter().filter(|line| line["level"] == "ERROR");
    assert_eq!(errors.count(), 1, "{lines:?}");
    lines.pop().expect("a line")
}

async fn a_start_that_fails_ends_with_an_error_in_the_log(database: TestDatabase) {
    let taken = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let taken = taken.local_addr().expect("an address").to_string();
    let nowhere = match database.url.starts_with("sqlite") {
        // A folder is no database.
        true => format!("sqlite://{}?mode=rwc", database.directory.path().display()),
        false => "mysql://root@127.0.0.1:1/tokens".to_owned(),
    };
    let other_key = SEALING_KEYS.replace("AQE", "AgI");
    for (name, value, code, said) in [
        ("TOKEN_SERVER__HTTP__LISTEN", &taken, 2, taken.as_str()),
        ("DATABASE_URL", &nowhere, 2, "cannot be used"),
        (
            "TOKEN_SERVER__SEALING__KEYS",
            &other_key,
            64,
            "sealing.keys",
        ),
    ] {
        // What is no terminal has JSON, asked for or not.
        let asked_for = ("TOKEN_SERVER__LOG__FORMAT", "json".to_owned());
        for format in [None, Some(asked_for)] {
            let mut more = vec![(name, value.clone())];
            more.extend(format);
            let line = last_line(&database, &more, code);
            assert_eq!(line["level"], "ERROR", "{line}");
            assert_eq!(line["target"], "token_server::cli", "{line}");
            let message = line["message"].as_str().expect("a text");
            assert!(message.contains(said), "{name}: {line}");
        }
    }
}

async fn a_wrong_key_does_not_start_whatever_became_of_its_check_value(database: TestDatabase) {
    let server = Server::start(&database).await;
    let client = &server.client;
    client
        .register_realm("r", "https://provider.example/token")
        .await;
    client.save_secret("r", "k").await;
    server.stop().await;
    let other_key = SEALING_KEYS.replace("AQE", "AgI");
    for sql in ["SELECT 1", "DELETE FROM ts_sealing_key"] {
        database.run(sql).await;
        let before = database.number("SELECT COUNT(*) FROM ts_sealing_key").await;
        let keys = ("TOKEN_SERVER__SEALING__KEYS", other_key.clone());
        let last = last_line(&database, &[keys], 64);
        let said = "is not the one that values in this database were sealed with";
        assert!(last.to_string().contains(said), "{last}");
        // A refused start leaves nothing.
        let checks = database.number("SELECT COUNT(*) FROM ts_sealing_key").await;
        assert_eq!(checks, before);
    }
    // Beside the right one, a new key seals from now on.
    let both = format!("{},{SEALING_KEYS}", other_key.replace("test:", "new:"));
    let options = Options::default().with(&[("TOKEN_SERVER__SEALING__KEYS", &both)]);
    let server = Server::start_with(&database, options).await;
    server.client.get("/api/realm/r").await.expect(200);
}

async fn an_administrators_key_that_is_another_key_does_not_start_and_the_log_says_what_to_do(
    database: TestDatabase,
) {
    let server = Server::start(&database).await;
    let document = json!({"name": "shop", "scopes": ["token:read"]});
    let (id, key) = make_key(&server.client, &document).await;
    server.stop().await;
    let stored = "SELECT COUNT(*) FROM ts_api_key WHERE name IN ('shop', 'bootstrap-admin')";
    let other = "A1".repeat(20);
    for (sql, left) in [
        ("SELECT 1", 2),
        // Nor does it take its place where there is no other.
        ("DELETE FROM ts_api_key WHERE name = 'bootstrap-admin'", 1),
    ] {
        database.run(sql).await;
        let admin_key = ("TOKEN_SERVER__ADMIN_KEY", key.clone());
        let line = last_line(&database, &[admin_key], 64);
        let message = line["message"].as_str().expect("a text");
        for part in [
            format!("admin_key is the API key \"shop\" (ID {id})"),
            "choose another value".to_owned(),
        ] {
            assert!(message.contains(&part), "{part}: {message}");
        }
        assert!(!line.to_string().contains(&key), "the key is shown");
        assert_eq!(database.number(stored).await, left, "{sql}");
    }
    // With another the server starts, and the key is what it was.
    let server = Server::with_env(&database, &[("TOKEN_SERVER__ADMIN_KEY", &other)]).await;
    let shop = server.client.with_key(&key);
    shop.get("/api/realm")
        .await
        .expect_problem(403, "forbidden");
    let admin = server.client.with_key(&other);
    admin.get("/api/realm").await.expect(200);
}
