//! What is made or deleted on the old server while an import hands its tokens over.

use std::process::Stdio;

use serde_json::{Value, json};

use super::moved::{KEYS, import, prepared, source_of, there};
use super::{migrated, outcomes, text};
use crate::kit::database::Kind;
use crate::kit::{Provider, TestDatabase, eventually, on_every_database};

on_every_database! {
    what_is_made_or_deleted_there_during_the_finish_is_moved_or_reported,
    a_finish_ends_although_secrets_are_made_there_all_the_while_and_names_what_is_left,
}

async fn what_is_made_or_deleted_there_during_the_finish_is_moved_or_reported(
    database: TestDatabase,
) {
    let provider = Provider::start().await;
    let source = source_of(&database).await;
    let old = there(&source);
    let client = &old.client;
    client.register_realm("r", &provider.url("/token")).await;
    client
        .post("/api/realm", &json!({"id": "fixed"}))
        .await
        .expect(200);
    for key in ["handed", "kept", "replaced"] {
        client.save_secret("r", key).await;
        client.generation("r", key, 1).await;
    }
    // The finish waits for these two.
    for key in ["slow", "deleted"] {
        client.held_attempt(&provider, "r", key).await;
    }
    migrated(&database);
    let importing = prepared(&database, &source, KEYS)
        .args(["--format", "json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let renewed_here = "SELECT COUNT(*) FROM ts_token WHERE key_name IN \
        ('handed', 'kept', 'replaced') AND lease_owner IS NULL";
    eventually("what is free is handed over", async || {
        (database.number(renewed_here).await == 3).then_some(())
    })
    .await;
    let given = json!({"realm": "fixed", "key": "late", "token": "the-fixed-token"});
    client.post("/api/secret", &given).await.expect(200);
    client.held_attempt(&provider, "r", "late").await;
    for key in ["handed", "deleted", "replaced"] {
        let deleted = client.delete(&format!("/api/secret/r/{key}")).await;
        deleted.expect(200);
    }
    client.save_secret("r", "replaced").await;
    provider.release();
    let ended = tokio::task::spawn_blocking(|| importing.wait_with_output()).await;
    let ended = ended.expect("it is read").expect("it ends");
    assert_eq!(ended.status.code(), Some(1), "{}", text(&ended.stderr));
    let report: Value = serde_json::from_slice(&ended.stdout).expect("the report is JSON");
    let by_name = outcomes(&report);
    let row = |realm: &str, key: &str| by_name.get(&(realm.to_owned(), key.to_owned()));
    for (realm, key) in [("fixed", "late"), ("r", "late")] {
        let late = row(realm, key).expect("it is reported");
        assert_eq!(late["outcome"], "taken", "{late}");
        let notes = late["notes"].to_string();
        assert!(notes.contains("copied late"), "{late}");
    }
    for key in ["kept", "slow"] {
        let moved = row("r", key).expect("it is reported");
        assert_eq!(
            (&moved["outcome"], &moved["notes"]),
            (&json!("taken"), &Value::Null)
        );
    }
    for (key, told) in [
        (
            "handed",
            "deleted there after it had been handed over, and is renewed here",
        ),
        ("replaced", "another of its name was made"),
    ] {
        let row = row("r", key).expect("it is reported");
        assert_eq!(row["outcome"], "refused", "{row}");
        let why = row["why"].as_str().expect("a reason");
        assert!(why.contains(told), "{why}");
    }
    assert!(row("r", "deleted").is_none(), "{report}");
    let copies = "SELECT COUNT(*) FROM ts_secret WHERE key_name = 'deleted'";
    assert_eq!(database.number(copies).await, 0);
    // All that was there is renewed here.
    let free = "SELECT COUNT(*) FROM ts_token WHERE COALESCE(lease_owner, '') NOT LIKE 'import%'";
    assert_eq!(
        (source.number(free).await, database.number(free).await),
        (1, 6)
    );
}

/// How many secrets are made there one by one.
const ONE_BY_ONE: usize = 12;

async fn a_finish_ends_although_secrets_are_made_there_all_the_while_and_names_what_is_left(
    database: TestDatabase,
) {
    let source = source_of(&database).await;
    let old = there(&source);
    let fixed = json!({"id": "fixed"});
    old.client.post("/api/realm", &fixed).await.expect(200);
    for number in 0..ONE_BY_ONE {
        let given = json!({"realm": "fixed", "key": format!("k{number:02}"), "token": "fixed"});
        old.client.post("/api/secret", &given).await.expect(200);
    }
    drop(old);
    // Each comes while the one before is handed over.
    for sql in [
        "CREATE TABLE to_come AS SELECT * FROM ts_secret WHERE key_name <> 'k00'",
        "DELETE FROM ts_secret WHERE key_name <> 'k00'",
    ] {
        source.run(sql).await;
    }
    let next = "INSERT INTO ts_secret SELECT * FROM to_come WHERE NEW.lease_owner IS NOT NULL \
                AND id NOT IN (SELECT id FROM ts_secret) ORDER BY id LIMIT 1";
    let next = match source.kind() {
        Kind::Sqlite => format!("BEGIN {next}; END"),
        Kind::MySql => next.to_owned(),
    };
    let comes = "CREATE TRIGGER comes AFTER UPDATE ON ts_token FOR EACH ROW";
    source.run(&format!("{comes} {next}")).await;
    migrated(&database);
    let report = import(&database, &source, &[], 1);
    assert_eq!(
        (&report["secrets"]["taken"], &report["secrets"]["refused"]),
        (&json!(9), &json!(1)),
        "{report}"
    );
    let left = &outcomes(&report)[&("fixed".to_owned(), "k09".to_owned())];
    let why = left["why"].as_str().expect("a reason");
    assert!(why.contains("made there all through the finish"), "{why}");
    let held = "SELECT COUNT(*) FROM ts_token WHERE lease_owner LIKE 'import%'";
    assert_eq!(
        (source.number(held).await, database.number(held).await),
        (9, 1),
        "what is left is renewed there"
    );
    let report = import(&database, &source, &[], 0);
    // What stayed there is taken once more as it is handed over.
    assert_eq!(report["secrets"]["taken"], 3, "{report}");
    assert_eq!(
        (source.number(held).await, database.number(held).await),
        (12, 0)
    );
}
