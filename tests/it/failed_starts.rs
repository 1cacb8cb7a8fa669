//! A server that cannot start says so in the log that somebody collects.

use std::net::TcpListener;
use std::sync::mpsc::RecvTimeoutError;

use serde_json::Value;

use crate::kit::process::{command, serve};
use crate::kit::server::SEALING_KEYS;
use crate::kit::{PATIENCE, TestDatabase, on_every_database, strict_json};

on_every_database! {
    a_start_that_fails_ends_with_an_error_in_the_log,
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
