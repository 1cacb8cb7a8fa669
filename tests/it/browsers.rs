//! What a browser is told, and what it may do for pages of other sites; heads that can be read in
//! two ways.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use token_server::foundation::clock::Ms;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::kit::contract::SPECIFICATION;
use crate::kit::server::{ADMIN_KEY, Client};
use crate::kit::{PATIENCE, Provider, Reply, Server, TestDatabase, eventually, on_every_database};

on_every_database! {
    a_page_runs_what_it_brings_and_nothing_else,
    no_answer_is_taken_for_another_media_type,
    a_page_of_another_site_changes_nothing_whatever_its_credentials,
    a_page_of_this_server_and_who_is_no_browser_may_change_something,
    a_page_of_another_site_is_noted_in_the_audit_without_its_credentials,
    a_page_is_told_from_another_by_the_host_that_http_2_asks,
    a_head_that_can_be_read_in_two_ways_is_refused,
}

const OTHER: &str = "https://other.example";
const FLUSH: &str = "GET /api/token?realm=r&key=k&flush=true";

/// What a browser adds to what a page of another site sends.
const FOREIGN: [&[(&str, &str)]; 6] = [
    &[("origin", OTHER)],
    &[("origin", "null")],
    &[("sec-fetch-site", "cross-site")],
    &[("sec-fetch-site", "same-site")],
    &[("origin", OTHER), ("sec-fetch-site", "cross-site")],
    // No browser says both; a header that is believed must not outweigh the other.
    &[("origin", OTHER), ("sec-fetch-site", "same-origin")],
];

/// `METHOD /path` of each operation that changes something; parameters of paths are numbers.
fn changes() -> Vec<String> {
    let mut all = vec![FLUSH.to_owned()];
    for (path, methods) in SPECIFICATION["paths"].as_object().expect("paths") {
        let path = path.replace("{id}", "1").replace("{realm}", "r");
        for method in methods.as_object().expect("methods").keys() {
            if method != "get" {
                let method = method.to_uppercase();
                all.push(format!("{method} {}", path.replace("{key}", "k")));
            }
        }
    }
    assert!(all.len() > 12, "{all:?}");
    all
}

async fn call(client: &Client, operation: &str, headers: &[(&str, &str)]) -> Reply {
    let (method, path) = operation.split_once(' ').expect("a method and a path");
    let mut request = client.request(method.parse().expect("a method"), path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.header("content-type", "application/json");
    client.send(request.body("{}")).await
}

/// What stands in each element of a page, with what its tag says.
fn elements<'a>(page: &'a str, name: &str) -> Vec<(&'a str, &'a str)> {
    let (open, close) = (format!("<{name}"), format!("</{name}>"));
    let pieces = page.split(close.as_str());
    let of = |piece: &'a str| {
        let (_, opened) = piece.split_once(open.as_str())?;
        opened.split_once('>')
    };
    pieces.filter_map(of).collect()
}

async fn a_page_runs_what_it_brings_and_nothing_else(database: TestDatabase) {
    let server = Server::start(&database).await;
    let anybody = server.client.without_key();
    for path in ["/docs", "/docs/", "/docs?query"] {
        let page = anybody.get(path).await.expect(200);
        assert_eq!(page.header("referrer-policy"), Some("no-referrer"));
        assert_eq!(
            page.header("cross-origin-opener-policy"),
            Some("same-origin")
        );
        let policy = page.header("content-security-policy").expect("a policy");
        let mut expected = vec!["default-src 'none'".to_owned()];
        for (name, count) in [("script", 2), ("style", 1)] {
            // In a script another element may be spelt.
            let text = match name {
                "style" => page.text.split("<script").next().unwrap_or_default(),
                _ => &page.text,
            };
            let elements = elements(text, name);
            assert_eq!(elements.len(), count, "{name}");
            let mut source = format!("{name}-src");
            for (tag, content) in elements {
                // What it would load is no part of the page.
                assert!(!tag.contains("src=") && !content.is_empty(), "{tag}");
                let digest = STANDARD.encode(Sha256::digest(content));
                source.push_str(&format!(" 'sha256-{digest}'"));
            }
            expected.push(source);
        }
        expected.extend(
            [
                "img-src data:",
                "connect-src 'self'",
                "base-uri 'none'",
                "form-action 'none'",
                "frame-ancestors 'none'",
            ]
            .map(str::to_owned),
        );
        assert_eq!(policy.split("; ").collect::<Vec<_>>(), expected);
        assert!(!page.text.contains("<link"), "it loads a style");
    }
}

