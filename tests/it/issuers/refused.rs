//! Every way in which a token is refused, beside those that are taken.

use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use token_server::foundation::clock::Clock;

use super::Scene;
use crate::kit::issuer::{SigningKey, service_account, unsigned};
use crate::kit::{TestDatabase, on_every_database};

on_every_database! {
    whatever_is_wrong_with_a_token_it_is_refused,
    every_algorithm_that_is_registered_is_taken_and_no_other,
    a_condition_that_cannot_be_evaluated_lets_nobody_in,
}

/// A good token, with something about it changed.
type Change = fn(&mut Value, &mut Value, i64);

async fn whatever_is_wrong_with_a_token_it_is_refused(database: TestDatabase) {
    let scene = Scene::set(&database).await;
    scene.register_cluster().await;
    let read = async |token: &str| {
        let caller = scene.caller(token);
        caller.token("prod-mail", "k").await.status.as_u16()
    };
    assert_eq!(read(&scene.token("prod", "checkout")).await, 200);
    let changes: [(&str, Change, u16); 22] = [
        (
            "another issuer",
            |_, claims, _| claims["iss"] = json!("https://other.example"),
            401,
        ),
        (
            "an issuer with a slash more",
            |_, claims, _| {
                claims["iss"] = json!(format!("{}/", claims["iss"].as_str().expect("a text")));
            },
            401,
        ),
        (
            "another audience",
            |_, claims, _| claims["aud"] = json!(["other"]),
            401,
        ),
        (
            "an audience in part",
            |_, claims, _| claims["aud"] = json!("token"),
            401,
        ),
        (
            "no audience",
            |_, claims, _| drop(claims["aud"].take()),
            401,
        ),
        (
            "its audience among others",
            |_, claims, _| claims["aud"] = json!(["other", "token-server"]),
            200,
        ),
        (
            "its audience alone",
            |_, claims, _| claims["aud"] = json!("token-server"),
            200,
        ),
        (
            "expired beyond the leeway",
            |_, claims, now| claims["exp"] = json!(now - 60),
            401,
        ),
        (
            "expired within it",
            |_, claims, now| claims["exp"] = json!(now - 59),
            200,
        ),
        ("no expiry", |_, claims, _| drop(claims["exp"].take()), 401),
        (
            "an expiry that is a text",
            |_, claims, now| claims["exp"] = json!((now + 60).to_string()),
            401,
        ),
        (
            "not valid yet",
            |_, claims, now| claims["nbf"] = json!(now + 61),
            401,
        ),
        (
            "valid in a moment",
            |_, claims, now| claims["nbf"] = json!(now + 59),
            200,
        ),
        (
            "issued in the future",
            |_, claims, now| claims["iat"] = json!(now + 61),
            401,
        ),
        (
            "an unknown key",
            |header, _, _| header["kid"] = json!("unknown"),
            401,
        ),
        (
            "no key, and one that fits",
            |header, _, _| drop(header["kid"].take()),
            200,
        ),
        (
            "another algorithm of the same key",
            |header, _, _| header["alg"] = json!("RS512"),
            401,
        ),
        (
            "no algorithm",
            |header, _, _| header["alg"] = json!("none"),
            401,
        ),
        (
            "no algorithm, in capitals",
            |header, _, _| header["alg"] = json!("NONE"),
            401,
        ),
        (
            "what must be understood",
            |header, _, _| header["crit"] = json!(["exp"]),
            401,
        ),
        (
            "a token that ends a session",
            |header, _, _| header["typ"] = json!("logout+jwt"),
            401,
        ),
        (
            "an access token",
            |header, _, _| header["typ"] = json!("application/at+jwt"),
            200,
        ),
    ];
    for (what, change, status) in changes {
        let mut header = json!({"alg": "RS256", "kid": scene.key.id});
        let mut claims = scene.account("prod", "checkout");
        change(&mut header, &mut claims, scene.clock.now().0 / 1000);
        let token = scene.key.token_with(&header, &claims);
        assert_eq!(read(&token).await, status, "{what}");
    }
    // The public key as the secret of an HMAC.
    let mut claims = scene.account("prod", "checkout");
    claims["jti"] = json!("another");
    let jwk = scene.key.jwk();
    let secrets = [
        scene.key.public_der(),
        jwk["n"].as_str().expect("a text").as_bytes().to_vec(),
        jwk.to_string().into_bytes(),
    ];
    for secret in secrets {
        for key_id in [json!(scene.key.id), json!(null)] {
            let header = json!({"alg": "HS256", "kid": key_id});
            let signed = unsigned(&header, &claims);
            let mut mac = Hmac::<Sha256>::new_from_slice(&secret).expect("any length");
            mac.update(signed.as_bytes());
            let code = base64::Engine::encode(
                &base64::engine::general_purpose::URL_SAFE_NO_PAD,
                mac.finalize().into_bytes(),
            );
            assert_eq!(read(&format!("{signed}.{code}")).await, 401);
        }
    }
    // Without a signature, with one too few or too many parts, with that of another key or claims.
    let header = json!({"alg": "RS256", "kid": scene.key.id});
    let unsigned_ = unsigned(&header, &claims);
    let stranger = SigningKey::new(&scene.key.id, "RS256");
    let good = scene.key.token_with(&header, &claims);
    let (_, of_good) = good.rsplit_once('.').expect("three parts");
    let mut other = claims.clone();
    other["sub"] = json!("system:serviceaccount:ops:checkout");
    for token in [
        unsigned_.clone(),
        format!("{unsigned_}."),
        format!("{good}.{of_good}"),
        format!("{good}="),
        format!(" {good}x"),
        stranger.token_with(&header, &claims),
        format!("{}.{of_good}", unsigned(&header, &other)),
        format!("{}{}", "a".repeat(9000), good),
    ] {
        assert_eq!(read(&token).await, 401, "{token:.40}");
    }
    assert_eq!(read(&good).await, 200);
    // All that was asked of the issuer: its document and its keys, and once more for the unknown
    // key.
    assert!(
        scene.publisher.fetches() <= 2,
        "{:?}",
        scene.publisher.asked()
    );
}

