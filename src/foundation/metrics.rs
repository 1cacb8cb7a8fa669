//! Prometheus metrics. Labels are few and bounded: no secret's name is one, and of realms only
//! so many have a label of their own.

mod labels;
mod measured;
mod realm_labels;
mod remaining;
mod units;

use std::fmt;
use std::sync::Arc;

use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use crate::foundation::clock::{EpochMs, Ms};
use labels::{CertificateLabels, RealmLabel, RenewalLabels};
pub use labels::{
    ClosedLabels, DamageLabels, DeliveryLabels, FetchLabels, LimitLabels, ReadLabels,
    RequestLabels, SinkLabels,
};
use measured::MeasuredMetrics;
pub use measured::{Measured, MeasuredRealm};
use realm_labels::{RealmGauges, RealmLabels};
pub use remaining::{REMAINING_S, Remaining};
use units::AbsentSeconds;
pub use units::{SecondsGauge, seconds, timestamp};

/// How long providers take, in seconds: few buckets, since each realm has all of them.
const UPSTREAM_S: [f64; 11] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

fn upstream_seconds() -> Histogram {
    Histogram::new(UPSTREAM_S)
}

/// Everything this server counts.
pub struct Metrics {
    registry: Registry,
    realm_labels: Arc<RealmLabels>,
    measured: MeasuredMetrics,
    renewals: Family<RenewalLabels, Counter>,
    upstream_seconds: Family<RealmLabel, Histogram, fn() -> Histogram>,
    pub reads: Family<ReadLabels, Counter>,
    /// Of `reads`, those from memory.
    pub cache_reads: Counter,
    pub requests: Family<RequestLabels, Counter>,
    pub request_seconds: Histogram,
    pub connections: Gauge,
    pub connections_closed: Family<ClosedLabels, Counter>,
    pub accept_failures: Counter,
    pub watchers: Gauge,
    pub event_streams: Gauge,
    certificate_expiry: Family<CertificateLabels, SecondsGauge>,
    pub limited: Family<LimitLabels, Counter>,
    pub flush_denied: Counter,
    pub quota_spent: Counter,
    quota_left: RealmGauges,
    pub lease_steals: Counter,
    pub damaged_values: Family<DamageLabels, Counter>,
    pub sweeps: Counter,
    pub followed: Counter,
    pub audit_dropped: Counter,
    pub audit_sink_behind: Family<SinkLabels, Gauge>,
    pub audit_sink_failures: Family<SinkLabels, Counter>,
    pub deliveries: Family<DeliveryLabels, Counter>,
    pub jwks_fetches: Family<FetchLabels, Counter>,
    pub in_flight: Gauge,
    pub readers_waiting: Gauge,
    pub results_waiting: Gauge,
    pub result_transactions: Counter,
    /// Not set where nothing sweeps.
    pub last_sweep: AbsentSeconds,
    pub database_up: Gauge,
    pub database_contact: SecondsGauge,
    pub clock_offset: SecondsGauge,
    pub clock_step: SecondsGauge,
    pub sealing_key_waits: Gauge,
}

