//! The audit: entries are chained, so that whatever somebody does to them in the database is named.

mod earlier;
mod heads;
mod pruning;
mod sinks;
mod tampering;
mod unwritable;
mod uses;

use std::process::Command;

use serde_json::{Value, json};
use token_server::access::audit::{HeadSigner, Signed};
use token_server::foundation::clock::Ms;
use token_server::jobs::maintenance::{Maintenance, MaintenanceSettings};

use crate::kit::process::command;
use crate::kit::server::{Options, SEALING_KEYS};
use crate::kit::{Server, TestDatabase, eventually, on_every_database};

on_every_database! {
    the_chains_of_two_replicas_and_of_commands_are_as_they_were_written,
    changes_at_once_on_two_replicas_make_no_gap_and_no_fork,
    what_is_pruned_by_its_age_is_no_fault_and_what_was_deleted_before_is,
    chains_are_verified_by_a_server_that_has_only_the_next_sealing_key,
    an_export_has_every_entry_with_all_that_it_says,
}

const KEYS: &str = "TOKEN_SERVER__SEALING__KEYS";

fn run_with(database: &TestDatabase, keys: &str, arguments: &[&str]) -> (String, Option<i32>) {
    let mut command: Command = command(database, &[(KEYS, keys.to_owned())]);
    let output = command.args(arguments).output().expect("it runs");
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    let text = String::from_utf8(output.stdout).expect("text");
    assert!(output.status.code() != Some(2), "{errors}");
    (text, output.status.code())
}

/// Expects that everything is as it was written; answers what is said.
fn expect_whole(database: &TestDatabase) -> String {
    let (said, code) = run_with(database, SEALING_KEYS, &["audit", "verify"]);
    assert!(
        said.contains("are as they were written") && code == Some(0),
        "{said}"
    );
    said
}

/// Expects that the first line names a fault so.
fn expect_named(database: &TestDatabase, named: &[String]) {
    let (said, code) = run_with(database, SEALING_KEYS, &["audit", "verify"]);
    assert_eq!(code, Some(1), "{said}");
    let first = said.lines().next().unwrap_or_default();
    for part in named {
        assert!(first.contains(part.as_str()), "{part:?} of {said}");
    }
}

/// Expects that each of these stands in what is said, somewhere.
fn expect_all_named(database: &TestDatabase, named: &[String]) {
    let (said, code) = run_with(database, SEALING_KEYS, &["audit", "verify"]);
    assert_eq!(code, Some(1), "{said}");
    for part in named {
        assert!(said.contains(part.as_str()), "{part:?} of {said}");
    }
}

fn exported(database: &TestDatabase, more: &[&str]) -> Vec<Value> {
    let arguments = [&["audit", "export"], more].concat();
    let (said, code) = run_with(database, SEALING_KEYS, &arguments);
    assert_eq!(code, Some(0), "{said}");
    let lines = said.lines().map(serde_json::from_str);
    lines.collect::<Result<_, _>>().expect("lines of JSON")
}

async fn save(server: &Server, realm: &str) {
    let realm = json!({"id": realm, "comment": "a comment"});
    server.client.post("/api/realm", &realm).await.expect(200);
}

fn signer(server: &Server) -> HeadSigner {
    let app = server.app();
    HeadSigner::new(app.database.clone(), app.audit.clone(), app.clock.clone())
}

/// Two replicas that have made changes, have recorded where the other's chain ends, and have
/// stopped. Answers the entries of the second's chain, in their order.
async fn written(database: &TestDatabase) -> Vec<Value> {
    let servers = [Server::start(database).await, Server::start(database).await];
    for number in 0..3 {
        for (server, name) in servers.iter().zip(["a", "b"]) {
            save(server, &format!("{name}{number}")).await;
        }
    }
    signer(&servers[0]).sign().await.expect("it is recorded");
    for server in servers {
        server.stop().await;
    }
    expect_whole(database);
    let entries = exported(database, &[]);
    let of_second = entries.iter().find(|entry| entry["target"] == "b0");
    let chain = of_second.expect("the second has made changes")["chain"].clone();
    let mut own: Vec<_> = entries
        .into_iter()
        .filter(|entry| entry["chain"] == chain)
        .collect();
    own.sort_by_key(|entry| entry["seq"].as_i64());
    assert_eq!(own.len(), 3, "{own:?}");
    own
}

/// Deletes entries older than a day.
fn maintenance(server: &Server) -> Maintenance {
    let settings = MaintenanceSettings {
        schedule: "0 0 0 * * *".to_owned(),
        history: Ms::from_secs(86_400),
        audit: Ms::from_secs(86_400),
        check_sealed_every: Ms::ZERO,
    };
    let app = server.app();
    let (audit, clock) = (app.audit.clone(), app.clock.clone());
    Maintenance::new(app.database.clone(), audit, clock, settings)
}

