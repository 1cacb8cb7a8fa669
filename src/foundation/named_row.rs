//! Rows of `ts_lock`: one says which database this is, another who imports into it, a third makes
//! servers take turns where they say what they seal with, and one says where the audit's note of the
//! entries in no chain is.

use sea_orm::QueryFilter;
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{ActiveValue::Set, ColumnTrait, Condition, ConnectionTrait, DbErr, EntityTrait};
use token_server_entity::lock::{ActiveModel, Column, Entity};

use super::clock::EpochMs;
use super::database::{Database, DbError, is_duplicate};

const IDENTITY: &str = "database";
const IMPORT: &str = "import";
const SEALING: &str = "sealing";
const AUDIT_NOTE: &str = "audit_note";

/// The random name of a database; it has one once something was moved into it or out of it.
pub async fn identity(database: &impl ConnectionTrait) -> Result<Option<String>, DbErr> {
    let row = Entity::find_by_id(IDENTITY).one(database).await?;
    Ok(row.and_then(|row| row.owner))
}

/// The same; `new` where it has none.
pub async fn identity_or(database: &Database, new: &str) -> Result<String, DbError> {
    make(database, IDENTITY, Some(new)).await?;
    let identity = identity(database.causal()).await?;
    Ok(identity.unwrap_or_else(|| new.to_owned()))
}

/// Makes a row, unless it is there.
async fn make(database: &Database, name: &str, owner: Option<&str>) -> Result<(), DbError> {
    database
        .write_alone(|writer| insert(writer, name, owner))
        .await
        .map(|_| ())
}

/// Inserts a row; false where it is there.
async fn insert(
    database: &impl ConnectionTrait,
    name: &str,
    owner: Option<&str>,
) -> Result<bool, DbErr> {
    let row = ActiveModel {
        name: Set(name.to_owned()),
        owner: Set(owner.map(str::to_owned)),
        held_until: Set(EpochMs(0)),
    };
    match Entity::insert(row).exec_without_returning(database).await {
        Err(error) if is_duplicate(&error) => Ok(false),
        other => other.map(|_| true),
    }
}

/// Where the audit's note of the entries in no chain is. Only a hint: the note itself is in a chain.
pub async fn audit_note(database: &impl ConnectionTrait) -> Result<Option<String>, DbErr> {
    let row = Entity::find_by_id(AUDIT_NOTE).one(database).await?;
    Ok(row.and_then(|row| row.owner))
}

/// Says where the first note is; false where somebody else has said so. Inside a transaction, others
/// that would say so wait for its end.
pub async fn begin_audit_note(database: &impl ConnectionTrait, place: &str) -> Result<bool, DbErr> {
    insert(database, AUDIT_NOTE, Some(place)).await
}

/// Says where the note is that takes the place of another; false where it is not that one any more.
pub async fn move_audit_note(
    database: &impl ConnectionTrait,
    from: &str,
    to: &str,
) -> Result<bool, DbErr> {
    let moved = Entity::update_many()
        .col_expr(Column::Owner, Expr::value(to))
        .filter(Column::Name.eq(AUDIT_NOTE))
        .filter(Column::Owner.eq(from))
        .exec(database)
        .await?;
    Ok(moved.rows_affected == 1)
}

/// Takes the place of the one import into a database; false where another has it.
pub async fn begin_import(
    database: &Database,
    owner: &str,
    now: EpochMs,
    until: EpochMs,
) -> Result<bool, DbError> {
    make(database, IMPORT, None).await?;
    let free = Condition::any()
        .add(Column::Owner.is_null())
        .add(Column::Owner.eq(owner))
        .add(Column::HeldUntil.lt(now));
    let claimed = database
        .write_alone(|writer| {
            let claim = update(Some(owner), until).filter(free.clone());
            async move { claim.exec(writer).await }
        })
        .await?;
    Ok(claimed.rows_affected == 1)
}

/// Keeps that place until the transaction ends, and prolongs it; false where another has taken it.
pub async fn keep_import(
    database: &impl ConnectionTrait,
    owner: &str,
    until: EpochMs,
) -> Result<bool, DbErr> {
    let own = update(Some(owner), until).filter(Column::Owner.eq(owner));
    Ok(own.exec(database).await?.rows_affected == 1)
}

pub async fn end_import(database: &Database, owner: &str) -> Result<(), DbError> {
    database
        .write_alone(|writer| {
            let release = update(None, EpochMs(0)).filter(Column::Owner.eq(owner));
            async move { release.exec(writer).await.map(|_| ()) }
        })
        .await
}

fn update(owner: Option<&str>, until: EpochMs) -> sea_orm::UpdateMany<Entity> {
    Entity::update_many()
        .col_expr(Column::Owner, Expr::value(owner.map(str::to_owned)))
        .col_expr(Column::HeldUntil, Expr::value(until))
        .filter(Column::Name.eq(IMPORT))
}

/// Keeps others from saying what they seal with until the transaction ends; false where the row for
/// that is missing.
pub async fn take_sealing_turn(transaction: &impl ConnectionTrait) -> Result<bool, DbErr> {
    // On a cluster only what has changed is in the way of another node.
    let changed = Expr::col(Column::HeldUntil).add(1);
    let taken = Entity::update_many()
        .col_expr(Column::HeldUntil, changed)
        .filter(Column::Name.eq(SEALING))
        .exec(transaction)
        .await?;
    Ok(taken.rows_affected == 1)
}

/// Makes the row for that.
pub async fn make_sealing_turn(database: &Database) -> Result<(), DbError> {
    make(database, SEALING, None).await
}
