//! What of a stored token stands in the open, authenticated: whose it is, until when it counts,
//! and what there is beside it. What is sealed opens in its own row only. Times and counts that
//! renewal goes by are not authenticated: who changes them delays something.

use sea_orm::sea_query::Expr;
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbErr, EntityTrait, QueryFilter, QueryOrder, QuerySelect,
};
use token_server_entity::token::{self, Column, Entity};

use super::{HeldToken, SealedPayload, TokenRecord};
use crate::foundation::ids::SecretId;
use crate::foundation::sealing::{KeyRing, OpenError, RowValues, Sealed, SealedPlace};

/// Rows of one transaction that are authenticated together.
pub const ROWS_AT_ONCE: u64 = 500;

/// The code of a row as it is: by name, so that none of its values is forgotten.
pub(super) fn mac_of(row: &token::Model, held: &HeldToken, ring: &KeyRing) -> Sealed {
    let id = row.secret_id.to_string();
    let values = values(&row.realm_id, &row.key_name, row.generation, held);
    ring.authenticate(&place(&id), &values)
}

fn place(row: &str) -> SealedPlace<'_> {
    SealedPlace {
        table: "ts_token",
        row,
        column: "mac",
    }
}

fn values(realm: &str, key: &str, generation: i64, held: &HeldToken) -> RowValues {
    let HeldToken {
        payload,
        serving,
        obtained_at,
    } = held;
    let SealedPayload {
        // It is there.
        token: _,
        token_type,
        extra,
        expiry,
    } = payload;
    let (served, per_read) = serving.columns();
    RowValues::default()
        .text(realm)
        .text(key)
        .number(Some(generation))
        .optional(token_type.as_deref())
        .number(expiry.at().map(|at| at.0))
        .flag(extra.is_some())
        .flag(served.is_some())
        .flag(per_read)
        .number(Some(obtained_at.0))
}

impl TokenRecord {
    /// The code of the same values under the key that seals; none where it is under that already,
    /// or there is no token.
    pub(super) fn reauthenticated(&self, ring: &KeyRing) -> Result<Option<Sealed>, OpenError> {
        let Some(held) = &self.held else {
            return Ok(None);
        };
        let id = self.secret_id.to_string();
        let (realm, key) = (self.realm.as_str(), self.key.as_str());
        let values = values(realm, key, self.generation.0, held);
        ring.reauthenticated(&place(&id), &values, self.mac.as_ref())
    }

    /// Whether a server with one of these keys stored the token, under this name.
    pub(super) fn verify(&self, ring: &KeyRing) -> Result<(), OpenError> {
        let Some(held) = &self.held else {
            return Ok(());
        };
        let id = self.secret_id.to_string();
        let (realm, key) = (self.realm.as_str(), self.key.as_str());
        let values = values(realm, key, self.generation.0, held);
        ring.verify(&place(&id), &values, self.mac.as_ref())
    }
}

/// Authenticates some rows as they are, whoever wrote them, after a place in the list. Answers the
/// last of them and how many there are; none where no row is left. Inside a transaction.
pub async fn authenticate_after(
    database: &impl ConnectionTrait,
    ring: &KeyRing,
    after: SecretId,
) -> Result<Option<(SecretId, u64)>, DbErr> {
    let rows = Entity::find()
        .filter(Column::SecretId.gt(after.0))
        .order_by_asc(Column::SecretId)
        .limit(ROWS_AT_ONCE)
        .lock_exclusive()
        .all(database)
        .await?;
    let Some(last) = rows.last().map(|row| SecretId(row.secret_id)) else {
        return Ok(None);
    };
    let mut count = 0;
    for row in rows {
        let record = TokenRecord::from_row(row.clone());
        let Some(held) = &record.held else { continue };
        count += 1;
        Entity::update_many()
            .col_expr(Column::Mac, Expr::value(mac_of(&row, held, ring)))
            // An early version did not store it; from now on it is what it was taken for.
            .col_expr(Column::ObtainedAt, Expr::value(held.obtained_at))
            .filter(Column::SecretId.eq(row.secret_id))
            .exec(database)
            .await?;
    }
    Ok(Some((last, count)))
}
