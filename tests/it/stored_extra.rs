//! `stored.extra`: what the last answer said is in scope of the next request, and leads it no
//! further than the document allows.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use token_server::foundation::clock::{ManualClock, Ms};

use crate::kit::internet::{Arrived, Internet, Response};
use crate::kit::server::Options;
use crate::kit::{Server, TestDatabase, on_every_database};

on_every_database! {
    the_next_request_goes_where_the_last_answer_said_within_one_registered_domain,
    an_answer_that_leads_to_another_domain_needs_a_human_and_nothing_is_sent_there,
    a_host_that_the_document_allows_is_followed,
    an_answer_never_leads_from_https_to_http_nor_to_an_address,
    parameters_that_were_saved_count_until_the_next_token,
    extra_fields_are_unset_before_the_first_token_and_in_scope_of_every_argument_then,
    a_preview_follows_the_stored_host_and_masks_what_else_is_stored,
    a_trial_is_given_extra_fields_as_if_they_were_stored,
    a_document_is_refused_that_allows_what_is_no_host_or_serves_what_was_stored,
}

/// The host of a provider whose answers say where to go next.
const HOME: &str = "us.api.example.com";

/// What the provider says beside its next token.
#[derive(Clone, Default)]
struct Said(Arc<Mutex<Value>>);

struct Scene {
    server: Server,
    clock: Arc<ManualClock>,
    said: Said,
    arrived: Arc<Mutex<Vec<Arrived>>>,
    _internet: Internet,
}

impl Scene {
    async fn set(database: &TestDatabase, more: Value) -> Self {
        let (internet, said) = (Internet::start().await, Said::default());
        let arrived = Arc::<Mutex<Vec<Arrived>>>::default();
        let (seen, says) = (arrived.clone(), said.clone());
        internet.answer(move |request| {
            let mut seen = seen.lock().expect("nobody panics with it");
            seen.push(request);
            let mut body = json!({
                "access_token": format!("token-{}", seen.len()), "expires_in": 3600,
                "refresh_token": format!("refresh-{}", seen.len()),
            });
            let said = says.0.lock().expect("nobody panics with it");
            for (name, value) in said.as_object().into_iter().flatten() {
                body[name] = value.clone();
            }
            Response {
                status: 200,
                headers: Vec::new(),
                body: body.to_string().into_bytes(),
            }
        });
        let options = Options {
            internet: Some(internet.for_server()),
            ..Options::default()
        };
        let (server, clock) = Server::on_manual_clock_with(database, options).await;
        server.client.save_realm("r", realm(more)).await;
        Self {
            server,
            clock,
            said,
            arrived,
            _internet: internet,
        }
    }

    fn says(&self, said: Value) {
        *self.said.0.lock().expect("nobody panics with it") = said;
    }

    async fn save(&self, key: &str, host: &str) {
        let secret = json!({"realm": "r", "key": key, "params": {
            "host": host, "refresh_token": "first",
        }});
        let client = &self.server.client;
        client.post("/api/secret", &secret).await.expect(200);
    }

    async fn renewed(&self, generation: i64) {
        // Past the latest point of renewal of 3600 seconds.
        self.clock.advance(Ms::from_secs(3100));
        self.server.client.generation("r", "k", generation).await;
    }

    /// Where requests went, in order.
    fn went(&self) -> Vec<String> {
        let arrived = self.arrived.lock().expect("nobody panics with it");
        arrived.iter().map(|arrived| arrived.url.clone()).collect()
    }

    async fn refused(&self) -> String {
        self.clock.advance(Ms::from_secs(3100));
        let secret = self.server.client.state("r", "k", "needs_attention").await;
        let error = &secret["last_error"];
        assert_eq!(error["class"], "internal");
        error["detail"].as_str().expect("a text").to_owned()
    }
}

fn realm(more: Value) -> Value {
    let mut config = json!({
        "params": {
            "host": {"title": "Host", "secret": false},
            "refresh_token": {"title": "First refresh token"},
        },
        "url": "${stored.extra.base|default('https://' ~ host)}/token", "method": "POST",
        "content_type": "form",
        "arguments": [
            {"name": "refresh_token", "place": "body", "value": "$refresh_token"},
            {"name": "pod", "place": "body", "value": "${stored.extra.pod}", "optional": true},
        ],
        "token_path": "access_token", "expires_in_path": "expires_in",
        "refresh_token_path": "refresh_token",
        "extra": {"base": "body.base", "pod": "body.pod"},
    });
    for (field, value) in more.as_object().into_iter().flatten() {
        config[field] = value.clone();
    }
    config
}

