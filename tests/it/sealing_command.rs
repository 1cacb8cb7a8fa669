//! Sealing keys that a command prints: taken where it does so in time, and shown nowhere.

use std::path::Path;
use std::process::Output;

use rustix::process::{Pid, test_kill_process};
use serde_json::json;

use crate::kit::process::{ServerProcess, command};
use crate::kit::server::SEALING_KEYS;
use crate::kit::{TestDatabase, eventually, on_every_database};

on_every_database! {
    a_server_takes_its_keys_from_a_command,
    every_command_that_opens_the_keys_asks_the_command,
    a_command_that_does_not_print_keys_stops_the_start_and_nothing_it_said_is_shown,
    a_command_that_hangs_is_ended_with_all_that_it_started,
    a_command_is_given_no_secret_of_the_server,
}

const CANARY: &str = "canary-0123456789";

/// The environment of a server whose keys a script of the shell prints.
fn by(script: &str) -> Vec<(&'static str, String)> {
    let list = json!(["/bin/sh", "-c", script]).to_string();
    vec![
        ("TOKEN_SERVER__SEALING__KEYS", String::new()),
        ("TOKEN_SERVER__SEALING__COMMAND", list),
        ("PATH", "/usr/bin:/bin".to_owned()),
    ]
}

fn run(database: &TestDatabase, env: &[(&'static str, String)], arguments: &str) -> Output {
    let mut command = command(database, env);
    let run = command.args(arguments.split(' ')).output();
    run.expect("the binary starts")
}

fn said(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}{}", text(&output.stdout), text(&output.stderr))
}

#[track_caller]
fn good(output: &Output) {
    assert!(output.status.success(), "{}", said(output));
}

async fn a_server_takes_its_keys_from_a_command(database: TestDatabase) {
    let server = ServerProcess::start(&database, &by(&format!("echo '{SEALING_KEYS}'")));
    let fixed = json!({"id": "fixed", "config": null});
    server.client.post("/api/realm", &fixed).await.expect(200);
    let token = json!({"realm": "fixed", "key": "k", "token": "a-token"});
    server.client.put("/api/token", &token).await.expect(200);
    drop(server);
    // It sealed with the same key as one that was told what it is.
    let server = ServerProcess::start(&database, &[]);
    let read = server.client.token("fixed", "k").await.expect(200);
    assert_eq!(read.json()["token"], "a-token");
}

async fn every_command_that_opens_the_keys_asks_the_command(database: TestDatabase) {
    let server = ServerProcess::start(&database, &[]);
    drop(server);
    let newer = "b:AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=";
    let env = by(&format!("echo '{SEALING_KEYS}'; echo '{newer}'"));
    for arguments in ["api-key list", "rotate-key b", "renew"] {
        good(&run(&database, &env, arguments));
    }
    let rotated = database.number("SELECT COUNT(*) FROM ts_sealing_key WHERE key_id = 'b'");
    assert_eq!(rotated.await, 1);
    let here = run(&database, &env, "forget-key b");
    assert!(
        said(&here).contains("that key is in sealing.keys"),
        "{}",
        said(&here)
    );
    // What only looks at the configuration runs nothing.
    good(&run(&database, &by("exit 3"), "check-config"));
}

async fn a_command_that_does_not_print_keys_stops_the_start_and_nothing_it_said_is_shown(
    database: TestDatabase,
) {
    let server = ServerProcess::start(&database, &[]);
    drop(server);
    for (script, expected) in [
        (
            format!("echo '{SEALING_KEYS}'; echo {CANARY} >&2; exit 3"),
            "sealing.command: /bin/sh failed (exit status: 3)",
        ),
        (
            format!("while :; do echo {CANARY}; done"),
            "sealing.command: /bin/sh was ended: it printed more than 65536 bytes",
        ),
        (format!("echo password:{CANARY}"), "printed no sealing keys"),
        (format!("echo {CANARY}:{CANARY}"), "printed no sealing keys"),
        ("printf '\\377'".to_owned(), "printed no sealing keys"),
        (":".to_owned(), "printed no sealing keys"),
    ] {
        let refused = run(&database, &by(&script), "api-key list");
        assert_eq!(
            refused.status.code(),
            Some(2),
            "{script}: {}",
            said(&refused)
        );
        assert!(
            said(&refused).contains(expected),
            "{script}: {}",
            said(&refused)
        );
        assert!(!said(&refused).contains("canary"), "{}", said(&refused));
    }
    let mut nowhere = by("");
    nowhere[1].1 = json!(["/nowhere/at/all", CANARY]).to_string();
    let refused = run(&database, &nowhere, "api-key list");
    assert!(
        said(&refused).contains("/nowhere/at/all cannot be run"),
        "{}",
        said(&refused)
    );
    assert!(!said(&refused).contains("canary"), "{}", said(&refused));
}

fn pid_in(file: &Path) -> Option<Pid> {
    let text = std::fs::read_to_string(file).ok()?;
    Pid::from_raw(text.trim().parse().ok()?)
}

async fn a_command_that_hangs_is_ended_with_all_that_it_started(database: TestDatabase) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("pid");
    let script = format!("sleep 600 & echo $! > {}; wait", file.display());
    let mut env = by(&script);
    env.push(("TOKEN_SERVER__SEALING__COMMAND_TIMEOUT_S", "1".to_owned()));
    let server = ServerProcess::start(&database, &[]);
    drop(server);
    let refused = run(&database, &env, "api-key list");
    assert!(!refused.status.success());
    let expected = "it took longer than sealing.command_timeout_s (1 s)";
    assert!(said(&refused).contains(expected), "{}", said(&refused));
    let started = pid_in(&file).expect("it started");
    eventually("what it started has ended", async || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", started.as_raw_nonzero()));
        let is_dead = stat.is_ok_and(|stat| stat.contains(") Z "));
        (is_dead || test_kill_process(started).is_err()).then_some(())
    })
    .await;
}

async fn a_command_is_given_no_secret_of_the_server(database: TestDatabase) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("env");
    let script = format!("env > {}; echo '{SEALING_KEYS}'", file.display());
    let mut env = by(&script);
    env.push(("MYSQL_PASSWORD", CANARY.to_owned()));
    env.push(("VAULT_ADDR", "https://vault.example".to_owned()));
    drop(ServerProcess::start(&database, &env));
    let seen = std::fs::read_to_string(&file).expect("it ran");
    assert!(seen.contains("VAULT_ADDR=https://vault.example"), "{seen}");
    for withheld in ["TOKEN_SERVER", "DATABASE_URL", "MYSQL", CANARY] {
        assert!(!seen.contains(withheld), "{seen}");
    }
}
