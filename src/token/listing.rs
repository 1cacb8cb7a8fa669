//! Tokens as they are listed, by state.

use sea_orm::sea_query::{ExprTrait, Query};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, DbErr, EntityTrait, Order, QueryFilter, QueryOrder,
    QuerySelect,
};
use token_server_entity::realm;
use token_server_entity::token::{Column, Entity};

use super::TokenRecord;
use super::state::{State, needs_attention};
use crate::foundation::clock::EpochMs;
use crate::foundation::database::one_page;
use crate::foundation::page::{Listed, Page};
use crate::foundation::pattern::Coverage;
use crate::realm::store::contains;

/// Which secrets a list shows.
#[derive(Clone, Debug, Default)]
pub struct SecretFilter<'a> {
    pub realm: Option<&'a str>,
    pub state: Option<State>,
    /// A part of the key.
    pub keyword: Option<&'a str>,
    /// What its reader may see.
    pub coverage: Coverage,
}

/// Newest registration first.
pub async fn list(
    database: &impl ConnectionTrait,
    page: Page,
    filter: &SecretFilter<'_>,
    now: EpochMs,
) -> Result<Listed<TokenRecord>, DbErr> {
    let backend = database.get_database_backend();
    let covered = filter
        .coverage
        .secrets_in(Column::RealmId, Column::KeyName, backend);
    let mut query = Entity::find().filter(covered);
    if let Some(realm) = filter.realm {
        query = query.filter(Column::RealmId.eq(realm));
    }
    if let Some(keyword) = filter.keyword {
        query = query.filter(contains(Column::KeyName, keyword));
    }
    if let Some(state) = filter.state {
        query = query.filter(in_state(state, now));
    }
    let newest_first = query.order_by(Column::SecretId, Order::Desc);
    let rows = one_page(database, newest_first, page).await?;
    Ok(rows.map(TokenRecord::from_row))
}

/// Secrets whose renewal fails and goes on, those that have failed for longest first.
pub async fn longest_failing(
    database: &impl ConnectionTrait,
    limit: u64,
) -> Result<Vec<TokenRecord>, DbErr> {
    let rows = Entity::find()
        .filter(Column::FailingSince.is_not_null())
        .filter(Column::Paused.eq(false))
        .order_by_asc(Column::FailingSince)
        .limit(limit)
        .all(database)
        .await?;
    Ok(rows.into_iter().map(TokenRecord::from_row).collect())
}

/// Secrets that are renewed next.
pub async fn due_next(
    database: &impl ConnectionTrait,
    limit: u64,
) -> Result<Vec<TokenRecord>, DbErr> {
    let rows = Entity::find()
        .filter(Column::RenewAt.is_not_null())
        .order_by_asc(Column::RenewAt)
        .limit(limit)
        .all(database)
        .await?;
    Ok(rows.into_iter().map(TokenRecord::from_row).collect())
}

/// [`State::of`] as a condition on rows.
fn in_state(state: State, now: EpochMs) -> Condition {
    let fixed_realms = Query::select()
        .column(realm::Column::Id)
        .from(realm::Entity)
        .and_where(realm::Column::Config.is_null())
        .and_where(realm::Column::LogicCode.is_null())
        .to_owned();
    let fixed = Column::RealmId.in_subquery(fixed_realms);
    match in_state_of_renewed(state, now) {
        None => Condition::all().add(fixed).add(goes_on()),
        Some(in_state) if state == State::NeedsAttention => Condition::any()
            .add(Condition::all().add(fixed.clone()).add(needs_attention()))
            .add(Condition::all().add(fixed.not()).add(in_state)),
        Some(in_state) => Condition::all().add(fixed.not()).add(in_state),
    }
}

/// The same for a realm that is not fixed; none: no row of such a realm is in that state.
pub(super) fn in_state_of_renewed(state: State, now: EpochMs) -> Option<Condition> {
    let troubled = Column::FailureClass.is_not_null();
    let renewed = Condition::all().add(Column::Paused.eq(false));
    let goes_on = goes_on();
    Some(match state {
        State::Fixed => return None,
        State::Paused => Condition::all().add(Column::Paused.eq(true)),
        State::NeedsAttention => renewed.add(needs_attention()),
        State::Retrying => renewed.add(goes_on).add(troubled).add(is_valid(now)),
        State::Active => renewed
            .add(Column::FailureClass.is_null())
            .add(is_valid(now)),
        State::Pending => renewed.add(goes_on).add(Column::Token.is_null()),
        State::Expired => renewed
            .add(goes_on)
            .add(Column::Token.is_not_null())
            .add(Column::ExpiresAt.lte(now)),
    })
}

/// No human is needed.
fn goes_on() -> Condition {
    // Where no class is stored, the other condition is neither true nor false.
    Condition::any()
        .add(Column::FailureClass.is_null())
        .add(needs_attention().not())
}

/// [`super::HeldToken::is_valid`] as a condition on rows.
pub(super) fn is_valid(now: EpochMs) -> Condition {
    Condition::all().add(Column::Token.is_not_null()).add(
        Condition::any()
            .add(Column::ExpiresAt.is_null())
            .add(Column::ExpiresAt.gt(now)),
    )
}
