//! Entries in no chain: none of them passes for one of an earlier version, but those that were there
//! before the audit had a chain.

use std::sync::Arc;

use serde_json::Value;
use token_server::access::audit::{EarlierNoter, prune};
use token_server::foundation::clock::{Clock, ManualClock, Ms, Timeline};

use super::tampering::{keep, put_back};
use super::{expect_all_named, expect_named, expect_whole, exported, maintenance, save, written};
use crate::kit::server::Options;
use crate::kit::{Server, TestDatabase, on_every_database};

on_every_database! {
    an_entry_without_a_chain_is_named_whatever_its_number,
    an_entry_without_a_chain_is_named_after_all_before_it_were_pruned,
    entries_of_an_earlier_version_are_counted_until_they_are_noted_and_then_compared,
    two_replicas_note_at_once_what_there_is_in_no_chain,
    entries_of_an_earlier_version_are_pruned_by_their_age_and_still_compared,
    entries_that_are_not_as_they_were_noted_are_not_pruned,
    a_second_note_after_the_first_was_hidden_makes_no_forged_entry_good,
    what_is_in_no_chain_is_noted_again_after_a_version_without_notes_has_pruned,
}

const COLUMNS: &str = "at, action, target, outcome";

/// An entry that somebody has put in.
async fn forge(database: &TestDatabase, id: i64) {
    let insert = format!(
        "INSERT INTO ts_audit (id, {COLUMNS}) VALUES (987654, 5, 'realm.save', 'forged', 'done')"
    );
    database.run(&insert).await;
    // As an insert MySQL takes 0 for the next number.
    let moved = format!("UPDATE ts_audit SET id = {id} WHERE id = 987654");
    database.run(&moved).await;
}

fn named(id: i64) -> String {
    format!("ts_audit row {id}: inserted")
}

async fn an_entry_without_a_chain_is_named_whatever_its_number(database: TestDatabase) {
    Box::pin(written(&database)).await;
    keep(&database).await;
    let ids = [i64::MIN, -1, 0, 5000, i64::MAX];
    for id in ids {
        forge(&database, id).await;
        expect_named(&database, &[named(id)]);
        put_back(&database).await;
    }
    // Each of several, and one that has a place in no chain.
    for id in ids {
        forge(&database, id).await;
    }
    expect_all_named(&database, &ids.map(named));
    let place = "UPDATE ts_audit SET seq = 7 WHERE id = 5000";
    database.run(place).await;
    expect_all_named(&database, &[named(0), "ts_audit row 5000".to_owned()]);
}

async fn an_entry_without_a_chain_is_named_after_all_before_it_were_pruned(database: TestDatabase) {
    let (server, clock) = Server::on_manual_clock(&database).await;
    save(&server, "a").await;
    let first = exported(&database, &[])[0]["id"]
        .as_i64()
        .expect("a number");
    // Twice: what says that there are none is as old as the others by then.
    for _ in 0..2 {
        clock.advance(Ms::from_secs(90_000));
        maintenance(&server).prune().await.expect("it is pruned");
        expect_whole(&database);
    }
    assert!(exported(&database, &[])[0]["id"].as_i64() > Some(first));
    forge(&database, first).await;
    expect_named(&database, &[named(first)]);
}

/// A server of this version on a database of a version before chains, with so many entries of
/// different ages, the first 500,000 s old; and an entry in a chain since.
async fn upgraded(database: &TestDatabase, count: i64) -> (Server, Arc<ManualClock>) {
    let (server, clock) = Server::on_manual_clock(database).await;
    server.stop().await;
    for sql in [
        "DELETE FROM ts_audit",
        "DELETE FROM ts_audit_chain",
        "DELETE FROM ts_lock WHERE name = 'audit_note'",
    ] {
        database.run(sql).await;
    }
    for number in 0..count {
        let at = clock.now().minus(Ms::from_secs(500_000 - number * 1000)).0;
        let insert = format!(
            "INSERT INTO ts_audit ({COLUMNS}) VALUES ({at}, 'realm.save', 'r{number}', 'done')"
        );
        database.run(&insert).await;
    }
    let server = another(database, &clock).await;
    save(&server, "since").await;
    (server, clock)
}

async fn another(database: &TestDatabase, clock: &Arc<ManualClock>) -> Server {
    let options = Options {
        clock: Some(clock.clone()),
        ..Options::default()
    };
    Server::start_with(database, options).await
}

