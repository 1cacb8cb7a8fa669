//! What is changed or deleted there while an import follows, or between two runs of one; and what is
//! known better here.

use std::process::{Child, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use token_server::token::elsewhere::DatabaseId;

use super::moved::{Filled, KEYS, filled_source, held, identity, import, issuer, prepared, rows};
use super::{migrated, outcomes, text};
use crate::kit::process::ServerProcess;
use crate::kit::server::Client;
use crate::kit::{TestDatabase, eventually, on_every_database};

on_every_database! {
    what_is_changed_or_deleted_there_while_it_is_followed_is_so_here,
    what_was_changed_or_deleted_since_a_killed_import_is_so_after_the_next,
    what_is_known_better_here_is_refused_and_renewed_there_unless_it_is_newer_here,
    what_was_handed_over_is_not_renewed_there_again_because_it_is_here_no_longer,
    what_is_deleted_and_made_again_there_is_copied_anew,
}

/// An import that follows until there is a file `finish`, and has copied so many secrets.
pub async fn following(database: &TestDatabase, source: &TestDatabase, secrets: i64) -> Child {
    let finish = database.directory.path().join("finish");
    let child = prepared(database, source, KEYS)
        .args(["--format", "json", "--follow", "--finish-file"])
        .arg(finish)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let copied = "SELECT COUNT(*) FROM ts_token WHERE lease_owner LIKE 'import%'";
    eventually("everything is copied", async || {
        (database.number(copied).await == secrets).then_some(())
    })
    .await;
    child
}

/// Changes and deletes something of everything.
async fn change(client: &Client, source: &TestDatabase) {
    let next = json!({"realm": "fixed", "key": "f", "token": "the-next-token"});
    client.post("/api/secret", &next).await.expect(200);
    let comment = json!({"id": "fixed", "comment": "changed"});
    client.post("/api/realm", &comment).await.expect(200);
    let mut registration = issuer("https://cluster.example");
    registration["audiences"] = json!(["another"]);
    let changed = client.put("/api/issuer/cluster", &registration).await;
    changed.expect(200);
    client.delete("/api/secret/r/a").await.expect(200);
    // A provider's rate limit is no change of the document.
    source
        .run("UPDATE ts_realm SET blocked_until = 4102444800000 WHERE id = 'broken'")
        .await;
}

const CHANGED: [&str; 4] = [
    "SELECT COUNT(*) FROM ts_realm WHERE comment = 'changed'",
    "SELECT COUNT(*) FROM ts_realm WHERE blocked_until = 4102444800000",
    "SELECT COUNT(*) FROM ts_issuer WHERE config LIKE '%another%'",
    "SELECT CASE COUNT(*) WHEN 0 THEN 1 ELSE 0 END FROM ts_secret WHERE key_name = 'a'",
];

async fn entries(database: &TestDatabase, action: &str) -> i64 {
    let query = format!("SELECT COUNT(*) FROM ts_audit WHERE action = '{action}'");
    database.number(&query).await
}

async fn what_is_changed_or_deleted_there_while_it_is_followed_is_so_here(database: TestDatabase) {
    let Filled {
        provider: _provider,
        source,
        old,
        ..
    } = filled_source(&database).await;
    let gone = json!({"id": "gone"});
    old.client.post("/api/realm", &gone).await.expect(200);
    let registration = issuer("https://gone.example");
    let registered = old.client.put("/api/issuer/gone", &registration).await;
    registered.expect(200);
    let new = ServerProcess::start(&database, &[]);
    let child = following(&database, &source, 6).await;
    let read = async || new.client.token("fixed", "f").await.json()["token"].clone();
    assert_eq!(read().await, "the-fixed-token");
    new.client.token("r", "a").await.expect(200);
    change(&old.client, &source).await;
    for query in CHANGED {
        eventually(query, async || {
            (database.number(query).await == 1).then_some(())
        })
        .await;
    }
    // What is served from memory follows, too.
    eventually("the next token is served", async || {
        (read().await == "the-next-token").then_some(())
    })
    .await;
    eventually("the deleted one is not", async || {
        (new.client.token("r", "a").await.status == 400).then_some(())
    })
    .await;
    old.client.delete("/api/realm/gone").await.expect(200);
    old.client.delete("/api/issuer/gone").await.expect(200);
    std::fs::write(database.directory.path().join("finish"), "").expect("a file");
    let ended = tokio::task::spawn_blocking(|| child.wait_with_output()).await;
    let ended = ended.expect("it is read").expect("it ends");
    assert_eq!(ended.status.code(), Some(0), "{}", text(&ended.stderr));
    let report: Value = serde_json::from_slice(&ended.stdout).expect("the report is JSON");
    assert_eq!(report["secrets"]["taken"], 5, "{report}");
    assert_eq!(rows(&database).await, rows(&source).await);
    for action in ["secret.delete", "realm.delete", "issuer.delete"] {
        assert_eq!(entries(&database, action).await, 1, "{action}");
    }
}

async fn what_was_changed_or_deleted_since_a_killed_import_is_so_after_the_next(
    database: TestDatabase,
) {
    let Filled {
        provider: _provider,
        source,
        old,
        ..
    } = filled_source(&database).await;
    migrated(&database);
    let mut child = following(&database, &source, 6).await;
    child.kill().expect("it is still running");
    child.wait().expect("it ends");
    change(&old.client, &source).await;
    let report = import(&database, &source, &[], 0);
    for query in CHANGED {
        assert_eq!(database.number(query).await, 1, "{query}: {report}");
    }
    assert_eq!(rows(&database).await, rows(&source).await);
    // From now on it is this server's own.
    let new = ServerProcess::start(&database, &[]);
    let mine = json!({"id": "fixed", "comment": "mine"});
    new.client.post("/api/realm", &mine).await.expect(200);
    let report = import(&database, &source, &[], 1);
    let row = &outcomes(&report)[&("fixed".to_owned(), String::new())];
    assert_eq!(row["outcome"], "changed_since", "{row}");
    assert_eq!(row["differs"], json!(["comment"]), "{row}");
    let kept = "SELECT COUNT(*) FROM ts_realm WHERE comment = 'mine'";
    assert_eq!(database.number(kept).await, 1);
}

async fn what_is_known_better_here_is_refused_and_renewed_there_unless_it_is_newer_here(
    database: TestDatabase,
) {
    let Filled {
        provider: _provider,
        source,
        old: _old,
        ..
    } = filled_source(&database).await;
    let new = ServerProcess::start(&database, &[]);
    let registration = issuer("https://cluster.example");
    let registered = new.client.put("/api/issuer/mine", &registration).await;
    registered.expect(200);
    database
        .run("INSERT INTO ts_retired (realm_id, key_name, generation, at) VALUES ('r', 'a', 7, 0)")
        .await;
    let mut child = following(&database, &source, 5).await;
    child.kill().expect("it is still running");
    child.wait().expect("it ends");
    // As if the database there had been restored from a backup.
    database
        .run("UPDATE ts_token SET generation = 9 WHERE key_name = 'b'")
        .await;
    // And killed again, between holding it there and copying it once more.
    held(&source, "b", &identity(&database).await).await;
    let report = import(&database, &source, &[], 1);
    let by_name = outcomes(&report);
    let why = |key: &str| {
        let row = &by_name[&("r".to_owned(), key.to_owned())];
        assert_eq!(row["outcome"], "refused", "{row}");
        row["why"].as_str().expect("a reason").to_owned()
    };
    assert!(why("a").contains("was deleted here at generation 7"));
    assert!(why("b").contains("its copy here is newer: generation 9"));
    assert_eq!(report["issuers"]["refused"], 1, "{report}");
    assert!(
        report.to_string().contains("are registered here as mine"),
        "{report}"
    );
    // What is there of the other may be used up: its provider knows a later refresh token.
    let free = "SELECT COUNT(*) FROM ts_token WHERE key_name = 'a' AND lease_owner IS NULL";
    assert_eq!(source.number(free).await, 1);
    let held = "SELECT COUNT(*) FROM ts_token WHERE key_name = 'b' AND lease_owner LIKE 'import%'";
    assert_eq!(source.number(held).await, 1);
}

async fn what_was_handed_over_is_not_renewed_there_again_because_it_is_here_no_longer(
    database: TestDatabase,
) {
    let Filled {
        provider: _provider,
        source,
        old: _old,
        ..
    } = filled_source(&database).await;
    migrated(&database);
    import(&database, &source, &[], 0);
    database
        .run("UPDATE ts_token SET renew_at = 0 WHERE key_name = 'a'")
        .await;
    let new = ServerProcess::start(&database, &[]);
    new.client.generation("r", "a", 2).await;
    let deleted = new.client.delete("/api/secret/r/a").await;
    deleted.expect(200);
    // From here it was moved on.
    held(&database, "b", &DatabaseId("third".to_owned())).await;
    let names = |report: &Value, reasons: [(&str, &str); 2]| {
        let by_name = outcomes(report);
        for (key, why) in reasons {
            let row = &by_name[&("r".to_owned(), key.to_owned())];
            assert_eq!(row["outcome"], "refused", "{row}");
            let told = row["why"].as_str().expect("a reason");
            assert!(told.contains(why), "{told}");
        }
    };
    let report = import(&database, &source, &[], 1);
    names(&report, [("a", "was deleted here"), ("b", "(third)")]);
    let held =
        "SELECT COUNT(*) FROM ts_token WHERE key_name IN ('a', 'b') AND lease_owner IS NOT NULL";
    assert_eq!(source.number(held).await, 2, "nobody renews them there");
    let moved_on = "SELECT COUNT(*) FROM ts_token WHERE lease_owner LIKE '%third'";
    assert_eq!(database.number(moved_on).await, 1, "nor here");
    let report = import(&database, &source, &["--release"], 1);
    assert_eq!(source.number(held).await, 2, "{report}");
    let reasons = [
        ("a", "renewed here and deleted here"),
        ("b", "another database (third) renews it by now"),
    ];
    names(&report, reasons);
}

async fn what_is_deleted_and_made_again_there_is_copied_anew(database: TestDatabase) {
    let Filled {
        provider: _provider,
        source,
        old,
        ..
    } = filled_source(&database).await;
    migrated(&database);
    let mut child = following(&database, &source, 6).await;
    // It sees both at once.
    let importing = Pid::from_child(&child);
    kill_process(importing, Signal::STOP).expect("it is still running");
    let deleted = old.client.delete("/api/secret/fixed/f").await;
    deleted.expect(200);
    for key in ["f", "after"] {
        let given = json!({"realm": "fixed", "key": key, "token": "the-next-token"});
        old.client.post("/api/secret", &given).await.expect(200);
    }
    kill_process(importing, Signal::CONT).expect("it is still running");
    let copied = async |key: &str| {
        let copied = format!(
            "SELECT COUNT(*) FROM ts_token WHERE key_name = '{key}' AND lease_owner LIKE 'import%'"
        );
        database.number(&copied).await
    };
    eventually("what was made after it is copied", async || {
        (copied("after").await == 1).then_some(())
    })
    .await;
    // What the import has seen before is done by the time that it copies this.
    let last = json!({"realm": "fixed", "key": "last", "token": "the-last-token"});
    old.client.post("/api/secret", &last).await.expect(200);
    eventually("what was made last is copied", async || {
        (copied("last").await == 1).then_some(())
    })
    .await;
    assert_eq!(copied("f").await, 1);
    child.kill().expect("it is still running");
    child.wait().expect("it ends");
}
