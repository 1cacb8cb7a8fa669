//! Dry runs: an admin sees what would be sent and how an answer is read, and nobody sees a
//! credential.

use serde_json::{Value, json};

use crate::kit::documented::with_keys;
use crate::kit::{Answer, Provider, Server, TestDatabase, eventually, on_every_database};

on_every_database! {
    a_trial_shows_the_request_masked_and_sends_nothing,
    a_trial_that_is_sent_shows_how_each_field_was_read,
    a_trial_says_why_a_field_could_not_be_read,
    a_trial_names_what_is_missing_before_anything_is_sent,
    a_trial_that_may_use_up_a_refresh_token_must_be_confirmed,
    a_trial_shows_every_step_and_sends_none_after_one_that_failed,
    a_trial_shows_what_an_assertion_asserts,
    a_trial_stores_nothing,
    a_preview_shows_the_request_of_a_secret_and_sends_nothing,
    a_key_that_is_none_is_told_without_being_shown,
    a_token_made_here_can_be_tried,
    a_trial_shows_the_form_a_token_is_served_in_or_why_it_has_none,
    a_trial_shows_an_assertion_only_where_one_is_sent,
    what_an_expression_lacks_is_named,
    what_a_provider_repeats_is_masked_however_it_is_broken_up,
    what_a_provider_repeats_is_masked_where_it_is_percent_encoded,
}

const SECRET: &str = "a-client-secret-that-nobody-sees";

fn config(provider: &Provider) -> Value {
    json!({
        "params": {
            "client_id": {"title": "Client ID", "secret": false},
            "client_secret": {"title": "Client secret"},
        },
        "url": provider.url("/oauth/token"), "method": "POST", "content_type": "form",
        "client_auth": {
            "method": "client_secret_basic",
            "client_id": "$client_id", "client_secret": "$client_secret",
        },
        "arguments": [
            {"name": "grant_type", "place": "body", "value": "client_credentials"},
            {"name": "sign", "place": "url", "value": "${(client_id ~ client_secret)|sha256}"},
            {"name": "x-app", "place": "header", "value": "app ${client_id}"},
            {"name": "secret_too", "place": "body", "value": "$client_secret"},
        ],
        "token_path": "access_token", "expires_in_path": "expires_in",
    })
}

fn trial(config: &Value, more: Value) -> Value {
    let mut trial = json!({
        "config": config,
        "params": {"client_id": "the-client", "client_secret": SECRET},
    });
    for (field, value) in more.as_object().expect("fields") {
        trial[field] = value.clone();
    }
    trial
}

fn field<'a>(reading: &'a Value, name: &str) -> &'a Value {
    let fields = reading["fields"].as_array().expect("fields");
    let found = fields.iter().find(|field| field["field"] == name);
    found.unwrap_or_else(|| panic!("{name} is not in {reading}"))
}

async fn a_trial_shows_the_request_masked_and_sends_nothing(database: TestDatabase) {
    let (provider, server) = (Provider::start().await, Server::start(&database).await);
    let trial = trial(&config(&provider), json!({}));
    let reply = server.client.dry_run(&trial).await.expect(200);
    assert!(!reply.text.contains(SECRET), "{}", reply.text);
    let shown = reply.json()["data"]["exchanges"][0].clone();
    assert_eq!(shown["name"], "main");
    let request = &shown["request"];
    assert_eq!(request["method"], "POST");
    let url = request["url"].as_str().expect("a URL");
    assert!(
        url.starts_with(&provider.url("/oauth/token?sign=")),
        "{url}"
    );
    let headers = request["headers"].as_array().expect("headers");
    for (name, value) in [
        ("x-app", "app the-client"),
        ("authorization", "Basic ********"),
        ("content-type", "application/x-www-form-urlencoded"),
    ] {
        assert!(
            headers.contains(&json!({"name": name, "value": value})),
            "{request}"
        );
    }
    assert_eq!(
        request["body"],
        json!({"grant_type": "client_credentials", "secret_too": "a-********es"})
    );
    // What is made of a secret is made of its mask: it tells nothing.
    use sha2::{Digest, Sha256};
    let real = Sha256::digest(format!("the-client{SECRET}"));
    assert!(!url.contains(&token_server::foundation::hex(&real)));
    assert!(shown.get("answer").is_none());
    assert_eq!(provider.request_count(), 0);
}

