//! The way to providers: where requests may go, and what is done with odd answers.

use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::json;
use token_server::upstream::egress::{Lookup, Resolver};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::kit::internet::Internet;
use crate::kit::server::{Client, Options};
use crate::kit::tls::closed;
use crate::kit::{Answer, Provider, Server, TestDatabase, eventually, on_every_database};

on_every_database! {
    an_address_that_policy_forbids_is_never_connected_to,
    a_metadata_service_is_reached_by_no_form_of_its_address_and_by_no_listed_network,
    a_redirect_is_not_followed,
    an_answer_that_is_no_token_is_a_failure_and_stores_nothing,
    an_answer_that_breaks_off_or_never_ends_is_a_failure,
    client_credentials_stand_where_their_method_says,
    an_answer_beyond_the_limits_is_refused_by_name,
}

/// Registers a realm and a secret of one name, and waits for the failure.
async fn failure(client: &Client, name: &str, url: &str, class: &str) -> String {
    let config = json!({
        "url": url, "method": "GET", "token_path": "access_token",
        "expires_in_path": "expires_in", "policy": {"timeout_s": 1},
    });
    client.save_realm(name, config).await;
    client.save_secret(name, "k").await;
    let secret = eventually(&format!("a failure of {name}"), async || {
        let secret = client.secret(name, "k").await;
        secret["last_error"].is_object().then_some(secret)
    })
    .await;
    assert_eq!(secret["last_error"]["class"], class, "{name}: {secret}");
    assert_eq!(secret["generation"], 0);
    secret["last_error"]["detail"]
        .as_str()
        .expect("a text")
        .to_owned()
}

async fn an_address_that_policy_forbids_is_never_connected_to(database: TestDatabase) {
    let provider = Provider::start().await;
    let elsewhere = ("TOKEN_SERVER__UPSTREAM__ALLOWED_NETWORKS", "10.0.0.0/8");
    let server = Server::with_env(&database, &[elsewhere]).await;
    let plain = provider.url("/token");
    let named = plain.replace("127.0.0.1", "localhost");
    for (name, url) in [
        ("literal", plain.clone()),
        ("named", named.clone()),
        ("tls", plain.replace("http:", "https:")),
        ("named-tls", named.replace("http:", "https:")),
        (
            "metadata",
            "http://169.254.169.254/latest/meta-data".to_owned(),
        ),
        ("mapped", plain.replace("127.0.0.1", "[::ffff:127.0.0.1]")),
    ] {
        let detail = failure(&server.client, name, &url, "internal").await;
        assert!(
            detail.contains("upstream.allowed_networks"),
            "{name}: {detail}"
        );
    }
    assert_eq!(provider.request_count(), 0);
}

async fn a_metadata_service_is_reached_by_no_form_of_its_address_and_by_no_listed_network(
    database: TestDatabase,
) {
    let everything = (
        "TOKEN_SERVER__UPSTREAM__ALLOWED_NETWORKS",
        "0.0.0.0/0, ::/0",
    );
    let names = Arc::new(Named(SocketAddr::from(([168, 63, 129, 16], 0))));
    let authority = Internet::start().await.for_server().1;
    let options = Options {
        internet: Some((names, authority)),
        ..Options::default().with(&[everything])
    };
    let server = Server::start_with(&database, options).await;
    for (name, url) in [
        ("plain", "http://169.254.169.254/latest/meta-data"),
        ("tls", "https://169.254.169.254/latest/meta-data"),
        ("azure", "http://168.63.129.16/machine"),
        ("alibaba", "http://100.100.100.200/latest"),
        ("translated", "http://[::ffff:0:169.254.169.254]/latest"),
        ("nat64", "http://[64:ff9b::a9fe:a9fe]/latest"),
        ("aws-v6", "http://[fd00:ec2::254]/latest"),
        ("named", "http://provider.example/token"),
        ("named-tls", "https://provider.example/token"),
    ] {
        let detail = failure(&server.client, name, url, "internal").await;
        assert!(detail.contains("metadata service"), "{name}: {detail}");
        assert!(
            detail.contains("upstream.allowed_networks"),
            "{name}: {detail}"
        );
    }
}

