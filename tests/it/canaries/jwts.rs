//! What a JWT holds is found nowhere, whether it is good or refused, nor what an issuer's documents
//! repeat of it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use serde_json::{Value, json};
use token_server::foundation::clock::SystemClock;

use super::{ADMIN, configured_by_files, expect_clean, forms};
use crate::issuers::logged::{CANARY, REFUSED};
use crate::kit::issuer::{Publisher, SigningKey, service_account, unsigned};
use crate::kit::server::Client;
use crate::kit::{Provider, Reply, TestDatabase, on_every_database};

on_every_database! {
    what_a_jwt_holds_is_found_nowhere,
}

const ISSUER: &str = "https://issuer.example";

/// The claims of a pod, beside canaries in each place that claims have.
fn claims_of(issuer: &str) -> Value {
    let mut claims = service_account(issuer, "prod", "checkout", &SystemClock);
    claims["jti"] = json!(CANARY);
    claims["list"] = json!([CANARY, {"x": CANARY}]);
    claims["kubernetes.io"]["pod"]["name"] = json!(CANARY);
    claims[CANARY] = json!("in the place of a name");
    claims
}

/// What must be found nowhere of canaries and of tokens: neither as they were sent, nor parts of them.
fn forbidden(tokens: &[String]) -> Vec<String> {
    let mut forbidden = forms(CANARY);
    for token in tokens {
        forbidden.push(basic(token));
        // The first part is the same in many.
        let parts = token.split('.').skip(1);
        forbidden.extend(parts.filter(|part| part.len() > 20).map(str::to_owned));
    }
    forbidden
}

fn basic(token: &str) -> String {
    STANDARD.encode(format!("jwt:{token}"))
}

/// Calls with a token in each place where a credential may stand.
async fn call_with(client: &Client, token: &str, path: &str) -> Vec<Reply> {
    let anybody = client.without_key();
    let mut replies = vec![client.with_key(token).get(path).await];
    for (name, value) in [
        ("authorization", format!("Basic {}", basic(token))),
        ("authorization", format!("Token {token}")),
        ("cookie", format!("token={token}")),
    ] {
        let request = anybody.request(Method::GET, path).header(name, value);
        replies.push(anybody.send(request).await);
    }
    let in_query = format!("{path}?access_token={token}");
    replies.push(anybody.get(&in_query).await);
    replies
}

/// Has a publisher of keys answer in a certain way.
type Telling = Box<dyn Fn(&Publisher) + Send>;

/// Documents of an issuer that repeats what it must not: how it is told to.
fn repeating(publisher: &Publisher, said: &str) -> Vec<Telling> {
    let answers = [
        (500, said.to_owned()),
        (200, said.to_owned()),
        (200, json!({"error": said, "keys": said}).to_string()),
        (
            200,
            json!({"keys": [{"kty": "oct", "kid": said, "k": said}]}).to_string(),
        ),
        (
            200,
            json!({"keys": [{"kty": said, "kid": said, "alg": said}]}).to_string(),
        ),
    ];
    let issuer = publisher.issuer();
    let documents = [
        json!({"issuer": said, "jwks_uri": publisher.url("/jwks")}),
        json!({"issuer": issuer, "jwks_uri": said}),
        json!({"issuer": issuer, "jwks_uri": {"x": said}}),
        json!(said),
    ];
    let mut all: Vec<Telling> = Vec::new();
    for (status, body) in answers {
        all.push(Box::new(move |publisher: &Publisher| {
            publisher.answer(Some((status, body.as_str())));
        }));
    }
    for document in documents {
        all.push(Box::new(move |publisher: &Publisher| {
            publisher.discover(document.clone());
        }));
    }
    all
}

