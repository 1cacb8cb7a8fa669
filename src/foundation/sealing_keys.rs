//! The ids of sealing keys in the database. Each server registers those of its ring before it
//! seals anything, so an id that is not there is that of no key: it was damaged, or its key was
//! given up for lost.

use std::sync::Arc;

use sea_orm::sea_query::{Expr, ExprTrait, Func, IntoColumnRef, Query};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbErr, EntityTrait, QueryFilter, QueryOrder, QuerySelect,
};
use token_server_entity::sealing_key::{Column, Entity};

use super::clock::{EpochMs, SharedClock};
use super::database::Database;
use super::kept::Kept;
use super::sealing::{Closed, KeyRing, OpenError, RowValues, Sealed, SealedPlace, prefix};

/// Every column whose values were made with a sealing key.
pub const SEALED_COLUMNS: [(&str, &[&str]); 8] = [
    ("ts_realm", &["mac"]),
    ("ts_api_key", &["mac"]),
    ("ts_issuer", &["mac"]),
    ("ts_secret", &["params", "mac"]),
    (
        "ts_token",
        &["token", "served", "extra", "refresh_token", "mac"],
    ),
    (
        "ts_candidate",
        &["token", "served", "extra", "refresh_token"],
    ),
    ("ts_ticket", &["value"]),
    ("ts_audit_chain", &["sealed_key"]),
];

/// How many stored values were made with a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyUse {
    pub key_id: String,
    pub values: u64,
}

/// As it stands in messages: `k1 (12 values), k2 (3 values)`.
pub fn shown(uses: &[KeyUse]) -> String {
    let each = uses
        .iter()
        .map(|KeyUse { key_id, values }| format!("{key_id:?} ({values} values)"));
    each.collect::<Vec<_>>().join(", ")
}

/// Whether a value that stays closed is damaged, and not sealed with a key that another server
/// has or had.
pub async fn is_damaged(database: &impl ConnectionTrait, error: &OpenError) -> Result<bool, DbErr> {
    match &error.why {
        Closed::Refused | Closed::Malformed | Closed::Missing => Ok(true),
        Closed::UnknownKey(id) => Ok(!is_registered(database, id).await?),
    }
}

pub async fn is_registered(database: &impl ConnectionTrait, id: &str) -> Result<bool, DbErr> {
    let row = Entity::find_by_id(id).one(database).await?;
    // MySQL finds a name that ends in blanks by the name without.
    Ok(row.is_some_and(|row| row.key_id == id))
}

/// The registered ids, in their order.
pub async fn registered(database: &impl ConnectionTrait) -> Result<Vec<String>, DbErr> {
    Entity::find()
        .select_only()
        .column(Column::KeyId)
        .order_by_asc(Column::KeyId)
        .into_tuple()
        .all(database)
        .await
}

/// The condition that the value of a column was made with a key.
pub fn is_made_with(column: impl IntoColumnRef, key_id: &str) -> Expr {
    let begins = prefix(key_id);
    let length = i32::try_from(begins.len()).unwrap_or(i32::MAX);
    let begin = Func::cust("SUBSTR")
        .arg(Expr::col(column))
        .arg(1)
        .arg(length);
    Expr::expr(begin).eq(begins)
}

/// How many stored values were made with each of some keys. Reads every row that may hold one.
pub async fn uses(
    database: &impl ConnectionTrait,
    key_ids: impl IntoIterator<Item = String>,
) -> Result<Vec<KeyUse>, DbErr> {
    let mut uses = Vec::new();
    for key_id in key_ids {
        let mut values = 0;
        for (table, column) in columns() {
            let count = Query::select()
                .expr(Expr::col(column).count())
                .from(table)
                .and_where(is_made_with(column, &key_id))
                .to_owned();
            if let Some(row) = database.query_one(&count).await? {
                let found: i64 = row.try_get_by_index(0)?;
                values += found.unsigned_abs();
            }
        }
        uses.push(KeyUse { key_id, values });
    }
    Ok(uses)
}

fn columns() -> impl Iterator<Item = (&'static str, &'static str)> {
    let tables = SEALED_COLUMNS.into_iter();
    tables.flat_map(|(table, columns)| columns.iter().map(move |column| (table, *column)))
}

