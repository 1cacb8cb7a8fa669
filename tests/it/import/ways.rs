//! How `import` is run: dry, of which database, with which URL, and how the way there is encrypted.

use std::os::unix::fs::PermissionsExt;

use serde_json::json;
use token_server::foundation::clock::{Clock, SystemClock};

use super::rows::{holds, insert, odd, source};
use super::{ended, import, migrated, prepared, text};
use crate::kit::process::command;
use crate::kit::{TestDatabase, on_disk, on_every_database};

on_every_database! {
    a_dry_run_says_what_an_import_does_and_changes_nothing,
    what_is_no_database_of_the_predecessor_is_refused,
    a_dry_run_changes_no_schema_and_says_that_it_is_missing_or_old,
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

async fn a_dry_run_changes_no_schema_and_says_that_it_is_missing_or_old(database: TestDatabase) {
    let source = source("https://provider.example/token").await;
    let database = database.without_schema().await;
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

    let folder = on_disk();
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
