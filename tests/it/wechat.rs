//! A simulated WeChat that behaves as documented: status 200 with an error code,
//! rotation with five minutes of grace, a daily quota.

use std::sync::Arc;

use serde_json::{Value, json};
use token_server::foundation::clock::{Clock, EpochMs, ManualClock, Ms};

use crate::kit::server::Options;
use crate::kit::wechat::{NowMs, Settings, Wechat};
use crate::kit::{Server, TestDatabase, eventually, on_every_database};

on_every_database! {
    a_wechat_token_is_renewed_so_that_what_is_served_is_always_accepted,
    a_wechat_refusal_with_status_200_is_a_failure_of_its_class,
    a_spent_wechat_quota_stops_requests_and_not_the_serving,
}

struct Scene {
    server: Server,
    clock: Arc<ManualClock>,
    wechat: Wechat,
}

/// 2023-11-15 00:00 in Beijing, where WeChat's days begin.
const MIDNIGHT: EpochMs = EpochMs(1_699_977_600_000);

async fn scene(database: &TestDatabase, settings: Settings) -> Scene {
    let clock = Arc::new(ManualClock::at(MIDNIGHT));
    let now: NowMs = Arc::new({
        let clock = clock.clone();
        move || clock.now().0
    });
    let wechat = Wechat::start(now, settings).await;
    wechat.register_app("wx-app", "wx-secret");
    let env = vec![(
        "TOKEN_SERVER__RENEWAL__MIN_FLUSH_INTERVAL_S",
        "0".to_owned(),
    )];
    let options = Options {
        env,
        clock: Some(clock.clone()),
        ..Options::default()
    };
    let server = Server::start_with(database, options).await;
    server.client.save_realm("wxgzh", realm(&wechat)).await;
    Scene {
        server,
        clock,
        wechat,
    }
}

/// Asks the simulated provider as WeChat is asked.
fn realm(wechat: &Wechat) -> Value {
    json!({
        "url": format!("{}/cgi-bin/token", wechat.url()), "method": "GET",
        "arguments": [
            {"name": "appid", "place": "url", "value": "$key_1"},
            {"name": "secret", "place": "url", "value": "$key_2"},
            {"name": "grant_type", "place": "url", "value": "client_credential"},
        ],
        "token_path": "access_token", "content_type": "json", "expires_in_path": "expires_in",
        "success": "body.errcode is undefined or body.errcode == 0",
        "error": {
            "code": "body.errcode", "message": "body.errmsg",
            "classes": {
                "permanent": [40002, 40013, 40125, 40164],
                "rate_limited": [45009, 45011],
                "transient": [-1],
            },
        },
    })
}

fn secret(appsecret: &str) -> Value {
    json!({"realm": "wxgzh", "key": "app", "key_1": "wx-app", "key_2": appsecret})
}

async fn a_wechat_token_is_renewed_so_that_what_is_served_is_always_accepted(
    database: TestDatabase,
) {
    let Scene {
        server,
        clock,
        wechat,
    } = scene(&database, Settings::default()).await;
    let client = &server.client;
    client
        .post("/api/secret", &secret("wx-secret"))
        .await
        .expect(200);
    client.generation("wxgzh", "app", 1).await;
    let mut held = client.token("wxgzh", "app").await.expect(200).json();
    // A day in steps of four minutes; a caller that polls once a step always holds a token
    // that WeChat accepts: a replaced one keeps working for five minutes.
    for _ in 0..360 {
        clock.advance(Ms::from_secs(240));
        eventually("what was due is renewed", async || {
            let secret = client.secret("wxgzh", "app").await;
            let due = secret["renew_at"].as_str().expect("a date").to_owned();
            (due > rfc3339(clock.now())).then_some(())
        })
        .await;
        assert!(wechat.accepts(held["token"].as_str().expect("a token")));
        held = client.token("wxgzh", "app").await.expect(200).json();
        assert!(wechat.accepts(held["token"].as_str().expect("a token")));
    }
    let issued = wechat.issued("wx-app");
    assert!(
        (13..=18).contains(&issued),
        "12 lives of two hours, renewed early: {issued}"
    );
}

fn rfc3339(at: EpochMs) -> String {
    use token_server::foundation::clock::Timeline;
    at.to_rfc3339()
}

async fn a_wechat_refusal_with_status_200_is_a_failure_of_its_class(database: TestDatabase) {
    let Scene {
        server,
        clock,
        wechat,
    } = scene(&database, Settings::default()).await;
    let client = &server.client;
    client
        .post("/api/secret", &secret("a-wrong-secret"))
        .await
        .expect(200);
    let parked = client.state("wxgzh", "app", "needs_attention").await;
    let detail = parked["last_error"]["detail"]
        .as_str()
        .expect("a text")
        .to_owned();
    assert!(detail.contains("40125"), "{detail}");
    assert!(!detail.contains("a-wrong-secret"), "{detail}");
    assert_eq!(wechat.issued("wx-app"), 0);
    wechat.fail_next(-1);
    client
        .post("/api/secret", &secret("wx-secret"))
        .await
        .expect(200);
    eventually("the busy system was met", async || {
        let secret = client.secret("wxgzh", "app").await;
        (secret["last_error"]["class"] == "transient").then_some(())
    })
    .await;
    eventually("it was tried again", async || {
        clock.advance(Ms::from_secs(1));
        (wechat.issued("wx-app") == 1).then_some(())
    })
    .await;
    client.state("wxgzh", "app", "active").await;
}

async fn a_spent_wechat_quota_stops_requests_and_not_the_serving(database: TestDatabase) {
    let settings = Settings {
        daily_quota: 3,
        ..Settings::default()
    };
    let Scene {
        server,
        clock,
        wechat,
    } = scene(&database, settings).await;
    let client = &server.client;
    client
        .post("/api/secret", &secret("wx-secret"))
        .await
        .expect(200);
    client.generation("wxgzh", "app", 1).await;
    for _ in 0..10 {
        let token = client
            .get("/api/token?realm=wxgzh&key=app&flush=true")
            .await
            .expect(200);
        assert!(wechat.accepts(token.json()["token"].as_str().expect("a token")));
    }
    assert_eq!(wechat.issued("wx-app"), 3);
    let limited = client.secret("wxgzh", "app").await;
    assert_eq!(limited["state"], "retrying");
    assert_eq!(limited["last_error"]["class"], "rate_limited");
    // Another app of the realm has a quota of its own.
    wechat.register_app("wx-other", "wx-other-secret");
    let other = json!({
        "realm": "wxgzh", "key": "other", "key_1": "wx-other", "key_2": "wx-other-secret",
    });
    client.post("/api/secret", &other).await.expect(200);
    client.generation("wxgzh", "other", 1).await;
    clock.advance(Ms::from_secs(86_400));
    client.state("wxgzh", "app", "active").await;
    assert_eq!(wechat.issued("wx-app"), 4);
}
