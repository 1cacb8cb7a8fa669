//! Tokens copied from another database: opened there, and sealed for the row that they get here.

use std::collections::BTreeSet;

use sea_orm::{
    ActiveModelTrait, ActiveValue::NotSet, ColumnTrait, ConnectionTrait, DbErr, EntityTrait,
    IntoActiveModel, QueryFilter,
};
use token_server_entity::candidate::{self, Model as CandidateRow};
use token_server_entity::token::{self, Column, Entity};

use super::TokenRecord;
use super::authentic::mac_of;
use super::candidate::forget;
use super::elsewhere::{DatabaseId, FOREVER, Renewer, TokenAge};
use super::locked::{Busy, lock, with_ids};
use super::retired;
use super::sealing::{SealedPart, place, sealed_parts};
use crate::foundation::clock::EpochMs;
use crate::foundation::database::padded;
use crate::foundation::ids::{Generation, KeyName, RealmId, SecretId};
use crate::foundation::sealing::{KeyRing, OpenError, Sealed};

/// A token's row as it is stored.
#[derive(Clone)]
pub struct StoredRow(token::Model);

/// A token's row whose sealed columns hold what was sealed. It has no debug form.
#[derive(PartialEq)]
pub struct OpenRow(token::Model);

/// A pair kept beside a token, likewise.
#[derive(PartialEq)]
pub struct OpenCandidate(CandidateRow);

impl StoredRow {
    pub fn id(&self) -> SecretId {
        SecretId(self.0.secret_id)
    }

    pub fn generation(&self) -> Generation {
        Generation(self.0.generation)
    }

    pub fn renewer(&self) -> Renewer {
        Renewer::of(&self.0)
    }

    pub fn age(&self) -> TokenAge {
        TokenAge {
            generation: self.generation(),
            refresh_obtained_at: self.0.refresh_obtained_at,
        }
    }

    /// The secret whose token it is derived from, while it waits for that.
    pub fn waits_for(&self) -> Option<SecretId> {
        self.0.waits_for.map(SecretId)
    }

    /// Everything of it that can change, for a comparison.
    pub fn fingerprint(&self, hasher: &mut impl std::hash::Hasher) {
        use std::hash::Hash;
        let row = &self.0;
        let sealed = [
            &row.token,
            &row.served,
            &row.extra,
            &row.refresh_token,
            &row.mac,
        ];
        sealed
            .map(|sealed| sealed.as_ref().map(|sealed| &sealed.0))
            .hash(hasher);
        let without = token::Model {
            token: None,
            served: None,
            extra: None,
            refresh_token: None,
            mac: None,
            ..row.clone()
        };
        format!("{without:?}").hash(hasher);
    }

    /// Opens it where a server with one of these keys wrote it.
    pub fn open(&self, ring: &KeyRing) -> Result<OpenRow, OpenError> {
        let mut row = self.0.clone();
        TokenRecord::from_row(row.clone()).verify(ring)?;
        let id = row.secret_id.to_string();
        for (part, value) in sealed_parts(&mut row) {
            if let Some(value) = value {
                *value = Sealed(ring.open(&place(&id, part), value)?.to_vec());
            }
        }
        // They belong to the row, not to the token.
        let row = token::Model {
            secret_id: 0,
            waits_for: None,
            lease_owner: None,
            lease_until: None,
            claim_id: None,
            mac: None,
            ..row
        };
        Ok(OpenRow(row))
    }
}

impl OpenRow {
    pub fn generation(&self) -> Generation {
        Generation(self.0.generation)
    }

    /// Whether there is a token, and when it ends.
    pub fn expires_at(&self) -> Option<Option<EpochMs>> {
        self.0.token.as_ref().map(|_| self.0.expires_at)
    }

    /// Whether the same token is stored in both, whatever was tried since.
    pub fn has_token_of(&self, other: &Self) -> bool {
        let token = |row: &token::Model| {
            (
                row.token.clone(),
                row.served.clone(),
                row.extra.clone(),
                row.expires_at,
            )
        };
        token(&self.0) == token(&other.0)
    }

    /// The row of a secret here. Where another database renews it, it is held.
    fn sealed_for(
        &self,
        id: SecretId,
        waits_for: Option<SecretId>,
        renewed_by: Option<&DatabaseId>,
        ring: &KeyRing,
    ) -> token::Model {
        let mut row = token::Model {
            secret_id: id.0,
            waits_for: waits_for.map(|id| id.0),
            lease_owner: renewed_by.map(DatabaseId::owner),
            lease_until: renewed_by.map(|_| FOREVER),
            ..self.0.clone()
        };
        let name = id.to_string();
        for (part, value) in sealed_parts(&mut row) {
            if let Some(value) = value {
                *value = ring.seal(&place(&name, part), &value.0);
            }
        }
        let record = TokenRecord::from_row(row.clone());
        row.mac = record.held.map(|held| mac_of(&row, &held, ring));
        row
    }
}

