//! Leases: a replica's exclusive, expiring, fenced right to renew one token.
//!
//! A claim raises the fence; a result is stored only under the fence it was claimed with.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use sea_orm::{ColumnTrait, Condition, ConnectionTrait, DbErr, EntityTrait, QueryFilter};
use token_server_entity::token::{Column, Entity};
use token_server_entity::{secret, token};

use super::TokenRecord;
use super::claim::{Claim, Claimed, RefreshTokenRisk, Seen};
use super::due::Wanted;
use super::locked::{Busy, Locked, lock, lock_one, with_ids, write};
use crate::foundation::clock::{Deadline, EpochMs};
use crate::foundation::database::padded;
use crate::foundation::ids::{AttemptId, Fence, ReplicaId, SecretId};
use crate::realm::store as realm_store;

/// Under which condition tokens are claimed. It is checked again once their rows are locked.
#[derive(Clone, Debug)]
pub enum ClaimCondition {
    /// Due, and held by nobody.
    Due(Vec<SecretId>),
    /// Held by nobody, and as a caller has seen it: what was attempted meanwhile, with
    /// whatever outcome, is not attempted again.
    AsSeen(Seen),
    /// The same, and a caller reported the token as refused: it must be replaced, not repeated.
    Reported(Seen),
    /// Chosen by an operator, due or not; held by nobody, and still as it was wanted.
    Wanted(Vec<SecretId>, Wanted),
    /// Held by a replica that was watched and gave no sign of life under this fence.
    Abandoned(SecretId, Fence),
}

impl ClaimCondition {
    fn ids(&self) -> Vec<SecretId> {
        match self {
            Self::Due(ids) | Self::Wanted(ids, _) => ids.clone(),
            Self::AsSeen(seen) | Self::Reported(seen) => vec![seen.id],
            Self::Abandoned(id, _) => vec![*id],
        }
    }

    fn filter(&self, now: EpochMs) -> Condition {
        let these = with_ids(&self.ids());
        let free = || these.clone().add(Column::LeaseOwner.is_null());
        match self {
            Self::Due(_) => free().add(Column::RenewAt.lte(now)),
            Self::Wanted(_, wanted) => free().add(wanted.filter()),
            Self::AsSeen(seen) | Self::Reported(seen) => free()
                .add(Column::Fence.eq(seen.fence.0))
                .add(Column::Generation.eq(seen.generation.0))
                .add(Column::Failures.eq(seen.failures))
                .add(Column::Paused.eq(false)),
            Self::Abandoned(_, fence) => these
                .add(Column::Fence.eq(fence.0))
                .add(Column::LeaseUntil.lt(now)),
        }
    }

    fn busy(&self) -> Busy {
        match self {
            Self::AsSeen(_) | Self::Reported(_) => Busy::Await,
            Self::Due(_) | Self::Wanted(..) | Self::Abandoned(..) => Busy::LeaveOut,
        }
    }
}

/// Claims what still meets its condition, inside a transaction; act on it only after COMMIT.
pub async fn claim(
    database: &impl ConnectionTrait,
    condition: &ClaimCondition,
    claim: &Claim,
) -> Result<Vec<Claimed>, DbErr> {
    let mut rows = lock(database, condition.filter(claim.now), condition.busy()).await?;
    for row in &mut rows {
        match condition {
            ClaimCondition::Abandoned(..) => row.end_lease(RefreshTokenRisk::Awaited),
            ClaimCondition::Reported(_) => row.force(true),
            ClaimCondition::Due(_) | ClaimCondition::Wanted(..) | ClaimCondition::AsSeen(_) => {}
        }
        row.claim(claim);
    }
    write(database, &rows).await?;
    let claimed = rows.into_iter().map(Locked::into_row).collect();
    with_neighbours(database, claimed, claim.lease).await
}

/// What a claim has claimed, where nobody knows whether it was committed.
pub async fn claimed_by(
    database: &impl ConnectionTrait,
    condition: &ClaimCondition,
    claim: &Claim,
) -> Result<Vec<Claimed>, DbErr> {
    let mut rows = Entity::find()
        .filter(with_ids(&condition.ids()))
        .all(database)
        .await?;
    rows.retain(|row| {
        row.lease_owner.is_some()
            && row.claim_id == Some(claim.id.attempt(SecretId(row.secret_id)).0)
    });
    with_neighbours(database, rows, claim.lease).await
}

