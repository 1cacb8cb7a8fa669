//! Answers of a provider that are not what it answers to this sign-in. What is good in them all but for one
//! thing lets nobody in.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::Url;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use token_server::foundation::clock::{Clock, ManualClock, Ms};

use super::{PUBLIC_URL, Visitor, audited, by_oidc, came_to_nothing, session_cookie};
use crate::kit::issuer::{Publisher, SigningKey};
use crate::kit::{Server, TestDatabase, on_every_database};

on_every_database! {
    an_id_token_with_any_fault_lets_nobody_in,
    an_authorization_response_of_another_provider_is_sent_nowhere,
    what_the_provider_refuses_is_told_by_its_kind_and_not_by_its_words,
    a_sign_in_that_takes_too_long_is_not_under_way_any_more,
    the_code_is_sent_once_with_what_shows_who_asked_for_it,
}

struct Scene {
    server: Server,
    clock: Arc<ManualClock>,
    key: SigningKey,
    publisher: Publisher,
    visitor: Visitor,
}

/// One sign-in, as it was begun.
struct UnderWay {
    kept: String,
    asked: Url,
}

impl UnderWay {
    fn parameter(&self, name: &str) -> String {
        let mut pairs = self.asked.query_pairs();
        let found = pairs.find(|(other, _)| other == name);
        let (_, value) = found.unwrap_or_else(|| panic!("{name} is asked"));
        value.into_owned()
    }
}

impl Scene {
    async fn set(database: &TestDatabase) -> Self {
        let key = SigningKey::new("first", "RS256");
        let publisher = Publisher::start(&[&key]).await;
        let rules = json!([{"when": "claims.sub == 'somebody'", "scopes": ["realm:read"]}]);
        let options = by_oidc(&publisher.issuer(), None, &rules);
        let (server, clock) = Server::on_manual_clock_with(database, options).await;
        let visitor = Visitor::at(&server);
        let scene = Self {
            server,
            clock,
            key,
            publisher,
            visitor,
        };
        scene.publisher.discover(scene.document());
        scene
    }

    /// What the provider says of itself.
    fn document(&self) -> Value {
        let issuer = self.publisher.issuer();
        json!({
            "issuer": issuer, "jwks_uri": format!("{issuer}/jwks"),
            "authorization_endpoint": format!("{issuer}/authorize?tenant=t"),
            "token_endpoint": format!("{issuer}/token"),
            "authorization_response_iss_parameter_supported": true,
        })
    }

    async fn begin(&self) -> UnderWay {
        let (location, kept) = self.visitor.begin().await;
        let asked = Url::parse(&location).expect("a URL");
        UnderWay { kept, asked }
    }

    fn claims(&self, under_way: &UnderWay) -> Value {
        let now = self.clock.now().0 / 1000;
        json!({
            "iss": self.publisher.issuer(), "aud": "console", "sub": "somebody",
            "nonce": under_way.parameter("nonce"), "exp": now + 300, "iat": now,
        })
    }

    fn answer_with(&self, token: &str) {
        let answer = json!({"access_token": "a", "token_type": "Bearer", "id_token": token});
        self.publisher.show("/token", 200, &answer.to_string());
    }

    /// Back with what the provider brings, and with more.
    fn led_to(&self, under_way: &UnderWay, more: &[(&str, &str)]) -> String {
        let mut url = Url::parse(&under_way.parameter("redirect_uri")).expect("a URL");
        url.query_pairs_mut()
            .append_pair("state", &under_way.parameter("state"))
            .extend_pairs(more);
        url.to_string()
    }

    async fn complete(&self, under_way: &UnderWay, more: &[(&str, &str)]) -> crate::kit::Reply {
        let led_to = self.led_to(under_way, more);
        self.visitor.complete(Some(&under_way.kept), &led_to).await
    }

    async fn complete_well(&self, under_way: &UnderWay) -> crate::kit::Reply {
        let issuer = self.publisher.issuer();
        // What else providers add is nothing that counts.
        let more = [
            ("code", "the-code"),
            ("iss", &*issuer),
            ("session_state", "x"),
        ];
        self.complete(under_way, &more).await
    }
}

