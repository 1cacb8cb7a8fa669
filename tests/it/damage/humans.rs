//! What nobody issues again needs a human, who is told before it is needed, and once.

use serde_json::{Value, json};

use super::{HARMS, Harm, Stored, detail, everything_of, look, make_due, number, params};
use super::{register_realm, renewed, run, scene, server};
use crate::kit::{Provider, Server, TestDatabase, eventually, on_every_database};

on_every_database! {
    damaged_parameters_need_a_human_before_the_token_is_due_and_heal_when_they_are_saved,
    damaged_parameters_are_replaced_as_a_whole_or_not_at_all,
    declared_parameters_that_are_required_suffice,
    an_attempt_on_damaged_parameters_says_what_to_do_and_the_token_is_served,
    parameters_sealed_with_a_registered_key_are_left_to_others,
    a_damaged_fixed_token_needs_a_human_and_heals_when_it_is_stored_again,
}

async fn damaged_parameters_need_a_human_before_the_token_is_due_and_heal_when_they_are_saved(
    database: TestDatabase,
) {
    let (provider, server) = scene(&database).await;
    let client = &server.client;
    let untouched = everything_of(&database, "other").await;
    let row = database
        .number("SELECT id FROM ts_secret WHERE key_name = 'k'")
        .await;
    for (round, harm) in (1..).zip(HARMS) {
        let (asked, renew_at) = (
            provider.request_count(),
            number(&database, "renew_at", "k").await,
        );
        params("k").harm(&database, harm, &params("other")).await;
        let found = look(&server).await;
        assert_eq!((found.secrets, found.damaged_values), (2, 1), "{harm:?}");
        assert_eq!((found.need_attention, found.made_due), (1, 0), "{harm:?}");
        let secret = client.secret("r", "k").await;
        assert_eq!(secret["state"], "needs_attention", "{harm:?}");
        assert_eq!(secret["last_error"]["class"], "internal");
        assert_eq!(secret["params"], json!(null));
        let told = detail(&secret);
        assert!(
            told.contains(&format!("ts_secret.params of row {row} ")),
            "{told}"
        );
        assert!(
            told.contains("save the secret's parameters again"),
            "{told}"
        );
        // Nothing was asked, and the token keeps its date and is served.
        assert_eq!(provider.request_count(), asked);
        assert_eq!(number(&database, "renew_at", "k").await, renew_at);
        let read = client.token("r", "k").await.expect(200).json();
        assert_eq!(
            (&read["generation"], &read["stale"]),
            (&json!(round), &json!(null))
        );
        // It is known.
        let again = look(&server).await;
        assert_eq!(
            (again.damaged_values, again.need_attention),
            (1, 0),
            "{harm:?}"
        );
        assert_eq!(client.secret("r", "k").await["last_error"]["failures"], 1);
        client.save_secret("r", "k").await;
        renewed_after_save(&server, round + 1).await;
    }
    assert_eq!(everything_of(&database, "other").await, untouched);
}

async fn renewed_after_save(server: &Server, generation: i64) {
    let secret = renewed(server, "k", generation).await;
    assert_eq!(secret["state"], "active");
    assert!(secret["params"].is_object(), "{secret}");
    server.settled().await;
    assert!(look(server).await.is_empty());
}

async fn damaged_parameters_are_replaced_as_a_whole_or_not_at_all(database: TestDatabase) {
    let (_provider, server) = scene(&database).await;
    let client = &server.client;
    params("k")
        .harm(&database, Harm::Nonce, &params("other"))
        .await;
    let damaged = params("k").read(&database).await;
    for part in [
        json!({"realm": "r", "key": "k"}),
        json!({"realm": "r", "key": "k", "key_1": "the-app"}),
        json!({"realm": "r", "key": "k", "key_2": "the-secret", "key_3": "x"}),
    ] {
        let refused = client.post("/api/secret", &part).await;
        let refused = refused.expect_problem(422, "invalid_document");
        let faults = refused["errors"].as_array().expect("faults");
        assert_eq!(faults[0]["pointer"], "/params");
        let why = faults[0]["detail"].as_str().expect("a text");
        assert!(
            why.contains("damaged") && why.contains("send all of them"),
            "{why}"
        );
        assert!(faults.len() > 1, "it says which are missing: {refused}");
    }
    assert_eq!(params("k").read(&database).await, damaged);
    // What is shown of the requests would be made of them.
    let preview = client.get("/api/realm/r/preview?key=k").await;
    let preview = preview.expect_problem(409, "params_damaged");
    assert!(
        preview["detail"]
            .as_str()
            .is_some_and(|d| d.contains("save them again"))
    );
    // One that has no value any more is sent as null.
    let cleared = json!({"realm": "r", "key": "k", "key_1": "the-app", "key_2": null});
    client.post("/api/secret", &cleared).await.expect(200);
    let secret = client.secret("r", "k").await;
    assert_eq!(secret["params"], json!({"key_1": "********"}));
}

