//! Tokens as they are listed and counted, by state.

use sea_orm::sea_query::{CaseStatement, ExprTrait, Func, Query};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, DbErr, EntityTrait, FromQueryResult, Order,
    QueryFilter, QueryOrder, QueryResult, QuerySelect,
};
use token_server_entity::realm;
use token_server_entity::token::{Column, Entity};

use super::TokenRecord;
use super::state::{State, needs_attention};
use crate::foundation::clock::EpochMs;
use crate::foundation::database::one_page;
use crate::foundation::page::{Listed, Page};
use crate::realm::store::contains;

/// Which secrets a list shows.
#[derive(Clone, Debug, Default)]
pub struct Filter<'a> {
    pub realm: Option<&'a str>,
    pub state: Option<State>,
    /// A part of the key.
    pub keyword: Option<&'a str>,
}

/// Newest registration first.
pub async fn list(
    database: &impl ConnectionTrait,
    page: Page,
    filter: &Filter<'_>,
    now: EpochMs,
) -> Result<Listed<TokenRecord>, DbErr> {
    let mut query = Entity::find();
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

/// [`State::of`] as a condition on rows.
fn in_state(state: State, now: EpochMs) -> Condition {
    let fixed_realms = Query::select()
        .column(realm::Column::Id)
        .from(realm::Entity)
        .and_where(realm::Column::Config.is_null())
        .and_where(realm::Column::LogicCode.is_null())
        .to_owned();
    let fixed = Column::RealmId.in_subquery(fixed_realms);
    let valid = Condition::all().add(Column::Token.is_not_null()).add(
        Condition::any()
            .add(Column::ExpiresAt.is_null())
            .add(Column::ExpiresAt.gt(now)),
    );
    let troubled = Column::FailureClass.is_not_null();
    let renewed = Condition::all()
        .add(fixed.clone().not())
        .add(Column::Paused.eq(false));
    // Where no class is stored, the condition is neither true nor false.
    let goes_on = Condition::any()
        .add(Column::FailureClass.is_null())
        .add(needs_attention().not());
    match state {
        State::Fixed => Condition::all().add(fixed),
        State::Paused => Condition::all()
            .add(fixed.not())
            .add(Column::Paused.eq(true)),
        State::NeedsAttention => renewed.add(needs_attention()),
        State::Retrying => renewed.add(goes_on).add(troubled).add(valid),
        State::Active => renewed.add(Column::FailureClass.is_null()).add(valid),
        State::Pending => renewed.add(goes_on).add(Column::Token.is_null()),
        State::Expired => renewed
            .add(goes_on)
            .add(Column::Token.is_not_null())
            .add(Column::ExpiresAt.lte(now)),
    }
}

/// How many secrets are in each state; reads every row.
pub async fn count_by_state(
    database: &impl ConnectionTrait,
    now: EpochMs,
) -> Result<Vec<(State, i64)>, DbErr> {
    let mut query = Entity::find().select_only();
    for state in State::ALL {
        let one = CaseStatement::new().case(in_state(state, now), 1);
        query = query.expr_as(Func::count(one), state.as_str());
    }
    let Some(row) = query.into_model::<Counts>().one(database).await? else {
        return Ok(Vec::new());
    };
    Ok(row.0)
}

struct Counts(Vec<(State, i64)>);

impl FromQueryResult for Counts {
    fn from_query_result(row: &QueryResult, prefix: &str) -> Result<Self, DbErr> {
        let count = |state: State| Ok((state, row.try_get(prefix, state.as_str())?));
        State::ALL
            .into_iter()
            .map(count)
            .collect::<Result<_, _>>()
            .map(Self)
    }
}
