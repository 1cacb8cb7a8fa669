//! Results within a transaction, and what follows from them.

use std::collections::HashMap;

use sea_orm::{DatabaseTransaction, DbErr};

use super::new::NewResult;
use crate::foundation::clock::EpochMs;
use crate::foundation::ids::{Generation, RealmId};
use crate::foundation::randomness::Randomness;
use crate::foundation::sealing::KeyRing;
use crate::realm::store as realm_store;
use crate::renewal::history;
use crate::token::claim::Claimed;
use crate::token::locked::Busy;
use crate::token::results;
use crate::token::{TokenRecord, store};
use crate::webhook::event;

/// Stores results, and what follows from them. Answers the generations of their tokens
/// then; none where the lease was lost, or secret or realm have changed, or where a row is
/// left out because somebody else is changing it.
pub(super) async fn store_in(
    transaction: &DatabaseTransaction,
    results: &[(&Claimed, &NewResult)],
    busy: Busy,
    now: EpochMs,
    (ring, randomness): (&KeyRing, &Randomness),
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
    let stored = results::store(transaction, &updates, busy, ring, now).await?;
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
    event::append(transaction, &events, randomness, now).await?;
    store::are_stored(transaction, &ids, now).await?;
    history::append(transaction, &entries).await?;
    Ok(generations)
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
pub(super) async fn stored_before(
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
