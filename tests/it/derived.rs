//! Tokens derived from tokens: the parent comes first, and a new one forces nothing.

use std::sync::Arc;

use serde_json::{Value, json};
use token_server::foundation::clock::{Clock, ManualClock, Ms, Timeline};

use crate::kit::{Answer, Provider, Server, TestDatabase, eventually, on_every_database};

on_every_database! {
    a_derived_token_waits_for_its_parent_and_is_fetched_as_soon_as_that_is_stored,
    a_new_token_of_the_parent_does_not_force_what_is_derived_from_it,
    a_read_of_a_derived_token_fetches_the_parent_first,
    a_parent_that_the_provider_refuses_is_replaced_and_not_repeated,
    a_parent_that_the_provider_refuses_again_and_again_needs_attention,
    a_parent_that_fails_is_not_asked_again_for_the_sake_of_its_children,
    a_fixed_token_can_be_a_parent,
    what_waits_says_for_what,
    a_cycle_of_parents_is_refused_whether_realms_or_secrets_make_it,
    extra_fields_of_the_parent_are_in_scope_and_are_served_with_its_token,
}

/// A parent realm `p` and a child realm `c`, each with a provider of its own.
struct Scene {
    server: Server,
    clock: Arc<ManualClock>,
    parent: Provider,
    child: Provider,
}

impl Scene {
    async fn set(database: &TestDatabase) -> Self {
        let (server, clock) = Server::on_manual_clock(database).await;
        let (parent, child) = (Provider::start().await, Provider::start().await);
        let client = &server.client;
        client
            .save_realm(
                "p",
                json!({
                    "url": parent.url("/token"), "method": "POST",
                    "arguments": [{"name": "force", "place": "body", "value": "${forced}"}],
                    "token_path": "access_token", "expires_in_path": "expires_in",
                    "extra": {"instance": "body.instance"},
                }),
            )
            .await;
        client.save_realm("c", child_realm(&child, "p")).await;
        Self {
            server,
            clock,
            parent,
            child,
        }
    }

    async fn save(&self, realm: &str, key: &str, params: Value) {
        let secret = json!({"realm": realm, "key": key, "params": params});
        self.server
            .client
            .post("/api/secret", &secret)
            .await
            .expect(200);
    }

    async fn both(&self) {
        self.save("p", "k", json!({})).await;
        self.server.client.generation("p", "k", 1).await;
        self.save("c", "k", json!({"of": "k"})).await;
        self.server.client.generation("c", "k", 1).await;
    }
}

fn child_realm(provider: &Provider, parent: &str) -> Value {
    json!({
        "params": {"of": {"title": "Key of the parent", "secret": false}},
        "url": provider.url("/ticket"), "method": "GET",
        "parent": {"realm": parent, "key": "$of"},
        "arguments": [
            {"name": "access_token", "place": "url", "value": "${parent.token}"},
            {"name": "instance", "place": "url", "value": "${parent.extra.instance}", "optional": true},
        ],
        "token_path": "access_token", "expires_in_path": "expires_in",
        "success": "body.errcode is undefined or body.errcode == 0",
        "error": {"code": "body.errcode", "classes": {"invalid_token": [40001]}},
    })
}

async fn a_derived_token_waits_for_its_parent_and_is_fetched_as_soon_as_that_is_stored(
    database: TestDatabase,
) {
    let scene = Scene::set(&database).await;
    scene.parent.hold();
    scene.save("p", "k", json!({})).await;
    scene.parent.wait_for_requests(1).await;
    scene.save("c", "k", json!({"of": "k"})).await;
    let client = &scene.server.client;
    let waiting = eventually("the child waits", async || {
        let secret = client.secret("c", "k").await;
        secret["waiting"].is_string().then_some(secret)
    })
    .await;
    assert_eq!(waiting["state"], "pending");
    assert!(waiting["last_error"].is_null(), "{waiting}");
    assert_eq!(scene.child.request_count(), 0);
    scene.parent.release();
    // The clock stands still: nothing but the parent's token makes it due.
    let child = client.generation("c", "k", 1).await;
    assert!(child["waiting"].is_null());
    let sent = &scene.child.requests()[0];
    assert!(
        sent.query
            .contains(&("access_token".to_owned(), "token-1".to_owned()))
    );
}

async fn a_new_token_of_the_parent_does_not_force_what_is_derived_from_it(database: TestDatabase) {
    let scene = Scene::set(&database).await;
    scene.both().await;
    scene.clock.advance(Ms::from_secs(60));
    let client = &scene.server.client;
    let flush = json!({"realm": "p", "key": "k"});
    let flushed = client.post("/api/token/flush", &flush).await.expect(200);
    assert_eq!(flushed.json()["generation"], 2);
    // A run attempts all that is due: the child is not.
    let run = client
        .post("/api/renewal/run", &json!({}))
        .await
        .expect(200);
    assert_eq!(run.json()["data"]["renewed"], 0, "{}", run.text);
    assert_eq!(scene.child.request_count(), 1);
    assert_eq!(client.secret("c", "k").await["generation"], 1);
}

