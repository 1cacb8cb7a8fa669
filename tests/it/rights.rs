//! What a key with patterns, or without every scope, cannot do by any operation: see or change
//! another secret, send a stored credential elsewhere, give more than it has, show a secret as open.

mod destinations;
mod giving;

use serde_json::{Value, json};
use token_server::foundation::pattern::Pattern;

use crate::access::{call, scope_of, specified, with_key};
use crate::kit::server::Client;
use crate::kit::{Provider, Server, TestDatabase, on_every_database};

on_every_database! {
    a_key_of_patterns_sees_and_changes_nothing_else_by_any_operation,
    lists_show_what_the_patterns_of_a_key_cover_and_nothing_else,
    a_key_of_patterns_has_no_scope_that_concerns_all,
    who_may_not_change_all_secrets_of_a_realm_does_not_change_what_is_sent_for_them,
    a_token_is_derived_from_no_parent_that_its_maker_does_not_cover,
    a_parameter_that_was_saved_as_secret_is_never_shown,
}

/// The scopes that a key with patterns can have.
pub const LIMITED: [&str; 6] = [
    "token:read",
    "token:flush",
    "realm:read",
    "realm:write",
    "secret:read",
    "secret:write",
];

/// Operations that name no realm and no secret that is stored.
pub const OF_NO_NAME: [&str; 6] = [
    "POST /api/session",
    "GET /api/session",
    "DELETE /api/session",
    "GET /api/preset",
    "GET /api/preset/{id}",
    "POST /api/realm/test",
];
/// Those that show what is covered.
pub const LISTS: [&str; 5] = [
    "GET /api/overview",
    "GET /api/realm",
    "GET /api/secret",
    "GET /api/renewal",
    "GET /api/event",
];

async fn limited(client: &Client, name: &str, scopes: &[&str], patterns: Value) -> Client {
    let mut key = json!({"name": name, "scopes": scopes});
    for (field, list) in patterns.as_object().expect("an object") {
        key[field] = list.clone();
    }
    with_key(client, key).await
}

/// An operation of the specification as it is called for one secret, and its body.
pub fn aimed_at(operation: &str, realm: &str, key: &str) -> (String, Value) {
    let path = operation
        .replace("{realm}", realm)
        .replace("{key}", key)
        .replace("preset/{id}", "preset/auth0")
        .replace("api-key/{id}", "api-key/999999")
        .replace("issuer/{name}", "issuer/k8s")
        .replace("{id}", realm);
    let query = match operation {
        "GET /api/token" | "GET /api/token/watch" => format!("?realm={realm}&key={key}"),
        "POST /api/renewal/run" => format!("?realm={realm}"),
        "GET /api/realm/{id}/preview" => format!("?key={key}"),
        "DELETE /api/realm/{id}" => "?cascade=true".to_owned(),
        _ => String::new(),
    };
    let realm = realm.replace("%20", " ");
    let body = match operation {
        "POST /api/realm" => json!({"id": realm, "comment": "changed", "config": null}),
        "POST /api/preset/{id}" => json!({"id": realm, "replace": true}),
        "POST /api/secret" => json!({"realm": realm, "key": key, "key_1": "changed"}),
        "POST /api/token/report" => json!({"realm": realm, "key": key, "generation": 1}),
        "PUT /api/token" => json!({"realm": realm, "key": key, "token": "changed"}),
        "POST /api/api-key" => json!({"name": "made", "scopes": ["key:write"]}),
        _ => json!({"realm": realm, "key": key}),
    };
    (format!("{path}{query}"), body)
}

/// Everything that is stored, as an administrator sees it.
async fn everything(client: &Client) -> Value {
    let mut secrets = client.list("/api/secret").await;
    for secret in &mut secrets {
        // It is read, and so fetched, by nobody here.
        secret
            .as_object_mut()
            .expect("an object")
            .remove("last_attempt_at");
    }
    json!([client.list("/api/realm").await, secrets])
}

