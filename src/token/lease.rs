//! Leases: a replica's exclusive, expiring, fenced right to renew one token.
//!
//! A claim raises the fence; a result is stored only under the fence it was claimed with,
//! and only if secret and realm are still the versions it was obtained with.

use sea_orm::sea_query::{CaseStatement, Expr, ExprTrait, Query, SimpleExpr};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, DbErr, EntityTrait, QueryFilter, UpdateMany,
};
use token_server_entity::token::{Column, Entity};
use token_server_entity::{realm, secret, token};

use super::lost::{Unclear, but_for, is_awaited, lost, nothing_lost};
use super::{Announced, HeldRefresh, HeldToken, TokenRecord, Wait, Waiting, candidate};
use crate::foundation::clock::EpochMs;
use crate::foundation::database::padded;
use crate::foundation::ids::{AttemptId, ClaimId, Fence, Generation, ReplicaId, SecretId, Version};
use crate::realm::failure::Failure;

/// Who holds a token, and until when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    pub owner: String,
    pub until: EpochMs,
}

/// What a claim writes.
#[derive(Clone, Debug)]
pub struct Claim {
    pub owner: ReplicaId,
    pub id: ClaimId,
    pub now: EpochMs,
    pub until: EpochMs,
}

/// Under which condition tokens are claimed. It is checked again in the claim itself.
#[derive(Clone, Debug)]
pub enum Ground {
    /// Due, and held by nobody.
    Due(Vec<SecretId>),
    /// Held by nobody, and as a caller has seen it: what was attempted meanwhile, with
    /// whatever outcome, is not attempted again.
    Asked(Seen),
    /// The same, and a caller reported the token as refused: it must be replaced, not repeated.
    Reported(Seen),
    /// Chosen by an operator, due or not; held by nobody.
    Chosen(Vec<SecretId>),
    /// Held by a replica that was watched and gave no sign of life under this fence.
    Abandoned(SecretId, Fence),
}

/// What a caller has seen of a token. A claim raises the fence, its end the generation or
/// the failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    pub id: SecretId,
    pub fence: Fence,
    pub generation: Generation,
    pub failures: i64,
}

/// A claimed token, with everything an attempt needs.
#[derive(Clone, Debug)]
pub struct Claimed {
    pub record: TokenRecord,
    pub secret: secret::Model,
    pub realm: realm::Model,
    pub attempt: AttemptId,
    pub until: EpochMs,
}

/// Claims what still meets its ground, inside a transaction; read it back by
/// [`claimed_by`] on the same connection and act only after COMMIT.
pub async fn claim(
    database: &impl ConnectionTrait,
    ground: &Ground,
    claim: &Claim,
) -> Result<(), DbErr> {
    let condition = match ground {
        Ground::Due(ids) => chosen(ids).add(Column::RenewAt.lte(claim.now)),
        Ground::Chosen(ids) => chosen(ids).add(Column::RenewAt.is_not_null()),
        Ground::Asked(seen) | Ground::Reported(seen) => chosen(&[seen.id])
            .add(Column::Fence.eq(seen.fence.0))
            .add(Column::Generation.eq(seen.generation.0))
            .add(Column::Failures.eq(seen.failures))
            .add(Column::Paused.eq(false)),
        Ground::Abandoned(id, fence) => Condition::all()
            .add(Column::SecretId.eq(id.0))
            .add(Column::Fence.eq(fence.0))
            .add(Column::LeaseUntil.lt(claim.now)),
    };
    let ids = match ground {
        Ground::Asked(seen) | Ground::Reported(seen) => vec![seen.id],
        // Who stands still in a transaction holds up no other token.
        Ground::Due(_) | Ground::Chosen(_) | Ground::Abandoned(..) => {
            super::store::not_locked(database, condition.clone()).await?
        }
    };
    if ids.is_empty() {
        return Ok(());
    }
    let ids = padded(ids);
    let attempts = ids.iter().fold(CaseStatement::new(), |attempts, id| {
        attempts.case(Column::SecretId.eq(id.0), claim.id.attempt(*id).0)
    });
    let update = match ground {
        Ground::Abandoned(..) => lost(true),
        Ground::Reported(_) => Entity::update_many().col_expr(Column::Forced, Expr::value(true)),
        Ground::Due(_) | Ground::Chosen(_) | Ground::Asked(_) => Entity::update_many(),
    };
    update
        .col_expr(Column::LeaseOwner, Expr::value(claim.owner.0.clone()))
        .col_expr(Column::LeaseUntil, Expr::value(claim.until))
        .col_expr(Column::ClaimId, attempts.into())
        .col_expr(Column::Fence, Expr::col(Column::Fence).add(1))
        .col_expr(Column::LastAttemptAt, Expr::value(claim.now))
        .filter(Column::SecretId.is_in(ids.iter().map(|id| id.0)))
        .filter(condition)
        .exec(database)
        .await
        .map(|_| ())
}

