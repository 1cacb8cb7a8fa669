//! Issuers where they are stored: other replicas follow a change, whoever writes to the database
//! lets nobody in, and a rotated sealing key leaves them good.

use serde_json::json;
use token_server::foundation::clock::Ms;
use token_server::registry::Actor;

use super::Scene;
use crate::kit::server::{Client, Options, SEALING_KEYS};
use crate::kit::{Server, TestDatabase, on_every_database};

on_every_database! {
    another_replica_refuses_the_callers_of_a_deleted_issuer_once_it_followed,
    an_issuer_that_was_changed_or_inserted_in_the_database_lets_nobody_in,
    without_the_database_a_token_is_trusted_for_a_minute_and_then_nobody_is,
    a_rotated_sealing_key_authenticates_issuers_anew,
}

async fn another_replica_refuses_the_callers_of_a_deleted_issuer_once_it_followed(
    database: TestDatabase,
) {
    let scene = Scene::set(&database).await;
    let directory = database.directory.path().join("b").display().to_string();
    let options = Options {
        clock: Some(scene.clock.clone()),
        ..Options::default().with(&[("TOKEN_SERVER__DATA_DIR", &directory)])
    };
    let other = Server::start_with(&database, options).await;
    scene.register_cluster().await;
    other.follows().await;
    let token = scene.token("prod", "checkout");
    let (here, there) = (scene.caller(&token), other.client.with_key(&token));
    for caller in [&here, &there] {
        caller.token("prod-mail", "k").await.expect(200);
        let served = caller.token("prod-mail", "k").await.expect(200);
        assert_eq!(served.json()["source"], "cache");
    }
    let mut changed = scene.cluster();
    changed["rules"][0]["realms"] = json!(["staging-*"]);
    scene
        .admin()
        .put("/api/issuer/k8s", &changed)
        .await
        .expect(200);
    other.follows().await;
    for caller in [&here, &there] {
        let denied = caller.token("prod-mail", "k").await;
        denied.expect_problem(403, "forbidden");
        caller.token("staging-mail", "k").await.expect(200);
    }
    scene.admin().delete("/api/issuer/k8s").await.expect(200);
    other.follows().await;
    for caller in [&here, &there] {
        let refused = caller.token("staging-mail", "k").await;
        refused.expect_problem(401, "unauthorized");
    }
}

async fn refused(caller: &Client) {
    let refused = caller.token("prod-mail", "k").await;
    refused.expect_problem(401, "unauthorized");
}

async fn an_issuer_that_was_changed_or_inserted_in_the_database_lets_nobody_in(
    database: TestDatabase,
) {
    let scene = Scene::set(&database).await;
    scene.register_cluster().await;
    let token = scene.token("prod", "checkout");
    let caller = scene.caller(&token);
    caller.token("prod-mail", "k").await.expect(200);
    database
        .run("CREATE TABLE good AS SELECT * FROM ts_issuer")
        .await;
    for (count, attack) in [
        "config = REPLACE(config, 'prod:checkout', 'prod:thief')",
        "config = REPLACE(config, '\"token:read\"', '\"admin\"')",
        "config = REPLACE(config, '/127.', '/thief.127.')",
        "version = version + 1",
        "name = 'other'",
        "mac = NULL",
    ]
    .into_iter()
    .enumerate()
    {
        database
            .run(&format!("UPDATE ts_issuer SET {attack}"))
            .await;
        // Nothing tells of it: a minute later it is seen.
        scene.clock.advance(Ms::from_secs(61));
        scene.server.follows().await;
        let thief = scene.caller(&scene.token("prod", "thief"));
        let others = [&thief, &scene.caller(&scene.token("ops", "a"))];
        for caller in others {
            refused(caller).await;
        }
        refused(&caller).await;
        let metrics = scene.admin().get("/metrics").await.expect(200).text;
        let counted = "token_server_damaged_values_total{table=\"ts_issuer\",column=\"mac\"}";
        let counted = format!("{counted} {}\n", count + 1);
        assert!(metrics.contains(&counted), "{attack}: {metrics}");
        let listed = scene.admin().list("/api/issuer").await;
        let why = listed[0]["unreadable"].as_str().expect("a reason");
        let named = if attack.starts_with("name") {
            "other"
        } else {
            "k8s"
        };
        assert!(
            why.contains(&format!("ts_issuer.mac of row {named}")),
            "{why}"
        );
        assert_eq!(listed[0]["rules"], json!(null));
        database.run("DELETE FROM ts_issuer").await;
        database
            .run("INSERT INTO ts_issuer SELECT * FROM good")
            .await;
        scene.clock.advance(Ms::from_secs(61));
        scene.server.follows().await;
        caller.token("prod-mail", "k").await.expect(200);
    }
    // An inserted one, with a code of another row, beside the good one.
    database
        .run(
            "INSERT INTO ts_issuer SELECT 'inserted', 'https://thief.example', config, version, \
             created_at, updated_at, mac FROM good",
        )
        .await;
    scene.clock.advance(Ms::from_secs(61));
    scene.server.follows().await;
    let mut claims = scene.account("prod", "checkout");
    claims["iss"] = json!("https://thief.example");
    refused(&scene.caller(&scene.key.token(&claims))).await;
    caller.token("prod-mail", "k").await.expect(200);
    // Saved again it is good, whatever was there before.
    database
        .run("DELETE FROM ts_issuer WHERE name = 'inserted'")
        .await;
    database.run("UPDATE ts_issuer SET mac = NULL").await;
    scene.register_cluster().await;
    caller.token("prod-mail", "k").await.expect(200);
}