async fn a_key_of_patterns_sees_and_changes_nothing_else_by_any_operation(database: TestDatabase) {
    let provider = Provider::start().await;
    let server = Server::start(&database).await;
    let client = &server.client;
    for realm in ["a1", "b1", "auth0"] {
        client.register_realm(realm, &provider.url("/token")).await;
    }
    let secrets = [("a1", "k1"), ("a1", "x1"), ("b1", "k1"), ("auth0", "x1")];
    for (realm, key) in secrets {
        client.save_secret(realm, key).await;
        client.generation(realm, key, 1).await;
    }
    server.settled().await;
    let patterns = json!({"realms": ["a1"], "keys": ["k*"]});
    let caller = limited(client, "limited", &LIMITED, patterns).await;
    let (before, sent) = (everything(client).await, provider.request_count());
    for (operation, _) in specified() {
        let scope = scope_of(&operation);
        if scope.is_empty()
            || [&OF_NO_NAME[..], &LISTS]
                .concat()
                .contains(&operation.as_str())
        {
            continue;
        }
        // A realm, or a key, that is not covered; and names of other cases and with blanks.
        for (realm, key) in [
            ("b1", "k1"),
            ("a1", "x1"),
            ("A1", "k1"),
            ("a1%20", "k1"),
            ("auth0", "x1"),
        ] {
            let whole_realm = !operation.contains("{key}") && operation.contains("/realm");
            if whole_realm && realm == "a1" && !operation.contains("preview") {
                continue;
            }
            let (called, body) = aimed_at(&operation, realm, key);
            let realm = realm.replace("%20", " ");
            let reply = call(&caller, &called, &body).await;
            let status = reply.status.as_u16();
            // Names with blanks around them are none.
            let refused = status == 403 || realm.contains(' ') && [400, 422].contains(&status);
            assert!(
                refused,
                "{operation} of {realm}/{key}: {status} {}",
                reply.text
            );
        }
    }
    server.settled().await;
    assert_eq!(everything(client).await, before);
    assert_eq!(provider.request_count(), sent);
    // Nor is the preset of another realm's name put in its place by default.
    let preset = caller
        .post("/api/preset/auth0", &json!({"replace": true}))
        .await;
    preset.expect_problem(403, "forbidden");
    // What is covered is open to it.
    caller.token("a1", "k1").await.expect(200);
    caller.get("/api/secret/a1/k1").await.expect(200);
    caller.get("/api/realm/a1/preview?key=k1").await.expect(200);
    let of_lists = async |path: &str, name: &str| {
        let listed = caller.list(path).await;
        let names: Vec<_> = listed.iter().map(|one| one[name].clone()).collect();
        names
    };
    assert_eq!(of_lists("/api/realm", "id").await, ["a1"]);
    assert_eq!(of_lists("/api/secret", "key").await, ["k1"]);
    assert_eq!(of_lists("/api/renewal", "key").await, ["k1"]);
}

/// Names that databases, or their patterns, may take for each other.
const ODD: [&str; 12] = [
    "a_1", "aX1", "a%1", "A_1", "a[1]", "a1", "a?1", "a!1", "a\\1", "ä1", "a*", "a",
];

async fn lists_show_what_the_patterns_of_a_key_cover_and_nothing_else(database: TestDatabase) {
    let server = Server::start(&database).await;
    let client = &server.client;
    for name in ODD {
        client
            .post("/api/realm", &json!({"id": name}))
            .await
            .expect(200);
    }
    for key in ODD {
        let body = json!({"realm": "a", "key": key, "token": "t"});
        client.put("/api/token", &body).await.expect(200);
    }
    let patterns = [
        "a_1", "a%1", "a[1]", "a[*", "a?1", "a!*", "a\\*", "A*", "ä*", "a*1", "*1*", "*", "",
    ];
    for (number, pattern) in patterns.into_iter().enumerate() {
        let covered = |names: &mut dyn Iterator<Item = Value>| {
            let mut names: Vec<_> = names.map(|name| name.as_str().map(str::to_owned)).collect();
            names.sort();
            names
        };
        let pattern_ = Pattern::new(pattern);
        let expected = covered(
            &mut ODD
                .into_iter()
                .filter(|name| pattern_.matches(name))
                .map(Value::from),
        );
        for (field, path, name) in [
            ("realms", "/api/realm", "id"),
            ("keys", "/api/secret", "key"),
        ] {
            let scopes = ["realm:read", "secret:read"];
            let of = json!({field: [pattern]});
            let caller = limited(client, &format!("{field} {number}"), &scopes, of).await;
            let listed = caller.list(path).await;
            let listed = covered(&mut listed.iter().map(|one| one[name].clone()));
            assert_eq!(listed, expected, "{field} {pattern:?}");
        }
    }
    let nothing = limited(client, "nothing", &["realm:read"], json!({"realms": []})).await;
    assert_eq!(nothing.list("/api/realm").await, [] as [Value; 0]);
}

async fn a_key_of_patterns_has_no_scope_that_concerns_all(database: TestDatabase) {
    let server = Server::start(&database).await;
    let client = &server.client;
    for scope in ["key:write", "audit:read", "metrics", "admin"] {
        for patterns in [json!({"realms": ["a*"]}), json!({"keys": ["*"]})] {
            let mut key = patterns;
            key["name"] = json!("limited");
            key["scopes"] = json!(["token:read", scope]);
            let refused = client.post("/api/api-key", &key).await.expect(422).json();
            assert_eq!(refused["errors"][0]["pointer"], "/scopes/1", "{refused}");
        }
    }
}

