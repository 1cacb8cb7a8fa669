//! What the log says of tokens that are refused: why, and nothing that they hold.

use serde_json::{Value, json};
use token_server::foundation::clock::SystemClock;

use crate::kit::issuer::{SigningKey, service_account, unsigned};
use crate::kit::process::ServerProcess;
use crate::kit::source::{read, root};
use crate::kit::{TestDatabase, eventually, on_every_database, strict_json};

on_every_database! {
    the_log_says_why_a_token_is_refused_and_nothing_that_it_holds,
}

const ISSUER: &str = "https://issuer.example";
/// What each token holds, and the log must not.
pub const CANARY: &str = "canary-of-a-claim";

pub type Change = fn(&mut Value, &mut Value, i64);

/// What is wrong with a token, and what is said of it.
pub const REFUSED: [(&str, Change); 13] = [
    (
        "its algorithm is not one of the registration's algorithms",
        |header, _, _| {
            header["alg"] = json!("HS256");
        },
    ),
    (
        "its header names what must be understood (crit)",
        |header, _, _| {
            header["crit"] = json!([CANARY]);
        },
    ),
    (
        "its header says that it is of another type (typ)",
        |header, _, _| {
            header["typ"] = json!(CANARY);
        },
    ),
    (
        "its audience (aud) is not one of the registration's audiences",
        |_, claims, _| {
            claims["aud"] = json!(CANARY);
        },
    ),
    ("it does not say when it expires (exp)", |_, claims, _| {
        claims["exp"] = json!(CANARY);
    }),
    ("it has expired (exp)", |_, claims, now| {
        claims["exp"] = json!(now - 100)
    }),
    ("it is not valid yet (nbf)", |_, claims, now| {
        claims["nbf"] = json!(now + 1000)
    }),
    ("it was issued in the future (iat)", |_, claims, now| {
        claims["iat"] = json!(now + 1000)
    }),
    (
        "the issuer publishes no key of that id (kid)",
        |header, _, _| {
            header["kid"] = json!(CANARY);
        },
    ),
    (
        "the key of that id (kid) is not for its algorithm",
        |header, _, _| {
            header["alg"] = json!("RS512");
        },
    ),
    ("its signature is not that of the key", |header, _, _| {
        // It is that of another header.
        header["typ"] = json!("JWT");
    }),
    ("no rule matches", |_, claims, _| {
        claims["sub"] = json!(CANARY)
    }),
    (
        "no rule matches; the condition of rule 2 cannot be evaluated",
        |_, claims, _| {
            claims["sub"] = json!(CANARY);
            claims["n"] = json!(CANARY);
        },
    ),
];

async fn the_log_says_why_a_token_is_refused_and_nothing_that_it_holds(database: TestDatabase) {
    let filter = "info,token_server::issuers=debug".to_owned();
    let server = ServerProcess::start(&database, &[("TOKEN_SERVER__LOG__FILTER", filter)]);
    let key = SigningKey::new("first", "RS256");
    let registration = json!({
        "issuer": ISSUER, "audiences": ["token-server"], "algorithms": ["RS256", "RS512"],
        "jwks": {"keys": [key.jwk()]},
        "rules": [
            {"when": "claims.sub == 'system:serviceaccount:prod:checkout'", "scopes": ["realm:read"]},
            {"when": "claims.n is defined and claims.n + 1 > 2", "scopes": ["realm:read"]},
        ],
    });
    server
        .client
        .put("/api/issuer/k8s", &registration)
        .await
        .expect(200);
    let account = || {
        let mut claims = service_account(ISSUER, "prod", "checkout", &SystemClock);
        claims["jti"] = json!(CANARY);
        claims
    };
    let header = json!({"alg": "RS256", "kid": key.id});
    let good = key.token_with(&header, &account());
    server
        .client
        .with_key(&good)
        .get("/api/realm")
        .await
        .expect(200);
    let mut log = Vec::new();
    let mut sent = vec![good];
    let seen = async |log: &mut Vec<String>, what: &dyn Fn(&Value) -> bool| {
        eventually("a line of the log", async || {
            log.extend(server.logged());
            let mut lines = log.iter().map(|line| strict_json::read(line));
            lines.find(|line| what(line))
        })
        .await
    };
    for (why, change) in REFUSED {
        let (mut header, mut claims) = (header.clone(), account());
        let now_s = claims["iat"].as_i64().expect("a date");
        change(&mut header, &mut claims, now_s);
        let mut token = key.token_with(&header, &claims);
        if why.starts_with("its signature") {
            let (_, of_other) = sent[0].rsplit_once('.').expect("three parts");
            token = format!("{}.{of_other}", unsigned(&header, &claims));
        }
        let refused = server.client.with_key(&token).get("/api/realm").await;
        refused.expect_problem(401, "unauthorized");
        sent.push(token);
        let says_why = |line: &Value| {
            let said = line["why"].as_str().unwrap_or_default();
            line["message"] == "a JWT is refused" && said.starts_with(why)
        };
        let line = seen(&mut log, &says_why).await;
        assert_eq!(line["issuer"], "k8s", "{why}");
    }
    // For who does not look closely, once a minute.
    let begins = |line: &Value, text: &str| {
        let message = line["message"].as_str().unwrap_or_default();
        message.starts_with(text)
    };
    let by_the_minute = |line: &Value| begins(line, "JWTs of an issuer are refused");
    let told = seen(&mut log, &by_the_minute).await;
    assert_eq!(
        (&told["level"], &told["calls"]),
        (&json!("WARN"), &json!(1))
    );
    assert_eq!(told["why"], REFUSED[0].0);
    // One of nobody who is registered.
    let mut claims = account();
    claims["iss"] = json!(format!("https://{CANARY}.example"));
    let stranger = key.token_with(&header, &claims);
    let refused = server.client.with_key(&stranger).get("/api/realm").await;
    refused.expect_problem(401, "unauthorized");
    sent.push(stranger);
    let of_nobody = |line: &Value| begins(line, "JWTs are refused: what they name");
    let told = seen(&mut log, &of_nobody).await;
    assert_eq!(told["level"], "WARN");
    let log = log.join("\n");
    assert!(!log.contains(CANARY), "{log}");
    for part in sent.iter().flat_map(|token| token.split('.')) {
        assert!(!log.contains(part), "{part} is in the log");
    }
}

#[test]
fn the_page_says_what_to_do_for_each_reason() {
    let page = read(&root().join("docs/src/how-to/workloads.md"));
    for (why, _) in REFUSED {
        let (why, _) = why.split_once(';').unwrap_or((why, ""));
        assert!(page.contains(&format!("| {why}")), "{why}");
    }
}
