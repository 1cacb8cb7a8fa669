//! Looking for damage: what is found is told once, and holds up nobody.

use serde_json::{Value, json};
use token_server::foundation::clock::{EpochMs, Ms};
use token_server::foundation::database::{Database, DbError};
use token_server::foundation::ids::{KeyName, RealmId, Version};
use token_server::realm::failure::Failure;
use token_server::token::{results, store};

use super::{HARMS, Harm, Stored, detail, look, number, params, register, register_realm};
use super::{renewed, run, scene, server, server_with};
use crate::kit::{Answer, Provider, Server, TestDatabase, on_every_database};

on_every_database! {
    a_damaged_secret_is_listed_with_its_state_and_holds_up_no_other,
    a_webhook_is_told_once_of_what_is_damaged,
    the_server_looks_by_itself,
    a_paused_secret_is_left_alone,
    what_changed_meanwhile_is_not_overwritten,
}

async fn a_damaged_secret_is_listed_with_its_state_and_holds_up_no_other(database: TestDatabase) {
    let (provider, server) = (Provider::start().await, server(&database).await);
    register_realm(&server, &provider, json!({})).await;
    let keys: Vec<String> = (0..24).map(|number| format!("k{number}")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    register(&server, &keys).await;
    let other = |table, column| Stored::of_key(table, column, "k23");
    let of = [
        ("ts_secret", "params"),
        ("ts_token", "token"),
        ("ts_token", "extra"),
    ];
    // Every second one is damaged, each in another way.
    for (index, key) in keys.iter().enumerate().take(22).step_by(2) {
        let (table, column) = of[index / 2 % of.len()];
        let damaged = Stored::of_key(table, column, key);
        let harm = HARMS[index / 2 % HARMS.len()];
        damaged.harm(&database, harm, &other(table, column)).await;
    }
    run(&database, "UPDATE ts_token SET renew_at = 0").await;
    server.app().wake.notify_one();
    for (index, key) in keys.iter().enumerate() {
        let params = index % 2 == 0 && index < 22 && index / 2 % of.len() == 0;
        if params {
            let secret = server.client.state("r", key, "needs_attention").await;
            assert_eq!(secret["generation"], 1);
        } else {
            let secret = renewed(&server, key, 2).await;
            assert_eq!(secret["generation"], 2, "{key}");
        }
    }
    server.settled().await;
    let all = server.client.list("/api/secret?realm=r").await;
    assert_eq!(all.len(), 24);
    let waiting = server
        .client
        .list("/api/secret?state=needs_attention")
        .await;
    assert_eq!(waiting.len(), 4);
    assert!(waiting.iter().all(|secret| secret["params"].is_null()));
    let found = look(&server).await;
    assert_eq!((found.secrets, found.damaged_values), (24, 4));
    assert_eq!((found.need_attention, found.made_due), (0, 0));
}

async fn a_webhook_is_told_once_of_what_is_damaged(database: TestDatabase) {
    let (provider, receiver) = (Provider::start().await, Provider::start().await);
    receiver.answer_with(Answer::status(204));
    let server = server_with(
        &database,
        vec![
            ("TOKEN_SERVER__WEBHOOK__URL", receiver.url("/hook")),
            (
                "TOKEN_SERVER__WEBHOOK__SECRET",
                "whsec_YSBrZXkgb2YgdGhlIHRlc3RzLCB0aGlydHktdHdvIGI=".to_owned(),
            ),
        ],
    )
    .await;
    register_realm(&server, &provider, json!({})).await;
    register(&server, &["k", "other"]).await;
    params("k")
        .harm(&database, Harm::Ciphertext, &params("other"))
        .await;
    for _ in 0..3 {
        look(&server).await;
    }
    let heard = async |count: usize| -> Vec<Value> {
        receiver.wait_for_requests(count).await;
        let requests = receiver.requests();
        requests
            .iter()
            .map(|request| serde_json::from_str(&request.body).expect("JSON"))
            .collect()
    };
    let attention = heard(1).await.remove(0);
    assert_eq!(attention["type"], "token.needs_attention");
    let data = &attention["data"];
    assert_eq!(
        (&data["key"], &data["class"]),
        (&json!("k"), &json!("internal"))
    );
    assert!(data["next_attempt_at"].is_string(), "{data}");
    server.client.save_secret("r", "k").await;
    let all = heard(2).await;
    assert_eq!(all[1]["type"], "token.recovered");
    assert_eq!(all[1]["data"]["generation"], 2);
    assert_eq!(all.len(), 2);
}

async fn the_server_looks_by_itself(database: TestDatabase) {
    let provider = Provider::start().await;
    let (server, clock) = Server::on_manual_clock(&database).await;
    register_realm(&server, &provider, json!({})).await;
    register(&server, &["k", "other"]).await;
    params("k")
        .harm(&database, Harm::Tag, &params("other"))
        .await;
    // As often as the defaults say, and before the token is due.
    clock.advance(Ms::from_secs(600));
    let secret = server.client.state("r", "k", "needs_attention").await;
    assert!(detail(&secret).contains("damaged"), "{secret}");
    assert_eq!(provider.request_count(), 2);
}

async fn a_paused_secret_is_left_alone(database: TestDatabase) {
    let (_provider, server) = scene(&database).await;
    let client = &server.client;
    client
        .post("/api/secret/r/k/pause", &json!({}))
        .await
        .expect(200);
    params("k")
        .harm(&database, Harm::Tag, &params("other"))
        .await;
    let found = look(&server).await;
    assert_eq!((found.damaged_values, found.need_attention), (1, 0));
    assert_eq!(client.secret("r", "k").await["state"], "paused");
    client
        .post("/api/secret/r/k/resume", &json!({}))
        .await
        .expect(200);
    let secret = client.state("r", "k", "needs_attention").await;
    assert!(detail(&secret).contains("save the secret's parameters again"));
}

async fn what_changed_meanwhile_is_not_overwritten(database: TestDatabase) {
    let (_provider, server) = scene(&database).await;
    let handle: &Database = &server.app().database;
    let (realm, key) = (RealmId::new("r"), KeyName::new("k"));
    let (realm, key) = (realm.expect("a name"), key.expect("a name"));
    let found = store::find(handle.reader(), &realm, &key).await;
    let seen = found.expect("it can be read").expect("there is one").seen();
    let failure = Failure::internal("damaged");
    let now = EpochMs(1);
    let note = async |of: (Version, Version)| {
        let noted = handle
            .write(|transaction, _| {
                let (seen, failure) = (&seen, &failure);
                Box::pin(async move {
                    let noted = results::store_attention(transaction, seen, of, failure, None, now);
                    Ok::<_, DbError>(noted.await?)
                })
            })
            .await;
        noted.expect("the database takes it")
    };
    // Of another version of the secret, or of the realm.
    assert!(!note((Version(2), Version(1))).await);
    assert!(!note((Version(1), Version(2))).await);
    // Held by somebody.
    run(&database, "UPDATE ts_token SET lease_owner = 'another'").await;
    assert!(!note((Version(1), Version(1))).await);
    let due = handle
        .write_alone(|writer| store::make_damaged_due(writer, &seen, now))
        .await;
    assert!(!due.expect("the database takes it"));
    // Attempted since.
    run(
        &database,
        "UPDATE ts_token SET lease_owner = NULL, fence = fence + 1",
    )
    .await;
    assert!(!note((Version(1), Version(1))).await);
    let due = handle
        .write_alone(|writer| store::make_damaged_due(writer, &seen, now))
        .await;
    assert!(!due.expect("the database takes it"));
    assert_eq!(number(&database, "failures", "k").await, 0);
    run(&database, "UPDATE ts_token SET fence = fence - 1").await;
    assert!(note((Version(1), Version(1))).await);
    assert_eq!(number(&database, "failures", "k").await, 1);
}