async fn no_answer_is_taken_for_another_media_type(database: TestDatabase) {
    let provider = Provider::start().await;
    let server = Server::start(&database).await;
    let client = &server.client;
    client.register(&provider.url("/token")).await;
    client.token("r", "k").await.expect(200);
    for (path, status) in [
        // The second of these is answered from memory.
        ("/api/token?realm=r&key=k", 200),
        ("/api/token?realm=r&key=k&min_ttl_s=1", 200),
        ("/api/token?realm=r&key=none", 400),
        ("/api/none", 404),
        ("/docs", 200),
        ("/openapi.json", 200),
        ("/openapi.yaml", 200),
        ("/realm.schema.json", 200),
        ("/metrics", 200),
        ("/healthz", 200),
    ] {
        let reply = client.get(path).await.expect(status);
        assert_eq!(
            reply.header("x-content-type-options"),
            Some("nosniff"),
            "{path}"
        );
        let is_page = reply
            .header("content-type")
            .is_some_and(|media| media.contains("html"));
        assert_eq!(is_page, path == "/docs");
        assert_eq!(reply.header("referrer-policy").is_some(), is_page, "{path}");
    }
    let long = client
        .request(Method::GET, "/healthz")
        .header("x-long", "x".repeat(20_000));
    let long = client.send(long).await.expect(431);
    assert_eq!(long.header("x-content-type-options"), Some("nosniff"));
    let root = exchange(&server, "GET / HTTP/1.1\r\nHost: h\r\n").await;
    assert!(root.starts_with("http/1.1 303"), "{root}");
    assert!(
        root.contains("\r\nx-content-type-options: nosniff\r\n"),
        "{root}"
    );
}

async fn a_page_of_another_site_changes_nothing_whatever_its_credentials(database: TestDatabase) {
    let provider = Provider::start().await;
    let server = Server::start(&database).await;
    let client = &server.client;
    client.register(&provider.url("/token")).await;
    let basic = STANDARD.encode(format!("anybody:{ADMIN_KEY}"));
    let basic = format!("Basic {basic}");
    let without = client.without_key();
    let (entries, requests) = (done(client).await, provider.request_count());
    for operation in changes() {
        for foreign in FOREIGN {
            let by_basic = [foreign, &[("authorization", basic.as_str())]].concat();
            for reply in [
                call(client, &operation, foreign).await,
                call(&without, &operation, &by_basic).await,
                call(&without, &operation, foreign).await,
            ] {
                assert_eq!(reply.status, 403, "{operation} {foreign:?}: {}", reply.text);
                reply.expect_problem(403, "cross_site");
            }
        }
    }
    for operation in ["PATCH /api/realm", "POST /docs", "DELETE /nowhere"] {
        let refused = call(client, operation, FOREIGN[0]).await;
        refused.expect_problem(403, "cross_site");
    }
    // However the name is written.
    let written = "GET /api/token?realm=r&key=k&%66lus%68=true";
    call(client, written, FOREIGN[2])
        .await
        .expect_problem(403, "cross_site");
    assert_eq!(
        (done(client).await, provider.request_count()),
        (entries, requests)
    );
    // What changes nothing is answered as ever: the browser shows it to no other page.
    for operation in [
        "GET /api/token?realm=r&key=k",
        "GET /api/realm",
        "GET /docs",
    ] {
        for foreign in FOREIGN {
            call(client, operation, foreign).await.expect(200);
        }
    }
}

/// The changes that the audit holds.
async fn done(client: &Client) -> usize {
    let entries = client.list("/api/audit").await;
    entries
        .iter()
        .filter(|entry| !(entry["before"].is_null() && entry["after"].is_null()))
        .count()
}

async fn a_page_of_this_server_and_who_is_no_browser_may_change_something(database: TestDatabase) {
    let server = Server::start(&database).await;
    let origin = format!("http://{}", server.address());
    let upper = origin.to_uppercase().replacen("HTTP", "http", 1);
    for headers in [
        &[][..],
        &[("origin", origin.as_str())],
        &[("origin", upper.as_str())],
        &[
            ("origin", origin.as_str()),
            ("sec-fetch-site", "same-origin"),
        ],
        &[("sec-fetch-site", "none")],
        // Behind a proxy with TLS that passes on the host.
        &[
            ("host", "tokens.example"),
            ("origin", "https://tokens.example"),
            ("sec-fetch-site", "same-origin"),
        ],
        &[
            ("host", "tokens.example:8443"),
            ("origin", "https://tokens.example:8443"),
        ],
    ] {
        for operation in changes() {
            let reply = call(&server.client, &operation, headers).await;
            assert_ne!(reply.status, 403, "{operation} {headers:?}: {}", reply.text);
        }
    }
}

