//! What the predecessor has stored is taken in, and every row of it accounted for.

use std::process::Stdio;

use serde_json::{Value, json};
use token_server::foundation::clock::{Clock, SystemClock};

use super::rows::{HOUR_MS, Row, holds, insert, odd, source};
use super::{import, migrated, outcomes, prepared, text};
use crate::kit::process::{ServerProcess, command};
use crate::kit::{self, Provider, TestDatabase, eventually, on_every_database};

on_every_database! {
    many_secrets_of_every_shape_are_accounted_for_and_a_killed_import_goes_on,
    what_has_changed_since_is_left_as_it_is,
    a_live_token_is_served_until_it_is_renewed,
    keys_that_differ_only_in_case_are_two_secrets,
    a_realm_that_is_another_here_takes_no_token_without_an_end,
}

/// What a second run must not change.
async fn state(database: &TestDatabase) -> Vec<i64> {
    let mut state = Vec::new();
    for query in [
        "SELECT COUNT(*) FROM ts_realm",
        "SELECT CAST(SUM(version) AS SIGNED) FROM ts_realm",
        "SELECT COUNT(*) FROM ts_secret",
        "SELECT CAST(SUM(version) AS SIGNED) FROM ts_secret",
        "SELECT CAST(SUM(generation) AS SIGNED) FROM ts_token",
        "SELECT MAX(updated_at) FROM ts_token",
        "SELECT COUNT(*) FROM ts_audit",
        "SELECT COUNT(*) FROM ts_change",
    ] {
        state.push(database.number(query).await);
    }
    state
}

async fn many_secrets_of_every_shape_are_accounted_for_and_a_killed_import_goes_on(
    database: TestDatabase,
) {
    let now = SystemClock.now().0;
    let source = source("https://provider.example/token").await;
    let count = kit::rows(10_000, 2000);
    let rows: Vec<_> = (0..count).map(|number| odd(number, now)).collect();
    insert(&source, &rows).await;
    migrated(&database);

    let mut killed = prepared(&database, &source)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary starts");
    eventually("the import is under way", async || {
        let taken = database.number("SELECT COUNT(*) FROM ts_secret").await;
        (taken > 0).then_some(())
    })
    .await;
    killed.kill().expect("it is still running");
    killed.wait().expect("it ends");

    let report = import(&database, &source, &[], 1);
    let taken = rows.iter().filter(|row| row.taken.is_some()).count() as i64;
    let counts = &report["secrets"];
    let [anew, before] = ["taken", "unchanged"].map(|name| counts[name].as_i64().expect("a count"));
    assert!(anew > 0 && before > 0, "{counts}");
    assert_eq!(anew + before, taken, "{counts}");
    assert_eq!(counts["refused"], count as i64 - taken);
    assert_eq!(report["realms"]["refused"], 3);

    let by_name = outcomes(&report);
    assert_eq!(by_name.len(), rows.len() + 8);
    for row in &rows {
        let reported = &by_name[&(row.realm.to_owned(), row.key.clone())];
        let outcome = reported["outcome"].as_str().expect("an outcome");
        match row.taken {
            Some(_) => assert!(["taken", "unchanged"].contains(&outcome), "{reported}"),
            None => assert_eq!(outcome, "refused", "{reported}"),
        }
        if outcome == "taken" {
            assert_eq!(reported["token"] == "kept", row.kept, "{reported}");
        }
    }
    for (realm, why) in [
        ("array", "must be an object"),
        ("text", "must be an object"),
        ("broken", "/config/url"),
    ] {
        let refused = &by_name[&(realm.to_owned(), String::new())];
        assert_eq!(refused["outcome"], "refused", "{refused}");
        assert!(
            refused["why"].as_str().expect("a reason").contains(why),
            "{refused}"
        );
    }
    holds(&database, &rows).await;
    let plain: Vec<_> = ["token-2-", "value-9", "tttttttttttttttt", "𝒳𝒳𝒳"]
        .map(str::to_owned)
        .into();
    assert_eq!(
        database.first_of(&plain).await,
        None,
        "everything is sealed"
    );

    let before = state(&database).await;
    let again = import(&database, &source, &[], 1);
    assert_eq!(again["secrets"]["taken"], 0);
    assert_eq!(again["secrets"]["unchanged"], taken);
    assert_eq!(again["realms"]["unchanged"], 5);
    assert_eq!(state(&database).await, before);
}

