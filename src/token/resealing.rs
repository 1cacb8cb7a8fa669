//! Tokens, and candidates beside them, sealed anew with the key that seals.

use sea_orm::{
    ActiveModelTrait, ActiveValue::NotSet, ColumnTrait, Condition, ConnectionTrait, DbErr,
    EntityTrait, IntoActiveModel, QueryFilter, QueryOrder, QuerySelect,
};
use token_server_entity::{candidate, token};

use super::TokenRecord;
use super::candidate::{Candidate, CandidateRow};
use super::locked::{Busy, Locked, lock, with_ids, write};
use super::sealing::{candidate_parts, place, sealed_parts};
use crate::foundation::ids::SecretId;
use crate::foundation::sealing::{KeyRing, Resealed, key_id};

/// Rows of one transaction: its locks are held for a moment only.
const ROWS_AT_ONCE: u64 = 100;

/// Seals some tokens anew after a place in the list. Answers the last place of these; none where no
/// row is left. Inside a transaction.
pub async fn reseal_after(
    database: &impl ConnectionTrait,
    ring: &KeyRing,
    after: SecretId,
    resealed: &mut Resealed,
) -> Result<Option<SecretId>, DbErr> {
    let ids: Vec<i64> = token::Entity::find()
        .select_only()
        .column(token::Column::SecretId)
        .filter(token::Column::SecretId.gt(after.0))
        .order_by_asc(token::Column::SecretId)
        .limit(ROWS_AT_ONCE)
        .into_tuple()
        .all(database)
        .await?;
    let ids: Vec<_> = ids.into_iter().map(SecretId).collect();
    let Some(last) = ids.last().copied() else {
        return Ok(None);
    };
    let mut changed = Vec::new();
    for mut row in lock(database, with_ids(&ids), Busy::Await).await? {
        if row.reseal(ring, resealed) {
            changed.push(row);
        }
    }
    write(database, &changed).await?;
    Ok(Some(last))
}

/// Seals candidates anew: they never change otherwise.
pub async fn reseal_candidates(
    database: &impl ConnectionTrait,
    ring: &KeyRing,
) -> Result<Resealed, DbErr> {
    let mut resealed = Resealed::default();
    for row in candidate::Entity::find().all(database).await? {
        let new = resealed_row(&row, ring, &mut resealed);
        if new != row {
            let this = candidate::Column::AttemptId.eq(row.attempt_id.as_str());
            candidate::Entity::update_many()
                .set(candidate::ActiveModel {
                    attempt_id: NotSet,
                    ..new.into_active_model().reset_all()
                })
                .filter(Condition::all().add(this))
                .exec(database)
                .await?;
        }
    }
    Ok(resealed)
}

fn resealed_row(row: &CandidateRow, ring: &KeyRing, resealed: &mut Resealed) -> CandidateRow {
    let (mut new, id) = (row.clone(), row.secret_id.to_string());
    for (part, value) in candidate_parts(&mut new) {
        // An empty one stands for no token.
        let Some(value) = value.filter(|value| !value.0.is_empty()) else {
            continue;
        };
        if let Some(other) = resealed.count(ring.resealed(&place(&id, part), value)) {
            *value = other;
        }
    }
    new
}

impl Candidate {
    /// The same with the key that seals, as far as it opens; none where it is under that already.
    pub fn resealed(&self, ring: &KeyRing) -> Option<Self> {
        let mut resealed = Resealed::default();
        let row = resealed_row(&self.to_row(), ring, &mut resealed);
        (resealed.values > 0).then(|| Self::from_row(row))
    }

    /// The ids of keys that it was sealed with and that a ring lacks.
    pub fn lacked_keys(&self, ring: &KeyRing) -> Vec<String> {
        let mut row = self.to_row();
        let parts = candidate_parts(&mut row).into_iter();
        let ids = parts.filter_map(|(_, value)| key_id(value?).map(str::to_owned));
        let mut lacked: Vec<_> = ids
            .filter(|id| !ring.key_ids().any(|own| own == id))
            .collect();
        lacked.dedup();
        lacked
    }
}

impl Locked {
    /// Whether anything of it was sealed anew.
    fn reseal(&mut self, ring: &KeyRing, resealed: &mut Resealed) -> bool {
        let before = resealed.values;
        let id = self.id().to_string();
        // It counts for the row as it is.
        let authentic = {
            let row = self.row();
            TokenRecord::from_row(row.clone()).reauthenticated(ring)
        };
        let row = self.row_with_sealed();
        for (part, value) in sealed_parts(row) {
            let Some(value) = value else { continue };
            if let Some(other) = resealed.count(ring.resealed(&place(&id, part), value)) {
                *value = other;
            }
        }
        if let Some(mac) = resealed.count(authentic) {
            row.mac = Some(mac);
        }
        resealed.values != before
    }
}
