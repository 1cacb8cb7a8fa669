//! The keys of an issuer: fetched, kept, rotated and away, within bounds of requests to it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use token_server::foundation::clock::{Clock, Ms};

use super::Scene;
use crate::kit::internet::{Internet, Response};
use crate::kit::issuer::{SigningKey, service_account};
use crate::kit::server::{Client, Options};
use crate::kit::{Server, TestDatabase, eventually, on_every_database};

on_every_database! {
    a_rotated_key_is_fetched_by_the_first_token_of_it_and_an_unknown_one_once_a_minute,
    however_many_call_at_once_the_keys_are_fetched_once,
    a_caller_that_hangs_up_interrupts_no_fetch,
    keys_are_good_for_a_day_while_the_issuer_is_away,
    where_keys_were_never_had_it_is_said_that_the_issuer_is_away_and_when_to_come_again,
    a_withdrawn_key_is_good_for_an_hour_at_most,
    the_configuration_says_how_often_keys_are_fetched_and_how_long_they_are_good,
    what_is_published_and_is_no_key_for_signatures_verifies_nothing,
    keys_are_not_taken_from_a_document_of_another_issuer,
    keys_are_fetched_from_whom_the_registration_trusts_and_from_nobody_else,
}

const MINUTE: Ms = Ms::from_secs(60);

/// Signed with a key, now.
fn token(scene: &Scene, key: &SigningKey, number: usize) -> Client {
    let mut claims = scene.account("prod", "checkout");
    claims["jti"] = json!(number);
    let now = scene.clock.now().0 / 1000;
    claims["exp"] = json!(now + 600);
    scene.caller(&key.token(&claims))
}

async fn status(caller: &Client) -> u16 {
    caller.token("prod-mail", "k").await.status.as_u16()
}

async fn a_rotated_key_is_fetched_by_the_first_token_of_it_and_an_unknown_one_once_a_minute(
    database: TestDatabase,
) {
    let scene = Scene::set(&database).await;
    scene.register_cluster().await;
    assert_eq!(status(&token(&scene, &scene.key, 0)).await, 200);
    assert_eq!(scene.publisher.fetches(), 1);
    let second = SigningKey::new("second", "RS256");
    let unknown = SigningKey::new("unknown", "RS256");
    scene.publisher.publish(&[&scene.key, &second]);
    scene.clock.advance(MINUTE);
    assert_eq!(status(&token(&scene, &second, 1)).await, 200);
    assert_eq!(scene.publisher.fetches(), 2);
    for number in 2..12 {
        assert_eq!(status(&token(&scene, &unknown, number)).await, 401);
        assert_eq!(status(&token(&scene, &second, number)).await, 200);
    }
    assert_eq!(scene.publisher.fetches(), 2);
    for minute in 1..4 {
        scene.clock.advance(MINUTE);
        for number in 20..25 {
            assert_eq!(status(&token(&scene, &unknown, number)).await, 401);
        }
        assert_eq!(scene.publisher.fetches(), 2 + minute);
    }
    // Who sends nonsense beside the unknown key has nobody asked.
    scene.clock.advance(MINUTE);
    let mut claims = scene.account("prod", "checkout");
    claims["aud"] = json!("other");
    assert_eq!(status(&scene.caller(&unknown.token(&claims))).await, 401);
    assert_eq!(scene.publisher.fetches(), 5);
}

async fn however_many_call_at_once_the_keys_are_fetched_once(database: TestDatabase) {
    let scene = Scene::set(&database).await;
    scene.register_cluster().await;
    scene.publisher.hold();
    let call = |number| {
        let caller = token(&scene, &scene.key, number);
        tokio::spawn(async move { status(&caller).await })
    };
    let mut callers: Vec<_> = (0..10).map(call).collect();
    eventually("the issuer is asked", async || {
        (!scene.publisher.asked().is_empty()).then_some(())
    })
    .await;
    // Who comes meanwhile waits for the same.
    callers.extend((10..20).map(call));
    scene.publisher.release();
    for caller in callers {
        assert_eq!(caller.await.expect("it calls to the end"), 200);
    }
    let found = ["/.well-known/openid-configuration", "/jwks"];
    assert_eq!(scene.publisher.asked(), found);
}

