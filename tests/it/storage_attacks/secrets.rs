//! Parameters of a secret that are not those of its version send nothing.

use serde_json::json;

use super::{Scene, due, earlier_check};
use crate::damage::look;
use crate::kit::{Server, TestDatabase, on_every_database};

on_every_database! {
    older_parameters_put_back_under_a_newer_version_send_nothing,
    secrets_of_an_earlier_version_are_authenticated_once_and_not_again,
    an_earlier_version_opens_the_check_value_of_a_sealing_key_as_before,
}

/// What the version before wrote into a check value.
const CHECK: &[u8] = b"token-server, rows and tokens are authenticated";

async fn save(server: &Server, secret: &str) {
    let body = json!({"realm": "r", "key": "k", "key_1": "the-app", "key_2": secret});
    server.client.post("/api/secret", &body).await.expect(200);
}

async fn older_parameters_put_back_under_a_newer_version_send_nothing(database: TestDatabase) {
    let scene = Scene::set(&database).await;
    let of = async |what: &str| {
        let query = format!("SELECT {what} FROM ts_secret WHERE realm_id = 'r'");
        database.number(&query).await
    };
    let (row, mut other_generation) = (of("id").await, 1);
    for (number, change) in [
        // What was read of another version, and what was never there.
        "params = (SELECT params FROM older)",
        "params = (SELECT params FROM older), mac = (SELECT mac FROM older)",
        "params = (SELECT params FROM older), mac = NULL",
        "version = version + 1",
        "version = version - 1",
        "mac = (SELECT mac FROM older)",
        "mac = NULL",
    ]
    .into_iter()
    .enumerate()
    {
        for sql in [
            "DROP TABLE IF EXISTS older",
            "CREATE TABLE older AS SELECT * FROM ts_secret WHERE realm_id = 'r'",
        ] {
            database.run(sql).await;
        }
        let client = &scene.servers[0].client;
        let generation = client.secret("r", "k").await["generation"].as_i64();
        let generation = generation.expect("a number");
        save(&scene.servers[0], &format!("newer-{number}")).await;
        client.generation("r", "k", generation + 1).await;
        scene.servers[0].settled().await;
        let (sent, stored) = (scene.provider.request_count(), of("version").await);
        let attack = format!("UPDATE ts_secret SET {change} WHERE realm_id = 'r'");
        database.run(&attack).await;
        for server in &scene.servers {
            due(&database, server).await;
            other_generation += 1;
            server
                .client
                .generation("other", "k", other_generation)
                .await;
            server.settled().await;
            look(server).await;
            let secret = server.client.state("r", "k", "needs_attention").await;
            let detail = secret["last_error"]["detail"].to_string();
            let named = format!("ts_secret.mac of row {row} cannot be opened any more");
            assert!(detail.contains(&named), "{change}: {detail}");
            assert_eq!(secret["params"], json!(null), "{change}");
            let metrics = server.client.get("/metrics").await.expect(200).text;
            let counted = "damaged_values_total{table=\"ts_secret\",column=\"mac\"}";
            assert!(metrics.contains(counted), "{metrics}");
            // What is stored is served for as long as it lives.
            server.client.token("r", "k").await.expect(200);
        }
        assert_eq!(scene.provider.request_count(), sent + 2, "{change}");
        // Saved as a whole it is used again, as a version that was not there before.
        let over = of("version").await;
        save(&scene.servers[1], &format!("again-{number}")).await;
        client.generation("r", "k", generation + 2).await;
        scene.servers[1].settled().await;
        assert_eq!(of("version").await, over + 1, "{change}, from {stored}");
    }
}

async fn secrets_of_an_earlier_version_are_authenticated_once_and_not_again(
    database: TestDatabase,
) {
    let scene = Scene::set(&database).await;
    for server in scene.servers {
        server.stop().await;
    }
    // As the version before this left it.
    database.run("UPDATE ts_secret SET mac = NULL").await;
    let check = earlier_check(CHECK);
    let before = format!("UPDATE ts_sealing_key SET check_value = {check}");
    database.run(&before).await;
    let server = Server::start(&database).await;
    let without = "SELECT COUNT(*) FROM ts_secret WHERE mac IS NULL";
    assert_eq!(database.number(without).await, 0);
    due(&database, &server).await;
    for realm in ["r", "other"] {
        server.client.generation(realm, "k", 2).await;
    }
    server.stop().await;
    database
        .run("UPDATE ts_secret SET mac = NULL WHERE realm_id = 'r'")
        .await;
    let server = Server::start(&database).await;
    due(&database, &server).await;
    server.client.generation("other", "k", 3).await;
    server.settled().await;
    let secret = server.client.state("r", "k", "needs_attention").await;
    assert_eq!(secret["generation"], 2);
    let detail = secret["last_error"]["detail"].to_string();
    assert!(detail.contains("ts_secret.mac of row"), "{detail}");
}

async fn an_earlier_version_opens_the_check_value_of_a_sealing_key_as_before(
    database: TestDatabase,
) {
    let server = Server::start(&database).await;
    let app = server.app();
    let value = crate::damage::Stored {
        table: "ts_sealing_key",
        column: "check_value",
        row: "key_id = 'test'".to_owned(),
    };
    let place = token_server::foundation::sealing::SealedPlace {
        table: "ts_sealing_key",
        row: "test",
        column: "check_value",
    };
    let sealed = token_server::foundation::sealing::Sealed(value.read(&database).await);
    let opened = app.ring.open(&place, &sealed).expect("it opens");
    assert_eq!(opened.as_slice(), CHECK);
}
