//! What a document says shortly: values left out where they are made of what is unset, choices,
//! names for values that are used twice, attributes in XML.

use serde_json::{Value, json};

use crate::kit::provider::RecordedRequest;
use crate::kit::server::{Client, Reply};
use crate::kit::{Answer, Provider, Server, TestDatabase, eventually, on_every_database};

on_every_database! {
    an_optional_argument_is_left_out_where_it_is_made_of_what_is_unset,
    a_fault_that_is_no_unset_value_leaves_nothing_out,
    a_claim_is_left_out_where_it_is_made_of_what_is_unset,
    a_parameter_has_one_of_the_values_it_may_have,
    a_list_of_choices_that_cannot_be_meant_is_refused,
    a_named_value_is_used_wherever_what_it_uses_is_known,
    a_named_value_is_the_same_wherever_an_attempt_uses_it,
    a_name_that_cannot_have_a_value_is_refused,
    what_a_named_value_is_made_of_is_not_shown,
    a_named_value_is_bounded_as_a_whole,
    a_body_in_xml_has_attributes,
}

/// A document that sends these arguments as JSON.
fn sending(provider: &Provider, arguments: &[(&str, Value, bool)]) -> Value {
    let arguments = arguments.iter().map(|(name, value, optional)| {
        json!({"name": name, "place": "body", "value": value, "optional": optional})
    });
    json!({
        "params": {
            "set": {"title": "Set", "optional": true}, "unset": {"title": "Unset", "optional": true},
        },
        "url": provider.url("/token"), "method": "POST", "token_path": "access_token",
        "expires_in_path": "expires_in", "arguments": arguments.collect::<Vec<_>>(),
    })
}

async fn tried(client: &Client, config: &Value, params: &Value) -> Reply {
    let trial = json!({"config": config, "params": params, "send": true});
    client.dry_run(&trial).await
}

/// What a trial sends last.
async fn sent(
    (client, provider): (&Client, &Provider),
    config: &Value,
    params: &Value,
) -> RecordedRequest {
    let reply = tried(client, config, params).await.expect(200);
    let recorded = provider.requests().pop();
    recorded.unwrap_or_else(|| panic!("nothing is sent: {}", reply.text))
}

/// Why a trial sends nothing.
async fn failure(client: &Client, config: &Value, params: &Value) -> String {
    let reply = tried(client, config, params).await.expect(200);
    let exchanges = reply.json()["data"]["exchanges"].clone();
    let detail = exchanges[0]["failure"]["detail"].as_str();
    detail
        .unwrap_or_else(|| panic!("no failure: {}", reply.text))
        .to_owned()
}

/// What is wrong with a document, by pointer.
async fn faults(client: &Client, config: Value) -> Vec<(String, String)> {
    let realm = json!({"id": "refused", "config": config});
    let refused = client.post("/api/realm", &realm).await;
    let problem = refused.expect_problem(422, "invalid_document");
    let errors = problem["errors"].as_array().expect("errors").iter();
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    errors
        .map(|error| (text(&error["pointer"]), text(&error["detail"])))
        .collect()
}

async fn an_optional_argument_is_left_out_where_it_is_made_of_what_is_unset(
    database: TestDatabase,
) {
    let (provider, server) = (Provider::start().await, Server::start(&database).await);
    let values = [
        json!("$unset"),
        json!("${ unset|replace(',', ' ') }"),
        json!("Bearer ${ unset }"),
        json!("${ set ~ unset }"),
        json!("${ unset|int }"),
        json!("${ -unset }"),
        json!("${ unset|fromjson }"),
        json!("${ unset|int + 1 }"),
        json!("${ set|hmac_sha256(unset) }"),
        json!("${ set|hmac_sha256(key=unset) }"),
        json!("${ unset.a|upper }"),
        json!("${ unset|split(',')|first|upper }"),
        json!(["a", "$unset"]),
        json!({"a": ["${ set }", {"b": "${ unset|upper }"}]}),
    ];
    let optional: Vec<_> = values
        .iter()
        .map(|value| ("out", value.clone(), true))
        .collect();
    let mut arguments = optional.clone();
    // What handles the unset value itself gives its own.
    arguments.extend([
        ("by_or", json!("${ unset or 'x' }"), true),
        ("by_default", json!("${ unset|default('y')|upper }"), true),
        (
            "by_test",
            json!("${ 'none' if unset is undefined else unset }"),
            true,
        ),
        ("set", json!("${ set|default(unset|upper)|upper }"), true),
    ]);
    let config = sending(&provider, &arguments);
    let recorded = sent((&server.client, &provider), &config, &json!({"set": "s"})).await;
    let body: Value = serde_json::from_str(&recorded.body).expect("JSON");
    let expected = json!({"by_or": "x", "by_default": "Y", "by_test": "none", "set": "S"});
    assert_eq!(body, expected);
    for value in values {
        let config = sending(&provider, &[("a", value.clone(), false)]);
        let why = failure(&server.client, &config, &json!({"set": "s"})).await;
        assert!(why.contains("argument a"), "{value}: {why}");
        assert!(
            why.contains("not set") || why.contains("lacks"),
            "{value}: {why}"
        );
    }
    assert_eq!(provider.request_count(), 1);
}