async fn what_a_jwt_holds_is_found_nowhere(database: TestDatabase) {
    let receiver = Provider::start().await;
    let (_folder, server) = configured_by_files(&database, &receiver);
    let client = &server.client.with_key(ADMIN);
    let key = SigningKey::new("first", "RS256");
    let registration = json!({
        "issuer": ISSUER, "audiences": ["token-server"], "algorithms": ["RS256", "RS512"],
        "jwks": {"keys": [key.jwk()]},
        "rules": [
            {"when": "claims.sub == 'system:serviceaccount:prod:checkout'", "scopes": ["realm:read"]},
            {"when": "claims.n is defined and claims.n + 1 > 2", "scopes": ["realm:read"]},
        ],
    });
    let saved = client.put("/api/issuer/k8s", &registration).await;
    saved.expect(200);
    let header = json!({"alg": "RS256", "kid": key.id});
    let (mut tokens, mut told) = (Vec::new(), Vec::new());

    let good = key.token_with(&header, &claims_of(ISSUER));
    let by = client.with_key(&good);
    told.push(by.get("/api/realm").await.expect(200));
    told.push(by.get("/api/secret").await.expect(403));
    told.extend(call_with(client, &good, "/api/realm").await);
    tokens.push(good.clone());

    for (why, change) in REFUSED {
        let (mut header, mut claims) = (header.clone(), claims_of(ISSUER));
        let now_s = claims["iat"].as_i64().expect("a date");
        change(&mut header, &mut claims, now_s);
        let mut token = key.token_with(&header, &claims);
        if why.starts_with("its signature") {
            let (_, of_other) = good.rsplit_once('.').expect("three parts");
            token = format!("{}.{of_other}", unsigned(&header, &claims));
        }
        for reply in call_with(client, &token, "/api/realm").await {
            assert!(reply.status.is_client_error(), "{why}: {}", reply.text);
            told.push(reply);
        }
        tokens.push(token);
    }
    // Of nobody who is registered; too long to be read; of two parts; not signed.
    let stranger = format!("https://{CANARY}.example");
    let mut long = claims_of(ISSUER);
    long["long"] = json!(CANARY.repeat(500));
    let none = json!({"alg": "none"});
    for token in [
        key.token(&claims_of(&stranger)),
        key.token(&long),
        unsigned(&header, &claims_of(ISSUER)),
        format!("{}.", unsigned(&none, &claims_of(ISSUER))),
    ] {
        for reply in call_with(client, &token, "/api/realm").await {
            assert!(reply.status.is_client_error(), "{}", reply.text);
            told.push(reply);
        }
        tokens.push(token);
    }
    // A private key is no part of a registration, and is not repeated.
    let mut private = registration.clone();
    private["jwks"] = json!({"keys": [{"kty": "oct", "kid": "k", "k": CANARY}]});
    told.push(
        client
            .put("/api/issuer/private", &private)
            .await
            .expect(422),
    );

    let kinds = {
        let publisher = Publisher::start(&[&key]).await;
        repeating(&publisher, "").len()
    };
    for kind in 0..kinds {
        // Each of an issuer of its own, whose keys nobody has fetched yet.
        let publisher = Publisher::start(&[&key]).await;
        let issuer = publisher.issuer();
        let cluster = json!({"issuer": issuer, "audiences": ["token-server"]});
        let path = format!("/api/issuer/of-{kind}");
        client.put(&path, &cluster).await.expect(200);
        let token = key.token(&claims_of(&issuer));
        let said = format!("{CANARY} {token}");
        (repeating(&publisher, &said)[kind])(&publisher);
        let refused = client.with_key(&token).get("/api/realm").await;
        assert!(!refused.status.is_success(), "{kind}: {}", refused.text);
        assert!(!publisher.asked().is_empty(), "{kind}: nobody has asked");
        told.push(refused);
        tokens.push(token);
    }

    let forbidden = forbidden(&tokens);
    for reply in &told {
        let headers = format!("{:?}", reply.headers);
        expect_clean(
            "an answer",
            &format!("{headers}\n{}", reply.text),
            &forbidden,
        );
    }
    for path in [
        "/api/issuer?pageSize=1000",
        "/api/issuer/k8s",
        "/api/api-key?pageSize=1000",
        "/metrics",
        "/readyz",
    ] {
        let reply = client.get(path).await.expect(200);
        expect_clean(path, &reply.text, &forbidden);
    }
    server.terminate();
    let mut log = server.before_it_served.clone();
    log.extend(server.logged_to_the_end());
    let log = log.join("\n");
    assert!(log.contains("a JWT is refused"), "nothing is logged");
    assert!(log.contains("the keys of an issuer of JWTs cannot be fetched"));
    expect_clean("the log", &log, &forbidden);
    // Who has called is found, so the search works. All of the audit is in the database by now.
    assert!(
        database
            .contains("system:serviceaccount:prod:checkout")
            .await
    );
    let found = database.first_of(&forbidden).await;
    assert!(found.is_none(), "the database shows {found:?}");
}