fn noter(server: &Server) -> EarlierNoter {
    let app = server.app();
    EarlierNoter::new(app.database.clone(), app.audit.clone(), app.clock.clone())
}

/// Notes what there is, once it is known that nothing else comes.
async fn noted(server: &Server, clock: &ManualClock) {
    clock.advance(Ms::from_secs(61));
    noter(server).note().await.expect("it is noted");
}

fn notes(database: &TestDatabase) -> Vec<Value> {
    let mut notes = exported(database, &[]);
    notes.retain(|entry| entry["action"] == "audit.unchained");
    notes
}

async fn entries_of_an_earlier_version_are_counted_until_they_are_noted_and_then_compared(
    database: TestDatabase,
) {
    let (server, clock) = upgraded(&database, 5).await;
    let said = expect_whole(&database);
    assert!(
        said.contains("5 entries of an earlier version are in no chain; nothing is noted of them"),
        "{said}"
    );
    // One that is still being written may have a lower number than the first in a chain.
    noter(&server).note().await.expect("it is not noted yet");
    assert!(notes(&database).is_empty());
    noted(&server, &clock).await;
    noted(&server, &clock).await;
    assert_eq!(notes(&database).len(), 1);
    server.stop().await;
    let said = expect_whole(&database);
    assert!(
        said.contains(
            "5 entries of an earlier version are in no chain; what they say was noted at"
        ),
        "{said}"
    );
    keep(&database).await;
    let of = "(SELECT id FROM kept_ts_audit WHERE target = 'r2')";
    let last = "(SELECT id FROM kept_ts_audit WHERE target = 'r4')";
    for (change, what) in [
        (
            format!("UPDATE ts_audit SET at = at + 1 WHERE id = {of}"),
            "altered: 5 were noted, and 5 are there",
        ),
        (
            format!("UPDATE ts_audit SET actor = 'somebody' WHERE id = {last}"),
            "altered: 5 were noted, and 5 are there",
        ),
        (
            format!("UPDATE ts_audit SET id = -3 WHERE id = {of}"),
            "altered: 5 were noted, and 5 are there",
        ),
        (
            format!("DELETE FROM ts_audit WHERE id = {of}"),
            "deleted: 5 were noted, and 4 are there",
        ),
        (
            format!("DELETE FROM ts_audit WHERE id <= {last}"),
            "deleted: 5 were noted, and 0 are there",
        ),
        (
            format!(
                "INSERT INTO ts_audit (id, {COLUMNS}) VALUES (-3, 5, 'realm.save', 'x', 'done')"
            ),
            "inserted: 5 were noted, and 6 are there",
        ),
    ] {
        database.run(&change).await;
        expect_named(
            &database,
            &["in no chain up to row".to_owned(), what.to_owned()],
        );
        put_back(&database).await;
    }
    // What an earlier version writes beside is in none, and is named.
    forge(&database, 5000).await;
    expect_named(&database, &[named(5000)]);
}

async fn two_replicas_note_at_once_what_there_is_in_no_chain(database: TestDatabase) {
    let (server, clock) = upgraded(&database, 3).await;
    let other = another(&database, &clock).await;
    clock.advance(Ms::from_secs(61));
    let noters = [noter(&server), noter(&other)];
    let (one, two) = tokio::join!(noters[0].note(), noters[1].note());
    one.and(two).expect("it is noted");
    assert_eq!(notes(&database).len(), 1);
    expect_whole(&database);
    for server in [server, other] {
        server.stop().await;
    }
    for sql in [
        "DELETE FROM ts_audit",
        "DELETE FROM ts_audit_chain",
        "DELETE FROM ts_lock WHERE name = 'audit_note'",
    ] {
        database.run(sql).await;
    }
    // Nor do two say of a new database that there is none.
    let (one, two) = tokio::join!(another(&database, &clock), another(&database, &clock));
    tokio::join!(save(&one, "x"), save(&two, "y"));
    assert_eq!(notes(&database).len(), 1);
    let said = expect_whole(&database);
    assert!(
        said.contains(" in 2 chains ") && !said.contains("in no chain"),
        "{said}"
    );
}

