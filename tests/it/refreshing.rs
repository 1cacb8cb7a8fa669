//! Refresh tokens: each is used until the next one comes, and none is lost on the way.

mod candidates;
mod damaged;
mod rotated;

use std::sync::Arc;

use serde_json::{Value, json};
use token_server::foundation::clock::{ManualClock, Ms};

use crate::kit::{Answer, Provider, Server, TestDatabase, eventually, on_every_database};

on_every_database! {
    the_parameter_is_the_first_refresh_token_and_each_answer_brings_the_next,
    an_answer_without_a_refresh_token_keeps_the_old_one,
    another_refresh_token_given_to_the_secret_replaces_the_stored_one_and_no_other_change_does,
    a_refused_refresh_token_needs_attention_where_nothing_else_can_be_asked,
    a_refused_refresh_token_is_done_without_where_the_main_request_can_stand_alone,
    an_unclear_outcome_needs_attention_where_a_failed_call_burns_the_token,
    an_unclear_outcome_is_tried_again_where_a_failed_call_burns_nothing,
    a_refresh_that_hangs_is_not_tried_again_where_a_failed_call_burns_the_token,
    a_refresh_token_that_has_expired_is_not_sent,
    what_refresh_does_not_say_is_taken_from_the_main_request,
    a_refresh_token_is_never_shown,
}

struct Scene {
    server: Server,
    clock: Arc<ManualClock>,
    provider: Provider,
}

impl Scene {
    async fn set(database: &TestDatabase, more: Value) -> Self {
        let (server, clock) = Server::on_manual_clock(database).await;
        Self::on(server, clock, more).await
    }

    async fn on(server: Server, clock: Arc<ManualClock>, more: Value) -> Self {
        let provider = Provider::start().await;
        let mut config = json!({
            "params": {
                "client_id": {"title": "Client ID", "secret": false},
                "client_secret": {"title": "Client secret"},
                "refresh_token": {"title": "The first refresh token", "optional": true},
            },
            "url": provider.url("/token"), "method": "POST", "content_type": "form",
            "client_auth": {
                "method": "client_secret_post",
                "client_id": "$client_id", "client_secret": "$client_secret",
            },
            "token_path": "access_token", "expires_in_path": "expires_in",
            "refresh_token_path": "refresh_token",
        });
        for (field, value) in more.as_object().expect("fields") {
            config[field] = value.clone();
        }
        server.client.save_realm("r", config).await;
        Self {
            server,
            clock,
            provider,
        }
    }

    async fn save(&self, refresh_token: Option<&str>) {
        let secret = json!({"realm": "r", "key": "k", "params": {
            "client_id": "the-client", "client_secret": "the-secret",
            "refresh_token": refresh_token,
        }});
        self.server
            .client
            .post("/api/secret", &secret)
            .await
            .expect(200);
    }

    /// Answers the next request with a token and a refresh token.
    fn next(&self, refresh_token: Option<&str>) {
        let mut body = json!({"access_token": "t", "expires_in": 3600});
        if let Some(refresh_token) = refresh_token {
            body["refresh_token"] = json!(refresh_token);
        }
        body["access_token"] = json!(format!("token-{}", self.provider.request_count() + 1));
        self.provider
            .answer_next(Answer::status(200).with_json(&body));
    }

    async fn renewed(&self, generation: i64) {
        // Past the latest point of renewal of 3600 seconds.
        self.clock.advance(Ms::from_secs(3100));
        self.server.client.generation("r", "k", generation).await;
    }

    /// What a request sent, as a form.
    fn sent(&self, index: usize) -> Vec<(String, String)> {
        let body = self.provider.requests()[index].body.clone();
        url::form_urlencoded::parse(body.as_bytes())
            .into_owned()
            .collect()
    }

    fn sent_refresh_token(&self, index: usize) -> Option<String> {
        let sent = self.sent(index);
        let found = sent.into_iter().find(|(name, _)| name == "refresh_token");
        found.map(|(_, value)| value)
    }

    async fn failed(&self, state: &str) -> String {
        let secret = eventually("a failure", async || {
            let secret = self.server.client.secret("r", "k").await;
            (secret["last_error"].is_object() && secret["state"] == state).then_some(secret)
        })
        .await;
        secret["last_error"]["detail"]
            .as_str()
            .expect("a text")
            .to_owned()
    }
}

/// A main request that cannot stand alone.
fn only_refreshing() -> Value {
    json!({"arguments": [
        {"name": "grant_type", "place": "body", "value": "refresh_token"},
        {"name": "refresh_token", "place": "body", "value": "$refresh_token"},
    ]})
}

fn invalid_grant() -> Answer {
    Answer::status(400).with_json(&json!({"error": "invalid_grant"}))
}

