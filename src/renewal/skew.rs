//! Leases are compared by wall clocks, so replicas must agree on the time. The database's
//! clock is what each compares its own with.

use std::sync::{Arc, Mutex, PoisonError};

use crate::foundation::clock::{EpochMs, Moment, Ms, SharedClock, Timeline};
use crate::foundation::database::{Database, DbError};
use crate::foundation::metrics::{Metrics, seconds};

/// A comparison holds for that long.
const HOLDS_FOR: Ms = Ms::from_secs(10);
/// A question during which the process stood still, or the machine was paused, is asked again.
const ASKED_AT_MOST: usize = 3;

/// What is known of the clocks.
#[derive(Debug, Default)]
struct Skew(Mutex<Known>);

#[derive(Clone, Copy, Debug, Default)]
struct Known {
    last: Option<Compared>,
    /// The two agreed once, so whichever is off now was set since.
    agreed: bool,
}

#[derive(Clone, Copy, Debug)]
struct Compared {
    at: Moment,
    verdict: Verdict,
    /// What was followed then and is not confirmed.
    unconfirmed: Ms,
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
    /// How far this machine's wall clock was followed into the future since it was last confirmed: a
    /// pause, or a clock that was set.
    unconfirmed: Ms,
    /// How long the database took to answer.
    took: Ms,
}

/// What becomes of this machine's wall clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wall {
    AsBefore,
    /// It is believed again.
    Trusted,
    /// So much time has really passed.
    Confirmed(Ms),
    /// It was set so far ahead, and no time has passed.
    TakenBack(Ms),
}

