//! A move to another database while both servers serve and the old one renews: nothing is lost, no
//! refresh token is used twice, no caller sees an error, wherever the import is killed.

mod stations;

use std::process::{Child, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::kit::database::Kind;
use crate::kit::process::command;
use crate::kit::{TestDatabase, eventually, on_every_database};
use crate::provider::{Held, Reuse, RotatingProvider};
use stations::{
    Callers, KEYS, LIFETIME_S, Station, begun, has_all_of, imported, judge,
    nothing_is_renewed_by_both, renews_all, reported, stations, two,
};

on_every_database! {
    databases_are_moved_under_load_and_nobody_notices,
    a_killed_import_leaves_no_token_to_both_and_goes_on,
    a_move_that_is_given_up_is_renewed_where_it_was,
    a_finished_move_is_brought_back_by_a_move_the_other_way,
    an_attempt_under_way_is_waited_for_and_what_it_brings_is_moved,
    what_cannot_be_copied_at_the_end_is_renewed_there_as_before,
    pairs_beside_a_token_are_moved_with_it,
}

/// Follows until the provider has rotated often, then finishes; answers the report.
async fn follow(source: &Station, target: &Station, provider: &RotatingProvider) -> Value {
    let finish = target.database.directory.path().join("finish");
    let file = finish.display().to_string();
    let child = target
        .import(source, &["--follow", "--finish-file", &file])
        .spawn();
    let child = child.expect("the binary starts");
    eventually("everything is copied", async || {
        let is_there = target.renewers().await.len() == KEYS.len();
        is_there.then_some(())
    })
    .await;
    let before = provider.rotations();
    eventually("tokens are renewed meanwhile", async || {
        source.due().await;
        nothing_is_renewed_by_both(source, target).await;
        (provider.rotations() >= before + 3 * KEYS.len()).then_some(())
    })
    .await;
    assert_eq!(
        target.elsewhere().await,
        KEYS.len(),
        "the target renews nothing yet"
    );
    source.due().await;
    match target.database.kind() {
        Kind::Sqlite => std::fs::write(&finish, "").expect("a file can be written"),
        Kind::MySql => signalled(&child, Signal::INT),
    }
    let report = tokio::task::spawn_blocking(|| reported(child, 0)).await;
    report.expect("it is read")
}

fn signalled(child: &Child, signal: Signal) {
    let sent = kill_process(Pid::from_child(child), signal);
    sent.expect("it can be signalled");
}

/// Into MySQL: whoever stands still within a transaction on SQLite lets nobody write.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_that_stood_still_changes_nothing_after_another_has_begun() {
    let database = TestDatabase::sqlite();
    let provider = RotatingProvider::start(Reuse::EndsFamily, LIFETIME_S).await;
    let (source, target) = two(database).await;
    let old = begun(&source, &provider).await;
    let finish = target.database.directory.path().join("finish");
    let file = finish.display().to_string();
    let arguments = ["--follow", "--finish-file", &file];
    let first = target.import(&source, &arguments).spawn();
    let first = first.expect("the binary starts");
    eventually("everything is copied", async || {
        let is_there = target.renewers().await.len() == KEYS.len();
        is_there.then_some(())
    })
    .await;
    // Not within a transaction: what that has locked would stay so.
    eventually("it stands still between two transactions", async || {
        signalled(&first, Signal::STOP);
        let free = target.is_free().await;
        if !free {
            signalled(&first, Signal::CONT);
        }
        free.then_some(())
    })
    .await;
    imported(&target, &source, &[], 0);
    let new = target.serve();
    renews_all(&target, &new.client).await;
    std::fs::write(&finish, "").expect("a file can be written");
    signalled(&first, Signal::CONT);
    let ended = first.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(2), "{said}");
    assert!(
        said.contains("another import into this database has begun"),
        "{said}"
    );
    assert_eq!(
        (source.elsewhere().await, target.elsewhere().await),
        (KEYS.len(), 0)
    );
    renews_all(&target, &new.client).await;
    drop(old);
    judge(&provider, &new.client, Vec::new()).await;
}

async fn databases_are_moved_under_load_and_nobody_notices(database: TestDatabase) {
    let provider = RotatingProvider::start(Reuse::EndsFamily, LIFETIME_S).await;
    let stations = stations(database).await;
    let mut old = begun(&stations[0], &provider).await;
    let callers = Callers::begin(&old.client);
    for (source, target) in stations.iter().zip(&stations[1..]) {
        let new = target.serve();
        let report = follow(source, target, &provider).await;
        assert_eq!(report["secrets"]["taken"], KEYS.len(), "{report}");
        assert_eq!(report["realms"]["taken"], 1, "{report}");
        // The old server serves until callers are pointed over.
        assert_eq!(source.elsewhere().await, KEYS.len());
        assert_eq!(target.elsewhere().await, 0);
        callers.point_to(&new.client);
        renews_all(target, &new.client).await;
        has_all_of(target, source).await;
        drop(std::mem::replace(&mut old, new));
    }
    let samples = callers.end().await;
    judge(&provider, &old.client, samples).await;
}

