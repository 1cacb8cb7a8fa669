//! Traces, sent to a collector by OTLP over HTTP where the configuration names one. Without it no
//! span is made but those of the log.

mod collector;
mod spans;

use std::time::Duration;

use opentelemetry::trace::{Link, SpanKind, TraceId, TraceState, TracerProvider};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{Protocol, RetryPolicy, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{
    Sampler, SamplingDecision, SamplingResult, SdkTracerProvider, ShouldSample,
};
use secrecy::SecretString;
use tracing::Subscriber;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::registry::LookupSpan;
use url::Url;

use super::clock::SharedClock;
use collector::Collector;
pub use spans::{
    attempt_ended, exchange, exchange_answered, exchange_asks, exchange_failed, hand_on, request,
    request_answered, source, sweep,
};

/// How long a collector may take to answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// A request that is not traced keeps the name that it has in the log.
const UNTRACED: &str = "request";

/// Where traces go, and how many.
#[derive(Clone, Debug)]
pub struct TracesSettings {
    pub endpoint: Url,
    /// Sent as a bearer token.
    pub token: Option<SecretString>,
    /// Of the traces that begin here, so many in a hundred are sent.
    pub sample_percent: u8,
}

/// Sends traces until it is ended.
pub struct Traces {
    provider: SdkTracerProvider,
}

impl Traces {
    /// Begins to make traces; within a Tokio runtime. `instance` tells this process from others.
    ///
    /// # Errors
    /// Why no exporter can be made; no secret is in it.
    pub fn start(
        settings: &TracesSettings,
        instance: String,
        clock: SharedClock,
    ) -> Result<Self, String> {
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Collector::new(settings.token.as_ref(), TIMEOUT, clock)?)
            .with_endpoint(settings.endpoint.as_str())
            .with_protocol(Protocol::HttpBinary)
            .with_timeout(TIMEOUT)
            // What a collector does not take is lost: it must not hold up what comes after.
            .with_retry_policy(RetryPolicy::disabled())
            .build()
            .map_err(|error| format!("traces cannot be sent: {error}"))?;
        let resource = Resource::builder()
            .with_service_name("token-server")
            .with_attributes([
                KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
                KeyValue::new("service.instance.id", instance),
            ])
            .build();
        let ratio = f64::from(settings.sample_percent) / 100.0;
        let sampler = Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(ratio)));
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_sampler(TracedOnly(sampler))
            .with_resource(resource)
            .build();
        spans::switch_on();
        Ok(Self { provider })
    }

    /// Takes the spans of this program, and no events: a detail of a failure may be what a provider
    /// has said.
    pub fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: Subscriber + for<'lookup> LookupSpan<'lookup>,
    {
        tracing_opentelemetry::layer()
            .with_tracer(self.provider.tracer("token-server"))
            .with_location(false)
            .with_threads(false)
            .with_level(false)
            .with_target(false)
            .with_tracked_inactivity(false)
            // Begun late, a span has its last name when it is sampled.
            .with_context_activation(false)
            .with_filter(filter_fn(|metadata| {
                let of = metadata.target().split("::").next();
                metadata.is_span() && of == Some(env!("CARGO_CRATE_NAME"))
            }))
    }

    /// Sends what is left, as long as that may take.
    pub async fn end(self, within: Duration) {
        let ending =
            tokio::task::spawn_blocking(move || self.provider.shutdown_with_timeout(within));
        if !matches!(ending.await, Ok(Ok(()))) {
            tracing::warn!(name: "traces.unfinished", "the last traces could not be sent");
        }
    }
}

/// Leaves out requests that nobody wants traced, such as those of probes.
#[derive(Clone, Debug)]
struct TracedOnly(Sampler);

impl ShouldSample for TracedOnly {
    fn should_sample(
        &self,
        parent: Option<&Context>,
        trace: TraceId,
        name: &str,
        kind: &SpanKind,
        attributes: &[KeyValue],
        links: &[Link],
    ) -> SamplingResult {
        if name == UNTRACED {
            return SamplingResult {
                decision: SamplingDecision::Drop,
                attributes: Vec::new(),
                trace_state: TraceState::NONE,
            };
        }
        self.0
            .should_sample(parent, trace, name, kind, attributes, links)
    }
}
