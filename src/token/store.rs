//! Token rows in the database: looking up, making, rescheduling, deleting.

use sea_orm::sea_query::Expr;
use sea_orm::{
    ActiveValue::Set, ColumnTrait, Condition, ConnectionTrait, DbErr, EntityTrait, QueryFilter,
};
use token_server_entity::token::{self, Column, Entity};

use super::claim::Seen;
use super::expiry::Expiry;
use super::locked::{lock_one, write};
use super::novelty::Novelty;
use super::{HeldToken, SealedPayload, Serving, TokenRecord, retired};
use crate::feed::{self, FeedChange};
use crate::foundation::clock::EpochMs;
use crate::foundation::database::padded;
use crate::foundation::ids::{Generation, KeyName, RealmId, SecretId};
use crate::foundation::sealing::{KeyRing, Sealed};

pub async fn find(
    database: &impl ConnectionTrait,
    realm: &RealmId,
    key: &KeyName,
) -> Result<Option<TokenRecord>, DbErr> {
    let row = Entity::find()
        .filter(Column::RealmId.eq(realm.as_str()))
        .filter(Column::KeyName.eq(key.as_str()))
        .one(database)
        .await?;
    Ok(row.map(TokenRecord::from_row))
}

pub async fn find_by_id(
    database: &impl ConnectionTrait,
    id: SecretId,
) -> Result<Option<TokenRecord>, DbErr> {
    let row = Entity::find_by_id(id.0).one(database).await?;
    Ok(row.map(TokenRecord::from_row))
}

pub async fn find_all(
    database: &impl ConnectionTrait,
    ids: &[SecretId],
) -> Result<Vec<TokenRecord>, DbErr> {
    let rows = Entity::find()
        .filter(Column::SecretId.is_in(padded(ids.iter().map(|id| id.0))))
        .all(database)
        .await?;
    Ok(rows.into_iter().map(TokenRecord::from_row).collect())
}

/// Makes the row of a new secret; due at `renew_at`. Generations go on where one of that
/// name was deleted.
pub async fn insert(
    database: &impl ConnectionTrait,
    id: SecretId,
    realm: &RealmId,
    key: &KeyName,
    renew_at: Option<EpochMs>,
    now: EpochMs,
) -> Result<(), DbErr> {
    let generation = retired::take(database, realm, key).await?;
    let row = token::ActiveModel {
        generation: Set(generation.0),
        ..new_row(id, realm, key, renew_at, now)
    };
    Entity::insert(row)
        .exec_without_returning(database)
        .await
        .map(|_| ())
}

/// The row of a secret that never had a token.
pub fn new_row(
    id: SecretId,
    realm: &RealmId,
    key: &KeyName,
    renew_at: Option<EpochMs>,
    now: EpochMs,
) -> token::ActiveModel {
    token::ActiveModel {
        secret_id: Set(id.0),
        realm_id: Set(realm.as_str().to_owned()),
        key_name: Set(key.as_str().to_owned()),
        token: Set(None),
        token_type: Set(None),
        served: Set(None),
        per_read: Set(false),
        extra: Set(None),
        mac: Set(None),
        refresh_token: Set(None),
        refresh_expires_at: Set(None),
        refresh_obtained_at: Set(None),
        refresh_line: Set(0),
        lost_attempt: Set(None),
        lost_at: Set(None),
        lost_awaited: Set(false),
        lost_again: Set(false),
        lost_owner: Set(None),
        expires_at: Set(None),
        generation: Set(0),
        obtained_at: Set(None),
        renew_at: Set(renew_at),
        paused: Set(false),
        last_attempt_at: Set(None),
        forced: Set(false),
        waiting: Set(None),
        waits_for: Set(None),
        failures: Set(0),
        failing_since: Set(None),
        failure_class: Set(None),
        failure_detail: Set(None),
        refusals: Set(0),
        refused_since: Set(None),
        probes: Set(0),
        announced: Set(None),
        lease_owner: Set(None),
        lease_until: Set(None),
        claim_id: Set(None),
        fence: Set(0),
        updated_at: Set(now),
    }
}

