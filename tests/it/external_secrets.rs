//! The recipe for the External Secrets Operator (docs/src/how-to/kubernetes.md), tried against what the
//! operator's webhook generator does, as its documentation has it
//! (<https://external-secrets.io/latest/api/generator/webhook/>): it renders URL and headers as
//! templates, sends the request, takes an answer of 2xx as JSON, and makes each member of what the
//! path names a key of a Secret. It takes 404 for a secret that was deleted.

use serde::Deserialize;
use serde_json::{Value, json};
use token_server::config::{Env, Settings};
use token_server::foundation::clock::Ms;

use crate::kit::server::Client;
use crate::kit::source::{read, root};
use crate::kit::{Provider, Reply, Server, TestDatabase, on_every_database};

on_every_database! {
    the_webhook_generator_gets_a_token_that_lives_until_it_asks_again,
}

/// The resource of that kind in the blocks of the page.
fn resource(kind: &str) -> Value {
    let page = read(&root().join("docs/src/how-to/kubernetes.md"));
    let blocks = page.split("```yaml").skip(1);
    let blocks = blocks.map(|rest| rest.split("```").next().expect("its end").split_once('\n'));
    let mut documents = blocks.flatten().flat_map(|(_, text)| {
        serde_yaml::Deserializer::from_str(text)
            .map(|document| Value::deserialize(document).expect("YAML that is JSON, too"))
            .collect::<Vec<_>>()
    });
    let found = documents.find(|document| document["kind"] == kind);
    found.unwrap_or_else(|| panic!("the page has no {kind}"))
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

/// Seconds of a duration of Go, such as `5m0s`.
fn seconds(duration: &Value) -> i64 {
    let mut rest = text(duration);
    let mut seconds = 0;
    for (unit, length) in [("h", 3600), ("m", 60), ("s", 1)] {
        if let Some((number, after)) = rest.split_once(unit) {
            seconds += length * number.parse::<i64>().expect("a number");
            rest = after;
        }
    }
    assert!(rest.is_empty(), "{duration}");
    seconds
}

/// Asks as the operator does; the Secret of the credentials has this key.
async fn ask(client: &Client, webhook: &Value, path: &str, key: &str) -> Reply {
    let spec = &webhook["spec"];
    assert_eq!(spec["method"], "GET");
    assert_eq!(spec["secrets"][0]["name"], "auth");
    let mut request = client.without_key().request(reqwest::Method::GET, path);
    for (name, template) in spec["headers"].as_object().expect("an object") {
        let value = text(template).replace("{{ .auth.key }}", key);
        assert!(!value.contains("{{"), "{value}");
        request = request.header(name, value);
    }
    client.send(request).await
}

/// The keys of the Secret, as the operator makes them of an answer.
fn secret_of(webhook: &Value, reply: &Reply) -> Vec<(String, String)> {
    assert!(reply.status.is_success(), "{}", reply.text);
    // The whole answer.
    assert_eq!(webhook["spec"]["result"]["jsonPath"], "$");
    let answer = reply.json();
    let members = answer.as_object().expect("an object").iter();
    let key_values = members.map(|(name, value)| {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
        assert!(name.chars().all(allowed), "{name} is no key of a Secret");
        let value = match value {
            Value::String(text) => text.clone(),
            Value::Null => panic!("{name}: the operator takes no null"),
            other => other.to_string(),
        };
        (name.clone(), value)
    });
    key_values.collect()
}

async fn the_webhook_generator_gets_a_token_that_lives_until_it_asks_again(database: TestDatabase) {
    let (webhook, external) = (resource("Webhook"), resource("ExternalSecret"));
    let reference = &external["spec"]["dataFrom"][0]["sourceRef"]["generatorRef"];
    assert_eq!(reference["kind"], webhook["kind"]);
    assert_eq!(reference["apiVersion"], webhook["apiVersion"]);
    assert_eq!(reference["name"], webhook["metadata"]["name"]);
    let every_s = seconds(&external["spec"]["refreshInterval"]);
    let defaults = Settings::load(None, &Env::new()).expect("the defaults are good");
    // A read may wait for a token.
    assert!(seconds(&webhook["spec"]["timeout"]) * 1000 > defaults.renewal.max_wait.0);

    let url = text(&webhook["spec"]["url"]);
    let (_, path) = url.split_once(".svc").expect("a host of the cluster");
    let path = path
        .split_once('/')
        .map(|(_, path)| format!("/{path}"))
        .expect("a path");
    assert!(!path.contains("{{"), "{path}");
    let query = url::form_urlencoded::parse(path.split_once('?').expect("a query").1.as_bytes());
    let query: std::collections::HashMap<_, _> = query.into_owned().collect();

    let provider = Provider::start().await;
    let (server, clock) = Server::on_manual_clock(&database).await;
    let client = &server.client;
    let (realm, key) = (query["realm"].as_str(), query["key"].as_str());
    client.register_realm(realm, &provider.url("/token")).await;
    client.save_secret(realm, key).await;
    client.generation(realm, key, 1).await;
    let reader = json!({
        "name": "external-secrets", "scopes": ["token:read"], "realms": [realm], "keys": [key],
    });
    let made = client
        .post("/api/api-key", &reader)
        .await
        .expect(200)
        .json();
    let credential = text(&made["data"]["key"]);
    // Tokens live for two hours.
    for minutes in [0, 55, 61, 119, 240] {
        clock.advance(Ms::from_secs(60 * minutes));
        let reply = ask(client, &webhook, &path, credential).await;
        let secret = secret_of(&webhook, &reply);
        let value = |name: &str| {
            let found = secret.iter().find(|(named, _)| named == name);
            found.map(|(_, value)| value.clone()).expect("it is there")
        };
        let stored = client.token(realm, key).await.expect(200).json();
        assert_eq!(value("token"), text(&stored["token"]));
        let left_s: i64 = value("expires_in_s").parse().expect("a number");
        assert!(
            left_s > every_s,
            "{left_s} s are left, it asks each {every_s} s"
        );
        let template = external["spec"]["target"]["template"]["data"].as_object();
        for template in template.expect("an object").values() {
            let name = text(template)
                .trim_start_matches("{{ .")
                .trim_end_matches(" }}");
            assert!(!value(name).is_empty(), "{template}");
        }
    }
    // A key that is not good, and a secret that is not there, delete nothing.
    for (path, credential) in [
        (path.as_str(), "not-good"),
        (&format!("/api/token?realm={realm}&key=another"), credential),
    ] {
        let status = ask(client, &webhook, path, credential)
            .await
            .status
            .as_u16();
        assert!(status >= 400 && status != 404, "{status}");
    }
}
