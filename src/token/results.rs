//! Results of attempts: stored only under the fence they were claimed with, and only if secret
//! and realm are still of the versions they were obtained with.

use std::collections::HashMap;

use sea_orm::{ConnectionTrait, DbErr};

use super::claim::{Claimed, RefreshTokenRisk, Seen};
use super::locked::{Busy, Locked, lock, lock_one, with_ids, write};
pub use super::novelty::Novelty;
use super::versions::{Versions, versions};
use super::{Announced, HeldRefresh, HeldToken, Wait, Waiting, candidate};
use crate::feed::{self, FeedChange};
use crate::foundation::clock::EpochMs;
use crate::foundation::ids::{Generation, SecretId, Version};
use crate::foundation::sealing::KeyRing;
use crate::realm::failure::Failure;

/// What an attempt does to the refresh token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RefreshChange {
    /// The answer held none.
    Keep,
    /// The provider refused it, and the main request did without.
    Forget,
    Replace(HeldRefresh),
}

/// A token, ready to be stored.
#[derive(Clone, Debug)]
pub struct TokenUpdate {
    pub held: HeldToken,
    pub refresh: RefreshChange,
    pub novelty: Novelty,
    pub renew_at: Option<EpochMs>,
}

/// What a failure leaves behind.
#[derive(Clone, Debug)]
pub struct StoredFailure {
    pub failure: Failure,
    /// Whose next token ends the wait.
    pub parent: Option<SecretId>,
    pub renew_at: EpochMs,
    pub needs_attention: bool,
    pub risk: RefreshTokenRisk,
    /// What the answer held nevertheless: the refresh token before it may be used up.
    pub refresh: Option<HeldRefresh>,
    /// What the webhook is told of it; none: nothing new.
    pub announced: Option<Announced>,
}

/// What a result changes.
#[derive(Clone, Copy, Debug)]
pub enum Update<'a> {
    Token(&'a TokenUpdate),
    Failure(&'a StoredFailure),
}

impl Update<'_> {
    /// Whether a token comes with a refresh token that takes the place of the one before.
    fn rotates(&self) -> bool {
        matches!(self, Self::Token(new) if matches!(new.refresh, RefreshChange::Replace(_)))
    }
}

