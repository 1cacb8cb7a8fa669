//! Base units of metrics: seconds.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::encoding::{EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::Gauge;

use crate::foundation::clock::{EpochMs, Ms};

/// A gauge of seconds, or of seconds since the epoch.
pub type SecondsGauge = Gauge<f64, AtomicU64>;

/// The same, absent until it is set.
#[derive(Clone, Debug, Default)]
pub struct AbsentSeconds(Arc<Mutex<Option<f64>>>);

impl AbsentSeconds {
    pub fn set(&self, seconds: f64) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(seconds);
    }

    fn get(&self) -> Option<f64> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EncodeMetric for AbsentSeconds {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), std::fmt::Error> {
        self.get()
            .map_or(Ok(()), |seconds| encoder.encode_gauge(&seconds))
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Gauge
    }

    fn is_empty(&self) -> bool {
        self.get().is_none()
    }
}

/// A point in time in the unit Prometheus wants.
pub fn timestamp(at: EpochMs) -> f64 {
    seconds(Ms(at.0))
}

/// A length of time in the unit Prometheus wants; negative where it goes back.
#[allow(clippy::cast_precision_loss)] // Exact for 285,000 years.
pub fn seconds(length: Ms) -> f64 {
    length.0 as f64 / 1000.0
}
