//! Traces: what a collector gets of reads that leave memory, of sweeps and of attempts, whose trace
//! they belong to, and that no secret is in them.

use std::process::Stdio;

use reqwest::Method;
use serde_json::{Value, json};

use crate::kit::collector::{SentSpan, TraceCollector};
use crate::kit::process::{ServerProcess, command};
use crate::kit::server::{ADMIN_KEY, Client};
use crate::kit::source::{in_backticks, read, root};
use crate::kit::tls::closed;
use crate::kit::{Answer, Provider, Reply, TestDatabase, eventually, on_every_database};

on_every_database! {
    a_callers_trace_goes_on_through_the_attempt_to_the_provider,
    a_sweep_is_one_trace_with_its_attempts_and_an_idle_one_is_none,
    reads_from_memory_and_probes_are_not_traced,
    only_a_realm_that_wishes_it_has_its_provider_told_of_the_trace,
    what_is_left_is_sent_when_the_server_stops,
    a_job_that_renews_is_traced,
    a_collector_that_is_away_is_told_of_and_holds_nothing_up,
    only_traces_that_callers_have_begun_are_sent_where_none_are_to_begin_here,
}

const CALLERS_TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLERS_SPAN: &str = "00f067aa0c5902b7";
const CANARY: &str = "canary-of-the-parameters";

fn options(endpoint: String) -> Vec<(&'static str, String)> {
    vec![
        ("TOKEN_SERVER__TRACES__ENDPOINT", endpoint),
        (
            "TOKEN_SERVER__RENEWAL__MIN_FLUSH_INTERVAL_S",
            "0".to_owned(),
        ),
        ("OTEL_BSP_SCHEDULE_DELAY", "50".to_owned()),
    ]
}

/// A realm and a secret that has a token.
async fn register(client: &Client, provider: &Provider, more: Value) {
    let mut realm = json!({
        "url": provider.url("/token?secret=$key_2"), "method": "GET", "arguments": [],
        "token_path": "access_token", "expires_in_path": "expires_in",
    });
    let fields = realm.as_object_mut().expect("an object");
    fields.extend(more.as_object().expect("an object").clone());
    client.save_realm("r", realm).await;
    let secret = json!({"realm": "r", "key": "k", "key_2": CANARY});
    client.post("/api/secret", &secret).await.expect(200);
    client.generation("r", "k", 1).await;
}

/// Has the token renewed, by a caller that is traced.
async fn flush_in_trace(client: &Client) -> Reply {
    let request = client
        .request(Method::POST, "/api/token/flush")
        .header(
            "traceparent",
            format!("00-{CALLERS_TRACE}-{CALLERS_SPAN}-01"),
        )
        .header("content-type", "application/json")
        .body(json!({"realm": "r", "key": "k"}).to_string());
    client.send(request).await.expect(200)
}

async fn span(
    collector: &TraceCollector,
    what: &str,
    is_it: impl Fn(&SentSpan) -> bool,
) -> SentSpan {
    eventually(what, async || collector.spans().into_iter().find(&is_it)).await
}

async fn child(collector: &TraceCollector, parent: &SentSpan, name: &str) -> SentSpan {
    let child = span(collector, name, |span| {
        span.parent == parent.id && span.name == name
    });
    let child = child.await;
    assert_eq!(child.trace, parent.trace);
    child
}

/// The attributes that the reference lists for a span or the resource.
fn documented(heading: &str) -> Vec<String> {
    let page = read(&root().join("docs/src/reference/traces.md"));
    let row = page
        .lines()
        .find(|line| line.starts_with(&format!("| {heading} |")));
    let row = row.unwrap_or_else(|| panic!("no row of {heading}"));
    let cells = row.rsplit('|').nth(1).expect("a last cell");
    in_backticks(cells).map(str::to_owned).collect()
}

/// Nothing but what the reference lists is said, and no secret.
fn assert_documented(span: &SentSpan, heading: &str) {
    let listed = documented(heading);
    for (name, value) in &span.attributes {
        assert!(listed.contains(name), "{name} of {heading}: {span:?}");
        for secret in [CANARY, ADMIN_KEY, "token-"] {
            assert!(!value.contains(secret), "{name}: {span:?}");
        }
    }
    assert_eq!(span.events, 0, "{span:?}");
    for name in documented("resource") {
        assert!(span.resource.contains_key(&name), "{name}: {span:?}");
    }
}