async fn a_fault_that_is_no_unset_value_leaves_nothing_out(database: TestDatabase) {
    let (provider, server) = (Provider::start().await, Server::start(&database).await);
    for value in [
        "${ set|fromjson }",
        "${ set|rsa_sha256(set) }",
        "${ set|int }",
        "${ {'a': 1}.b|upper }",
        "${ (set or unset)|fromjson }",
        "${ set|times(2) }",
    ] {
        let config = sending(&provider, &[("a", json!(value), true)]);
        let why = failure(&server.client, &config, &json!({"set": "no number"})).await;
        assert!(why.starts_with("argument a: "), "{value}: {why}");
    }
    assert_eq!(provider.request_count(), 0);
}

async fn a_claim_is_left_out_where_it_is_made_of_what_is_unset(database: TestDatabase) {
    let (provider, server) = (Provider::start().await, Server::start(&database).await);
    let mut config = sending(&provider, &[("assertion", json!("$assertion"), false)]);
    config["assertion"] = json!({
        "alg": "HS256", "key": "$set",
        "header": {"kid": "${ unset|upper }", "typ": "${ unset or 'at+jwt' }"},
        "claims": {
            "scope": "${ unset|replace(',', ' ') }", "sub": "app ${ unset }",
            "act": {"sub": "$unset"}, "aud": "${ unset|default('x') }", "jti": null,
        },
    });
    let shown = tried(&server.client, &config, &json!({"set": "a-shared-key"})).await;
    let shown = shown.expect(200).json()["data"]["exchanges"][0]["request"]["assertion"].clone();
    assert_eq!(shown["header"], json!({"alg": "HS256", "typ": "at+jwt"}));
    let mut claims: Vec<_> = shown["claims"]
        .as_object()
        .expect("claims")
        .keys()
        .collect();
    claims.sort();
    assert_eq!(claims, ["aud", "exp", "iat"]);
    assert_eq!(provider.request_count(), 1);
    config["assertion"]["claims"]["scope"] = json!("${ set|fromjson }");
    let why = failure(&server.client, &config, &json!({"set": "a-shared-key"})).await;
    assert!(why.starts_with("assertion.claims.scope: "), "{why}");
}

