//! What is made or deleted on the old server while an import hands its tokens over.

use std::process::Stdio;

use serde_json::{Value, json};

use super::moved::{KEYS, prepared, source_of, there};
use super::{migrated, outcomes, text};
use crate::kit::{Provider, TestDatabase, eventually, on_every_database};

on_every_database! {
    what_is_made_or_deleted_there_during_the_finish_is_moved_or_reported,
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
    for key in ["handed", "kept"] {
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
    let renewed_here = "SELECT COUNT(*) FROM ts_token WHERE key_name IN ('handed', 'kept') AND \
        lease_owner IS NULL";
    eventually("what is free is handed over", async || {
        (database.number(renewed_here).await == 2).then_some(())
    })
    .await;
    let given = json!({"realm": "fixed", "key": "late", "token": "the-fixed-token"});
    client.post("/api/secret", &given).await.expect(200);
    client.held_attempt(&provider, "r", "late").await;
    for key in ["handed", "deleted"] {
        let deleted = client.delete(&format!("/api/secret/r/{key}")).await;
        deleted.expect(200);
    }
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
    let handed = row("r", "handed").expect("it is reported");
    assert_eq!(handed["outcome"], "refused", "{handed}");
    let why = handed["why"].as_str().expect("a reason");
    assert!(why.contains("deleted there after"), "{why}");
    assert!(row("r", "deleted").is_none(), "{report}");
    let copies = "SELECT COUNT(*) FROM ts_secret WHERE key_name = 'deleted'";
    assert_eq!(database.number(copies).await, 0);
    // All that is there is renewed here.
    let free = "SELECT COUNT(*) FROM ts_token WHERE lease_owner IS NULL";
    assert_eq!(
        (source.number(free).await, database.number(free).await),
        (0, 5)
    );
}
