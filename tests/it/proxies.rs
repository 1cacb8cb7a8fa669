//! Providers that are reached through a proxy: what the proxy is asked for, what it cannot do, and
//! what is told where it does not work.

mod receivers;

use std::net::SocketAddr;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::kit::internet::{Internet, Response};
use crate::kit::process::ServerProcess;
use crate::kit::proxies::{LyingProxy, PASSWORD, RealProxy, USER, tls_in_front};
use crate::kit::server::{Client, Options};
use crate::kit::tls::{Authority, GOOD, Hosts, closed, serve, tls_server};
use crate::kit::{Answer, Provider, Server, TestDatabase, eventually, on_every_database};

on_every_database! {
    a_realm_renews_through_each_kind_of_proxy_which_is_asked_for_an_address,
    a_realm_names_its_proxy_or_none,
    a_realm_that_names_an_unknown_proxy_is_refused_and_later_fails_clearly,
    what_policy_does_not_permit_is_asked_of_no_proxy,
    a_proxy_that_connects_elsewhere_gains_nothing,
    a_proxy_resolves_names_only_where_the_configuration_says_so,
    each_fault_of_a_proxy_is_told_by_its_cause_without_its_credentials,
    certificates_of_a_realm_hold_through_a_proxy,
    variables_of_the_environment_name_no_proxy,
}

const URL: &str = "TOKEN_SERVER__UPSTREAM__PROXY__URL";
const RESOLVE: &str = "TOKEN_SERVER__UPSTREAM__PROXY__RESOLVE";
const CONNECT_TIMEOUT: &str = "TOKEN_SERVER__UPSTREAM__CONNECT_TIMEOUT_S";
const SOCKS_URL: &str = "TOKEN_SERVER__UPSTREAM__PROXIES__SOCKS__URL";

fn document(url: &str) -> Value {
    json!({
        "url": url, "method": "POST", "content_type": "form",
        "arguments": [{"name": "grant_type", "place": "body", "value": "client_credentials"}],
        "token_path": "access_token", "expires_in_path": "expires_in",
    })
}

fn document_through(url: &str, proxy: &str) -> Value {
    let mut document = document(url);
    document["proxy"] = json!(proxy);
    document
}

/// Every name leads to a server that answers a token.
async fn internet() -> Internet {
    let internet = Internet::start().await;
    internet.answer(|_| Response {
        status: 200,
        headers: Vec::new(),
        body: br#"{"access_token":"t","expires_in":3600}"#.to_vec(),
    });
    internet
}

