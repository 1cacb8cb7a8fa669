//! Pushed tickets: verified, decrypted, stored for their application, and used as long as
//! they are valid.

mod applications;

use std::sync::Arc;

use reqwest::Method;
use serde_json::{Value, json};
use token_server::foundation::clock::{ManualClock, Ms};

use crate::kit::push::{PushRequest, PushingApp};
use crate::kit::server::Options;
use crate::kit::{Answer, Provider, Reply, Server, TestDatabase, eventually, on_every_database};

on_every_database! {
    a_push_of_any_provider_makes_what_waited_for_it_due,
    a_push_that_is_not_signed_by_the_provider_is_refused_and_stores_nothing,
    a_check_of_the_url_is_answered,
    an_event_that_is_no_ticket_is_acknowledged_and_dropped,
    a_ticket_is_used_until_it_ends_and_then_waited_for,
    a_push_that_comes_late_does_not_replace_a_newer_ticket,
    a_push_is_for_the_secrets_of_its_application_only,
    where_the_realm_says_how_another_push_is_asked_for,
    a_push_that_comes_before_its_secret_waits_is_not_overlooked,
    a_reader_gets_the_token_of_a_ticket_that_is_pushed_while_another_is_asked_for,
    a_ticket_is_sealed_and_shown_nowhere,
    a_realm_that_takes_no_tickets_has_no_such_url,
}

/// The manual clock's first moment, in seconds.
const NOW_S: i64 = 1_700_000_000;
const AES_KEY: &str = "jWmYm7qr5nMoAUwZRjGtBxmz3KA1tkAj3ykkR6q2B2C";
const FORMATS: [&str; 3] = ["wechat_xml", "wecom_xml", "feishu_json"];

struct Scene {
    server: Server,
    clock: Arc<ManualClock>,
    provider: Provider,
    format: &'static str,
}

fn app(id: &str) -> PushingApp {
    PushingApp::new(id, "the-verification-token", Some(AES_KEY))
}

impl Scene {
    async fn set(database: &TestDatabase, format: &'static str) -> Self {
        Self::set_with(database, format, &[]).await
    }

