//! Attempts whose outcome never came: they may have used up the refresh token. Whoever comes
//! next waits for what they may still bring.

use sea_orm::sea_query::{CaseStatement, Expr, ExprTrait, SimpleExpr};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, DbErr, EntityTrait, QueryFilter, QuerySelect,
    UpdateMany,
};
use token_server_entity::token::{Column, Entity};

use super::lease::unless_paused;
use super::state::parking_classes;
use super::store;
use crate::foundation::clock::EpochMs;
use crate::foundation::ids::{AttemptId, ReplicaId, SecretId};

/// Whether a failed attempt may have used up the refresh token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unclear {
    No,
    /// It may, and nobody will bring what took its place.
    Lost,
    /// It may, and the answer may still come.
    Awaited,
}

/// Notes that the attempt of the lease that ends may have used up the refresh token. Where the
/// result of an earlier one is awaited, that is what is remembered: it may hold the only good
/// refresh token. First in an update, and in this order: MySQL evaluates from left to right,
/// and the claim is overwritten after.
pub(super) fn lost(awaited: bool) -> UpdateMany<Entity> {
    let unless_awaited = |column: Column, of_this: Column| -> SimpleExpr {
        CaseStatement::new()
            .case(Column::LostAwaited.eq(true), Expr::col(column))
            .finally(Expr::col(of_this))
            .into()
    };
    let still_awaited: SimpleExpr = CaseStatement::new()
        .case(Column::LostAwaited.eq(true), true)
        .finally(awaited)
        .into();
    let attempt = unless_awaited(Column::LostAttempt, Column::ClaimId);
    let at = unless_awaited(Column::LostAt, Column::LastAttemptAt);
    let owner = unless_awaited(Column::LostOwner, Column::LeaseOwner);
    Entity::update_many()
        .col_expr(
            Column::LostAgain,
            Expr::col(Column::LostAttempt).is_not_null(),
        )
        .col_expr(Column::LostOwner, owner)
        .col_expr(Column::LostAttempt, attempt)
        .col_expr(Column::LostAt, at)
        .col_expr(Column::LostAwaited, still_awaited)
}

/// Forgets a lost attempt: what it may have obtained is here, or of no use any more.
pub(super) fn nothing_lost(update: UpdateMany<Entity>) -> UpdateMany<Entity> {
    update
        .col_expr(Column::LostAttempt, Expr::value(None::<String>))
        .col_expr(Column::LostAt, Expr::value(None::<EpochMs>))
        .col_expr(Column::LostAwaited, Expr::value(false))
        .col_expr(Column::LostAgain, Expr::value(false))
        .col_expr(Column::LostOwner, Expr::value(None::<String>))
}

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
    let update = if sent {
        Entity::update_many().col_expr(Column::LostAwaited, Expr::value(false))
    } else {
        nothing_lost(Entity::update_many()).col_expr(Column::RenewAt, unless_paused(Some(now)))
    };
    let lost = update
        .filter(Column::SecretId.eq(id.0))
        .filter(Column::LostAttempt.eq(attempt.0.as_str()))
        .exec(database)
        .await?;
    if lost.rows_affected == 1 {
        store::wake_waiting(database, &[id], now).await?;
    }
    Ok(())
}

/// The same for all lost attempts of a replica whose process has ended, but for those whose
/// result will be brought. What waits, or would be tried again, is due: the sooner, the more
/// likely a provider still accepts the used refresh token. What is parked stays so.
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
    let not_parked = Condition::any()
        .add(Column::FailureClass.is_null())
        .add(Column::FailureClass.is_not_in(parking_classes()));
    of_owner(store::due_now(now))
        .filter(not_parked)
        .exec(database)
        .await?;
    of_owner(Entity::update_many())
        .col_expr(Column::LostAwaited, Expr::value(false))
        .exec(database)
        .await
        .map(|_| ())
}

/// Leaves some attempts out.
pub(super) fn but_for(
    update: UpdateMany<Entity>,
    column: Column,
    except: &[AttemptId],
) -> UpdateMany<Entity> {
    if except.is_empty() {
        return update;
    }
    update.filter(column.is_not_in(except.iter().map(|attempt| attempt.0.as_str())))
}

/// Whether somebody may still bring what a lost attempt obtained. Of a row that is locked.
pub(super) async fn is_awaited(
    database: &impl ConnectionTrait,
    id: SecretId,
) -> Result<bool, DbErr> {
    let awaited = Entity::find_by_id(id.0)
        .select_only()
        .column(Column::LostAwaited)
        .into_tuple::<bool>()
        .one(database)
        .await?;
    Ok(awaited == Some(true))
}
