//! Who is no provider goes through the default proxy, another or none, too: the webhook, the
//! receiver of the audit, and whoever publishes an issuer's keys.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use token_server::foundation::clock::SystemClock;

use super::{URL, start};
use crate::kit::internet::{Internet, Response};
use crate::kit::issuer::{SigningKey, service_account};
use crate::kit::proxies::LyingProxy;
use crate::kit::{Answer, Provider, Server, TestDatabase, eventually, on_every_database};

on_every_database! {
    a_webhook_goes_through_the_default_proxy_another_or_none,
    a_copy_of_the_audit_goes_through_the_default_proxy_another_or_none,
    keys_of_an_issuer_are_fetched_through_the_default_proxy_another_or_none,
}

const OTHER: &str = "TOKEN_SERVER__UPSTREAM__PROXIES__OTHER__URL";

/// What is said of a proxy, and whether the default one and the other are asked.
const CHOICES: [(Option<&str>, bool, bool); 4] = [
    (None, true, false),
    (Some("default"), true, false),
    (Some("direct"), false, false),
    (Some("other"), false, true),
];

/// Where every name leads, with two proxies on the way.
struct Outside {
    internet: Internet,
    arrived: Arc<Mutex<Vec<String>>>,
    default: LyingProxy,
    other: LyingProxy,
}

impl Outside {
    async fn set(body: Value) -> Self {
        let internet = Internet::start().await;
        let arrived = Arc::<Mutex<Vec<String>>>::default();
        let seen = arrived.clone();
        internet.answer(move |request| {
            seen.lock()
                .expect("nothing panics with it")
                .push(request.url);
            Response {
                status: 200,
                headers: Vec::new(),
                body: body.to_string().into_bytes(),
            }
        });
        Self {
            default: LyingProxy::leading_to(internet.address()).await,
            other: LyingProxy::leading_to(internet.address()).await,
            internet,
            arrived,
        }
    }

    async fn server(&self, database: &TestDatabase, env: &[(&'static str, &str)]) -> Server {
        let [default, other] =
            [&self.default, &self.other].map(|proxy| format!("http://{}", proxy.address));
        let env = [&[(URL, &*default), (OTHER, &*other)], env].concat();
        start(database, &self.internet, &env).await
    }

    /// Waits until something has arrived, and answers which proxies were asked for it since.
    async fn asked(&self, before: (usize, usize), url: &str) -> (bool, bool) {
        eventually(url, async || {
            let arrived = self.arrived.lock().expect("nothing panics with it");
            arrived.iter().any(|arrived| arrived == url).then_some(())
        })
        .await;
        let now = self.counts();
        (now.0 > before.0, now.1 > before.1)
    }

    fn counts(&self) -> (usize, usize) {
        (self.default.asked().len(), self.other.asked().len())
    }
}

fn with<'a>(
    mut env: Vec<(&'static str, &'a str)>,
    key: &'static str,
    choice: Option<&'a str>,
) -> Vec<(&'static str, &'a str)> {
    env.extend(choice.map(|name| (key, name)));
    env
}

async fn a_webhook_goes_through_the_default_proxy_another_or_none(database: TestDatabase) {
    let outside = Outside::set(json!({})).await;
    let provider = Provider::start().await;
    provider.answer_with(Answer::status(401).with_json(&json!({"error": "invalid_client"})));
    for (choice, default, other) in CHOICES {
        let realm = choice.unwrap_or("unsaid");
        let url = format!("https://hook.example/{realm}");
        let env = vec![
            ("TOKEN_SERVER__WEBHOOK__URL", &*url),
            (
                "TOKEN_SERVER__WEBHOOK__SECRET",
                "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
            ),
            ("TOKEN_SERVER__WEBHOOK__FAILING_AFTER", "1"),
        ];
        let env = with(env, "TOKEN_SERVER__WEBHOOK__PROXY", choice);
        let before = outside.counts();
        let server = outside.server(&database, &env).await;
        server
            .client
            .register_realm(realm, &provider.url("/token"))
            .await;
        server.client.save_secret(realm, "k").await;
        assert_eq!(
            outside.asked(before, &url).await,
            (default, other),
            "{choice:?}"
        );
        server
            .client
            .delete(&format!("/api/secret/{realm}/k"))
            .await
            .expect(200);
        server.stop().await;
    }
}

async fn a_copy_of_the_audit_goes_through_the_default_proxy_another_or_none(
    database: TestDatabase,
) {
    let outside = Outside::set(json!({})).await;
    for (choice, default, other) in CHOICES {
        let url = format!("https://audit.example/{}", choice.unwrap_or("unsaid"));
        let env = with(
            vec![("TOKEN_SERVER__AUDIT__URL", &*url)],
            "TOKEN_SERVER__AUDIT__PROXY",
            choice,
        );
        let before = outside.counts();
        let server = outside.server(&database, &env).await;
        let realm = json!({"id": "fixed", "comment": url});
        server.client.post("/api/realm", &realm).await.expect(200);
        assert_eq!(
            outside.asked(before, &url).await,
            (default, other),
            "{choice:?}"
        );
        server.stop().await;
    }
}

async fn keys_of_an_issuer_are_fetched_through_the_default_proxy_another_or_none(
    database: TestDatabase,
) {
    let key = SigningKey::new("first", "ES256");
    let outside = Outside::set(json!({"keys": [key.jwk()]})).await;
    let server = outside.server(&database, &[]).await;
    for (choice, default, other) in CHOICES {
        let url = format!("https://keys.example/{}", choice.unwrap_or("unsaid"));
        let mut registration = json!({
            "issuer": "https://issuer.example", "audiences": ["token-server"],
            "algorithms": ["ES256"], "jwks_url": url,
            "rules": [{"when": "claims.sub is defined", "scopes": ["realm:read"]}],
        });
        if let Some(name) = choice {
            registration["proxy"] = json!(name);
        }
        let before = outside.counts();
        let saved = server
            .client
            .put("/api/issuer/k8s", &registration)
            .await
            .expect(200)
            .json();
        assert_eq!(saved["data"]["proxy"], json!(choice));
        let claims = service_account("https://issuer.example", "prod", "checkout", &SystemClock);
        let caller = server.client.with_key(&key.token(&claims));
        caller.get("/api/realm").await.expect(200);
        assert_eq!(
            outside.asked(before, &url).await,
            (default, other),
            "{choice:?}"
        );
    }
    for (name, told) in [
        ("nowhere", "upstream.proxies"),
        ("http://10.0.0.1:3128", "the name of a proxy"),
    ] {
        let registration = json!({
            "issuer": "https://issuer.example", "audiences": ["token-server"], "proxy": name,
        });
        let refused = server.client.put("/api/issuer/k8s", &registration).await;
        let problem = refused.expect_problem(422, "invalid_document");
        assert_eq!(problem["errors"][0]["pointer"], "/proxy", "{problem}");
        let detail = problem["errors"][0]["detail"].as_str().expect("a text");
        assert!(detail.contains(told), "{detail}");
    }
}