    async fn set_with(
        database: &TestDatabase,
        format: &'static str,
        env: &[(&'static str, &str)],
    ) -> Self {
        let (server, clock) = {
            let options = Options::default().with(env);
            Server::on_manual_clock_with(database, options).await
        };
        let scene = Self {
            server,
            clock,
            provider: Provider::start().await,
            format,
        };
        scene.save_realm(format, Value::Null).await;
        scene
    }

    async fn save_realm(&self, id: &str, resend: Value) {
        let config = json!({
            "params": {
                "app": {"title": "App ID", "secret": false},
                "verification": {"title": "Verification token"},
                "encryption": {"title": "Encryption key", "optional": true},
            },
            "url": self.provider.url("/token"), "method": "POST",
            "arguments": [{"name": "ticket", "place": "body", "value": "$ticket"}],
            "ticket": {
                "format": id, "app_id": "$app", "token": "$verification",
                "aes_key": "$encryption", "valid_s": 1800, "resend": resend,
            },
            "token_path": "access_token", "expires_in_path": "expires_in",
        });
        self.server.client.save_realm(id, config).await;
    }

    async fn save_realm_that_asks(&self) {
        let resend = json!({
            "url": self.provider.url("/resend"), "method": "POST",
            "arguments": [{"name": "app_id", "place": "body", "value": "$app"}],
        });
        self.save_realm("feishu_json", resend).await;
    }

    async fn save(&self, key: &str, app: &PushingApp) {
        let secret = json!({"realm": self.format, "key": key, "params": {
            "app": app.app_id, "verification": app.token, "encryption": app.aes_key,
        }});
        self.server
            .client
            .post("/api/secret", &secret)
            .await
            .expect(200);
    }

    async fn waits(&self, key: &str) {
        eventually("the secret waits for a ticket", async || {
            let secret = self.server.client.secret(self.format, key).await;
            let waiting = secret["waiting"].as_str()?;
            assert!(waiting.contains("ticket"), "{waiting}");
            Some(())
        })
        .await;
    }

    fn ticket(&self, app: &PushingApp, ticket: &str, at_s: i64) -> PushRequest {
        match self.format {
            "wechat_xml" => app.wechat_ticket(ticket, at_s),
            "wecom_xml" => app.wecom_ticket(ticket, at_s),
            _ => app.feishu_ticket(ticket, at_s),
        }
    }

    async fn push(&self, push: PushRequest) -> Reply {
        let url = push.url("http://x/");
        let query = url.query().unwrap_or_default();
        let path = format!("/api/ticket/{}?{query}", self.format);
        let method = if push.body.is_empty() {
            Method::GET
        } else {
            Method::POST
        };
        // Providers show no key.
        let client = self.server.client.without_key();
        let mut request = client.request(method, &path).body(push.body);
        for (name, value) in push.headers {
            request = request.header(name, value);
        }
        client.send(request).await
    }

    fn sent_ticket(&self, index: usize) -> Value {
        let body = &self.provider.requests()[index].body;
        serde_json::from_str::<Value>(body).expect("JSON")["ticket"].clone()
    }
}

async fn a_push_of_any_provider_makes_what_waited_for_it_due(database: TestDatabase) {
    let scene = Scene::set(&database, FORMATS[0]).await;
    let mut scene = Some(scene);
    for (index, format) in FORMATS.into_iter().enumerate() {
        let before = scene.take().expect("a scene");
        let now = Scene { format, ..before };
        if index > 0 {
            now.save_realm(format, Value::Null).await;
        }
        let app = app("the-app");
        now.save("k", &app).await;
        now.waits("k").await;
        let asked = now.provider.request_count();
        let acknowledged = now
            .push(now.ticket(&app, "the-ticket", NOW_S))
            .await
            .expect(200);
        let expected = if format == "feishu_json" {
            "{}"
        } else {
            "success"
        };
        assert_eq!(acknowledged.text, expected);
        now.server.client.generation(format, "k", 1).await;
        assert_eq!(now.sent_ticket(asked), "the-ticket");
        scene = Some(now);
    }
}

async fn a_push_that_is_not_signed_by_the_provider_is_refused_and_stores_nothing(
    database: TestDatabase,
) {
    for format in ["wechat_xml", "feishu_json"] {
        let scene = Scene::set(&database, format).await;
        let good = app("the-app");
        scene.save("k", &good).await;
        scene.waits("k").await;
        let mut forged = vec![
            scene.ticket(
                &PushingApp::new("the-app", "guessed", Some(AES_KEY)),
                "x",
                NOW_S,
            ),
            scene.ticket(&good, "x", NOW_S - 601),
            scene.ticket(&good, "x", NOW_S + 601),
        ];
        let mut cut = scene.ticket(&good, "x", NOW_S);
        cut.body.truncate(cut.body.len() / 2);
        forged.push(cut);
        let mut unsigned = scene.ticket(&good, "x", NOW_S);
        unsigned.query.clear();
        unsigned.headers.clear();
        forged.push(unsigned);
        for (index, push) in forged.into_iter().enumerate() {
            // Feishu's token is inside: with another one, the signature still fits.
            let refused = scene.push(push).await;
            assert_eq!(refused.status, 400, "{format} {index}: {}", refused.text);
            refused.expect_problem(400, "push_refused");
        }
        assert_eq!(database.number("SELECT COUNT(*) FROM ts_ticket").await, 0);
        assert_eq!(scene.provider.request_count(), 0);
        scene.server.stop().await;
    }
}

async fn a_check_of_the_url_is_answered(database: TestDatabase) {
    for format in FORMATS {
        let scene = Scene::set(&database, format).await;
        let app = app("the-app");
        scene.save("k", &app).await;
        let push = match format {
            "wechat_xml" => app.wechat_url_check("the-echo", NOW_S),
            "wecom_xml" => app.wecom_url_check("the-corp", "the-echo", NOW_S),
            _ => app.feishu_url_check("the-echo"),
        };
        let answer = scene.push(push).await.expect(200);
        if format == "feishu_json" {
            assert_eq!(answer.json(), json!({"challenge": "the-echo"}));
        } else {
            assert_eq!(answer.text, "the-echo");
        }
        scene.server.stop().await;
    }
}

async fn an_event_that_is_no_ticket_is_acknowledged_and_dropped(database: TestDatabase) {
    for format in FORMATS {
        let scene = Scene::set(&database, format).await;
        let app = app("the-app");
        scene.save("k", &app).await;
        let push = match format {
            "wechat_xml" => app.wechat_event("authorized", "", NOW_S),
            "wecom_xml" => app.wecom_event("create_auth", "", NOW_S),
            _ => {
                let event = json!({
                    "token": app.token, "type": "event_callback", "event": {"type": "app_open"},
                });
                app.feishu_event(&event, NOW_S)
            }
        };
        scene.push(push).await.expect(200);
        assert_eq!(database.number("SELECT COUNT(*) FROM ts_ticket").await, 0);
        scene.server.stop().await;
    }
}

async fn a_ticket_is_used_until_it_ends_and_then_waited_for(database: TestDatabase) {
    let scene = Scene::set(&database, "wechat_xml").await;
    scene.provider.answer_with(Answer::numbered_token(600));
    let app = app("the-app");
    scene.save("k", &app).await;
    scene.waits("k").await;
    scene
        .push(scene.ticket(&app, "first", NOW_S))
        .await
        .expect(200);
    let client = &scene.server.client;
    client.generation("wechat_xml", "k", 1).await;
    scene.clock.advance(Ms::from_secs(590));
    client.generation("wechat_xml", "k", 2).await;
    assert_eq!(scene.sent_ticket(1), "first");
    // Beyond its 1800 seconds.
    scene.clock.advance(Ms::from_secs(1300));
    scene.waits("k").await;
    assert_eq!(scene.provider.request_count(), 2);
    let now_s = NOW_S + 1890;
    scene
        .push(scene.ticket(&app, "second", now_s))
        .await
        .expect(200);
    client.generation("wechat_xml", "k", 3).await;
    assert_eq!(scene.sent_ticket(2), "second");
}

async fn a_push_that_comes_late_does_not_replace_a_newer_ticket(database: TestDatabase) {
    let scene = Scene::set(&database, "wechat_xml").await;
    let app = app("the-app");
    scene.save("k", &app).await;
    scene.waits("k").await;
    scene
        .push(scene.ticket(&app, "newer", NOW_S))
        .await
        .expect(200);
    scene.server.client.generation("wechat_xml", "k", 1).await;
    scene
        .push(scene.ticket(&app, "older", NOW_S - 60))
        .await
        .expect(200);
    scene.clock.advance(Ms::from_secs(60));
    let flush = json!({"realm": "wechat_xml", "key": "k"});
    let client = &scene.server.client;
    client.post("/api/token/flush", &flush).await.expect(200);
    assert_eq!(scene.sent_ticket(1), "newer");
}

async fn a_push_is_for_the_secrets_of_its_application_only(database: TestDatabase) {
    let scene = Scene::set(&database, "feishu_json").await;
    let (one, other) = (app("app-one"), app("app-other"));
    scene.save("one", &one).await;
    scene.save("one-too", &one).await;
    scene.save("other", &other).await;
    for key in ["one", "one-too", "other"] {
        scene.waits(key).await;
    }
    // Nobody even looks whether the other can go on.
    let of_other = "SELECT fence FROM ts_token WHERE key_name = 'other'";
    let before = database.number(of_other).await;
    scene
        .push(scene.ticket(&one, "for-one", NOW_S))
        .await
        .expect(200);
    let client = &scene.server.client;
    client.generation("feishu_json", "one", 1).await;
    client.generation("feishu_json", "one-too", 1).await;
    assert!(client.secret("feishu_json", "other").await["waiting"].is_string());
    assert_eq!(scene.provider.request_count(), 2);
    scene.server.sweeps().await;
    assert_eq!(database.number(of_other).await, before);
}

async fn where_the_realm_says_how_another_push_is_asked_for(database: TestDatabase) {
    let scene = Scene::set(&database, "feishu_json").await;
    scene.save_realm_that_asks().await;
    let app = app("the-app");
    scene.save("k", &app).await;
    scene.waits("k").await;
    let asked = &scene.provider.requests()[0];
    assert_eq!(asked.path, "/resend");
    assert_eq!(asked.body, r#"{"app_id":"the-app"}"#);
    scene
        .push(scene.ticket(&app, "resent", NOW_S))
        .await
        .expect(200);
    scene.server.client.generation("feishu_json", "k", 1).await;
    assert_eq!(scene.sent_ticket(1), "resent");
}

async fn a_push_that_comes_before_its_secret_waits_is_not_overlooked(database: TestDatabase) {
    let scene = Scene::set(&database, "feishu_json").await;
    scene.save_realm_that_asks().await;
    let app = app("the-app");
    // The provider pushes before it answers that it will.
    scene.provider.hold();
    scene.save("k", &app).await;
    scene.provider.wait_for_requests(1).await;
    scene
        .push(scene.ticket(&app, "resent", NOW_S))
        .await
        .expect(200);
    scene.provider.release();
    scene.server.client.generation("feishu_json", "k", 1).await;
    assert_eq!(scene.sent_ticket(1), "resent");
}

async fn a_reader_gets_the_token_of_a_ticket_that_is_pushed_while_another_is_asked_for(
    database: TestDatabase,
) {
    let scene = Scene::set(&database, "feishu_json").await;
    scene.save_realm_that_asks().await;
    let app = app("the-app");
    scene.save("k", &app).await;
    scene.waits("k").await;
    let asked = scene.provider.hold();
    let read = tokio::spawn({
        let client = scene.server.client.clone();
        async move { client.token("feishu_json", "k").await }
    });
    scene.provider.wait_for_requests(asked + 1).await;
    scene
        .push(scene.ticket(&app, "resent", NOW_S))
        .await
        .expect(200);
    scene.provider.release();
    let served = read.await.expect("it is answered").expect(200).json();
    assert_eq!(served["generation"], 1);
    assert_eq!(scene.sent_ticket(asked + 1), "resent");
}

async fn a_ticket_is_sealed_and_shown_nowhere(database: TestDatabase) {
    let scene = Scene::set(&database, "wecom_xml").await;
    let app = app("the-app");
    scene.save("k", &app).await;
    scene.waits("k").await;
    let canary = "ticket-canary-0123456789";
    scene
        .push(scene.ticket(&app, canary, NOW_S))
        .await
        .expect(200);
    let client = &scene.server.client;
    client.generation("wecom_xml", "k", 1).await;
    for path in [
        "/api/secret",
        "/api/audit",
        "/api/realm/wecom_xml/preview?key=k",
    ] {
        assert!(
            !client.get(path).await.expect(200).text.contains(canary),
            "{path}"
        );
    }
    assert!(!database.contains(canary).await, "it is sealed at rest");
}

async fn a_realm_that_takes_no_tickets_has_no_such_url(database: TestDatabase) {
    let scene = Scene::set(&database, "wechat_xml").await;
    scene
        .server
        .client
        .register_realm("plain", "https://p.example/")
        .await;
    let client = scene.server.client.without_key();
    for realm in ["plain", "nobody"] {
        let path = format!("/api/ticket/{realm}");
        let request = client.request(Method::POST, &path).body("<xml/>");
        client
            .send(request)
            .await
            .expect_problem(404, "unknown_realm");
    }
}
