//! The edge of the API: how a caller without a key is asked for one, and what a query may hold.

use reqwest::Method;
use serde_json::Value;

use crate::kit::server::Client;
use crate::kit::{Reply, Server, TestDatabase, on_every_database};

on_every_database! {
    who_is_no_browser_is_asked_for_a_bearer_token_or_basic_credentials,
    a_browser_is_asked_for_a_bearer_token_only,
    who_waits_to_be_asked_for_basic_credentials_gets_in_with_the_key_as_password,
    no_operation_takes_a_parameter_that_it_does_not_have,
    a_misspelt_parameter_is_refused_with_the_one_that_was_meant,
    a_query_that_can_be_read_in_two_ways_is_refused_by_name,
    who_has_no_key_is_told_that_first,
    providers_may_send_any_query_and_so_may_readers_of_the_documentation,
}

async fn challenges(client: &Client, headers: &[(&str, &str)]) -> Vec<String> {
    let mut request = client.without_key().request(Method::GET, "/api/realm");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let reply = client.send(request).await;
    let challenges = reply.headers.get_all("www-authenticate").iter();
    let texts = challenges.map(|value| value.to_str().expect("a text").to_owned());
    let texts = texts.collect();
    reply.expect_problem(401, "unauthorized");
    texts
}

const BEARER: &str = r#"Bearer realm="token-server""#;
const BASIC: &str = r#"Basic realm="token-server""#;

async fn who_is_no_browser_is_asked_for_a_bearer_token_or_basic_credentials(
    database: TestDatabase,
) {
    let server = Server::start(&database).await;
    for headers in [
        &[][..],
        // As wget and curl send them, and libraries.
        &[
            ("user-agent", "Wget/1.21.3"),
            ("accept", "*/*"),
            ("accept-encoding", "identity"),
        ],
        &[("user-agent", "curl/7.88.1"), ("accept", "*/*")],
        &[("accept", "application/json, application/xml;q=0.9")],
    ] {
        let offered = challenges(&server.client, headers).await;
        assert_eq!(offered, [BEARER, BASIC], "{headers:?}");
    }
}

async fn a_browser_is_asked_for_a_bearer_token_only(database: TestDatabase) {
    let server = Server::start(&database).await;
    for headers in [
        &[("sec-fetch-mode", "cors"), ("accept", "application/json")][..],
        &[("sec-fetch-site", "same-origin")],
        &[("origin", "http://10.0.0.5:8080"), ("accept", "*/*")],
        // A page that is not from a trustworthy origin has no fetch metadata.
        &[
            ("referer", "http://10.0.0.5:8080/docs"),
            ("accept", "application/json"),
        ],
        &[(
            "accept",
            "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
        )],
        &[("accept", "image/avif, Text/HTML")],
    ] {
        assert_eq!(
            challenges(&server.client, headers).await,
            [BEARER],
            "{headers:?}"
        );
    }
}

/// What wget does with `--user` and `--password`.
async fn who_waits_to_be_asked_for_basic_credentials_gets_in_with_the_key_as_password(
    database: TestDatabase,
) {
    let server = Server::start(&database).await;
    let offered = challenges(&server.client, &[]).await;
    assert!(
        offered.iter().any(|offer| offer.starts_with("Basic ")),
        "{offered:?}"
    );
    let request = server
        .client
        .without_key()
        .request(Method::GET, "/api/realm");
    let key = crate::kit::server::ADMIN_KEY;
    let request = request.basic_auth("anybody", Some(key));
    server.client.send(request).await.expect(200);
}

/// `METHOD /path` of each operation with the names that its query takes; parameters of the
/// path stand for numbers.
fn operations() -> Vec<(String, Vec<String>)> {
    let text = token_server::api::specification();
    let specification: Value = serde_json::from_str(text).expect("it is JSON");
    let mut all = Vec::new();
    for (path, methods) in specification["paths"].as_object().expect("paths") {
        for (method, operation) in methods.as_object().expect("methods") {
            let parameters = operation["parameters"].as_array().into_iter().flatten();
            let of_query = parameters.filter(|parameter| parameter["in"] == "query");
            let names = of_query.map(|parameter| parameter["name"].as_str().expect("a name"));
            let mut path = path.clone();
            for (name, number) in [("{realm}", "1"), ("{key}", "2"), ("{id}", "3")] {
                path = path.replace(name, number);
            }
            let operation = format!("{} {path}", method.to_uppercase());
            all.push((operation, names.map(str::to_owned).collect()));
        }
    }
    all
}

async fn call(client: &Client, operation: &str, query: &str) -> Reply {
    let (method, path) = operation.split_once(' ').expect("a method and a path");
    let request = client.request(
        method.parse().expect("a method"),
        &format!("{path}?{query}"),
    );
    client.send(request).await
}

