//! Base units of metrics: seconds.

use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::gauge::Gauge;

use crate::foundation::clock::{EpochMs, Ms};

/// A gauge of seconds, or of seconds since the epoch.
pub type SecondsGauge = Gauge<f64, AtomicU64>;

/// A point in time in the unit Prometheus wants.
pub fn timestamp(at: EpochMs) -> f64 {
    seconds(Ms(at.0))
}

/// A length of time in the unit Prometheus wants; negative where it goes back.
#[allow(clippy::cast_precision_loss)] // Exact for 285,000 years.
pub fn seconds(length: Ms) -> f64 {
    length.0 as f64 / 1000.0
}