async fn a_read_of_a_derived_token_fetches_the_parent_first(database: TestDatabase) {
    let scene = Scene::set(&database).await;
    scene.both().await;
    let client = &scene.server.client;
    // Both have expired.
    scene.clock.advance(Ms::from_secs(8000));
    let read = client.token("c", "k").await.expect(200).json();
    assert_eq!(read["token"], "token-2");
    let sent = scene.child.requests();
    let last = sent.last().expect("the child was asked");
    assert!(
        last.query
            .contains(&("access_token".to_owned(), "token-2".to_owned()))
    );
    assert_eq!(scene.parent.request_count(), 2);
    assert_eq!(scene.child.request_count(), 2);
}

async fn a_parent_that_the_provider_refuses_is_replaced_and_not_repeated(database: TestDatabase) {
    let scene = Scene::set(&database).await;
    scene.save("p", "k", json!({})).await;
    scene.server.client.generation("p", "k", 1).await;
    scene.clock.advance(Ms::from_secs(60));
    let refused = json!({"errcode": 40001, "errmsg": "invalid credential"});
    scene
        .child
        .answer_next(Answer::status(200).with_json(&refused));
    scene.save("c", "k", json!({"of": "k"})).await;
    let client = &scene.server.client;
    client.generation("c", "k", 1).await;
    assert_eq!(client.secret("p", "k").await["generation"], 2);
    let asked: Vec<_> = scene.parent.requests();
    let forced = |index: usize| {
        let body: Value = serde_json::from_str(&asked[index].body).expect("JSON");
        body["force"].clone()
    };
    assert_eq!((forced(0), forced(1)), (json!(false), json!(true)));
    let sent = scene.child.requests();
    assert!(
        sent[1]
            .query
            .contains(&("access_token".to_owned(), "token-2".to_owned()))
    );
    // What was forced once is not forced for ever.
    scene.clock.advance(Ms::from_secs(7000));
    client.generation("p", "k", 3).await;
    let body: Value = serde_json::from_str(&scene.parent.requests()[2].body).expect("JSON");
    assert_eq!(body["force"], false);
}

async fn a_parent_that_the_provider_refuses_again_and_again_needs_attention(
    database: TestDatabase,
) {
    let scene = Scene::set(&database).await;
    let refused = json!({"errcode": 40001, "errmsg": "invalid credential"});
    scene
        .child
        .answer_with(Answer::status(200).with_json(&refused));
    scene.save("p", "k", json!({})).await;
    scene.save("c", "k", json!({"of": "k"})).await;
    let client = &scene.server.client;
    let mut next_attempt = Value::Null;
    let parked = eventually("a human is needed", async || {
        let secret = client.secret("c", "k").await;
        // At first it is tried again at once, with a new token of the parent.
        let waits = secret["renew_at"].as_str() > Some(&*scene.clock.now().to_rfc3339());
        if waits && secret["state"] == "needs_attention" {
            return Some(secret);
        }
        // Another failure; this is longer than any wait after one.
        if waits && secret["renew_at"] != next_attempt {
            next_attempt = secret["renew_at"].clone();
            scene.clock.advance(Ms::from_secs(301));
        }
        None
    })
    .await;
    assert!(scene.child.request_count() >= 5);
    assert_eq!(parked["last_error"]["class"], "permanent", "{parked}");
    assert_ne!(client.secret("p", "k").await["state"], "needs_attention");
    // Once the parent is of the right kind, nobody has to do more.
    scene.child.answer_with(Answer::numbered_token(7200));
    let mut next_attempts = Value::Null;
    eventually("it has its token", async || {
        let (child, parent) = (client.secret("c", "k").await, client.secret("p", "k").await);
        let dates = json!([child["renew_at"], parent["renew_at"]]);
        if dates != next_attempts {
            next_attempts = dates;
            // Longer than any wait between two probes. What was under way has taken too long now.
            scene.clock.advance(Ms::from_secs(4000));
        }
        (child["generation"] == 1).then_some(())
    })
    .await;
}

async fn a_parent_that_fails_is_not_asked_again_for_the_sake_of_its_children(
    database: TestDatabase,
) {
    let scene = Scene::set(&database).await;
    scene.parent.answer_with(Answer::status(500));
    scene.save("p", "k", json!({})).await;
    let client = &scene.server.client;
    eventually("the parent fails", async || {
        let secret = client.secret("p", "k").await;
        secret["last_error"].is_object().then_some(())
    })
    .await;
    scene.save("c", "k", json!({"of": "k"})).await;
    eventually("the child waits", async || {
        let secret = client.secret("c", "k").await;
        secret["waiting"].is_string().then_some(())
    })
    .await;
    let read = client.token("c", "k").await;
    let problem = read.expect_problem(503, "token_unavailable");
    assert!(
        problem["detail"]
            .as_str()
            .is_some_and(|detail| detail.contains("p/k")),
        "{problem}"
    );
    assert_eq!(scene.parent.request_count(), 1);
    assert_eq!(scene.child.request_count(), 0);
}