async fn a_parameter_has_one_of_the_values_it_may_have(database: TestDatabase) {
    let (provider, server) = (Provider::start().await, Server::start(&database).await);
    let client = &server.client;
    let mut config = sending(&provider, &[("region", json!("$region"), false)]);
    config["params"]["region"] =
        json!({"title": "Region of the account", "enum": ["eu", "us"], "default": "eu"});
    client.save_realm("chosen", config.clone()).await;
    let realm = client.get("/api/realm/chosen").await.expect(200).json();
    assert_eq!(
        realm["data"]["config"]["params"]["region"]["enum"],
        json!(["eu", "us"])
    );
    let secret =
        |region: Value| json!({"realm": "chosen", "key": "k", "params": {"region": region}});
    for other in ["EU", "", "eu ", "the-wrong-value"] {
        let refused = client.post("/api/secret", &secret(json!(other))).await;
        assert!(
            !refused.text.contains("the-wrong-value"),
            "{}",
            refused.text
        );
        let problem = refused.expect_problem(422, "invalid_document");
        let error = &problem["errors"][0];
        assert_eq!(error["pointer"], "/params/region");
        let detail = error["detail"].as_str().expect("a text");
        assert_eq!(detail, "(Region of the account) must be one of eu, us");
        let trial = json!({"config": config, "params": {"region": other}});
        let refused = client.dry_run(&trial).await;
        let problem = refused.expect_problem(422, "invalid_document");
        assert_eq!(problem["errors"][0]["pointer"], "/params/region");
    }
    for (given, sent) in [(json!("us"), "us"), (Value::Null, "eu")] {
        let count = provider.request_count();
        client.post("/api/secret", &secret(given)).await.expect(200);
        provider.wait_for_requests(count + 1).await;
        let body = provider.requests().pop().expect("a request").body;
        assert_eq!(body, json!({"region": sent}).to_string());
    }
}

async fn a_list_of_choices_that_cannot_be_meant_is_refused(database: TestDatabase) {
    let (provider, server) = (Provider::start().await, Server::start(&database).await);
    for (rule, pointer) in [
        (json!({"enum": []}), "enum"),
        (json!({"enum": "eu"}), "enum"),
        (json!({"enum": ["eu", 1]}), "enum/1"),
        (json!({"enum": ["eu", "us", "eu"]}), "enum/2"),
        (json!({"enum": ["eu"], "default": "us"}), "default"),
        (json!({"enum": ["eu"], "pattern": "eu"}), "enum"),
    ] {
        let mut config = sending(&provider, &[("a", json!("$region"), true)]);
        config["params"]["region"] = rule;
        let faults = faults(&server.client, config).await;
        assert_eq!(
            faults[0].0,
            format!("/config/params/region/{pointer}"),
            "{faults:?}"
        );
    }
}

async fn a_named_value_is_used_wherever_what_it_uses_is_known(database: TestDatabase) {
    let (provider, server) = (Provider::start().await, Server::start(&database).await);
    provider.answer_next(Answer::status(200).with_json(&json!({"nonce": "n1"})));
    provider.answer_next(
        Answer::status(200).with_json(&json!({"data": {"t": "T", "s": 600, "site": "eu"}})),
    );
    let config = json!({
        "params": {"app": {"title": "App", "secret": false}, "list": {"title": "x", "optional": true}},
        // Each may use any other, whatever their order.
        "let": {
            "b": "${ a ~ '-b' }", "a": "${ app|upper }", "number": "${ [1, 2] }",
            "challenge": "${ steps[0].body.nonce ~ a }", "data": "${ body.data }",
            "signed": "${ args.x ~ b }", "gone": "${ list|replace(',', ' ') }",
            "served": "${ extra.site ~ ':' ~ token }",
        },
        "steps": [{"url": provider.url("/nonce/${b}"), "method": "GET"}],
        "url": provider.url("/token?c=${challenge}"), "method": "POST",
        "client_auth": {
            "method": "client_secret_basic", "client_id": "$b", "client_secret": "$challenge",
        },
        "arguments": [
            {"name": "x", "place": "body", "value": "$b"},
            {"name": "n", "place": "body", "value": ["${ number }", "$number"]},
            {"name": "sign", "place": "header", "value": "$signed"},
            {"name": "gone", "place": "body", "value": "$gone", "optional": true},
            {"name": "or", "place": "body", "value": "${ gone or 'none' }"},
        ],
        "success": "data is defined", "token": "data.t", "expires_in": "data.s",
        "extra": {"site": "data.site"}, "token_template": "$served",
    });
    let client = &server.client;
    client.save_realm("named", config).await;
    let secret = json!({"realm": "named", "key": "k", "params": {"app": "app"}});
    client.post("/api/secret", &secret).await.expect(200);
    client.generation("named", "k", 1).await;
    let [step, main] = <[_; 2]>::try_from(provider.requests()).expect("two requests");
    assert_eq!(step.path, "/nonce/APP-b");
    assert_eq!(main.query, [("c".to_owned(), "n1APP".to_owned())]);
    assert_eq!(main.headers["sign"], "APP-bAPP-b");
    // APP-b:n1APP
    assert_eq!(main.headers["authorization"], "Basic QVBQLWI6bjFBUFA=");
    assert_eq!(
        main.body,
        json!({"x": "APP-b", "n": [[1, 2], [1, 2]], "or": "none"}).to_string()
    );
    let served = client.token("named", "k").await.expect(200).json();
    assert_eq!(served["token"], "eu:T");
    assert_eq!(served["extra"], json!({"site": "eu"}));
}

