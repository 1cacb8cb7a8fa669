//! A move that is given up, and one whose way back is cut off: who renews what, and what is said of it.

use super::followed::following;
use super::moved::{
    Filled, KEYS, filled_source, held, identity, import, prepared, source_of, there,
};
use super::{migrated, outcomes, report_of};
use crate::kit::process::ServerProcess;
use crate::kit::server::SEALING_KEYS;
use crate::kit::{Provider, TestDatabase, on_every_database};

on_every_database! {
    a_copy_that_was_deleted_here_is_renewed_there_again_by_the_same_run,
    what_is_newer_here_is_not_renewed_there_although_its_way_back_was_cut_off,
    a_copy_that_was_left_here_is_named_to_the_next_move_with_the_way_out,
}

/// Whether another database renews a token.
async fn is_held(database: &TestDatabase, key: &str) -> bool {
    let held = format!(
        "SELECT COUNT(*) FROM ts_token WHERE key_name = '{key}' AND lease_owner LIKE 'import%'"
    );
    database.number(&held).await == 1
}

fn why(report: &serde_json::Value, key: &str) -> String {
    let row = &outcomes(report)[&("r".to_owned(), key.to_owned())];
    assert_eq!(row["outcome"], "refused", "{row}");
    row["why"].as_str().expect("a reason").to_owned()
}

async fn a_copy_that_was_deleted_here_is_renewed_there_again_by_the_same_run(
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
    // As if it had been killed between holding it there and copying it once more.
    held(&source, "a", &identity(&database).await).await;
    let new = ServerProcess::start(&database, &[]);
    new.client.delete("/api/secret/r/a").await.expect(200);
    let report = import(&database, &source, &["--release"], 0);
    assert_eq!(report["secrets"]["taken"], 1, "{report}");
    assert!(!is_held(&source, "a").await);
    source
        .run("UPDATE ts_token SET renew_at = 0 WHERE key_name = 'a'")
        .await;
    old.client.generation("r", "a", 2).await;
}

async fn what_is_newer_here_is_not_renewed_there_although_its_way_back_was_cut_off(
    database: TestDatabase,
) {
    let Filled {
        provider: _provider,
        source,
        old,
        ..
    } = filled_source(&database).await;
    migrated(&database);
    import(&database, &source, &[], 0);
    database
        .run("UPDATE ts_token SET renew_at = 0 WHERE key_name = 'a'")
        .await;
    let new = ServerProcess::start(&database, &[]);
    new.client.generation("r", "a", 2).await;
    // The way back, killed before its first copy was made.
    held(&database, "a", &identity(&source).await).await;
    let report = import(&database, &source, &["--release"], 1);
    let told = why(&report, "a");
    assert!(told.contains("what is here is newer"), "{told}");
    assert!(is_held(&source, "a").await, "its refresh token is used up");
    let mut back = prepared(&source, &database, SEALING_KEYS);
    back.env("TOKEN_SERVER__SEALING__KEYS", KEYS);
    report_of(back, &[], 0);
    assert!(!is_held(&source, "a").await);
    old.client.generation("r", "a", 2).await;
}

async fn a_copy_that_was_left_here_is_named_to_the_next_move_with_the_way_out(
    database: TestDatabase,
) {
    let provider = Provider::start().await;
    let (first, second) = (source_of(&database).await, source_of(&database).await);
    let servers = [there(&first), there(&second)];
    for server in &servers {
        let client = &server.client;
        client.register_realm("r", &provider.url("/token")).await;
        client.save_secret("r", "a").await;
        client.generation("r", "a", 1).await;
    }
    migrated(&database);
    let mut child = following(&database, &first, 1).await;
    child.kill().expect("it is still running");
    child.wait().expect("it ends");
    import(&database, &first, &["--release"], 0);
    let report = import(&database, &second, &[], 1);
    let told = why(&report, "a");
    assert!(told.contains("a move that was given up"), "{told}");
    assert!(told.contains("delete it here"), "{told}");
    let new = ServerProcess::start(&database, &[]);
    new.client.delete("/api/secret/r/a").await.expect(200);
    let report = import(&database, &second, &[], 0);
    assert_eq!(report["secrets"]["taken"], 1, "{report}");
    assert!(!is_held(&database, "a").await && is_held(&second, "a").await);
}
