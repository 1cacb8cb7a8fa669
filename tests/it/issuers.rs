//! Callers without static keys: whose tokens are let in, for what, and every way in which one is
//! refused.

mod keys;
pub mod logged;
mod matrix;
mod refused;
mod registered;
mod remembered;
mod stored;

use std::sync::Arc;

use reqwest::Method;
use serde_json::{Value, json};
use token_server::foundation::clock::{Clock, ManualClock, Ms};

use crate::access::{ANY_SCOPE, call, scope_of, specified};
use crate::kit::issuer::{GITHUB, Publisher, SigningKey, github_job, service_account};
use crate::kit::oidc::OauthServer;
use crate::kit::server::{Client, Options};
use crate::kit::{Provider, Server, TestDatabase, eventually, on_every_database};

on_every_database! {
    a_service_account_of_kubernetes_has_exactly_the_scopes_of_the_rule_that_it_meets,
    a_job_of_github_has_exactly_the_scopes_of_the_rule_that_it_meets,
    tokens_of_a_certified_provider_are_verified_by_discovery,
    a_verified_token_is_remembered_for_five_minutes_and_not_beyond_its_end,
    a_caller_without_a_key_is_named_in_the_audit,
}

/// A server on a clock that stands still, a realm of a provider with a token, and an issuer.
pub struct Scene {
    pub server: Server,
    pub clock: Arc<ManualClock>,
    pub key: SigningKey,
    pub publisher: Publisher,
    _provider: Provider,
}

impl Scene {
    pub async fn set(database: &TestDatabase) -> Self {
        Self::set_with(database, &[]).await
    }