async fn every_algorithm_that_is_registered_is_taken_and_no_other(database: TestDatabase) {
    const ALL: [&str; 9] = [
        "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA",
    ];
    let scene = Scene::set(&database).await;
    let keys = ALL.map(|algorithm| SigningKey::new(algorithm, algorithm));
    let jwks = json!({"keys": keys.iter().map(SigningKey::jwk).collect::<Vec<_>>()});
    for registered in [&ALL[..], &ALL[..1], &ALL[3..4], &ALL[6..7], &ALL[8..]] {
        let registration = json!({
            "issuer": "https://issuer.example", "audiences": ["token-server"],
            "algorithms": registered, "jwks": jwks,
            "rules": [{"when": "claims.sub is defined", "scopes": ["realm:read"]}],
        });
        let saved = scene.admin().put("/api/issuer/all", &registration).await;
        saved.expect(200);
        for key in &keys {
            let claims = service_account("https://issuer.example", "prod", "a", &*scene.clock);
            let caller = scene.caller(&key.token(&claims));
            let status = caller.get("/api/realm").await.status.as_u16();
            let taken = registered.contains(&key.algorithm);
            assert_eq!(status, if taken { 200 } else { 401 }, "{}", key.algorithm);
        }
    }
    assert_eq!(scene.publisher.asked(), [] as [String; 0]);
}

async fn a_condition_that_cannot_be_evaluated_lets_nobody_in(database: TestDatabase) {
    let scene = Scene::set(&database).await;
    let mut registration = scene.cluster();
    registration["rules"] = json!([
        {"when": "claims.sub.nothing|fromjson", "scopes": ["realm:read"]},
        {"when": "claims.sub ~ 1 + 1", "scopes": ["realm:read"]},
        // Neither a text nor a number is true.
        {"when": "claims.sub", "scopes": ["realm:read"]},
        {"when": "claims.exp", "scopes": ["realm:read"]},
        {"when": "claims.aud", "scopes": ["realm:read"]},
        {"when": "claims.admin == 'yes'", "scopes": ["realm:read"]},
        {"when": "claims.sub == 'system:serviceaccount:prod:last'", "scopes": ["realm:read"]},
    ]);
    let saved = scene.admin().put("/api/issuer/k8s", &registration).await;
    saved.expect(200);
    let refused = scene
        .caller(&scene.token("prod", "first"))
        .get("/api/realm")
        .await;
    refused.expect_problem(401, "unauthorized");
    let last = scene.caller(&scene.token("prod", "last"));
    last.get("/api/realm").await.expect(200);
}
