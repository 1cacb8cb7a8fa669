//! Whatever somebody does to the audit in the database is named.

use serde_json::Value;
use token_server::access::audit::Signed;

use super::{expect_all_named, expect_named, expect_whole, exported, save, signer, written};
use crate::kit::{Server, TestDatabase, on_every_database};

on_every_database! {
    an_entry_that_was_altered_is_named,
    an_entry_that_was_deleted_is_named,
    entries_that_were_deleted_with_the_end_of_their_chain_are_named_by_another_chain,
    entries_that_were_replaced_are_named_after_the_chain_has_gone_on,
    a_chain_that_was_deleted_is_named_beside_a_forged_entry_of_pruning,
    what_a_chain_tells_after_its_first_fault_is_not_believed,
    entries_that_were_moved_are_named,
    entries_that_were_inserted_are_named,
    a_chain_whose_row_was_changed_is_named_and_gone_on_with_in_another,
    a_chain_whose_row_is_of_another_end_than_its_entries_is_named,
}

/// The database as it was, for the next attack.
pub(super) async fn keep(database: &TestDatabase) {
    for table in ["ts_audit", "ts_audit_chain"] {
        let sql = format!("CREATE TABLE kept_{table} AS SELECT * FROM {table}");
        database.run(&sql).await;
    }
}

pub(super) async fn put_back(database: &TestDatabase) {
    for table in ["ts_audit", "ts_audit_chain"] {
        database.run(&format!("DELETE FROM {table}")).await;
        let sql = format!("INSERT INTO {table} SELECT * FROM kept_{table}");
        database.run(&sql).await;
    }
    expect_whole(database);
}

pub(super) fn row(entry: &Value) -> String {
    format!(
        "ts_audit row {} (entry {} of chain {})",
        entry["id"],
        entry["seq"],
        entry["chain"].as_str().expect("a chain")
    )
}

async fn an_entry_that_was_altered_is_named(database: TestDatabase) {
    let own = Box::pin(written(&database)).await;
    keep(&database).await;
    let id = &own[1]["id"];
    for change in [
        "at = at + 1",
        "actor = 'somebody'",
        "actor = NULL",
        "action = 'realm.delete'",
        "target = 'other'",
        "outcome = 'denied'",
        "detail = ''",
        "request_id = NULL",
        "count = 2",
        "before_value = '{}'",
        "after_value = '{}'",
        "mac = NULL",
    ] {
        database
            .run(&format!("UPDATE ts_audit SET {change} WHERE id = {id}"))
            .await;
        expect_named(&database, &[row(&own[1]), "altered".to_owned()]);
        put_back(&database).await;
    }
}

async fn an_entry_that_was_deleted_is_named(database: TestDatabase) {
    let own = Box::pin(written(&database)).await;
    keep(&database).await;
    for entry in &own {
        let id = &entry["id"];
        database
            .run(&format!("DELETE FROM ts_audit WHERE id = {id}"))
            .await;
        let chain = entry["chain"].as_str().expect("a chain");
        let named = format!("(entry {} of chain {chain}): missing", entry["seq"]);
        expect_named(&database, &[named]);
        put_back(&database).await;
    }
}

async fn entries_that_were_deleted_with_the_end_of_their_chain_are_named_by_another_chain(
    database: TestDatabase,
) {
    let servers = [
        Server::start(&database).await,
        Server::start(&database).await,
    ];
    save(&servers[0], "a").await;
    save(&servers[1], "b0").await;
    // What somebody keeps who can write to the database, to put it back later.
    let chains = "CREATE TABLE earlier AS SELECT * FROM ts_audit_chain";
    database.run(chains).await;
    save(&servers[1], "b1").await;
    signer(&servers[0]).sign().await.expect("it is recorded");
    let entry = &servers[1].client.list("/api/audit?target=b1").await[0];
    let chain = entry["chain"].as_str().expect("a chain").to_owned();
    for server in servers {
        server.stop().await;
    }
    keep(&database).await;
    database
        .run("DELETE FROM ts_audit WHERE target = 'b1'")
        .await;
    database
        .run(&format!(
            "DELETE FROM ts_audit_chain WHERE chain = '{chain}'"
        ))
        .await;
    database
        .run(&format!(
            "INSERT INTO ts_audit_chain SELECT * FROM earlier WHERE chain = '{chain}'"
        ))
        .await;
    let named = [
        format!("(entry 2 of chain {chain})"),
        "cut off at the end".to_owned(),
    ];
    expect_named(&database, &named);
    put_back(&database).await;
    // The whole of it.
    for table in ["ts_audit", "ts_audit_chain"] {
        let sql = format!("DELETE FROM {table} WHERE chain = '{chain}'");
        database.run(&sql).await;
    }
    let named = [
        format!("(entry 2 of chain {chain})"),
        "cut off at the end".to_owned(),
    ];
    expect_named(&database, &named);
}

