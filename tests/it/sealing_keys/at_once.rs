//! Two rotations at once, while servers read, renew and save, and one of them is killed.

use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;
use token_server::foundation::hex;
use token_server::foundation::sealing::prefix;

use super::{KEYS, counted, other_key, run};
use crate::kit::process::command;
use crate::kit::server::{Options, SEALING_KEYS};
use crate::kit::{Provider, Server, TestDatabase, eventually, on_every_database};

on_every_database! {
    two_rotations_at_once_of_which_one_is_killed_fail_no_reader_and_leave_nothing_under_the_old_key,
}

const FIXED: usize = 300;
const RENEWED: usize = 10;
const WRITE_TIMEOUT: &str = "TOKEN_SERVER__DATABASE__WRITE_TIMEOUT_MS";
/// On a busy machine a transaction takes its time.
const PATIENT: &str = "60000";

/// How values begin that were made with a key, in hexadecimal.
fn begins(key_id: &str) -> String {
    hex(&prefix(key_id)).to_uppercase()
}

/// What stored values were made with a key: table and number, but for those that tell of the key itself.
async fn made_with(database: &TestDatabase, key_id: &str) -> Vec<(String, usize)> {
    let begins = begins(key_id);
    let tables = database.rows(|table| table.starts_with("ts_") && table != "ts_sealing_key");
    let tables = tables.await.into_iter().map(|(table, rows)| {
        let values = rows.iter().flatten();
        let made = values.filter(|value| value.starts_with(&begins)).count();
        (table, made)
    });
    tables.filter(|(_, made)| *made > 0).collect()
}

/// Reads all fixed tokens again and again.
async fn read(server: &Server, is_over: &AtomicBool) -> usize {
    let mut reads = 0;
    while !is_over.load(Ordering::Relaxed) {
        for number in (0..FIXED).step_by(7) {
            let read = server.client.token("fixed", &format!("k{number}")).await;
            let token = read.expect(200).json()["token"].take();
            assert_eq!(token, format!("token-{number}"));
            reads += 1;
        }
    }
    reads
}

/// Has tokens renewed, and saves secrets.
async fn renew(database: &TestDatabase, servers: &[Server; 2], is_over: &AtomicBool) -> usize {
    let mut rounds = 0;
    while !is_over.load(Ordering::Relaxed) {
        database
            .run("UPDATE ts_token SET renew_at = 0 WHERE realm_id = 'r'")
            .await;
        let server = &servers[rounds % 2];
        server.app().wake.notify_one();
        server
            .client
            .save_secret("r", &format!("late-{rounds}"))
            .await;
        for number in 0..RENEWED {
            let read = server.client.token("r", &format!("k{number}")).await;
            read.expect(200);
        }
        rounds += 1;
    }
    rounds
}

async fn two_rotations_at_once_of_which_one_is_killed_fail_no_reader_and_leave_nothing_under_the_old_key(
    database: TestDatabase,
) {
    let provider = Provider::start().await;
    let both = format!("{SEALING_KEYS},{}", other_key());
    let start = |memory: &'static str| {
        let memory = ("TOKEN_SERVER__READ__MEMORY_MIB", memory);
        let env = [(KEYS, both.as_str()), (WRITE_TIMEOUT, PATIENT), memory];
        Server::start_with(&database, Options::default().with(&env))
    };
    // The first opens what is stored at each read.
    let servers = [start("0").await, start("64").await];
    let client = &servers[0].client;
    let realm = json!({"id": "fixed"});
    client.post("/api/realm", &realm).await.expect(200);
    for number in 0..FIXED {
        let key = format!("k{number}");
        let token = json!({"realm": "fixed", "key": key, "token": format!("token-{number}")});
        client.put("/api/token", &token).await.expect(200);
    }
    client.register_realm("r", &provider.url("/token")).await;
    for number in 0..RENEWED {
        client.save_secret("r", &format!("k{number}")).await;
    }
    for number in 0..RENEWED {
        client.generation("r", &format!("k{number}"), 1).await;
    }

    let of_fixed = |table: &str, column: &str, key_id: &str| {
        let begins = begins(key_id);
        format!(
            "SELECT COUNT(*) FROM {table} WHERE realm_id = 'fixed' AND HEX({column}) LIKE '{begins}%'"
        )
    };
    let is_over = AtomicBool::new(false);
    let rotating = async {
        let begin = || -> Child {
            let env = [(KEYS, both.clone()), (WRITE_TIMEOUT, PATIENT.to_owned())];
            let mut rotate = command(&database, &env);
            rotate.args(["rotate-key", "other"]);
            let piped = rotate.stdout(Stdio::piped()).stderr(Stdio::piped());
            piped.spawn().expect("it runs")
        };
        let (mut killed, other) = (begin(), begin());
        let sealed_anew = of_fixed("ts_secret", "params", "other");
        eventually("some of it is sealed anew", async || {
            (database.number(&sealed_anew).await > 0).then_some(())
        })
        .await;
        killed.kill().expect("it can be killed");
        killed.wait().expect("it ends");
        let left = database
            .number(&of_fixed("ts_token", "token", "test"))
            .await;
        let waiting = tokio::task::spawn_blocking(move || other.wait_with_output());
        let ended = waiting.await.expect("nobody stops it").expect("it ends");
        is_over.store(true, Ordering::Relaxed);
        (left, ended)
    };
    let (first, second, rounds, (left, ended)) = tokio::join!(
        read(&servers[0], &is_over),
        read(&servers[1], &is_over),
        renew(&database, &servers, &is_over),
        rotating
    );
    assert!(left > 0, "the one was killed after all was done");
    assert!(first > 0 && second > 0 && rounds > 0);
    let said = [ended.stdout, ended.stderr].concat();
    let said = String::from_utf8(said).expect("text");
    assert_eq!(ended.status.code(), Some(0), "{said}");
    assert_eq!(counted(&said, "test"), Some(0), "{said}");

    // The killed one goes on, and finds nothing left to do.
    let (said, code) = run(&database, &both, &["rotate-key", "other"]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(counted(&said, "test"), Some(0), "{said}");
    for server in servers {
        assert_eq!(server.app().ring.sealing_id(), "other");
        server.settled().await;
        let metrics = server.client.get("/metrics").await.expect(200).text;
        let damaged = "token_server_damaged_values_total{";
        assert!(!metrics.contains(damaged), "{metrics}");
        server.stop().await;
    }
    let left = made_with(&database, "test").await;
    assert!(left.is_empty(), "{left:?}");
    assert!(made_with(&database, "other").await.len() > 4);
    // Without the old key everything opens.
    let other = other_key();
    let options = Options::default().with(&[(KEYS, &other)]);
    let server = Server::start_with(&database, options).await;
    server.client.get("/readyz").await.expect(200);
    for number in 0..FIXED {
        let read = server.client.token("fixed", &format!("k{number}")).await;
        read.expect(200);
    }
}