/// Every name leads there.
#[derive(Debug)]
struct Named(SocketAddr);

impl Resolver for Named {
    fn look_up(&self, _: String) -> Lookup {
        let address = self.0;
        Box::pin(async move { Ok(vec![address]) })
    }
}

async fn a_redirect_is_not_followed(database: TestDatabase) {
    let (provider, target) = (Provider::start().await, Provider::start().await);
    let server = Server::start(&database).await;
    let moved = Answer::status(302).with_header("location", &target.url("/token"));
    provider.answer_with(moved);
    let detail = failure(&server.client, "r", &provider.url("/token"), "transient").await;
    assert!(detail.contains("302"), "{detail}");
    assert_eq!(target.request_count(), 0);
}

async fn an_answer_that_is_no_token_is_a_failure_and_stores_nothing(database: TestDatabase) {
    let limit = ("TOKEN_SERVER__UPSTREAM__MAX_ANSWER_BYTES", "10000");
    let server = Server::with_env(&database, &[limit]).await;
    let ok = || Answer::status(200);
    let token = json!({"access_token": "t", "expires_in": 7200, "padding": "x".repeat(10_000)});
    let deep = format!("{}1{}", "[".repeat(4000), "]".repeat(4000));
    for (name, answer, class, told) in [
        (
            "html",
            ok().with_bytes("<html>hello</html>"),
            "transient",
            "not JSON",
        ),
        ("empty", ok(), "transient", "not JSON"),
        (
            "no-token",
            ok().with_json(&json!({"expires_in": 7200})),
            "transient",
            "access_token",
        ),
        (
            "empty-token",
            ok().with_json(&json!({"access_token": ""})),
            "transient",
            "empty",
        ),
        (
            "number",
            ok().with_json(&json!({"access_token": 5})),
            "transient",
            "not a string",
        ),
        (
            "no-expiry",
            ok().with_json(&json!({"access_token": "t"})),
            "internal",
            "expiry_unknown",
        ),
        (
            "errcode",
            ok().with_json(&json!({"errcode": 40001})),
            "transient",
            "40001",
        ),
        (
            "too-large",
            ok().with_json(&token),
            "transient",
            "max_answer_bytes",
        ),
        (
            "deep",
            ok().with_bytes(deep),
            "transient",
            "answer_too_deep",
        ),
        ("gone", Answer::status(404), "transient", "404"),
        ("forbidden", Answer::status(403), "transient", "403"),
        ("limited", Answer::status(429), "rate_limited", "429"),
        ("broken", Answer::status(500), "transient", "500"),
    ] {
        let provider = Provider::start().await;
        provider.answer_with(answer);
        let detail = failure(&server.client, name, &provider.url("/token"), class).await;
        assert!(detail.contains(told), "{name}: {detail}");
    }
}

async fn an_answer_that_breaks_off_or_never_ends_is_a_failure(database: TestDatabase) {
    let server = Server::start(&database).await;
    let listener = TcpListener::bind("127.0.0.1:0")
        .await
        .expect("loopback has a free port");
    let address = listener.local_addr().expect("an address");
    // Half an answer, and then the end of the connection.
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut asked = [0; 4096];
            let _ = socket.read(&mut asked).await;
            let half = "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{\"access_token\":\"half";
            let _ = socket.write_all(half.as_bytes()).await;
        }
    });
    let url = format!("http://{address}/token");
    let detail = failure(&server.client, "half", &url, "transient").await;
    assert!(detail.contains("broke off"), "{detail}");
    let hanging = Provider::start().await;
    hanging.hold();
    let detail = failure(
        &server.client,
        "hanging",
        &hanging.url("/token"),
        "transient",
    )
    .await;
    assert!(detail.contains("within 1000 ms"), "{detail}");
    hanging.release();
    let url = format!("http://{}/token", closed());
    let detail = failure(&server.client, "closed", &url, "transient").await;
    assert!(detail.contains("refuses connections"), "{detail}");
}

