//! A collector of traces, as OpenTelemetry has it (OTLP over HTTP, protobuf): it keeps what it is
//! sent.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::{Span, span::SpanKind, status::StatusCode};
use poem::{Endpoint, Request, Response};
use prost::Message;

use super::provider::LocalServer;

/// A span as it came.
#[derive(Clone, Debug)]
pub struct SentSpan {
    pub name: String,
    /// `Server`, `Client` or `Internal`.
    pub kind: SpanKind,
    /// In hexadecimal, as the others.
    pub trace: String,
    pub id: String,
    /// Empty where it is the first of its trace.
    pub parent: String,
    pub attributes: BTreeMap<String, String>,
    pub is_error: bool,
    /// Of the process that sent it.
    pub resource: BTreeMap<String, String>,
    pub events: usize,
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn text(value: Option<Value>) -> String {
    match value {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::BoolValue(flag)) => flag.to_string(),
        Some(Value::DoubleValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    }
}

fn attributes(of: Vec<KeyValue>) -> BTreeMap<String, String> {
    let pair = |attribute: KeyValue| {
        let value = attribute.value.and_then(|value| value.value);
        (attribute.key, text(value))
    };
    of.into_iter().map(pair).collect()
}

impl SentSpan {
    fn of(span: Span, resource: &BTreeMap<String, String>) -> Self {
        Self {
            kind: span.kind(),
            trace: hexadecimal(&span.trace_id),
            id: hexadecimal(&span.span_id),
            parent: hexadecimal(&span.parent_span_id),
            is_error: span
                .status
                .as_ref()
                .is_some_and(|status| status.code() == StatusCode::Error),
            attributes: attributes(span.attributes),
            events: span.events.len(),
            name: span.name,
            resource: resource.clone(),
        }
    }

    pub fn says(&self, attribute: &str, value: &str) -> bool {
        self.attributes
            .get(attribute)
            .is_some_and(|said| said == value)
    }
}

#[derive(Default)]
struct Received {
    spans: Vec<SentSpan>,
    authorizations: Vec<String>,
}

struct Collecting(Arc<Mutex<Received>>);

impl Endpoint for Collecting {
    type Output = Response;

    async fn call(&self, mut request: Request) -> poem::Result<Response> {
        assert_eq!(request.content_type(), Some("application/x-protobuf"));
        let authorization = request.header("authorization").map(str::to_owned);
        let body = request.take_body().into_bytes().await?;
        let sent = ExportTraceServiceRequest::decode(body).expect("it is OTLP");
        let mut received = self.0.lock().expect("nothing panics with the lock");
        received.authorizations.extend(authorization);
        for of_resource in sent.resource_spans {
            let resource = of_resource.resource.map(|resource| resource.attributes);
            let resource = attributes(resource.unwrap_or_default());
            let spans = of_resource.scope_spans.into_iter();
            let spans = spans.flat_map(|of_scope| of_scope.spans);
            received
                .spans
                .extend(spans.map(|span| SentSpan::of(span, &resource)));
        }
        Ok(Response::builder()
            .content_type("application/x-protobuf")
            .body(Vec::new()))
    }
}

pub struct TraceCollector {
    received: Arc<Mutex<Received>>,
    server: LocalServer,
}

impl TraceCollector {
    pub async fn start() -> Self {
        let received = Arc::<Mutex<Received>>::default();
        let server = LocalServer::start(Collecting(received.clone())).await;
        Self { received, server }
    }

    pub fn url(&self) -> String {
        self.server.url("/v1/traces")
    }

    fn received(&self) -> MutexGuard<'_, Received> {
        self.received.lock().expect("nothing panics with the lock")
    }

    /// What has come until now.
    pub fn spans(&self) -> Vec<SentSpan> {
        self.received().spans.clone()
    }

    /// The Authorization header of each request.
    pub fn authorizations(&self) -> Vec<String> {
        self.received().authorizations.clone()
    }
}