/// Kills an import once something of it is there.
async fn killed_when(
    source: &Station,
    target: &Station,
    what: &str,
    mut is_so: impl AsyncFnMut() -> bool,
) {
    let child = target
        .import(source, &[])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let mut child = child.expect("the binary starts");
    eventually(what, async || is_so().await.then_some(())).await;
    child.kill().expect("it can be killed");
    child.wait().expect("it ends");
    nothing_is_renewed_by_both(source, target).await;
}

async fn a_killed_import_leaves_no_token_to_both_and_goes_on(database: TestDatabase) {
    let provider = RotatingProvider::start(Reuse::EndsFamily, LIFETIME_S).await;
    let (source, target) = two(database).await;
    let old = begun(&source, &provider).await;
    let new = target.serve();
    let callers = Callers::begin(&old.client);
    killed_when(&source, &target, "a token is copied", async || {
        target.count("ts_token").await > 0
    })
    .await;
    // One whose attempt is under way is waited for while others are handed over.
    provider.hold(Held::Before);
    let asked = provider.received();
    let due = "UPDATE ts_token SET renew_at = 0 WHERE key_name = 'k3'";
    source.database.run(due).await;
    eventually("an attempt is under way", async || {
        (provider.received() > asked).then_some(())
    })
    .await;
    killed_when(&source, &target, "a token is handed over", async || {
        target.elsewhere().await < KEYS.len() && source.elsewhere().await > 0
    })
    .await;
    provider.hold(Held::Nowhere);
    source.due().await;
    let report = imported(&target, &source, &[], 0);
    assert_eq!(report["secrets"]["refused"], 0, "{report}");
    callers.point_to(&new.client);
    renews_all(&target, &new.client).await;
    assert_eq!(source.elsewhere().await, KEYS.len());
    let before = provider.rotations();
    let again = imported(&target, &source, &[], 0);
    assert_eq!(again["secrets"]["unchanged"], KEYS.len(), "{again}");
    assert_eq!(provider.rotations(), before);
    let samples = callers.end().await;
    judge(&provider, &new.client, samples).await;
}

async fn a_move_that_is_given_up_is_renewed_where_it_was(database: TestDatabase) {
    let provider = RotatingProvider::start(Reuse::EndsFamily, LIFETIME_S).await;
    let (source, target) = two(database).await;
    let old = begun(&source, &provider).await;
    imported(&target, &source, &[], 0);
    // As if it had been killed before one of them was copied.
    target
        .database
        .run("DELETE FROM ts_token WHERE key_name = 'k1'")
        .await;
    target
        .database
        .run("DELETE FROM ts_secret WHERE key_name = 'k1'")
        .await;
    let report = imported(&target, &source, &["--release"], 1);
    assert_eq!(report["secrets"]["taken"], 1, "{report}");
    assert_eq!(report["secrets"]["refused"], KEYS.len() - 1, "{report}");
    assert_eq!(source.elsewhere().await, KEYS.len() - 1);
    nothing_is_renewed_by_both(&source, &target).await;
    let before = old.client.secret("r", "k1").await["generation"]
        .as_i64()
        .expect("a number");
    source.due().await;
    old.client.generation("r", "k1", before + 1).await;
    // It can be moved again.
    let report = imported(&target, &source, &[], 0);
    assert_eq!(report["secrets"]["taken"], 1, "{report}");
    let new = target.serve();
    renews_all(&target, &new.client).await;
    judge(&provider, &new.client, Vec::new()).await;
}

async fn a_finished_move_is_brought_back_by_a_move_the_other_way(database: TestDatabase) {
    let provider = RotatingProvider::start(Reuse::EndsFamily, LIFETIME_S).await;
    let (source, target) = two(database).await;
    let old = begun(&source, &provider).await;
    let callers = Callers::begin(&old.client);
    imported(&target, &source, &[], 0);
    let new = target.serve();
    callers.point_to(&new.client);
    renews_all(&target, &new.client).await;
    // A job on the old database finds nothing to renew, and waits for nothing.
    source.due().await;
    let mut job = command(&source.database, &source.environment("job"));
    let ended = job.arg("renew").output().expect("the binary starts");
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    let report = imported(&source, &target, &[], 0);
    assert_eq!(report["secrets"]["taken"], KEYS.len(), "{report}");
    assert_eq!(
        (source.elsewhere().await, target.elsewhere().await),
        (0, KEYS.len())
    );
    callers.point_to(&old.client);
    renews_all(&source, &old.client).await;
    let samples = callers.end().await;
    judge(&provider, &old.client, samples).await;
}

