//! Each part of a realm that says where its credentials go, and whom they are trusted to, is changed by
//! those only who may change all of its secrets; the audit says what was there and what is there now.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use token_server::foundation::hex;

use super::limited;
use crate::kit::internet::Internet;
use crate::kit::server::{Client, Options};
use crate::kit::tls::Authority;
use crate::kit::{Server, TestDatabase, on_every_database};

on_every_database! {
    each_part_that_says_where_credentials_go_needs_the_right_to_all_secrets_and_is_audited,
}

const ONE: &str = "https://one.example/token";
const TWO: &str = "https://two.example/token";
const PROXY: &str = "TOKEN_SERVER__UPSTREAM__PROXIES__OFFICE__URL";

fn authority() -> String {
    Authority::root("of this test").certificate.pem()
}

/// A document in which all of that is said.
fn document(ca: &str) -> Value {
    json!({
        "params": {
            "secret": {"title": "Secret"}, "refresh_token": {"title": "R", "optional": true},
        },
        "url": ONE, "method": "POST",
        "arguments": [{"name": "secret", "place": "body", "value": "$secret"}],
        "steps": [{"url": ONE, "method": "GET"}],
        "refresh": {"url": ONE}, "refresh_token_path": "refresh_token",
        "tls": {"ca": ca}, "parent": {"realm": "parent", "key": "one"},
        "allowed_hosts": ["one.example"], "proxy": "direct",
        "token_path": "access_token", "expires_in_path": "expires_in",
    })
}

/// As the audit shows a text.
fn shown(value: &Value) -> Value {
    let text = value.as_str().expect("a text");
    match text.char_indices().nth(500) {
        None => json!(text),
        Some((end, _)) => {
            let digest = hex(&Sha256::digest(text));
            json!(format!("{}… (SHA-256 {digest})", &text[..end]))
        }
    }
}

/// Before and after of the last change of a realm.
async fn last_change(client: &Client) -> [Value; 2] {
    let entries = client.list("/api/audit?action=realm.save").await;
    let newest = entries.first().expect("an entry");
    assert_eq!(newest["actor"], "of realm");
    [newest["before"].clone(), newest["after"].clone()]
}

async fn each_part_that_says_where_credentials_go_needs_the_right_to_all_secrets_and_is_audited(
    database: TestDatabase,
) {
    // Every name leads to it, and none of the authorities below is its own.
    let internet = Internet::start().await;
    let options = Options {
        internet: Some(internet.for_server()),
        ..Options::default().with(&[(PROXY, "http://127.0.0.1:9")])
    };
    let server = Server::start_with(&database, options).await;
    let client = &server.client;
    for realm in ["parent", "parent-2"] {
        let realm = json!({"id": realm});
        client.post("/api/realm", &realm).await.expect(200);
    }
    let (first, second) = (authority(), authority());
    let both_authorities = format!("{first}{second}");
    let as_it_was = document(&first);
    client.save_realm("r", as_it_was.clone()).await;
    let logic = json!({"id": "logic", "logic_code": ONE});
    client.post("/api/realm", &logic).await.expect(200);
    let secret = json!({"realm": "r", "key": "k", "params": {"secret": "canary"}});
    client.post("/api/secret", &secret).await.expect(200);
    client.save_secret("logic", "k").await;

    let writing = ["realm:read", "realm:write"];
    let both = ["realm:read", "realm:write", "secret:write"];
    let writer = limited(client, "writer", &writing, json!({})).await;
    let of_keys = limited(client, "of keys", &both, json!({"keys": ["k"]})).await;
    let realms = json!({"realms": ["r", "logic", "parent*"]});
    let of_realm = limited(client, "of realm", &both, realms).await;

    for (pointer, other) in [
        ("/url", TWO),
        ("/steps/0/url", TWO),
        ("/refresh/url", TWO),
        ("/tls/ca", second.as_str()),
        // It trusts one more, and begins alike.
        ("/tls/ca", both_authorities.as_str()),
        ("/parent/realm", "parent-2"),
        ("/parent/key", "two"),
        ("/allowed_hosts/0", "two.example"),
        ("/proxy", "office"),
    ] {
        let mut changed = as_it_was.clone();
        let place = changed.pointer_mut(pointer).expect("it is said");
        let before = std::mem::replace(place, json!(other));
        let change = json!({"id": "r", "config": changed});
        for caller in [&writer, &of_keys] {
            let refused = caller.post("/api/realm", &change).await;
            refused.expect_problem(403, "forbidden");
        }
        let kept = client.get("/api/realm/r").await.expect(200).json();
        assert_eq!(kept["data"]["config"], as_it_was, "{pointer}");
        of_realm.post("/api/realm", &change).await.expect(200);
        let told = [shown(&before), shown(&json!(other))];
        assert_ne!(told[0], told[1], "{pointer}");
        let told = told.map(|value| json!({"config": {pointer: value}}));
        assert_eq!(last_change(client).await, told, "{pointer}");
        let back = json!({"id": "r", "config": as_it_was});
        of_realm.post("/api/realm", &back).await.expect(200);
    }

    let change = json!({"id": "logic", "logic_code": TWO});
    for caller in [&writer, &of_keys] {
        let refused = caller.post("/api/realm", &change).await;
        refused.expect_problem(403, "forbidden");
    }
    of_realm.post("/api/realm", &change).await.expect(200);
    let told = [ONE, TWO].map(|url| json!({"logic_code": url}));
    assert_eq!(last_change(client).await, told);
    // What says nothing of it is theirs.
    let comment = json!({"id": "r", "comment": "theirs"});
    writer.post("/api/realm", &comment).await.expect(200);
}