async fn declared_parameters_that_are_required_suffice(database: TestDatabase) {
    let (provider, server) = (Provider::start().await, server(&database).await);
    let declared = json!({
        "params": {
            "app": {"title": "App"},
            "site": {"title": "Site", "optional": true},
        },
        "arguments": [
            {"name": "app", "place": "url", "value": "$app"},
            {"name": "site", "place": "url", "value": "$site", "optional": true},
        ],
    });
    register_realm(&server, &provider, declared).await;
    let secret = |params: Value| json!({"realm": "r", "key": "k", "params": params});
    let client = &server.client;
    let both = secret(json!({"app": "a", "site": "s"}));
    client.post("/api/secret", &both).await.expect(200);
    client.generation("r", "k", 1).await;
    server.settled().await;
    let bytes = params("k").read(&database).await;
    params("k")
        .write(&database, Harm::Empty.done_to(bytes, Vec::new()))
        .await;
    let partial = client
        .post("/api/secret", &secret(json!({"site": "s"})))
        .await;
    let partial = partial.expect_problem(422, "invalid_document");
    assert_eq!(partial["errors"][1]["pointer"], "/params/app");
    client
        .post("/api/secret", &secret(json!({"app": "b"})))
        .await
        .expect(200);
    renewed(&server, "k", 2).await;
    let sent = &provider.requests()[1].query;
    assert_eq!(*sent, [("app".to_owned(), "b".to_owned())]);
}

async fn an_attempt_on_damaged_parameters_says_what_to_do_and_the_token_is_served(
    database: TestDatabase,
) {
    let (provider, server) = scene(&database).await;
    let (client, flush) = (&server.client, json!({"realm": "r", "key": "k"}));
    let token = client.token("r", "k").await.expect(200).json()["token"].clone();
    params("k")
        .harm(&database, Harm::Truncated, &params("other"))
        .await;
    // Flushed: nothing was sent.
    let flushed = client
        .post("/api/token/flush", &flush)
        .await
        .expect(200)
        .json();
    assert_eq!(
        (&flushed["flushed"], &flushed["token"]),
        (&json!(false), &token)
    );
    let why = flushed["flush_denied"].as_str().expect("a text");
    assert!(
        why.contains("what is stored for the secret is damaged"),
        "{why}"
    );
    assert!(why.contains("save the secret's parameters again"), "{why}");
    let attempted = client.state("r", "k", "needs_attention").await;
    // The look finds nothing new.
    assert_eq!(look(&server).await.need_attention, 0);
    // Due.
    make_due(&database, &server, "k").await;
    eventually("another attempt", async || {
        let secret = client.secret("r", "k").await;
        assert_eq!(detail(&secret), detail(&attempted));
        (secret["last_error"]["failures"] == 2).then_some(())
    })
    .await;
    assert_eq!(
        client.token("r", "k").await.expect(200).json()["token"],
        token
    );
    assert_eq!(provider.request_count(), 2);
    // Without a token, the reader is told.
    run(
        &database,
        "UPDATE ts_token SET token = NULL WHERE key_name = 'k'",
    )
    .await;
    let read = client
        .token("r", "k")
        .await
        .expect_problem(503, "token_unavailable");
    assert_eq!(read["class"], "internal");
    let told = read["detail"].as_str().expect("a text");
    assert!(
        told.contains("save the secret's parameters again"),
        "{told}"
    );
}