async fn a_trial_that_is_sent_shows_how_each_field_was_read(database: TestDatabase) {
    let (provider, server) = (Provider::start().await, Server::start(&database).await);
    let token = "a-token-that-nobody-sees-0123456789";
    provider.answer_with(Answer::status(200).with_json(&json!({
        "access_token": token, "expires_in": "7200", "note": "hello", "region": "eu",
        "repeats": format!("you sent {SECRET}"),
    })));
    let mut config = config(&provider);
    config["extra"] = json!({"region": "body.region"});
    config["success"] = json!("status == 200 and body.note == 'hello'");
    let trial = trial(&config, json!({"send": true}));
    let reply = server.client.dry_run(&trial).await.expect(200);
    assert!(
        !reply.text.contains(token) && !reply.text.contains(SECRET),
        "{}",
        reply.text
    );
    let shown = reply.json()["data"]["exchanges"][0].clone();
    assert_eq!(shown["answer"]["status"], 200);
    assert_eq!(shown["answer"]["body"]["note"], "hello");
    assert_eq!(shown["answer"]["body"]["access_token"], "a-********89");
    assert_eq!(shown["answer"]["body"]["repeats"], "you sent ***");
    let reading = &shown["reading"];
    assert_eq!(field(reading, "success")["found"], true);
    assert_eq!(field(reading, "token_path")["by"], "access_token");
    assert_eq!(field(reading, "token_path")["found"], "a-********89");
    assert_eq!(
        field(reading, "expires_in_path")["detail"],
        "7200 s from now"
    );
    assert_eq!(field(reading, "extra")["found"], json!({"region": "eu"}));
    assert!(reading.get("failure").is_none(), "{reading}");
    assert_eq!(provider.request_count(), 1);
}

async fn a_trial_says_why_a_field_could_not_be_read(database: TestDatabase) {
    let (provider, server) = (Provider::start().await, Server::start(&database).await);
    let mut config = config(&provider);
    config["error"] = json!({"code": "body.code", "message": "body.why", "classes": {
        "permanent": ["bad_secret"],
    }});
    let read = async |answer: Answer| {
        provider.answer_next(answer);
        let trial = trial(&config, json!({"send": true}));
        let reply = server.client.dry_run(&trial).await.expect(200);
        reply.json()["data"]["exchanges"][0]["reading"].clone()
    };
    let ok = || Answer::status(200);
    let reading = read(ok().with_json(&json!({"data": {"access_token": "t"}}))).await;
    assert_eq!(
        field(&reading, "token_path")["detail"],
        "the answer holds no token at access_token; the answer has data (did you mean data.access_token?)"
    );
    let expiry = field(&reading, "expires_in_path")["detail"]
        .as_str()
        .expect("a text");
    assert!(
        expiry.contains("expiry_unknown") && expiry.contains("default_expires_in_s"),
        "{expiry}"
    );
    let reading = read(ok().with_json(&json!({"access_token": "t", "expires_in": "soon"}))).await;
    assert_eq!(
        field(&reading, "expires_in_path")["detail"],
        "the expiry at expires_in cannot be read"
    );
    let refused = json!({"code": "bad_secret", "why": "no such app"});
    let reading = read(Answer::status(401).with_json(&refused)).await;
    assert_eq!(field(&reading, "success")["found"], false);
    assert_eq!(field(&reading, "error.code")["found"], "bad_secret");
    assert_eq!(field(&reading, "error.code")["detail"], "class permanent");
    assert_eq!(reading["failure"]["class"], "permanent");
    let reading = read(ok().with_bytes("<html>")).await;
    assert_eq!(
        reading["failure"]["detail"],
        "the answer is not JSON: it is an HTML page"
    );
}