async fn a_caller_that_hangs_up_interrupts_no_fetch(database: TestDatabase) {
    let scene = Scene::set(&database).await;
    scene.register_cluster().await;
    scene.publisher.hold();
    let unsigned = SigningKey::new("unknown", "RS256");
    let (caller, connections) = {
        let caller = token(&scene, &unsigned, 1);
        let connections = &scene.server.app().metrics.connections;
        (
            tokio::spawn(async move { status(&caller).await }),
            connections,
        )
    };
    eventually("the issuer is asked", async || {
        (!scene.publisher.asked().is_empty()).then_some(())
    })
    .await;
    let before = connections.get();
    caller.abort();
    eventually("the server has seen it", async || {
        (connections.get() < before).then_some(())
    })
    .await;
    scene.publisher.release();
    assert_eq!(status(&token(&scene, &scene.key, 2)).await, 200);
    let found = ["/.well-known/openid-configuration", "/jwks"];
    assert_eq!(scene.publisher.asked(), found);
}

async fn keys_are_good_for_a_day_while_the_issuer_is_away(database: TestDatabase) {
    let scene = Scene::set(&database).await;
    scene.register_cluster().await;
    assert_eq!(status(&token(&scene, &scene.key, 0)).await, 200);
    scene.publisher.answer(Some((500, "")));
    let day = Ms::from_secs(24 * 3600);
    let mut passed = Ms::ZERO;
    for (number, hours) in [1, 6, 12, 23].into_iter().enumerate() {
        let at = Ms::from_secs(hours * 3600 + 1);
        scene.clock.advance(Ms(at.0 - passed.0));
        passed = at;
        scene.server.follows().await;
        assert_eq!(
            status(&token(&scene, &scene.key, number + 1)).await,
            200,
            "{hours} h"
        );
    }
    scene.clock.advance(Ms(day.0 - passed.0));
    scene.server.follows().await;
    let refused = token(&scene, &scene.key, 9).token("prod-mail", "k").await;
    refused.expect_problem(503, "issuer_unavailable");
    // Who has a key is served all the time.
    scene.admin().token("prod-mail", "k").await.expect(200);
    scene.publisher.answer(None);
    scene.clock.advance(MINUTE);
    assert_eq!(status(&token(&scene, &scene.key, 10)).await, 200);
}

async fn where_keys_were_never_had_it_is_said_that_the_issuer_is_away_and_when_to_come_again(
    database: TestDatabase,
) {
    let scene = Scene::set(&database).await;
    scene.register_cluster().await;
    let too_many: Vec<_> = (0..101).map(|_| scene.key.jwk()).collect();
    let answers = [
        (500, String::new()),
        (200, "no JSON".to_owned()),
        (200, "{}".to_owned()),
        (200, json!({"keys": []}).to_string()),
        (200, json!({"keys": too_many}).to_string()),
        (
            200,
            format!("{{\"keys\": [], \"more\": \"{}\"}}", "x".repeat(300_000)),
        ),
        (302, String::new()),
    ];
    for (tried, (status, body)) in answers.into_iter().enumerate() {
        scene.publisher.answer(Some((status, &body)));
        for _ in 0..3 {
            let caller = token(&scene, &scene.key, tried);
            let refused = caller.token("prod-mail", "k").await;
            assert_eq!(refused.header("retry-after"), Some("10"), "{body:.20}");
            let problem = refused.expect_problem(503, "issuer_unavailable");
            assert!(problem["detail"].to_string().contains("k8s"), "{problem}");
        }
        assert_eq!(scene.publisher.fetches(), tried + 1);
        scene.clock.advance(Ms::from_secs(10));
    }
    scene.publisher.answer(None);
    assert_eq!(status(&token(&scene, &scene.key, 100)).await, 200);
    let metrics = scene.admin().get("/metrics").await.expect(200).text;
    for counted in [
        "token_server_jwks_fetches_total{outcome=\"done\"} 1\n",
        "token_server_jwks_fetches_total{outcome=\"failed\"} 7\n",
    ] {
        assert!(metrics.contains(counted), "{metrics}");
    }
}

