//! What is not taken from another token server's database.

use super::*;

on_every_database! {
    keys_that_do_not_open_the_source_are_refused,
    what_no_server_wrote_is_refused_by_table_and_row,
    a_schema_of_another_version_is_refused,
}

async fn keys_that_do_not_open_the_source_are_refused(database: TestDatabase) {
    let Filled { source, .. } = filled_source(&database).await;
    migrated(&database);
    let said = refused(&database, &source, &format!("another:{OTHER_KEY}"));
    assert!(said.contains("\"theirs\" ("), "{said}");
    let said = refused(&database, &source, &format!("theirs:{OTHER_KEY}"));
    assert!(said.contains("\"theirs\" is not the one"), "{said}");
    assert!(!said.contains(OTHER_KEY), "{said}");
    let said = refused(&database, &source, "");
    assert!(said.contains("TOKEN_SERVER_IMPORT_KEYS"), "{said}");
    assert_eq!(database.number("SELECT COUNT(*) FROM ts_realm").await, 0);
    drop(ServerProcess::start(&database, &[]));
    let said = refused(&database, &database, KEYS);
    assert!(said.contains("this server's own database"), "{said}");
}

async fn what_no_server_wrote_is_refused_by_table_and_row(database: TestDatabase) {
    let Filled {
        provider: _provider,
        source,
        old,
        ..
    } = filled_source(&database).await;
    drop(old);
    let id = source
        .number("SELECT secret_id FROM ts_token WHERE key_name = 'a'")
        .await;
    for changed in [
        "UPDATE ts_token SET expires_at = expires_at + 1 WHERE key_name = 'a'",
        "UPDATE ts_realm SET logic_code = 'http://127.0.0.1:1/mine' WHERE id = 'broken'",
        "UPDATE ts_api_key SET scopes = 'admin' WHERE name = 'shop'",
        "UPDATE ts_issuer SET name = 'mine'",
        "UPDATE ts_ticket SET app_id = 'wx2'",
    ] {
        source.run(changed).await;
    }
    migrated(&database);
    let report = import(&database, &source, &[], 1);
    let by_name = outcomes(&report);
    let why = |realm: &str, key: &str| {
        let row = &by_name[&(realm.to_owned(), key.to_owned())];
        assert_eq!(row["outcome"], "refused", "{row}");
        row["why"].as_str().expect("a reason").to_owned()
    };
    let token = why("r", "a");
    assert!(
        token.contains(&format!("ts_token.mac of row {id} ")),
        "{token}"
    );
    assert!(why("broken", "").contains("ts_realm.mac of row broken "));
    assert_eq!(why("broken", "c"), "its realm is refused");
    for kind in ["API_keys", "issuers", "tickets"] {
        assert_eq!(report[kind]["refused"], 1, "{report}");
    }
    assert_eq!(report["secrets"]["taken"], 4, "{report}");
    // What is refused is renewed there as before.
    let held = "SELECT COUNT(*) FROM ts_token WHERE lease_owner LIKE 'import%'";
    assert_eq!(source.number(held).await, 4);
}

async fn a_schema_of_another_version_is_refused(database: TestDatabase) {
    let source = source_of(&database).await;
    drop(there(&source));
    migrated(&database);
    source
        .run("INSERT INTO ts_migration (version, applied_at) VALUES ('m99', 0)")
        .await;
    let said = refused(&database, &source, KEYS);
    assert!(said.contains("is of a newer version"), "{said}");
    source
        .run("DELETE FROM ts_migration WHERE version = 'm99' OR version LIKE '%_000028_%'")
        .await;
    let steps = source.number("SELECT COUNT(*) FROM ts_migration").await;
    let said = refused(&database, &source, KEYS);
    assert!(said.contains("is of an older version"), "{said}");
    assert_eq!(
        source.number("SELECT COUNT(*) FROM ts_migration").await,
        steps
    );
}
