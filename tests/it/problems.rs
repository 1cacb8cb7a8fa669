//! What is refused, and how: the fault is named, nothing is stored, nothing sent comes back.

use serde_json::{Map, Value, json};

use crate::kit::server::{Client, Options};
use crate::kit::{Reply, Server, TestDatabase, on_every_database};

on_every_database! {
    a_bad_realm_is_refused_with_the_place_of_its_fault,
    all_faults_of_a_realm_are_told_at_once,
    a_bad_secret_is_refused_with_the_place_of_its_fault,
    a_parameter_given_at_the_top_is_called_faulty_there,
    a_name_that_no_column_or_path_could_hold_is_refused,
    a_bad_key_or_flush_is_refused_with_the_place_of_its_fault,
    a_body_that_is_not_json_is_refused,
    a_body_of_another_media_type_is_refused,
    a_body_beyond_the_limit_is_refused,
    a_caller_that_is_still_sending_too_much_gets_to_read_why,
    what_is_not_served_is_a_problem_document_too,
    a_page_that_does_not_exist_is_refused,
    a_parameter_that_cannot_be_read_is_refused_by_name,
}

/// Stands in every bad value, unless 770177017701 does; no answer repeats it.
const CANARY: &str = "canary";

/// The problem document of an answer that repeats nothing that was sent.
#[track_caller]
fn problem(reply: Reply, status: u16, code: &str) -> Value {
    let text = reply.text.to_lowercase();
    let repeated = text.contains(CANARY) || text.contains("770177017701");
    assert!(!repeated, "repeated: {text}");
    let problem = reply.expect_problem(status, code);
    assert_eq!(problem["type"], format!("urn:token-server:problem:{code}"));
    assert!(problem["title"].is_string() && problem["detail"].is_string());
    problem
}

/// The same, for one that names its fault.
#[track_caller]
fn naming(reply: Reply, status: u16, code: &str, name: &str) {
    let detail = problem(reply, status, code)["detail"].to_string();
    assert!(detail.contains(name), "{detail} does not name {name}");
}

#[track_caller]
fn invalid_parameter(reply: Reply, name: &str) {
    naming(reply, 400, "invalid_parameter", name);
}

/// Where a document is faulty, in order of the pointers, and what is said of it there.
#[track_caller]
fn faults(reply: Reply) -> Vec<(String, String)> {
    let problem = problem(reply, 422, "invalid_document");
    let errors = problem["errors"].as_array().expect("errors").iter();
    let text = |field: &Value| field.as_str().expect("a text").to_owned();
    let fault = |error: &Value| (text(&error["pointer"]), text(&error["detail"]));
    let mut faults: Vec<_> = errors.map(fault).collect();
    faults.sort();
    faults
}

/// Fails the test unless exactly these places are faulty, and this is said of them.
#[track_caller]
fn expect_faults(reply: Reply, expected: &[(&str, &str)]) {
    let faults = faults(reply);
    let pointers: Vec<_> = faults.iter().map(|(pointer, _)| pointer.as_str()).collect();
    let wanted: Vec<_> = expected.iter().map(|(pointer, _)| *pointer).collect();
    assert_eq!(pointers, wanted);
    for ((pointer, detail), (_, told)) in faults.iter().zip(expected) {
        assert!(
            detail.contains(told),
            "{pointer}: {detail:?} does not say {told:?}"
        );
    }
}

/// Sends a body as it stands, to `METHOD /path`.
async fn send(client: &Client, call: &str, media_type: &str, body: &str) -> Reply {
    let (method, path) = call.split_once(' ').expect("a method and a path");
    let request = client.request(method.parse().expect("a method"), path);
    let request = request.header("content-type", media_type);
    client.send(request.body(body.to_owned())).await
}

/// Sends a good document once for each line of a table, which is a pointer, the fields,
/// below `base`, that put a fault there, and what is told of it.
async fn faulty(client: &Client, call: &str, good: &Value, base: &str, table: &str) {
    for line in table.trim().lines() {
        let (line, told) = line.split_once(" | ").expect("what is told");
        let (pointer, fields) = line.trim().split_once(' ').expect("a pointer and fields");
        let fields: Map<String, Value> = serde_json::from_str(fields).expect("an object");
        let mut document = good.clone();
        let object = document.pointer_mut(base).and_then(Value::as_object_mut);
        object.expect("an object").extend(fields);
        let reply = send(client, call, "application/json", &document.to_string()).await;
        expect_faults(reply, &[(&format!("{base}{pointer}"), told)]);
    }
}

