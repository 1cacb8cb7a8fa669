//! Names: which new ones are refused because somebody could take them for others, and that those
//! which are stored go on working.

use secrecy::ExposeSecret;
use serde_json::json;
use token_server::access::key;
use token_server::access::scope::Scope;
use token_server::access::store::{self as keys, Creation, NewKey};
use token_server::foundation::ids::RealmId;
use token_server::foundation::pattern::{Coverage, Pattern};
use token_server::realm::store::{self as realms, RealmContent};

use crate::access::with_scopes;
use crate::kit::process::command;
use crate::kit::{Reply, Server, TestDatabase, on_every_database};

on_every_database! {
    an_api_key_cannot_have_a_name_that_could_be_taken_for_that_of_another,
    a_pattern_and_a_new_realm_or_secret_hold_nothing_that_nobody_sees,
    names_that_were_stored_before_go_on_working,
    a_realm_may_have_the_name_of_a_path_beside_it,
}

/// Refused by its place, with a word of why, and without the name.
fn refused(reply: Reply, pointer: &str, why: &str) {
    let problem = reply.expect_problem(422, "invalid_document");
    let error = &problem["errors"][0];
    assert_eq!(error["pointer"], pointer, "{problem}");
    let detail = error["detail"].as_str().expect("a text");
    assert!(detail.contains(why), "{detail}");
}

async fn an_api_key_cannot_have_a_name_that_could_be_taken_for_that_of_another(
    database: TestDatabase,
) {
    let server = Server::start(&database).await;
    let client = &server.client;
    let before = client.list("/api/api-key").await;
    let names = [
        ("jwt:k8s:a", "callers of issuers"),
        ("JWT:k8s:a", "callers of issuers"),
        ("\u{458}wt:k8s:a", "callers of issuers"),
        (" jwt:", "a blank"),
        ("the shop ", "a blank"),
        ("\u{ff4a}wt:k8s:a", "NFKC"),
        ("of\u{fb01}ce", "NFKC"),
        ("cafe\u{301}", "NFKC"),
        ("j\u{200b}wt:a", "U+200B"),
        ("the\u{ad}shop", "U+00AD"),
        ("pohs\u{202e}", "U+202E"),
        ("the\nshop", "U+000A"),
        ("the\u{1b}[2Jshop", "U+001B"),
        ("command line", "\"command line\""),
        ("Command-Line", "\"command line\""),
        ("c\u{43e}mmand line", "\"command line\""),
        ("bootstrap-admin", "\"bootstrap-admin\""),
        ("bootstrap\u{2d}\u{430}dmin", "\"bootstrap-admin\""),
    ];
    for (name, why) in names {
        let key = json!({"name": name, "scopes": ["token:read"]});
        refused(client.post("/api/api-key", &key).await, "/name", why);
        // A text with a line end is no argument that a shell would give; it is refused as well.
        let made = command(&database, &[])
            .args(["api-key", "create", name, "--scope", "token:read"])
            .output()
            .expect("the binary starts");
        let said = String::from_utf8_lossy(&made.stderr).into_owned();
        assert!(
            !made.status.success() && said.contains(why),
            "{name:?}: {said}"
        );
        assert!(made.stdout.is_empty(), "a key was made");
    }
    assert_eq!(client.list("/api/api-key").await, before);
    for name in [
        "the shop",
        "The Shop",
        "公众号",
        "Žluťoučký kůň",
        "admin",
        "jwt",
    ] {
        with_scopes(client, name, &["token:read"]).await;
    }
}

