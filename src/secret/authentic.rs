//! What binds a secret's parameters to its version: a code over both, because the parameters are
//! sealed for the secret alone. Older ones that are put back under a newer version are refused.

use sea_orm::sea_query::{CaseStatement, Expr};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbErr, EntityTrait, QueryFilter, QueryOrder, QuerySelect,
};
use sha2::{Digest, Sha256};
use token_server_entity::secret::{Column, Entity, Model};

use super::place::{PlaceName, plain};
use crate::foundation::ids::{SecretId, Version};
use crate::foundation::sealing::{self, KeyRing, OpenError, RowValues, Sealed};

/// Rows of one transaction that are authenticated together.
const ROWS_AT_ONCE: u64 = 200;

/// Of the parameters, not of their sealed form: an earlier version seals them anew under another key.
fn values(version: Version, plain: &[u8]) -> RowValues {
    let digest = Sha256::digest(plain);
    RowValues::default()
        .number(Some(version.0))
        .bytes(digest.as_slice())
}

pub(super) fn mac_of(place: &PlaceName, version: Version, plain: &[u8], ring: &KeyRing) -> Sealed {
    ring.authenticate(&place.mac(), &values(version, plain))
}

/// Whether a server with one of these keys stored these parameters as this version.
pub(super) fn verify(row: &Model, plain: &[u8], ring: &KeyRing) -> Result<(), OpenError> {
    let place = PlaceName::of_row(row);
    let values = values(Version(row.version), plain);
    ring.verify(&place.mac(), &values, row.mac.as_ref())
}

/// The same code under the key that seals; none where it is under that already.
pub(super) fn reauthenticated(row: &Model, ring: &KeyRing) -> Result<Option<Sealed>, OpenError> {
    let mac = row.mac.as_ref();
    if mac.and_then(sealing::key_id) == Some(ring.sealing_id()) {
        return Ok(None);
    }
    let values = values(Version(row.version), &plain(row, ring)?);
    ring.reauthenticated(&PlaceName::of_row(row).mac(), &values, mac)
}

/// Whether anything of a row opens that was made with a key.
pub fn proves(row: &Model, key_id: &str, ring: &KeyRing) -> bool {
    let is_of_key = |sealed: &Sealed| sealing::key_id(sealed) == Some(key_id);
    let Ok(plain) = plain(row, ring) else {
        return false;
    };
    is_of_key(&row.params)
        || row.mac.as_ref().is_some_and(is_of_key) && verify(row, &plain, ring).is_ok()
}

/// Authenticates some secrets as they are, whoever wrote them, whose parameters are sealed with one
/// of these keys, after a place in the list. Answers the last of those that were looked at and how
/// many were authenticated; none where no row is left. Inside a transaction.
pub async fn authenticate_after(
    database: &impl ConnectionTrait,
    (ring, key_ids): (&KeyRing, &[&str]),
    after: SecretId,
) -> Result<Option<(SecretId, u64)>, DbErr> {
    let rows = Entity::find()
        .filter(Column::Id.gt(after.0))
        .order_by_asc(Column::Id)
        .limit(ROWS_AT_ONCE)
        .lock_exclusive()
        .all(database)
        .await?;
    let Some(last) = rows.last().map(|row| SecretId(row.id)) else {
        return Ok(None);
    };
    let mut macs = Vec::new();
    for row in rows {
        let is_of_keys = sealing::key_id(&row.params).is_some_and(|id| key_ids.contains(&id));
        // What is damaged is refused for that.
        if let (true, Ok(plain)) = (is_of_keys, plain(&row, ring))
            && verify(&row, &plain, ring).is_err()
        {
            let (place, version) = (PlaceName::of_row(&row), Version(row.version));
            macs.push((row.id, mac_of(&place, version, &plain, ring)));
        }
    }
    let count = macs.len() as u64;
    if count > 0 {
        let ids: Vec<_> = macs.iter().map(|(id, _)| *id).collect();
        let by_id = macs
            .into_iter()
            .fold(CaseStatement::new(), |case, (id, mac)| {
                case.case(Column::Id.eq(id), Expr::value(mac))
            })
            .finally(Expr::col(Column::Mac));
        Entity::update_many()
            .col_expr(Column::Mac, by_id.into())
            .filter(Column::Id.is_in(ids))
            .exec(database)
            .await?;
    }
    Ok(Some((last, count)))
}