fn good_config() -> Value {
    json!({"url": "https://provider.example/token", "method": "POST", "token_path": "token"})
}

async fn expect_nothing_stored(client: &Client) {
    for path in ["/api/realm", "/api/secret", "/api/renewal"] {
        assert_eq!(client.list(path).await, [] as [Value; 0], "{path}");
    }
}

async fn a_bad_realm_is_refused_with_the_place_of_its_fault(database: TestDatabase) {
    let server = Server::start(&database).await;
    let of_config = r#"
        /surprise {"surprise": "canary"} | known are params, let, assertion, steps, url
        /url {"url": "canary"} | is not a URL: relative URL without a base
        /url {"url": "ftp://canary.example/"} | must begin with https://
        /url {"url": "https://u:canary@provider.example/"} | must not hold credentials
        /url {"url": "https://provider.example/#canary"} | must not hold a fragment (#…)
        /url {"url": {"href": "canary"}} | must be a string, not an object
        /url {"url": null} | is required
        /method {"method": "canary"} | must be one of GET, POST, PUT
        /method {"method": ["canary"]} | must be a string, not a list
        /content_type {"content_type": "canary"} | must be one of json, form, xml, text, none
        /token_path {"token_path": {"canary": 1}} | must be a string, not an object
        /token_path {"token_path": "${canary}"} | must be a dotted path such as data.access_token
        /expires_in_path {"expires_in_path": ["canary"]} | must be a string, not a list
        /expires_at_path {"expires_in_path": "a", "expires_at_path": "canary"} | stands beside expires_in_path or expires_in
        /default_expires_in_s {"default_expires_in_s": -1} | must be a whole number from 0 to 315360000
        /default_expires_in_s {"default_expires_in_s": "canary"} | must be a whole number, or a template
        /arguments {"arguments": "canary"} | must be a list, not a string
        /arguments/0 {"arguments": ["canary"]} | must be an object, not a string
        /arguments/0/place {"arguments": [{"name": "a", "place": "canary", "value": "x"}]} | must be one of url, header, body
        /arguments/0/value {"arguments": [{"name": "a", "place": "body"}]} | is required
        /arguments/0/canine {"arguments": [{"name": "a", "place": "url", "value": 1, "canine": 1}]} | known are name, place, value, optional
        /arguments/0/value {"arguments": [{"name": "a", "place": "url", "value": "${ x } canary"}]} | uses the name x, which is not declared
        /arguments/0/value {"arguments": [{"name": "a", "place": "url", "value": "${ 'canary' '"}]} | has an expression that does not end
        /arguments/0/value/b {"arguments": [{"name": "a", "place": "body", "value": {"b": "$x"}}]} | uses the name x, which is not declared
        /arguments/0/name {"arguments": [{"name": "a canary", "place": "header", "value": 1}]} | is not the name of a header
        /success {"success": "status == 'canary' and"} | syntax error (column 23)
        /success {"success": "${ status == 'canary' }"} | is an expression already: write it without ${ and }
        /success {"success": "nobody == 'canary'"} | uses the name nobody, which is not declared
        /params/a-b {"params": {"a-b": {"title": "canary"}}} | must be letters, digits and _, not beginning with a digit
        /params/token {"params": {"token": {"title": "canary"}}} | is a name the server uses itself
        /params/a/optional {"params": {"a": {"optional": "canary"}}} | must be true or false, not a string
        /policy/renew_before_s {"policy": {"window_s": 60, "renew_before_s": 60}} | must be less than window_s
        /client_auth/method {"client_auth": {"method": "canary"}} | must be one of none, client_secret_basic
        /error/code {"error": {"classes": {"permanent": ["canary"]}}} | is required beside classes"#;
    let of_realm = r#"
        /id {"id": 7} | must be a string, not a number
        /id {"id": null} | is required
        /comment {"comment": ["canary"]} | must be a string, not a list
        /config {"config": "canary"} | must be an object, not a string
        /logic_code {"logic_code": {"url": "canary"}} | must be a string, not an object
        /logic_code {"config": null, "logic_code": "canary"} | is not a URL: relative URL without a base"#;
    let client = &server.client;
    let good = json!({"id": "r", "config": good_config()});
    faulty(client, "POST /api/realm", &good, "/config", of_config).await;
    faulty(client, "POST /api/realm", &good, "", of_realm).await;
    expect_nothing_stored(client).await;
    client.save_realm("r", good_config()).await;
    let before = client.list("/api/realm").await;
    faulty(client, "POST /api/realm", &good, "/config", of_config).await;
    faulty(client, "POST /api/realm", &good, "", of_realm).await;
    assert_eq!(client.list("/api/realm").await, before);
}

async fn all_faults_of_a_realm_are_told_at_once(database: TestDatabase) {
    let server = Server::start(&database).await;
    let config = json!({
        "url": CANARY, "method": CANARY, "content_type": 5, "surprise": CANARY,
        "arguments": [
            {"name": "good", "place": "url", "value": "$key_1"},
            {"name": "", "place": "url", "value": "${ nobody }"},
        ],
        "success": "body.ok ==",
    });
    let realm = json!({"id": "r", "config": config});
    let reply = server.client.post("/api/realm", &realm).await;
    let expected = [
        ("/config/arguments/1/name", "must not be empty"),
        (
            "/config/arguments/1/value",
            "uses the name nobody, which is not declared",
        ),
        ("/config/content_type", "must be a string, not a number"),
        ("/config/method", "must be one of GET, POST, PUT"),
        ("/config/success", "syntax error (column 11)"),
        (
            "/config/surprise",
            "known are params, let, assertion, steps, url",
        ),
        ("/config/token_path", "is required"),
        ("/config/url", "is not a URL"),
    ];
    expect_faults(reply, &expected);
    expect_nothing_stored(&server.client).await;
}

/// A realm `r` that requires a parameter `app`, and one `old` that declares none.
async fn with_realms(database: &TestDatabase) -> Server {
    let server = Server::start(database).await;
    let mut config = good_config();
    config["params"] = json!({"app": {}, "pass": {"optional": true}});
    server.client.save_realm("r", config).await;
    server.client.save_realm("old", good_config()).await;
    server
}

async fn a_bad_secret_is_refused_with_the_place_of_its_fault(database: TestDatabase) {
    let server = with_realms(&database).await;
    let of_secret = r#"
        /params/surprise {"params": {"app": "a", "surprise": "canary"}} | is not a parameter of this realm; known are app, pass
        /params/a~1b~0c {"params": {"app": "a", "a/b~c": "canary"}} | is not a parameter of this realm; known are app, pass
        /params/app {"params": {"app": 770177017701, "pass": "canary"}} | must be a string or null
        /params/app {"params": {"app": {"value": "canary"}}} | must be a string or null
        /params/app {"params": {"app": null, "pass": "canary"}} | is required by the realm
        /params {"params": ["canary"]} | must be an object, not a list
        /params/app {"realm": "old", "params": {"app": "canary"}} | is not a parameter of this realm; known are key_1, key_2, key_3, key_4, key_5
        /key_1 {"realm": "old", "key_1": ["canary"]} | must be a string, not a list
        /key_2 {"realm": "old", "key_2": 770177017701} | must be a string, not a number
        /key_2 {"realm": "old", "key_2": 770177017701.5} | must be a string, not a number
        /key_3 {"realm": "old", "key_3": {"canary": "canary"}} | must be a string, not an object
        /key_4 {"realm": "old", "key_4": false} | must be a string, not a boolean
        /token {"realm": "old", "token": ["canary"]} | must be a string, not a list
        /expires_at {"realm": "old", "token": "canary", "expires_at": "canary"} | must be a whole number from 0"#;
    let client = &server.client;
    let good = json!({"realm": "r", "key": "k", "params": {"app": "a"}});
    let long = json!({"realm": "r", "key": "k", "params": {"app": CANARY.repeat(12_000)}});
    faulty(client, "POST /api/secret", &good, "", of_secret).await;
    let reply = client.post("/api/secret", &long).await;
    expect_faults(reply, &[("/params/app", "longer than 65536 bytes")]);
    let nowhere = json!({"realm": "nowhere", "key": "k", "key_2": CANARY});
    let reply = client.post("/api/secret", &nowhere).await;
    naming(reply, 400, "unknown_realm", "nowhere");
    assert_eq!(client.list("/api/secret").await, [] as [Value; 0]);
    client.post("/api/secret", &good).await.expect(200);
    let before = client.secret("r", "k").await["updated_at"].clone();
    faulty(client, "POST /api/secret", &good, "", of_secret).await;
    assert_eq!(client.secret("r", "k").await["updated_at"], before);
}

async fn a_parameter_given_at_the_top_is_called_faulty_there(database: TestDatabase) {
    let server = with_realms(&database).await;
    let long = json!({"realm": "old", "key": "k", "key_5": CANARY.repeat(12_000)});
    let reply = server.client.post("/api/secret", &long).await;
    expect_faults(reply, &[("/key_5", "longer than 65536 bytes")]);
    let unknown = json!({"realm": "r", "key": "k", "key_1": CANARY, "params": {"app": CANARY}});
    let reply = server.client.post("/api/secret", &unknown).await;
    expect_faults(reply, &[("/key_1", "known are app, pass")]);
}

async fn a_name_that_no_column_or_path_could_hold_is_refused(database: TestDatabase) {
    let server = Server::start(&database).await;
    let client = &server.client;
    let long = format!("{CANARY}{}", "n".repeat(250));
    let (blank, control) = (
        "must not be empty",
        "control characters or surrounding blanks",
    );
    for (name, told) in [
        ("", blank),
        (" canary", control),
        ("canary ", control),
        ("canary\nend", control),
        ("canary\0", control),
        (&*long, "longer than 255 characters"),
    ] {
        let realm = client.post("/api/realm", &json!({"id": name})).await;
        expect_faults(realm, &[("/id", told)]);
        let secret = json!({"realm": name, "key": name});
        for path in ["/api/secret", "/api/token/flush"] {
            let reply = client.post(path, &secret).await;
            expect_faults(reply, &[("/key", told), ("/realm", told)]);
        }
    }
    for name in ["", "%20canary", "canary%00", &long] {
        invalid_parameter(client.token(name, "k").await, "realm");
        invalid_parameter(client.token("r", name).await, "key");
    }
    expect_nothing_stored(client).await;
    // What just fits is a name, on every database.
    let fits = "ü".repeat(255);
    let document = json!({"id": fits, "realm": fits, "key": fits});
    client.post("/api/realm", &document).await.expect(200);
    client.post("/api/secret", &document).await.expect(200);
}

async fn a_bad_key_or_flush_is_refused_with_the_place_of_its_fault(database: TestDatabase) {
    let server = Server::start(&database).await;
    let client = &server.client;
    client.save_realm("r", Value::Null).await;
    let keys = client.list("/api/api-key").await;
    let of_key = r#"
        /name {"name": ""} | must have 1 to 255 characters
        /name {"name": ["canary"]} | must be a string, not a list
        /scopes {"scopes": []} | must name a scope
        /scopes/1 {"scopes": ["admin", "canary"]} | must be one of token:read, token:flush, realm:read, realm:write, secret:read, secret:write, key:write, audit:read, metrics, admin
        /realms/0 {"realms": [770177017701]} | must be a string
        /keys {"keys": "canary"} | must be a list, not a string
        /expires_at {"expires_at": -1} | must be a whole number from 0
        /realm {"realm": "canary"} | known are name, scopes, realms, keys, expires_at"#;
    let good = json!({"name": "n", "scopes": ["admin"]});
    faulty(client, "POST /api/api-key", &good, "", of_key).await;
    let of_flush = r#"
        /generation {"generation": "canary"} | must be a whole number from 0
        /force {"force": "canary"} | known are realm, key, generation"#;
    let good = json!({"realm": "r", "key": "k"});
    faulty(client, "POST /api/token/flush", &good, "", of_flush).await;
    let of_token = r#"
        /token {"token": ""} | must not be empty
        /token {"token": ["canary"]} | must be a string, not a list
        /key {"key": 770177017701} | must be a string, not a number
        /expires_at {"expires_at": "canary"} | must be a whole number from 0
        /until {"until": "canary"} | known are realm, key, token, expires_at"#;
    let good = json!({"realm": "r", "key": "k", "token": CANARY});
    faulty(client, "PUT /api/token", &good, "", of_token).await;
    assert_eq!(client.list("/api/api-key").await, keys);
    assert_eq!(client.list("/api/secret").await, [] as [Value; 0]);
}

/// Sends a body as it stands to every call that takes one, `POST /api/realm` first.
async fn send_everywhere(client: &Client, media_type: &str, body: &str) -> Vec<Reply> {
    let calls = "POST /api/realm, POST /api/secret, POST /api/api-key, POST /api/token/flush, \
                 PUT /api/token";
    let mut replies = Vec::new();
    for call in calls.split(", ") {
        replies.push(send(client, call, media_type, body).await);
    }
    replies
}

async fn a_body_that_is_not_json_is_refused(database: TestDatabase) {
    let server = Server::start(&database).await;
    let deep = "[".repeat(100_000);
    let cut = r#"{"id": "r", "comment": "canary"#;
    let trailed = r#"{"id": "r"} canary"#;
    for body in ["", CANARY, "{id: 'canary'}", cut, trailed, &deep] {
        for reply in send_everywhere(&server.client, "application/json", body).await {
            naming(reply, 400, "malformed_json", "column");
        }
    }
    for (body, kind) in [
        ("770177017701", "a number"),
        ("null", "null"),
        ("[]", "a list"),
        ("\"canary\"", "a string"),
    ] {
        let told = format!("must be an object, not {kind}");
        for reply in send_everywhere(&server.client, "application/json", body).await {
            expect_faults(reply, &[("", &told)]);
        }
    }
    expect_nothing_stored(&server.client).await;
}

async fn a_body_of_another_media_type_is_refused(database: TestDatabase) {
    let server = Server::start(&database).await;
    let body = json!({"id": "r", "realm": "r", "key": "k", "key_1": CANARY}).to_string();
    let form = "application/x-www-form-urlencoded";
    for media_type in ["text/plain", form, "x/json", ""] {
        for reply in send_everywhere(&server.client, media_type, &body).await {
            naming(reply, 415, "unsupported_media_type", "application/json");
        }
    }
    expect_nothing_stored(&server.client).await;
    let good = "Application/JSON; charset=utf-8";
    let replies = send_everywhere(&server.client, good, &body).await;
    assert_eq!(replies[0].status, 200);
}

/// More than a socket's buffers hold, so that the refusal comes before the end.
async fn a_caller_that_is_still_sending_too_much_gets_to_read_why(database: TestDatabase) {
    let server = Server::start(&database).await;
    let body = "x".repeat(4 * 1024 * 1024);
    for _ in 0..20 {
        let reply = send(&server.client, "POST /api/realm", "application/json", &body).await;
        naming(reply, 413, "body_too_large", "max_body_bytes");
    }
}

async fn a_body_beyond_the_limit_is_refused(database: TestDatabase) {
    let limit = ("TOKEN_SERVER__HTTP__MAX_BODY_BYTES", "1000".to_owned());
    let mut options = Options::default();
    options.env.push(limit);
    let server = Server::start_with(&database, options).await;
    let realm = json!({"id": "r", "comment": CANARY}).to_string();
    let body = |length: usize| format!("{realm}{}", " ".repeat(length - realm.len()));
    for reply in send_everywhere(&server.client, "application/json", &body(1001)).await {
        naming(reply, 413, "body_too_large", "max_body_bytes");
    }
    expect_nothing_stored(&server.client).await;
    let replies = send_everywhere(&server.client, "application/json", &body(1000)).await;
    assert_eq!(replies[0].status, 200);
}

async fn what_is_not_served_is_a_problem_document_too(database: TestDatabase) {
    let server = Server::start(&database).await;
    let client = &server.client;
    for path in "/api /api/ /nowhere /api/realm/a/b /api/secret/a /healthz/x".split(' ') {
        let reply = client.get(&format!("{path}?x={CANARY}")).await;
        problem(reply, 404, "not_found");
    }
    let calls = "PUT /api/realm, PATCH /api/secret/r/k, DELETE /api/token, GET /api/renewal/run, \
                 POST /healthz";
    for call in calls.split(", ") {
        let reply = send(client, call, "text/plain", CANARY).await;
        let (method, _) = call.trim().split_once(' ').expect("a method and a path");
        let allowed = reply.header("allow").expect("the methods that are allowed");
        assert!(
            !allowed.is_empty() && !allowed.contains(method),
            "{call}: {allowed}"
        );
        problem(reply, 405, "method_not_allowed");
    }
    for call in ["GET /api/realm/r", "DELETE /api/realm/r"] {
        let reply = send(client, call, "text/plain", CANARY).await;
        naming(reply, 404, "unknown_realm", r#"\"r\""#);
    }
    let calls = "GET /api/secret/r/k, DELETE /api/secret/r/k, POST /api/secret/r/k/pause, \
                 POST /api/secret/r/k/resume";
    for call in calls.split(", ") {
        let reply = send(client, call, "text/plain", CANARY).await;
        naming(reply, 404, "unknown_secret", r#"\"k\""#);
    }
}

async fn a_page_that_does_not_exist_is_refused(database: TestDatabase) {
    let server = Server::start(&database).await;
    let client = &server.client;
    let pages = "page=0 page=-1 page=abc page=canary page=18446744073709551615 \
                 page=18446744073709551616 pageSize=0 pageSize=1001 pageSize=1.5 pageSize=canary";
    for path in "/api/realm /api/secret /api/renewal /api/api-key /api/issuer /api/audit".split(' ')
    {
        for page in pages.split(' ') {
            let reply = client.get(&format!("{path}?{page}")).await;
            let (name, _) = page.split_once('=').expect("a name");
            invalid_parameter(reply, &format!("parameter {name}"));
        }
        let far = client.get(&format!("{path}?page=1000000")).await;
        assert_eq!(far.expect(200).json()["data"]["list"], json!([]));
    }
}

async fn a_parameter_that_cannot_be_read_is_refused_by_name(database: TestDatabase) {
    let server = Server::start(&database).await;
    for (call, name, expected) in [
        ("GET secret?state=canary", "state", "one of pending, active"),
        (
            "GET renewal?outcome=canary",
            "outcome",
            "one of stored, failed",
        ),
        ("GET audit?page=canary", "page", "a whole number"),
        ("GET audit?page=-1", "page", "not negative"),
        ("GET audit?page=0", "page", "from 1 to"),
        ("GET audit?pageSize=1001", "pageSize", "from 1 to 1000"),
        (
            "GET token?realm=r&key=k&min_ttl_s=canary",
            "min_ttl_s",
            "a whole number",
        ),
        (
            "GET token?realm=r&key=k&min_ttl_s=",
            "min_ttl_s",
            "a whole number",
        ),
        (
            "GET token?realm=r&key=k&min_ttl_s=-1",
            "min_ttl_s",
            "from 0 to 31536000",
        ),
        (
            "GET token?realm=r&key=k&generation=canary",
            "generation",
            "a whole number",
        ),
        (
            "GET token?realm=r&key=k&generation=-1",
            "generation",
            "not be negative",
        ),
        ("GET token?key=k", "realm", "is required"),
        ("GET token?realm=r", "key", "is required"),
        ("DELETE realm/r?cascade=canary", "cascade", "true or false"),
        (
            "DELETE api-key/canary",
            "part id of the path",
            "a whole number",
        ),
    ] {
        let (method, path) = call.split_once(' ').expect("a method and a path");
        let reply = send(
            &server.client,
            &format!("{method} /api/{path}"),
            "text/plain",
            "",
        )
        .await;
        let problem = problem(reply, 400, "invalid_parameter");
        let detail = problem["detail"].as_str().expect("a text");
        assert!(
            detail.contains(name) && detail.contains(expected),
            "{call}: {detail}"
        );
    }
}
