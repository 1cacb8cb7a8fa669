//! What is registered of an issuer: who may, what is refused, and how it is shown.

use serde_json::{Value, json};

use super::Scene;
use crate::access::{with_key, with_scopes};
use crate::kit::issuer::{SigningKey, github_job, service_account};
use crate::kit::source::{read, root};
use crate::kit::{Server, TestDatabase, on_every_database};

on_every_database! {
    an_issuer_is_registered_shown_replaced_and_deleted,
    what_would_let_in_too_many_or_nobody_is_refused_by_its_place,
    nobody_gives_by_a_rule_what_he_has_not,
    a_registration_holds_from_the_next_call_on,
    what_the_page_registers_is_taken_and_lets_in_whom_it_says,
}

fn registration() -> Value {
    json!({
        "issuer": "https://issuer.example",
        "audiences": ["token-server"],
        "rules": [{"when": "claims.sub == 'a'", "scopes": ["token:read"], "realms": ["r*"]}],
    })
}

async fn an_issuer_is_registered_shown_replaced_and_deleted(database: TestDatabase) {
    let server = Server::start(&database).await;
    let client = &server.client;
    let unknown = client.get("/api/issuer/one").await;
    unknown.expect_problem(404, "unknown_issuer");
    let saved = client.put("/api/issuer/one", &registration()).await;
    let saved = saved.expect(200).json()["data"].clone();
    let expected = json!({
        "name": "one", "issuer": "https://issuer.example", "audiences": ["token-server"],
        "algorithms": ["RS256"], "jwks_url": null, "jwks": null, "ca": null, "proxy": null,
        "rules": [{
            "when": "claims.sub == 'a'", "scopes": ["token:read"], "realms": ["r*"], "keys": null,
        }],
        "version": 1, "created_at": saved["created_at"], "updated_at": saved["updated_at"],
    });
    assert_eq!(saved, expected);
    let shown = client.get("/api/issuer/one").await.expect(200);
    assert_eq!(shown.json()["data"], expected);
    assert_eq!(client.list("/api/issuer").await, [expected]);
    // Replaced as a whole.
    let key = SigningKey::new("k", "ES256");
    let other = json!({
        "issuer": "urn:other", "audiences": ["a", "b"], "algorithms": ["ES256", "EdDSA"],
        "jwks": {"keys": [key.jwk()]},
    });
    let saved = client.put("/api/issuer/one", &other).await;
    let saved = saved.expect(200).json()["data"].clone();
    assert_eq!(saved["version"], 2);
    assert_eq!(saved["jwks"], other["jwks"]);
    assert_eq!(saved["rules"], json!([]));
    // Its tokens are let in by one registration.
    let taken = client.put("/api/issuer/two", &other).await;
    let problem = taken.expect_problem(409, "issuer_taken");
    assert!(problem["detail"].to_string().contains("one"), "{problem}");
    client.delete("/api/issuer/one").await.expect(200);
    let again = client.delete("/api/issuer/one").await;
    again.expect_problem(404, "unknown_issuer");
    client.put("/api/issuer/two", &other).await.expect(200);
    let actions: Vec<_> = client
        .list("/api/audit")
        .await
        .into_iter()
        .filter(|entry| entry["action"].to_string().contains("issuer."))
        .map(|entry| json!([entry["action"], entry["target"]]))
        .collect();
    let expected = json!([
        ["issuer.save", "two"],
        ["issuer.delete", "one"],
        ["issuer.save", "one"],
        ["issuer.save", "one"],
    ]);
    assert_eq!(json!(actions), expected);
}