fn form(arrived: &Arrived) -> BTreeMap<String, String> {
    url::form_urlencoded::parse(&arrived.body)
        .into_owned()
        .collect()
}

async fn the_next_request_goes_where_the_last_answer_said_within_one_registered_domain(
    database: TestDatabase,
) {
    let scene = Scene::set(&database, json!({})).await;
    scene.says(json!({"base": "https://eu.api.example.com/v2"}));
    scene.save("k", HOME).await;
    scene.server.client.generation("r", "k", 1).await;
    scene.says(json!({}));
    scene.renewed(2).await;
    // The second answer said nothing: the next goes home.
    scene.renewed(3).await;
    assert_eq!(
        scene.went(),
        [
            "https://us.api.example.com/token",
            "https://eu.api.example.com/v2/token",
            "https://us.api.example.com/token",
        ]
    );
}

async fn an_answer_that_leads_to_another_domain_needs_a_human_and_nothing_is_sent_there(
    database: TestDatabase,
) {
    let scene = Scene::set(&database, json!({})).await;
    scene.save("other", HOME).await;
    scene.server.client.generation("r", "other", 1).await;
    scene.says(json!({"base": "https://us.api.example.com.evil.org"}));
    scene.save("k", HOME).await;
    scene.server.client.generation("r", "k", 1).await;
    scene.says(json!({}));
    let why = scene.refused().await;
    assert!(
        why.contains("us.api.example.com.evil.org") && why.contains("allowed_hosts"),
        "{why}"
    );
    let client = &scene.server.client;
    client.generation("r", "other", 2).await;
    let astray = |url: &String| url.contains("evil");
    assert!(!scene.went().iter().any(astray), "{:?}", scene.went());
    // The stored token is served for as long as it lives.
    client.token("r", "k").await.expect(200);
}

async fn a_host_that_the_document_allows_is_followed(database: TestDatabase) {
    let allowed = json!({"allowed_hosts": ["cn.api.example.org", "*.example.net"]});
    let scene = Scene::set(&database, allowed).await;
    scene.says(json!({"base": "https://cn.api.example.org"}));
    scene.save("k", HOME).await;
    scene.server.client.generation("r", "k", 1).await;
    scene.says(json!({"base": "https://a.b.example.net"}));
    scene.renewed(2).await;
    scene.renewed(3).await;
    assert_eq!(
        scene.went()[1..],
        [
            "https://cn.api.example.org/token",
            "https://a.b.example.net/token"
        ]
    );
}

async fn an_answer_never_leads_from_https_to_http_nor_to_an_address(database: TestDatabase) {
    let allowed = json!({"allowed_hosts": ["*.example.com"]});
    let scene = Scene::set(&database, allowed).await;
    for (generation, base, said) in [
        (1, "http://us.api.example.com", "http://"),
        (2, "https://127.0.0.1", "127.0.0.1"),
        (3, "https://user@us.api.example.com", "not a URL"),
        (4, "file:///etc/passwd", "https://"),
    ] {
        scene.says(json!({"base": base}));
        // With another parameter it goes home once more.
        scene
            .save("k", &format!("us{generation}.api.example.com"))
            .await;
        scene.server.client.generation("r", "k", generation).await;
        let why = scene.refused().await;
        assert!(why.contains(said), "{base}: {why}");
    }
    let homes: Vec<_> = (1..=4)
        .map(|number| format!("https://us{number}.api.example.com/token"))
        .collect();
    assert_eq!(scene.went(), homes);
}

async fn parameters_that_were_saved_count_until_the_next_token(database: TestDatabase) {
    let scene = Scene::set(&database, json!({})).await;
    scene.says(json!({"base": "https://eu.api.example.com"}));
    scene.save("k", HOME).await;
    scene.server.client.generation("r", "k", 1).await;
    scene.clock.advance(Ms::from_secs(10));
    scene.save("k", "ap.api.example.com").await;
    scene.server.client.generation("r", "k", 2).await;
    scene.renewed(3).await;
    assert_eq!(
        scene.went(),
        [
            "https://us.api.example.com/token",
            "https://ap.api.example.com/token",
            "https://eu.api.example.com/token",
        ]
    );
}