async fn the_parameter_is_the_first_refresh_token_and_each_answer_brings_the_next(
    database: TestDatabase,
) {
    let scene = Scene::set(&database, only_refreshing()).await;
    scene.next(Some("second"));
    scene.save(Some("first")).await;
    scene.server.client.generation("r", "k", 1).await;
    for (generation, brings) in [(2, "third"), (3, "fourth")] {
        scene.next(Some(brings));
        scene.renewed(generation).await;
    }
    let sent: Vec<_> = (0..3)
        .map(|index| scene.sent_refresh_token(index))
        .collect();
    assert_eq!(
        sent,
        [Some("first"), Some("second"), Some("third")].map(|t| t.map(str::to_owned))
    );
    // Like any, it survives a restart.
    let Scene {
        server,
        clock,
        provider,
    } = scene;
    server.stop().await;
    let options = crate::kit::server::Options {
        clock: Some(clock.clone()),
        ..crate::kit::server::Options::default()
    };
    let server = Server::start_with(&database, options).await;
    let scene = Scene {
        server,
        clock,
        provider,
    };
    scene.next(Some("fifth"));
    scene.renewed(4).await;
    assert_eq!(scene.sent_refresh_token(3).as_deref(), Some("fourth"));
}

async fn an_answer_without_a_refresh_token_keeps_the_old_one(database: TestDatabase) {
    let scene = Scene::set(&database, only_refreshing()).await;
    scene.next(Some("second"));
    scene.save(Some("first")).await;
    scene.server.client.generation("r", "k", 1).await;
    for generation in [2, 3] {
        scene.next(None);
        scene.renewed(generation).await;
    }
    assert_eq!(scene.sent_refresh_token(1).as_deref(), Some("second"));
    assert_eq!(scene.sent_refresh_token(2).as_deref(), Some("second"));
}

async fn another_refresh_token_given_to_the_secret_replaces_the_stored_one_and_no_other_change_does(
    database: TestDatabase,
) {
    let scene = Scene::set(&database, only_refreshing()).await;
    scene.next(Some("second"));
    scene.save(Some("first")).await;
    scene.server.client.generation("r", "k", 1).await;
    scene.next(Some("third"));
    let other = json!({"realm": "r", "key": "k", "params": {"client_secret": "another-secret"}});
    let client = &scene.server.client;
    client.post("/api/secret", &other).await.expect(200);
    client.generation("r", "k", 2).await;
    assert_eq!(scene.sent_refresh_token(1).as_deref(), Some("second"));
    scene.next(Some("fifth"));
    scene.save(Some("fourth")).await;
    client.generation("r", "k", 3).await;
    assert_eq!(scene.sent_refresh_token(2).as_deref(), Some("fourth"));
    // What was read is sent back: nothing changes.
    let shown = client.secret("r", "k").await;
    let back = json!({"realm": "r", "key": "k", "params": shown["params"]});
    client.post("/api/secret", &back).await.expect(200);
    scene.next(Some("sixth"));
    scene.renewed(4).await;
    assert_eq!(scene.sent_refresh_token(3).as_deref(), Some("fifth"));
}

async fn a_refused_refresh_token_needs_attention_where_nothing_else_can_be_asked(
    database: TestDatabase,
) {
    let scene = Scene::set(&database, only_refreshing()).await;
    scene.provider.answer_next(invalid_grant());
    scene.save(Some("spent")).await;
    let detail = scene.failed("needs_attention").await;
    assert!(detail.starts_with("refresh_token_refused"), "{detail}");
    scene.next(Some("second"));
    scene.save(Some("fresh")).await;
    scene.server.client.state("r", "k", "active").await;
    assert_eq!(scene.sent_refresh_token(1).as_deref(), Some("fresh"));
}

async fn a_refused_refresh_token_is_done_without_where_the_main_request_can_stand_alone(
    database: TestDatabase,
) {
    let grant = json!([
        {"name": "grant_type", "place": "body", "value": "client_credentials"},
    ]);
    let scene = Scene::set(&database, json!({"arguments": grant})).await;
    scene.next(Some("one"));
    scene.save(None).await;
    scene.server.client.generation("r", "k", 1).await;
    scene.provider.answer_next(invalid_grant());
    // The request after the refusal.
    let answer = json!({"access_token": "again", "expires_in": 3600, "refresh_token": "two"});
    scene
        .provider
        .answer_next(Answer::status(200).with_json(&answer));
    scene.renewed(2).await;
    let grants: Vec<_> = (0..3)
        .map(|index| {
            let sent = scene.sent(index);
            let grant = sent.into_iter().find(|(name, _)| name == "grant_type");
            grant.expect("a grant").1
        })
        .collect();
    assert_eq!(
        grants,
        ["client_credentials", "refresh_token", "client_credentials"]
    );
    assert_eq!(scene.sent_refresh_token(1).as_deref(), Some("one"));
    scene.next(None);
    scene.renewed(3).await;
    assert_eq!(scene.sent_refresh_token(3).as_deref(), Some("two"));
}