async fn a_page_of_another_site_is_noted_in_the_audit_without_its_credentials(
    database: TestDatabase,
) {
    let (server, clock) = Server::on_manual_clock(&database).await;
    let client = &server.client;
    for _ in 0..4 {
        let refused = call(client, "DELETE /api/realm/r", FOREIGN[0]).await;
        refused.expect_problem(403, "cross_site");
    }
    clock.advance(Ms::from_secs(60));
    let noted = eventually("both entries", async || {
        let entries = client.list("/api/audit").await;
        let noted = entries
            .into_iter()
            .filter(|entry| entry["outcome"] == "denied");
        Some(noted.collect::<Vec<Value>>()).filter(|noted| noted.len() == 2)
    });
    for (entry, count) in noted.await.iter().zip([3, 1]) {
        let fields = ["actor", "action", "target", "detail", "count"];
        assert_eq!(
            json!(fields.map(|field| entry[field].clone())),
            json!([
                null,
                "DELETE",
                "/api/realm/r",
                "sent by a page of another site",
                count
            ])
        );
    }
}

async fn a_page_is_told_from_another_by_the_host_that_http_2_asks(database: TestDatabase) {
    let server = Server::start(&database).await;
    let client = reqwest::Client::builder()
        .no_proxy()
        .http2_prior_knowledge()
        .build();
    let client = client.expect("a client can be made");
    let base = format!("http://{}", server.address());
    for (origin, status) in [(base.as_str(), 404), (OTHER, 403)] {
        let request = client
            .delete(format!("{base}/api/realm/none"))
            .bearer_auth(ADMIN_KEY);
        let answer = request
            .header("origin", origin)
            .send()
            .await
            .expect("it answers");
        assert_eq!(answer.version(), reqwest::Version::HTTP_2);
        assert_eq!(answer.status(), status, "{origin}");
    }
    let twice = client
        .get(format!("{base}/api/realm"))
        .bearer_auth(ADMIN_KEY);
    let twice = twice.header("authorization", format!("Bearer {ADMIN_KEY}"));
    assert_eq!(twice.send().await.expect("it answers").status(), 400);
}

/// Sends a head, its last empty line beside; answers all that comes, the head in lower case.
async fn exchange(server: &Server, head: &str) -> String {
    let connected = TcpStream::connect(server.address()).await;
    let mut connection = connected.expect("it listens");
    let sent = format!("{head}Connection: close\r\n\r\n");
    connection
        .write_all(sent.as_bytes())
        .await
        .expect("it is sent");
    let mut answer = String::new();
    let read = timeout(PATIENCE, connection.read_to_string(&mut answer)).await;
    read.expect("it answers and closes").expect("it is text");
    match answer.split_once("\r\n\r\n") {
        Some((head, body)) => format!("{}\r\n\r\n{body}", head.to_lowercase()),
        None => answer,
    }
}

async fn a_head_that_can_be_read_in_two_ways_is_refused(database: TestDatabase) {
    let provider = Provider::start().await;
    let server = Server::start(&database).await;
    server.client.register(&provider.url("/token")).await;
    server.client.token("r", "k").await.expect(200);
    let key = format!("Authorization: Bearer {ADMIN_KEY}\r\n");
    let (host, other) = ("Host: h\r\n", "host: other\r\n");
    for (version, headers, says) in [
        ("1.1", format!("{host}{key}"), None),
        ("1.1", format!("{key}Host:\r\n"), None),
        ("1.0", key.clone(), None),
        ("1.0", format!("{host}{key}"), None),
        ("1.1", key.clone(), Some("no Host header")),
        (
            "1.1",
            format!("{host}{key}{other}"),
            Some("more than one Host header"),
        ),
        (
            "1.1",
            format!("{host}{host}{key}"),
            Some("more than one Host header"),
        ),
        (
            "1.0",
            format!("{host}{other}{key}"),
            Some("more than one Host header"),
        ),
        (
            "1.1",
            format!("{host}{key}{key}"),
            Some("more than one Authorization header"),
        ),
        (
            "1.1",
            format!("{host}{key}authorization: Basic eDp5\r\n"),
            Some("more than one Authorization header"),
        ),
    ] {
        // The first is answered from memory, where nothing is wrong; the last needs no key.
        for path in [
            "/api/token?realm=r&key=k",
            "/api/realm",
            "/healthz",
            "/docs",
        ] {
            let answer =
                exchange(&server, &format!("GET {path} HTTP/{version}\r\n{headers}")).await;
            let status = if says.is_some() { 400 } else { 200 };
            let begins = format!("http/{version} {status} ");
            assert!(answer.starts_with(&begins), "{path} {headers}: {answer}");
            if let Some(says) = says {
                assert!(answer.contains(r#""code":"bad_request""#), "{answer}");
                assert!(answer.contains(says), "{says}: {answer}");
            }
        }
    }
}
