//! The matrix of who may do what: each operation of the specification, by each scope, with and
//! without patterns, in each state of the credential, shown as an API key and as a JWT.

use std::sync::Arc;

use serde_json::{Value, json};
use token_server::foundation::clock::{Clock, ManualClock, Ms};

use crate::access::{ANY_SCOPE, SCOPES, call, make_key, scope_of, specified};
use crate::kit::issuer::SigningKey;
use crate::kit::server::Client;
use crate::kit::{Server, TestDatabase, on_every_database};
use crate::rights::{LIMITED, LISTS, OF_NO_NAME, aimed_at};

on_every_database! {
    keys_and_tokens_of_the_same_rights_open_the_same_operations_and_no_others,
    no_operation_opens_to_a_credential_that_is_not_good_now,
}

/// With an API key only.
const BEGINS_SESSION: &str = "POST /api/session";
const ISSUER: &str = "https://issuer.example";

/// What the patterns of a credential are for the realm `r`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Patterns {
    None,
    Covering,
    Elsewhere,
}

/// One row: the rights of a credential.
#[derive(Clone, Copy, Debug)]
struct Rights {
    scope: &'static str,
    patterns: Patterns,
}

impl Rights {
    fn all() -> Vec<Self> {
        let of = |patterns| move |scope| Rights { scope, patterns };
        let covering = LIMITED.into_iter().map(of(Patterns::Covering));
        let elsewhere = LIMITED.into_iter().map(of(Patterns::Elsewhere));
        let everything = SCOPES.into_iter().map(of(Patterns::None));
        everything.chain(covering).chain(elsewhere).collect()
    }

    fn name(&self) -> String {
        format!("{} {:?}", self.scope, self.patterns)
    }

    /// As they stand in an API key and in a rule.
    fn document(&self) -> Value {
        let mut document = json!({"scopes": [self.scope]});
        match self.patterns {
            Patterns::None => {}
            Patterns::Covering => document["realms"] = json!(["r"]),
            Patterns::Elsewhere => document["realms"] = json!(["s", "rr", "R"]),
        }
        document
    }

    /// Whether an operation opens to them, by the one rule there is.
    fn open(&self, operation: &str) -> bool {
        let needed = scope_of(operation);
        let is_admin = self.scope == "admin" && !needed.starts_with("token:");
        let names_none = [&OF_NO_NAME[..], &LISTS].concat().contains(&operation);
        let covers = self.patterns != Patterns::Elsewhere || names_none;
        (self.scope == needed || is_admin || needed == ANY_SCOPE) && covers
    }
}

fn claims(subject: &str, clock: &dyn Clock) -> Value {
    let now = clock.now().0 / 1000;
    json!({"iss": ISSUER, "aud": "a", "sub": subject, "exp": now + 100_000, "iat": now})
}

fn registration(key: &SigningKey, rules: &[Value]) -> Value {
    json!({
        "issuer": ISSUER, "audiences": ["a"], "algorithms": ["ES256"],
        "jwks": {"keys": [key.jwk()]}, "rules": rules,
    })
}

async fn set(database: &TestDatabase) -> (Server, Arc<ManualClock>, SigningKey) {
    let (server, clock) = Server::on_manual_clock(database).await;
    (server, clock, SigningKey::new("k", "ES256"))
}

fn secured() -> impl Iterator<Item = String> {
    let operations = specified().into_iter().map(|(operation, _)| operation);
    operations.filter(|operation| !scope_of(operation).is_empty())
}