    pub async fn set_with(database: &TestDatabase, env: &[(&'static str, &str)]) -> Self {
        let provider = Provider::start().await;
        let options = Options::default().with(env);
        let (server, clock) = Server::on_manual_clock_with(database, options).await;
        for realm in ["prod-mail", "staging-mail"] {
            let url = provider.url("/token");
            server.client.register_realm(realm, &url).await;
            server.client.save_secret(realm, "k").await;
            server.client.generation(realm, "k", 1).await;
        }
        server.settled().await;
        let key = SigningKey::new("first", "RS256");
        let publisher = Publisher::start(&[&key]).await;
        Self {
            server,
            clock,
            key,
            publisher,
            _provider: provider,
        }
    }

    pub fn admin(&self) -> &Client {
        &self.server.client
    }

    /// Registers the cluster whose keys are found by discovery.
    pub async fn register_cluster(&self) {
        let saved = self.admin().put("/api/issuer/k8s", &self.cluster()).await;
        saved.expect(200);
    }

    pub fn cluster(&self) -> Value {
        json!({
            "issuer": self.publisher.issuer(),
            "audiences": ["token-server"],
            "rules": [
                {
                    "when": "claims.sub == 'system:serviceaccount:prod:checkout'",
                    "scopes": ["token:read"], "realms": ["prod-*"],
                },
                {
                    "when": "claims['kubernetes.io'].namespace == 'ops'",
                    "scopes": ["token:read", "secret:read"],
                },
            ],
        })
    }

    pub fn account(&self, namespace: &str, account: &str) -> Value {
        let issuer = self.publisher.issuer();
        service_account(&issuer, namespace, account, &*self.clock)
    }

    /// The token of a service account, as Kubernetes signs it: without a type.
    pub fn token(&self, namespace: &str, account: &str) -> String {
        let header = json!({"alg": "RS256", "kid": self.key.id});
        self.key
            .token_with(&header, &self.account(namespace, account))
    }

    pub fn caller(&self, token: &str) -> Client {
        self.admin().with_key(token)
    }
}

/// Of all operations of the specification a caller reaches those of its scopes and no others.
async fn has_exactly(caller: &Client, scopes: &[&str]) {
    for (operation, _) in specified() {
        let scope = scope_of(&operation);
        // Sessions are for API keys; tests/it/sessions.rs says what a JWT is told.
        if ["", ANY_SCOPE].contains(&scope) {
            continue;
        }
        let status = call(caller, &operation, &json!({})).await.status.as_u16();
        assert_ne!(status, 401, "{operation}");
        let opens = scopes.contains(&scope);
        // What is not covered is refused, too: what opens is tried below.
        assert!(opens || status == 403, "{operation}: {status}");
    }
}

async fn a_service_account_of_kubernetes_has_exactly_the_scopes_of_the_rule_that_it_meets(
    database: TestDatabase,
) {
    let scene = Scene::set(&database).await;
    scene.register_cluster().await;
    let checkout = scene.caller(&scene.token("prod", "checkout"));
    checkout.token("prod-mail", "k").await.expect(200);
    let denied = checkout.token("staging-mail", "k").await;
    denied.expect_problem(403, "forbidden");
    has_exactly(&checkout, &["token:read"]).await;
    // The first rule that is met decides, and this one meets the second.
    let ops = scene.caller(&scene.token("ops", "checkout"));
    ops.token("staging-mail", "k").await.expect(200);
    assert_eq!(ops.list("/api/secret").await.len(), 2);
    has_exactly(&ops, &["token:read", "secret:read"]).await;
    for (namespace, account) in [("prod", "cart"), ("staging", "checkout"), ("op", "s")] {
        let other = scene.caller(&scene.token(namespace, account));
        let refused = other.token("prod-mail", "k").await;
        refused.expect_problem(401, "unauthorized");
    }
    let found = ["/.well-known/openid-configuration", "/jwks"];
    assert_eq!(scene.publisher.asked(), found);
}

async fn a_job_of_github_has_exactly_the_scopes_of_the_rule_that_it_meets(database: TestDatabase) {
    let scene = Scene::set(&database).await;
    let registration = json!({
        "issuer": GITHUB,
        "audiences": ["token-server"],
        "jwks_url": scene.publisher.url("/jwks"),
        "rules": [
            {
                "when": "claims.repository == 'acme/site' and claims.ref == 'refs/heads/main'",
                "scopes": ["token:read"], "realms": ["prod-*"], "keys": ["k"],
            },
            {
                "when": "claims.repository_owner == 'acme' and claims.event_name == 'push'",
                "scopes": ["realm:read"],
            },
        ],
    });
    let saved = scene.admin().put("/api/issuer/github", &registration).await;
    saved.expect(200);
    let job = |repository: &str, reference: &str| {
        let claims = github_job(repository, reference, &*scene.clock);
        scene.caller(&scene.key.token(&claims))
    };
    let main = job("acme/site", "refs/heads/main");
    main.token("prod-mail", "k").await.expect(200);
    let denied = main.token("staging-mail", "k").await;
    denied.expect_problem(403, "forbidden");
    has_exactly(&main, &["token:read"]).await;
    let branch = job("acme/site", "refs/heads/other");
    branch.get("/api/realm").await.expect(200);
    has_exactly(&branch, &["realm:read"]).await;
    for (repository, reference) in [
        ("acme-evil/site", "refs/heads/main"),
        ("evil/acme", "refs/heads/main"),
    ] {
        let refused = job(repository, reference).token("prod-mail", "k").await;
        refused.expect_problem(401, "unauthorized");
    }
    assert_eq!(scene.publisher.asked(), ["/jwks"]);
}

async fn tokens_of_a_certified_provider_are_verified_by_discovery(database: TestDatabase) {
    let oauth = OauthServer::start(1, 60);
    let server = Server::start(&database).await;
    let registration = json!({
        "issuer": oauth.issuer,
        "audiences": ["https://api.example"],
        "rules": [{
            "when": "claims.client_id == 'jwt-tokens' and 'read' in claims.scope",
            "scopes": ["realm:read"],
        }],
    });
    let client = &server.client;
    let saved = client.put("/api/issuer/oidc", &registration).await;
    saved.expect(200);
    let request = reqwest::Client::builder()
        .no_proxy()
        .build()
        .expect("a client");
    let request = request
        .request(Method::POST, oauth.token_endpoint())
        .basic_auth("jwt-tokens", Some("secret-of-jwt-tokens-0123456789abcdef"))
        .header("content-type", "application/x-www-form-urlencoded")
        .body("grant_type=client_credentials&scope=read");
    let answer = request.send().await.expect("the provider answers");
    let answer: Value = serde_json::from_str(&answer.text().await.expect("text")).expect("JSON");
    let token = answer["access_token"].as_str().expect("a token").to_owned();
    let caller = client.with_key(&token);
    caller.get("/api/realm").await.expect(200);
    let denied = caller.get("/api/secret").await;
    denied.expect_problem(403, "forbidden");
    // One letter of the signature is another.
    let last = if token.ends_with('A') { "BAA" } else { "AAA" };
    let forged = format!("{}{last}", &token[..token.len() - 3]);
    let refused = client.with_key(&forged).get("/api/realm").await;
    refused.expect_problem(401, "unauthorized");
}

async fn a_verified_token_is_remembered_for_five_minutes_and_not_beyond_its_end(
    database: TestDatabase,
) {
    let scene = Scene::set(&database).await;
    scene.register_cluster().await;
    let mut claims = scene.account("prod", "checkout");
    let now = scene.clock.now().0 / 1000;
    claims["exp"] = json!(now + 120);
    let (long, short) = (scene.token("prod", "checkout"), scene.key.token(&claims));
    let (long, short) = (scene.caller(&long), scene.caller(&short));
    for caller in [&long, &short] {
        caller.token("prod-mail", "k").await.expect(200);
    }
    // From now on nobody verifies anything: other keys are published.
    let other = SigningKey::new("other", "RS256");
    scene.publisher.publish(&[&other]);
    // It is served from memory, as it is to a key.
    scene.server.follows().await;
    let served = long.token("prod-mail", "k").await.expect(200).json();
    assert_eq!(served["source"], "cache");
    scene.clock.advance(Ms::from_secs(119));
    short.token("prod-mail", "k").await.expect(200);
    scene.clock.advance(Ms::from_secs(62));
    let refused = short.token("prod-mail", "k").await;
    refused.expect_problem(401, "unauthorized");
    long.token("prod-mail", "k").await.expect(200);
    // The issuer is asked again before keys are used that are so old.
    let rest = Ms::from_secs(299 - 181);
    scene.clock.advance(rest);
    long.token("prod-mail", "k").await.expect(200);
    // After five minutes it is verified anew, with the keys that are still known.
    scene.clock.advance(Ms::from_secs(1));
    assert_eq!(scene.publisher.fetches(), 1);
    long.token("prod-mail", "k").await.expect(200);
    scene.clock.advance(Ms::from_secs(3300));
    let refused = long.token("prod-mail", "k").await;
    refused.expect_problem(401, "unauthorized");
}

async fn a_caller_without_a_key_is_named_in_the_audit(database: TestDatabase) {
    let scene = Scene::set(&database).await;
    scene.register_cluster().await;
    let caller = scene.caller(&scene.token("prod", "checkout"));
    caller
        .get("/api/audit")
        .await
        .expect_problem(403, "forbidden");
    let mut claims = scene.account("prod", "checkout");
    let mut rules = scene.cluster();
    rules["rules"] = json!([{"when": "claims.iss is defined", "scopes": ["realm:write"]}]);
    scene
        .admin()
        .put("/api/issuer/k8s", &rules)
        .await
        .expect(200);
    claims["sub"] = json!(format!("a\nb\u{202e}é{}", "x".repeat(300)));
    let odd = scene.caller(&scene.key.token(&claims));
    let realm = json!({"id": "made"});
    odd.post("/api/realm", &realm).await.expect(200);
    let named = eventually("both are in the audit", async || {
        let entries = scene.admin().list("/api/audit").await;
        let named = |action: &str| {
            let entry = entries.iter().find(|entry| entry["action"] == action)?;
            entry["actor"].as_str().map(str::to_owned)
        };
        Some((named("GET")?, named("realm.save")?))
    });
    let _ = named.await;
    let entries = scene.admin().list("/api/audit").await;
    let denied = entries.iter().find(|entry| entry["target"] == "/api/audit");
    assert_eq!(
        denied.expect("it is there")["actor"],
        "jwt:k8s:system:serviceaccount:prod:checkout"
    );
    let made = entries.iter().find(|entry| entry["target"] == "made");
    let actor = made.expect("it is there")["actor"]
        .as_str()
        .expect("a text");
    assert!(actor.starts_with("jwt:k8s:a?b??xxx"), "{actor}");
    assert_eq!(actor.chars().count(), 200);
}
