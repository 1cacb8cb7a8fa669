//! How a flight ended.

use crate::foundation::clock::EpochMs;
use crate::foundation::sealing::OpenError;
use crate::realm::failure::FailureClass;
use crate::renewal::outcome::Fresh;
use crate::renewal::quota::Spent;
use crate::token::{TokenRecord, Waiting};

/// How a flight ended, for everyone who joined.
#[derive(Clone, Debug)]
pub enum FlightOutcome {
    /// This server fetched and stored it.
    Fetched(Box<Fresh>),
    /// Another replica, or the sweep, stored a newer token meanwhile.
    Elsewhere(Box<TokenRecord>),
    /// The attempt failed, here or elsewhere.
    Failed {
        class: FailureClass,
        detail: String,
        next_attempt: Option<EpochMs>,
    },
    /// Something must come first, and could not be had now.
    Waiting(Waiting),
    /// The provider's quota leaves no place for it.
    Spent(Spent),
    /// This server has not the key that something is sealed with.
    Sealed(OpenError),
    /// No result within the time a reader waits.
    StillWaiting,
    /// The secret is gone, or paused.
    GoneOrPaused,
    DatabaseFailed,
}

/// What came of one attempt of a flight.
pub(super) enum Attempt {
    Ended(FlightOutcome),
    /// Something must come first.
    Waits(Waiting),
    /// The same, and it came meanwhile.
    HasCome(Waiting),
}