async fn an_attempt_under_way_is_waited_for_and_what_it_brings_is_moved(database: TestDatabase) {
    let provider = RotatingProvider::start(Reuse::EndsFamily, LIFETIME_S).await;
    let (source, target) = two(database).await;
    let old = begun(&source, &provider).await;
    let new = target.serve();
    provider.hold(Held::After);
    let before = provider.rotations();
    source.due().await;
    eventually("all are rotated", async || {
        (provider.rotations() == before + KEYS.len()).then_some(())
    })
    .await;
    // Nobody waits: all of them stay there.
    let report = imported(&target, &source, &["--wait", "0"], 1);
    assert_eq!(report["secrets"]["refused"], KEYS.len(), "{report}");
    let why = report["rows"]
        .as_array()
        .expect("rows")
        .iter()
        .filter_map(|row| row["why"].as_str());
    assert!(
        why.clone()
            .all(|why| why.contains("may still bring its token")),
        "{report}"
    );
    assert_eq!(
        (source.elsewhere().await, target.elsewhere().await),
        (0, KEYS.len())
    );
    let child = target
        .import(&source, &[])
        .spawn()
        .expect("the binary starts");
    provider.hold(Held::Nowhere);
    let report = tokio::task::spawn_blocking(|| reported(child, 0))
        .await
        .expect("it is read");
    assert_eq!(report["secrets"]["refused"], 0, "{report}");
    for key in KEYS {
        let here = new.client.secret("r", key).await["generation"].as_i64();
        assert!(here >= Some(2), "{key}: {here:?}");
    }
    renews_all(&target, &new.client).await;
    drop(old);
    judge(&provider, &new.client, Vec::new()).await;
}

async fn what_cannot_be_copied_at_the_end_is_renewed_there_as_before(database: TestDatabase) {
    let provider = RotatingProvider::start(Reuse::EndsFamily, LIFETIME_S).await;
    let (source, target) = two(database).await;
    let old = begun(&source, &provider).await;
    provider.hold(Held::Before);
    let asked = provider.received();
    let due = "UPDATE ts_token SET renew_at = 0 WHERE key_name = 'k1'";
    source.database.run(due).await;
    eventually("an attempt is under way", async || {
        (provider.received() > asked).then_some(())
    })
    .await;
    let child = target
        .import(&source, &[])
        .spawn()
        .expect("the binary starts");
    eventually("the others are handed over", async || {
        let (here, there) = (target.elsewhere().await, source.elsewhere().await);
        ((here, there) == (1, KEYS.len() - 1)).then_some(())
    })
    .await;
    // Nobody knows any more what is renewed here.
    target
        .database
        .run("DELETE FROM ts_token WHERE key_name = 'k1'")
        .await;
    provider.hold(Held::Nowhere);
    let report = tokio::task::spawn_blocking(|| reported(child, 1)).await;
    let report = report.expect("it is read");
    assert_eq!(report["secrets"]["refused"], 1, "{report}");
    assert_eq!(source.renewers().await["k1"], None);
    assert_eq!(source.elsewhere().await, KEYS.len() - 1);
    let before = old.client.secret("r", "k1").await["generation"].as_i64();
    source.due().await;
    let next = before.expect("a number") + 1;
    old.client.generation("r", "k1", next).await;
}

/// Keeps the refresh token of a key beside it, too, as an attempt would whose lease was lost.
async fn keep_beside(station: &Station, key: &str) {
    let kept = format!(
        "INSERT INTO ts_candidate (attempt_id, secret_id, consumed, refresh_line, secret_version, \
         realm_version, token, per_read, obtained_at, refresh_token) \
         SELECT 'of-{key}', secret_id, generation, refresh_line, 1, 1, X'', FALSE, 1, \
         refresh_token FROM ts_token WHERE key_name = '{key}'"
    );
    station.database.run(&kept).await;
}

async fn pairs_beside_a_token_are_moved_with_it(database: TestDatabase) {
    let provider = RotatingProvider::start(Reuse::EndsFamily, LIFETIME_S).await;
    let (source, target) = two(database).await;
    drop(begun(&source, &provider).await);
    keep_beside(&source, "k1").await;
    let finish = target.database.directory.path().join("finish");
    let file = finish.display().to_string();
    let child = target
        .import(&source, &["--follow", "--finish-file", &file])
        .spawn()
        .expect("the binary starts");
    let are_kept = async |count: i64| {
        eventually("they are kept here", async || {
            (target.count("ts_candidate").await == count).then_some(())
        })
        .await;
    };
    are_kept(1).await;
    keep_beside(&source, "k2").await;
    are_kept(2).await;
    std::fs::write(&finish, "").expect("a file can be written");
    let report = tokio::task::spawn_blocking(|| reported(child, 0)).await;
    let report = report.expect("it is read");
    assert_eq!(report["secrets"]["taken"], KEYS.len(), "{report}");
    // Each is of its own secret, under this server's keys.
    let of_their_own = "SELECT COUNT(*) FROM ts_candidate JOIN ts_token \
                        ON ts_token.secret_id = ts_candidate.secret_id \
                        AND ts_candidate.attempt_id = CONCAT('of-', ts_token.key_name)";
    assert_eq!(target.database.number(of_their_own).await, 2);
}