async fn what_has_changed_since_is_left_as_it_is(database: TestDatabase) {
    let source = source("https://provider.example/token").await;
    let fixed = Row {
        kept: true,
        ..Row::new("fixed", "a").with_token("one", None)
    };
    let mut params = Row::new("wx", "b");
    params.params[1] = Some("one".to_owned());
    insert(
        &source,
        &[fixed.clone(), params.clone(), Row::new("wx", "c")],
    )
    .await;
    source
        .run("DELETE FROM realm WHERE id IN ('array', 'text', 'broken')")
        .await;
    migrated(&database);
    import(&database, &source, &[], 0);
    source
        .run("UPDATE secret SET token = 'two' WHERE `key` = 'a'")
        .await;
    source
        .run("UPDATE secret SET key_2 = 'two', key_3 = '' WHERE `key` = 'b'")
        .await;
    source
        .run("UPDATE realm SET comment = 'new' WHERE id = 'wx'")
        .await;
    let before = state(&database).await;
    let report = import(&database, &source, &[], 1);
    let by_name = outcomes(&report);
    let differs = |realm: &str, key: &str| {
        let row = &by_name[&(realm.to_owned(), key.to_owned())];
        assert_eq!(row["outcome"], "changed_since", "{row}");
        row["differs"].clone()
    };
    assert_eq!(differs("fixed", "a"), json!(["token"]));
    assert_eq!(differs("wx", "b"), json!(["params"]));
    assert_eq!(differs("wx", ""), json!(["comment"]));
    assert_eq!(report["secrets"]["unchanged"], 1);
    assert_eq!(state(&database).await, before);
    holds(&database, &[fixed, params, Row::new("wx", "c")]).await;
}

async fn a_live_token_is_served_until_it_is_renewed(database: TestDatabase) {
    let now = SystemClock.now().0;
    let provider = Provider::start().await;
    let source = source(&provider.url("/token")).await;
    let row = |key, ends_in| Row {
        params: [const { Some(String::new()) }; 5],
        ..Row::new("wx", key).with_token("of-before", Some(now + ends_in))
    };
    let (live, expired) = (row("live", 24 * HOUR_MS), row("expired", -2000));
    insert(&source, &[live, expired]).await;
    migrated(&database);
    import(&database, &source, &[], 1);
    let server = ServerProcess::start(&database, &[]);
    let read = server.client.token("wx", "live").await.expect(200).json();
    assert_eq!(read["token"], "of-before");
    assert_eq!(read["generation"], 1);
    let read = server
        .client
        .token("wx", "expired")
        .await
        .expect(200)
        .json();
    assert_ne!(read["token"], "of-before");
    assert_eq!(provider.requests().len(), 1);
}

async fn keys_that_differ_only_in_case_are_two_secrets(database: TestDatabase) {
    let source = source("https://provider.example/token").await;
    source
        .run("ALTER TABLE secret MODIFY `key` VARCHAR(200) COLLATE utf8mb4_bin NOT NULL")
        .await;
    let row = |key, token: &str| Row {
        kept: true,
        ..Row::new("fixed", key).with_token(token, None)
    };
    let rows = [row("App", "upper"), row("app", "lower")];
    insert(&source, &rows).await;
    migrated(&database);
    let report = import(&database, &source, &[], 1);
    assert_eq!(report["secrets"]["taken"], 2);
    holds(&database, &rows).await;
}

async fn a_realm_that_is_another_here_takes_no_token_without_an_end(database: TestDatabase) {
    let source = source("https://provider.example/token").await;
    let row = Row::new("fixed", "a").with_token("of-before", None);
    insert(&source, &[row]).await;
    migrated(&database);
    let mut here = command(&database, &[]);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("fixed.json");
    let config = json!({"url": "https://provider.example/token", "method": "GET", "token_path": "t", "expires_in_path": "e"});
    let realm = json!({"id": "fixed", "config": config});
    std::fs::write(&file, realm.to_string()).expect("it is written");
    let applied = here.args(["realm", "apply"]).arg(&file).output();
    let applied = applied.expect("the binary starts");
    assert!(applied.status.success(), "{}", text(&applied.stderr));

    let report = import(&database, &source, &[], 1);
    let by_name = outcomes(&report);
    let secret = &by_name[&("fixed".to_owned(), "a".to_owned())];
    assert_eq!(secret["outcome"], "taken", "{secret}");
    assert_eq!(secret["token"], "without_expiry", "{secret}");
    let tokens = "SELECT COUNT(*) FROM ts_token WHERE generation > 0";
    assert_eq!(database.number(tokens).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_beside_the_predecessors_tables_says_that_nothing_was_imported() {
    let database = source("https://provider.example/token").await;
    insert(&database, &[Row::new("wx", "a"), Row::new("fixed", "b")]).await;
    let told = |server: &ServerProcess| {
        let lines = server.before_it_served.iter();
        let mut told = lines.filter(|line| line.contains("`token-server import`"));
        told.next()
            .map(|line| serde_json::from_str::<Value>(line).expect("JSON"))
    };
    let server = ServerProcess::start(&database, &[]);
    let event = told(&server).expect("it says so, and serves");
    assert_eq!(
        (&event["realms"], &event["secrets"]),
        (&json!(8), &json!(2))
    );
    drop(server);
    import(&database, &database, &[], 1);
    assert_eq!(told(&ServerProcess::start(&database, &[])), None);
}
