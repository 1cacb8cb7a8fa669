//! A session is as good as its rule: what is changed about that ends it on every replica that has the
//! change.

use serde_json::{Value, json};

use super::{Visitor, by_oidc};
use crate::kit::oidc::{CONSOLE_SECRET, OauthServer};
use crate::kit::server::Options;
use crate::kit::{Server, TestDatabase, on_every_database};

on_every_database! {
    a_session_ends_where_its_rule_or_one_before_it_is_changed_or_removed,
}

async fn a_session_ends_where_its_rule_or_one_before_it_is_changed_or_removed(
    database: TestDatabase,
) {
    let provider = OauthServer::start(0, 60);
    let rule = |group: &str, scopes: Value| json!({"when": format!("'{group}' in claims.groups"), "scopes": scopes});
    let admins = || rule("token-admins", json!(["admin"]));
    let readers = || rule("token-readers", json!(["realm:read"]));
    let with = |rules: Value| by_oidc(&provider.issuer, Some(CONSOLE_SECRET), &rules);
    let first = Server::start_with(&database, with(json!([admins(), readers()]))).await;
    let visitor = Visitor::at(&first);
    let bob = visitor.session(&provider, "bob").await;
    bob.get("/api/realm").await.expect(200);
    let limited = json!({
        "when": "'token-readers' in claims.groups", "scopes": ["realm:read"], "realms": ["a*"],
    });
    let another_client = [("TOKEN_SERVER__CONSOLE__OIDC__CLIENT_ID", "another")];
    let same = || json!([admins(), readers()]);
    for (options, is_good) in [
        (with(same()), true),
        // What comes after it decides nothing.
        (
            with(json!([
                admins(),
                readers(),
                rule("others", json!(["metrics"]))
            ])),
            true,
        ),
        (with(json!([admins()])), false),
        (with(json!([readers()])), false),
        (with(json!([readers(), admins()])), false),
        (
            with(json!([admins(), rule("token-readers", json!(["admin"]))])),
            false,
        ),
        (with(json!([admins(), limited])), false),
        (
            with(json!([
                admins(),
                rule("others", json!(["metrics"])),
                readers()
            ])),
            false,
        ),
        (
            with(json!([rule("token-admins", json!(["metrics"])), readers()])),
            false,
        ),
        (with(same()).with(&another_client), false),
        (
            by_oidc("http://127.0.0.1:1", Some(CONSOLE_SECRET), &same()),
            false,
        ),
        (Options::default(), false),
    ] {
        let configured = options.env.clone();
        let server = Server::start_with(&database, options).await;
        let elsewhere = bob.at(&server.client);
        for path in ["/api/realm", "/api/session"] {
            let reply = elsewhere.get(path).await;
            match is_good {
                true => drop(reply.expect(200)),
                false => {
                    assert_eq!(reply.status, 401, "{path} with {configured:?}");
                    reply.expect_problem(401, "unauthorized");
                }
            }
        }
        server.stop().await;
    }
    bob.get("/api/realm").await.expect(200);
}
