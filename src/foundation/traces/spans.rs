//! What is said in spans: names, kinds and attributes. Each function does nothing while no traces are
//! made. No attribute holds a secret, a URL beyond its host, or what a provider has said.

use std::sync::atomic::{AtomicBool, Ordering};

use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{Status, TraceContextExt};
use opentelemetry_http::{HeaderExtractor, HeaderInjector};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use reqwest::header::HeaderMap;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;
use url::Url;

/// Whether traces are made: a process logs once, and makes traces or does not.
static ON: AtomicBool = AtomicBool::new(false);

pub(super) fn switch_on() {
    ON.store(true, Ordering::Relaxed);
}

fn is_on() -> bool {
    ON.load(Ordering::Relaxed)
}

/// Has the span of a request traced; it goes on with its caller's trace, if there is one.
pub fn request(span: &Span, method: &str, route: &str, headers: &HeaderMap) {
    if !is_on() {
        return;
    }
    span.record("otel.name", format!("{method} {route}"));
    span.record("otel.kind", "server");
    span.set_attribute("http.request.method", method.to_owned());
    span.set_attribute("http.route", route.to_owned());
    let caller = TraceContextPropagator::new().extract(&HeaderExtractor(headers));
    if caller.span().span_context().is_valid() {
        // It fails where the span is not made, and then there is nothing to go on with.
        let _ = span.set_parent(caller);
    }
}

/// How a request was answered.
pub fn request_answered(span: &Span, status: u16) {
    if !is_on() {
        return;
    }
    span.set_attribute("http.response.status_code", i64::from(status));
    if status >= 500 {
        span.set_attribute("error.type", status.to_string());
        span.set_status(Status::error(""));
    }
}

/// Where the token came from that the current request is answered with.
pub fn source(source: &'static str) {
    if is_on() {
        Span::current().set_attribute("token_server.source", source);
    }
}

/// A sweep that sets off so many attempts. It lasts until the last of them has ended.
pub fn sweep(attempts: usize) -> Span {
    if !is_on() {
        return Span::none();
    }
    let span = tracing::error_span!("sweep");
    let attempts = i64::try_from(attempts).unwrap_or(i64::MAX);
    span.set_attribute("token_server.attempts", attempts);
    span
}

/// How an attempt ended; `class` is that of a failure, else empty.
pub fn attempt_ended(span: &Span, outcome: &'static str, class: &'static str) {
    if !is_on() {
        return;
    }
    span.set_attribute("token_server.outcome", outcome);
    if !class.is_empty() {
        span.set_attribute("error.type", class);
        span.set_status(Status::error(""));
    }
}

/// A request to a provider.
pub fn exchange() -> Span {
    if !is_on() {
        return Span::none();
    }
    tracing::error_span!(
        "provider",
        otel.name = tracing::field::Empty,
        otel.kind = "client"
    )
}

/// What it asks, and whom.
pub fn exchange_asks(span: &Span, method: &str, url: &Url) {
    if span.is_none() {
        return;
    }
    span.record("otel.name", method);
    span.set_attribute("http.request.method", method.to_owned());
    span.set_attribute("url.scheme", url.scheme().to_owned());
    if let Some(host) = url.host_str() {
        span.set_attribute("server.address", host.to_owned());
    }
    if let Some(port) = url.port_or_known_default() {
        span.set_attribute("server.port", i64::from(port));
    }
}

/// The status of its answer.
pub fn exchange_answered(span: &Span, status: u16) {
    if span.is_none() {
        return;
    }
    span.set_attribute("http.response.status_code", i64::from(status));
    if status >= 400 {
        span.set_attribute("error.type", status.to_string());
        span.set_status(Status::error(""));
    }
}

/// No answer came; `class` is that of the failure.
pub fn exchange_failed(span: &Span, class: &'static str) {
    if !span.is_none() {
        span.set_attribute("error.type", class);
        span.set_status(Status::error(""));
    }
}

/// Tells whoever gets these headers of the current span, unless they say something already. The span
/// begins with that, so it gets the name of what it asks before.
pub fn hand_on(headers: &mut HeaderMap, method: &str) {
    if is_on() && !headers.contains_key("traceparent") {
        let span = Span::current();
        span.record("otel.name", method);
        let context = span.context();
        TraceContextPropagator::new().inject_context(&context, &mut HeaderInjector(headers));
    }
}