async fn a_callers_trace_goes_on_through_the_attempt_to_the_provider(database: TestDatabase) {
    let (provider, collector) = (Provider::start().await, TraceCollector::start().await);
    let mut options = options(collector.url());
    options.push(("TOKEN_SERVER__TRACES__TOKEN", "collectors-own".to_owned()));
    let server = ServerProcess::start(&database, &options);
    register(&server.client, &provider, json!({})).await;
    let reply = flush_in_trace(&server.client).await;
    let request = span(&collector, "the request", |span| {
        span.parent == CALLERS_SPAN
    })
    .await;
    assert_eq!(request.trace, CALLERS_TRACE);
    assert_eq!(request.name, "POST /api/token/flush");
    assert_eq!(format!("{:?}", request.kind), "Server");
    let id = reply.header("x-request-id").expect("an id").to_owned();
    for (attribute, value) in [
        ("http.request.method", "POST"),
        ("http.route", "/api/token/flush"),
        ("http.response.status_code", "200"),
        ("request_id", &id),
        ("realm", "r"),
        ("key", "k"),
        ("caller", "bootstrap-admin"),
    ] {
        assert!(request.says(attribute, value), "{attribute}: {request:?}");
    }
    let attempt = child(&collector, &request, "attempt").await;
    for (attribute, value) in [
        ("realm", "r"),
        ("key", "k"),
        ("cause", "flush"),
        ("token_server.outcome", "stored"),
    ] {
        assert!(attempt.says(attribute, value), "{attribute}: {attempt:?}");
    }
    let asked = child(&collector, &attempt, "GET").await;
    assert_eq!(format!("{:?}", asked.kind), "Client");
    let port = provider
        .url("")
        .rsplit_once(':')
        .map(|(_, port)| port.to_owned());
    for (attribute, value) in [
        ("server.address", "127.0.0.1"),
        ("server.port", &port.expect("a port")),
        ("http.request.method", "GET"),
        ("http.response.status_code", "200"),
    ] {
        assert!(asked.says(attribute, value), "{attribute}: {asked:?}");
    }
    for (span, heading) in [
        (&request, "request"),
        (&attempt, "attempt"),
        (&asked, "provider"),
    ] {
        assert_documented(span, heading);
        assert!(!span.is_error, "{span:?}");
    }
    // What fails is said to fail, and not in the provider's words.
    provider.answer_with(Answer::status(503).with_bytes(CANARY));
    flush_in_trace(&server.client).await;
    let failed = span(&collector, "a failed attempt", |span| {
        span.says("token_server.outcome", "failed")
    });
    let failed = failed.await;
    assert!(
        failed.is_error && failed.says("error.type", "transient"),
        "{failed:?}"
    );
    let asked = child(&collector, &failed, "GET").await;
    assert!(
        asked.is_error && asked.says("error.type", "503"),
        "{asked:?}"
    );
    assert_documented(&failed, "attempt");
    assert_documented(&asked, "provider");
    let authorizations = collector.authorizations();
    assert!(
        authorizations
            .iter()
            .all(|sent| sent == "Bearer collectors-own")
    );
    assert!(!authorizations.is_empty());
}

async fn a_sweep_is_one_trace_with_its_attempts_and_an_idle_one_is_none(database: TestDatabase) {
    let (provider, collector) = (Provider::start().await, TraceCollector::start().await);
    let server = ServerProcess::start(&database, &options(collector.url()));
    register(&server.client, &provider, json!({})).await;
    let sweep = span(&collector, "a sweep", |span| span.name == "sweep").await;
    assert_eq!(sweep.parent, "");
    assert!(sweep.says("token_server.attempts", "1"), "{sweep:?}");
    assert_documented(&sweep, "sweep");
    let attempt = child(&collector, &sweep, "attempt").await;
    assert!(attempt.says("cause", "scheduled"), "{attempt:?}");
    child(&collector, &attempt, "GET").await;
    // One each second looks for what is due; when a later span is here, so would theirs be.
    let before = provider.request_count();
    let due = json!({"realm": "r", "key": "k", "key_2": "another"});
    server.client.post("/api/secret", &due).await.expect(200);
    provider.wait_for_requests(before + 1).await;
    let sweeps = async || {
        let spans = collector.spans().into_iter();
        let sweeps = spans.filter(|span| span.name == "sweep").count();
        (sweeps >= 2).then_some(sweeps)
    };
    assert_eq!(eventually("another sweep", sweeps).await, 2);
}

