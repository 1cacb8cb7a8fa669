//! What a human looks at first: how many secrets are in which state, what fails, what is due next, and
//! what was renewed in the last day. Each of these reads many rows, so they are read together and kept.

use std::collections::HashSet;

use super::history::{self, HourOfAttempts};
use crate::foundation::clock::{EpochMs, Ms, SharedClock, Timeline};
use crate::foundation::database::{Database, DbError};
use crate::foundation::ids::RealmId;
use crate::foundation::kept::Kept;
use crate::foundation::pattern::Coverage;
use crate::realm::store as realms;
use crate::token::state::State;
use crate::token::summary::{self, RealmSummary};
use crate::token::{TokenRecord, listing};

/// How far back attempts are counted.
const COUNTED_FOR: Ms = Ms::from_secs(24 * 60 * 60);
/// As many failing secrets, and as many that are due next, are kept: a caller who may see only some is
/// shown of them what he may.
const KEPT_MAX: u64 = 500;
/// As many of each are shown.
const SHOWN_MAX: usize = 20;
/// What the database says of all secrets.
#[derive(Debug)]
struct AllSecrets {
    at: EpochMs,
    realms: Vec<RealmSummary>,
    fixed: HashSet<RealmId>,
    failing: Vec<TokenRecord>,
    due: Vec<TokenRecord>,
    hours: Vec<HourOfAttempts>,
}

/// What of it somebody may see.
#[derive(Debug)]
pub struct Overview {
    /// When it was read.
    pub at: EpochMs,
    /// None: of some realms he may see some secrets only, and those are not counted apart.
    pub counts: Option<OverviewCounts>,
    /// Those that have failed for longest come first.
    pub failing: Vec<(TokenRecord, State)>,
    /// Those that are due first come first.
    pub due: Vec<TokenRecord>,
}

#[derive(Debug)]
pub struct OverviewCounts {
    /// Each state, also where nothing is in it.
    pub states: Vec<(State, i64)>,
    /// Of all realms together, oldest first; an hour in which nothing was attempted is left out.
    pub hours: Vec<HourOfAttempts>,
}

/// Reads overviews, and keeps the last.
pub struct OverviewReader {
    database: Database,
    clock: SharedClock,
    kept: Kept<AllSecrets>,
}

impl OverviewReader {
    pub fn new(database: Database, clock: SharedClock) -> Self {
        Self {
            database,
            kept: Kept::new(clock.clone()),
            clock,
        }
    }

    /// What somebody may see.
    ///
    /// # Errors
    /// Where the database cannot be asked.
    pub async fn overview(&self, coverage: &Coverage) -> Result<Overview, DbError> {
        let read = self.kept.get(self.read()).await?;
        let is_fixed = |realm: &RealmId| read.fixed.contains(realm);
        let covered =
            |record: &&TokenRecord| coverage.secret(record.realm.as_str(), record.key.as_str());
        let failing = read.failing.iter().filter(covered).take(SHOWN_MAX);
        let due = read.due.iter().filter(covered).take(SHOWN_MAX);
        Ok(Overview {
            at: read.at,
            counts: coverage.keys.is_none().then(|| read.counts(coverage)),
            failing: failing
                .map(|record| {
                    let state = State::of(record, is_fixed(&record.realm), read.at);
                    (record.clone(), state)
                })
                .collect(),
            due: due.cloned().collect(),
        })
    }

    async fn read(&self) -> Result<AllSecrets, DbError> {
        let (reader, now) = (self.database.reader(), self.clock.now());
        Ok(AllSecrets {
            at: now,
            realms: summary::by_realm(reader, now).await?,
            fixed: realms::fixed_ids(reader).await?.into_iter().collect(),
            failing: listing::longest_failing(reader, KEPT_MAX).await?,
            due: listing::due_next(reader, KEPT_MAX).await?,
            hours: history::by_hour(reader, now.minus(COUNTED_FOR)).await?,
        })
    }
}

impl AllSecrets {
    fn counts(&self, coverage: &Coverage) -> OverviewCounts {
        let mut states: Vec<_> = State::ALL.iter().map(|state| (*state, 0)).collect();
        let realms = self.realms.iter();
        let covered = realms.filter(|of| coverage.realm(of.realm.as_str()));
        for of in covered {
            for (state, _, count) in of.counts(self.fixed.contains(&of.realm)) {
                if let Some((_, sum)) = states.iter_mut().find(|(other, _)| *other == state) {
                    *sum += count;
                }
            }
        }
        let mut hours: Vec<HourOfAttempts> = Vec::new();
        let covered = self.hours.iter();
        // In their order already.
        for hour in covered.filter(|hour| coverage.realm(hour.realm.as_str())) {
            match hours
                .last_mut()
                .filter(|last| last.begins_at == hour.begins_at)
            {
                Some(last) => last.add(hour),
                None => hours.push(hour.clone()),
            }
        }
        OverviewCounts { states, hours }
    }
}
