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

/// The pointers to the faults of a document, each of which says why.
#[track_caller]
fn pointers(reply: Reply) -> Vec<String> {
    let problem = problem(reply, 422, "invalid_document");
    let errors = problem["errors"].as_array().expect("errors").iter();
    let text = |field: &Value| field.as_str().expect("a text").to_owned();
    assert!(errors.clone().all(|error| text(&error["detail"]).len() > 5));
    errors.map(|error| text(&error["pointer"])).collect()
}

/// Sends a body as it stands, to `METHOD /path`.
async fn send(client: &Client, call: &str, media_type: &str, body: &str) -> Reply {
    let (method, path) = call.split_once(' ').expect("a method and a path");
    let request = client.request(method.parse().expect("a method"), path);
    let request = request.header("content-type", media_type);
    client.send(request.body(body.to_owned())).await
}

/// Sends a good document once for each line of a table, which is a pointer and the fields,
/// below `base`, that put a fault there.
async fn faulty(client: &Client, call: &str, good: &Value, base: &str, table: &str) {
    for line in table.trim().lines() {
        let (pointer, fields) = line.trim().split_once(' ').expect("a pointer and fields");
        let fields: Map<String, Value> = serde_json::from_str(fields).expect("an object");
        let mut document = good.clone();
        let object = document.pointer_mut(base).and_then(Value::as_object_mut);
        object.expect("an object").extend(fields);
        let reply = send(client, call, "application/json", &document.to_string()).await;
        assert_eq!(pointers(reply), [format!("{base}{pointer}")], "{line}");
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
        /surprise {"surprise": "canary"}
        /url {"url": "canary"}
        /url {"url": "ftp://canary.example/"}
        /url {"url": "https://u:canary@provider.example/"}
        /url {"url": "https://provider.example/#canary"}
        /url {"url": {"href": "canary"}}
        /url {"url": null}
        /method {"method": "canary"}
        /method {"method": ["canary"]}
        /content_type {"content_type": "canary"}
        /token_path {"token_path": {"canary": 1}}
        /token_path {"token_path": "${canary}"}
        /expires_in_path {"expires_in_path": ["canary"]}
        /expires_at_path {"expires_in_path": "a", "expires_at_path": "canary"}
        /default_expires_in_s {"default_expires_in_s": -1}
        /default_expires_in_s {"default_expires_in_s": "canary"}
        /arguments {"arguments": "canary"}
        /arguments/0 {"arguments": ["canary"]}
        /arguments/0/place {"arguments": [{"name": "a", "place": "canary", "value": "x"}]}
        /arguments/0/value {"arguments": [{"name": "a", "place": "body"}]}
        /arguments/0/canine {"arguments": [{"name": "a", "place": "url", "value": 1, "canine": 1}]}
        /arguments/0/value {"arguments": [{"name": "a", "place": "url", "value": "${ x } canary"}]}
        /arguments/0/value {"arguments": [{"name": "a", "place": "url", "value": "${ 'canary' '"}]}
        /arguments/0/value/b {"arguments": [{"name": "a", "place": "body", "value": {"b": "$x"}}]}
        /arguments/0/name {"arguments": [{"name": "a canary", "place": "header", "value": 1}]}
        /success {"success": "status == 'canary' and"}
        /success {"success": "${ status == 'canary' }"}
        /success {"success": "nobody == 'canary'"}
        /params/a-b {"params": {"a-b": {"title": "canary"}}}
        /params/token {"params": {"token": {"title": "canary"}}}
        /params/a/optional {"params": {"a": {"optional": "canary"}}}
        /policy/renew_before_s {"policy": {"window_s": 60, "renew_before_s": 60}}
        /client_auth/method {"client_auth": {"method": "canary"}}
        /error/code {"error": {"classes": {"permanent": ["canary"]}}}"#;
    let of_realm = r#"
        /id {"id": 7}
        /id {"id": null}
        /comment {"comment": ["canary"]}
        /config {"config": "canary"}
        /logic_code {"logic_code": {"url": "canary"}}
        /logic_code {"config": null, "logic_code": "canary"}"#;
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
    let mut pointers = pointers(server.client.post("/api/realm", &realm).await);
    pointers.sort();
    let expected = "arguments/1/name arguments/1/value content_type method success surprise \
                    token_path url";
    let expected = expected.split(' ').map(|at| format!("/config/{at}"));
    assert_eq!(pointers, expected.collect::<Vec<_>>());
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
        /params/surprise {"params": {"app": "a", "surprise": "canary"}}
        /params/a~1b~0c {"params": {"app": "a", "a/b~c": "canary"}}
        /params/app {"params": {"app": 770177017701, "pass": "canary"}}
        /params/app {"params": {"app": {"value": "canary"}}}
        /params/app {"params": {"app": null, "pass": "canary"}}
        /params {"params": ["canary"]}
        /params/app {"realm": "old", "params": {"app": "canary"}}
        /key_1 {"realm": "old", "key_1": ["canary"]}
        /key_2 {"realm": "old", "key_2": 770177017701}
        /key_2 {"realm": "old", "key_2": 770177017701.5}
        /key_3 {"realm": "old", "key_3": {"canary": "canary"}}
        /key_4 {"realm": "old", "key_4": false}
        /token {"realm": "old", "token": ["canary"]}
        /expires_at {"realm": "old", "token": "canary", "expires_at": "canary"}"#;
    let client = &server.client;
    let good = json!({"realm": "r", "key": "k", "params": {"app": "a"}});
    let long = json!({"realm": "r", "key": "k", "params": {"app": CANARY.repeat(12_000)}});
    faulty(client, "POST /api/secret", &good, "", of_secret).await;
    let reply = client.post("/api/secret", &long).await;
    assert_eq!(pointers(reply), ["/params/app"]);
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
    assert_eq!(pointers(reply), ["/key_5"]);
    let unknown = json!({"realm": "r", "key": "k", "key_1": CANARY, "params": {"app": CANARY}});
    let reply = server.client.post("/api/secret", &unknown).await;
    assert_eq!(pointers(reply), ["/key_1"]);
}

async fn a_name_that_no_column_or_path_could_hold_is_refused(database: TestDatabase) {
    let server = Server::start(&database).await;
    let client = &server.client;
    let long = format!("{CANARY}{}", "n".repeat(250));
    for name in ["", " canary", "canary ", "canary\nend", "canary\0", &long] {
        let realm = client.post("/api/realm", &json!({"id": name})).await;
        assert_eq!(pointers(realm), ["/id"]);
        let secret = json!({"realm": name, "key": name});
        for path in ["/api/secret", "/api/token/flush"] {
            let reply = client.post(path, &secret).await;
            assert_eq!(pointers(reply), ["/realm", "/key"]);
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
        /name {"name": ""}
        /name {"name": ["canary"]}
        /scopes {"scopes": []}
        /scopes/1 {"scopes": ["admin", "canary"]}
        /realms/0 {"realms": [770177017701]}
        /keys {"keys": "canary"}
        /expires_at {"expires_at": -1}
        /realm {"realm": "canary"}"#;
    let good = json!({"name": "n", "scopes": ["admin"]});
    faulty(client, "POST /api/api-key", &good, "", of_key).await;
    let of_flush = r#"
        /generation {"generation": "canary"}
        /force {"force": "canary"}"#;
    let good = json!({"realm": "r", "key": "k"});
    faulty(client, "POST /api/token/flush", &good, "", of_flush).await;
    let of_token = r#"
        /token {"token": ""}
        /token {"token": ["canary"]}
        /key {"key": 770177017701}
        /expires_at {"expires_at": "canary"}
        /until {"until": "canary"}"#;
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
    for body in ["770177017701", "null", "[]", "\"canary\""] {
        for reply in send_everywhere(&server.client, "application/json", body).await {
            assert_eq!(pointers(reply), [""]);
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
    for path in "/ /api /api/ /nowhere /api/realm/a/b /api/secret/a /healthz/x".split(' ') {
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
    for path in "/api/realm /api/secret /api/renewal /api/api-key /api/audit".split(' ') {
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
    let parameters = "/api/secret?state /api/renewal?outcome /api/token?realm=r&key=k&min_ttl_s \
                      /api/token?realm=r&key=k&generation";
    for path in parameters.split(' ') {
        let reply = server.client.get(&format!("{path}={CANARY}")).await;
        let name = path.rsplit(['?', '&']).next().expect("a name");
        invalid_parameter(reply, name);
    }
    for (path, name) in [
        ("realm/r?cascade=canary", "cascade"),
        ("api-key/canary", "path"),
    ] {
        let reply = server.client.delete(&format!("/api/{path}")).await;
        invalid_parameter(reply, name);
    }
}
