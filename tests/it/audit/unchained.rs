//! Entries without a chain: those of an earlier version are taken into one, once, and each other is
//! named, whatever its number.

use serde_json::Value;

use super::pruning::OLD;
use super::tampering::{keep, put_back};
use super::{expect_all_named, expect_named, expect_whole, exported, maintenance, save, written};
use crate::kit::{Server, TestDatabase, on_every_database};
use crate::storage_attacks::earlier_check;

on_every_database! {
    an_entry_without_a_chain_is_named_whatever_its_number,
    an_entry_without_a_chain_is_named_after_all_before_it_were_pruned,
    an_entry_without_a_chain_is_named_where_no_chain_is_left,
    what_an_earlier_version_wrote_is_chained_at_the_first_start_and_nothing_later,
}

/// Puts an entry in that no server wrote.
async fn forge(database: &TestDatabase, id: i64) {
    let sql = format!(
        "INSERT INTO ts_audit (id, at, actor, action, target, outcome) \
         VALUES ({id}, 1700000000000, 'somebody', 'realm.save', 'forged', 'done')"
    );
    database.run(&sql).await;
}

fn named(id: i64) -> String {
    format!("ts_audit row {id}: inserted")
}

async fn an_entry_without_a_chain_is_named_whatever_its_number(database: TestDatabase) {
    Box::pin(written(&database)).await;
    keep(&database).await;
    // Each of them, and not the first alone.
    for id in [-2, -1, 5000] {
        forge(&database, id).await;
    }
    expect_all_named(&database, &[named(-2), named(-1), named(5000)]);
    put_back(&database).await;
    // A start does not take it for one of an earlier version.
    forge(&database, -1).await;
    let server = Server::start(&database).await;
    save(&server, "later").await;
    server.stop().await;
    expect_named(&database, &[named(-1)]);
}

async fn an_entry_without_a_chain_is_named_after_all_before_it_were_pruned(database: TestDatabase) {
    let (server, clock) = Server::on_manual_clock(&database).await;
    save(&server, "a").await;
    clock.advance(OLD);
    let pruned = maintenance(&server).prune().await.expect("it is pruned");
    assert_eq!(pruned.audit_entries, 2);
    expect_whole(&database);
    let first = "SELECT MIN(id) FROM ts_audit";
    assert!(database.number(first).await > 2);
    for id in [1, 2] {
        forge(&database, id).await;
    }
    expect_all_named(&database, &[named(1), named(2)]);
}

async fn an_entry_without_a_chain_is_named_where_no_chain_is_left(database: TestDatabase) {
    Box::pin(written(&database)).await;
    for table in ["ts_audit", "ts_audit_chain"] {
        database.run(&format!("DELETE FROM {table}")).await;
    }
    forge(&database, 7).await;
    expect_named(&database, &[named(7)]);
}

async fn what_an_earlier_version_wrote_is_chained_at_the_first_start_and_nothing_later(
    database: TestDatabase,
) {
    let server = Server::start(&database).await;
    save(&server, "a").await;
    server.stop().await;
    // As a version before chains left it, with more entries than one transaction takes.
    let held = b"token-server, rows and tokens are authenticated";
    for sql in [
        "DELETE FROM ts_audit_chain".to_owned(),
        "UPDATE ts_audit SET chain = NULL, seq = NULL, mac = NULL, before_value = NULL, \
         after_value = NULL"
            .to_owned(),
        format!(
            "UPDATE ts_sealing_key SET check_value = {}",
            earlier_check(held)
        ),
    ] {
        database.run(&sql).await;
    }
    for _ in 0..9 {
        let again = "INSERT INTO ts_audit (at, actor, action, target, outcome, count) \
                     SELECT at, actor, action, target, outcome, count FROM ts_audit";
        database.run(again).await;
    }
    let count = database.number("SELECT COUNT(*) FROM ts_audit").await;
    assert!(count > 1000, "{count}");
    // Versions before chains knew no values before and after: this one is of none of them.
    forge(&database, -1).await;
    let tells = "UPDATE ts_audit SET action = 'audit.prune', after_value = '{}' WHERE id = -1";
    database.run(tells).await;
    let server = Server::start(&database).await;
    save(&server, "b").await;
    server.stop().await;
    expect_named(&database, &[named(-1)]);
    database.run("DELETE FROM ts_audit WHERE id = -1").await;
    let said = expect_whole(&database);
    let all = format!("{} entries in 1 chains ", count + 1);
    assert!(said.starts_with(&all), "{said}");
    let entries = exported(&database, &[]);
    let is_chained = |entry: &Value| entry["chain"].is_string();
    assert!(entries.iter().all(is_chained));
    keep(&database).await;
    // They are as safe as any other.
    let middle = count / 2;
    let altered = format!("UPDATE ts_audit SET actor = 'other' WHERE seq = {middle}");
    database.run(&altered).await;
    let place = format!("(entry {middle} of chain ");
    expect_named(&database, &[place, "altered".to_owned()]);
    put_back(&database).await;
    forge(&database, -1).await;
    Server::start(&database).await.stop().await;
    expect_named(&database, &[named(-1)]);
}