async fn a_named_value_is_the_same_wherever_an_attempt_uses_it(database: TestDatabase) {
    let (provider, server) = (Provider::start().await, Server::start(&database).await);
    let mut config = sending(
        &provider,
        &[("a", json!("$mark"), false), ("b", json!("$twice"), false)],
    );
    config["let"] = json!({"twice": "${ mark ~ mark }", "mark": "${ uuid() }/${ now('ms') }"});
    config["steps"] = json!([{
        "url": provider.url("/first"), "method": "POST",
        "arguments": [{"name": "a", "place": "body", "value": "$mark"}],
    }]);
    let mut marks = Vec::new();
    for _ in 0..2 {
        let recorded = sent((&server.client, &provider), &config, &json!({})).await;
        let body: Value = serde_json::from_str(&recorded.body).expect("JSON");
        let mark = body["a"].as_str().expect("a text").to_owned();
        assert_eq!(body["b"], format!("{mark}{mark}"));
        let requests = provider.requests();
        let step = &requests[requests.len() - 2];
        assert_eq!(step.body, json!({"a": mark}).to_string());
        marks.push(mark);
    }
    assert_ne!(marks[0], marks[1], "each attempt has its own");
}

async fn a_name_that_cannot_have_a_value_is_refused(database: TestDatabase) {
    let (provider, server) = (Provider::start().await, Server::start(&database).await);
    let client = &server.client;
    for (named, value, pointer, detail) in [
        (json!({"set": "x"}), "$set", "let/set", "parameter already"),
        (
            json!({"now": "x"}),
            "x",
            "let/now",
            "the server uses itself",
        ),
        (
            json!({"refresh_token": "x"}),
            "x",
            "let/refresh_token",
            "the server uses itself",
        ),
        (json!({"a-b": "x"}), "x", "let/a-b", "letters, digits and _"),
        (json!({"a": 1}), "$a", "let/a", "must be a string"),
        (json!({"a": "${ a }"}), "$a", "let/a", "uses itself"),
        (
            json!({"a": "$b", "b": "x${c}", "c": "${ a ~ 'x' }"}),
            "$a",
            "let/b",
            "uses itself",
        ),
        (
            json!({"a": "${ nobody }"}),
            "$a",
            "let/a",
            "nobody, which is not declared",
        ),
        (json!({"a": "${ set + }"}), "x", "let/a", "syntax error"),
        (
            json!({"a": "${ body.x }"}),
            "$a",
            "arguments/0/value",
            "once there is an answer",
        ),
        (
            json!({"a": "${ body.x }", "b": "$a"}),
            "$b",
            "arguments/0/value",
            "(by way of let/b)",
        ),
        (
            json!({"a": "${ steps[0].body.x }"}),
            "$a",
            "arguments/0/value",
            "no step comes before",
        ),
        (json!([1]), "x", "let", "must be an object"),
    ] {
        let mut config = sending(&provider, &[("a", json!(value), false)]);
        config["let"] = named.clone();
        let faults = faults(client, config).await;
        let found = faults
            .iter()
            .any(|(at, why)| *at == format!("/config/{pointer}") && why.contains(detail));
        assert!(found, "{named}: {faults:?}");
    }
    let mut config = sending(&provider, &[("a", json!("x"), false)]);
    let many = (0..31).map(|index| (format!("a{index}"), json!("x")));
    config["let"] = Value::Object(many.collect());
    assert!(faults(client, config).await[0].1.contains("more than 30"));
}

