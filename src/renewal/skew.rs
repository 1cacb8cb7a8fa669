//! Leases are compared by wall clocks, so replicas must agree on the time. The database's
//! clock is what each compares its own with.

use std::sync::{Arc, Mutex, PoisonError};

use crate::foundation::clock::{BootMs, EpochMs, Ms, SharedClock, Timeline};
use crate::foundation::database::{Database, DbError};
use crate::foundation::metrics::{Metrics, seconds};

/// A comparison holds for that long.
const HOLDS_FOR: Ms = Ms::from_secs(10);

/// What is known of the clocks.
#[derive(Debug, Default)]
struct Skew(Mutex<Known>);

#[derive(Clone, Copy, Debug, Default)]
struct Known {
    last: Option<(BootMs, Verdict)>,
    /// The two agreed once, so whichever is off now was set since.
    agreed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Agree,
    /// The database's clock was set; this replica's agrees with the others as before.
    DatabaseStepped(Ms),
    /// Nobody can say who is wrong.
    Apart(Ms),
}

/// What was read of the clocks at one moment.
#[derive(Clone, Copy, Debug)]
struct Readings {
    believed: EpochMs,
    database: EpochMs,
    /// How far this machine's wall clock was set away from what is believed.
    step: Ms,
    /// How long the database took to answer.
    took: Ms,
}

/// The verdict, and whether to believe this machine's wall clock again.
fn judge(readings: Readings, agreed: bool, max: Ms) -> (Verdict, bool) {
    let Readings {
        believed,
        database,
        step,
        took,
    } = readings;
    let within = |offset: Ms| offset.0.abs() <= max.0 + took.0;
    let offset = believed.since(database);
    if within(offset) {
        return (Verdict::Agree, false);
    }
    // The clock was set right after the start.
    if !agreed && step != Ms::ZERO && within(believed.plus(step).since(database)) {
        return (Verdict::Agree, true);
    }
    if agreed && step == Ms::ZERO {
        return (Verdict::DatabaseStepped(offset), false);
    }
    (Verdict::Apart(offset), false)
}

/// Compares this replica's clock with the database's.
pub(super) struct ClockCheck {
    database: Database,
    clock: SharedClock,
    metrics: Arc<Metrics>,
    max_skew: Ms,
    skew: Skew,
}

impl ClockCheck {
    pub(super) fn new(
        database: Database,
        clock: SharedClock,
        metrics: Arc<Metrics>,
        max_skew: Ms,
    ) -> Self {
        Self {
            database,
            clock,
            metrics,
            max_skew,
            skew: Skew::default(),
        }
    }

    /// Before each claim. Compares the clocks where the last comparison is old.
    pub(super) async fn agree(&self) -> Result<(), DbError> {
        let max = self.max_skew;
        if max == Ms::ZERO {
            return Ok(());
        }
        let known = *self.skew.known();
        let now = self.clock.boot();
        let verdict = match known.last {
            Some((at, verdict)) if now.since(at) < HOLDS_FOR => verdict,
            _ => self.compare(known.agreed, max).await?,
        };
        match verdict {
            Verdict::Agree | Verdict::DatabaseStepped(_) => Ok(()),
            Verdict::Apart(offset) => Err(DbError::ClockApart(offset)),
        }
    }

    async fn compare(&self, agreed: bool, max: Ms) -> Result<Verdict, DbError> {
        let before = self.clock.boot();
        let Some(database) = self.database.wall_clock().await? else {
            // One machine, one clock.
            self.alarm_of(Ms::ZERO);
            return Ok(Verdict::Agree);
        };
        let after = self.clock.boot();
        let readings = Readings {
            believed: self.clock.now(),
            database,
            step: self.clock.step(),
            took: after.since(before),
        };
        let (verdict, trust_wall) = judge(readings, agreed, max);
        if trust_wall {
            tracing::warn!(
                "this machine's clock was set since the start, and the database's agrees with it"
            );
            self.clock.trust_wall();
        }
        if let Verdict::DatabaseStepped(offset) | Verdict::Apart(offset) = verdict {
            tracing::error!(
                offset_ms = offset.0,
                claiming = matches!(verdict, Verdict::DatabaseStepped(_)),
                "the database's clock and this replica's are apart; have both follow a time server"
            );
        }
        self.alarm_of(self.clock.now().since(database));
        let mut known = self.skew.known();
        known.agreed |= verdict == Verdict::Agree;
        known.last = Some((after, verdict));
        Ok(verdict)
    }

    fn alarm_of(&self, offset: Ms) {
        self.metrics.clock_offset.set(seconds(offset));
        let step = self.clock.step();
        self.metrics.clock_step.set(seconds(step));
        if step != Ms::ZERO {
            tracing::error!(
                step_ms = step.0,
                "this machine's clock was set; tokens live on by the time that has really passed"
            );
        }
    }
}

impl Skew {
    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: EpochMs = EpochMs(1_000_000_000);
    const HOUR: Ms = Ms::from_secs(3600);
    const MAX: Ms = Ms::from_secs(2);

    fn judged(database_off: Ms, step: Ms, agreed: bool) -> (Verdict, bool) {
        let readings = Readings {
            believed: NOW,
            database: NOW.plus(database_off),
            step,
            took: Ms(5),
        };
        judge(readings, agreed, MAX)
    }

    #[test]
    fn clocks_within_the_limit_agree_whatever_the_wall_clock_says() {
        for step in [Ms::ZERO, HOUR] {
            assert_eq!(judged(Ms(1900), step, false), (Verdict::Agree, false));
            assert_eq!(judged(Ms(-2000), step, true), (Verdict::Agree, false));
        }
    }

    #[test]
    fn a_database_whose_clock_is_set_stops_nothing() {
        let (verdict, _) = judged(HOUR, Ms::ZERO, true);
        assert_eq!(verdict, Verdict::DatabaseStepped(Ms(-HOUR.0)));
    }

    #[test]
    fn clocks_that_never_agreed_are_apart_until_this_machines_is_set_right() {
        let (verdict, trust) = judged(HOUR, Ms::ZERO, false);
        assert_eq!((verdict, trust), (Verdict::Apart(Ms(-HOUR.0)), false));
        assert_eq!(judged(HOUR, HOUR, false), (Verdict::Agree, true));
    }

    #[test]
    fn where_both_clocks_were_set_nobody_can_say_who_is_wrong() {
        let (verdict, trust) = judged(HOUR, HOUR, true);
        assert_eq!((verdict, trust), (Verdict::Apart(Ms(-HOUR.0)), false));
    }
}
