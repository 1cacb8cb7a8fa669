//! Where requests would go: in the clear, or to where they will be refused.

use serde_json::json;

use super::{assert_single, config, pairs, step, warnings};
use crate::kit::server::Options;
use crate::kit::{Server, TestDatabase, on_every_database};

on_every_database! {
    plain_http_and_addresses_that_will_be_refused_are_warned_of,
}

async fn plain_http_and_addresses_that_will_be_refused_are_warned_of(database: TestDatabase) {
    let networks = "TOKEN_SERVER__UPSTREAM__ALLOWED_NETWORKS";
    let start = async |list: &str| {
        let options = Options {
            env: vec![(networks, list.to_owned())],
            ..Options::default()
        };
        Server::start_with(&database, options).await
    };
    let at = |url: &str| config(json!({"url": url}));
    let closed = start("").await;
    for url in [
        "http://api.example.com/token",
        "http://93.184.216.34/token",
        "http://api.example.com:8080/${client_id}",
        "http://${client_id}.example.com/",
        "http://localhost/",
        "https://localhost:8443/",
        "https://10.1.2.3/",
        "https://[::1]/",
    ] {
        let told = warnings(&closed.client, &at(url)).await;
        assert_single(&told, "/config/url", "refused when it is sent", &json!(url));
    }
    for url in [
        "https://api.example.com/",
        "$client_id",
        "${client_id}/x",
        "https://93.184.216.34/",
    ] {
        assert_eq!(warnings(&closed.client, &at(url)).await, [], "{url}");
    }
    let elsewhere = config(json!({
        "steps": [step(&json!({"url": "http://a.example.com/"}))],
        "refresh": {"url": "http://b.example.com/"}, "refresh_token_path": "r",
    }));
    let told = warnings(&closed.client, &elsewhere).await;
    let pointers: Vec<_> = told.iter().map(|(at, _)| at.as_str()).collect();
    assert_eq!(pointers, ["/config/steps/0/url", "/config/refresh/url"]);
    let logic = json!({"id": "l", "logic_code": "http://logic.example.com/"});
    let reply = closed
        .client
        .post("/api/realm", &logic)
        .await
        .expect(200)
        .json();
    assert_single(
        &pairs(&reply["data"]["warnings"]),
        "/logic_code",
        "refused",
        &logic,
    );
    closed.stop().await;
    let open = start("127.0.0.0/8,10.0.0.0/8").await;
    for url in [
        "http://127.0.0.1/",
        "http://10.1.2.3/",
        "http://inside.example.com/",
        "http://localhost/",
    ] {
        assert_eq!(warnings(&open.client, &at(url)).await, [], "{url}");
    }
    for url in [
        "http://192.168.0.1/",
        "http://93.184.216.34/",
        "https://172.16.0.9/",
    ] {
        let told = warnings(&open.client, &at(url)).await;
        assert_single(
            &told,
            "/config/url",
            "upstream.allowed_networks",
            &json!(url),
        );
    }
}
