//! Nobody gives more than it has: neither scopes, nor time, nor a rate.

use serde_json::json;
use token_server::foundation::clock::Clock;

use super::limited;
use crate::kit::issuer::SigningKey;
use crate::kit::process::command;
use crate::kit::server::{Client, Options};
use crate::kit::{Server, TestDatabase, eventually, on_every_database};

on_every_database! {
    a_key_gives_no_scope_that_it_lacks,
    a_key_makes_none_that_expires_later_or_has_a_higher_rate,
    a_caller_that_is_held_to_the_default_rate_makes_no_key_beyond_it,
}

async fn a_key_gives_no_scope_that_it_lacks(database: TestDatabase) {
    let server = Server::start(&database).await;
    let keeper = limited(
        &server.client,
        "keeper",
        &["key:write", "token:read"],
        json!({}),
    )
    .await;
    let admin = limited(&server.client, "administrator", &["admin"], json!({})).await;
    let give = async |by: &Client, scopes: &[&str]| {
        let name = format!("of {}", scopes.join(" "));
        by.post("/api/api-key", &json!({"name": name, "scopes": scopes}))
            .await
    };
    give(&keeper, &["token:read"]).await.expect(200);
    give(&admin, &["realm:write", "admin", "metrics"])
        .await
        .expect(200);
    for (by, scopes) in [
        (&keeper, ["token:read", "admin"]),
        (&keeper, ["token:read", "secret:read"]),
        (&admin, ["admin", "token:flush"]),
    ] {
        give(by, &scopes).await.expect_problem(403, "forbidden");
    }
    let keys = server.client.list("/api/api-key").await;
    // The first one, these two, and what they have made.
    assert_eq!(keys.len(), 5);
    eventually("what was denied is in the audit", async || {
        let entries = server.client.list("/api/audit").await;
        let denied = entries.iter().any(|entry| entry["outcome"] == "denied");
        denied.then_some(())
    })
    .await;
}

async fn a_key_makes_none_that_expires_later_or_has_a_higher_rate(database: TestDatabase) {
    let server = Server::start(&database).await;
    let client = &server.client;
    let end = 4_102_444_800_000_i64;
    let scopes = ["key:write", "token:read"];
    let expiring = limited(client, "expiring", &scopes, json!({"expires_at": end})).await;
    let rated = limited(client, "rated", &scopes, json!({"rate": 500})).await;
    let free = limited(client, "free", &scopes, json!({})).await;
    let issuer = json!({
        "issuer": "https://issuer.test", "audiences": ["token-server"],
        "rules": [{"when": "claims.sub is defined", "scopes": ["token:read"]}],
    });
    for (at, (by, limits, refused)) in [
        (&expiring, json!({}), Some("most 4102444800000")),
        (
            &expiring,
            json!({"expires_at": end + 1}),
            Some("expires_at"),
        ),
        (&expiring, json!({"expires_at": end}), None),
        (
            &expiring,
            json!({"expires_at": end - 1, "rate": 1000}),
            None,
        ),
        (&rated, json!({}), Some("most 500")),
        (&rated, json!({"rate": 501}), Some("rate")),
        (&rated, json!({"rate": 500}), None),
        (&rated, json!({"rate": 1, "expires_at": end}), None),
        (&free, json!({}), None),
        (&free, json!({"expires_at": end, "rate": 1000}), None),
    ]
    .into_iter()
    .enumerate()
    {
        let mut key = limits;
        key["name"] = json!(format!("made {at}"));
        key["scopes"] = json!(["token:read"]);
        let made = by.post("/api/api-key", &key).await;
        match refused {
            Some(why) => {
                let problem = made.expect_problem(403, "forbidden");
                assert!(problem["detail"].to_string().contains(why), "{problem}");
            }
            None => drop(made.expect(200)),
        }
    }
    // What is made of what was made is limited as well.
    let body = json!({"name": "child", "scopes": scopes, "expires_at": end - 5});
    let made = expiring.post("/api/api-key", &body).await.expect(200);
    let child = client.with_key(made.json()["data"]["key"].as_str().expect("a key"));
    let body = json!({"name": "grandchild", "scopes": scopes, "expires_at": end});
    let refused = child.post("/api/api-key", &body).await;
    refused.expect_problem(403, "forbidden");
    // Nor does it let others in by an issuer, for ever.
    for by in [&expiring, &rated] {
        let refused = by.put("/api/issuer/own", &issuer).await;
        refused.expect_problem(403, "forbidden");
    }
    free.put("/api/issuer/own", &issuer).await.expect(200);
}

async fn a_caller_that_is_held_to_the_default_rate_makes_no_key_beyond_it(database: TestDatabase) {
    let options = Options::default().with(&[("TOKEN_SERVER__ACCESS__KEY_RATE", "200")]);
    let (server, clock) = Server::on_manual_clock_with(&database, options).await;
    let client = &server.client;
    let scopes = ["key:write", "token:read"];
    let keeper = limited(client, "keeper", &scopes, json!({})).await;
    let slower = limited(client, "slower", &scopes, json!({"rate": 100})).await;
    let signing = SigningKey::new("k", "ES256");
    let issuer = json!({
        "issuer": "https://issuer.test", "audiences": ["a"], "algorithms": ["ES256"],
        "jwks": {"keys": [signing.jwk()]},
        "rules": [{"when": "claims.sub == 's'", "scopes": scopes}],
    });
    client.put("/api/issuer/one", &issuer).await.expect(200);
    let now = clock.now().0 / 1000;
    let claims = json!({"iss": "https://issuer.test", "aud": "a", "sub": "s", "exp": now + 1000});
    let of_issuer = client.with_key(&signing.token(&claims));
    let create = |arguments: &[&str]| {
        let mut command = command(&database, &[]);
        let output = command.args(["api-key", "create"]).args(arguments).output();
        let output = output.expect("it runs");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("a key")
    };
    // On the command line, where no key is shown, there is no limit.
    let key = create(&["faster", "--scope", "key:write,token:read", "--rate", "500"]);
    let faster = client.with_key(key.trim());
    let cases = [
        (
            "the administrator",
            client,
            [(Some(201), false), (Some(200), true), (None, true)],
        ),
        (
            "a key",
            &keeper,
            [(Some(201), false), (Some(200), true), (None, true)],
        ),
        (
            "a JWT",
            &of_issuer,
            [(Some(201), false), (Some(200), true), (None, true)],
        ),
        (
            "a slower key",
            &slower,
            [(Some(101), false), (Some(100), true), (None, false)],
        ),
        (
            "a faster key",
            &faster,
            [(Some(501), false), (Some(500), true), (None, false)],
        ),
    ];
    for (who, by, tries) in cases {
        for (rate, is_made) in tries {
            let mut key = json!({"name": format!("{who} {rate:?}"), "scopes": ["token:read"]});
            key["rate"] = json!(rate);
            let made = by.post("/api/api-key", &key).await;
            if is_made {
                assert_eq!(made.status, 200, "{who} {rate:?}: {}", made.text);
                continue;
            }
            let problem = made.expect_problem(403, "forbidden");
            assert!(
                problem["detail"].to_string().contains("at most"),
                "{who}: {problem}"
            );
        }
    }
}