async fn reads_from_memory_and_probes_are_not_traced(database: TestDatabase) {
    let (provider, collector) = (Provider::start().await, TraceCollector::start().await);
    let server = ServerProcess::start(&database, &options(collector.url()));
    let client = &server.client;
    register(client, &provider, json!({})).await;
    // The long way, and remembered since.
    client.get("/api/token?realm=%72&key=k").await.expect(200);
    for _ in 0..20 {
        client.token("r", "k").await.expect(200);
    }
    client.get("/metrics").await.expect(200);
    client.get("/healthz").await.expect(200);
    client.get("/api/token?realm=r&key=%6b").await.expect(200);
    server.terminate();
    assert_eq!(server.exit_code(), Some(0));
    let spans = collector.spans();
    let reads: Vec<_> = spans
        .iter()
        .filter(|span| span.name == "GET /api/token")
        .collect();
    assert_eq!(reads.len(), 2, "{reads:?}");
    for read in reads {
        assert!(
            read.attributes.contains_key("token_server.source"),
            "{read:?}"
        );
        assert_documented(read, "request");
    }
    for span in &spans {
        let route = span.attributes.get("http.route");
        let is_probe = route.is_some_and(|route| !route.starts_with("/api/"));
        assert!(!is_probe && span.name != "request", "{span:?}");
    }
}

async fn only_a_realm_that_wishes_it_has_its_provider_told_of_the_trace(database: TestDatabase) {
    let (provider, collector) = (Provider::start().await, TraceCollector::start().await);
    let server = ServerProcess::start(&database, &options(collector.url()));
    register(&server.client, &provider, json!({})).await;
    flush_in_trace(&server.client).await;
    let told = |provider: &Provider| {
        let last = provider.requests().pop().expect("a request");
        last.headers.get("traceparent").cloned()
    };
    assert_eq!(told(&provider), None);
    register(&server.client, &provider, json!({"trace_context": true})).await;
    flush_in_trace(&server.client).await;
    let told = told(&provider).expect("the header");
    let asked = span(&collector, "the request to the provider", |span| {
        told == format!("00-{CALLERS_TRACE}-{}-01", span.id)
    });
    assert_eq!(asked.await.name, "GET");
}

async fn what_is_left_is_sent_when_the_server_stops(database: TestDatabase) {
    let (provider, collector) = (Provider::start().await, TraceCollector::start().await);
    let mut options = options(collector.url());
    options.push(("OTEL_BSP_SCHEDULE_DELAY", "3600000".to_owned()));
    let server = ServerProcess::start(&database, &options);
    register(&server.client, &provider, json!({})).await;
    flush_in_trace(&server.client).await;
    assert!(collector.spans().is_empty());
    server.terminate();
    assert_eq!(server.exit_code(), Some(0));
    let spans = collector.spans();
    assert!(
        spans.iter().any(|span| span.parent == CALLERS_SPAN),
        "{spans:?}"
    );
    assert!(spans.iter().any(|span| span.name == "attempt"));
}

async fn a_job_that_renews_is_traced(database: TestDatabase) {
    let (provider, collector) = (Provider::start().await, TraceCollector::start().await);
    let server = ServerProcess::start(&database, &[]);
    register(&server.client, &provider, json!({})).await;
    server.terminate();
    server.exit_code();
    let renew = command(&database, &options(collector.url()))
        .args(["renew", "--all"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    assert!(renew.expect("the command ends").success());
    let spans = collector.spans();
    let attempt = spans.iter().find(|span| span.name == "attempt");
    let attempt = attempt.unwrap_or_else(|| panic!("no attempt: {spans:?}"));
    assert!(attempt.says("cause", "run"), "{attempt:?}");
    assert_documented(attempt, "attempt");
}

async fn a_collector_that_is_away_is_told_of_and_holds_nothing_up(database: TestDatabase) {
    let provider = Provider::start().await;
    let endpoint = format!("http://{}/v1/traces", closed());
    let server = ServerProcess::start(&database, &options(endpoint));
    register(&server.client, &provider, json!({})).await;
    let mut log = Vec::new();
    eventually("that traces are lost is logged", async || {
        flush_in_trace(&server.client).await;
        log.extend(server.logged());
        let says = |line: &String| line.contains("traces could not be sent, and are lost");
        log.iter().any(says).then_some(())
    })
    .await;
    server.terminate();
    assert_eq!(server.exit_code(), Some(0));
}

async fn only_traces_that_callers_have_begun_are_sent_where_none_are_to_begin_here(
    database: TestDatabase,
) {
    let (provider, collector) = (Provider::start().await, TraceCollector::start().await);
    let mut options = options(collector.url());
    options.push(("TOKEN_SERVER__TRACES__SAMPLE_PERCENT", "0".to_owned()));
    let server = ServerProcess::start(&database, &options);
    register(&server.client, &provider, json!({})).await;
    let secret = json!({"realm": "r", "key": "k"});
    let flush = server.client.post("/api/token/flush", &secret);
    flush.await.expect(200);
    flush_in_trace(&server.client).await;
    server.terminate();
    assert_eq!(server.exit_code(), Some(0));
    let spans = collector.spans();
    assert!(spans.iter().any(|span| span.name == "attempt"), "{spans:?}");
    assert!(
        spans.iter().all(|span| span.trace == CALLERS_TRACE),
        "{spans:?}"
    );
}
