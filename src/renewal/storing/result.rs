//! What an attempt brought, on its way to the database: with what other attempts brought where
//! nothing is in the way, else alone.

use std::collections::HashMap;
use std::sync::Arc;

use sea_orm::{DatabaseTransaction, DbErr};

use super::failure::NewFailure;
use super::token::NewToken;
use crate::foundation::clock::EpochMs;
use crate::foundation::database::DbError;
use crate::foundation::ids::{Generation, RealmId};
use crate::realm::failure::Failure;
use crate::realm::store as realm_store;
use crate::renewal::Renewals;
use crate::renewal::history::{self, Ended, Entry, Outcome};
use crate::token::candidate::{Candidate, Promotion};
use crate::token::lease::{self, Claimed};
use crate::token::locked::Busy;
use crate::token::lost::Unclear;
use crate::token::results::{self, Update};
use crate::token::{TokenRecord, store};
use crate::webhook::event::{self, Event};

/// A token or a failure, ready to be stored.
#[derive(Clone)]
pub(super) enum NewResult {
    Token(Arc<NewToken>),
    Failure(Arc<NewFailure>),
}

/// Where a result is, once it was brought to the database.
pub(super) enum Put {
    /// In its place. The token is of this generation then.
    Stored(Generation),
    /// The lease was lost, or secret or realm have changed: what must not be dropped is kept
    /// nevertheless.
    Kept(Promotion),
    /// Nowhere, for the same reasons: the provider can be asked again.
    Refused,
}

impl NewResult {
    fn update(&self) -> Update<'_> {
        match self {
            Self::Token(new) => Update::Token(&new.stored),
            Self::Failure(new) => Update::Failure(&new.stored),
        }
    }

    fn entry(&self) -> &Entry {
        match self {
            Self::Token(new) => &new.entry,
            Self::Failure(new) => &new.entry,
        }
    }

    fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Token(_) => None,
            Self::Failure(new) => Some(&new.stored.failure),
        }
    }

    /// What it may leave unknown of the refresh token.
    fn unclear(&self) -> Unclear {
        match self {
            Self::Token(_) => Unclear::No,
            Self::Failure(new) => new.stored.unclear,
        }
    }

    /// For the history; of what was stored with the generation of its token, else void.
    fn ended(&self, stored: Option<Generation>) -> Ended<'_> {
        let (outcome, generation) = match (self, stored) {
            (_, None) => (Outcome::Discarded, None),
            (Self::Token(_), Some(generation)) => (Outcome::Stored, Some(generation)),
            (Self::Failure(_), Some(_)) => (Outcome::Failed, None),
        };
        Ended {
            entry: self.entry(),
            outcome,
            failure: self.failure(),
            generation,
        }
    }

    /// Until when its whole realm has to wait.
    fn blocks_until(&self) -> Option<EpochMs> {
        match self {
            Self::Failure(new) if new.stored.failure.blocks_realm() => Some(new.stored.renew_at),
            Self::Failure(_) | Self::Token(_) => None,
        }
    }

    /// What the webhook is told of it.
    fn event(&self, before: &TokenRecord) -> Option<Event<'_>> {
        match self {
            Self::Token(new) => event::of_recovery(before, new.stored.held.expiry),
            Self::Failure(new) => new.event(),
        }
    }
}

impl Renewals {
    /// Brings a result to the database for as long as its lease lasts.
    pub(super) async fn bring(
        &self,
        claimed: &Arc<Claimed>,
        new: &NewResult,
        candidate: Option<&Candidate>,
    ) -> Result<Put, DbError> {
        let mut among_others = true;
        self.until_lease_ends(claimed, candidate, || {
            // What was in the way of one try is not to be in the way of others again.
            let among_others = std::mem::take(&mut among_others);
            self.put(claimed, new, candidate, among_others)
        })
        .await
    }

    async fn put(
        &self,
        claimed: &Arc<Claimed>,
        new: &NewResult,
        candidate: Option<&Candidate>,
        among_others: bool,
    ) -> Result<Put, DbError> {
        if among_others && let Some(generation) = self.store_among_others(claimed, new).await {
            return Ok(Put::Stored(generation));
        }
        self.put_alone(claimed, new, candidate).await
    }