async fn start(
    database: &TestDatabase,
    internet: &Internet,
    env: &[(&'static str, &str)],
) -> Server {
    let options = Options {
        internet: Some(internet.for_server()),
        ..Options::default().with(env)
    };
    Server::start_with(database, options).await
}

/// What is told of a realm that does not get a token.
async fn failure(client: &Client, realm: &str, class: &str) -> String {
    client.save_secret(realm, "k").await;
    let secret = eventually(&format!("a failure of {realm}"), async || {
        let secret = client.secret(realm, "k").await;
        secret["last_error"].is_object().then_some(secret)
    })
    .await;
    assert_eq!(secret["last_error"]["class"], class, "{realm}: {secret}");
    let detail = secret["last_error"]["detail"].as_str().expect("a text");
    assert!(
        !detail.contains("canary") && !detail.contains("127."),
        "{detail}"
    );
    detail.to_owned()
}

async fn a_realm_renews_through_each_kind_of_proxy_which_is_asked_for_an_address(
    database: TestDatabase,
) {
    let internet = internet().await;
    let tinyproxy = RealProxy::tinyproxy(&database, "").await;
    let microsocks = RealProxy::microsocks(&database).await;
    let server = start(
        &database,
        &internet,
        &[(URL, &tinyproxy.url()), (SOCKS_URL, &microsocks.url())],
    )
    .await;
    let client = &server.client;
    let provider = internet.address();
    for (realm, proxy, log) in [
        ("http", "default", &tinyproxy),
        ("socks", "socks", &microsocks),
    ] {
        assert!(!log.log().contains(&provider.to_string()));
        let config = document_through("https://provider.example/token", proxy);
        client.save_realm(realm, config.clone()).await;
        client.save_secret(realm, "k").await;
        client.generation(realm, "k", 1).await;
        // microsocks tells of a connection once it is there, tinyproxy of the request.
        eventually("the proxy tells of it", async || {
            log.log().contains(&provider.to_string()).then_some(())
        })
        .await;
        assert!(!log.log().contains("provider.example"), "{}", log.log());
        let tried = json!({"config": config, "send": true});
        let tried = client
            .post("/api/realm/test", &tried)
            .await
            .expect(200)
            .json();
        let exchange = &tried["data"]["exchanges"][0];
        assert_eq!(exchange["request"]["proxy"], proxy);
        assert_eq!(exchange["answer"]["status"], 200, "{tried}");
    }
    // Plain HTTP, too, within the networks that are listed; but not where nobody named the proxy,
    // for it would read what is sent.
    let plain = Provider::start().await;
    let asked = plain.url("").replace("http://", "CONNECT ");
    let url = plain.url("/token");
    for (realm, config, through) in [
        ("unsaid", document(&url), false),
        ("plain", document_through(&url, "default"), true),
    ] {
        client.save_realm(realm, config).await;
        client.save_secret(realm, "k").await;
        client.generation(realm, "k", 1).await;
        let log = tinyproxy.log();
        assert_eq!(log.contains(&asked), through, "{log}");
    }
    for request in plain.requests() {
        assert_eq!(request.body, "grant_type=client_credentials");
        assert!(!request.headers.contains_key("proxy-authorization"));
    }
}

async fn a_realm_names_its_proxy_or_none(database: TestDatabase) {
    let internet = internet().await;
    let (default, other) = (
        LyingProxy::leading_to(internet.address()).await,
        LyingProxy::leading_to(internet.address()).await,
    );
    let url = |proxy: &LyingProxy| format!("http://{}", proxy.address);
    let server = start(
        &database,
        &internet,
        &[
            (URL, &url(&default)),
            ("TOKEN_SERVER__UPSTREAM__PROXIES__OTHER__URL", &url(&other)),
        ],
    )
    .await;
    let renewed = async |realm: &str, config: Value| {
        server.client.save_realm(realm, config).await;
        server.client.save_secret(realm, "k").await;
        server.client.generation(realm, "k", 1).await;
        (default.asked().len(), other.asked().len())
    };
    let provider = "https://provider.example/token";
    assert_eq!(
        renewed("direct", document_through(provider, "direct")).await,
        (0, 0)
    );
    assert_eq!(renewed("unsaid", document(provider)).await, (1, 0));
    assert_eq!(
        renewed("other", document_through(provider, "other")).await,
        (1, 1)
    );
    let asked = format!("CONNECT {} HTTP/1.1", internet.address());
    assert_eq!(other.asked(), [asked]);
}

async fn a_realm_that_names_an_unknown_proxy_is_refused_and_later_fails_clearly(
    database: TestDatabase,
) {
    let internet = internet().await;
    let proxy = LyingProxy::leading_to(internet.address()).await;
    let url = format!("http://{}", proxy.address);
    let server = start(&database, &internet, &[(SOCKS_URL, &url)]).await;
    let config = |proxy: &str| document_through("https://provider.example/token", proxy);
    for (name, told) in [
        ("nowhere", "upstream.proxies"),
        ("default", "upstream.proxy.url"),
        ("http://10.0.0.1:3128", "the name of a proxy"),
    ] {
        let body = json!({"id": "r", "config": config(name)});
        let refused = server.client.post("/api/realm", &body).await;
        let problem = refused.expect_problem(422, "invalid_document");
        assert_eq!(
            problem["errors"][0]["pointer"], "/config/proxy",
            "{problem}"
        );
        let detail = problem["errors"][0]["detail"].as_str().expect("a text");
        assert!(detail.contains(told), "{detail}");
    }
    server.client.save_realm("r", config("socks")).await;
    server.stop().await;
    // It is taken out of the configuration.
    let server = start(&database, &internet, &[]).await;
    let detail = failure(&server.client, "r", "internal").await;
    assert!(detail.contains("proxy: names \"socks\""), "{detail}");
    assert_eq!(proxy.asked(), [""; 0]);
}

async fn what_policy_does_not_permit_is_asked_of_no_proxy(database: TestDatabase) {
    let internet = internet().await;
    let proxy = LyingProxy::leading_to(internet.address()).await;
    let url = format!("http://{}", proxy.address);
    for resolve in ["server", "proxy"] {
        let server = start(
            &database,
            &internet,
            &[
                (URL, &url),
                (RESOLVE, resolve),
                ("TOKEN_SERVER__UPSTREAM__ALLOWED_NETWORKS", "10.0.0.0/8"),
            ],
        )
        .await;
        for (name, url) in [
            ("literal", "https://127.0.0.1/token"),
            ("plain", "http://127.0.0.1/token"),
            ("metadata", "https://169.254.169.254/token"),
            ("translated", "https://[64:ff9b::7f00:1]/token"),
            ("localhost", "https://localhost/token"),
            ("inside", "https://service.internal/token"),
            ("plain-name", "http://provider.example/token"),
        ] {
            let realm = format!("{resolve}-{name}");
            server.client.save_realm(&realm, document(url)).await;
            server.client.save_secret(&realm, "k").await;
            let secret = eventually("a failure", async || {
                let secret = server.client.secret(&realm, "k").await;
                secret["last_error"].is_object().then_some(secret)
            })
            .await;
            assert_eq!(secret["last_error"]["class"], "internal", "{secret}");
        }
        if resolve == "server" {
            // Its address is looked up here, and is one of loopback.
            let url = "https://provider.example/token";
            server.client.save_realm("named", document(url)).await;
            let detail = failure(&server.client, "named", "internal").await;
            assert!(detail.contains("not public"), "{detail}");
        }
        server.stop().await;
    }
    assert_eq!(proxy.asked(), [""; 0]);
}

async fn a_proxy_that_connects_elsewhere_gains_nothing(database: TestDatabase) {
    let authority = Authority::root("Root");
    // A good certificate, of somebody else.
    let elsewhere = tls_server(authority.issue("elsewhere.example", GOOD), None).await;
    let proxy = LyingProxy::leading_to(elsewhere).await;
    let hosts = Hosts([("provider.example".to_owned(), elsewhere)].into());
    let options = Options {
        internet: Some((
            std::sync::Arc::new(hosts),
            authority.certificate.der().clone(),
        )),
        ..Options::default().with(&[(URL, &format!("http://{}", proxy.address))])
    };
    let server = Server::start_with(&database, options).await;
    server
        .client
        .save_realm("r", document("https://provider.example/token"))
        .await;
    let detail = failure(&server.client, "r", "transient").await;
    assert!(detail.contains("is for another name"), "{detail}");
    assert!(!proxy.asked().is_empty());
}

async fn a_proxy_resolves_names_only_where_the_configuration_says_so(database: TestDatabase) {
    let internet = internet().await;
    let proxy = LyingProxy::leading_to(internet.address()).await;
    let url = format!("http://{}", proxy.address);
    let server = start(&database, &internet, &[(URL, &url), (RESOLVE, "proxy")]).await;
    let config = document("https://provider.example/token");
    server.client.save_realm("r", config).await;
    server.client.save_secret("r", "k").await;
    server.client.generation("r", "k", 1).await;
    assert_eq!(proxy.asked(), ["CONNECT provider.example:443 HTTP/1.1"]);
}

async fn each_fault_of_a_proxy_is_told_by_its_cause_without_its_credentials(
    database: TestDatabase,
) {
    let internet = internet().await;
    let refusing = RealProxy::tinyproxy(&database, "ConnectPort 1").await;
    let socks = RealProxy::microsocks(&database).await;
    let (away, no_provider) = (closed(), closed());
    let ssh = serve(async |mut stream: TcpStream| {
        let _ = stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n").await;
        let _ = stream.read_to_end(&mut Vec::new()).await;
    })
    .await;
    let closes = serve(async |mut stream: TcpStream| {
        let _ = stream.read(&mut [0; 4096]).await;
    })
    .await;
    let silent = serve(async |mut stream: TcpStream| {
        let _ = stream.read_to_end(&mut Vec::new()).await;
    })
    .await;
    let web = Provider::start().await;
    web.answer_with(Answer::status(404));
    let provider = "https://provider.example/token".to_owned();
    let at = |scheme: &str, address: SocketAddr| format!("{scheme}://u:canary@{address}");
    for (name, proxy, url, told) in [
        (
            "away",
            at("http", away),
            &provider,
            "it refuses connections",
        ),
        (
            "socks-away",
            at("socks5", away),
            &provider,
            "it refuses connections",
        ),
        (
            "wrong-password",
            refusing.url_with("u:canary@"),
            &provider,
            "user and password",
        ),
        (
            "no-password",
            refusing.url_with(""),
            &provider,
            "user and password",
        ),
        (
            "socks-wrong-password",
            socks.url_with("u:canary@"),
            &provider,
            "user and password",
        ),
        (
            "socks-no-password",
            socks.url_with(""),
            &provider,
            "user and password",
        ),
        (
            "refused",
            refusing.url(),
            &provider,
            "does not connect to the provider (HTTP 403)",
        ),
        (
            "socks-refused",
            socks.url(),
            &format!("https://{no_provider}/token"),
            "does not connect to the provider (SOCKS5 reply 5, connection refused)",
        ),
        (
            "web",
            web.url("").replace("://", "://u:canary@"),
            &provider,
            "(HTTP 404)",
        ),
        ("ssh", at("http", ssh), &provider, "is its URL right?"),
        (
            "socks-ssh",
            at("socks5", ssh),
            &provider,
            "is its URL right?",
        ),
        (
            "closes",
            at("http", closes),
            &provider,
            "closed the connection before",
        ),
        (
            "socks-closes",
            at("socks5", closes),
            &provider,
            "closed the connection before",
        ),
        (
            "silent",
            at("http", silent),
            &provider,
            "could not be made in time",
        ),
        (
            "tls",
            at("https", ssh),
            &provider,
            "TLS with the proxy default itself",
        ),
    ] {
        let patience = if name == "silent" { "1" } else { "30" };
        let env = [(URL, &*proxy), (CONNECT_TIMEOUT, patience)];
        let server = start(&database, &internet, &env).await;
        server.client.save_realm(name, document(url)).await;
        let detail = failure(&server.client, name, "transient").await;
        assert!(detail.contains(told), "{name}: {detail}");
        assert!(detail.contains("proxy default"), "{name}: {detail}");
        for hidden in [USER, PASSWORD, "provider.example"] {
            assert!(!detail.contains(hidden), "{name}: {detail}");
        }
        server
            .client
            .delete(&format!("/api/realm/{name}?cascade=true"))
            .await
            .expect(200);
        server.stop().await;
    }
}

async fn certificates_of_a_realm_hold_through_a_proxy(database: TestDatabase) {
    let private = Authority::root("Private Root");
    let shown = tls_server(private.issue("private.example", GOOD), Some(&private)).await;
    let (tinyproxy, authority) = (
        RealProxy::tinyproxy(&database, "").await,
        Authority::root("Root of the proxy"),
    );
    let secured = tls_in_front(authority.issue("127.0.0.1", GOOD), tinyproxy.address()).await;
    let hosts = Hosts([("private.example".to_owned(), shown)].into());
    let url = tinyproxy
        .url()
        .replace("http://", "https://")
        .replace(&tinyproxy.address().to_string(), &secured.to_string());
    let options = Options {
        internet: Some((
            std::sync::Arc::new(hosts),
            authority.certificate.der().clone(),
        )),
        ..Options::default().with(&[(URL, &url)])
    };
    let server = Server::start_with(&database, options).await;
    let mut config = document("https://private.example/token");
    config["params"] = json!({
        "ca": {"title": "Authority"},
        "cert": {"title": "Certificate", "optional": true},
        "key": {"title": "Key", "optional": true},
    });
    config["tls"] = json!({"ca": "$ca", "client_cert": "$cert", "client_key": "$key"});
    server.client.save_realm("r", config).await;
    let client = private.issue("client.example", GOOD);
    let certificate = pem("CERTIFICATE", &client.chain[0]);
    let ca = private.certificate.pem();
    let whole = json!({"ca": ca, "cert": certificate, "key": client.key.serialize_pem()});
    let save = async |key: &str, params: &Value| {
        let secret = json!({"realm": "r", "key": key, "params": params});
        server.client.post("/api/secret", &secret).await.expect(200);
    };
    save("whole", &whole).await;
    server.client.generation("r", "whole", 1).await;
    save("without", &json!({"ca": ca})).await;
    let detail = eventually("a failure", async || {
        let secret = server.client.secret("r", "without").await;
        secret["last_error"]["detail"].as_str().map(str::to_owned)
    })
    .await;
    assert!(detail.contains("wants a client certificate"), "{detail}");
}

async fn variables_of_the_environment_name_no_proxy(database: TestDatabase) {
    let provider = Provider::start().await;
    let (proxy, url) = (
        LyingProxy::leading_to(closed()).await,
        provider.url("/token"),
    );
    let at = format!("http://{}", proxy.address);
    let names = [
        "HTTP_PROXY",
        "http_proxy",
        "HTTPS_PROXY",
        "https_proxy",
        "ALL_PROXY",
        "all_proxy",
    ];
    let env = names.map(|name| (name, at.clone()));
    let server = ServerProcess::start(&database, &env);
    server.client.save_realm("r", document(&url)).await;
    server.client.save_secret("r", "k").await;
    server.client.generation("r", "k", 1).await;
    assert_eq!(proxy.asked(), [""; 0]);
    server.kill();
}

fn pem(label: &str, der: &[u8]) -> String {
    use base64::Engine;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
}
