//! What a credential that is limited to some keys can do by each operation of the specification,
//! whatever form the name of a secret has, and while the credential is narrowed or revoked.

mod narrowed;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use token_server::foundation::clock::Clock;
use token_server::foundation::pattern::Pattern;

use super::{ANY_SCOPE, call, make_key, scope_of, specification, specified};
use crate::kit::issuer::SigningKey;
use crate::kit::server::Client;
use crate::kit::{Provider, Server, TestDatabase, on_every_database};
use crate::rights::{LIMITED, aimed_at};

on_every_database! {
    a_credential_of_some_keys_sees_and_changes_no_other_by_any_operation_or_form_of_a_name,
    lists_that_are_asked_for_other_keys_show_and_count_none_of_them,
}

/// What an operation is to a credential of some keys of a realm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    /// It names a secret: open for those that are covered, and closed for all others.
    OfSecret,
    /// Open, and shows those that are covered.
    List,
    /// Open, and tells of those that are covered, in no list.
    Telling,
    /// Open: it concerns no secret, and shows none.
    OfNoSecret,
    /// Closed: it concerns all secrets of a realm, or of all realms.
    OfAll,
}

const RULES: [(Rule, &str); 5] = [
    (
        Rule::OfSecret,
        "GET /api/token, GET /api/token/watch, PUT /api/token, POST /api/token/flush, \
         POST /api/token/report, POST /api/secret, GET /api/secret/{realm}/{key}, \
         DELETE /api/secret/{realm}/{key}, POST /api/secret/{realm}/{key}/pause, \
         POST /api/secret/{realm}/{key}/resume, GET /api/realm/{id}/preview",
    ),
    (Rule::List, "GET /api/secret, GET /api/renewal"),
    (Rule::Telling, "GET /api/overview, GET /api/event"),
    (
        Rule::OfNoSecret,
        "GET /api/realm, GET /api/realm/{id}, GET /api/preset, GET /api/preset/{id}, \
         POST /api/realm/test",
    ),
    (
        Rule::OfAll,
        "POST /api/realm, DELETE /api/realm/{id}, POST /api/preset/{id}, POST /api/renewal/run, \
         GET /api/api-key, POST /api/api-key, DELETE /api/api-key/{id}, GET /api/issuer, \
         GET /api/issuer/{name}, PUT /api/issuer/{name}, DELETE /api/issuer/{name}, \
         GET /api/audit, GET /metrics, GET /api/settings",
    ),
];

fn rule_of(operation: &str) -> Rule {
    let is_listed = |(_, names): &&(Rule, &str)| names.split(", ").any(|name| name == operation);
    match RULES.iter().find(is_listed) {
        Some((rule, _)) => *rule,
        None => panic!("{operation} has no rule for credentials of some keys"),
    }
}

/// Operations that need a scope. Those that need none but a credential are of sessions, which have
/// the rights of their key (`sessions.rs`).
fn secured() -> impl Iterator<Item = String> {
    let operations = specified().into_iter().map(|(operation, _)| operation);
    operations.filter(|operation| !["", ANY_SCOPE].contains(&scope_of(operation)))
}

/// Whether the specification says that an operation takes the key of a secret.
fn takes_a_key(specification: &Value, operation: &str) -> bool {
    let (method, path) = operation.split_once(' ').expect("a method and a path");
    let described = &specification["paths"][path][method.to_lowercase()];
    let parameters = described["parameters"].as_array().into_iter().flatten();
    let mut names = parameters.map(|parameter| &parameter["name"]);
    let body = &described["requestBody"]["content"]["application/json; charset=utf-8"]["schema"];
    let body = match body {
        Value::Null => &described["requestBody"]["content"]["application/json"]["schema"],
        other => other,
    };
    let reference = body["$ref"].as_str().unwrap_or_default();
    let model = reference.rsplit('/').next().unwrap_or_default();
    let fields = &specification["components"]["schemas"][model]["properties"];
    names.any(|name| name == "key") || fields["key"].is_object()
}

#[test]
fn each_operation_has_a_rule_and_one_that_takes_a_key_is_held_to_the_patterns_of_keys() {
    let specification = specification();
    let mut taking = 0;
    for operation in secured() {
        let of_keys = [Rule::OfSecret, Rule::List].contains(&rule_of(&operation));
        if takes_a_key(&specification, &operation) {
            assert!(of_keys, "{operation} takes a key");
            taking += 1;
        }
    }
    assert_eq!(taking, 12, "the specification is read in another way");
    for name in RULES.iter().flat_map(|(_, names)| names.split(", ")) {
        assert!(secured().any(|operation| operation == name), "{name}");
    }
}