async fn what_would_let_in_too_many_or_nobody_is_refused_by_its_place(database: TestDatabase) {
    let server = Server::start(&database).await;
    let client = &server.client;
    let key = SigningKey::new("k", "RS256").jwk();
    let mut private = key.clone();
    private["d"] = json!("AQAB");
    let rule = |field: &str, value: Value| {
        let mut registration = registration();
        registration["rules"][0][field] = value;
        registration
    };
    let with = |field: &str, value: Value| {
        let mut registration = registration();
        registration[field] = value;
        registration
    };
    let mut both = with("jwks_url", json!("https://issuer.example/jwks"));
    both["jwks"] = json!({"keys": [key]});
    for (registration, pointer) in [
        (json!({}), "/issuer"),
        (with("issuer", json!("not a URL")), "/issuer"),
        (with("issuer", json!("file:///etc")), "/issuer"),
        (with("audiences", json!([])), "/audiences"),
        (with("audiences", json!([1])), "/audiences/0"),
        (with("algorithms", json!([])), "/algorithms"),
        (
            with("algorithms", json!(["RS256", "none"])),
            "/algorithms/1",
        ),
        (with("algorithms", json!(["HS256"])), "/algorithms/0"),
        (with("algorithms", json!(["ES512"])), "/algorithms/0"),
        (with("jwks_url", json!("ftp://issuer.example")), "/jwks_url"),
        (
            with("jwks_url", json!("https://user:pw@issuer.example")),
            "/jwks_url",
        ),
        (with("jwks", json!({"keys": []})), "/jwks"),
        (with("jwks", json!({"keys": [private]})), "/jwks"),
        (
            with("jwks", json!({"keys": [{"kty": "oct", "k": "AQAB"}]})),
            "/jwks",
        ),
        (both, "/jwks"),
        (with("ca", json!("no PEM")), "/ca"),
        (with("rule", json!([])), "/rule"),
        (rule("when", json!("")), "/rules/0/when"),
        (rule("when", json!("true")), "/rules/0/when"),
        (rule("when", json!("1 == 1")), "/rules/0/when"),
        (rule("when", json!("claims.sub == now()")), "/rules/0/when"),
        (rule("when", json!("sub == 'a'")), "/rules/0/when"),
        (rule("when", json!("claims.sub == ")), "/rules/0/when"),
        (rule("when", json!("${ claims.sub }")), "/rules/0/when"),
        (rule("scopes", json!([])), "/rules/0/scopes"),
        (
            rule("scopes", json!(["token:read", "root"])),
            "/rules/0/scopes/1",
        ),
        // Limited, and yet of all.
        (
            rule("scopes", json!(["token:read", "admin"])),
            "/rules/0/scopes/1",
        ),
        (rule("scopes", json!(["metrics"])), "/rules/0/scopes/0"),
        (rule("realms", json!("r")), "/rules/0/realms"),
        (rule("keys", json!([""])), "/rules/0/keys/0"),
        (rule("key", json!(["k"])), "/rules/0/key"),
    ] {
        let refused = client.put("/api/issuer/one", &registration).await;
        let problem = refused.expect_problem(422, "invalid_document");
        let faults = problem["errors"].as_array().expect("faults");
        let named = faults.iter().any(|fault| fault["pointer"] == pointer);
        assert!(named, "{pointer}: {problem}");
        assert!(!problem.to_string().contains("AQAB"), "{problem}");
    }
    for name in ["One", "a%3Ab", "a%20b", ".one"] {
        let path = format!("/api/issuer/{name}");
        let refused = client.put(&path, &registration()).await;
        refused.expect_problem(400, "invalid_parameter");
    }
    assert_eq!(client.list("/api/issuer").await, [] as [Value; 0]);
}

async fn nobody_gives_by_a_rule_what_he_has_not(database: TestDatabase) {
    let server = Server::start(&database).await;
    let keeper = with_scopes(&server.client, "keeper", &["key:write", "token:read"]).await;
    keeper
        .put("/api/issuer/one", &registration())
        .await
        .expect(200);
    for scope in ["token:flush", "secret:read", "admin"] {
        let mut more = registration();
        more["rules"] = json!([
            {"when": "claims.sub == 'a'", "scopes": ["token:read"]},
            {"when": "claims.sub == 'b'", "scopes": ["token:read", scope]},
        ]);
        let refused = keeper.put("/api/issuer/one", &more).await;
        let problem = refused.expect_problem(403, "forbidden");
        assert!(problem["detail"].to_string().contains(scope), "{problem}");
        let refused = keeper.put("/api/issuer/two", &more).await;
        refused.expect_problem(403, "forbidden");
    }
    // Whoever may give no access sees and changes no issuer.
    let others = ["realm:write", "secret:write", "token:read", "audit:read"];
    let others = with_scopes(&server.client, "others", &others).await;
    let limited = json!({"name": "limited", "scopes": ["secret:write"], "realms": ["*"]});
    let limited = with_key(&server.client, limited).await;
    for caller in [&others, &limited] {
        let refused = caller.put("/api/issuer/one", &registration()).await;
        refused.expect_problem(403, "forbidden");
        let refused = caller.delete("/api/issuer/one").await;
        refused.expect_problem(403, "forbidden");
        let refused = caller.get("/api/issuer").await;
        refused.expect_problem(403, "forbidden");
    }
    let stored = server.client.list("/api/issuer").await;
    assert_eq!(stored.len(), 1);
    assert_eq!(stored[0]["version"], 1);
}