/// With what an attempt needs beside the token.
async fn with_neighbours(
    database: &impl ConnectionTrait,
    tokens: Vec<token::Model>,
    lease: Deadline,
) -> Result<Vec<Claimed>, DbErr> {
    if tokens.is_empty() {
        return Ok(Vec::new());
    }
    let ids = padded(tokens.iter().map(|row| row.secret_id));
    let names: BTreeSet<_> = tokens.iter().map(|row| row.realm_id.as_str()).collect();
    let secrets = secret::Entity::find()
        .filter(secret::Column::Id.is_in(ids))
        .all(database)
        .await?;
    let realms = realm_store::find_all(database, names).await?;
    let mut secrets: HashMap<_, _> = secrets.into_iter().map(|row| (row.id, row)).collect();
    let realms: HashMap<_, _> = realms
        .into_iter()
        .map(|row| (row.id.clone(), Arc::new(row)))
        .collect();
    let with_neighbours = |row: token::Model| {
        Some(Claimed {
            secret: secrets.remove(&row.secret_id)?,
            realm: realms.get(&row.realm_id)?.clone(),
            attempt: AttemptId(row.claim_id.clone()?),
            until: row.lease_until?,
            lease,
            record: TokenRecord::from_row(row),
        })
    };
    Ok(tokens.into_iter().filter_map(with_neighbours).collect())
}

/// Gives a lease back without a result; what is due stays due.
pub async fn release(database: &impl ConnectionTrait, claimed: &Claimed) -> Result<(), DbErr> {
    release_at_risk(database, claimed, RefreshTokenRisk::None).await
}

/// Gives a lease back whose failure could not be stored: the refresh token may be used up all
/// the same.
pub async fn release_at_risk(
    database: &impl ConnectionTrait,
    claimed: &Claimed,
    risk: RefreshTokenRisk,
) -> Result<(), DbErr> {
    let Some(mut row) = held(database, claimed).await? else {
        return Ok(());
    };
    // Where a newer token has come there is nothing to be lost any more.
    let newer = row.generation() != claimed.record.generation;
    row.end_lease(if newer { RefreshTokenRisk::None } else { risk });
    write(database, &[row]).await
}

/// Gives a lease back because the report it was taken for is beyond its budget: the token
/// is not to be replaced.
pub async fn refuse_report(
    database: &impl ConnectionTrait,
    claimed: &Claimed,
) -> Result<(), DbErr> {
    let Some(mut row) = held(database, claimed).await? else {
        return Ok(());
    };
    row.end_lease(RefreshTokenRisk::None);
    row.force(false);
    write(database, &[row]).await
}

/// The row, locked, if the lease is still the one that was claimed.
async fn held(database: &impl ConnectionTrait, claimed: &Claimed) -> Result<Option<Locked>, DbErr> {
    let row = lock_one(database, claimed.record.secret_id).await?;
    Ok(row.filter(|row| row.is_held_by(claimed)))
}

/// Gives back what an earlier process of this replica left over, or what this one leaves
/// behind, but for attempts whose result will be brought later. Nobody will bring what the
/// others obtained: the next attempt is due.
pub async fn release_all_of(
    database: &impl ConnectionTrait,
    owner: &ReplicaId,
    except: &[AttemptId],
    now: EpochMs,
) -> Result<usize, DbErr> {
    let of_owner = Condition::all()
        .add(Column::LeaseUntil.is_not_null())
        .add(Column::LeaseOwner.eq(owner.0.as_str()));
    let mut rows = lock(database, of_owner, Busy::Await).await?;
    rows.retain(|row| !except.iter().any(|attempt| row.is_claimed_by(attempt)));
    for row in &mut rows {
        row.end_lease(RefreshTokenRisk::Lost);
        row.due(Some(now));
    }
    write(database, &rows).await?;
    Ok(rows.len())
}