async fn a_withdrawn_key_is_good_for_an_hour_at_most(database: TestDatabase) {
    let scene = Scene::set(&database).await;
    scene.register_cluster().await;
    assert_eq!(status(&token(&scene, &scene.key, 0)).await, 200);
    let second = SigningKey::new("second", "RS256");
    scene.publisher.publish(&[&second]);
    scene.clock.advance(Ms::from_secs(3600));
    scene.server.follows().await;
    assert_eq!(status(&token(&scene, &scene.key, 1)).await, 401);
    assert_eq!(status(&token(&scene, &second, 2)).await, 200);
    assert_eq!(scene.publisher.fetches(), 2);
    // While calls come, keys are fetched beside them, before they are so old.
    scene.clock.advance(Ms::from_secs(45 * 60));
    scene.server.follows().await;
    scene.publisher.hold();
    assert_eq!(status(&token(&scene, &second, 3)).await, 200);
    scene.publisher.release();
    eventually("they are fetched", async || {
        (scene.publisher.fetches() == 3).then_some(())
    })
    .await;
}

async fn the_configuration_says_how_often_keys_are_fetched_and_how_long_they_are_good(
    database: TestDatabase,
) {
    let seconds = [
        ("TOKEN_SERVER__ISSUERS__FETCH_INTERVAL_S", "20"),
        ("TOKEN_SERVER__ISSUERS__RETRY_INTERVAL_S", "5"),
        ("TOKEN_SERVER__ISSUERS__REFRESH_AFTER_S", "100"),
        ("TOKEN_SERVER__ISSUERS__MAX_AGE_S", "200"),
        ("TOKEN_SERVER__ISSUERS__MAX_STALE_S", "300"),
        ("TOKEN_SERVER__ISSUERS__MAX_DOCUMENT_BYTES", "4096"),
    ];
    let scene = Scene::set_with(&database, &seconds).await;
    scene.register_cluster().await;
    let pass = async |seconds| {
        scene.clock.advance(Ms::from_secs(seconds));
        scene.server.follows().await;
    };
    let fetches = || scene.publisher.fetches();
    let away = async |number, retry_after: &str| {
        let caller = token(&scene, &scene.key, number);
        let refused = caller.token("prod-mail", "k").await;
        assert_eq!(refused.header("retry-after"), Some(retry_after));
        refused.expect_problem(503, "issuer_unavailable");
    };
    let good = async |number| assert_eq!(status(&token(&scene, &scene.key, number)).await, 200);
    let large = json!({"keys": [scene.key.jwk()], "more": "x".repeat(4096)}).to_string();
    scene.publisher.answer(Some((200, &large)));
    away(0, "5").await;
    scene.publisher.answer(None);
    away(1, "5").await;
    pass(5).await;
    good(2).await;
    assert_eq!(fetches(), 2);
    let unknown = SigningKey::new("unknown", "RS256");
    for (number, (after, expected)) in [(19, 2), (1, 3), (19, 3), (1, 4)].into_iter().enumerate() {
        pass(after).await;
        let caller = token(&scene, &unknown, number);
        assert_eq!(status(&caller).await, 401);
        assert_eq!(fetches(), expected);
    }
    // Refreshed beside a call, and then before one.
    pass(99).await;
    good(10).await;
    assert_eq!(fetches(), 4);
    pass(1).await;
    good(11).await;
    eventually("the keys are fetched", async || {
        (fetches() == 5).then_some(())
    })
    .await;
    pass(200).await;
    good(12).await;
    assert_eq!(fetches(), 6);
    scene.publisher.answer(Some((500, "")));
    pass(299).await;
    good(13).await;
    pass(1).await;
    away(14, "4").await;
}