async fn a_trial_names_what_is_missing_before_anything_is_sent(database: TestDatabase) {
    let (provider, server) = (Provider::start().await, Server::start(&database).await);
    let mut config = config(&provider);
    config["parent"] = json!({"realm": "p", "key": "k"});
    config["params"]["region"] = json!({"title": "Region", "pattern": "eu|us"});
    let trial = json!({
        "config": config, "send": true,
        "params": {"client_id": "x", "nobody": "y", "region": "mars"},
    });
    let refused = server.client.dry_run(&trial).await;
    let problem = refused.expect_problem(422, "invalid_document");
    let mut pointers: Vec<_> = problem["errors"]
        .as_array()
        .expect("faults")
        .iter()
        .map(|fault| fault["pointer"].as_str().expect("a pointer").to_owned())
        .collect();
    pointers.sort();
    assert_eq!(
        pointers,
        [
            "/params/client_secret",
            "/params/nobody",
            "/params/region",
            "/parent"
        ]
    );
    let broken = json!({"config": {"url": "nowhere", "methd": "GET"}});
    let refused = server.client.dry_run(&broken).await;
    let problem = refused.expect_problem(422, "invalid_document");
    let faults = problem["errors"].as_array().expect("faults");
    let at = |pointer: &str| faults.iter().any(|fault| fault["pointer"] == pointer);
    assert!(
        at("/config/url") && at("/config/methd") && at("/config/method"),
        "{problem}"
    );
    assert!(at("/config/token_path"), "{problem}");
    assert_eq!(provider.request_count(), 0);
}

async fn a_trial_that_may_use_up_a_refresh_token_must_be_confirmed(database: TestDatabase) {
    let (provider, server) = (Provider::start().await, Server::start(&database).await);
    let mut config = config(&provider);
    config["params"]["refresh_token"] = json!({"title": "The first refresh token"});
    config["refresh_token_path"] = json!("refresh_token");
    let params = json!({
        "client_id": "c", "client_secret": SECRET, "refresh_token": "the-refresh-token-0123456789",
    });
    let trial = |more: Value| self::trial(&config, more);
    let unsent = trial(json!({"params": params}));
    let reply = server.client.dry_run(&unsent).await.expect(200);
    assert_eq!(reply.json()["data"]["exchanges"][0]["name"], "refresh");
    assert!(!reply.text.contains("the-refresh-token"), "{}", reply.text);
    let unconfirmed = trial(json!({"params": params, "send": true}));
    let refused = server.client.dry_run(&unconfirmed).await;
    let problem = refused.expect_problem(422, "invalid_document");
    assert_eq!(problem["errors"][0]["pointer"], "/confirm");
    assert_eq!(provider.request_count(), 0);
    let confirmed = trial(json!({
        "params": params, "send": true, "confirm": "consumes_refresh_token",
    }));
    server.client.dry_run(&confirmed).await.expect(200);
    assert_eq!(provider.request_count(), 1);
}

async fn a_trial_shows_every_step_and_sends_none_after_one_that_failed(database: TestDatabase) {
    let (provider, server) = (Provider::start().await, Server::start(&database).await);
    let mut config = config(&provider);
    config["steps"] = json!([
        {"url": provider.url("/challenge"), "method": "GET"},
        {"url": provider.url("/answer"), "method": "POST", "arguments": [
            {"name": "nonce", "place": "body", "value": "${steps[0].body.nonce}"},
        ]},
    ]);
    config["arguments"] = json!([
        {"name": "session", "place": "header", "value": "${steps[1].cookies.session}"},
    ]);
    let show = async |send: bool| {
        let trial = trial(&config, json!({"send": send}));
        let reply = server.client.dry_run(&trial).await.expect(200);
        reply.json()["data"]["exchanges"].clone()
    };
    let shown = show(false).await;
    let names: Vec<_> = shown
        .as_array()
        .expect("a list")
        .iter()
        .map(|e| e["name"].clone())
        .collect();
    assert_eq!(names, ["steps[0]", "steps[1]", "main"]);
    assert_eq!(shown[1]["request"]["body"]["nonce"], "********");
    assert_eq!(provider.request_count(), 0);
    let challenge = || Answer::status(200).with_json(&json!({"nonce": "n1"}));
    provider.answer_next(challenge());
    provider.answer_next(Answer::status(500));
    let shown = show(true).await;
    assert_eq!(shown[1]["reading"]["failure"]["class"], "transient");
    assert_eq!(shown[1]["request"]["body"]["nonce"], "n1");
    assert!(shown[2].get("answer").is_none());
    assert_eq!(provider.request_count(), 2);
    provider.answer_next(challenge());
    let session = Answer::status(200)
        .with_header("set-cookie", "session=s-1; Path=/; HttpOnly")
        .with_json(&json!({}));
    provider.answer_next(session);
    let shown = show(true).await;
    assert!(shown[2]["reading"].get("failure").is_none(), "{shown}");
    let last = provider.requests().pop().expect("a request");
    assert_eq!(last.headers["session"], "s-1");
}

