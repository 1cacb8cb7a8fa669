//! Rows that nobody else changes until the transaction ends: read whole, changed here, and
//! written back by one statement, however many there are.

use sea_orm::sea_query::{LockBehavior, LockType, OnConflict};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, Condition, ConnectionTrait, DbErr, EntityTrait, IntoActiveModel,
    Iterable, QueryFilter, QuerySelect,
};
use token_server_entity::token::{self, Column, Entity};

use super::authentic::mac_of;
use super::claim::{Claim, Claimed, RefreshTokenRisk, Seen};
use super::novelty::Novelty;
use super::{Announced, HeldRefresh, HeldToken, SealedPayload};
use crate::foundation::clock::EpochMs;
use crate::foundation::database::{padded, pieces};
use crate::foundation::ids::{AttemptId, Generation, RefreshLine, SecretId};
use crate::foundation::sealing::KeyRing;
use crate::realm::failure::Failure;

/// About so long is one statement at most, but for a longer row: by default MariaDB takes
/// 16 MiB.
const STATEMENT_BYTES: usize = 1 << 20;

/// What is done about rows that somebody else is changing just now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Busy {
    Await,
    /// Who stands still in a transaction holds up no other token.
    LeaveOut,
}

/// A row as it stands in its transaction. What is changed is kept by `write` only.
#[derive(Debug)]
pub struct Locked {
    row: token::Model,
    /// Whether what is sealed was changed, too.
    sealed: bool,
}

/// Locks what meets a condition, as it then is.
pub(super) async fn lock(
    database: &impl ConnectionTrait,
    condition: Condition,
    busy: Busy,
) -> Result<Vec<Locked>, DbErr> {
    let found = Entity::find().filter(condition);
    let found = match busy {
        Busy::Await => found.lock_exclusive(),
        Busy::LeaveOut => found.lock_with_behavior(LockType::Update, LockBehavior::SkipLocked),
    };
    let rows = found.all(database).await?;
    let locked = |row| Locked { row, sealed: false };
    Ok(rows.into_iter().map(locked).collect())
}

/// The rows of some secrets.
pub(super) fn with_ids(ids: &[SecretId]) -> Condition {
    let ids = padded(ids.iter().map(|id| id.0));
    Condition::all().add(Column::SecretId.is_in(ids))
}

/// Waits for whoever is changing the row, a change of its secret included.
pub(super) async fn lock_one(
    database: &impl ConnectionTrait,
    id: SecretId,
) -> Result<Option<Locked>, DbErr> {
    Ok(lock(database, with_ids(&[id]), Busy::Await).await?.pop())
}

/// Writes rows back. Each of them is there: it is found by its key, and what it would be
/// inserted with replaces what it has.
pub(super) async fn write(database: &impl ConnectionTrait, rows: &[Locked]) -> Result<(), DbErr> {
    let (sealed, others): (Vec<_>, Vec<_>) = rows.iter().partition(|row| row.sealed);
    for rows in statements(&sealed).flat_map(pieces) {
        replace(database, rows, |_| true).await?;
    }
    for rows in pieces(&others) {
        replace(database, rows, |column| !is_sealed(column)).await?;
    }
    Ok(())
}

/// Writes columns of rows back by one statement.
async fn replace(
    database: &impl ConnectionTrait,
    rows: &[&Locked],
    is_written: impl Fn(&Column) -> bool,
) -> Result<(), DbErr> {
    use Column::{KeyName, RealmId, SecretId};
    let (written, others): (Vec<_>, Vec<_>) = Column::iter().partition(is_written);
    let changed = written
        .into_iter()
        .filter(|column| !matches!(column, SecretId | RealmId | KeyName));
    let rows = rows.iter().map(|locked| {
        let mut row = locked.row.clone().into_active_model();
        others.iter().for_each(|column| row.not_set(*column));
        row
    });
    let replaces = OnConflict::column(SecretId)
        .update_columns(changed)
        .to_owned();
    Entity::insert_many(rows)
        .on_conflict(replaces)
        .exec_without_returning(database)
        .await?;
    Ok(())
}

