//! `import`: what the predecessor or another token server has stored is taken in, and every row of
//! it accounted for.

mod finishing;
mod followed;
mod given_up;
mod moved;
mod progress;
mod rows;

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use token_server::foundation::clock::{Clock, SystemClock};

use crate::kit::process::{ServerProcess, command};
use crate::kit::{Provider, TestDatabase, eventually, on_every_database};
use rows::{HOUR_MS, Row, holds, insert, odd, source};

on_every_database! {
    ten_thousand_secrets_of_every_shape_are_accounted_for_and_a_killed_import_goes_on,
    a_dry_run_says_what_an_import_does_and_changes_nothing,
    what_has_changed_since_is_left_as_it_is,
    a_live_token_is_served_until_it_is_renewed,
    keys_that_differ_only_in_case_are_two_secrets,
    what_is_no_database_of_the_predecessor_is_refused,
    a_realm_that_is_another_here_takes_no_token_without_an_end,
    a_dry_run_changes_no_schema_and_says_that_it_is_missing_or_old,
}

/// `import`, ready to be run.
fn prepared(database: &TestDatabase, source: &TestDatabase) -> Command {
    // On a busy machine a transaction takes its time.
    let patient = (
        "TOKEN_SERVER__DATABASE__WRITE_TIMEOUT_MS",
        "60000".to_owned(),
    );
    let from = ("TOKEN_SERVER_IMPORT_URL", source.url.clone());
    let mut command = command(database, &[patient, from]);
    command.arg("import");
    command
}

fn ended(mut command: Command, arguments: &[&str]) -> Output {
    let ended = command.args(arguments).output();
    ended.expect("the binary starts")
}

fn text(output: &[u8]) -> String {
    String::from_utf8_lossy(output).into_owned()
}

/// The report of an import. The exit code says whether each row is here.
fn report_of(command: Command, more: &[&str], code: i32) -> Value {
    let ended = ended(command, &[&["--format", "json"], more].concat());
    assert_eq!(ended.status.code(), Some(code), "{}", text(&ended.stderr));
    serde_json::from_slice(&ended.stdout).expect("the report is JSON")
}

fn import(database: &TestDatabase, source: &TestDatabase, more: &[&str], code: i32) -> Value {
    report_of(prepared(database, source), more, code)
}

fn migrated(database: &TestDatabase) {
    let migrated = command(database, &[]).arg("migrate").output();
    let migrated = migrated.expect("the binary starts");
    assert!(migrated.status.success(), "{}", text(&migrated.stderr));
}