const REALM: &str = "r";
const COVERED: [&str; 2] = ["a1", "a2"];
const PATTERN: &str = "a*";
/// Another letter, the other case, the full width, a letter with an accent in one character, and
/// a name that holds a covered one.
const OTHERS: [&str; 5] = ["b-one", "A-two", "\u{ff41}-three", "\u{e1}-four", "xa1"];

/// All that has a meaning in URLs.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.');

fn encoded(name: &str) -> String {
    utf8_percent_encode(name, ENCODED).to_string()
}

fn each_byte_encoded(name: &str) -> String {
    name.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

/// A name as it is written in a URL, and as it is meant; `None`: no name is meant.
fn forms(name: &str) -> Vec<(String, Option<String>)> {
    let meant = |name: String| (encoded(&name), Some(name));
    let mut forms = vec![
        meant(name.to_owned()),
        (each_byte_encoded(name), Some(name.to_owned())),
        (
            each_byte_encoded(name).to_uppercase(),
            Some(name.to_owned()),
        ),
        // What is decoded once is another name.
        meant(each_byte_encoded(name)),
        meant(encoded(name)),
        meant(format!("{name}.")),
        meant(format!("{name}/")),
        meant(format!("/{name}")),
        (format!("{}/", encoded(name)), None),
        (format!("a1/../{}", encoded(name)), None),
        (format!("a1/%2e%2e/{}", encoded(name)), None),
        meant(format!("a1/../{name}")),
        meant(format!("a1%2F..%2F{name}")),
        meant(format!("a1\0{name}")),
        meant(format!("a1\n{name}")),
        meant(format!("a1,{name}")),
        meant(format!("a1\u{200b}{name}")),
        meant(format!(" {name}")),
        meant(format!("{name} ")),
        meant(name.to_uppercase()),
        meant(name.to_lowercase()),
    ];
    for (one, other) in [
        // In one character and in two; of full width and of half.
        ("\u{e1}", "a\u{301}"),
        ("\u{ff41}", "a"),
        ("b", "\u{ff42}"),
        ("A", "\u{ff21}"),
        ("x", ""),
    ] {
        forms.push(meant(name.replace(one, other)));
    }
    // Those it has are its own.
    forms.retain(|(_, meant)| !meant.as_deref().is_some_and(|name| COVERED.contains(&name)));
    forms
}

/// A server on which each secret has a token, and an API key and a JWT that are good for some.
async fn scene(
    database: &TestDatabase,
    provider: &Provider,
) -> (Server, [(&'static str, Client); 2]) {
    let (server, clock) = Server::on_manual_clock(database).await;
    let client = &server.client;
    client.register_realm(REALM, &provider.url("/token")).await;
    for key in COVERED.into_iter().chain(OTHERS) {
        client.save_secret(REALM, key).await;
    }
    let tokens = "SELECT COUNT(*) FROM ts_token WHERE generation = 1";
    let count = i64::try_from(COVERED.len() + OTHERS.len()).expect("a few");
    crate::kit::eventually("each has a token", async || {
        (database.number(tokens).await == count).then_some(())
    })
    .await;
    server.settled().await;
    let document = json!({"name": "limited", "scopes": LIMITED, "keys": [PATTERN]});
    let api_key = client.with_key(&make_key(client, &document).await.1);
    let signing = SigningKey::new("k", "ES256");
    let rule = json!({"when": "claims.sub == 'limited'", "scopes": LIMITED, "keys": [PATTERN]});
    register(client, &signing, &rule).await;
    let token = client.with_key(&signing.token(&claims(&*clock)));
    (server, [("API key", api_key), ("JWT", token)])
}

async fn register(client: &Client, key: &SigningKey, rule: &Value) {
    let registration = json!({
        "issuer": "https://issuer.example", "audiences": ["a"], "algorithms": ["ES256"],
        "jwks": {"keys": [key.jwk()]}, "rules": [rule],
    });
    let saved = client.put("/api/issuer/one", &registration).await;
    saved.expect(200);
}

fn claims(clock: &dyn Clock) -> Value {
    let now = clock.now().0 / 1000;
    json!({
        "iss": "https://issuer.example", "aud": "a", "sub": "limited",
        "exp": now + 100_000, "iat": now,
    })
}

/// The secrets that are not covered, as an administrator sees them.
async fn others(client: &Client) -> Vec<Value> {
    let mut secrets = client.list("/api/secret").await;
    secrets.retain(|secret| OTHERS.iter().any(|other| secret["key"] == *other));
    secrets
}

async fn a_credential_of_some_keys_sees_and_changes_no_other_by_any_operation_or_form_of_a_name(
    database: TestDatabase,
) {
    let provider = Provider::start().await;
    let (server, callers) = scene(&database, &provider).await;
    let before = others(&server.client).await;
    assert_eq!(before.len(), OTHERS.len());
    let realm = server.client.get("/api/realm/r").await.expect(200).json();
    let pattern = Pattern::new(PATTERN);
    let (mut closed, mut open) = (0, 0);
    for operation in secured() {
        let rule = rule_of(&operation);
        for (kind, caller) in &callers {
            if rule != Rule::OfSecret {
                let (called, body) = aimed_at(&operation, REALM, OTHERS[0]);
                let reply = call(caller, &called, &body).await;
                let status = reply.status.as_u16();
                let what = format!("{operation} by {kind}: {status} {}", reply.text);
                assert_ne!(status, 401, "{what}");
                assert_eq!(status == 403, rule == Rule::OfAll, "{what}");
                if status != 403 {
                    for other in OTHERS {
                        assert!(!reply.text.contains(&format!("\"{other}\"")), "{what}");
                    }
                    open += 1;
                }
                continue;
            }
            for (url, meant) in OTHERS.iter().flat_map(|other| forms(other)) {
                let in_url = operation.contains("{key}") || operation.starts_with("GET ");
                let Some(name) = meant.as_deref().or(in_url.then_some(OTHERS[0])) else {
                    continue;
                };
                let (called, _) = aimed_at(&operation, REALM, &url);
                let (_, body) = aimed_at(&operation, REALM, name);
                let reply = call(caller, &called, &body).await;
                let status = reply.status.as_u16();
                let what = format!("{operation} of {url} by {kind}: {status} {}", reply.text);
                let is_name = !name.chars().any(char::is_control) && name.trim() == name;
                match &meant {
                    Some(name) if !is_name => {
                        assert!([400, 403, 422].contains(&status), "{name:?}: {what}");
                    }
                    Some(name) if !pattern.matches(name) => assert_eq!(status, 403, "{what}"),
                    // A secret of its own: it may make it, and see and change what it made.
                    Some(_) => assert!(![401, 403, 500].contains(&status), "{what}"),
                    None => assert!([400, 403, 404, 405].contains(&status), "{what}"),
                }
                closed += 1;
            }
            // A second name beside a covered one.
            if operation.starts_with("GET ") && !operation.contains("{key}") {
                let (called, body) = aimed_at(&operation, REALM, "a1");
                let doubled = format!("{called}&key={}", encoded(OTHERS[0]));
                let reply = call(caller, &doubled, &body).await;
                assert_eq!(reply.status, 400, "{doubled} by {kind}: {}", reply.text);
            }
        }
    }
    server.settled().await;
    assert_eq!(others(&server.client).await, before);
    let after = server.client.get("/api/realm/r").await.expect(200).json();
    assert_eq!(after, realm);
    assert!(closed > 2000 && open == 18, "{closed} {open}");
    // What is covered opens.
    for operation in secured().filter(|operation| rule_of(operation) == Rule::OfSecret) {
        for (kind, caller) in &callers {
            if operation.starts_with("DELETE ") {
                continue;
            }
            let (called, body) = aimed_at(&operation, REALM, "a1");
            let status = call(caller, &called, &body).await.status.as_u16();
            assert!(
                ![401, 403].contains(&status),
                "{operation} by {kind}: {status}"
            );
        }
    }
    for (key, (kind, caller)) in COVERED.into_iter().zip(&callers) {
        let reply = caller.delete(&format!("/api/secret/r/{key}")).await;
        assert_eq!(reply.status, 200, "{kind}: {}", reply.text);
    }
}

async fn lists_that_are_asked_for_other_keys_show_and_count_none_of_them(database: TestDatabase) {
    let provider = Provider::start().await;
    let (_server, callers) = scene(&database, &provider).await;
    for (kind, caller) in &callers {
        for list in secured().filter(|operation| rule_of(operation) == Rule::List) {
            let path = list.strip_prefix("GET ").expect("lists are read");
            let asked = async |query: &str| {
                let reply = caller.get(&format!("{path}{query}")).await.expect(200);
                let data = &reply.json()["data"];
                let listed = data["list"].as_array().expect("a list").iter();
                let mut keys: Vec<_> = listed.map(|one| one["key"].clone()).collect();
                keys.sort_by_key(Value::to_string);
                (json!(keys), data["total"].clone())
            };
            let all = (json!(COVERED), json!(COVERED.len()));
            for query in ["", "?realm=r", "?realm=r&pageSize=100"] {
                assert_eq!(asked(query).await, all, "{path}{query} by {kind}");
            }
            let second = asked("?page=2&pageSize=1").await;
            assert_eq!(second.1, json!(2), "{path} by {kind}");
            for other in OTHERS {
                let filter = match path {
                    "/api/secret" => "keyword",
                    _ => "realm=r&key",
                };
                let query = format!("?{filter}={}", encoded(other));
                let none = (json!([]), json!(0));
                assert_eq!(asked(&query).await, none, "{path}{query} by {kind}");
            }
        }
    }
}