fn chosen(ids: &[SecretId]) -> Condition {
    Condition::all()
        .add(Column::SecretId.is_in(padded(ids.iter().map(|id| id.0))))
        .add(Column::LeaseOwner.is_null())
}

/// What a claim has claimed.
pub async fn claimed_by(
    database: &impl ConnectionTrait,
    claim: &ClaimId,
) -> Result<Vec<Claimed>, DbErr> {
    // No LIKE: SQLite would read every row.
    let (first, end) = claim.ends();
    let tokens = Entity::find()
        .filter(Column::ClaimId.gte(first))
        .filter(Column::ClaimId.lt(end))
        .filter(Column::LeaseOwner.is_not_null())
        .all(database)
        .await?;
    let ids = padded(tokens.iter().map(|row| row.secret_id));
    let names = padded(tokens.iter().map(|row| row.realm_id.as_str()));
    let secrets = secret::Entity::find()
        .filter(secret::Column::Id.is_in(ids))
        .all(database)
        .await?;
    let realms = realm::Entity::find()
        .filter(realm::Column::Id.is_in(names))
        .all(database)
        .await?;
    let with_neighbours = |row: token::Model| {
        Some(Claimed {
            secret: secrets.iter().find(|s| s.id == row.secret_id)?.clone(),
            realm: realms.iter().find(|r| r.id == row.realm_id)?.clone(),
            attempt: AttemptId(row.claim_id.clone()?),
            until: row.lease_until?,
            record: TokenRecord::from_row(row),
        })
    };
    Ok(tokens.into_iter().filter_map(with_neighbours).collect())
}

/// Whether the provider issued a new token or repeated the stored one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Novelty {
    New,
    Repeated,
}

impl Novelty {
    /// The generation that a token has in the place of one.
    pub fn after(self, generation: Generation) -> Generation {
        match self {
            Self::New => Generation(generation.0 + 1),
            Self::Repeated => generation,
        }
    }
}

/// What an attempt does to the refresh token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RefreshChange {
    /// The answer held none.
    Keep,
    /// The provider refused it, and the main request did without.
    Forget,
    Replace(HeldRefresh),
}

/// A result, ready to be stored.
#[derive(Clone, Debug)]
pub struct Stored {
    pub held: HeldToken,
    pub refresh: RefreshChange,
    pub novelty: Novelty,
    pub renew_at: Option<EpochMs>,
}

/// Stores a token whose row is locked; [`super::store::are_stored`] follows. A repeated one
/// keeps its generation. False where the lease was lost, or secret or realm have changed.
pub async fn store_token(
    database: &impl ConnectionTrait,
    claimed: &Claimed,
    new: &Stored,
    now: EpochMs,
) -> Result<bool, DbErr> {
    let update = untroubled(released(claimed));
    let update = new_token(update, &new.held, new.renew_at, now);
    let update = match new.novelty {
        Novelty::New => raised(update),
        // Unless a newer one was stored meanwhile.
        Novelty::Repeated => update.filter(Column::Generation.eq(claimed.record.generation.0)),
    };
    let update = match &new.refresh {
        RefreshChange::Keep => update,
        RefreshChange::Forget => new_refresh(update, None),
        RefreshChange::Replace(refresh) => new_refresh(update, Some(refresh)),
    };
    let stored = update.filter(same_versions(claimed)).exec(database).await?;
    if stored.rows_affected != 1 {
        return Ok(false);
    }
    let id = claimed.record.secret_id;
    if matches!(new.refresh, RefreshChange::Replace(_)) {
        candidate::forget_before(database, id, claimed.record.generation).await?;
    }
    Ok(true)
}

pub(super) fn raised(update: UpdateMany<Entity>) -> UpdateMany<Entity> {
    update.col_expr(Column::Generation, Expr::col(Column::Generation).add(1))
}

/// Puts a token in the place of the one before.
pub(super) fn new_token(
    update: UpdateMany<Entity>,
    held: &HeldToken,
    renew_at: Option<EpochMs>,
    now: EpochMs,
) -> UpdateMany<Entity> {
    let (served, per_read) = held.serving.columns();
    update
        .col_expr(Column::Token, Expr::value(held.sealed.clone()))
        .col_expr(Column::TokenType, Expr::value(held.token_type.clone()))
        .col_expr(Column::Served, Expr::value(served))
        .col_expr(Column::PerRead, Expr::value(per_read))
        .col_expr(Column::Extra, Expr::value(held.extra.clone()))
        .col_expr(Column::ExpiresAt, Expr::value(held.expiry.at()))
        .col_expr(Column::ObtainedAt, Expr::value(held.obtained_at))
        .col_expr(Column::Forced, Expr::value(false))
        .col_expr(Column::RenewAt, unless_paused(renew_at))
        .col_expr(Column::UpdatedAt, Expr::value(now))
}

