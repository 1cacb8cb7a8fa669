//! The log of a start says how many rows of an earlier version it has authenticated.

use serde_json::{Value, json};

use super::{Scene, earlier_check};
use crate::kit::process::ServerProcess;
use crate::kit::{TestDatabase, on_every_database, strict_json};

on_every_database! {
    a_start_says_how_many_rows_of_an_earlier_version_it_has_authenticated,
}

/// What a start says of rows of an earlier version; at most once.
fn said_at_start(database: &TestDatabase) -> Option<Value> {
    let server = ServerProcess::start(database, &[]);
    let lines = server.before_it_served.iter();
    let lines = lines.map(|line| strict_json::read(line));
    let mut said = lines
        .filter(|line| line["message"] == "rows that an earlier version stored were authenticated");
    let counts = said.next().map(|line| {
        assert_eq!(line["level"], "INFO", "{line}");
        json!([
            line["realms"],
            line["api_keys"],
            line["tokens"],
            line["secrets"]
        ])
    });
    assert!(said.next().is_none(), "it is said twice");
    server.terminate();
    assert_eq!(server.exit_code(), Some(0));
    counts
}

async fn a_start_says_how_many_rows_of_an_earlier_version_it_has_authenticated(
    database: TestDatabase,
) {
    let scene = Scene::set(&database).await;
    let client = &scene.servers[0].client;
    for name in ["one", "another"] {
        let key = json!({"name": name, "scopes": ["metrics"]});
        client.post("/api/api-key", &key).await.expect(200);
    }
    client.save_secret("other", "second").await;
    client.generation("other", "second", 1).await;
    for server in scene.servers {
        server.stop().await;
    }
    assert_eq!(said_at_start(&database), None);
    for (check, tables, counts) in [
        // Before rows were authenticated, and before tokens were: two realms, the administrator's key
        // and two others, three secrets.
        (
            "token-server",
            &["ts_realm", "ts_api_key", "ts_token", "ts_secret"][..],
            json!([2, 3, 3, 3]),
        ),
        (
            "token-server, rows are authenticated",
            &["ts_token", "ts_secret"],
            json!([0, 0, 3, 3]),
        ),
    ] {
        for table in tables {
            database
                .run(&format!("UPDATE {table} SET mac = NULL"))
                .await;
        }
        let check = earlier_check(check.as_bytes());
        let earlier = format!("UPDATE ts_sealing_key SET check_value = {check}");
        database.run(&earlier).await;
        assert_eq!(said_at_start(&database), Some(counts));
        assert_eq!(said_at_start(&database), None);
    }
}