async fn entries_of_an_earlier_version_are_pruned_by_their_age_and_still_compared(
    database: TestDatabase,
) {
    let (server, clock) = upgraded(&database, 9).await;
    noted(&server, &clock).await;
    let (app, now) = (server.app(), clock.now());
    // All but the last four are older; two go in a transaction.
    let before = now.minus(Ms::from_secs(495_500));
    let pruned = prune(&app.database, &app.audit, before, now, 2).await;
    assert_eq!(pruned.expect("it is pruned"), 5);
    let said = expect_whole(&database);
    assert!(
        said.contains("4 entries of an earlier version are in no chain; what they say"),
        "{said}"
    );
    assert_eq!(notes(&database).len(), 4);
    // Nothing is old: nothing is written.
    let pruned = prune(&app.database, &app.audit, before, now, 2).await;
    assert_eq!(pruned.expect("it is pruned"), 0);
    assert_eq!(notes(&database).len(), 4);
    keep(&database).await;
    database
        .run("DELETE FROM ts_audit WHERE target = 'r7'")
        .await;
    expect_named(
        &database,
        &["deleted: 4 were noted, and 3 are there".to_owned()],
    );
    put_back(&database).await;
    forge(&database, -1).await;
    expect_named(
        &database,
        &["inserted: 4 were noted, and 5 are there".to_owned()],
    );
    put_back(&database).await;
    // The rest; and then what notes that there is none.
    maintenance(&server).prune().await.expect("it is pruned");
    let said = expect_whole(&database);
    assert!(!said.contains("in no chain"), "{said}");
    clock.advance(Ms::from_secs(90_000));
    maintenance(&server).prune().await.expect("it is pruned");
    expect_whole(&database);
    let kept = notes(&database);
    assert!(
        kept.len() == 1 && kept[0]["after"]["unchained"]["entries"] == 0,
        "{kept:?}"
    );
    forge(&database, 1).await;
    expect_named(&database, &[named(1)]);
}

async fn entries_that_are_not_as_they_were_noted_are_not_pruned(database: TestDatabase) {
    let (server, clock) = upgraded(&database, 4).await;
    noted(&server, &clock).await;
    // It would be the first to go.
    database
        .run("UPDATE ts_audit SET at = 1 WHERE target = 'r3'")
        .await;
    let pruned = maintenance(&server).prune().await.expect("it is pruned");
    assert_eq!(pruned.audit_entries, 0);
    clock.advance(Ms::from_secs(90_000));
    maintenance(&server).prune().await.expect("it is pruned");
    assert_eq!(notes(&database).len(), 1);
    expect_named(
        &database,
        &["altered: 4 were noted, and 4 are there".to_owned()],
    );
}

async fn a_second_note_after_the_first_was_hidden_makes_no_forged_entry_good(
    database: TestDatabase,
) {
    let (server, clock) = Server::on_manual_clock(&database).await;
    save(&server, "a").await;
    forge(&database, -1).await;
    let hidden = "DELETE FROM ts_lock WHERE name = 'audit_note'";
    database.run(hidden).await;
    noted(&server, &clock).await;
    assert_eq!(notes(&database).len(), 2);
    expect_named(&database, &[named(-1)]);
    // Nor once both were written again, because of their age.
    clock.advance(Ms::from_secs(90_000));
    let app = server.app();
    let before = clock.now().minus(Ms::from_secs(1));
    database
        .run("UPDATE ts_audit SET at = 1800000000000 WHERE id = -1")
        .await;
    let pruned = prune(&app.database, &app.audit, before, clock.now(), 1000).await;
    assert!(pruned.expect("it is pruned") > 2);
    assert_eq!(notes(&database).len(), 2);
    expect_named(&database, &[named(-1)]);
}

async fn what_is_in_no_chain_is_noted_again_after_a_version_without_notes_has_pruned(
    database: TestDatabase,
) {
    let (server, clock) = Server::on_manual_clock(&database).await;
    save(&server, "a").await;
    let chain = exported(&database, &[])[0]["chain"].clone();
    let chain = chain.as_str().expect("a chain");
    // Beside the first: after it, it would go on with the chain of that.
    let other = another(&database, &clock).await;
    save(&other, "b").await;
    server.stop().await;
    // The chain of the first has ended by its age, with the note that was in it.
    for table in ["ts_audit", "ts_audit_chain"] {
        let sql = format!("DELETE FROM {table} WHERE chain = '{chain}'");
        database.run(&sql).await;
    }
    expect_whole(&database);
    noted(&other, &clock).await;
    assert_eq!(notes(&database).len(), 1);
    expect_whole(&database);
    forge(&database, -1).await;
    expect_named(&database, &[named(-1)]);
}