async fn who_may_not_change_all_secrets_of_a_realm_does_not_change_what_is_sent_for_them(
    database: TestDatabase,
) {
    let (provider, thief) = (Provider::start().await, Provider::start().await);
    let server = Server::start(&database).await;
    let client = &server.client;
    client.register_realm("r", &provider.url("/token")).await;
    let writer = limited(client, "writer", &["realm:read", "realm:write"], json!({})).await;
    let both = ["realm:read", "realm:write", "secret:write"];
    let of_keys = limited(client, "of keys", &both, json!({"keys": ["k"]})).await;
    let of_realm = limited(client, "of realm", &both, json!({"realms": ["r"]})).await;
    // As long as there is nothing to be sent, the realm is theirs.
    writer.register_realm("r", &provider.url("/token")).await;
    client.save_secret("r", "k").await;
    client.generation("r", "k", 1).await;
    let to_thief = json!({"id": "r", "config": {
        "url": thief.url("/token"), "method": "GET", "token_path": "access_token",
        "arguments": [{"name": "secret", "place": "url", "value": "$key_2"}],
    }});
    let to_logic = json!({"id": "r", "config": null, "logic_code": thief.url("/logic")});
    let nowhere = json!({"id": "r", "config": null});
    for caller in [&writer, &of_keys] {
        for change in [&to_thief, &to_logic, &nowhere] {
            let refused = caller.post("/api/realm", change).await;
            refused.expect_problem(403, "forbidden");
        }
        let preset = json!({"id": "r", "replace": true});
        let refused = caller.post("/api/preset/auth0", &preset).await;
        refused.expect_problem(403, "forbidden");
        let refused = caller.delete("/api/realm/r?cascade=true").await;
        refused.expect_problem(403, "forbidden");
        let comment = json!({"id": "r", "comment": "theirs"});
        caller.post("/api/realm", &comment).await.expect(200);
    }
    of_realm.register_realm("r", &provider.url("/newer")).await;
    server.settled().await;
    assert_eq!(thief.request_count(), 0);
    of_realm
        .delete("/api/realm/r?cascade=true")
        .await
        .expect(200);
}

async fn a_token_is_derived_from_no_parent_that_its_maker_does_not_cover(database: TestDatabase) {
    let (provider, thief) = (Provider::start().await, Provider::start().await);
    let server = Server::start(&database).await;
    let client = &server.client;
    for realm in ["b", "a-parent"] {
        client.register_realm(realm, &provider.url("/token")).await;
        client.save_secret(realm, "k").await;
        client.generation(realm, "k", 1).await;
    }
    let scopes = ["realm:write", "secret:write"];
    let caller = limited(client, "limited", &scopes, json!({"realms": ["a*"]})).await;
    let child = |realm: &str| {
        json!({
            "url": thief.url("/token"), "method": "GET", "token_path": "access_token",
            "expires_in_path": "expires_in", "parent": {"realm": realm, "key": "$of"},
            "params": {"of": {"title": "Of"}, "where": {"title": "Where", "optional": true}},
            "arguments": [{"name": "token", "place": "url", "value": "${parent.token}"}],
        })
    };
    let save = async |by: &Client, realm: &str, config: Value| {
        by.post("/api/realm", &json!({"id": realm, "config": config}))
            .await
    };
    for parent in ["b", "$where"] {
        let refused = save(&caller, "a-child", child(parent)).await;
        refused.expect_problem(403, "forbidden");
    }
    save(&caller, "a-child", child("a-parent"))
        .await
        .expect(200);
    // Made by who may; who saves a secret chooses the parent.
    save(client, "a-any", child("$where")).await.expect(200);
    let secret =
        |realm: &str| json!({"realm": "a-any", "key": "k", "params": {"of": "k", "where": realm}});
    let refused = caller.post("/api/secret", &secret("b")).await;
    refused.expect_problem(403, "forbidden");
    assert_eq!(thief.request_count(), 0);
    caller
        .post("/api/secret", &secret("a-parent"))
        .await
        .expect(200);
    client.generation("a-any", "k", 1).await;
    assert_eq!(thief.request_count(), 1);
}

async fn a_parameter_that_was_saved_as_secret_is_never_shown(database: TestDatabase) {
    let provider = Provider::start().await;
    let server = Server::start(&database).await;
    let client = &server.client;
    let document = |params: Value| {
        json!({"id": "r", "config": {
            "url": provider.url("/token"), "method": "GET", "params": params,
            "token_path": "access_token", "expires_in_path": "expires_in",
        }})
    };
    let save = async |params: Value| client.post("/api/realm", &document(params)).await;
    let (secret, open) = (
        json!({"title": "P"}),
        json!({"title": "P", "secret": false}),
    );
    save(json!({"p": secret, "q": open})).await.expect(200);
    let body = json!({"realm": "r", "key": "k", "params": {"p": "canary", "q": "shown"}});
    client.post("/api/secret", &body).await.expect(200);
    for params in [
        json!({"p": open, "q": open}),
        json!({"p": {"title": "P", "enum": ["canary", "other"]}, "q": open}),
    ] {
        let refused = save(params).await.expect(422).json();
        let fault = &refused["errors"][0];
        assert_eq!(fault["pointer"], "/config/params", "{refused}");
        assert!(
            fault["detail"].to_string().contains("saved as secret"),
            "{fault}"
        );
    }
    // Nor by way of a document that does not know it.
    save(json!({"q": open})).await.expect(200);
    save(json!({"p": open, "q": open})).await.expect(422);
    // What was open may be hidden, and a new one may be open.
    save(json!({"p": secret, "q": secret, "r": {"title": "R", "secret": false, "optional": true}}))
        .await
        .expect(200);
    client.delete("/api/secret/r/k").await.expect(200);
    save(json!({"p": open, "q": open})).await.expect(200);
}