/// What may be long, and is not written again where a lease begins or ends.
fn is_sealed(column: &Column) -> bool {
    use Column::{Extra, Mac, RefreshToken, Served, Token};
    matches!(column, Token | Served | Extra | Mac | RefreshToken)
}

/// Rows that are not too long for one statement together.
fn statements<'a>(mut rows: &'a [&'a Locked]) -> impl Iterator<Item = &'a [&'a Locked]> {
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fits = |locked: &&&Locked| {
            bytes += sealed_bytes(&locked.row);
            bytes <= STATEMENT_BYTES
        };
        let count = rows.iter().take_while(fits).count().max(1).min(rows.len());
        let (these, rest) = rows.split_at(count);
        rows = rest;
        (!these.is_empty()).then_some(these)
    })
}

fn sealed_bytes(row: &token::Model) -> usize {
    let sealed = [&row.token, &row.served, &row.extra, &row.refresh_token];
    sealed
        .into_iter()
        .flatten()
        .map(|sealed| sealed.0.len())
        .sum()
}

impl Locked {
    pub fn id(&self) -> SecretId {
        SecretId(self.row.secret_id)
    }

    pub fn generation(&self) -> Generation {
        Generation(self.row.generation)
    }

    pub fn refresh_line(&self) -> RefreshLine {
        RefreshLine(self.row.refresh_line)
    }

    pub(super) fn row(&self) -> &token::Model {
        &self.row
    }

    /// To change what is sealed in it.
    pub(super) fn row_with_sealed(&mut self) -> &mut token::Model {
        self.sealed = true;
        &mut self.row
    }

    pub fn into_row(self) -> token::Model {
        self.row
    }

    /// Whether the lease is still the one that was claimed.
    pub fn is_held_by(&self, claimed: &Claimed) -> bool {
        self.row.fence == claimed.record.fence.0 && self.is_claimed_by(&claimed.attempt)
    }

    /// Whether nobody holds it, and no attempt was made since it was seen.
    pub fn is_as_seen(&self, seen: &Seen) -> bool {
        self.row.lease_owner.is_none()
            && self.row.fence == seen.fence.0
            && self.row.generation == seen.generation.0
            && self.row.failures == seen.failures
    }

    pub fn is_claimed_by(&self, attempt: &AttemptId) -> bool {
        self.row.claim_id.as_ref() == Some(&attempt.0)
    }

    /// Whether that is the attempt which may have used up the refresh token.
    pub fn has_lost(&self, attempt: &AttemptId) -> bool {
        self.row.lost_attempt.as_ref() == Some(&attempt.0)
    }

    pub fn awaits_candidate(&self) -> bool {
        self.row.lost_awaited
    }

    /// Begins a lease, for an attempt.
    pub fn claim(&mut self, claim: &Claim) {
        let attempt = claim.id.attempt(self.id());
        let row = &mut self.row;
        row.lease_owner = Some(claim.owner.0.clone());
        row.lease_until = Some(claim.until);
        row.claim_id = Some(attempt.0);
        row.fence += 1;
        row.last_attempt_at = Some(claim.now);
    }

    /// Begins a lease that no attempt holds.
    pub(super) fn hold(&mut self, owner: String, until: EpochMs) {
        let row = &mut self.row;
        row.lease_owner = Some(owner);
        row.lease_until = Some(until);
        row.claim_id = None;
        row.fence += 1;
    }

    /// Ends the lease. Where its attempt may have used up the refresh token, that is noted;
    /// but where the result of an earlier one is awaited, that one is what is remembered: it
    /// may hold the only good refresh token.
    pub fn end_lease(&mut self, risk: RefreshTokenRisk) {
        let row = &mut self.row;
        let (owner, attempt) = (row.lease_owner.take(), row.claim_id.take());
        row.lease_until = None;
        let awaited = match risk {
            RefreshTokenRisk::None => return,
            RefreshTokenRisk::Lost => false,
            RefreshTokenRisk::Awaited => true,
        };
        row.lost_again = row.lost_attempt.is_some();
        if !row.lost_awaited {
            row.lost_owner = owner;
            row.lost_attempt = attempt;
            row.lost_at = row.last_attempt_at;
            row.lost_awaited = awaited;
        }
    }