async fn what_a_named_value_is_made_of_is_not_shown(database: TestDatabase) {
    let (provider, server) = (Provider::start().await, Server::start(&database).await);
    let client = &server.client;
    let mut config = sending(
        &provider,
        &[
            ("sign", json!("$sign"), false),
            ("all", json!("${ parts.both }"), false),
            ("open", json!("${ 'v1:' ~ public }"), false),
        ],
    );
    config["params"] = json!({
        "key": {"title": "Key"}, "id": {"title": "Id", "secret": false},
    });
    config["let"] = json!({
        "sign": "${ id|hmac_sha256(key) }", "public": "${ id|upper }",
        "parts": "${ {'both': id ~ '+' ~ key[3:]} }",
    });
    let params = json!({"key": "0123456789-the-key", "id": "the-id"});
    let unsent = json!({"config": config, "params": params});
    let shown = client.dry_run(&unsent).await.expect(200);
    assert!(!shown.text.contains("456789"), "{}", shown.text);
    let body = &shown.json()["data"]["exchanges"][0]["request"]["body"];
    assert_eq!(body["open"], "v1:THE-ID");
    let recorded = sent((client, &provider), &config, &params).await;
    let sent: Value = serde_json::from_str(&recorded.body).expect("JSON");
    let sign = sent["sign"].as_str().expect("a text").to_owned();
    assert_ne!(body["sign"], sign, "what is shown is not what is sent");
    // A provider that repeats what it was sent tells nobody.
    let all = "the-id+3456789-the-key";
    assert_eq!(sent["all"], all);
    let answer = json!({"error": "bad", "error_description": format!("{all} or {sign} is wrong")});
    provider.answer_with(Answer::status(400).with_json(&answer));
    client.save_realm("named", config).await;
    let secret = json!({"realm": "named", "key": "k", "params": params});
    client.post("/api/secret", &secret).await.expect(200);
    let secret = eventually("a failure", async || {
        let secret = client.secret("named", "k").await;
        secret["last_error"].is_object().then_some(secret)
    })
    .await;
    let detail = secret["last_error"]["detail"].as_str().expect("a text");
    assert!(detail.contains("*** or *** is wrong"), "{detail}");
}

async fn a_named_value_is_bounded_as_a_whole(database: TestDatabase) {
    let (provider, server) = (Provider::start().await, Server::start(&database).await);
    // Lists are joined lazily: without a bound of its own each name would hold fifty times more.
    let mut named = serde_json::Map::new();
    named.insert("a0".to_owned(), json!("${ set|split('') }"));
    for index in 1..30 {
        let sum = vec![format!("a{}", index - 1); 40].join(" + ");
        named.insert(format!("a{index}"), json!(format!("${{ {sum} }}")));
    }
    for value in ["${ a29|length }", "${ 'b' in a29 }", "${ a29 == a28 }"] {
        let mut config = sending(&provider, &[("a", json!(value), true)]);
        config["let"] = Value::Object(named.clone());
        let why = failure(&server.client, &config, &json!({"set": "x".repeat(1000)})).await;
        assert!(why.starts_with("let/a"), "{why}");
        assert!(why.contains("than an expression may"), "{why}");
    }
    assert_eq!(provider.request_count(), 0);
}

async fn a_body_in_xml_has_attributes(database: TestDatabase) {
    let (provider, server) = (Provider::start().await, Server::start(&database).await);
    let mut config = sending(
        &provider,
        &[
            ("auth/user", json!({"@id": "$set", "#text": "a & b"}), false),
            ("auth/@version", json!("2 \"${ set }\""), false),
            ("auth/@left", json!("$unset"), true),
            ("auth/empty/@xsi:nil", json!(true), false),
        ],
    );
    config["content_type"] = json!("xml");
    let recorded = sent((&server.client, &provider), &config, &json!({"set": "<s>"})).await;
    assert_eq!(recorded.headers["content-type"], "application/xml");
    assert_eq!(
        recorded.body,
        "<auth version=\"2 &quot;&lt;s&gt;&quot;\"><user id=\"&lt;s&gt;\">a &amp; b</user>\
         <empty xsi:nil=\"true\"></empty></auth>"
    );
    config["arguments"][0]["name"] = json!("auth/@user/x");
    let why = failure(&server.client, &config, &json!({"set": "s"})).await;
    assert!(why.contains("@user"), "{why}");
}
