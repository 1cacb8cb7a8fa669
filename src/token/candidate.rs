//! Candidates: a token and its refresh token, or a refresh token alone, that a provider issued,
//! and that could not be stored under the fence they were claimed with. The refresh token
//! before them may be used up, so they are never dropped: they are kept beside the token, and
//! take its place if nothing newer has.

use sea_orm::sea_query::{Expr, ExprTrait, Query};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, DbErr, EntityTrait, IntoActiveModel, Order,
    PaginatorTrait, QueryFilter, QueryOrder, QuerySelect,
};
pub use token_server_entity::candidate::Model as CandidateRow;
use token_server_entity::candidate::{Column, Entity};
use token_server_entity::{token, token::Column as TokenColumn};

use super::claim::{Claimed, RefreshTokenRisk};
use super::expiry::Expiry;
use super::locked::{lock_one, write};
use super::novelty::Novelty;
use super::versions::versions;
use super::{HeldRefresh, HeldToken, SealedPayload, Serving, store};
use crate::foundation::clock::EpochMs;
use crate::foundation::database::{is_duplicate, padded};
use crate::foundation::ids::{AttemptId, Generation, RealmId, RefreshLine, SecretId, Version};
use crate::foundation::sealing::{KeyRing, Sealed};

/// What an attempt obtained, and what has to be the same for it to take the token's place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    pub attempt: AttemptId,
    pub secret: SecretId,
    /// The generation whose refresh token was used up.
    pub consumed: Generation,
    pub line: RefreshLine,
    pub secret_version: Version,
    pub realm_version: Version,
    /// None where the answer held nothing but the refresh token that could be used.
    pub token: Option<CandidateToken>,
    pub refresh: HeldRefresh,
}

/// The token of a candidate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CandidateToken {
    pub held: HeldToken,
    pub renew_at: Option<EpochMs>,
}

/// What became of a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promotion {
    /// It is the stored token now, of this generation.
    Token(Generation),
    /// Secret or realm have changed meanwhile, or it has no token: only its refresh token is in
    /// use.
    RefreshToken,
    /// A newer token was stored meanwhile, or the secret was given another refresh token.
    Superseded,
}

impl Promotion {
    /// As it stands in the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Token(_) => "token",
            Self::RefreshToken => "refresh_token",
            Self::Superseded => "superseded",
        }
    }
}

impl Candidate {
    pub fn of(claimed: &Claimed, token: Option<CandidateToken>, refresh: HeldRefresh) -> Self {
        let record = &claimed.record;
        let (secret_version, realm_version) = claimed.versions();
        Self {
            attempt: claimed.attempt.clone(),
            secret: record.secret_id,
            consumed: record.generation,
            line: record.refresh_line,
            secret_version,
            realm_version,
            token,
            refresh,
        }
    }

    pub fn from_row(row: CandidateRow) -> Self {
        // What is sealed is never empty: an empty one stands for no token.
        let token = (!row.token.0.is_empty()).then(|| CandidateToken {
            held: HeldToken {
                payload: SealedPayload {
                    token: row.token,
                    token_type: row.token_type,
                    extra: row.extra,
                    expiry: row.expires_at.map_or(Expiry::Never, Expiry::At),
                },
                serving: Serving::of_columns(row.served, row.per_read),
                obtained_at: row.obtained_at,
            },
            renew_at: row.renew_at,
        });
        Self {
            attempt: AttemptId(row.attempt_id),
            secret: SecretId(row.secret_id),
            consumed: Generation(row.consumed),
            line: RefreshLine(row.refresh_line),
            secret_version: Version(row.secret_version),
            realm_version: Version(row.realm_version),
            token,
            refresh: HeldRefresh {
                sealed: row.refresh_token,
                expires_at: row.refresh_expires_at,
                obtained_at: row.obtained_at,
            },
        }
    }

    pub fn to_row(&self) -> CandidateRow {
        let token = self.token.as_ref();
        let held = token.map(|token| &token.held);
        let payload = held.map(|held| {
            // By name, so that none is forgotten.
            let SealedPayload {
                token,
                token_type,
                extra,
                expiry,
            } = held.payload.clone();
            (token, token_type, extra, expiry.at())
        });
        let without = (Sealed(Vec::new()), None, None, None);
        let (sealed, token_type, extra, expires_at) = payload.unwrap_or(without);
        let serving = held.map(|held| held.serving.columns());
        let (served, per_read) = serving.unwrap_or_default();
        CandidateRow {
            attempt_id: self.attempt.0.clone(),
            secret_id: self.secret.0,
            consumed: self.consumed.0,
            refresh_line: self.line.0,
            secret_version: self.secret_version.0,
            realm_version: self.realm_version.0,
            token: sealed,
            token_type,
            served,
            per_read,
            extra,
            expires_at,
            obtained_at: self.refresh.obtained_at,
            renew_at: token.and_then(|token| token.renew_at),
            refresh_token: self.refresh.sealed.clone(),
            refresh_expires_at: self.refresh.expires_at,
        }
    }
}