async fn a_fixed_token_can_be_a_parent(database: TestDatabase) {
    let scene = Scene::set(&database).await;
    let client = &scene.server.client;
    client
        .post("/api/realm", &json!({"id": "fixed"}))
        .await
        .expect(200);
    client
        .save_realm("of-fixed", child_realm(&scene.child, "fixed"))
        .await;
    scene.save("fixed", "k", json!({})).await;
    scene.save("of-fixed", "k", json!({"of": "k"})).await;
    eventually("the child waits", async || {
        let secret = client.secret("of-fixed", "k").await;
        secret["waiting"].is_string().then_some(())
    })
    .await;
    let token = json!({"realm": "fixed", "key": "k", "token": "typed-in"});
    client.put("/api/token", &token).await.expect(200);
    client.generation("of-fixed", "k", 1).await;
    let sent = &scene.child.requests()[0];
    assert!(
        sent.query
            .contains(&("access_token".to_owned(), "typed-in".to_owned()))
    );
}

async fn what_waits_says_for_what(database: TestDatabase) {
    let scene = Scene::set(&database).await;
    scene.save("c", "k", json!({"of": "nobody"})).await;
    let client = &scene.server.client;
    let waiting = eventually("the child waits", async || {
        let secret = client.secret("c", "k").await;
        secret["waiting"].as_str().map(str::to_owned)
    })
    .await;
    assert!(
        waiting.contains("p/nobody") && waiting.contains("not registered"),
        "{waiting}"
    );
    let read = client.token("c", "k").await;
    let problem = read.expect_problem(503, "token_unavailable");
    assert!(
        problem["detail"]
            .as_str()
            .is_some_and(|detail| detail.contains("p/nobody")),
        "{problem}"
    );
    // Looked for again by itself, after a while.
    scene.save("p", "nobody", json!({})).await;
    client.generation("p", "nobody", 1).await;
    scene.clock.advance(Ms::from_secs(61));
    client.generation("c", "k", 1).await;
}

async fn a_cycle_of_parents_is_refused_whether_realms_or_secrets_make_it(database: TestDatabase) {
    let scene = Scene::set(&database).await;
    let client = &scene.server.client;
    let save = |id: &str, parent: &str| {
        let realm = json!({"id": id, "config": child_realm(&scene.child, parent)});
        async move { client.post("/api/realm", &realm).await }
    };
    save("a", "b").await.expect(200);
    save("b", "d").await.expect(200);
    let refused = save("d", "a").await.expect_problem(422, "invalid_document");
    assert_eq!(refused["errors"][0]["pointer"], "/config/parent/realm");
    let detail = refused["errors"][0]["detail"].as_str().expect("a text");
    assert!(detail.contains("d → a → b → d"), "{detail}");
    save("self", "self")
        .await
        .expect_problem(422, "invalid_document");
    // A realm whose parent is named by a parameter: only its secrets can tell.
    let mut open = child_realm(&scene.child, "x");
    open["params"]["in"] = json!({"title": "Realm of the parent", "secret": false});
    open["parent"]["realm"] = json!("$in");
    client.save_realm("open", open).await;
    let secret = |key: &str, of: &str| {
        let secret = json!({
            "realm": "open", "key": key, "params": {"in": "open", "of": of},
        });
        async move { client.post("/api/secret", &secret).await }
    };
    secret("one", "two").await.expect(200);
    let refused = secret("two", "one")
        .await
        .expect_problem(422, "invalid_document");
    let detail = refused["errors"][0]["detail"].as_str().expect("a text");
    assert!(
        detail.contains("open/two → open/one → open/two"),
        "{detail}"
    );
    client
        .get("/api/secret/open/two")
        .await
        .expect_problem(404, "unknown_secret");
}

async fn extra_fields_of_the_parent_are_in_scope_and_are_served_with_its_token(
    database: TestDatabase,
) {
    let scene = Scene::set(&database).await;
    let answer = json!({
        "access_token": "t", "expires_in": 7200, "instance": "https://eu.example", "other": 1,
    });
    scene
        .parent
        .answer_with(Answer::status(200).with_json(&answer));
    scene.both().await;
    let client = &scene.server.client;
    let served = client.token("p", "k").await.expect(200).json();
    assert_eq!(served["extra"], json!({"instance": "https://eu.example"}));
    let sent = &scene.child.requests()[0];
    let instance = ("instance".to_owned(), "https://eu.example".to_owned());
    assert!(sent.query.contains(&instance));
    assert!(client.token("c", "k").await.json().get("extra").is_none());
}