async fn a_trial_shows_what_an_assertion_asserts(database: TestDatabase) {
    let (provider, server) = (Provider::start().await, Server::start(&database).await);
    let config = json!({
        "params": {
            "account": {"title": "Account", "secret": false},
            "private_key": {"title": "Private key"},
        },
        "url": provider.url("/token"), "method": "POST", "content_type": "form",
        "assertion": {"alg": "RS256", "key": "$private_key", "header": {"kid": "key-1"},
            "claims": {"iss": "$account", "aud": "https://provider.example", "scope": null}},
        "arguments": [{"name": "assertion", "place": "body", "value": "$assertion"}],
        "token_path": "access_token", "expires_in_path": "expires_in",
    });
    let trial = json!({"config": config, "send": true, "params": {
        "account": "robot@example", "private_key": with_keys("{{rsa_private_key}}"),
    }});
    let reply = server.client.dry_run(&trial).await.expect(200);
    let request = reply.json()["data"]["exchanges"][0]["request"].clone();
    assert_eq!(request["body"]["assertion"], "********");
    let assertion = &request["assertion"];
    assert_eq!(
        assertion["header"],
        json!({"alg": "RS256", "typ": "JWT", "kid": "key-1"})
    );
    assert_eq!(assertion["claims"]["iss"], "robot@example");
    assert_eq!(assertion["claims"]["aud"], "https://provider.example");
    let sent = provider.requests().pop().expect("a request").body;
    let jwt = sent.strip_prefix("assertion=").expect("it is in the form");
    assert_eq!(jwt.split('.').count(), 3);
    assert!(!reply.text.contains(jwt), "{}", reply.text);
}

async fn a_trial_stores_nothing(database: TestDatabase) {
    let (provider, server) = (Provider::start().await, Server::start(&database).await);
    let trial = trial(&config(&provider), json!({"send": true}));
    server.client.dry_run(&trial).await.expect(200);
    for table in ["ts_realm", "ts_secret", "ts_token", "ts_renewal"] {
        let rows = database
            .number(&format!("SELECT COUNT(*) FROM {table}"))
            .await;
        assert_eq!(rows, 0, "{table}");
    }
}

async fn a_preview_shows_the_request_of_a_secret_and_sends_nothing(database: TestDatabase) {
    let (provider, server) = (Provider::start().await, Server::start(&database).await);
    let client = &server.client;
    client.save_realm("r", config(&provider)).await;
    let secret = json!({"realm": "r", "key": "k", "params": {
        "client_id": "the-client", "client_secret": SECRET,
    }});
    client.post("/api/secret", &secret).await.expect(200);
    client.generation("r", "k", 1).await;
    let asked = provider.request_count();
    let reply = client.get("/api/realm/r/preview?key=k").await.expect(200);
    assert!(!reply.text.contains(SECRET), "{}", reply.text);
    let request = &reply.json()["data"]["exchanges"][0]["request"];
    assert_eq!(request["body"]["secret_too"], "a-********es");
    assert_eq!(provider.request_count(), asked);
    client
        .get("/api/realm/r/preview?key=nobody")
        .await
        .expect_problem(404, "unknown_secret");
    client
        .get("/api/realm/nobody/preview?key=k")
        .await
        .expect_problem(404, "unknown_realm");
    client
        .post("/api/realm", &json!({"id": "fixed"}))
        .await
        .expect(200);
    client
        .get("/api/realm/fixed/preview?key=k")
        .await
        .expect_problem(409, "realm_without_document");
}