/// Stores a token that was not obtained here: an admin typed it in, or another token server held
/// it. It is put as any other, so that nothing of the one before stays.
pub async fn store_given(
    database: &impl ConnectionTrait,
    id: SecretId,
    token: Sealed,
    expires_at: Option<EpochMs>,
    renew_at: Option<EpochMs>,
    ring: &KeyRing,
    now: EpochMs,
) -> Result<(), DbErr> {
    let Some(mut row) = lock_one(database, id).await? else {
        return Ok(());
    };
    let held = HeldToken {
        payload: SealedPayload {
            token,
            token_type: None,
            extra: None,
            expiry: expires_at.map_or(Expiry::Never, Expiry::At),
        },
        serving: Serving::AsItCame,
        obtained_at: now,
    };
    row.put(&held, Novelty::New, ring, now);
    row.due(renew_at);
    write(database, &[row]).await?;
    are_stored(database, &[id], now).await
}

/// A secret of fixed tokens is in no trouble any more.
pub async fn recover_fixed(
    database: &impl ConnectionTrait,
    id: SecretId,
    now: EpochMs,
) -> Result<(), DbErr> {
    woken(None, now)
        .col_expr(Column::Announced, Expr::value(None::<String>))
        .filter(Column::SecretId.eq(id.0))
        .exec(database)
        .await
        .map(|_| ())
}

/// What follows from new tokens, in their transaction: those derived from them are due, and
/// readers learn of it.
pub async fn are_stored(
    database: &impl ConnectionTrait,
    ids: &[SecretId],
    now: EpochMs,
) -> Result<(), DbErr> {
    if ids.is_empty() {
        return Ok(());
    }
    due_now(now)
        .filter(Column::WaitsFor.is_in(padded(ids.iter().map(|id| id.0))))
        .exec(database)
        .await?;
    let changes: Vec<_> = ids.iter().map(|id| FeedChange::Token(*id)).collect();
    feed::append(database, &changes).await
}

/// What waited for a ticket or a candidate is due: that has come, or will not.
pub async fn wake_waiting(
    database: &impl ConnectionTrait,
    ids: &[SecretId],
    now: EpochMs,
) -> Result<(), DbErr> {
    due_now(now)
        .filter(Column::SecretId.is_in(padded(ids.iter().map(|id| id.0))))
        .filter(Column::Waiting.is_not_null())
        .exec(database)
        .await
        .map(|_| ())
}

/// Due, and waiting for nothing; not what is paused.
pub(super) fn due_now(now: EpochMs) -> sea_orm::UpdateMany<Entity> {
    Entity::update_many()
        .col_expr(Column::RenewAt, Expr::value(now))
        .col_expr(Column::Waiting, Expr::value(None::<String>))
        .col_expr(Column::WaitsFor, Expr::value(None::<i64>))
        .filter(Column::Paused.eq(false))
}

/// Makes a token due because what is stored of it is damaged, if nothing has changed since it was
/// seen. What is in trouble or waits keeps its date.
pub async fn make_damaged_due(
    database: &impl ConnectionTrait,
    seen: &Seen,
    now: EpochMs,
) -> Result<bool, DbErr> {
    let later = Condition::any()
        // One that never expires.
        .add(Column::RenewAt.is_null())
        .add(Column::RenewAt.gt(now));
    let updated = due_now(now)
        .filter(Column::SecretId.eq(seen.id.0))
        .filter(Column::Fence.eq(seen.fence.0))
        .filter(Column::Generation.eq(seen.generation.0))
        .filter(Column::LeaseOwner.is_null())
        .filter(Column::FailureClass.is_null())
        .filter(Column::Waiting.is_null())
        .filter(later)
        .exec(database)
        .await?;
    Ok(updated.rows_affected == 1)
}

/// Makes a parent due, because one derived from it needs it. What is in trouble keeps its
/// date, what is not renewed has none, and a token stored since it was seen is good.
pub async fn make_due(
    database: &impl ConnectionTrait,
    parent: &TokenRecord,
    now: EpochMs,
) -> Result<(), DbErr> {
    made_due(parent.secret_id, now)
        .filter(Column::Generation.eq(parent.generation.0))
        .exec(database)
        .await
        .map(|_| ())
}