async fn entries_that_were_replaced_are_named_after_the_chain_has_gone_on(database: TestDatabase) {
    let servers = [
        Server::start(&database).await,
        Server::start(&database).await,
    ];
    save(&servers[0], "a").await;
    save(&servers[1], "b0").await;
    let chains = "CREATE TABLE earlier AS SELECT * FROM ts_audit_chain";
    database.run(chains).await;
    for realm in ["b1", "b2"] {
        save(&servers[1], realm).await;
    }
    let signer = signer(&servers[0]);
    assert_eq!(signer.sign().await.expect("recorded"), Signed::Heads(1));
    let entry = &servers[1].client.list("/api/audit?target=b0").await[0];
    let chain = entry["chain"].as_str().expect("a chain").to_owned();
    // The servers go on meanwhile.
    for sql in [
        "DELETE FROM ts_audit WHERE target IN ('b1', 'b2')".to_owned(),
        format!("DELETE FROM ts_audit_chain WHERE chain = '{chain}'"),
        format!("INSERT INTO ts_audit_chain SELECT * FROM earlier WHERE chain = '{chain}'"),
    ] {
        database.run(&sql).await;
    }
    for realm in ["b3", "b4", "b5"] {
        save(&servers[1], realm).await;
    }
    assert_eq!(signer.sign().await.expect("recorded"), Signed::Heads(1));
    let entries = exported(&database, &[]);
    let find = |name: &str, value: &str| {
        let found = entries.iter().find(|entry| entry[name] == value);
        found.expect("it is there")
    };
    let replacing = find("target", "b4");
    assert!(
        replacing["chain"] == chain.as_str() && replacing["seq"] == 3,
        "{replacing}"
    );
    let by = find("action", "audit.heads")["chain"].as_str();
    let named = [
        row(replacing),
        "cut off at the end".to_owned(),
        format!("chain {} recorded it", by.expect("a chain")),
    ];
    expect_named(&database, &named);
}

async fn a_chain_that_was_deleted_is_named_beside_a_forged_entry_of_pruning(
    database: TestDatabase,
) {
    let own = Box::pin(written(&database)).await;
    keep(&database).await;
    let chain = own[0]["chain"].as_str().expect("a chain");
    for (of_chain, seq) in [("NULL", "NULL"), ("'unknown'", "1")] {
        for table in ["ts_audit", "ts_audit_chain"] {
            let sql = format!("DELETE FROM {table} WHERE chain = '{chain}'");
            database.run(&sql).await;
        }
        // Before all others, as those of an earlier version are.
        let sql = format!(
            "INSERT INTO ts_audit (id, at, action, target, outcome, chain, seq, after_value) \
             VALUES (-1, 0, 'audit.prune', 'audit', 'done', {of_chain}, {seq}, \
             '{{\"ended_chains\":[\"{chain}\"]}}')"
        );
        database.run(&sql).await;
        let named = [
            format!("(entry 3 of chain {chain})"),
            "cut off at the end".to_owned(),
        ];
        expect_named(&database, &named);
        put_back(&database).await;
    }
}

async fn what_a_chain_tells_after_its_first_fault_is_not_believed(database: TestDatabase) {
    let own = Box::pin(written(&database)).await;
    let other = exported(&database, &[]);
    let heads = other.iter().find(|entry| entry["action"] == "audit.heads");
    let heads = heads.expect("the end of the chain is recorded");
    keep(&database).await;
    let chain = own[0]["chain"].as_str().expect("a chain");
    let of_heads = heads["chain"].as_str().expect("a chain");
    let beyond = heads["seq"].as_i64().expect("a number") + 1;
    for table in ["ts_audit", "ts_audit_chain"] {
        let sql = format!("DELETE FROM {table} WHERE chain = '{chain}'");
        database.run(&sql).await;
    }
    // Where the other chain ends, somebody goes on with it.
    let sql = format!(
        "INSERT INTO ts_audit (id, at, action, target, outcome, chain, seq, after_value) \
         VALUES (5000, 0, 'audit.prune', 'audit', 'done', '{of_heads}', {beyond}, \
         '{{\"ended_chains\":[\"{chain}\"]}}')"
    );
    database.run(&sql).await;
    let named = [
        "ts_audit row 5000".to_owned(),
        format!("(entry 3 of chain {chain}): cut off at the end"),
    ];
    expect_all_named(&database, &named);
    put_back(&database).await;
}