async fn no_operation_takes_a_parameter_that_it_does_not_have(database: TestDatabase) {
    let server = Server::start(&database).await;
    let mut refusing = 0;
    for (operation, names) in operations() {
        if operation.ends_with("/api/ticket/1") {
            continue;
        }
        let reply = call(&server.client, &operation, "no_such=1").await;
        assert_eq!(reply.status, 400, "{operation}: {}", reply.text);
        let problem = reply.expect_problem(400, "unknown_parameter");
        let detail = problem["detail"].as_str().expect("a text");
        assert!(
            detail.starts_with("The parameter no_such does not exist"),
            "{detail}"
        );
        let takes = match names.is_empty() {
            true => "This call takes no parameters in its query.".to_owned(),
            false => format!("This call takes {}.", names.join(", ")),
        };
        assert!(detail.ends_with(&takes), "{operation}: {detail}");
        refusing += 1;
    }
    assert!(refusing > 25, "{refusing} operations");
}

async fn a_misspelt_parameter_is_refused_with_the_one_that_was_meant(database: TestDatabase) {
    let server = Server::start(&database).await;
    for (query, meant) in [
        (
            "GET /api/token?realm=r&key=k&minttl=1",
            "minttl does not exist; did you mean min_ttl_s?",
        ),
        (
            "GET /api/token?realm=r&key=k&min_ttl=1",
            "min_ttl does not exist; did you mean min_ttl_s?",
        ),
        (
            "GET /api/token?realm=r&key=k&Flush=1",
            "Flush does not exist; did you mean flush?",
        ),
        (
            "GET /api/token?relm=r&key=k",
            "relm does not exist; did you mean realm?",
        ),
        (
            "GET /api/secret?page_size=5",
            "page_size does not exist; did you mean pageSize?",
        ),
        (
            "DELETE /api/realm/r?cascaded=true",
            "cascaded does not exist; did you mean cascade?",
        ),
        (
            "POST /api/renewal/run?realms=r",
            "realms does not exist; did you mean realm?",
        ),
        // What is no plain word is told by its place.
        (
            "GET /api/audit?page=1&%3Cb%3E=1",
            "Parameter 2 of the query does not exist. This",
        ),
    ] {
        let (operation, query) = query.split_once('?').expect("a query");
        let reply = call(&server.client, operation, query).await;
        let problem = reply.expect_problem(400, "unknown_parameter");
        let detail = problem["detail"].as_str().expect("a text");
        assert!(detail.contains(meant), "{query}: {detail}");
    }
}

async fn a_query_that_can_be_read_in_two_ways_is_refused_by_name(database: TestDatabase) {
    let server = Server::start(&database).await;
    for (query, expected) in [
        (
            "realm=r&realm=s&key=k",
            "parameter realm is given more than once",
        ),
        (
            "realm=r&key=k&r%65alm=r",
            "parameter realm is given more than once",
        ),
        (
            "realm=r&key=k&flush=true&flush=false",
            "parameter flush is given more than once",
        ),
        (
            "realm=r&key=100%",
            "parameter key holds a broken percent-escape",
        ),
        (
            "realm=r&key=%2",
            "parameter key holds a broken percent-escape",
        ),
        (
            "realm=%zz&key=k",
            "parameter realm holds a broken percent-escape",
        ),
        (
            "realm=r&k%=k",
            "parameter 2 of the query holds a broken percent-escape",
        ),
        ("realm=r&key=%FF", "parameter key is not UTF-8"),
        ("realm=r&key=k%C3%28", "parameter key is not UTF-8"),
        ("realm=r&%C3=k", "parameter 2 of the query is not UTF-8"),
    ] {
        let reply = call(&server.client, "GET /api/token", query).await;
        let problem = reply.expect_problem(400, "invalid_parameter");
        let detail = problem["detail"].as_str().expect("a text");
        assert!(detail.contains(expected), "{query}: {detail}");
    }
    // What is escaped as it should be is read as it was meant.
    let reply = call(&server.client, "GET /api/token", "realm=%C3%BC+%26&key=%25").await;
    reply.expect_problem(400, "unknown_secret");
}

async fn who_has_no_key_is_told_that_first(database: TestDatabase) {
    let server = Server::start(&database).await;
    let client = server.client.without_key();
    for query in ["no_such=1", "realm=r&realm=r", "realm=%", "min_ttl_s=x"] {
        let reply = call(&client, "GET /api/token", query).await;
        reply.expect_problem(401, "unauthorized");
    }
}

async fn providers_may_send_any_query_and_so_may_readers_of_the_documentation(
    database: TestDatabase,
) {
    let server = Server::start(&database).await;
    let query = "signature=a&timestamp=1&nonce=b&openid=o&encrypt_type=aes&msg_signature=c\
                 &echostr=d&anything=e&anything=f&%zz=%FF";
    for operation in ["GET /api/ticket/nowhere", "POST /api/ticket/nowhere"] {
        let reply = call(&server.client, operation, query).await;
        reply.expect_problem(404, "unknown_realm");
    }
    for page in ["docs", "openapi.json", "openapi.yaml", "realm.schema.json"] {
        let operation = format!("GET /{page}");
        call(&server.client, &operation, "v=1&v=2")
            .await
            .expect(200);
    }
}
