//! The pages of the console, as a browser gets them.

use reqwest::Method;
use token_server::api::has_console;

use crate::kit::{Server, TestDatabase, on_every_database};

on_every_database! {
    the_console_is_there_for_anybody_or_the_binary_says_that_it_has_none,
    a_console_that_is_switched_off_is_not_there,
}

async fn the_console_is_there_for_anybody_or_the_binary_says_that_it_has_none(
    database: TestDatabase,
) {
    let server = Server::start(&database).await;
    let anybody = server.client.without_key();
    for path in [
        "/console",
        "/console/",
        "/console/secrets/r/k",
        "/console?a=b",
    ] {
        let page = anybody.get(path).await.expect(200);
        assert_eq!(
            page.header("content-type"),
            Some("text/html; charset=utf-8")
        );
        assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(page.header("referrer-policy"), Some("no-referrer"));
        assert_eq!(page.header("cache-control"), Some("no-cache"));
        let policy = page.header("content-security-policy").expect("a policy");
        for part in ["default-src ", "base-uri 'none'", "frame-ancestors 'none'"] {
            assert!(policy.contains(part), "{policy}");
        }
        assert!(!policy.contains("script-src 'self' 'unsafe"), "{policy}");
        let says_so = page.text.contains("without the console");
        assert_eq!(says_so, !has_console(), "{path}");
    }
    for method in [Method::POST, Method::PUT, Method::DELETE] {
        let refused = anybody.request(method, "/console");
        let refused = anybody.send(refused).await;
        refused.expect_problem(405, "method_not_allowed");
    }
    anybody
        .get("/consoles")
        .await
        .expect_problem(404, "not_found");
    if has_console() {
        let missing = anybody.get("/console/assets/none.js").await;
        missing.expect_problem(404, "not_found");
    }
}

async fn a_console_that_is_switched_off_is_not_there(database: TestDatabase) {
    let off = [("TOKEN_SERVER__CONSOLE__ENABLED", "false")];
    let server = Server::with_env(&database, &off).await;
    let anybody = server.client.without_key();
    for path in [
        "/console",
        "/console/",
        "/console/assets/a.js",
        "/console/secrets",
    ] {
        anybody.get(path).await.expect_problem(404, "not_found");
    }
    let first = anybody.get("/").await.expect(200);
    assert!(first.text.contains("SwaggerUIBundle("));
}