/// Keys of stored values that a ring lacks.
pub async fn lacked(database: &impl ConnectionTrait, ring: &KeyRing) -> Result<Vec<KeyUse>, DbErr> {
    let mut ids = registered(database).await?;
    ids.retain(|id| !ring.key_ids().any(|own| own == id));
    let mut uses = uses(database, ids).await?;
    uses.retain(|key| key.values > 0);
    Ok(uses)
}

fn seals_place(key_id: &str) -> SealedPlace<'_> {
    SealedPlace {
        table: "ts_sealing_key",
        row: key_id,
        column: "seals_mac",
    }
}

fn seals_values(since: EpochMs) -> RowValues {
    RowValues::default().number(Some(since.0))
}

/// Says with which key of the ring all servers seal from now on.
pub async fn set_sealing(
    database: &impl ConnectionTrait,
    ring: &KeyRing,
    key_id: &str,
    now: EpochMs,
) -> Result<(), DbErr> {
    let mac = ring.authenticate_under(key_id, &seals_place(key_id), &seals_values(now));
    Entity::update_many()
        .col_expr(Column::SealsSince, Expr::value(now))
        .col_expr(Column::SealsMac, Expr::value(mac))
        .filter(Column::KeyId.eq(key_id))
        .exec(database)
        .await
        .map(|_| ())
}

/// The keys that all were told to seal with, the latest first, each with whether a server that has
/// it wrote that.
pub async fn named(
    database: &impl ConnectionTrait,
    ring: &KeyRing,
) -> Result<Vec<(String, Result<(), Closed>)>, DbErr> {
    let named: Vec<(String, EpochMs, Option<Sealed>)> = Entity::find()
        .select_only()
        .columns([Column::KeyId, Column::SealsSince, Column::SealsMac])
        .filter(Column::SealsSince.is_not_null())
        .order_by_desc(Column::SealsSince)
        .order_by_asc(Column::KeyId)
        .into_tuple()
        .all(database)
        .await?;
    let verified = named.into_iter().map(|(id, since, mac)| {
        let verified = ring.verify(&seals_place(&id), &seals_values(since), mac.as_ref());
        (id, verified.map_err(|error| error.why))
    });
    Ok(verified.collect())
}

/// Has a ring seal with the key that the database names last, where it has that. A row that no
/// server with that key wrote names none.
pub async fn follow(database: &impl ConnectionTrait, ring: &KeyRing) -> Result<(), DbErr> {
    for (id, verified) in named(database, ring).await? {
        match verified {
            Ok(()) if ring.seal_with(&id) => return Ok(()),
            Ok(()) | Err(Closed::UnknownKey(_)) => tracing::error!(
                name: "sealing.sealing_key_missing",
                key = id,
                "this server lacks the sealing key that all seal with: put it into sealing.keys"
            ),
            Err(Closed::Missing) => tracing::error!(
                name: "sealing.key_unauthenticated",
                key = id,
                "a sealing key is not taken: its row is not authenticated, as those of earlier versions are; run rotate-key again"
            ),
            Err(why) => tracing::error!(
                name: "sealing.key_forged",
                table = "ts_sealing_key",
                row = id,
                column = "seals_mac",
                %why,
                "a sealing key is not taken: its row was not written by a token server; run rotate-key again"
            ),
        }
    }
    Ok(())
}

/// Counts the stored values that were made with each key of a ring.
pub struct KeyUses {
    database: Database,
    ring: Arc<KeyRing>,
    kept: Kept<Vec<KeyUse>>,
}

impl KeyUses {
    pub fn new(database: Database, ring: Arc<KeyRing>, clock: SharedClock) -> Self {
        Self {
            database,
            ring,
            kept: Kept::new(clock),
        }
    }

    /// As they were counted a moment ago. Counting reads every row that may hold one.
    pub async fn now(&self) -> Result<Arc<Vec<KeyUse>>, DbErr> {
        let ids = self.ring.key_ids().map(str::to_owned);
        self.kept.get(uses(self.database.reader(), ids)).await
    }
}