async fn an_id_token_with_any_fault_lets_nobody_in(database: TestDatabase) {
    let scene = Scene::set(&database).await;
    let stranger = SigningKey::new("first", "RS256");
    let now = scene.clock.now().0 / 1000;
    type Change = Box<dyn Fn(&mut Value)>;
    let set = |name: &'static str, value: Value| -> Change {
        Box::new(move |claims: &mut Value| claims[name] = value.clone())
    };
    let without = |name: &'static str| -> Change {
        Box::new(move |claims: &mut Value| {
            claims.as_object_mut().expect("an object").remove(name);
        })
    };
    for (what, change) in [
        ("another issuer", set("iss", json!("https://other.example"))),
        ("no issuer", without("iss")),
        ("another audience", set("aud", json!("another"))),
        ("no audience", without("aud")),
        (
            "several audiences",
            set("aud", json!(["console", "another"])),
        ),
        ("another party", set("azp", json!("another"))),
        ("expired", set("exp", json!(now - 61))),
        ("no end", without("exp")),
        ("no begin", without("iat")),
        ("issued later", set("iat", json!(now + 3600))),
        (
            "another nonce",
            set("nonce", json!("AAAAAAAAAAAAAAAAAAAAAA")),
        ),
        ("no nonce", without("nonce")),
        ("no subject", without("sub")),
        ("an empty subject", set("sub", json!(""))),
    ] {
        let under_way = scene.begin().await;
        let mut claims = scene.claims(&under_way);
        change(&mut claims);
        scene.answer_with(&scene.key.token(&claims));
        let refused = scene.complete_well(&under_way).await;
        assert_eq!(refused.status, 303, "{what}");
        came_to_nothing(&refused, "untrusted");
    }
    // By the key of somebody else, as another kind of token, and none at all.
    let under_way = scene.begin().await;
    scene.answer_with(&stranger.token(&scene.claims(&under_way)));
    came_to_nothing(&scene.complete_well(&under_way).await, "untrusted");
    let under_way = scene.begin().await;
    let header = json!({"alg": "RS256", "kid": "first", "typ": "at+jwt"});
    scene.answer_with(&scene.key.token_with(&header, &scene.claims(&under_way)));
    came_to_nothing(&scene.complete_well(&under_way).await, "untrusted");
    let under_way = scene.begin().await;
    let header = json!({"alg": "none"});
    let unsigned = crate::kit::issuer::unsigned(&header, &scene.claims(&under_way));
    scene.answer_with(&format!("{unsigned}."));
    came_to_nothing(&scene.complete_well(&under_way).await, "untrusted");
    let under_way = scene.begin().await;
    scene
        .publisher
        .show("/token", 200, r#"{"access_token": "a"}"#);
    came_to_nothing(&scene.complete_well(&under_way).await, "untrusted");
    // Without a fault.
    for audience in [json!("console"), json!(["console", "another"])] {
        let under_way = scene.begin().await;
        let mut claims = scene.claims(&under_way);
        claims["aud"] = audience;
        claims["azp"] = json!("console");
        scene.answer_with(&scene.key.token(&claims));
        session_cookie(&scene.complete_well(&under_way).await);
    }
}

async fn an_authorization_response_of_another_provider_is_sent_nowhere(database: TestDatabase) {
    let scene = Scene::set(&database).await;
    let issuer = scene.publisher.issuer();
    for more in [
        // This one says in each response that it is it (RFC 9207).
        vec![("code", "the-code")],
        vec![("code", "the-code"), ("iss", "https://other.example")],
        vec![("code", "the-code"), ("iss", &*issuer), ("iss", &*issuer)],
        vec![("error", "access_denied"), ("iss", "https://other.example")],
        vec![("iss", &*issuer)],
        vec![("iss", &*issuer), ("code", "")],
        vec![("iss", &*issuer), ("code", "a"), ("code", "b")],
    ] {
        let under_way = scene.begin().await;
        scene.answer_with(&scene.key.token(&scene.claims(&under_way)));
        let refused = scene.complete(&under_way, &more).await;
        came_to_nothing(&refused, "untrusted");
    }
    let asked = scene.publisher.asked();
    assert!(!asked.contains(&"/token".to_owned()), "{asked:?}");
}

