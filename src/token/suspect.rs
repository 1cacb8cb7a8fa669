//! Leases that may have been left behind.

use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, DbErr, EntityTrait, QueryFilter, QueryOrder,
    QuerySelect,
};
use token_server_entity::token::{Column, Entity};

use super::elsewhere::FOREVER;
use crate::foundation::clock::{EpochMs, Ms, Timeline};
use crate::foundation::ids::{Fence, RealmId, SecretId};

/// A row that somebody holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suspect {
    pub id: SecretId,
    pub realm: RealmId,
    pub fence: Fence,
    pub until: EpochMs,
    /// How long the lease was given for.
    pub lease: Ms,
}

impl Suspect {
    pub fn has_run_out(&self, now: EpochMs) -> bool {
        self.until < now
    }
}

/// The leases that end first, of all realms or of one. That one has run out by the wall clock
/// does not allow taking over. Nobody waits for one that another database has for ever.
pub async fn held(
    database: &impl ConnectionTrait,
    realm: Option<&RealmId>,
    limit: u64,
) -> Result<Vec<Suspect>, DbErr> {
    let of_realm = realm.map(|realm| Column::RealmId.eq(realm.as_str()));
    let rows: Vec<(i64, String, i64, EpochMs, Option<EpochMs>)> = Entity::find()
        .filter(Condition::all().add_option(of_realm))
        .select_only()
        .columns([Column::SecretId, Column::RealmId, Column::Fence])
        .columns([Column::LeaseUntil, Column::LastAttemptAt])
        .filter(Column::LeaseUntil.lt(FOREVER))
        .order_by_asc(Column::LeaseUntil)
        .limit(limit)
        .into_tuple()
        .all(database)
        .await?;
    let suspect = |(id, realm, fence, until, claimed_at): (_, _, _, EpochMs, Option<_>)| {
        Some(Suspect {
            id: SecretId(id),
            realm: RealmId::stored(realm),
            fence: Fence(fence),
            until,
            lease: until.since(claimed_at?),
        })
    };
    Ok(rows.into_iter().filter_map(suspect).collect())
}