async fn client_credentials_stand_where_their_method_says(database: TestDatabase) {
    let (provider, server) = (Provider::start().await, Server::start(&database).await);
    let client = &server.client;
    for (name, auth, content_type) in [
        ("rfc6749", json!({"method": "client_secret_basic"}), "form"),
        (
            "raw",
            json!({"method": "client_secret_basic", "encoding": "raw"}),
            "form",
        ),
        ("form", json!({"method": "client_secret_post"}), "form"),
        ("json", json!({"method": "client_secret_post"}), "json"),
    ] {
        let mut auth = auth;
        auth["client_id"] = json!("$key_1");
        auth["client_secret"] = json!("$key_2");
        let config = json!({
            "url": provider.url(&format!("/{name}")), "method": "POST",
            "content_type": content_type, "client_auth": auth,
            "token_path": "access_token", "expires_in_path": "expires_in",
        });
        client.save_realm(name, config).await;
        let secret = json!({"realm": name, "key": "k", "key_1": "an id", "key_2": "a:b+c%"});
        client.post("/api/secret", &secret).await.expect(200);
        client.generation(name, "k", 1).await;
    }
    let requests = provider.requests();
    let of = |path: &str| {
        requests
            .iter()
            .find(|request| request.path == path)
            .expect("asked")
    };
    let encoded = "Basic YW4lMjBpZDphJTNBYiUyQmMlMjU="; // an%20id:a%3Ab%2Bc%25
    let raw = "Basic YW4gaWQ6YTpiK2Ml"; // an id:a:b+c%
    assert_eq!(of("/rfc6749").headers["authorization"], encoded);
    assert_eq!(of("/raw").headers["authorization"], raw);
    assert_eq!(
        of("/form").body,
        "client_id=an+id&client_secret=a%3Ab%2Bc%25"
    );
    assert_eq!(
        of("/json").body,
        r#"{"client_id":"an id","client_secret":"a:b+c%"}"#
    );
    assert!(!of("/form").headers.contains_key("authorization"));
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    std::io::Write::write_all(&mut encoder, plain).expect("memory takes it");
    encoder.finish().expect("memory takes it")
}

async fn an_answer_beyond_the_limits_is_refused_by_name(database: TestDatabase) {
    let server = Server::start(&database).await;
    let ok = || Answer::status(200);
    let large = vec![b' '; 100_000_000];
    let bomb = ok()
        .with_header("content-encoding", "gzip")
        .with_bytes(gzip(&large));
    let nested = format!("{}1{}", r#"{"a":"#.repeat(10_000), "}".repeat(10_000));
    let entities =
        r#"<!DOCTYPE r [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;">]><r>&b;</r>"#;
    for (name, format, answer, told) in [
        ("100-mb", "json", ok().with_bytes(large), "answer_too_large"),
        ("gzip-bomb", "json", bomb, "answer_too_large"),
        ("nested", "json", ok().with_bytes(nested), "answer_too_deep"),
        (
            "entities",
            "xml",
            ok().with_bytes(entities),
            "answer_doctype",
        ),
        (
            "deep-xml",
            "xml",
            ok().with_bytes("<r>".repeat(10_000)),
            "answer_too_deep",
        ),
    ] {
        let provider = Provider::start().await;
        provider.answer_with(answer);
        let config = json!({
            "url": provider.url("/token"), "method": "GET", "response_format": format,
            "token_path": "access_token", "expires_in_path": "expires_in",
        });
        let client = &server.client;
        client.save_realm(name, config).await;
        client.save_secret(name, "k").await;
        let secret = eventually(&format!("a failure of {name}"), async || {
            let secret = client.secret(name, "k").await;
            secret["last_error"].is_object().then_some(secret)
        })
        .await;
        assert_eq!(
            secret["last_error"]["class"], "transient",
            "{name}: {secret}"
        );
        assert_eq!(secret["generation"], 0);
        let detail = secret["last_error"]["detail"].as_str().expect("a text");
        assert!(detail.starts_with(told), "{name}: {detail}");
    }
}
