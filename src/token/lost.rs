//! Attempts whose outcome never came: they may have used up the refresh token. Whoever comes
//! next waits for what they may still bring.

use sea_orm::sea_query::Expr;
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, DbErr, EntityTrait, QueryFilter, UpdateMany,
};
use token_server_entity::token::{Column, Entity};

use super::locked::{lock_one, write};
use super::state::needs_attention;
use super::store;
use crate::foundation::clock::EpochMs;
use crate::foundation::ids::{AttemptId, ReplicaId, SecretId};

/// The answer of a lost attempt will not come: who waits for it need wait no longer. Where it
/// turns out that nothing was sent, nothing is lost, and the next attempt is due. Inside a
/// transaction.
pub async fn nothing_comes(
    database: &impl ConnectionTrait,
    id: SecretId,
    attempt: &AttemptId,
    sent: bool,
    now: EpochMs,
) -> Result<(), DbErr> {
    let row = lock_one(database, id).await?;
    let Some(mut row) = row.filter(|row| row.has_lost(attempt)) else {
        return Ok(());
    };
    if sent {
        row.nothing_comes();
    } else {
        row.nothing_lost();
        row.due(Some(now));
    }
    write(database, &[row]).await?;
    store::wake_waiting(database, &[id], now).await
}

/// The same for all lost attempts of a replica whose process has ended, but for those whose
/// result will be brought. What waits, or would be tried again, is due: the sooner, the more
/// likely a provider still accepts the used refresh token. What needs a human still does.
pub async fn nothing_comes_from(
    database: &impl ConnectionTrait,
    owner: &ReplicaId,
    except: &[AttemptId],
    now: EpochMs,
) -> Result<(), DbErr> {
    let of_owner = |update: UpdateMany<Entity>| {
        let lost = update
            .filter(Column::LostAwaited.eq(true))
            .filter(Column::LostOwner.eq(owner.0.as_str()));
        but_for(lost, Column::LostAttempt, except)
    };
    let goes_on = Condition::any()
        .add(Column::FailureClass.is_null())
        .add(needs_attention().not());
    of_owner(store::due_now(now))
        .filter(goes_on)
        .exec(database)
        .await?;
    of_owner(Entity::update_many())
        .col_expr(Column::LostAwaited, Expr::value(false))
        .exec(database)
        .await
        .map(|_| ())
}

/// Leaves some attempts out.
fn but_for(update: UpdateMany<Entity>, column: Column, except: &[AttemptId]) -> UpdateMany<Entity> {
    if except.is_empty() {
        return update;
    }
    update.filter(column.is_not_in(except.iter().map(|attempt| attempt.0.as_str())))
}