pub(super) fn new_refresh(
    update: UpdateMany<Entity>,
    refresh: Option<&HeldRefresh>,
) -> UpdateMany<Entity> {
    let sealed = refresh.map(|refresh| refresh.sealed.clone());
    let expires_at = refresh.and_then(|refresh| refresh.expires_at);
    update
        .col_expr(Column::RefreshToken, Expr::value(sealed))
        .col_expr(Column::RefreshExpiresAt, Expr::value(expires_at))
}

/// Forgets what went wrong, and what was waited for.
pub(super) fn untroubled(update: UpdateMany<Entity>) -> UpdateMany<Entity> {
    let nothing = || Expr::value(None::<String>);
    nothing_lost(update)
        .col_expr(Column::Failures, Expr::value(0_i64))
        .col_expr(Column::FailingSince, Expr::value(None::<EpochMs>))
        .col_expr(Column::FailureClass, nothing())
        .col_expr(Column::FailureDetail, nothing())
        .col_expr(Column::Announced, nothing())
        .col_expr(Column::Waiting, nothing())
        .col_expr(Column::WaitsFor, Expr::value(None::<i64>))
}

/// What a failure leaves behind.
#[derive(Clone, Debug)]
pub struct StoredFailure<'a> {
    pub failure: &'a Failure,
    /// Whose next token ends the wait.
    pub parent: Option<SecretId>,
    pub renew_at: EpochMs,
    pub unclear: Unclear,
    /// What the webhook is told of it; none: nothing new.
    pub announced: Option<Announced>,
}

/// Stores a failure and when to try again. False as for [`store_token`], and where a newer
/// token has come meanwhile.
pub async fn store_failure(
    database: &impl ConnectionTrait,
    claimed: &Claimed,
    new: &StoredFailure<'_>,
    now: EpochMs,
) -> Result<bool, DbErr> {
    let since = Expr::col(Column::FailingSince).if_null(Expr::value(now));
    let update = match new.unclear {
        Unclear::No => released(claimed),
        Unclear::Lost => released_of(lost(false), claimed),
        Unclear::Awaited => released_of(lost(true), claimed),
    };
    let failure = new.failure;
    let update = match new.announced {
        Some(announced) => update.col_expr(Column::Announced, Expr::value(announced.as_str())),
        None => update,
    };
    let stored = update
        .col_expr(Column::RenewAt, unless_paused(Some(new.renew_at)))
        .col_expr(Column::Failures, Expr::col(Column::Failures).add(1))
        .col_expr(Column::FailingSince, since)
        .col_expr(Column::FailureClass, Expr::value(failure.class.as_str()))
        .col_expr(Column::FailureDetail, Expr::value(failure.detail.clone()))
        .col_expr(Column::Waiting, Expr::value(None::<String>))
        .col_expr(
            Column::WaitsFor,
            Expr::value(new.parent.map(|parent| parent.0)),
        )
        .col_expr(Column::UpdatedAt, Expr::value(now))
        .filter(Column::Generation.eq(claimed.record.generation.0))
        .filter(same_versions(claimed))
        .exec(database)
        .await?;
    Ok(stored.rows_affected == 1)
}

/// Gives a lease back because something must come first; due again at `renew_at`, or when
/// that has come. False as for [`store_token`].
pub async fn store_waiting(
    database: &impl ConnectionTrait,
    claimed: &Claimed,
    waiting: &Waiting,
    renew_at: EpochMs,
    now: EpochMs,
) -> Result<bool, DbErr> {
    let (mut renew_at, mut parent) = (renew_at, None);
    if let Wait::Parent(awaited) = waiting.until {
        parent = Some(awaited.id.0);
        // Its token may have come meanwhile, and has woken whoever waited by then.
        let generation = super::store::generation_locked(database, awaited.id).await?;
        if generation.is_some_and(|generation| generation > awaited.generation) {
            renew_at = now;
        }
    }
    if let Wait::Candidate(_) = waiting.until
        && !is_awaited(database, claimed.record.secret_id).await?
    {
        // It has come meanwhile, or will not.
        renew_at = now;
    }
    let stored = released(claimed)
        .col_expr(Column::RenewAt, unless_paused(Some(renew_at)))
        .col_expr(Column::Waiting, Expr::value(waiting.why.clone()))
        .col_expr(Column::WaitsFor, Expr::value(parent))
        .filter(Column::Generation.eq(claimed.record.generation.0))
        .filter(same_versions(claimed))
        .exec(database)
        .await?;
    Ok(stored.rows_affected == 1)
}