async fn entries_that_were_moved_are_named(database: TestDatabase) {
    let own = Box::pin(written(&database)).await;
    keep(&database).await;
    let (one, other) = (&own[0], &own[1]);
    for column in ["id", "seq"] {
        let (first, second) = (&one[column], &other[column]);
        for sql in [
            format!(
                "UPDATE ts_audit SET {column} = 1000000 WHERE id = {}",
                one["id"]
            ),
            format!(
                "UPDATE ts_audit SET {column} = {first} WHERE id = {}",
                other["id"]
            ),
            format!("UPDATE ts_audit SET {column} = {second} WHERE {column} = 1000000"),
        ] {
            database.run(&sql).await;
        }
        let chain = one["chain"].as_str().expect("a chain").to_owned();
        expect_named(
            &database,
            &[format!("of chain {chain}): "), "reordered".to_owned()],
        );
        put_back(&database).await;
    }
}

async fn entries_that_were_inserted_are_named(database: TestDatabase) {
    let own = Box::pin(written(&database)).await;
    keep(&database).await;
    let chain = own[0]["chain"].as_str().expect("a chain");
    let columns = "id, at, actor, action, target, outcome, detail, request_id, count";
    for (of_chain, seq) in [
        ("NULL".to_owned(), "NULL".to_owned()),
        (format!("'{chain}'"), "4".to_owned()),
        (format!("'{chain}'"), "0".to_owned()),
        ("'unknown'".to_owned(), "1".to_owned()),
    ] {
        let sql = format!(
            "INSERT INTO ts_audit ({columns}, chain, seq, mac) SELECT 5000, at, actor, action, \
             'forged', outcome, detail, request_id, count, {of_chain}, {seq}, mac \
             FROM kept_ts_audit WHERE id = {}",
            own[2]["id"]
        );
        database.run(&sql).await;
        expect_named(
            &database,
            &["ts_audit row 5000".to_owned(), "inserted".to_owned()],
        );
        put_back(&database).await;
    }
}

async fn a_chain_whose_row_was_changed_is_named_and_gone_on_with_in_another(
    database: TestDatabase,
) {
    let server = Server::start(&database).await;
    save(&server, "a").await;
    let chain = server.client.list("/api/audit").await[0]["chain"].clone();
    keep(&database).await;
    for change in [
        "seq = seq - 1, said_seq = said_seq - 1",
        "pruned_seq = 1",
        "replica = 'other'",
        "head_mac = 'none'",
    ] {
        database
            .run(&format!("UPDATE ts_audit_chain SET {change}"))
            .await;
        expect_named(
            &database,
            &["ts_audit_chain row 1".to_owned(), "altered".to_owned()],
        );
        save(&server, "b").await;
        let last = &server.client.list("/api/audit").await[0];
        assert_eq!(last["target"], "b");
        assert!(last["chain"] != chain && last["seq"] == 1, "{last}");
        put_back(&database).await;
    }
    // Set back to what it was: no entry takes the place of another.
    save(&server, "c").await;
    database.run("DELETE FROM ts_audit_chain").await;
    let kept = "INSERT INTO ts_audit_chain SELECT * FROM kept_ts_audit_chain";
    database.run(kept).await;
    save(&server, "d").await;
    expect_named(
        &database,
        &["(entry 4 of chain".to_owned(), "inserted".to_owned()],
    );
}

async fn a_chain_whose_row_is_of_another_end_than_its_entries_is_named(database: TestDatabase) {
    let server = Server::start(&database).await;
    save(&server, "a").await;
    keep(&database).await;
    save(&server, "b").await;
    let chains = "CREATE TABLE of_another_end AS SELECT * FROM ts_audit_chain";
    database.run(chains).await;
    // The server goes on from before that, with another entry in the same place.
    put_back(&database).await;
    save(&server, "c").await;
    expect_whole(&database);
    for sql in [
        "DELETE FROM ts_audit_chain",
        "INSERT INTO ts_audit_chain SELECT * FROM of_another_end",
    ] {
        database.run(sql).await;
    }
    let named = ["ts_audit_chain row 1".to_owned(), "altered".to_owned()];
    expect_named(&database, &named);
}