fn judge(readings: Readings, agreed: bool, max: Ms) -> (Verdict, Wall) {
    let Readings {
        believed,
        database,
        step,
        unconfirmed,
        took,
    } = readings;
    let within = |offset: Ms| offset.0.abs() <= max.0 + took.0;
    let offset = believed.since(database);
    if within(offset) {
        let confirmed = Wall::Confirmed(unconfirmed);
        let wall = match unconfirmed {
            Ms::ZERO => Wall::AsBefore,
            _ => confirmed,
        };
        return (Verdict::Agree, wall);
    }
    if unconfirmed != Ms::ZERO {
        // The database agrees with the time before: this machine's clock was set.
        if within(believed.minus(unconfirmed).since(database)) {
            return (Verdict::Agree, Wall::TakenBack(unconfirmed));
        }
        return (Verdict::Apart(offset), Wall::AsBefore);
    }
    // The clock was set right after the start.
    if !agreed && step != Ms::ZERO && within(believed.plus(step).since(database)) {
        return (Verdict::Agree, Wall::Trusted);
    }
    if agreed && step == Ms::ZERO {
        return (Verdict::DatabaseStepped(offset), Wall::AsBefore);
    }
    (Verdict::Apart(offset), Wall::AsBefore)
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
        let unconfirmed = self.clock.unconfirmed();
        let now = self.clock.machine();
        let holds =
            |last: &Compared| now.since(last.at) < HOLDS_FOR && last.unconfirmed == unconfirmed;
        let verdict = match known.last.filter(holds) {
            Some(last) => last.verdict,
            None => self.compare(known.agreed, max).await?,
        };
        match verdict {
            Verdict::Agree | Verdict::DatabaseStepped(_) => Ok(()),
            Verdict::Apart(offset) => Err(DbError::ClockApart(offset)),
        }
    }

    async fn compare(&self, agreed: bool, max: Ms) -> Result<Verdict, DbError> {
        let Some(readings) = self.read().await? else {
            // One machine, one clock.
            self.clock.confirm(self.clock.unconfirmed());
            self.alarm_of(Ms::ZERO);
            return Ok(Verdict::Agree);
        };
        let (verdict, wall) = judge(readings, agreed, max);
        match wall {
            Wall::AsBefore => {}
            Wall::Trusted => {
                tracing::warn!(
                    name: "clock.set_since_start",
                    "this machine's clock was set since the start, and the database's agrees with it"
                );
                self.clock.trust_wall();
            }
            Wall::Confirmed(passed) => self.clock.confirm(passed),
            Wall::TakenBack(ahead) => {
                tracing::warn!(
                    name: "clock.set_ahead",
                    ahead_ms = ahead.0,
                    "this machine was not paused: its clock was set ahead, says the database's"
                );
                self.clock.take_back(ahead);
            }
        }
        if let Verdict::DatabaseStepped(offset) | Verdict::Apart(offset) = verdict {
            tracing::error!(
                name: "clock.apart",
                offset_ms = offset.0,
                claiming = matches!(verdict, Verdict::DatabaseStepped(_)),
                "the database's clock and this replica's are apart; have both follow a time server"
            );
        }
        self.alarm_of(self.clock.now().since(readings.database));
        let mut known = self.skew.known();
        known.agreed |= verdict == Verdict::Agree;
        known.last = Some(Compared {
            at: self.clock.machine(),
            verdict,
            unconfirmed: self.clock.unconfirmed(),
        });
        Ok(verdict)
    }

    /// None where there is no other clock. What the database said before a pause says nothing of the
    /// time after it.
    async fn read(&self) -> Result<Option<Readings>, DbError> {
        let mut asked = 0;
        loop {
            asked += 1;
            let (before, unconfirmed) = (self.clock.boot(), self.clock.unconfirmed());
            let Some(database) = self.database.wall_clock().await? else {
                return Ok(None);
            };
            let readings = Readings {
                believed: self.clock.now(),
                database,
                step: self.clock.step(),
                unconfirmed,
                took: self.clock.boot().since(before),
            };
            let stood_still =
                readings.took > self.max_skew || self.clock.unconfirmed() != unconfirmed;
            if !stood_still || asked == ASKED_AT_MOST {
                return Ok(Some(readings));
            }
        }
    }

    fn alarm_of(&self, offset: Ms) {
        self.metrics.clock_offset.set(seconds(offset));
        let step = self.clock.step();
        self.metrics.clock_step.set(seconds(step));
        if step != Ms::ZERO {
            tracing::error!(
                name: "clock.set",
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

    fn judged(database_off: Ms, step: Ms, unconfirmed: Ms, agreed: bool) -> (Verdict, Wall) {
        let readings = Readings {
            believed: NOW,
            database: NOW.plus(database_off),
            step,
            unconfirmed,
            took: Ms(5),
        };
        judge(readings, agreed, MAX)
    }

    #[test]
    fn clocks_within_the_limit_agree_whatever_the_wall_clock_says() {
        for step in [Ms::ZERO, HOUR] {
            for (off, agreed) in [(1900, false), (-2000, true)] {
                let judged = judged(Ms(off), step, Ms::ZERO, agreed);
                assert_eq!(judged, (Verdict::Agree, Wall::AsBefore));
            }
        }
    }

    #[test]
    fn a_database_whose_clock_is_set_stops_nothing() {
        let (verdict, _) = judged(HOUR, Ms::ZERO, Ms::ZERO, true);
        assert_eq!(verdict, Verdict::DatabaseStepped(Ms(-HOUR.0)));
    }

    #[test]
    fn clocks_that_never_agreed_are_apart_until_this_machines_is_set_right() {
        let apart = (Verdict::Apart(Ms(-HOUR.0)), Wall::AsBefore);
        assert_eq!(judged(HOUR, Ms::ZERO, Ms::ZERO, false), apart);
        let judged = judged(HOUR, HOUR, Ms::ZERO, false);
        assert_eq!(judged, (Verdict::Agree, Wall::Trusted));
    }

    #[test]
    fn where_both_clocks_were_set_nobody_can_say_who_is_wrong() {
        let apart = (Verdict::Apart(Ms(-HOUR.0)), Wall::AsBefore);
        assert_eq!(judged(HOUR, HOUR, Ms::ZERO, true), apart);
        // A pause, or a clock that was set; and the database's says neither.
        assert_eq!(judged(HOUR, Ms::ZERO, HOUR, true), apart);
    }

    #[test]
    fn the_database_says_whether_a_machine_was_paused_or_its_clock_set_ahead() {
        for agreed in [true, false] {
            let paused = judged(Ms(-100), Ms::ZERO, HOUR, agreed);
            assert_eq!(paused, (Verdict::Agree, Wall::Confirmed(HOUR)));
            let set = judged(Ms(-HOUR.0), Ms::ZERO, HOUR, agreed);
            assert_eq!(set, (Verdict::Agree, Wall::TakenBack(HOUR)));
        }
    }
}