    /// All in one transaction: where the fence has moved, what must not be dropped is kept by
    /// the very commit that finds it so.
    async fn put_alone(
        &self,
        claimed: &Claimed,
        new: &NewResult,
        candidate: Option<&Candidate>,
    ) -> Result<Put, DbError> {
        let now = self.clock.now();
        let put = self
            .database
            .write(|transaction, _| {
                Box::pin(async move {
                    let result = [(claimed, new)];
                    let stored = self
                        .store_in(transaction, &result, Busy::Await, now)
                        .await?;
                    if let [Some(generation)] = stored[..] {
                        return Ok(Put::Stored(generation));
                    }
                    if let Some(generation) = stored_before(transaction, claimed, new).await? {
                        return Ok(Put::Stored(generation));
                    }
                    history::append(transaction, &[new.ended(None)]).await?;
                    lease::release_unclear(transaction, claimed, new.unclear()).await?;
                    match candidate {
                        Some(candidate) => {
                            let promotion = self.keep_in(transaction, candidate, now).await?;
                            Ok(Put::Kept(promotion))
                        }
                        None => Ok(Put::Refused),
                    }
                })
            })
            .await?;
        self.metrics.result_transactions.inc();
        Ok(put)
    }

    /// Stores results, and what follows from them. Answers the generations of their tokens
    /// then; none where the lease was lost, or secret or realm have changed, or where a row is
    /// left out because somebody else is changing it.
    pub(super) async fn store_in(
        &self,
        transaction: &DatabaseTransaction,
        results: &[(&Claimed, &NewResult)],
        busy: Busy,
        now: EpochMs,
    ) -> Result<Vec<Option<Generation>>, DbErr> {
        let left_out = realms_left_out(transaction, results, busy).await?;
        let is_left_out = |(claimed, new): &(&Claimed, &NewResult)| {
            new.blocks_until().is_some() && left_out.contains(&claimed.record.realm)
        };
        let updates: Vec<_> = results
            .iter()
            .filter(|result| !is_left_out(result))
            .map(|(claimed, new)| (*claimed, new.update()))
            .collect();
        if updates.is_empty() {
            return Ok(vec![None; results.len()]);
        }
        let stored = results::store(transaction, &updates, busy, now).await?;
        let mut stored = stored.into_iter();
        let generations: Vec<_> = results
            .iter()
            .map(|result| match is_left_out(result) {
                true => None,
                false => stored.next().flatten(),
            })
            .collect();
        let (mut ids, mut entries, mut events) = (Vec::new(), Vec::new(), Vec::new());
        let mut blocks = HashMap::<_, EpochMs>::new();
        for ((claimed, new), generation) in results.iter().zip(&generations) {
            if generation.is_none() {
                continue;
            }
            let record = &claimed.record;
            entries.push(new.ended(*generation));
            events.extend(new.event(record).map(|event| (event, record)));
            if let NewResult::Token(_) = new {
                ids.push(record.secret_id);
            }
            if let Some(until) = new.blocks_until() {
                let latest = blocks.entry(&record.realm).or_insert(until);
                *latest = until.max(*latest);
            }
        }
        for (realm, until) in blocks {
            realm_store::block(transaction, realm, until).await?;
        }
        event::append(transaction, &events, &self.randomness, now).await?;
        store::are_stored(transaction, &ids, now).await?;
        history::append(transaction, &entries).await?;
        Ok(generations)
    }
}

/// Realms that have to wait because of a failure, and that somebody else is changing just now.
/// The others are locked.
async fn realms_left_out(
    transaction: &DatabaseTransaction,
    results: &[(&Claimed, &NewResult)],
    busy: Busy,
) -> Result<Vec<RealmId>, DbErr> {
    let blocked = results
        .iter()
        .filter(|(_, new)| new.blocks_until().is_some());
    let mut blocked: Vec<_> = blocked
        .map(|(claimed, _)| claimed.record.realm.clone())
        .collect();
    if busy == Busy::Await || blocked.is_empty() {
        return Ok(Vec::new());
    }
    let locked = realm_store::lock_free(transaction, &blocked).await?;
    blocked.retain(|realm| !locked.contains(realm));
    Ok(blocked)
}

/// Whether a result was stored by a COMMIT whose answer was lost, and of which generation the
/// token is then.
async fn stored_before(
    transaction: &DatabaseTransaction,
    claimed: &Claimed,
    new: &NewResult,
) -> Result<Option<Generation>, DbErr> {
    let record = store::find_by_id(transaction, claimed.record.secret_id).await?;
    let is_stored = |record: &TokenRecord| match new {
        NewResult::Token(new) => record.held.as_ref() == Some(&new.stored.held),
        NewResult::Failure(new) => {
            let unclaimed = record.lease.is_none() && record.fence == claimed.record.fence;
            unclaimed && new.is_that_of(record)
        }
    };
    Ok(record.filter(is_stored).map(|record| record.generation))
}