async fn what_is_published_and_is_no_key_for_signatures_verifies_nothing(database: TestDatabase) {
    let scene = Scene::set(&database).await;
    scene.register_cluster().await;
    let changed = |field: &str, value: serde_json::Value| {
        let mut jwk = scene.key.jwk();
        jwk[field] = value;
        jwk
    };
    let good = SigningKey::new("good", "RS256");
    let secret = json!({"kty": "oct", "kid": "first", "k": "c2VjcmV0", "alg": "HS256"});
    for (number, jwk) in [
        changed("use", json!("enc")),
        changed("key_ops", json!(["encrypt"])),
        changed("alg", json!("RS512")),
        changed("alg", json!("RSA-OAEP")),
        changed("d", json!("AQAB")),
        changed("kty", json!("unknown")),
        changed("n", json!("AQAB")),
        secret,
    ]
    .into_iter()
    .enumerate()
    {
        // Where its keys come from is the same: they are fetched again for the unknown one only.
        scene.publisher.publish_jwks(vec![jwk.clone(), good.jwk()]);
        scene.clock.advance(Ms::from_secs(3600));
        scene.server.follows().await;
        assert_eq!(status(&token(&scene, &good, number)).await, 200, "{jwk}");
        assert_eq!(
            status(&token(&scene, &scene.key, number)).await,
            401,
            "{jwk}"
        );
    }
}

async fn keys_are_not_taken_from_a_document_of_another_issuer(database: TestDatabase) {
    let scene = Scene::set(&database).await;
    scene.register_cluster().await;
    let jwks = scene.publisher.url("/jwks");
    for document in [
        json!({"issuer": "https://other.example", "jwks_uri": jwks}),
        json!({"issuer": format!("{}/", scene.publisher.issuer()), "jwks_uri": jwks}),
        json!({"jwks_uri": jwks}),
        json!({"issuer": scene.publisher.issuer()}),
        // The way to it is as narrow as that to a provider.
        json!({"issuer": scene.publisher.issuer(), "jwks_uri": "file:///etc/passwd"}),
        json!({"issuer": scene.publisher.issuer(), "jwks_uri": "http://169.254.169.254/jwks"}),
    ] {
        scene.publisher.discover(document.clone());
        let caller = token(&scene, &scene.key, 0);
        let refused = caller.token("prod-mail", "k").await;
        refused.expect_problem(503, "issuer_unavailable");
        scene.clock.advance(Ms::from_secs(10));
    }
    assert_eq!(scene.publisher.fetches(), 0);
}

async fn keys_are_fetched_from_whom_the_registration_trusts_and_from_nobody_else(
    database: TestDatabase,
) {
    const CLUSTER: &str = "https://kubernetes.default.svc.cluster.local";
    let (cluster, others) = (Internet::start().await, Internet::start().await);
    let key = SigningKey::new("of-the-cluster", "RS256");
    let jwks = json!({"keys": [key.jwk()]});
    cluster.answer(move |arrived| {
        let document = json!({"issuer": CLUSTER, "jwks_uri": format!("{CLUSTER}/openid/v1/jwks")});
        let body = match arrived.url.strip_prefix(CLUSTER) {
            Some("/.well-known/openid-configuration") => document,
            Some("/openid/v1/jwks") => jwks.clone(),
            _ => json!({}),
        };
        Response {
            status: 200,
            headers: Vec::new(),
            body: body.to_string().into_bytes(),
        }
    });
    let ((resolver, authority), (_, other)) = (cluster.for_server(), others.for_server());
    let options = Options {
        internet: Some((resolver, other.clone())),
        ..Options::default()
    };
    let (server, clock) = Server::on_manual_clock_with(&database, options).await;
    let claims = service_account(CLUSTER, "prod", "a", &*clock);
    let caller = server.client.with_key(&key.token(&claims));
    let pem = |certificate: &[u8]| {
        let text = STANDARD.encode(certificate);
        format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
    };
    let mut registration = json!({
        "issuer": CLUSTER, "audiences": ["token-server"],
        "rules": [{"when": "claims.sub is defined", "scopes": ["realm:read"]}],
    });
    for (authority, trusted) in [
        (None, false),
        (Some(&other), false),
        (Some(&authority), true),
    ] {
        if let Some(authority) = authority {
            registration["ca"] = json!(pem(authority));
        }
        let saved = server.client.put("/api/issuer/k8s", &registration).await;
        saved.expect(200);
        let reply = caller.get("/api/realm").await;
        match trusted {
            true => drop(reply.expect(200)),
            false => drop(reply.expect_problem(503, "issuer_unavailable")),
        }
    }
}