async fn an_unclear_outcome_needs_attention_where_a_failed_call_burns_the_token(
    database: TestDatabase,
) {
    let mut fields = only_refreshing();
    fields["refresh"] = json!({"retry": "never"});
    let scene = Scene::set(&database, fields).await;
    scene.provider.answer_next(Answer::status(502));
    scene.save(Some("first")).await;
    let detail = scene.failed("needs_attention").await;
    assert!(detail.starts_with("refresh_token_maybe_spent"), "{detail}");
    assert_eq!(scene.provider.request_count(), 1);
}

async fn an_unclear_outcome_is_tried_again_where_a_failed_call_burns_nothing(
    database: TestDatabase,
) {
    let scene = Scene::set(&database, only_refreshing()).await;
    scene.provider.answer_next(Answer::status(502));
    scene.save(Some("first")).await;
    scene.failed("pending").await;
    scene.next(Some("second"));
    scene.clock.advance(Ms::from_secs(400));
    scene.server.client.generation("r", "k", 1).await;
    assert_eq!(scene.sent_refresh_token(1).as_deref(), Some("first"));
}

async fn a_refresh_that_hangs_is_not_tried_again_where_a_failed_call_burns_the_token(
    database: TestDatabase,
) {
    let fields = json!({
        "arguments": [
            {"name": "grant_type", "place": "body", "value": "client_credentials"},
        ],
        "refresh": {"retry": "never"}, "policy": {"timeout_s": 1},
    });
    let scene = Scene::set(&database, fields).await;
    scene.next(Some("one"));
    scene.save(None).await;
    scene.server.client.generation("r", "k", 1).await;
    scene.provider.hold();
    scene.clock.advance(Ms::from_secs(3100));
    scene.failed("retrying").await;
    assert_eq!(scene.sent_refresh_token(1).as_deref(), Some("one"));
    scene.provider.release();
    scene.clock.advance(Ms::from_secs(300));
    scene.server.client.generation("r", "k", 2).await;
    // The main request, now and from then on; its tokens live two hours.
    scene.clock.advance(Ms::from_secs(6200));
    scene.server.client.generation("r", "k", 3).await;
    let tokens: Vec<_> = (2..scene.provider.request_count())
        .filter_map(|index| scene.sent_refresh_token(index))
        .collect();
    assert_eq!(tokens, Vec::<String>::new());
}

async fn a_refresh_token_that_has_expired_is_not_sent(database: TestDatabase) {
    let mut fields = only_refreshing();
    fields["refresh_expires_in_path"] = json!("refresh_expires_in");
    let scene = Scene::set(&database, fields).await;
    let answer = json!({
        "access_token": "t", "expires_in": 3600, "refresh_token": "short", "refresh_expires_in": 60,
    });
    scene
        .provider
        .answer_next(Answer::status(200).with_json(&answer));
    scene.save(Some("first")).await;
    scene.server.client.generation("r", "k", 1).await;
    scene.clock.advance(Ms::from_secs(3100));
    let detail = scene.failed("needs_attention").await;
    assert!(detail.starts_with("refresh_token_expired"), "{detail}");
    assert_eq!(scene.provider.request_count(), 1);
}

async fn what_refresh_does_not_say_is_taken_from_the_main_request(database: TestDatabase) {
    let scene = Scene::set(
        &database,
        json!({
            "arguments": [{"name": "grant_type", "place": "body", "value": "client_credentials"}],
            "content_type": "json",
            "refresh": {"arguments": [
                {"name": "renew", "place": "body", "value": "$refresh_token"},
            ], "token_path": "renewed.token"},
        }),
    )
    .await;
    scene.next(Some("one"));
    scene.save(None).await;
    scene.server.client.generation("r", "k", 1).await;
    let answer = json!({"renewed": {"token": "t2"}, "expires_in": 3600});
    scene
        .provider
        .answer_next(Answer::status(200).with_json(&answer));
    scene.renewed(2).await;
    let request = &scene.provider.requests()[1];
    assert_eq!(
        (request.method.as_str(), request.path.as_str()),
        ("POST", "/token")
    );
    let body: Value = serde_json::from_str(&request.body).expect("JSON");
    assert_eq!(
        body,
        json!({"renew": "one", "client_id": "the-client", "client_secret": "the-secret"})
    );
    let served = scene.server.client.token("r", "k").await.expect(200).json();
    assert_eq!(served["token"], "t2");
}

async fn a_refresh_token_is_never_shown(database: TestDatabase) {
    let scene = Scene::set(&database, only_refreshing()).await;
    let canary = "refresh-token-canary-0123456789";
    scene.next(Some(canary));
    scene.save(Some("first-refresh-token-canary")).await;
    let client = &scene.server.client;
    client.generation("r", "k", 1).await;
    for path in [
        "/api/secret/r/k",
        "/api/token?realm=r&key=k",
        "/api/renewal",
        "/api/audit",
        "/api/realm/r/preview?key=k",
        "/metrics",
    ] {
        let reply = client.get(path).await.expect(200);
        assert!(!reply.text.contains("canary"), "{path}: {}", reply.text);
    }
    assert!(!database.contains(canary).await, "it is sealed at rest");
}
