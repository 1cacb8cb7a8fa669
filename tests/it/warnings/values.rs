//! The values of a secret: which are refused, and which are warned of.

use serde_json::{Value, json};

use super::{assert_single, config, pairs};
use crate::kit::{Server, TestDatabase, on_every_database};

on_every_database! {
    a_value_that_does_not_match_is_refused_with_title_and_pattern,
    a_value_with_a_stray_character_is_refused_by_the_parameters_title,
    a_value_of_an_undeclared_parameter_with_a_stray_character_is_warned_of,
    a_key_may_have_lines_and_a_pattern_allows_what_it_matches,
}

async fn a_value_that_does_not_match_is_refused_with_title_and_pattern(database: TestDatabase) {
    let server = Server::start(&database).await;
    let client = &server.client;
    let config = config(json!({"params": {
        "client_id": {"title": "App id", "pattern": "wx[0-9]+"}, "client_secret": {}}}));
    client.save_realm("r", config).await;
    for value in ["canary-1", "wx", "wx12x", "wx12\n"] {
        let secret = json!({"realm": "r", "key": "k",
            "params": {"client_id": value, "client_secret": "s"}});
        let reply = client.post("/api/secret", &secret).await;
        assert!(!reply.text.contains("canary"), "{}", reply.text);
        let told = pairs(&reply.expect_problem(422, "invalid_document")["errors"]);
        assert_single(
            &told,
            "/params/client_id",
            "(App id) does not match the pattern wx[0-9]+",
            &secret,
        );
    }
    let both =
        json!({"realm": "r", "key": "k", "params": {"client_id": "wx1 ", "client_secret": "s"}});
    let reply = client.post("/api/secret", &both).await;
    let told = pairs(&reply.expect_problem(422, "invalid_document")["errors"]);
    assert_single(&told, "/params/client_id", "it ends in a space", &both);
}

async fn a_value_with_a_stray_character_is_refused_by_the_parameters_title(database: TestDatabase) {
    let server = Server::start(&database).await;
    let client = &server.client;
    client.save_realm("r", config(json!({}))).await;
    let secret = |value: &str| {
        json!({"realm": "r", "key": "k",
        "params": {"client_id": "a", "client_secret": value}})
    };
    for (value, part) in [
        (
            "canary\n",
            "(Client secret) ends in a line break: remove it",
        ),
        ("canary\r\n", "ends in a line break"),
        (" canary", "begins with a space"),
        ("canary\t", "ends in a tab"),
        ("canary\u{a0}", "ends in white space"),
        ("can\0ary", "holds NUL"),
        ("can\nary", "holds a line break"),
        ("\u{feff}canary", "begins with an invisible character"),
    ] {
        let reply = client.post("/api/secret", &secret(value)).await;
        assert!(!reply.text.contains("ary"), "{}", reply.text);
        let told = pairs(&reply.expect_problem(422, "invalid_document")["errors"]);
        assert_single(&told, "/params/client_secret", part, &json!(value));
    }
    for value in ["a b", "", "p\u{e4}ss", "a\\n"] {
        let reply = client.post("/api/secret", &secret(value)).await.expect(200);
        assert_eq!(reply.json()["data"]["warnings"], Value::Null, "{value}");
    }
    let trial = json!({"config": config(json!({})),
        "params": {"client_id": "a\n", "client_secret": "b"}});
    let reply = client.dry_run(&trial).await;
    let told = pairs(&reply.expect_problem(422, "invalid_document")["errors"]);
    assert_single(&told, "/params/client_id", "ends in a line break", &trial);
}

async fn a_value_of_an_undeclared_parameter_with_a_stray_character_is_warned_of(
    database: TestDatabase,
) {
    let server = Server::start(&database).await;
    let client = &server.client;
    client.register_realm("r", "http://127.0.0.1:9/").await;
    let realm = client.get("/api/realm/r").await.expect(200).json();
    assert_eq!(realm["data"]["warnings"], Value::Null);
    for (value, part) in [
        ("canary\n", "ends in a line break"),
        ("canary ", "ends in a space"),
        ("can\u{7}ary", "holds a control character"),
    ] {
        let secret = json!({"realm": "r", "key": "k", "key_1": "a", "key_2": value});
        let reply = client.post("/api/secret", &secret).await.expect(200);
        assert!(!reply.text.contains("canary"), "{}", reply.text);
        assert_single(
            &pairs(&reply.json()["data"]["warnings"]),
            "/key_2",
            part,
            &secret,
        );
        let shown = client.secret("r", "k").await;
        assert_single(&pairs(&shown["warnings"]), "/params/key_2", part, &secret);
    }
    // Sent back as it was read, it stays as it is.
    let back = json!({"realm": "r", "key": "k", "params": client.secret("r", "k").await["params"]});
    client.post("/api/secret", &back).await.expect(200);
    assert_eq!(client.list("/api/secret").await[0].get("warnings"), None);
    let good = json!({"realm": "r", "key": "k", "key_2": "canary"});
    let reply = client.post("/api/secret", &good).await.expect(200);
    assert_eq!(reply.json()["data"]["warnings"], Value::Null);
    client.save_realm("fixed", Value::Null).await;
    let fixed = json!({"realm": "fixed", "key": "k", "token": "token\n"});
    let reply = client.post("/api/secret", &fixed).await.expect(200);
    assert_single(
        &pairs(&reply.json()["data"]["warnings"]),
        "/token",
        "ends in a line break",
        &fixed,
    );
}

async fn a_key_may_have_lines_and_a_pattern_allows_what_it_matches(database: TestDatabase) {
    let server = Server::start(&database).await;
    let client = &server.client;
    let document = config(json!({
        "params": {
            "client_id": {}, "client_secret": {}, "key": {}, "cert": {}, "cert_key": {},
            "note": {"pattern": "[a-z]+\\s?", "optional": true},
        },
        "assertion": {"alg": "RS256", "key": "$key", "key_encoding": "base64_pem", "claims": {}},
        "client_auth": {"method": "private_key_jwt"},
        "tls": {"client_cert": "$cert", "client_key": "$cert_key"},
        "token_template": "${token}${note}",
    }));
    client.save_realm("r", document).await;
    let pem = "-----BEGIN X-----\nMC4=\n-----END X-----\n";
    let good = json!({
        "client_id": pem, "client_secret": "{\n  \"a\": 1\n}\n", "key": "LS0t\nLS0t\n",
        "cert": "a\nb\n", "cert_key": pem, "note": "x\n",
    });
    let secret = |params: &Value| json!({"realm": "r", "key": "k", "params": params});
    let reply = client.post("/api/secret", &secret(&good)).await.expect(200);
    assert_eq!(reply.json()["data"]["warnings"], Value::Null);
    for (name, value) in [
        ("key", "LS0t\0"),
        ("cert", "a\u{1b}b"),
        ("client_id", "-----BEGIN\n"),
        ("client_secret", "{a}\n"),
        ("note", "x  "),
    ] {
        let mut params = good.clone();
        params[name] = json!(value);
        let reply = client.post("/api/secret", &secret(&params)).await;
        let told = pairs(&reply.expect_problem(422, "invalid_document")["errors"]);
        assert_single(&told, &format!("/params/{name}"), "", &params);
    }
}