    /// What a lost attempt may have obtained is here, or of no use any more.
    pub fn nothing_lost(&mut self) {
        let row = &mut self.row;
        row.lost_attempt = None;
        row.lost_at = None;
        row.lost_awaited = false;
        row.lost_again = false;
        row.lost_owner = None;
    }

    /// What a lost attempt has obtained will not come.
    pub fn nothing_comes(&mut self) {
        self.row.lost_awaited = false;
    }

    /// Forgets what went wrong, and what was waited for.
    pub fn clear_failures(&mut self) {
        self.nothing_lost();
        let row = &mut self.row;
        row.failures = 0;
        row.failing_since = None;
        row.failure_class = None;
        row.failure_detail = None;
        row.refusals = 0;
        row.refused_since = None;
        row.probes = 0;
        row.announced = None;
        row.waiting = None;
        row.waits_for = None;
    }

    /// A secret that was paused meanwhile stays without a date.
    pub fn due(&mut self, renew_at: Option<EpochMs>) {
        self.row.renew_at = renew_at.filter(|_| !self.row.paused);
    }

    /// Puts a token in the place of the one before. A new one raises the generation.
    pub fn put(&mut self, held: &HeldToken, novelty: Novelty, ring: &KeyRing, now: EpochMs) {
        self.sealed = true;
        match novelty {
            Novelty::New => self.row.generation += 1,
            Novelty::Repeated => {}
        }
        // By name, so that none is forgotten.
        let HeldToken {
            payload,
            serving,
            obtained_at,
        } = held;
        let SealedPayload {
            token,
            token_type,
            extra,
            expiry,
        } = payload;
        let (served, per_read) = serving.columns();
        let row = &mut self.row;
        row.token = Some(token.clone());
        row.token_type.clone_from(token_type);
        row.extra.clone_from(extra);
        row.expires_at = expiry.at();
        row.served = served;
        row.per_read = per_read;
        row.obtained_at = Some(*obtained_at);
        row.forced = false;
        row.updated_at = now;
        row.mac = Some(mac_of(row, held, ring));
    }

    pub fn put_refresh(&mut self, refresh: Option<&HeldRefresh>) {
        self.sealed = true;
        self.row.refresh_token = refresh.map(|refresh| refresh.sealed.clone());
        self.row.refresh_expires_at = refresh.and_then(|refresh| refresh.expires_at);
        self.row.refresh_obtained_at = refresh.map(|refresh| refresh.obtained_at);
    }

    /// Whether a newer refresh token is stored. An attempt that brought no token may have left
    /// it, and has not raised the generation.
    pub fn has_newer_refresh(&self, refresh: &HeldRefresh) -> bool {
        let obtained_at = self.row.refresh_obtained_at;
        self.row.refresh_token.is_some() && obtained_at > Some(refresh.obtained_at)
    }

    /// The secret was given another refresh token.
    pub fn next_refresh_line(&mut self) {
        self.row.refresh_line += 1;
    }

    /// Whether the refused token is to be replaced.
    pub fn force(&mut self, forced: bool) {
        self.row.forced = forced;
    }

    /// One failure more, whether a human is needed, and whose next token ends the wait.
    pub fn failed(
        &mut self,
        failure: &Failure,
        needs_attention: bool,
        parent: Option<SecretId>,
        now: EpochMs,
    ) {
        let row = &mut self.row;
        row.failures += 1;
        if failure.counts_as_refusal() {
            row.refusals += 1;
            row.refused_since.get_or_insert(now);
        } else {
            row.refusals = 0;
            row.refused_since = None;
        }
        if needs_attention {
            row.probes += 1;
        }
        row.failing_since.get_or_insert(now);
        row.failure_class = Some(failure.class.as_str().to_owned());
        row.failure_detail = Some(failure.detail.clone());
        row.waiting = None;
        row.waits_for = parent.map(|parent| parent.0);
        row.updated_at = now;
    }

    /// What the webhook is told of it.
    pub fn announce(&mut self, announced: Announced) {
        self.row.announced = Some(announced.as_str().to_owned());
    }

    pub fn wait_for(&mut self, why: &str, parent: Option<SecretId>) {
        self.row.waiting = Some(why.to_owned());
        self.row.waits_for = parent.map(|parent| parent.0);
    }
}