async fn extra_fields_are_unset_before_the_first_token_and_in_scope_of_every_argument_then(
    database: TestDatabase,
) {
    let scene = Scene::set(&database, json!({})).await;
    scene.says(json!({"pod": "pod-7"}));
    scene.save("k", HOME).await;
    scene.server.client.generation("r", "k", 1).await;
    scene.renewed(2).await;
    let arrived = scene.arrived.lock().expect("nobody panics with it").clone();
    assert_eq!(form(&arrived[0]).get("pod"), None);
    assert_eq!(form(&arrived[1])["pod"], "pod-7");
}

async fn a_preview_follows_the_stored_host_and_masks_what_else_is_stored(database: TestDatabase) {
    let scene = Scene::set(&database, json!({})).await;
    scene.says(json!({"base": "https://eu.api.example.com", "pod": "a-credential-of-a-pod"}));
    scene.save("k", HOME).await;
    let client = &scene.server.client;
    client.generation("r", "k", 1).await;
    let reply = client.get("/api/realm/r/preview?key=k").await.expect(200);
    assert!(
        !reply.text.contains("a-credential-of-a-pod"),
        "{}",
        reply.text
    );
    let exchange = reply.json()["data"]["exchanges"][0].clone();
    assert_eq!(
        exchange["request"]["url"],
        "https://eu.api.example.com/token"
    );
    assert!(exchange["request"]["body"]["pod"].is_string(), "{exchange}");
    assert!(exchange.get("failure").is_none(), "{exchange}");
}

async fn a_trial_is_given_extra_fields_as_if_they_were_stored(database: TestDatabase) {
    let scene = Scene::set(&database, json!({})).await;
    let mut trial = json!({
        "config": realm(json!({})),
        "params": {"host": HOME, "refresh_token": "first"},
        "send": true, "confirm": "consumes_refresh_token",
        "extra": {"base": "https://eu.api.example.com"},
    });
    let client = &scene.server.client;
    let shown = client.dry_run(&trial).await.expect(200).json();
    assert!(
        shown["data"]["exchanges"][0]["reading"].is_object(),
        "{shown}"
    );
    assert_eq!(scene.went(), ["https://eu.api.example.com/token"]);
    trial["extra"]["base"] = json!("https://eu.api.example.org");
    let shown = client.dry_run(&trial).await.expect(200).json();
    let why = &shown["data"]["exchanges"][0]["failure"]["detail"];
    assert!(why.to_string().contains("allowed_hosts"), "{shown}");
    assert_eq!(scene.went().len(), 1);
}

async fn a_document_is_refused_that_allows_what_is_no_host_or_serves_what_was_stored(
    database: TestDatabase,
) {
    let server = Server::start(&database).await;
    for (more, pointer, why) in [
        (
            json!({"allowed_hosts": ["*.com"]}),
            "/config/allowed_hosts/0",
            "many owners",
        ),
        (
            json!({"allowed_hosts": ["a.example.com", "https://b.example.com"]}),
            "/config/allowed_hosts/1",
            "without https://",
        ),
        (
            json!({"allowed_hosts": [7]}),
            "/config/allowed_hosts/0",
            "must be a string",
        ),
        (
            json!({"allowed_hosts": "a.example.com"}),
            "/config/allowed_hosts",
            "must be a list",
        ),
        (
            json!({"allowed_hosts": vec!["a.example.com"; 21]}),
            "/config/allowed_hosts",
            "more than 20",
        ),
        (
            json!({"token_template": "x ${stored.extra.pod}"}),
            "/config/token_template",
            "is extra",
        ),
        (
            json!({"params": {"stored": {}}}),
            "/config/params/stored",
            "the server uses itself",
        ),
    ] {
        let body = json!({"id": "r", "config": realm(more)});
        let reply = server.client.post("/api/realm", &body).await;
        let told = reply.expect_problem(422, "invalid_document")["errors"].clone();
        let of_it = |fault: &Value| {
            let detail = fault["detail"].as_str().unwrap_or_default();
            fault["pointer"] == pointer && detail.contains(why)
        };
        let found = told
            .as_array()
            .is_some_and(|faults| faults.iter().any(of_it));
        assert!(found, "{pointer}: {told}");
    }
}