async fn a_pattern_and_a_new_realm_or_secret_hold_nothing_that_nobody_sees(database: TestDatabase) {
    let server = Server::start(&database).await;
    let client = &server.client;
    let key = json!({
        "name": "a", "scopes": ["token:read"], "realms": ["a*", "b\u{200b}*"], "keys": ["\u{202e}"],
    });
    refused(
        client.post("/api/api-key", &key).await,
        "/realms/1",
        "U+200B",
    );
    let issuer = json!({
        "issuer": "https://issuer.example", "audiences": ["a"],
        "rules": [
            {"when": "claims.sub == 'a'", "scopes": ["token:read"], "keys": ["k"]},
            {"when": "claims.sub == 'b'", "scopes": ["token:read"], "keys": ["k", "k\u{2060}"]},
        ],
    });
    let answer = client.put("/api/issuer/i", &issuer).await;
    refused(answer, "/rules/1/keys/1", "U+2060");
    let realm = json!({"id": "mail\u{200d}"});
    refused(client.post("/api/realm", &realm).await, "/id", "U+200D");
    // Letters of full width are usual there.
    let realm = json!({"id": "公众号（测试）"});
    client.post("/api/realm", &realm).await.expect(200);
    let secret = |key: &str| json!({"realm": "公众号（测试）", "key": key, "token": "t"});
    let answer = client.post("/api/secret", &secret("k\u{feff}")).await;
    refused(answer, "/key", "U+FEFF");
    client
        .post("/api/secret", &secret("主号：一"))
        .await
        .expect(200);
}

async fn names_that_were_stored_before_go_on_working(database: TestDatabase) {
    let server = Server::start(&database).await;
    let (app, connection) = (server.app(), database.connect().await);
    let now = app.clock.now();
    // As an older server let them in.
    let names = [
        "command line",
        "the\u{200b}shop",
        "\u{ff4a}wt",
        "of\u{fb01}ce ",
    ];
    let mut keys = Vec::new();
    for name in names {
        let key = key::generate(&app.randomness);
        let new = NewKey {
            name: name.to_owned(),
            scopes: vec![Scope::TokenRead],
            coverage: Coverage {
                realms: Some(vec![Pattern::new("mail\u{200d}*")]),
                keys: None,
            },
            expires_at: None,
            rate: None,
        };
        let made = keys::create(&connection, &app.ring, &new, &key, now).await;
        assert!(matches!(made, Ok(Creation::Created(_))), "{name:?}");
        keys.push((name, key));
    }
    let realm = RealmId::new("mail\u{200d}s").expect("a name");
    let content = RealmContent {
        comment: None,
        config: None,
        logic_code: None,
    };
    let inserted = realms::insert(&connection, &app.ring, &realm, content, now).await;
    inserted.expect("the realm is stored");
    connection.close().await.expect("the connection closes");
    let client = &server.client;
    let realm = realm.as_str();
    let changed = json!({"id": realm, "comment": "changed"});
    client.post("/api/realm", &changed).await.expect(200);
    let secret = json!({"realm": realm, "key": "k", "token": "a-token"});
    client.post("/api/secret", &secret).await.expect(200);
    for (name, key) in keys {
        let reader = client.with_key(key.expose_secret());
        reader.token(realm, "k").await.expect(200);
        let listed = client.list("/api/api-key").await;
        assert!(listed.iter().any(|key| key["name"] == name), "{listed:?}");
    }
}

/// `POST /api/realm/test` is a dry run; all else of that path is of the realm.
async fn a_realm_may_have_the_name_of_a_path_beside_it(database: TestDatabase) {
    let server = Server::start(&database).await;
    let client = &server.client;
    let path = "/api/realm/test";
    client.get(path).await.expect_problem(404, "unknown_realm");
    client.register_realm("test", "https://p.example/").await;
    let shown = client.get(path).await.expect(200).json();
    assert_eq!(shown["data"]["id"], "test");
    let head = client.request(reqwest::Method::HEAD, path);
    client.send(head).await.expect(200);
    let params = json!({"key_1": "the-app", "key_2": "the-secret"});
    let trial = json!({"config": shown["data"]["config"], "params": params});
    client.dry_run(&trial).await.expect(200);
    let limited = with_scopes(client, "reads", &["realm:read"]).await;
    limited.get(path).await.expect(200);
    limited.delete(path).await.expect_problem(403, "forbidden");
    let put = client.put(path, &json!({})).await;
    assert_eq!(put.header("allow"), Some("POST"));
    put.expect_problem(405, "method_not_allowed");
    client
        .delete("/api/realm/test?dry_run=true")
        .await
        .expect(200);
    client.delete(path).await.expect(200);
    client.get(path).await.expect_problem(404, "unknown_realm");
}