async fn parameters_sealed_with_a_registered_key_are_left_to_others(database: TestDatabase) {
    let (provider, server) = scene(&database).await;
    let client = &server.client;
    // Another server has registered the key whose id the damage makes of this one's.
    run(
        &database,
        "INSERT INTO ts_sealing_key (key_id, check_value, created_at) \
         SELECT 'uest', check_value, created_at FROM ts_sealing_key",
    )
    .await;
    let untouched = params("k").read(&database).await;
    for (table, column) in [("ts_secret", "params"), ("ts_token", "token")] {
        let (stored, other) = (
            Stored::of_key(table, column, "k"),
            Stored::of_key(table, column, "other"),
        );
        stored.harm(&database, Harm::KeyId, &other).await;
    }
    let found = look(&server).await;
    assert_eq!((found.damaged_values, found.unknown_keys), (0, 2));
    assert_eq!((found.need_attention, found.made_due), (0, 0));
    let secret = client.secret("r", "k").await;
    assert_eq!(
        (&secret["state"], &secret["params"]),
        (&json!("active"), &json!(null))
    );
    client
        .token("r", "k")
        .await
        .expect_problem(503, "unreadable_here");
    let save = json!({"realm": "r", "key": "k", "key_1": "a", "key_2": "b"});
    let refused = client.post("/api/secret", &save).await;
    refused.expect_problem(409, "unreadable_here");
    make_due(&database, &server, "k").await;
    eventually("it was claimed and given back", async || {
        let given_back = "lease_owner IS NULL AND fence > 1";
        (number(&database, given_back, "k").await == 1).then_some(())
    })
    .await;
    assert_eq!(number(&database, "failures", "k").await, 0);
    assert_eq!(provider.request_count(), 2);
    // It stays due for whoever has the key, and says what it waits for; so do log and job.
    assert_eq!(number(&database, "renew_at", "k").await, 0);
    let secret = client.secret("r", "k").await;
    let waits = secret["waiting"].as_str().expect("a text");
    assert!(waits.contains("key id \"uest\""), "{waits}");
    let ended = crate::cli::run(&database, "renew").await;
    assert_eq!(ended.code, Some(1), "{}", ended.stdout);
    assert!(
        ended.stdout.contains(r#"key id \"uest\""#),
        "{}",
        ended.stdout
    );
    assert!(
        ended.stderr.contains("put that key back into sealing.keys"),
        "{}",
        ended.stderr
    );
    params("k").write(&database, untouched).await;
    assert_eq!(super::counted(&server, "ts_token", "token").await, None);
}

async fn a_damaged_fixed_token_needs_a_human_and_heals_when_it_is_stored_again(
    database: TestDatabase,
) {
    let server = server(&database).await;
    let client = &server.client;
    client
        .post("/api/realm", &json!({"id": "r"}))
        .await
        .expect(200);
    let put = async |key: &str, token: &str| {
        let body = json!({"realm": "r", "key": key, "token": token});
        client.put("/api/token", &body).await.expect(200);
    };
    for key in ["k", "other"] {
        put(key, "fixed").await;
    }
    let listed = async |state: &str| {
        client
            .list(&format!("/api/secret?state={state}"))
            .await
            .len()
    };
    for (column, table) in [("token", "ts_token"), ("params", "ts_secret")] {
        let damaged = Stored::of_key(table, column, "k");
        for harm in [Harm::KeyId, Harm::Tag, Harm::Swapped] {
            damaged
                .harm(&database, harm, &Stored::of_key(table, column, "other"))
                .await;
            let read = client.token("r", "k").await;
            if column == "token" {
                let read = read.expect_problem(417, "fixed_token_missing");
                let why = read["detail"].as_str().expect("a text");
                assert!(
                    why.contains("damaged") && why.contains("PUT /api/token"),
                    "{why}"
                );
            } else {
                read.expect(200);
            }
            assert_eq!(client.secret("r", "k").await["state"], "fixed");
            assert_eq!(look(&server).await.need_attention, 1);
            assert_eq!(look(&server).await.need_attention, 0);
            let secret = client.secret("r", "k").await;
            assert_eq!(secret["state"], "needs_attention");
            assert!(
                detail(&secret).contains(&format!("{table}.{column}")),
                "{secret}"
            );
            assert_eq!(
                (listed("needs_attention").await, listed("fixed").await),
                (1, 1)
            );
            put("k", "again").await;
            let secret = client.secret("r", "k").await;
            assert_eq!(secret["state"], "fixed");
            assert!(secret["last_error"].is_null() && secret["renew_at"].is_null());
            assert_eq!(
                (listed("needs_attention").await, listed("fixed").await),
                (0, 2)
            );
            assert_eq!(
                client.token("r", "k").await.expect(200).json()["token"],
                "again"
            );
            assert!(look(&server).await.is_empty());
        }
    }
    assert_eq!(
        client.token("r", "other").await.expect(200).json()["token"],
        "fixed"
    );
}