/// How a token is written here.
pub struct Written<'a> {
    pub id: SecretId,
    pub waits_for: Option<SecretId>,
    /// None: this one.
    pub renewed_by: Option<&'a DatabaseId>,
}

/// The rows of some tokens.
pub async fn stored(
    database: &impl ConnectionTrait,
    ids: &[SecretId],
) -> Result<Vec<StoredRow>, DbErr> {
    let rows = Entity::find().filter(with_ids(ids)).all(database).await?;
    Ok(rows.into_iter().map(StoredRow).collect())
}

/// The row of a token, which nobody else changes until the transaction ends.
pub async fn stored_locked(
    database: &impl ConnectionTrait,
    id: SecretId,
) -> Result<Option<StoredRow>, DbErr> {
    let row = lock(database, with_ids(&[id]), Busy::Await).await?.pop();
    Ok(row.map(|row| StoredRow(row.into_row())))
}

/// Makes the row of a secret that is new here. Inside a transaction.
pub async fn insert(
    database: &impl ConnectionTrait,
    token: &OpenRow,
    written: Written<'_>,
    ring: &KeyRing,
) -> Result<(), DbErr> {
    let row = token.sealed_for(written.id, written.waits_for, written.renewed_by, ring);
    let (realm, key) = (
        RealmId::stored(row.realm_id.clone()),
        KeyName::stored(row.key_name.clone()),
    );
    retired::take(database, &realm, &key).await?;
    Entity::insert(row.into_active_model().reset_all())
        .exec_without_returning(database)
        .await
        .map(|_| ())
}

/// Writes a token over its earlier copy. Inside a transaction that has locked the row.
pub async fn replace(
    database: &impl ConnectionTrait,
    token: &OpenRow,
    written: Written<'_>,
    ring: &KeyRing,
) -> Result<(), DbErr> {
    let row = token.sealed_for(written.id, written.waits_for, written.renewed_by, ring);
    let changed = token::ActiveModel {
        secret_id: NotSet,
        ..row.into_active_model().reset_all()
    };
    Entity::update_many()
        .set(changed)
        .filter(Column::SecretId.eq(written.id.0))
        .exec(database)
        .await
        .map(|_| ())
}

/// What is kept beside some tokens, as it is stored.
pub async fn candidates_of(
    database: &impl ConnectionTrait,
    ids: &[SecretId],
) -> Result<Vec<CandidateRow>, DbErr> {
    let ids = padded(ids.iter().map(|id| id.0));
    candidate::Entity::find()
        .filter(candidate::Column::SecretId.is_in(ids))
        .all(database)
        .await
}

fn candidate_parts(row: &mut CandidateRow) -> [(SealedPart, Option<&mut Sealed>); 4] {
    [
        // An empty one stands for no token.
        (
            SealedPart::Token,
            Some(&mut row.token).filter(|token| !token.0.is_empty()),
        ),
        (SealedPart::Served, row.served.as_mut()),
        (SealedPart::Extra, row.extra.as_mut()),
        (SealedPart::RefreshToken, Some(&mut row.refresh_token)),
    ]
}

impl OpenCandidate {
    pub fn open(mut row: CandidateRow, ring: &KeyRing) -> Result<Self, OpenError> {
        let id = row.secret_id.to_string();
        for (part, value) in candidate_parts(&mut row) {
            if let Some(value) = value {
                *value = Sealed(ring.open(&place(&id, part), value)?.to_vec());
            }
        }
        row.secret_id = 0;
        Ok(Self(row))
    }
}

/// Has these pairs, and no others, beside a token. Answers whether there were others. Inside a
/// transaction.
pub async fn put_candidates(
    database: &impl ConnectionTrait,
    id: SecretId,
    candidates: &[OpenCandidate],
    ring: &KeyRing,
) -> Result<bool, DbErr> {
    let here = candidates_of(database, &[id]).await?;
    let here: BTreeSet<_> = here.iter().map(|row| row.attempt_id.as_str()).collect();
    let there: BTreeSet<_> = candidates
        .iter()
        .map(|open| open.0.attempt_id.as_str())
        .collect();
    if here == there {
        return Ok(false);
    }
    forget(database, id).await?;
    let name = id.to_string();
    for candidate in candidates {
        let mut row = candidate.0.clone();
        for (part, value) in candidate_parts(&mut row) {
            if let Some(value) = value {
                *value = ring.seal(&place(&name, part), &value.0);
            }
        }
        row.secret_id = id.0;
        candidate::Entity::insert(row.into_active_model().reset_all())
            .exec_without_returning(database)
            .await?;
    }
    Ok(true)
}
