//! The feed of changes: each transaction that changes what readers hold in memory says so in
//! it. It is a hint. Its numbers become visible out of order, and on a cluster they leave
//! gaps, so whoever follows it reads the last of it again for a while.

use sea_orm::sea_query::{Expr, Query};
use sea_orm::{
    ActiveValue::{NotSet, Set},
    ColumnTrait, Condition, ConnectionTrait, DbErr, EntityTrait, QueryFilter, QueryOrder,
    QuerySelect,
};
use token_server_entity::change::{self, Column, Entity};
use token_server_entity::token;

use crate::foundation::database::{delete_some, pieces, rows_after};
use crate::foundation::ids::{KeyName, RealmId, SecretId};

/// What was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FeedChange {
    /// A secret's token is another.
    Token(SecretId),
    /// A secret's token is gone, or is not to be remembered any more. None: a server of an earlier
    /// version does not say whose it was.
    Forget(SecretId, Option<SecretName>),
    /// A secret is in another state, or was made or changed; its token is the same.
    State(SecretId),
    /// A realm was saved or deleted.
    Realm(RealmId),
    /// An API key is good no longer, or an issuer lets in others than before.
    Keys,
    /// All servers seal with another key.
    SealingKey,
}

/// What a secret was called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretName {
    pub realm: RealmId,
    pub key: KeyName,
}

const TOKEN: &str = "token";
const STATE: &str = "state";
const REALM: &str = "realm";
const FORGET: &str = "forget";
const KEYS: &str = "keys";
const SEALING_KEY: &str = "sealing_key";

/// Says it, inside the transaction that makes the changes.
pub async fn append(database: &impl ConnectionTrait, changes: &[FeedChange]) -> Result<(), DbErr> {
    for changes in pieces(changes) {
        append_piece(database, changes).await?;
    }
    Ok(())
}

async fn append_piece(
    database: &impl ConnectionTrait,
    changes: &[FeedChange],
) -> Result<(), DbErr> {
    let rows = changes.iter().map(|change| {
        let (subject, row_id) = match change {
            FeedChange::Token(id) => (TOKEN, Some(id.0)),
            FeedChange::Forget(id, _) => (FORGET, Some(id.0)),
            FeedChange::State(id) => (STATE, Some(id.0)),
            FeedChange::Realm(_) => (REALM, None),
            FeedChange::Keys => (KEYS, None),
            FeedChange::SealingKey => (SEALING_KEY, None),
        };
        let (realm, key) = match change {
            FeedChange::Forget(_, Some(name)) => (Some(&name.realm), Some(&name.key)),
            FeedChange::Realm(realm) => (Some(realm), None),
            _ => (None, None),
        };
        change::ActiveModel {
            id: NotSet,
            subject: Set(subject.to_owned()),
            row_id: Set(row_id),
            realm_id: Set(realm.map(ToString::to_string)),
            key_name: Set(key.map(ToString::to_string)),
        }
    });
    Entity::insert_many(rows)
        .exec_without_returning(database)
        .await
        .map(|_| ())
}

/// Says that all tokens that meet a condition are to be forgotten.
pub async fn append_forget(
    database: &impl ConnectionTrait,
    forgotten: Condition,
) -> Result<(), DbErr> {
    let ids = Query::select()
        .expr(Expr::value(FORGET))
        .columns([
            token::Column::SecretId,
            token::Column::RealmId,
            token::Column::KeyName,
        ])
        .from(token::Entity)
        .cond_where(forgotten)
        .to_owned();
    let mut insert = Query::insert();
    insert
        .into_table(Entity)
        .columns([
            Column::Subject,
            Column::RowId,
            Column::RealmId,
            Column::KeyName,
        ])
        .select_from(ids)
        .map_err(|error| DbErr::Custom(error.to_string()))?;
    database.execute(&insert).await.map(|_| ())
}

/// The number of the newest entry that can be seen; 0 where there is none.
pub async fn newest(database: &impl ConnectionTrait) -> Result<i64, DbErr> {
    let newest: Option<Option<i64>> = Entity::find()
        .select_only()
        .column_as(Column::Id.max(), "newest")
        .into_tuple()
        .one(database)
        .await?;
    Ok(newest.flatten().unwrap_or(0))
}

/// What stands after a number, in order; none where only a newer version knows what it is.
pub async fn after(
    database: &impl ConnectionTrait,
    number: i64,
    limit: u64,
) -> Result<Vec<(i64, Option<FeedChange>)>, DbErr> {
    let rows = rows_after(database, Entity::find(), Column::Id, number, limit).await?;
    let change = |row: change::Model| {
        let change = match (row.subject.as_str(), row.row_id) {
            (TOKEN, Some(id)) => Some(FeedChange::Token(SecretId(id))),
            (FORGET, Some(id)) => {
                let name = row
                    .realm_id
                    .zip(row.key_name)
                    .map(|(realm, key)| SecretName {
                        realm: RealmId::stored(realm),
                        key: KeyName::stored(key),
                    });
                Some(FeedChange::Forget(SecretId(id), name))
            }
            (STATE, Some(id)) => Some(FeedChange::State(SecretId(id))),
            (REALM, _) => row.realm_id.map(RealmId::stored).map(FeedChange::Realm),
            (KEYS, _) => Some(FeedChange::Keys),
            (SEALING_KEY, _) => Some(FeedChange::SealingKey),
            _ => None,
        };
        (row.id, change)
    };
    Ok(rows.into_iter().map(change).collect())
}

/// Deletes at most `limit` entries up to a number; answers how many.
pub async fn prune(database: &impl ConnectionTrait, number: i64, limit: u64) -> Result<u64, DbErr> {
    let oldest_first = Entity::find()
        .filter(Column::Id.lte(number))
        .order_by_asc(Column::Id);
    delete_some(database, oldest_first, Column::Id, limit).await
}