/// The same for a parent whose token was refused: it must be replaced, not repeated. Only
/// if the token is still the one that was refused, and the last attempt is not too recent.
pub async fn replace_refused(
    database: &impl ConnectionTrait,
    parent: SecretId,
    refused: Generation,
    last_attempt_before: EpochMs,
    now: EpochMs,
) -> Result<(), DbErr> {
    made_due(parent, now)
        .col_expr(Column::Forced, Expr::value(true))
        .filter(Column::Generation.eq(refused.0))
        .filter(Column::LastAttemptAt.lt(last_attempt_before))
        .exec(database)
        .await
        .map(|_| ())
}

fn made_due(parent: SecretId, now: EpochMs) -> sea_orm::UpdateMany<Entity> {
    Entity::update_many()
        .col_expr(Column::RenewAt, Expr::value(now))
        .filter(Column::SecretId.eq(parent.0))
        .filter(Column::RenewAt.gt(now))
        .filter(Column::FailureClass.is_null())
        .filter(Column::LeaseOwner.is_null())
        .filter(Column::Waiting.is_null())
}

/// Makes a secret due now and forgets its trouble, because its parameters changed or a
/// human resumed it. The stored token is served until the renewal succeeds.
pub async fn wake(
    database: &impl ConnectionTrait,
    id: SecretId,
    now: EpochMs,
) -> Result<(), DbErr> {
    woken(Some(now), now)
        .filter(Column::SecretId.eq(id.0))
        .filter(Column::Paused.eq(false))
        .exec(database)
        .await
        .map(|_| ())
}

/// After a change of the realm: what was in trouble is due now.
pub async fn wake_troubled_in(
    database: &impl ConnectionTrait,
    realm: &RealmId,
    now: EpochMs,
) -> Result<(), DbErr> {
    woken(Some(now), now)
        .filter(Column::RealmId.eq(realm.as_str()))
        .filter(Column::Paused.eq(false))
        .filter(Column::FailureClass.is_not_null())
        .exec(database)
        .await
        .map(|_| ())
}

/// After a realm became, or ceased to be, one of fixed tokens.
pub async fn reschedule_all_in(
    database: &impl ConnectionTrait,
    realm: &RealmId,
    renew_at: Option<EpochMs>,
    now: EpochMs,
) -> Result<(), DbErr> {
    woken(renew_at, now)
        .filter(Column::RealmId.eq(realm.as_str()))
        .filter(Column::Paused.eq(false))
        .exec(database)
        .await
        .map(|_| ())
}

fn woken(renew_at: Option<EpochMs>, now: EpochMs) -> sea_orm::UpdateMany<Entity> {
    let nothing = || Expr::value(None::<String>);
    Entity::update_many()
        .col_expr(Column::RenewAt, Expr::value(renew_at))
        .col_expr(Column::Failures, Expr::value(0_i64))
        .col_expr(Column::FailingSince, Expr::value(None::<EpochMs>))
        .col_expr(Column::FailureClass, nothing())
        .col_expr(Column::FailureDetail, nothing())
        .col_expr(Column::Refusals, Expr::value(0_i64))
        .col_expr(Column::RefusedSince, Expr::value(None::<EpochMs>))
        .col_expr(Column::Probes, Expr::value(0_i64))
        .col_expr(Column::Waiting, nothing())
        .col_expr(Column::WaitsFor, Expr::value(None::<i64>))
        .col_expr(Column::UpdatedAt, Expr::value(now))
}

/// Stops renewal; the stored token is served while it is valid.
pub async fn pause(
    database: &impl ConnectionTrait,
    id: SecretId,
    now: EpochMs,
) -> Result<(), DbErr> {
    set_paused(database, id, true, None, now).await
}

/// Starts renewal again; due at `renew_at`.
pub async fn resume(
    database: &impl ConnectionTrait,
    id: SecretId,
    renew_at: Option<EpochMs>,
    now: EpochMs,
) -> Result<(), DbErr> {
    set_paused(database, id, false, renew_at, now).await
}

async fn set_paused(
    database: &impl ConnectionTrait,
    id: SecretId,
    paused: bool,
    renew_at: Option<EpochMs>,
    now: EpochMs,
) -> Result<(), DbErr> {
    Entity::update_many()
        .col_expr(Column::Paused, Expr::value(paused))
        .col_expr(Column::RenewAt, Expr::value(renew_at))
        .col_expr(Column::UpdatedAt, Expr::value(now))
        .filter(Column::SecretId.eq(id.0))
        .filter(Column::Paused.eq(!paused))
        .exec(database)
        .await
        .map(|_| ())
}
