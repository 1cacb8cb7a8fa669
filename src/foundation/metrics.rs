//! Prometheus metrics. Labels are few and bounded: no secret's name is one.

use std::fmt;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use super::clock::Ms;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct RenewalLabels {
    pub outcome: &'static str,
    pub class: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct RequestLabels {
    pub route: String,
    pub method: String,
    pub status: u16,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct ReadLabels {
    pub source: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct DeliveryLabels {
    pub outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct StateLabels {
    pub state: &'static str,
}

/// Everything this server counts.
pub struct Metrics {
    registry: Registry,
    pub renewals: Family<RenewalLabels, Counter>,
    pub upstream_seconds: Histogram,
    pub reads: Family<ReadLabels, Counter>,
    /// Of `reads`, those from memory.
    pub cache_reads: Counter,
    pub requests: Family<RequestLabels, Counter>,
    pub request_seconds: Histogram,
    pub flush_denied: Counter,
    pub quota_spent: Counter,
    pub lease_steals: Counter,
    pub sweeps: Counter,
    pub followed: Counter,
    pub audit_dropped: Counter,
    pub deliveries: Family<DeliveryLabels, Counter>,
    pub secrets: Family<StateLabels, Gauge>,
    pub in_flight: Gauge,
    pub readers_waiting: Gauge,
    pub results_waiting: Gauge,
    pub result_transactions: Counter,
    pub overdue: Gauge,
    pub sweep_lag_ms: Gauge,
    pub clock_offset_ms: Gauge,
    pub clock_step_ms: Gauge,
}

impl Metrics {
    pub fn new() -> Self {
        // 1 ms to 33 s.
        let seconds = || Histogram::new(exponential_buckets(0.001, 2.0, 16));
        let reads = Family::<ReadLabels, Counter>::default();
        let cache_reads = reads.get_or_create_owned(&ReadLabels { source: "cache" });
        let mut metrics = Self {
            registry: Registry::with_prefix("token_server"),
            renewals: Family::default(),
            upstream_seconds: seconds(),
            reads,
            cache_reads,
            requests: Family::default(),
            request_seconds: seconds(),
            flush_denied: Counter::default(),
            quota_spent: Counter::default(),
            lease_steals: Counter::default(),
            sweeps: Counter::default(),
            followed: Counter::default(),
            audit_dropped: Counter::default(),
            deliveries: Family::default(),
            secrets: Family::default(),
            in_flight: Gauge::default(),
            readers_waiting: Gauge::default(),
            results_waiting: Gauge::default(),
            result_transactions: Counter::default(),
            overdue: Gauge::default(),
            sweep_lag_ms: Gauge::default(),
            clock_offset_ms: Gauge::default(),
            clock_step_ms: Gauge::default(),
        };
        metrics.register();
        metrics
    }

    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register(
            "renewals",
            "Attempts to obtain a token, by outcome and class of error",
            self.renewals.clone(),
        );
        registry.register_with_unit(
            "upstream",
            "How long providers took to answer",
            Unit::Seconds,
            self.upstream_seconds.clone(),
        );
        registry.register("reads", "Tokens served, by source", self.reads.clone());
        registry.register(
            "http_requests",
            "Requests answered, by route, method and status",
            self.requests.clone(),
        );
        registry.register_with_unit(
            "http_request",
            "How long requests took to answer",
            Unit::Seconds,
            self.request_seconds.clone(),
        );
        registry.register(
            "flush_denied",
            "Flushes that a limit refused",
            self.flush_denied.clone(),
        );
        registry.register(
            "quota_spent",
            "Requests that were not sent because the provider's quota is used up",
            self.quota_spent.clone(),
        );
        registry.register(
            "lease_steals",
            "Leases taken over from a replica that went silent",
            self.lease_steals.clone(),
        );
        registry.register(
            "sweeps",
            "Looks for tokens that are due; one a second at least",
            self.sweeps.clone(),
        );
        registry.register(
            "feed_followed",
            "Times the feed of changes was read to its end; four a second",
            self.followed.clone(),
        );
        registry.register(
            "audit_dropped",
            "Denied calls that came too fast to be written to the audit",
            self.audit_dropped.clone(),
        );
        registry.register(
            "webhook_deliveries",
            "Tries to tell the webhook of an event, by outcome",
            self.deliveries.clone(),
        );
        registry.register("secrets", "Secrets, by state", self.secrets.clone());
        registry.register(
            "renewals_in_flight",
            "Attempts under way",
            self.in_flight.clone(),
        );
        registry.register(
            "readers_waiting",
            "Callers that wait for a token to be fetched",
            self.readers_waiting.clone(),
        );
        registry.register(
            "results_waiting",
            "Results of attempts that wait to be stored with others",
            self.results_waiting.clone(),
        );
        registry.register(
            "result_transactions",
            "Transactions that stored results of attempts",
            self.result_transactions.clone(),
        );
        registry.register(
            "overdue",
            "Tokens due for renewal for more than a minute",
            self.overdue.clone(),
        );
        registry.register(
            "sweep_lag_milliseconds",
            "How late the longest overdue token is",
            self.sweep_lag_ms.clone(),
        );
        registry.register(
            "clock_offset_milliseconds",
            "How far this replica's clock is ahead of the database's",
            self.clock_offset_ms.clone(),
        );
        registry.register(
            "clock_step_milliseconds",
            "How far this machine's wall clock was set away from the time that has passed",
            self.clock_step_ms.clone(),
        );
    }

    /// The text format of Prometheus (OpenMetrics 1.0).
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut page = String::new();
        text::encode(&mut page, &self.registry)?;
        Ok(page)
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

/// A length of time in the unit Prometheus wants.
pub fn seconds(length: Ms) -> f64 {
    length.as_duration().as_secs_f64()
}
