//! Each problem, as it is told.

use super::*;

on_every_database! {
    each_problem_is_told_as_recorded,
}

async fn each_problem_is_told_as_recorded(database: TestDatabase) {
    let provider = Provider::start().await;
    let nobody_watches = [("TOKEN_SERVER__HTTP__CALLER_WATCHERS_MAX", "0")];
    let options = Options::default().with(&nobody_watches);
    let (server, _) = Server::on_manual_clock_with(&database, options).await;
    let client = &server.client;
    let recorded = Recorded::of(client, &provider);
    for (id, config) in [
        ("r", realm(&provider)),
        ("fixed", Value::Null),
        ("pushed", ticketed(&provider)),
    ] {
        let body = json!({"id": id, "config": config});
        client.post("/api/realm", &body).await.expect(200);
    }
    client.post("/api/secret", &secret("r")).await.expect(200);
    client
        .post("/api/secret", &secret("pushed"))
        .await
        .expect(200);
    client.generation("r", "k", 1).await;
    let invalid = json!({"error": "invalid_client", "error_description": "no such client"});
    provider.answer_with(Answer::status(401).with_json(&invalid));
    client.save_realm("refused", realm(&provider)).await;
    client.save_secret("refused", "k").await;
    client.state("refused", "k", "needs_attention").await;
    client
        .post("/api/secret", &json!({"realm": "fixed", "key": "k"}))
        .await
        .expect(200);
    let reader = json!({"name": "reader", "scopes": ["token:read"]});
    let reader = client
        .post("/api/api-key", &reader)
        .await
        .expect(200)
        .json();
    let reader = client.with_key(reader["data"]["key"].as_str().expect("a key"));
    let often = json!({"name": "often", "scopes": ["token:read"], "rate": 1});
    let often = client.post("/api/api-key", &often).await.expect(200).json();
    let often = client.with_key(often["data"]["key"].as_str().expect("a key"));
    often.get("/api/token?realm=r&key=k").await.expect(200);
    let nobody = client.without_key();
    // Its keys are not to be had.
    let issuer = json!({"issuer": provider.url(""), "audiences": ["a"]});
    client.put("/api/issuer/away", &issuer).await.expect(200);
    let claims = json!({"iss": provider.url(""), "aud": "a", "exp": 1_800_000_000});
    let jwt = unsigned(&json!({"alg": "RS256", "kid": "k"}), &claims) + ".AA";
    let named = json!({"name": "reader", "scopes": ["token:read"]});

    let mut demanding = json!({"id": "r", "config": realm(&provider)});
    demanding["config"]["params"] = json!({"key_1": {}, "key_2": {}, "tenant": {}});
    let token = "GET /api/token?realm=r&key=k";
    let preset = "POST /api/preset/wechat_oa";
    let typed_in = json!({"realm": "r", "key": "k", "token": "typed-in"});
    let bad = json!({"url": "ftp://provider.example", "method": "GO", "surprise": 1});
    let bad = json!({"id": "bad", "config": bad});
    let push = json!({"type": "url_verification", "token": "of-nobody", "challenge": "c"});
    let post = |media_type: &str, body: String| {
        typed(client.request(Method::POST, "/api/realm"), media_type).body(body)
    };
    let of = |call: &str, body: Option<Value>| request(client, call, body);
    let refused = [
        ("unauthorized", request(&nobody, token, None)),
        ("too_many_requests", request(&often, token, None)),
        (
            "too_many_watchers",
            of("GET /api/token/watch?realm=r&key=k", None),
        ),
        ("forbidden", request(&reader, "GET /api/secret", None)),
        (
            "cross_site",
            of("DELETE /api/realm/r", None).header("origin", "https://other.example"),
        ),
        (
            "bad_request",
            of(token, None).header("authorization", "Bearer another"),
        ),
        ("unknown_parameter", of(&format!("{token}&minttl=1"), None)),
        (
            "invalid_parameter",
            of(&format!("{token}&min_ttl_s=soon"), None),
        ),
        ("malformed_json", post("application/json", "{".to_owned())),
        (
            "unsupported_media_type",
            post("text/plain", "{}".to_owned()),
        ),
        (
            "body_too_large",
            post("application/json", " ".repeat(2 << 20)),
        ),
        (
            "headers_too_large",
            of(token, None).header("x-long", "x".repeat(20_000)),
        ),
        ("invalid_document", of("POST /api/realm", Some(bad))),
        (
            "unknown_secret",
            of("GET /api/token?realm=r&key=nobody", None),
        ),
        ("unknown_realm", of("GET /api/realm/none", None)),
        (
            "unknown_preset",
            of("POST /api/preset/none", Some(json!({}))),
        ),
        ("unknown_api_key", of("DELETE /api/api-key/4711", None)),
        ("push_refused", of("POST /api/ticket/pushed", Some(push))),
        ("unknown_issuer", of("GET /api/issuer/nobody", None)),
        ("issuer_taken", of("PUT /api/issuer/other", Some(issuer))),
        (
            "issuer_unavailable",
            request(&client.with_key(&jwt), "GET /api/realm", None),
        ),
        ("name_taken", of("POST /api/api-key", Some(named))),
        ("realm_exists", of(preset, Some(json!({"id": "r"})))),
        ("realm_has_secrets", of("DELETE /api/realm/r", None)),
        (
            "secrets_lack_params",
            of("POST /api/realm", Some(demanding)),
        ),
        ("realm_not_fixed", of("PUT /api/token", Some(typed_in))),
        (
            "realm_without_document",
            of("GET /api/realm/fixed/preview?key=k", None),
        ),
        (
            "fixed_token_missing",
            of("GET /api/token?realm=fixed&key=k", None),
        ),
        (
            "fixed_token_flushed",
            of("GET /api/token?realm=fixed&key=k&flush=1", None),
        ),
        (
            "token_unavailable",
            of("GET /api/token?realm=refused&key=k", None),
        ),
    ];
    let mut told = BTreeSet::new();
    for (code, request) in refused {
        recorded.problem(request, code).await;
        told.insert(code.to_owned());
    }

    let all = SPECIFICATION["components"]["responses"]
        .as_object()
        .expect("responses");
    let mut promised = BTreeSet::new();
    for response in all.values() {
        let model = contract::resolved(&response["content"]["application/problem+json"]["schema"]);
        let codes = model["allOf"][1]["properties"]["code"]["enum"].as_array();
        let codes = codes.into_iter().flatten().filter_map(Value::as_str);
        promised.extend(codes.map(str::to_owned));
    }
    told.extend(NOT_BY_A_CALL.map(str::to_owned));
    assert_eq!(told, promised);
}