async fn without_the_database_a_token_is_trusted_for_a_minute_and_then_nobody_is(
    database: TestDatabase,
) {
    let scene = Scene::set(&database).await;
    scene.register_cluster().await;
    scene.server.follows().await;
    let known = scene.caller(&scene.token("prod", "checkout"));
    known.token("prod-mail", "k").await.expect(200);
    let mut claims = scene.account("prod", "checkout");
    claims["jti"] = json!("another");
    let fresh = scene.caller(&scene.key.token(&claims));
    scene.server.follows().await;
    for table in ["ts_issuer", "ts_change"] {
        let away = format!("ALTER TABLE {table} RENAME TO {table}_away");
        database.run(&away).await;
    }
    known.token("prod-mail", "k").await.expect(200);
    scene.clock.advance(Ms(59_900));
    known.token("prod-mail", "k").await.expect(200);
    // Nobody need ask for the first time either.
    fresh.token("prod-mail", "k").await.expect(200);
    scene.clock.advance(Ms(100));
    for caller in [&known, &fresh] {
        let refused = caller.token("prod-mail", "k").await;
        refused.expect_problem(503, "database_unavailable");
    }
    for table in ["ts_issuer", "ts_change"] {
        let back = format!("ALTER TABLE {table}_away RENAME TO {table}");
        database.run(&back).await;
    }
    known.token("prod-mail", "k").await.expect(200);
}

async fn a_rotated_sealing_key_authenticates_issuers_anew(database: TestDatabase) {
    const KEYS: &str = "TOKEN_SERVER__SEALING__KEYS";
    let other = SEALING_KEYS
        .replace("AQE", "AgI")
        .replace("test:", "other:");
    let both = format!("{other},{SEALING_KEYS}");
    let server = Server::start(&database).await;
    let registration = json!({
        "issuer": "https://issuer.example", "audiences": ["a"],
        "rules": [{"when": "claims.sub == 'a'", "scopes": ["token:read"]}],
    });
    let saved = server.client.put("/api/issuer/one", &registration).await;
    saved.expect(200);
    server.stop().await;
    let server = Server::start_with(&database, Options::default().with(&[(KEYS, &both)])).await;
    let by = Actor::command_line();
    let rotated = server
        .app()
        .registry
        .rotate_sealing_key("other", &by, |_| ())
        .await;
    let rotated = rotated.expect("all that run have the key");
    let left = rotated.uses.iter().find(|key| key.key_id == "test");
    assert_eq!(left.map(|key| key.values), Some(0), "{rotated:?}");
    server.stop().await;
    let server = Server::start_with(&database, Options::default().with(&[(KEYS, &other)])).await;
    let shown = server.client.get("/api/issuer/one").await.expect(200);
    let shown = &shown.json()["data"];
    assert_eq!(shown["rules"][0]["when"], "claims.sub == 'a'", "{shown}");
}
