//! Rows that are authenticated, under another sealing key.

use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, Condition, ConnectionTrait, DbErr, EntityTrait, QueryFilter};

use super::sealing::{KeyRing, Resealed, RowValues, Sealed, SealedPlace};

/// What authenticates a row, and which row it is.
pub struct AuthenticatedRow<'a> {
    pub place: SealedPlace<'a>,
    pub values: RowValues,
    pub mac: Option<&'a Sealed>,
    /// Of the row as it was read, and of no other.
    pub is_row: Condition,
}

/// Authenticates all rows of a table anew, with the key that seals, that another key authenticated.
pub async fn reauthenticate<E: EntityTrait>(
    database: &impl ConnectionTrait,
    ring: &KeyRing,
    column: E::Column,
    authenticated: impl Fn(&E::Model) -> AuthenticatedRow<'_>,
) -> Result<Resealed, DbErr> {
    let mut resealed = Resealed::default();
    for row in E::find().all(database).await? {
        let AuthenticatedRow {
            place,
            values,
            mac,
            is_row,
        } = authenticated(&row);
        if let Some(new) = resealed.count(ring.reauthenticated(&place, &values, mac)) {
            E::update_many()
                .col_expr(column, Expr::value(new))
                .filter(is_row)
                .filter(column.eq(mac.cloned()))
                .exec(database)
                .await?;
        }
    }
    Ok(resealed)
}