/// The outcomes of a report by the names of rows.
fn outcomes(report: &Value) -> BTreeMap<(String, String), Value> {
    let rows = report["rows"].as_array().expect("rows");
    let name = |row: &Value| {
        let part = |fields: [&str; 2]| {
            let given = fields.iter().find_map(|field| row[*field].as_str());
            given.unwrap_or_default().to_owned()
        };
        (part(["realm", "name"]), part(["key", "application"]))
    };
    let by_name: BTreeMap<_, _> = rows.iter().map(|row| (name(row), row.clone())).collect();
    assert_eq!(by_name.len(), rows.len(), "a row is reported once");
    by_name
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

async fn ten_thousand_secrets_of_every_shape_are_accounted_for_and_a_killed_import_goes_on(
    database: TestDatabase,
) {
    let now = SystemClock.now().0;
    let source = source("https://provider.example/token").await;
    let rows: Vec<_> = (0..10_000).map(|number| odd(number, now)).collect();
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
    assert_eq!(counts["refused"], 10_000 - taken);
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

async fn a_dry_run_says_what_an_import_does_and_changes_nothing(database: TestDatabase) {
    let now = SystemClock.now().0;
    let source = source("https://provider.example/token").await;
    let rows: Vec<_> = (0..36).map(|number| odd(number, now)).collect();
    insert(&source, &rows).await;
    migrated(&database);
    let mut rehearsed = import(&database, &source, &["--dry-run"], 1);
    for table in ["ts_realm", "ts_secret", "ts_token", "ts_audit", "ts_change"] {
        let count = format!("SELECT COUNT(*) FROM {table}");
        assert_eq!(database.number(&count).await, 0, "{table}");
    }
    assert_eq!(rehearsed["dry_run"], true);
    rehearsed["dry_run"] = json!(false);
    assert_eq!(import(&database, &source, &[], 1), rehearsed);
    holds(&database, &rows).await;

    let printed = text(&ended(prepared(&database, &source), &["--dry-run"]).stdout);
    assert!(printed.contains("realm wx: unchanged\n"), "{printed}");
    assert!(
        printed.contains("secret nowhere/k8: refused: there is no such realm\n"),
        "{printed}"
    );
    assert!(
        printed.contains("secret wx/\" k13\": refused: its key must not"),
        "{printed}"
    );
    assert!(
        printed.ends_with("this was a dry run: nothing was changed\n"),
        "{printed}"
    );
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

async fn what_is_no_database_of_the_predecessor_is_refused(database: TestDatabase) {
    migrated(&database);
    let empty = TestDatabase::mysql().await;
    let refused = ended(prepared(&database, &empty), &[]);
    assert_eq!(refused.status.code(), Some(2));
    let said = text(&refused.stderr);
    assert!(said.contains("no tables of the predecessor"), "{said}");
    let refused = ended(prepared(&database, &TestDatabase::sqlite()), &[]);
    assert_eq!(refused.status.code(), Some(2));
    let said = text(&refused.stderr);
    assert!(said.contains("there is no file"), "{said}");
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

async fn a_dry_run_changes_no_schema_and_says_that_it_is_missing_or_old(database: TestDatabase) {
    let source = source("https://provider.example/token").await;
    if let Some(file) = database.url.strip_prefix("sqlite://") {
        let (file, _) = file.split_once('?').unwrap_or((file, ""));
        std::fs::write(file, "").expect("an empty database");
    }
    let refused = || {
        let refused = ended(prepared(&database, &source), &["--dry-run"]);
        assert_eq!(refused.status.code(), Some(2));
        text(&refused.stderr)
    };
    let said = refused();
    assert!(said.contains("nothing of a token server"), "{said}");
    let said = refused();
    assert!(
        said.contains("nothing of a token server"),
        "it made none: {said}"
    );

    migrated(&database);
    let steps = "SELECT COUNT(*) FROM ts_migration";
    let all = database.number(steps).await;
    let last = "DELETE FROM ts_migration WHERE version LIKE '%_000028_%'";
    database.run(last).await;
    let said = refused();
    assert!(said.contains("is older than this program"), "{said}");
    assert_eq!(database.number(steps).await, all - 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_argument_holds_a_password_and_a_file_of_its_own_does() {
    let source = source("https://provider.example/token").await;
    let target = TestDatabase::sqlite();
    migrated(&target);
    let import = |arguments: &[&str]| {
        let ended = command(&target, &[]).arg("import").args(arguments).output();
        ended.expect("the binary starts")
    };
    let refused = import(&["mysql://root:canary@127.0.0.1:1/predecessor"]);
    let said = text(&refused.stderr);
    assert_eq!(refused.status.code(), Some(2), "{said}");
    assert!(said.contains("TOKEN_SERVER_IMPORT_URL"), "{said}");
    assert!(!said.contains("canary"), "{said}");
    let said = text(&import(&[]).stderr);
    assert!(said.contains("TOKEN_SERVER_IMPORT_URL"), "{said}");

    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("url");
    std::fs::write(&file, format!("{}\n", source.url)).expect("it is written");
    let mode = |mode| {
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(&file, mode).expect("its mode is set");
    };
    let file_name = file.to_str().expect("a name");
    mode(0o644);
    let said = text(&import(&["--url-file", file_name]).stderr);
    assert!(said.contains("--url-file: "), "{said}");
    mode(0o600);
    // It reads the tables, and refuses some of their rows.
    let report = import(&["--url-file", file_name]);
    assert_eq!(report.status.code(), Some(1), "{}", text(&report.stderr));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_way_to_the_predecessor_is_encrypted_as_its_own_url_says() {
    let source = source("https://provider.example/token").await;
    let target = TestDatabase::sqlite();
    migrated(&target);
    let import = |mode: &str| {
        let url = format!("{}?ssl-mode={mode}", source.url);
        let mut command = command(&target, &[("TOKEN_SERVER_IMPORT_URL", url)]);
        let ended = command.arg("import").output();
        ended.expect("the binary starts")
    };
    // Nobody trusts what the server shows, if it shows anything.
    let refused = import("VERIFY_IDENTITY");
    let said = text(&refused.stderr);
    assert_eq!(refused.status.code(), Some(2), "{said}");
    assert!(said.contains("the URL of import"), "{said}");
    let refused = import("MAYBE");
    let said = text(&refused.stderr);
    assert_eq!(refused.status.code(), Some(2), "{said}");
    assert!(said.contains("ssl-mode"), "{said}");
    // It reads them, and refuses some of its rows.
    assert_eq!(import("DISABLED").status.code(), Some(1));
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