async fn the_chains_of_two_replicas_and_of_commands_are_as_they_were_written(
    database: TestDatabase,
) {
    let servers = [
        Server::start(&database).await,
        Server::start(&database).await,
    ];
    save(&servers[0], "a").await;
    save(&servers[1], "b").await;
    servers[1]
        .client
        .without_key()
        .get("/api/realm")
        .await
        .expect(401);
    eventually("the denied call is written", async || {
        let denied = "SELECT COUNT(*) FROM ts_audit WHERE outcome = 'denied'";
        (database.number(denied).await == 1).then_some(())
    })
    .await;
    let arguments = ["api-key", "create", "made", "--scope", "metrics"];
    let (_, code) = run_with(&database, SEALING_KEYS, &arguments);
    assert_eq!(code, Some(0));
    // That there is no entry in no chain, the key of the first start, two realms, a denied call and
    // a key; one chain each.
    let said = expect_whole(&database);
    assert!(said.starts_with("6 entries in 3 chains "), "{said}");
    // Each records the two others once, and what only records says nothing.
    let signers = [signer(&servers[0]), signer(&servers[1])];
    for signer in &signers {
        assert_eq!(signer.sign().await.expect("recorded"), Signed::Heads(2));
    }
    for signer in &signers {
        assert_eq!(signer.sign().await.expect("recorded"), Signed::Nothing);
    }
    save(&servers[0], "c").await;
    assert_eq!(signers[0].sign().await.expect("recorded"), Signed::Nothing);
    assert_eq!(signers[1].sign().await.expect("recorded"), Signed::Heads(1));
    let said = expect_whole(&database);
    assert!(said.starts_with("10 entries in 3 chains "), "{said}");
}

async fn changes_at_once_on_two_replicas_make_no_gap_and_no_fork(database: TestDatabase) {
    const EACH: usize = 12;
    let servers = [
        Server::start(&database).await,
        Server::start(&database).await,
    ];
    let calls = (0..2 * EACH).map(|number| {
        let client = servers[number % 2].client.clone();
        tokio::spawn(async move {
            let realm = json!({"id": format!("r{number}"), "comment": "c"});
            client.post("/api/realm", &realm).await.expect(200);
        })
    });
    for call in calls.collect::<Vec<_>>() {
        call.await.expect("it is made");
    }
    let said = expect_whole(&database);
    let all = format!("{} entries in 2 chains ", 2 * EACH + 2);
    assert!(said.starts_with(&all), "{said}");
}

async fn what_is_pruned_by_its_age_is_no_fault_and_what_was_deleted_before_is(
    database: TestDatabase,
) {
    let (server, clock) = Server::on_manual_clock(&database).await;
    let other = Options {
        clock: Some(clock.clone()),
        ..Options::default()
    };
    let other = Server::start_with(&database, other).await;
    save(&server, "a").await;
    save(&other, "b").await;
    signer(&server).sign().await.expect("it is recorded");
    other.stop().await;
    let maintenance = maintenance(&server);
    clock.advance(Ms::from_secs(80_000));
    save(&server, "c").await;
    clock.advance(Ms::from_secs(7000));
    let pruned = maintenance.prune().await.expect("it is pruned");
    assert_eq!(pruned.audit_entries, 5);
    // The server may have recorded where the other's chain ends, too; and what there is in none.
    let entries = server.client.audited().await;
    let said: Vec<_> = entries
        .iter()
        .map(|entry| (entry["action"].as_str(), entry["target"].as_str()))
        .collect();
    let left = [
        (Some("audit.prune"), Some("audit")),
        (Some("realm.save"), Some("c")),
    ];
    assert_eq!(said, left);
    expect_whole(&database);
    // The chain of the other replica has ended with its last entry.
    let chains = "SELECT COUNT(*) FROM ts_audit_chain";
    assert_eq!(database.number(chains).await, 1);
    database
        .run("DELETE FROM ts_audit WHERE target = 'c'")
        .await;
    expect_named(&database, &["missing".to_owned()]);
}

async fn chains_are_verified_by_a_server_that_has_only_the_next_sealing_key(
    database: TestDatabase,
) {
    Box::pin(written(&database)).await;
    let other = SEALING_KEYS
        .replace("AQE", "AgI")
        .replace("test:", "other:");
    let both = format!("{other},{SEALING_KEYS}");
    let (said, code) = run_with(&database, &both, &["rotate-key", "other"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("\"test\": 0 value(s)"), "{said}");
    let (said, code) = run_with(&database, &other, &["audit", "verify"]);
    assert_eq!(code, Some(0), "{said}");
    // Without a key of theirs they are not taken for good.
    database
        .run("UPDATE ts_audit_chain SET sealed_key = (SELECT kept.k FROM (SELECT MAX(sealed_key) AS k FROM ts_audit_chain) AS kept)")
        .await;
    let (said, code) = run_with(&database, &other, &["audit", "verify"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("cannot be verified"), "{said}");
}

async fn an_export_has_every_entry_with_all_that_it_says(database: TestDatabase) {
    let (server, clock) = Server::on_manual_clock(&database).await;
    save(&server, "a").await;
    clock.advance(Ms::from_secs(3600));
    save(&server, "b").await;
    let mut listed = server.client.list("/api/audit").await;
    listed.reverse();
    let mut lines = exported(&database, &[]);
    for line in &mut lines {
        let mac = line.as_object_mut().expect("an object").remove("mac");
        assert_eq!(mac.expect("a code").as_str().map(str::len), Some(64));
    }
    assert_eq!(lines, listed);
    let between = |since, until| {
        let lines = exported(&database, &["--since", since, "--until", until]);
        let target = |line: &Value| line["target"].as_str().map(str::to_owned);
        lines.iter().filter_map(target).collect::<Vec<_>>()
    };
    // The clock of the test began at 22:13:20.
    let (before, after) = ("2023-11-14T22:30:00Z", "2023-11-15T00:00:00+01:00");
    assert_eq!(between(before, "2024-01-01T00:00:00Z"), ["b"]);
    assert_eq!(
        between("2023-01-01T00:00:00Z", after),
        ["audit", "bootstrap-admin", "a"]
    );
    let later = server.client.list("/api/audit?since=1700000000001").await;
    assert_eq!(later.len(), 1);
    let of_key = server.client.list("/api/audit?action=api_key.create").await;
    assert_eq!(of_key.len(), 1);
}