async fn a_registration_holds_from_the_next_call_on(database: TestDatabase) {
    let scene = Scene::set(&database).await;
    scene.register_cluster().await;
    let caller = scene.caller(&scene.token("prod", "checkout"));
    caller.token("prod-mail", "k").await.expect(200);
    let mut changed = scene.cluster();
    changed["rules"][0]["realms"] = json!(["staging-*"]);
    scene
        .admin()
        .put("/api/issuer/k8s", &changed)
        .await
        .expect(200);
    let denied = caller.token("prod-mail", "k").await;
    denied.expect_problem(403, "forbidden");
    caller.token("staging-mail", "k").await.expect(200);
    changed["audiences"] = json!(["another"]);
    scene
        .admin()
        .put("/api/issuer/k8s", &changed)
        .await
        .expect(200);
    let refused = caller.token("staging-mail", "k").await;
    refused.expect_problem(401, "unauthorized");
    scene.register_cluster().await;
    caller.token("prod-mail", "k").await.expect(200);
    // What was fetched is good for as long as keys come from the same place.
    assert_eq!(scene.publisher.fetches(), 1);
    let mut another_way = scene.cluster();
    another_way["proxy"] = json!("direct");
    let saved = scene.admin().put("/api/issuer/k8s", &another_way).await;
    saved.expect(200);
    caller.token("prod-mail", "k").await.expect(200);
    assert_eq!(scene.publisher.fetches(), 2);
    scene.admin().delete("/api/issuer/k8s").await.expect(200);
    let refused = caller.token("prod-mail", "k").await;
    refused.expect_problem(401, "unauthorized");
}

async fn what_the_page_registers_is_taken_and_lets_in_whom_it_says(database: TestDatabase) {
    let scene = Scene::set(&database).await;
    let page = read(&root().join("docs/src/how-to/workloads.md"));
    let blocks = page.split("```json file=").skip(1);
    let blocks = blocks.filter_map(|block| block.split_once('\n')?.1.split_once("```"));
    let blocks: Vec<_> = blocks.collect();
    assert_eq!(blocks.len(), 3);
    let oidc = |issuer: &str| {
        let mut claims = service_account(issuer, "-", "-", &*scene.clock);
        claims["azp"] = json!("billing-service");
        claims["scope"] = json!("openid tokens");
        claims
    };
    for (number, (block, _)) in blocks.into_iter().enumerate() {
        let mut registration: Value = serde_json::from_str(block).expect("JSON");
        let issuer = registration["issuer"].as_str().expect("a text").to_owned();
        let path = format!("/api/issuer/of-page-{number}");
        // As it stands, and with keys that are had here.
        scene.admin().put(&path, &registration).await.expect(200);
        registration["jwks"] = json!({"keys": [scene.key.jwk()]});
        scene.admin().put(&path, &registration).await.expect(200);
        let (good, bad) = match number {
            0 => (
                service_account(&issuer, "prod", "checkout", &*scene.clock),
                service_account(&issuer, "prod", "cart", &*scene.clock),
            ),
            1 => (
                github_job("acme/site", "refs/heads/main", &*scene.clock),
                github_job("acme/site", "refs/heads/other", &*scene.clock),
            ),
            _ => (
                oidc(&issuer),
                service_account(&issuer, "-", "-", &*scene.clock),
            ),
        };
        let good = scene.caller(&scene.key.token(&good));
        let denied = good.get("/api/realm").await;
        denied.expect_problem(403, "forbidden");
        let bad = scene.caller(&scene.key.token(&bad));
        let refused = bad.get("/api/realm").await;
        refused.expect_problem(401, "unauthorized");
    }
}