async fn what_the_provider_refuses_is_told_by_its_kind_and_not_by_its_words(
    database: TestDatabase,
) {
    let scene = Scene::set(&database).await;
    let issuer = scene.publisher.issuer();
    for (error, problem) in [
        ("access_denied", "denied"),
        ("login_required", "denied"),
        ("temporarily_unavailable", "unavailable"),
        ("invalid_scope", "refused"),
        ("canary", "refused"),
    ] {
        let under_way = scene.begin().await;
        let more = [
            ("error", error),
            ("error_description", "canary"),
            ("iss", &*issuer),
        ];
        let refused = scene.complete(&under_way, &more).await;
        came_to_nothing(&refused, problem);
    }
    for (status, body, problem) in [
        (
            400,
            r#"{"error": "invalid_grant", "error_description": "canary"}"#,
            "refused",
        ),
        (401, r#"{"error": "invalid_client"}"#, "refused"),
        (500, "canary", "unavailable"),
        (200, "canary", "untrusted"),
    ] {
        let under_way = scene.begin().await;
        scene.publisher.show("/token", status, body);
        let refused = scene.complete_well(&under_way).await;
        came_to_nothing(&refused, problem);
        assert!(!refused.text.contains("canary"));
    }
    let said = audited(&scene.server.client, 4).await;
    assert!(!json!(said).to_string().contains("canary"));
}

async fn a_sign_in_that_takes_too_long_is_not_under_way_any_more(database: TestDatabase) {
    let scene = Scene::set(&database).await;
    let (in_time, late) = (scene.begin().await, scene.begin().await);
    scene.clock.advance(Ms::from_secs(599));
    scene.answer_with(&scene.key.token(&scene.claims(&in_time)));
    session_cookie(&scene.complete_well(&in_time).await);
    scene.clock.advance(Ms::from_secs(1));
    scene.answer_with(&scene.key.token(&scene.claims(&late)));
    came_to_nothing(&scene.complete_well(&late).await, "not_under_way");
}

async fn the_code_is_sent_once_with_what_shows_who_asked_for_it(database: TestDatabase) {
    let scene = Scene::set(&database).await;
    let under_way = scene.begin().await;
    let endpoint = under_way.asked.as_str();
    assert!(endpoint.starts_with(&format!("{}/authorize?tenant=t&", scene.publisher.issuer())));
    let callback = format!("{PUBLIC_URL}/console/sign-in/oidc/callback");
    for (name, value) in [
        ("response_type", "code"),
        ("client_id", "console"),
        ("redirect_uri", &*callback),
        ("scope", "openid groups"),
        ("code_challenge_method", "S256"),
    ] {
        assert_eq!(under_way.parameter(name), value);
    }
    scene.answer_with(&scene.key.token(&scene.claims(&under_way)));
    session_cookie(&scene.complete_well(&under_way).await);
    let posted = scene.publisher.posted().expect("a form");
    let form = Url::parse(&format!("http://form/?{posted}")).expect("a form");
    let said = |name: &str| {
        let found = form.query_pairs().find(|(other, _)| other == name);
        found.map(|(_, value)| value.into_owned())
    };
    assert_eq!(said("grant_type").as_deref(), Some("authorization_code"));
    assert_eq!(said("code").as_deref(), Some("the-code"));
    assert_eq!(said("redirect_uri"), Some(callback));
    assert_eq!(
        said("client_id").as_deref(),
        Some("console"),
        "a public client"
    );
    let verifier = said("code_verifier").expect("a verifier");
    assert_eq!(verifier.len(), 43);
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(&verifier));
    assert_eq!(under_way.parameter("code_challenge"), challenge);
    came_to_nothing(&scene.complete_well(&under_way).await, "not_under_way");
    let asked = scene.publisher.asked();
    let sent = asked.iter().filter(|path| *path == "/token").count();
    assert_eq!(sent, 1);
    // Another begins with others.
    let other = scene.begin().await;
    for name in ["state", "nonce", "code_challenge"] {
        assert_ne!(other.parameter(name), under_way.parameter(name));
    }
}
