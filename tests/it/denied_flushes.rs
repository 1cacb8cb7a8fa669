//! Wherever a flush was asked for and none was made, the answer says so: in prose, and by a
//! code that stays.

use std::sync::Arc;

use rustix::process::Signal;
use serde_json::{Value, json};
use token_server::foundation::clock::{EpochMs, ManualClock, Ms};

use crate::kit::database_server::DatabaseServer;
use crate::kit::server::Options;
use crate::kit::{Answer, Provider, Reply, Server, TestDatabase, on_every_database};

on_every_database! {
    a_paused_secret_is_not_flushed,
    a_failed_flush_says_what_failed_and_the_next_that_it_is_not_due,
    a_refused_secret_needs_attention_before_another_flush,
    a_rate_limit_holds_back_the_realm,
    a_document_that_fails_is_not_called_the_providers_failure,
    what_waits_for_its_parent_says_so,
    a_renewal_that_takes_too_long_is_told_as_one,
    within_its_grace_the_previous_token_is_enough,
    an_earlier_generation_waits_for_no_interval,
    a_text_that_is_neither_yes_nor_no_is_no_flush_and_needs_no_scope,
    a_denied_flush_is_a_read_with_all_its_rules,
}

struct Scene {
    server: Server,
    clock: Arc<ManualClock>,
    provider: Provider,
}