/// Puts a candidate in the token's place if nothing newer is there, whoever holds the lease;
/// else keeps it beside. Its attempt is over.
/// To do it again changes nothing. Inside a transaction.
pub async fn keep(
    database: &impl ConnectionTrait,
    candidate: &Candidate,
    ring: &KeyRing,
    now: EpochMs,
) -> Result<Promotion, DbErr> {
    let id = candidate.secret;
    let Some(mut row) = lock_one(database, id).await? else {
        // The secret was deleted.
        return Ok(Promotion::Superseded);
    };
    if row.is_claimed_by(&candidate.attempt) {
        row.end_lease(RefreshTokenRisk::None);
    }
    if row.generation() != candidate.consumed
        || row.refresh_line() != candidate.line
        || row.has_newer_refresh(&candidate.refresh)
    {
        write(database, &[row]).await?;
        append(database, candidate).await?;
        return Ok(Promotion::Superseded);
    }
    row.put_refresh(Some(&candidate.refresh));
    let obtained_with = (candidate.secret_version, candidate.realm_version);
    if let Some(token) = &candidate.token
        && versions(database, &[id]).await?.get(&id) == Some(&obtained_with)
    {
        row.clear_failures();
        row.put(&token.held, Novelty::New, ring, now);
        row.due(token.renew_at);
        let generation = row.generation();
        write(database, &[row]).await?;
        store::are_stored(database, &[id], now).await?;
        return Ok(Promotion::Token(generation));
    }
    row.nothing_lost();
    write(database, &[row]).await?;
    // What waited for this candidate need not wait any longer.
    store::wake_waiting(database, &[id], now).await?;
    Ok(Promotion::RefreshToken)
}

async fn append(database: &impl ConnectionTrait, candidate: &Candidate) -> Result<(), DbErr> {
    let row = candidate.to_row().into_active_model();
    match Entity::insert(row).exec_without_returning(database).await {
        Err(error) if is_duplicate(&error) => Ok(()),
        other => other.map(|_| ()),
    }
}

/// What is kept beside a secret's token, newest first.
pub async fn newest_of(
    database: &impl ConnectionTrait,
    secret: SecretId,
    line: RefreshLine,
    limit: u64,
) -> Result<Vec<Candidate>, DbErr> {
    let rows = Entity::find()
        .filter(Column::SecretId.eq(secret.0))
        .filter(Column::RefreshLine.eq(line.0))
        .order_by(Column::ObtainedAt, Order::Desc)
        .limit(limit)
        .all(database)
        .await?;
    Ok(rows.into_iter().map(Candidate::from_row).collect())
}

/// What is kept beside the tokens of some secrets.
pub async fn of_secrets(
    database: &impl ConnectionTrait,
    secrets: &[SecretId],
) -> Result<Vec<Candidate>, DbErr> {
    let ids = padded(secrets.iter().map(|id| id.0));
    let rows = Entity::find()
        .filter(Column::SecretId.is_in(ids))
        .all(database)
        .await?;
    Ok(rows.into_iter().map(Candidate::from_row).collect())
}

/// Refresh tokens newer than these were accepted, when the tokens were of these generations:
/// they are of no use any more.
pub async fn forget_before(
    database: &impl ConnectionTrait,
    accepted: &[(SecretId, Generation)],
) -> Result<(), DbErr> {
    if accepted.is_empty() {
        return Ok(());
    }
    let ids = padded(accepted.iter().map(|(secret, _)| secret.0));
    let kept: Vec<i64> = Entity::find()
        .select_only()
        .column(Column::SecretId)
        .filter(Column::SecretId.is_in(ids))
        .into_tuple()
        .all(database)
        .await?;
    for (secret, generation) in accepted.iter().filter(|(id, _)| kept.contains(&id.0)) {
        Entity::delete_many()
            .filter(Column::SecretId.eq(secret.0))
            .filter(Column::Consumed.lt(generation.0))
            .exec(database)
            .await?;
    }
    Ok(())
}

pub async fn forget(database: &impl ConnectionTrait, secret: SecretId) -> Result<(), DbErr> {
    Entity::delete_many()
        .filter(Column::SecretId.eq(secret.0))
        .exec(database)
        .await
        .map(|_| ())
}

/// How many pairs are kept beside some tokens.
pub async fn count_of(database: &impl ConnectionTrait, tokens: Condition) -> Result<u64, DbErr> {
    let ids = Query::select()
        .column(TokenColumn::SecretId)
        .from(token::Entity)
        .cond_where(tokens)
        .to_owned();
    Entity::find()
        .filter(Column::SecretId.in_subquery(ids))
        .count(database)
        .await
}

pub async fn forget_all_in(database: &impl ConnectionTrait, realm: &RealmId) -> Result<(), DbErr> {
    let of_realm = Query::select()
        .column(TokenColumn::SecretId)
        .from(token::Entity)
        .and_where(Expr::col(TokenColumn::RealmId).eq(realm.as_str()))
        .to_owned();
    Entity::delete_many()
        .filter(Column::SecretId.in_subquery(of_realm))
        .exec(database)
        .await
        .map(|_| ())
}