/// Gives a lease back whose failure could not be stored: the refresh token may be used up all
/// the same.
pub async fn release_unclear(
    database: &impl ConnectionTrait,
    claimed: &Claimed,
    unclear: Unclear,
) -> Result<(), DbErr> {
    let lost = match unclear {
        Unclear::No => return release(database, claimed).await,
        Unclear::Lost => lost(false),
        Unclear::Awaited => lost(true),
    };
    let marked = released_of(lost, claimed)
        .filter(Column::Generation.eq(claimed.record.generation.0))
        .exec(database)
        .await?;
    if marked.rows_affected == 1 {
        return Ok(());
    }
    // A newer token has come: there is nothing to be lost any more.
    release(database, claimed).await
}

/// Gives a lease back without a result; what is due stays due.
pub async fn release(database: &impl ConnectionTrait, claimed: &Claimed) -> Result<(), DbErr> {
    released(claimed).exec(database).await.map(|_| ())
}

/// Ends the lease of an attempt whose result is kept.
pub(super) async fn end(
    database: &impl ConnectionTrait,
    id: SecretId,
    attempt: &AttemptId,
) -> Result<(), DbErr> {
    ended(Entity::update_many())
        .filter(Column::SecretId.eq(id.0))
        .filter(Column::ClaimId.eq(attempt.0.as_str()))
        .exec(database)
        .await
        .map(|_| ())
}

/// Gives a lease back because the report it was taken for is beyond its budget: the token
/// is not to be replaced.
pub async fn refuse_report(
    database: &impl ConnectionTrait,
    claimed: &Claimed,
) -> Result<(), DbErr> {
    released(claimed)
        .col_expr(Column::Forced, Expr::value(false))
        .exec(database)
        .await
        .map(|_| ())
}

/// Gives back what an earlier process of this replica left over, or what this one leaves
/// behind, but for attempts whose result will be brought later. Nobody will bring what the
/// others obtained: the next attempt is due.
pub async fn release_all_of(
    database: &impl ConnectionTrait,
    owner: &ReplicaId,
    except: &[AttemptId],
    now: EpochMs,
) -> Result<u64, DbErr> {
    let of_owner = lost(false)
        .filter(Column::LeaseUntil.is_not_null())
        .filter(Column::LeaseOwner.eq(owner.0.as_str()));
    let released = ended(but_for(of_owner, Column::ClaimId, except))
        .col_expr(Column::RenewAt, unless_paused(Some(now)))
        .exec(database)
        .await?;
    Ok(released.rows_affected)
}

fn ended(update: UpdateMany<Entity>) -> UpdateMany<Entity> {
    update
        .col_expr(Column::LeaseOwner, Expr::value(None::<String>))
        .col_expr(Column::LeaseUntil, Expr::value(None::<EpochMs>))
        .col_expr(Column::ClaimId, Expr::value(None::<String>))
}

/// Ends the lease, if it is still the one that was claimed.
fn released(claimed: &Claimed) -> UpdateMany<Entity> {
    released_of(Entity::update_many(), claimed)
}

fn released_of(update: UpdateMany<Entity>, claimed: &Claimed) -> UpdateMany<Entity> {
    ended(update)
        .filter(Column::SecretId.eq(claimed.record.secret_id.0))
        .filter(Column::Fence.eq(claimed.record.fence.0))
        .filter(Column::ClaimId.eq(claimed.attempt.0.as_str()))
}

fn same_versions(claimed: &Claimed) -> Condition {
    versions_are(
        claimed.record.secret_id,
        Version(claimed.secret.version),
        Version(claimed.realm.version),
    )
}

/// Secret and realm are still of these versions.
pub(super) fn versions_are(id: SecretId, of_secret: Version, of_realm: Version) -> Condition {
    let same_secret = Query::select()
        .expr(Expr::val(1))
        .from(secret::Entity)
        .and_where(secret::Column::Id.eq(id.0))
        .and_where(secret::Column::Version.eq(of_secret.0))
        .to_owned();
    let same_realm = Query::select()
        .expr(Expr::val(1))
        .from(realm::Entity)
        .and_where(Expr::col((realm::Entity, realm::Column::Id)).equals((Entity, Column::RealmId)))
        .and_where(realm::Column::Version.eq(of_realm.0))
        .to_owned();
    Condition::all()
        .add(Expr::exists(same_secret))
        .add(Expr::exists(same_realm))
}

/// A secret that was paused meanwhile stays without a date.
pub(super) fn unless_paused(renew_at: Option<EpochMs>) -> SimpleExpr {
    CaseStatement::new()
        .case(Column::Paused.eq(false), Expr::value(renew_at))
        .finally(Expr::value(None::<EpochMs>))
        .into()
}