async fn a_key_that_is_none_is_told_without_being_shown(database: TestDatabase) {
    let (provider, server) = (Provider::start().await, Server::start(&database).await);
    let config = json!({
        "params": {"private_key": {"title": "Private key"}},
        "url": provider.url("/token"), "method": "POST", "content_type": "form",
        "assertion": {"alg": "ES256", "key": "$private_key", "claims": {}},
        "client_auth": {"method": "private_key_jwt", "client_id": "me"},
        "token_path": "access_token", "expires_in_path": "expires_in",
    });
    for (key, told) in [
        (
            "a-canary-that-is-no-key",
            "assertion.key is not a private key in PEM",
        ),
        (
            "{{rsa_private_key}}",
            "assertion.key does not fit the algorithm",
        ),
    ] {
        let trial = json!({"config": config, "params": {"private_key": with_keys(key)}});
        let reply = server.client.dry_run(&trial).await.expect(200);
        let failure = reply.json()["data"]["exchanges"][0]["failure"].clone();
        let detail = failure["detail"].as_str().expect("a text");
        assert!(detail.starts_with(told), "{detail}");
        assert!(!reply.text.contains("canary"), "{}", reply.text);
    }
    // A registered secret meets the same: it is parked, and says so.
    let client = &server.client;
    client.save_realm("r", config).await;
    let secret = json!({"realm": "r", "key": "k", "params": {"private_key": "a-canary-no-key"}});
    client.post("/api/secret", &secret).await.expect(200);
    let parked = client.state("r", "k", "needs_attention").await;
    assert_eq!(parked["last_error"]["class"], "internal");
    assert_eq!(provider.request_count(), 0);
    eventually("the detail names the field", async || {
        let secret = client.secret("r", "k").await;
        let detail = secret["last_error"]["detail"].as_str()?.to_owned();
        (detail.contains("assertion.key") && !detail.contains("canary")).then_some(())
    })
    .await;
}

async fn a_token_made_here_can_be_tried(database: TestDatabase) {
    let server = Server::start(&database).await;
    let config = json!({
        "params": {"key": {"title": "Key"}, "id": {"title": "ID", "secret": false}},
        "url": null,
        "assertion": {"alg": "HS256", "key": "$key", "key_encoding": "hex", "lifetime_s": 300,
            "header": {"kid": "$id"}, "claims": {"aud": "/admin/"}},
        "token": "assertion", "token_template": "Ghost ${token}",
    });
    let trial = json!({"config": config, "params": {"id": "abc", "key": "00ff00ff00ff00ff"}});
    let reply = server.client.dry_run(&trial).await.expect(200);
    let minted = reply.json()["data"]["minted"].clone();
    assert!(minted.get("failure").is_none(), "{minted}");
    assert!(field(&minted, "token")["found"].is_string());
    let client = &server.client;
    client.save_realm("ghost", config).await;
    let secret = json!({"realm": "ghost", "key": "k", "params": trial["params"]});
    client.post("/api/secret", &secret).await.expect(200);
    let served = client.token("ghost", "k").await.expect(200).json();
    let token = served["token"].as_str().expect("a token");
    assert!(token.starts_with("Ghost eyJ"), "{token}");
}

async fn a_trial_shows_the_form_a_token_is_served_in_or_why_it_has_none(database: TestDatabase) {
    let (provider, server) = (Provider::start().await, Server::start(&database).await);
    let mut config = config(&provider);
    for (template, good) in [("Ghost ${token}", true), ("X ${extra.nothing}", false)] {
        config["token_template"] = json!(template);
        let trial = trial(&config, json!({"send": true}));
        let reply = server.client.dry_run(&trial).await.expect(200);
        let reading = reply.json()["data"]["exchanges"][0]["reading"].clone();
        let served = field(&reading, "token_template");
        assert_eq!(served["found"].is_string(), good, "{reading}");
        assert_eq!(reading.get("failure").is_none(), good, "{reading}");
        if !good {
            let why = served["detail"].as_str().expect("a text");
            assert!(why.contains("extra.nothing"), "{why}");
        }
    }
}