/// Stores results. Answers the generations of their tokens then; none where the lease was lost,
/// or secret or realm have changed, where a newer token has come before a failure, or where the
/// row is left out because somebody else is changing it.
pub async fn store(
    database: &impl ConnectionTrait,
    results: &[(&Claimed, Update<'_>)],
    busy: Busy,
    ring: &KeyRing,
    now: EpochMs,
) -> Result<Vec<Option<Generation>>, DbErr> {
    let ids: Vec<_> = results.iter().map(|(by, _)| by.record.secret_id).collect();
    let rows = lock(database, with_ids(&ids), busy).await?;
    let mut rows: HashMap<_, _> = rows.into_iter().map(|row| (row.id(), row)).collect();
    let versions = versions(database, &ids).await?;
    let (mut stored, mut generations) = (Vec::new(), Vec::new());
    for (claimed, update) in results {
        let id = claimed.record.secret_id;
        let row = rows
            .remove(&id)
            .filter(|row| is_current(row, claimed, &versions));
        let put = row.and_then(|row| match update {
            Update::Token(new) => put_token(row, claimed, new, ring, now),
            Update::Failure(new) => put_failure(row, claimed, new, now),
        });
        generations.push(put.as_ref().map(Locked::generation));
        stored.extend(put);
    }
    write(database, &stored).await?;
    let failed = results.iter().zip(&generations);
    let failed = failed
        .filter(|((_, new), generation)| generation.is_some() && matches!(new, Update::Failure(_)));
    // Of tokens the feed is told by whoever stores them.
    let failed = failed.map(|((claimed, _), _)| FeedChange::State(claimed.record.secret_id));
    feed::append(database, &failed.collect::<Vec<_>>()).await?;
    let rotated = results.iter().zip(&generations);
    let rotated = rotated.filter(|((_, new), generation)| generation.is_some() && new.rotates());
    let rotated: Vec<_> = rotated
        .map(|((claimed, _), _)| (claimed.record.secret_id, claimed.record.generation))
        .collect();
    candidate::forget_before(database, &rotated).await?;
    Ok(generations)
}

/// A repeated token keeps its generation, and is not put over a newer one that was stored
/// meanwhile.
fn put_token(
    mut row: Locked,
    claimed: &Claimed,
    new: &TokenUpdate,
    ring: &KeyRing,
    now: EpochMs,
) -> Option<Locked> {
    let is_newer = row.generation() != claimed.record.generation;
    if new.novelty == Novelty::Repeated && is_newer {
        return None;
    }
    row.end_lease(RefreshTokenRisk::None);
    row.clear_failures();
    row.put(&new.held, new.novelty, ring, now);
    row.due(new.renew_at);
    match &new.refresh {
        RefreshChange::Keep => {}
        RefreshChange::Forget => row.put_refresh(None),
        RefreshChange::Replace(refresh) => row.put_refresh(Some(refresh)),
    }
    Some(row)
}

/// A failure, and when to try again; not where a newer token has come meanwhile.
fn put_failure(
    mut row: Locked,
    claimed: &Claimed,
    new: &StoredFailure,
    now: EpochMs,
) -> Option<Locked> {
    if row.generation() != claimed.record.generation {
        return None;
    }
    row.end_lease(new.risk);
    if let Some(refresh) = &new.refresh {
        row.nothing_lost();
        row.put_refresh(Some(refresh));
    }
    row.failed(&new.failure, new.needs_attention, new.parent, now);
    row.due(Some(new.renew_at));
    if let Some(announced) = new.announced {
        row.announce(announced);
    }
    Some(row)
}

/// Notes that a human is needed, without an attempt: what is stored says so. The token keeps its
/// date. False where anything has changed since it was seen, or somebody holds the lease.
pub async fn store_attention(
    database: &impl ConnectionTrait,
    seen: &Seen,
    of: (Version, Version),
    failure: &Failure,
    announced: Option<Announced>,
    now: EpochMs,
) -> Result<bool, DbErr> {
    let row = lock_one(database, seen.id).await?;
    let Some(mut row) = row.filter(|row| row.is_as_seen(seen)) else {
        return Ok(false);
    };
    if versions(database, &[seen.id]).await?.get(&seen.id) != Some(&of) {
        return Ok(false);
    }
    row.failed(failure, true, None, now);
    if let Some(announced) = announced {
        row.announce(announced);
    }
    write(database, &[row]).await?;
    feed::append(database, &[FeedChange::State(seen.id)]).await?;
    Ok(true)
}

/// What became of a wait that was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoredWait {
    Waits,
    /// What must come first has come meanwhile, or will not: it is due.
    Over,
}

/// Gives a lease back because something must come first; due again at `renew_at`, or when
/// that has come. None where the lease was lost, or something has changed since it was claimed.
pub async fn store_waiting(
    database: &impl ConnectionTrait,
    claimed: &Claimed,
    waiting: &Waiting,
    renew_at: EpochMs,
    now: EpochMs,
) -> Result<Option<StoredWait>, DbErr> {
    let Some(mut row) = unchanged(database, claimed).await? else {
        return Ok(None);
    };
    let (mut parent, mut has_come) = (None, false);
    match &waiting.until {
        Wait::Parent(awaited) => {
            parent = Some(awaited.id);
            // Its token may have come meanwhile, and has woken whoever waited by then.
            let row = lock_one(database, awaited.id).await?;
            has_come = row.is_some_and(|row| row.generation() > awaited.generation);
        }
        // It may have come meanwhile, or will not.
        Wait::Candidate(_) => has_come = !row.awaits_candidate(),
        Wait::Registration | Wait::Ticket(_) | Wait::Quota(_) | Wait::OtherServer(_) => {}
    }
    row.end_lease(RefreshTokenRisk::None);
    row.wait_for(&waiting.why, parent);
    row.due(Some(if has_come { now } else { renew_at }));
    write(database, &[row]).await?;
    Ok(Some(match has_come {
        true => StoredWait::Over,
        false => StoredWait::Waits,
    }))
}

/// The row, locked, if nothing has changed since it was claimed.
async fn unchanged(
    database: &impl ConnectionTrait,
    claimed: &Claimed,
) -> Result<Option<Locked>, DbErr> {
    let id = claimed.record.secret_id;
    let Some(row) = lock_one(database, id).await? else {
        return Ok(None);
    };
    let versions = versions(database, &[id]).await?;
    let same = row.generation() == claimed.record.generation;
    Ok(Some(row).filter(|row| same && is_current(row, claimed, &versions)))
}

fn is_current(row: &Locked, claimed: &Claimed, versions: &Versions) -> bool {
    row.is_held_by(claimed) && versions.get(&row.id()) == Some(&claimed.versions())
}
