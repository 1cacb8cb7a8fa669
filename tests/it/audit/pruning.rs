//! What is pruned by its age: only what is as it was written, and the rest stays to be named.

use std::sync::Arc;

use serde_json::Value;
use token_server::foundation::clock::{ManualClock, Ms};

use super::tampering::{keep, put_back, row};
use super::{expect_named, expect_whole, exported, maintenance, save, signer};
use crate::kit::server::Options;
use crate::kit::{Server, TestDatabase, on_every_database};

on_every_database! {
    an_entry_that_was_made_to_look_old_is_not_pruned_but_named,
    an_entry_beyond_the_end_of_its_chain_is_not_pruned_but_named,
    a_chain_whose_row_was_changed_is_not_ended_by_its_age,
    a_chain_whose_entries_were_deleted_is_not_ended_by_its_age,
    a_chain_that_ended_by_its_age_is_no_fault_where_another_has_recorded_it,
    a_server_goes_on_with_its_chain_after_all_of_it_was_pruned,
}

/// More than entries are kept.
const OLD: Ms = Ms::from_secs(90_000);

/// A second replica, on the clock of the first.
async fn another(database: &TestDatabase, clock: &Arc<ManualClock>) -> Server {
    let options = Options {
        clock: Some(clock.clone()),
        ..Options::default()
    };
    Server::start_with(database, options).await
}

/// Two replicas, each with a chain; that of the second, which has ended, is answered.
async fn with_an_ended_chain(database: &TestDatabase) -> (Server, Arc<ManualClock>, String) {
    let (server, clock) = Server::on_manual_clock(database).await;
    let other = another(database, &clock).await;
    save(&server, "a").await;
    save(&other, "b").await;
    let chain = chain_of(&server, "b").await;
    other.stop().await;
    (server, clock, chain)
}

/// The chain that holds the change of a realm.
async fn chain_of(server: &Server, realm: &str) -> String {
    let entry = &server
        .client
        .list(&format!("/api/audit?target={realm}"))
        .await[0];
    entry["chain"].as_str().expect("a chain").to_owned()
}

async fn an_entry_that_was_made_to_look_old_is_not_pruned_but_named(database: TestDatabase) {
    let (server, clock) = Server::on_manual_clock(&database).await;
    save(&server, "a").await;
    save(&server, "b").await;
    let maintenance = maintenance(&server);
    keep(&database).await;
    database
        .run("UPDATE ts_audit SET at = 0 WHERE seq < 3")
        .await;
    let pruned = maintenance.prune().await.expect("it is pruned");
    assert_eq!(pruned.audit_entries, 0);
    let entries = exported(&database, &[]);
    assert_eq!(entries.len(), 4, "{entries:?}");
    expect_named(&database, &[row(&entries[0]), "altered".to_owned()]);
    put_back(&database).await;
    // What is before it is pruned.
    clock.advance(Ms::from_secs(80_000));
    save(&server, "c").await;
    clock.advance(Ms::from_secs(7000));
    database
        .run("UPDATE ts_audit SET at = 0 WHERE target = 'c'")
        .await;
    let pruned = maintenance.prune().await.expect("it is pruned");
    assert_eq!(pruned.audit_entries, 4);
    let entries = exported(&database, &[]);
    let altered = entries.iter().find(|entry| entry["target"] == "c");
    let altered = altered.expect("it is there");
    expect_named(&database, &[row(altered), "altered".to_owned()]);
}

async fn an_entry_beyond_the_end_of_its_chain_is_not_pruned_but_named(database: TestDatabase) {
    let (server, clock) = Server::on_manual_clock(&database).await;
    let other = another(&database, &clock).await;
    save(&other, "a").await;
    let chain = chain_of(&server, "a").await;
    let chains = "CREATE TABLE earlier AS SELECT * FROM ts_audit_chain";
    database.run(chains).await;
    save(&other, "b").await;
    other.stop().await;
    for sql in [
        format!("DELETE FROM ts_audit_chain WHERE chain = '{chain}'"),
        format!("INSERT INTO ts_audit_chain SELECT * FROM earlier WHERE chain = '{chain}'"),
    ] {
        database.run(&sql).await;
    }
    clock.advance(OLD);
    maintenance(&server).prune().await.expect("it is pruned");
    let entries = exported(&database, &[]);
    assert!(!entries.iter().any(|entry| entry["target"] == "a"));
    let beyond = entries.iter().find(|entry| entry["target"] == "b");
    let beyond = beyond.expect("it is there");
    expect_named(&database, &[row(beyond), "inserted".to_owned()]);
}

async fn a_chain_whose_row_was_changed_is_not_ended_by_its_age(database: TestDatabase) {
    for change in ["replica = 'other'", "pruned_seq = seq"] {
        let (server, clock, chain) = with_an_ended_chain(&database).await;
        let change = format!("UPDATE ts_audit_chain SET {change} WHERE chain = '{chain}'");
        database.run(&change).await;
        clock.advance(OLD);
        let pruned = maintenance(&server).prune().await.expect("it is pruned");
        assert!(pruned.audit_entries >= 2, "{}", pruned.audit_entries);
        expect_named(&database, &[format!("(chain {chain}): altered")]);
        server.stop().await;
        for table in ["ts_audit", "ts_audit_chain"] {
            database.run(&format!("DELETE FROM {table}")).await;
        }
    }
}

async fn a_chain_whose_entries_were_deleted_is_not_ended_by_its_age(database: TestDatabase) {
    let (server, clock, chain) = with_an_ended_chain(&database).await;
    let delete = format!("DELETE FROM ts_audit WHERE chain = '{chain}'");
    database.run(&delete).await;
    clock.advance(OLD);
    maintenance(&server).prune().await.expect("it is pruned");
    expect_named(&database, &[chain, "missing".to_owned()]);
}

async fn a_chain_that_ended_by_its_age_is_no_fault_where_another_has_recorded_it(
    database: TestDatabase,
) {
    let (server, clock) = Server::on_manual_clock(&database).await;
    let other = another(&database, &clock).await;
    save(&other, "b").await;
    let chain = chain_of(&server, "b").await;
    other.stop().await;
    // The record is kept for longer than what it is of.
    clock.advance(Ms::from_secs(80_000));
    signer(&server).sign().await.expect("it is recorded");
    clock.advance(Ms::from_secs(7000));
    maintenance(&server).prune().await.expect("it is pruned");
    let chains = format!("SELECT COUNT(*) FROM ts_audit_chain WHERE chain = '{chain}'");
    assert_eq!(database.number(&chains).await, 0);
    let entries = exported(&database, &[]);
    let records = |entry: &Value| {
        entry["action"] == "audit.heads" && entry["after"].to_string().contains(&chain)
    };
    assert!(entries.iter().any(records), "{entries:?}");
    expect_whole(&database);
}

async fn a_server_goes_on_with_its_chain_after_all_of_it_was_pruned(database: TestDatabase) {
    let (server, clock) = Server::on_manual_clock(&database).await;
    save(&server, "a").await;
    let chain = chain_of(&server, "a").await;
    clock.advance(OLD);
    let pruned = maintenance(&server).prune().await.expect("it is pruned");
    assert_eq!(pruned.audit_entries, 3);
    let entries = exported(&database, &[]);
    let places: Vec<_> = entries
        .iter()
        .map(|entry| (entry["chain"].as_str(), entry["seq"].as_i64()))
        .collect();
    assert_eq!(places, [4, 5].map(|seq| (Some(chain.as_str()), Some(seq))));
    expect_whole(&database);
}