async fn keys_and_tokens_of_the_same_rights_open_the_same_operations_and_no_others(
    database: TestDatabase,
) {
    let (server, clock, key) = set(&database).await;
    let client = &server.client;
    let (mut rules, mut callers) = (Vec::new(), Vec::new());
    for rights in Rights::all() {
        let mut rule = rights.document();
        rule["when"] = json!(format!("claims.sub == '{}'", rights.name()));
        rules.push(rule);
        let mut document = rights.document();
        document["name"] = json!(rights.name());
        let api_key = client.with_key(&make_key(client, &document).await.1);
        let token = key.token(&claims(&rights.name(), &*clock));
        let credentials = [("API key", api_key), ("JWT", client.with_key(&token))];
        callers.push((rights, credentials));
    }
    let saved = client
        .put("/api/issuer/one", &registration(&key, &rules))
        .await;
    saved.expect(200);
    let mut opened = 0;
    for operation in secured() {
        for (rights, credentials) in &callers {
            for (credential, caller) in credentials {
                let (called, body) = aimed_at(&operation, "r", "k");
                let status = call(caller, &called, &body).await.status.as_u16();
                let begins = *credential == "JWT" && operation == BEGINS_SESSION;
                let expected = rights.open(&operation) && !begins;
                let what = format!(
                    "{operation} with {} by {credential}: {status}",
                    rights.name()
                );
                assert_ne!(status, 401, "{what}");
                assert_eq!(status != 403, expected, "{what}");
                opened += usize::from(expected);
            }
        }
    }
    assert!(opened > 2 * secured().count(), "{opened}");
}

async fn no_operation_opens_to_a_credential_that_is_not_good_now(database: TestDatabase) {
    let (server, clock, key) = set(&database).await;
    let client = &server.client;
    let rules = [json!({"when": "claims.sub == 'all'", "scopes": SCOPES})];
    let saved = client
        .put("/api/issuer/one", &registration(&key, &rules))
        .await;
    saved.expect(200);
    let mut deleted = registration(&key, &rules);
    deleted["issuer"] = json!("https://deleted.example");
    client
        .put("/api/issuer/deleted", &deleted)
        .await
        .expect(200);
    let with = |changes: Value| {
        let mut claims = claims("all", &*clock);
        for (name, value) in changes.as_object().expect("an object") {
            claims[name] = value.clone();
        }
        client.with_key(&key.token(&claims))
    };
    let now = clock.now().0 / 1000;
    let (expired, of_deleted) = (
        with(json!({"exp": now + 10})),
        with(json!({"iss": "https://deleted.example"})),
    );
    let document = |name: &str| json!({"name": name, "scopes": SCOPES});
    let mut ending = document("expired");
    ending["expires_at"] = json!(clock.now().0 + 10_000);
    let expired_key = client.with_key(&make_key(client, &ending).await.1);
    let (id, revoked) = make_key(client, &document("revoked")).await;
    let revoked = client.with_key(&revoked);
    let are_good = async |callers: &[&Client]| {
        for caller in callers {
            caller.get("/api/realm").await.expect(200);
        }
    };
    are_good(&[&expired, &of_deleted, &expired_key, &revoked]).await;
    client
        .delete(&format!("/api/api-key/{id}"))
        .await
        .expect(200);
    client.delete("/api/issuer/deleted").await.expect(200);
    clock.advance(Ms::from_secs(71));
    server.follows().await;
    let states = [
        ("an API key that has expired", expired_key),
        ("a revoked API key", revoked),
        ("an unknown API key", client.with_key("tsk_unknown")),
        ("a JWT that has expired", expired),
        ("a JWT of a deleted issuer", of_deleted),
        (
            "a JWT of an unknown issuer",
            with(json!({"iss": "https://unknown.example"})),
        ),
        (
            "a JWT that is not valid yet",
            with(json!({"nbf": now + 1000})),
        ),
        ("a JWT for others", with(json!({"aud": "b"}))),
        ("a JWT that meets no rule", with(json!({"sub": "nobody"}))),
        ("nothing", client.without_key()),
    ];
    for operation in secured() {
        for (state, caller) in &states {
            let (called, body) = aimed_at(&operation, "r", "k");
            let refused = call(caller, &called, &body).await;
            assert_eq!(refused.status, 401, "{operation} with {state}");
        }
    }
}