impl Scene {
    async fn set(database: &TestDatabase, env: &[(&'static str, &str)]) -> Self {
        let clock = Arc::new(ManualClock::at(EpochMs(1_700_000_000_000)));
        let env = env.iter().map(|(name, value)| (*name, (*value).to_owned()));
        let options = Options {
            env: env.collect(),
            clock: Some(clock.clone()),
            ..Options::default()
        };
        let scene = Self {
            server: Server::start_with(database, options).await,
            clock,
            provider: Provider::start().await,
        };
        scene.save_realm(json!({})).await;
        for key in ["k", "other"] {
            scene.server.client.save_secret("r", key).await;
            scene.server.client.generation("r", key, 1).await;
        }
        scene.server.settled().await;
        // The minimum flush interval is over.
        scene.clock.advance(Ms::from_secs(10));
        scene
    }

    async fn save_realm(&self, fields: Value) {
        let mut config = json!({
            "url": self.provider.url("/token"), "method": "GET",
            "token_path": "access_token", "expires_in_path": "expires_in",
        });
        let more = fields.as_object().expect("fields").clone();
        config.as_object_mut().expect("an object").extend(more);
        self.server.client.save_realm("r", config).await;
    }

    async fn pause(&self, key: &str) {
        let path = format!("/api/secret/r/{key}/pause");
        let client = &self.server.client;
        client.post(&path, &json!({})).await.expect(200);
    }

    async fn flush(&self, realm: &str, key: &str) -> Reply {
        let body = json!({"realm": realm, "key": key});
        self.server.client.post("/api/token/flush", &body).await
    }

    async fn denied(&self, key: &str, code: &str) -> Value {
        denied(self.flush("r", key).await, code)
    }
}

/// The answer of a flush that was not made, which gives the token that is there.
#[track_caller]
fn denied(reply: Reply, code: &str) -> Value {
    let answer = reply.expect(200).json();
    assert_eq!(answer["flushed"], false, "{answer}");
    assert_eq!(answer["flush_denied_code"], code, "{answer}");
    assert!(answer["token"].is_string() && answer["flush_denied"].is_string());
    let documented = token_server::api::specification().contains(&format!("`{code}`"));
    assert!(documented, "{code} is not in the specification");
    answer
}

async fn a_paused_secret_is_not_flushed(database: TestDatabase) {
    let scene = Scene::set(&database, &[]).await;
    scene.pause("k").await;
    let answer = scene.denied("k", "paused").await;
    assert_eq!(answer["flush_denied"], "renewal is paused");
    assert_eq!(scene.provider.request_count(), 2);
}

async fn a_failed_flush_says_what_failed_and_the_next_that_it_is_not_due(database: TestDatabase) {
    let scene = Scene::set(&database, &[]).await;
    scene.provider.answer_with(Answer::status(503));
    let answer = scene.denied("k", "provider_failed").await;
    let why = answer["flush_denied"].as_str().expect("a text");
    assert!(
        why.starts_with("the provider did not issue a token ("),
        "{why}"
    );
    assert_eq!(answer["stale"], true);
    let reply = scene.flush("r", "k").await;
    assert!(reply.header("retry-after").is_some());
    denied(reply, "backing_off");
    assert_eq!(scene.provider.request_count(), 3);
}

async fn a_refused_secret_needs_attention_before_another_flush(database: TestDatabase) {
    let scene = Scene::set(&database, &[]).await;
    let refused = Answer::status(401).with_json(&json!({"error": "invalid_client"}));
    scene.provider.answer_with(refused);
    scene.denied("k", "provider_failed").await;
    assert_eq!(
        scene.server.client.secret("r", "k").await["state"],
        "needs_attention"
    );
    let reply = scene.flush("r", "k").await;
    assert!(reply.header("retry-after").is_some());
    denied(reply, "needs_attention");
    assert_eq!(scene.provider.request_count(), 3);
}

async fn a_rate_limit_holds_back_the_realm(database: TestDatabase) {
    let scene = Scene::set(&database, &[]).await;
    let limited = Answer::status(429).with_header("retry-after", "600");
    scene.provider.answer_with(limited);
    scene.denied("k", "rate_limited").await;
    let reply = scene.flush("r", "other").await;
    assert_eq!(reply.header("retry-after"), Some("600"));
    denied(reply, "rate_limited");
    assert_eq!(scene.provider.request_count(), 3);
}

async fn a_document_that_fails_is_not_called_the_providers_failure(database: TestDatabase) {
    let scene = Scene::set(&database, &[]).await;
    // Unset where a refused token is replaced.
    let value = "${key_5 if forced else 'x'}";
    scene
        .save_realm(json!({"arguments": [{"name": "a", "place": "url", "value": value}]}))
        .await;
    let body = json!({"realm": "r", "key": "k", "generation": 1});
    let reply = scene.server.client.post("/api/token/report", &body).await;
    let answer = denied(reply, "realm_failed");
    let why = answer["flush_denied"].as_str().expect("a text");
    assert!(why.starts_with("the realm's document failed ("), "{why}");
    assert_eq!(scene.provider.request_count(), 2);
}

async fn what_waits_for_its_parent_says_so(database: TestDatabase) {
    let scene = Scene::set(&database, &[]).await;
    let child = Provider::start().await;
    let config = json!({
        "url": child.url("/token"), "method": "GET", "parent": {"realm": "r", "key": "k"},
        "arguments": [{"name": "of", "place": "url", "value": "${parent.token}"}],
        "token_path": "access_token", "expires_in_path": "expires_in",
    });
    let client = &scene.server.client;
    client.save_realm("child", config).await;
    child.answer_with(Answer::numbered_token(20_000));
    client.save_secret("child", "c").await;
    client.generation("child", "c", 1).await;
    scene.provider.answer_with(Answer::status(503));
    scene.pause("k").await;
    scene.clock.advance(Ms::from_secs(7200));
    let answer = denied(scene.flush("child", "c").await, "waiting");
    let why = answer["flush_denied"].as_str().expect("a text");
    assert!(why.contains("its parent, r/k,"), "{why}");
    assert_eq!(child.request_count(), 1);
}

async fn a_renewal_that_takes_too_long_is_told_as_one(database: TestDatabase) {
    let scene = Scene::set(&database, &[("TOKEN_SERVER__READ__MAX_WAIT_S", "1")]).await;
    scene.provider.hold();
    let reply = scene.flush("r", "k").await;
    assert_eq!(reply.header("retry-after"), Some("1"));
    assert_eq!(denied(reply, "not_in_time")["stale"], true);
    scene.provider.release();
    scene.server.client.generation("r", "k", 2).await;
}

async fn within_its_grace_the_previous_token_is_enough(database: TestDatabase) {
    let scene = Scene::set(&database, &[]).await;
    scene.save_realm(json!({"policy": {"grace_s": 300}})).await;
    let reply = scene.flush("r", "k").await;
    assert_eq!(reply.header("retry-after"), Some("290"));
    denied(reply, "within_grace");
    assert_eq!(scene.provider.request_count(), 2);
}

async fn an_earlier_generation_waits_for_no_interval(database: TestDatabase) {
    let scene = Scene::set(&database, &[]).await;
    let body = json!({"realm": "r", "key": "k", "generation": 0});
    let reply = scene.server.client.post("/api/token/flush", &body).await;
    assert_eq!(reply.header("retry-after"), None);
    denied(reply, "earlier_generation");
    assert_eq!(scene.provider.request_count(), 2);
}

async fn a_text_that_is_neither_yes_nor_no_is_no_flush_and_needs_no_scope(database: TestDatabase) {
    let scene = Scene::set(&database, &[]).await;
    let client = &scene.server.client;
    let key = json!({"name": "reader", "scopes": ["token:read"]});
    let made = client.post("/api/api-key", &key).await.expect(200).json();
    let reader = client.with_key(made["data"]["key"].as_str().expect("a key"));
    let reply = reader.get("/api/token?realm=r&key=k&flush=yes").await;
    let answer = denied(reply, "unknown_flush_value");
    assert_eq!(answer["source"], "cache");
    let answer = reader.get("/api/token?realm=r&key=k&flush=FALSE").await;
    assert_eq!(answer.expect(200).json()["flushed"], Value::Null);
    let asked = reader.get("/api/token?realm=r&key=k&flush=TRUE").await;
    asked.expect_problem(403, "forbidden");
    assert_eq!(scene.provider.request_count(), 2);
}

async fn a_denied_flush_is_a_read_with_all_its_rules(database: TestDatabase) {
    let scene = Scene::set(&database, &[]).await;
    let client = &scene.server.client;
    assert_eq!(
        scene.flush("r", "k").await.expect(200).json()["flushed"],
        true
    );
    let flush = "/api/token?realm=r&key=k&flush=1&min_ttl_s";
    // More life than the token has: it was renewed a moment ago, so it is called stale.
    let answer = denied(client.get(&format!("{flush}=7200")).await, "min_interval");
    assert_eq!(
        (&answer["token"], &answer["stale"]),
        (&json!("token-3"), &json!(true))
    );
    let answer = denied(client.get(&format!("{flush}=60")).await, "min_interval");
    assert_eq!(
        (&answer["token"], &answer["stale"]),
        (&json!("token-3"), &Value::Null)
    );
    assert_eq!(scene.provider.request_count(), 3);
    // An earlier token is named, and the current one has less life left than is wanted.
    scene.clock.advance(Ms::from_secs(10));
    let answer = client.get(&format!("{flush}=7195&generation=1")).await;
    let answer = answer.expect(200).json();
    assert_eq!(
        (&answer["token"], &answer["flushed"]),
        (&json!("token-4"), &json!(true))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_database_is_away_a_flush_answers_what_is_remembered() {
    let mariadb = DatabaseServer::start();
    mariadb.answers().await;
    let database = TestDatabase::on_server(mariadb.url()).await;
    let provider = Provider::start().await;
    let patience = ("TOKEN_SERVER__DATABASE__READ_PATIENCE_MS", "200");
    let server = Server::with_env(&database, &[patience]).await;
    server.client.register(&provider.url("/token")).await;
    server.settled().await;
    assert_eq!(
        server.client.token("r", "k").await.json()["source"],
        "cache"
    );
    mariadb.end(Signal::KILL);
    let reply = server
        .client
        .get("/api/token?realm=r&key=k&flush=true")
        .await;
    assert_eq!(reply.header("retry-after"), Some("1"));
    let answer = denied(reply, "database_unavailable");
    assert_eq!(
        (&answer["token"], &answer["source"]),
        (&json!("token-1"), &json!("cache"))
    );
    assert_eq!(provider.request_count(), 1);
}