impl Metrics {
    /// At most so many realms have a label of their own.
    pub fn new(realms_max: usize) -> Self {
        // 1 ms to 33 s.
        let seconds = || Histogram::new(exponential_buckets(0.001, 2.0, 16));
        let reads = Family::<ReadLabels, Counter>::default();
        let cache_reads = reads.get_or_create_owned(&ReadLabels { source: "cache" });
        let realm_labels = Arc::new(RealmLabels::new(realms_max));
        let mut metrics = Self {
            registry: Registry::with_prefix("token_server"),
            measured: MeasuredMetrics::new(realm_labels.clone()),
            realm_labels,
            renewals: Family::default(),
            upstream_seconds: Family::new_with_constructor(upstream_seconds),
            reads,
            cache_reads,
            requests: Family::default(),
            request_seconds: seconds(),
            connections: Gauge::default(),
            connections_closed: Family::default(),
            accept_failures: Counter::default(),
            watchers: Gauge::default(),
            event_streams: Gauge::default(),
            certificate_expiry: Family::default(),
            limited: Family::default(),
            flush_denied: Counter::default(),
            quota_spent: Counter::default(),
            quota_left: RealmGauges::default(),
            lease_steals: Counter::default(),
            damaged_values: Family::default(),
            sweeps: Counter::default(),
            followed: Counter::default(),
            audit_dropped: Counter::default(),
            audit_sink_behind: Family::default(),
            audit_sink_failures: Family::default(),
            deliveries: Family::default(),
            jwks_fetches: Family::default(),
            in_flight: Gauge::default(),
            readers_waiting: Gauge::default(),
            results_waiting: Gauge::default(),
            result_transactions: Counter::default(),
            last_sweep: AbsentSeconds::default(),
            database_up: Gauge::default(),
            database_contact: SecondsGauge::default(),
            clock_offset: SecondsGauge::default(),
            clock_step: SecondsGauge::default(),
            sealing_key_waits: Gauge::default(),
        };
        metrics.register();
        metrics
    }

    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register(
            "renewals",
            "Attempts to obtain a token, by realm, outcome and class of error",
            self.renewals.clone(),
        );
        registry.register_with_unit(
            "upstream",
            "How long providers took to answer, by realm",
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
            "http_connections",
            "Connections that are open",
            self.connections.clone(),
        );
        registry.register(
            "http_connections_closed",
            "Connections that the server closed, by the limit that they met",
            self.connections_closed.clone(),
        );
        registry.register(
            "http_accept_failures",
            "Times that the system gave no new connection",
            self.accept_failures.clone(),
        );
        registry.register(
            "watchers",
            "Callers that watch a token",
            self.watchers.clone(),
        );
        registry.register(
            "event_streams",
            "Callers that follow what changes, such as open pages of the console",
            self.event_streams.clone(),
        );
        registry.register_with_unit(
            "tls_certificate_expiry_timestamp",
            "When the certificate that callers are shown ends, or the first of those that issued it; absent without TLS",
            Unit::Seconds,
            self.certificate_expiry.clone(),
        );
        registry.register(
            "requests_limited",
            "Requests that were refused because there were too many, by what counts them",
            self.limited.clone(),
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
        registry.register_with_unit(
            "quota_left",
            "How much of a provider's quota is left, from 0 to 1: of the quotas that this replica lately asked for a place in, the least; forced requests aside",
            Unit::Other("ratio".to_owned()),
            self.quota_left.clone(),
        );
        registry.register(
            "lease_steals",
            "Leases taken over from a replica that went silent",
            self.lease_steals.clone(),
        );
        registry.register(
            "damaged_values",
            "Stored values that were found damaged, each counted once by a process, by table and column",
            self.damaged_values.clone(),
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
            "Denied calls, looks at credentials and uses of them that the audit misses, because the database did not take them",
            self.audit_dropped.clone(),
        );
        registry.register(
            "audit_sink_behind",
            "Entries of the audit that a sink has not taken yet, from any server",
            self.audit_sink_behind.clone(),
        );
        registry.register(
            "audit_sink_failures",
            "Times that a sink did not take entries of the audit",
            self.audit_sink_failures.clone(),
        );
        registry.register(
            "webhook_deliveries",
            "Tries to tell the webhook of an event, by outcome",
            self.deliveries.clone(),
        );
        registry.register(
            "jwks_fetches",
            "Times that the keys of an issuer of JWTs were fetched, by outcome",
            self.jwks_fetches.clone(),
        );
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
        registry.register_with_unit(
            "last_sweep_timestamp",
            "When a sweep last went through without an error, or the server was started; absent where nothing sweeps, as on a server that is frozen between requests",
            Unit::Seconds,
            self.last_sweep.clone(),
        );
        registry.register(
            "database_up",
            "Whether the database answered when these metrics were asked for",
            self.database_up.clone(),
        );
        registry.register_with_unit(
            "database_last_contact_timestamp",
            "When the database last answered",
            Unit::Seconds,
            self.database_contact.clone(),
        );
        registry.register_with_unit(
            "clock_offset",
            "How far this replica's clock is ahead of the database's",
            Unit::Seconds,
            self.clock_offset.clone(),
        );
        registry.register_with_unit(
            "clock_step",
            "How far this machine's wall clock was set away from the time that has passed",
            Unit::Seconds,
            self.clock_step.clone(),
        );
        registry.register(
            "sealing_key_waits",
            "1 while a newer sealing key waits, because servers that run lack it",
            self.sealing_key_waits.clone(),
        );
        registry.register(
            "build",
            "The version that runs",
            Info::new([("version", env!("CARGO_PKG_VERSION"))]),
        );
        registry.register_collector(Box::new(self.measured.clone()));
    }

    /// Counts an attempt.
    pub fn renewed(&self, realm: &str, outcome: &'static str, class: &'static str) {
        let labels = RenewalLabels {
            realm: self.realm_labels.of(realm),
            outcome,
            class,
        };
        self.renewals.get_or_create(&labels).inc();
    }

    /// Counts how long a provider took.
    pub fn upstream_answered(&self, realm: &str, took: Ms) {
        let realm = self.realm_labels.of(realm);
        let histogram = self.upstream_seconds.get_or_create(&RealmLabel { realm });
        histogram.observe(seconds(took));
    }

    /// Shows how much of quotas is left, from 0 to 1; of realms without a label the least.
    pub fn quota_left(&self, realms: impl Iterator<Item = (String, f64)>) {
        self.quota_left.set_least(&self.realm_labels, realms);
    }

    /// Shows when the server's certificate ends; none: it is not known.
    pub fn certificate_ends(&self, at: Option<EpochMs>) {
        let labels = CertificateLabels {
            certificate: "server",
        };
        match at {
            Some(at) => {
                let gauge = self.certificate_expiry.get_or_create(&labels);
                gauge.set(timestamp(at));
            }
            None => drop(self.certificate_expiry.remove(&labels)),
        }
    }

    /// Shows what the database says of all secrets; none: it is not known.
    pub fn measured(&self, measured: Option<Measured>) {
        self.measured.show(measured);
    }

    /// The text format of Prometheus (OpenMetrics 1.0).
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut page = String::new();
        text::encode_registry(&mut page, &self.registry)?;
        if let Some(remaining) = self.measured.remaining() {
            remaining.write_gauge_histogram(
                &mut page,
                "token_server_token_remaining_seconds",
                "How long the tokens that are served still live; what does not end is in the last bucket only; without those of paused secrets",
            )?;
        }
        text::encode_eof(&mut page)?;
        Ok(page)
    }
}
