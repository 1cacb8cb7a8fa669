//! Which sealing keys each server that runs has, and the one that it seals with, as it says itself.

use sea_orm::sea_query::Expr;
use sea_orm::{
    ActiveValue::Set, ColumnTrait, ConnectionTrait, DbErr, EntityTrait, QueryFilter, QueryOrder,
    QuerySelect,
};
use token_server_entity::replica::{ActiveModel, Column, Entity, Model};

use super::clock::{EpochMs, Ms, Timeline};
use super::database::{Database, DbError};
use super::ids::ReplicaId;
use super::sealing::{Closed, KeyRing, RowValues, SealedPlace};

/// A server that has not said for so long that it lives has gone.
pub const LIVE: Ms = Ms::from_secs(30);
/// Rows of those that have gone are kept for so long: they published, whatever else they left.
const KEPT: Ms = Ms::from_secs(60 * 60);

/// The ring of a server that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishedRing {
    pub replica: String,
    pub key_ids: Vec<String>,
    pub seals: String,
}

/// Says that a server has gone: nobody waits for it.
pub async fn leave(
    database: &Database,
    ring: &KeyRing,
    replica: &ReplicaId,
    now: EpochMs,
) -> Result<(), DbError> {
    let gone = row(ring, replica, ring.sealing_id(), now.minus(LIVE));
    database
        .write_alone(|writer| {
            let update = update(&gone);
            async move { update.exec(writer).await.map(|_| ()) }
        })
        .await
}

/// The keys that servers which run seal with, and that a ring lacks.
pub async fn sealing_lacked(
    database: &impl ConnectionTrait,
    ring: &KeyRing,
    now: EpochMs,
) -> Result<Vec<String>, DbErr> {
    let live = live(database, ring, now).await?;
    let mut lacked: Vec<_> = live.into_iter().map(|one| one.seals).collect();
    lacked.retain(|id| !ring.key_ids().any(|own| own == id));
    lacked.sort_unstable();
    lacked.dedup();
    Ok(lacked)
}

/// The rings of all who run. A row that no server wrote is none.
pub async fn live(
    database: &impl ConnectionTrait,
    ring: &KeyRing,
    now: EpochMs,
) -> Result<Vec<PublishedRing>, DbErr> {
    let rows = Entity::find()
        .filter(Column::LiveUntil.gte(now))
        .order_by_asc(Column::Replica)
        .all(database)
        .await?;
    let good = rows.into_iter().filter(|row| {
        let values = values(&row.key_ids, &row.seals, row.live_until);
        let verified = ring.verify(&place(&row.replica), &values, Some(&row.mac));
        match verified.map_err(|error| error.why) {
            // Who wrote it has that key, and lacks those of this server at least.
            Ok(()) | Err(Closed::UnknownKey(_)) => true,
            Err(why) => {
                tracing::error!(
                    name: "sealing.ring_forged",
                    table = "ts_replica",
                    row = row.replica,
                    column = "mac",
                    %why,
                    "the ring of a server is not taken: its row was not written by a token server"
                );
                false
            }
        }
    });
    Ok(good
        .map(|row| PublishedRing {
            key_ids: serde_json::from_str(&row.key_ids).unwrap_or_default(),
            replica: row.replica,
            seals: row.seals,
        })
        .collect())
}

fn place(replica: &str) -> SealedPlace<'_> {
    SealedPlace {
        table: "ts_replica",
        row: replica,
        column: "mac",
    }
}

fn values(key_ids: &str, seals: &str, live_until: EpochMs) -> RowValues {
    RowValues::default()
        .text(key_ids)
        .text(seals)
        .number(Some(live_until.0))
}

fn row(ring: &KeyRing, replica: &ReplicaId, seals: &str, live_until: EpochMs) -> Model {
    let key_ids: Vec<_> = ring.key_ids().collect();
    let key_ids = serde_json::json!(key_ids).to_string();
    let values = values(&key_ids, seals, live_until);
    let mac = ring.authenticate_under(seals, &place(&replica.0), &values);
    Model {
        replica: replica.0.clone(),
        key_ids,
        seals: seals.to_owned(),
        live_until,
        // A server seals with a key that it has.
        mac: mac.unwrap_or_else(|| ring.authenticate(&place(&replica.0), &values)),
    }
}

fn update(row: &Model) -> sea_orm::UpdateMany<Entity> {
    Entity::update_many()
        .col_expr(Column::KeyIds, Expr::value(row.key_ids.clone()))
        .col_expr(Column::Seals, Expr::value(row.seals.clone()))
        .col_expr(Column::LiveUntil, Expr::value(row.live_until))
        .col_expr(Column::Mac, Expr::value(row.mac.clone()))
        .filter(Column::Replica.eq(row.replica.as_str()))
}

/// Says what a server has, and seals with from now on. Within its turn: nobody else writes the row
/// meanwhile.
pub async fn put(
    transaction: &impl ConnectionTrait,
    ring: &KeyRing,
    replica: &ReplicaId,
    seals: &str,
    now: EpochMs,
) -> Result<(), DbErr> {
    let row = row(ring, replica, seals, now.plus(LIVE));
    if update(&row).exec(transaction).await?.rows_affected == 0 {
        let row = ActiveModel {
            replica: Set(row.replica),
            key_ids: Set(row.key_ids),
            seals: Set(row.seals),
            live_until: Set(row.live_until),
            mac: Set(row.mac),
        };
        let insert = Entity::insert(row);
        insert.exec_without_returning(transaction).await?;
    }
    let gone = Column::LiveUntil.lt(now.minus(KEPT));
    let delete = Entity::delete_many().filter(gone);
    delete.exec(transaction).await.map(|_| ())
}

/// All that have published something, those that have gone included.
pub async fn replicas(database: &impl ConnectionTrait) -> Result<Vec<String>, DbErr> {
    Entity::find()
        .select_only()
        .column(Column::Replica)
        .into_tuple()
        .all(database)
        .await
}