async fn a_trial_shows_an_assertion_only_where_one_is_sent(database: TestDatabase) {
    let (provider, server) = (Provider::start().await, Server::start(&database).await);
    let config = json!({
        "params": {
            "key": {"title": "Key"},
            "refresh_token": {"title": "The first refresh token", "optional": true},
        },
        "url": provider.url("/token"), "method": "POST", "content_type": "form",
        "assertion": {"alg": "HS256", "key": "$key", "claims": {"iss": "me"}},
        "arguments": [{"name": "assertion", "place": "body", "value": "$assertion"}],
        "token_path": "access_token", "expires_in_path": "expires_in",
        "refresh_token_path": "refresh_token",
    });
    let shown = async |params: Value| {
        let trial = json!({"config": config, "params": params});
        let reply = server.client.dry_run(&trial).await.expect(200);
        reply.json()["data"]["exchanges"][0].clone()
    };
    let main = shown(json!({"key": "k"})).await;
    let claims = &main["request"]["assertion"]["claims"];
    assert_eq!(claims["iss"], "me");
    assert!(claims.get("aud").is_none(), "{claims}");
    let refresh = shown(json!({"key": "k", "refresh_token": "r"})).await;
    assert_eq!(refresh["name"], "refresh");
    assert!(refresh["request"].get("assertion").is_none(), "{refresh}");
}

async fn what_an_expression_lacks_is_named(database: TestDatabase) {
    let (provider, server) = (Provider::start().await, Server::start(&database).await);
    for (value, told) in [
        (
            "${now(tz='Asia/Shanghai')}",
            "now: tz must be an offset such as +08:00",
        ),
        ("${nonce(1000)}", "nonce: at most 64 bytes"),
        ("x${parent.extra.instance}", "it uses parent.extra.instance"),
        (
            "${client_secret|hmac_sha256(client_id, 'hex')}",
            "the key is not hexadecimal",
        ),
    ] {
        let mut config = config(&provider);
        config["parent"] = json!({"realm": "p", "key": "k"});
        config["arguments"] = json!([{"name": "sign", "place": "body", "value": value}]);
        let trial = trial(&config, json!({"parent": {"token": "t"}}));
        let reply = server.client.dry_run(&trial).await.expect(200);
        let failure = reply.json()["data"]["exchanges"][0]["failure"].clone();
        let detail = failure["detail"].as_str().unwrap_or_default();
        assert!(
            detail.starts_with("argument sign: ") && detail.contains(told),
            "{value}: {failure}"
        );
    }
}

async fn what_a_provider_repeats_is_masked_however_it_is_broken_up(database: TestDatabase) {
    let (provider, server) = (Provider::start().await, Server::start(&database).await);
    let broken_up = SECRET.replace("secret", "sec\u{1}ret");
    let answer =
        json!({"error": "invalid_client", "error_description": format!("not {broken_up}")});
    provider.answer_with(Answer::status(401).with_json(&answer));
    let trial = trial(&config(&provider), json!({"send": true}));
    let reply = server.client.dry_run(&trial).await.expect(200);
    let reading = reply.json()["data"]["exchanges"][0]["reading"].clone();
    assert_eq!(
        reading["failure"]["detail"],
        "the provider answered 401, code invalid_client: not ***"
    );
}

async fn what_a_provider_repeats_is_masked_where_it_is_percent_encoded(database: TestDatabase) {
    let (provider, server) = (Provider::start().await, Server::start(&database).await);
    for (repeated, told) in [
        ("client_secret=p%40ss%2Fw%20rd%3D&x=1", "***&x=1"),
        ("client_secret=p%40ss%2fw+rd%3d&x=1", "***&x=1"),
        (
            "in https%3A%2F%2Fa.example%2F%3Fs%3Dp%2540ss%252Fw%2520rd%253D",
            "in ***",
        ),
        // Another's token, which nobody here knows.
        (
            "token k7Tz9Qw%2F3mXv8Lp2Rb%2F5nGh1Ys4Dc is revoked",
            "token *** is revoked",
        ),
        (
            "at https%3A%2F%2Fa.example%2Fdocs%2Ferrors",
            "at https%3A%2F%2Fa.example%2Fdocs%2Ferrors",
        ),
    ] {
        let answer = json!({"error": "invalid_client", "error_description": repeated});
        provider.answer_with(Answer::status(401).with_json(&answer));
        let mut trial = trial(&config(&provider), json!({"send": true}));
        trial["params"]["client_secret"] = json!("p@ss/w rd=");
        let reply = server.client.dry_run(&trial).await.expect(200);
        let reading = reply.json()["data"]["exchanges"][0]["reading"].clone();
        let expected = format!("the provider answered 401, code invalid_client: {told}");
        assert_eq!(reading["failure"]["detail"], expected);
    }
}
