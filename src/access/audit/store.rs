//! Entries of the audit in the database.

use sea_orm::{
    ActiveModelTrait, ActiveValue::NotSet, ColumnTrait, ConnectionTrait, DbErr, EntityTrait,
    IntoActiveModel, Order, QueryFilter, QueryOrder, QuerySelect,
};
use token_server_entity::audit::{self, Column, Entity};

use super::entry::AuditEntry;
use crate::foundation::clock::EpochMs;
use crate::foundation::database::{one_page, rows_after};
use crate::foundation::page::{Listed, Page};

/// Which entries are wanted; of what is absent, any.
#[derive(Clone, Debug, Default)]
pub struct AuditFilter<'a> {
    pub actor: Option<&'a str>,
    pub action: Option<&'a str>,
    pub target: Option<&'a str>,
    pub since: Option<EpochMs>,
    /// Entries before then.
    pub until: Option<EpochMs>,
}

impl AuditFilter<'_> {
    fn query(&self) -> sea_orm::Select<Entity> {
        let texts = [
            (Column::Actor, self.actor),
            (Column::Action, self.action),
            (Column::Target, self.target),
        ];
        let mut query = Entity::find();
        for (column, text) in texts {
            if let Some(text) = text {
                query = query.filter(column.eq(text));
            }
        }
        if let Some(since) = self.since {
            query = query.filter(Column::At.gte(since));
        }
        if let Some(until) = self.until {
            query = query.filter(Column::At.lt(until));
        }
        query
    }
}

/// Appends entries to no chain: by whoever has no sealing key, and so nothing to authenticate them
/// with.
pub async fn append_unchained(
    database: &impl ConnectionTrait,
    entries: Vec<AuditEntry>,
) -> Result<(), DbErr> {
    let rows = entries.into_iter().map(|entry| audit::ActiveModel {
        id: NotSet,
        ..entry.into_row().into_active_model().reset_all()
    });
    Entity::insert_many(rows)
        .exec_without_returning(database)
        .await
        .map(|_| ())
}

/// Newest first.
pub async fn list(
    database: &impl ConnectionTrait,
    page: Page,
    filter: &AuditFilter<'_>,
) -> Result<Listed<audit::Model>, DbErr> {
    let newest_first = filter.query().order_by(Column::Id, Order::Desc);
    one_page(database, newest_first, page).await
}

/// At most `limit` entries after a number, oldest first.
pub async fn after(
    database: &impl ConnectionTrait,
    id: i64,
    filter: &AuditFilter<'_>,
    limit: u64,
) -> Result<Vec<audit::Model>, DbErr> {
    rows_after(database, filter.query(), Column::Id, id, limit).await
}

/// At most `limit` entries in no chain, up to a number, the last first. An index has them in that
/// order, because they have no place in a chain either.
pub(super) async fn rows_before(
    database: &impl ConnectionTrait,
    last_id: i64,
    limit: u64,
) -> Result<Vec<audit::Model>, DbErr> {
    Entity::find()
        .filter(Column::Chain.is_null())
        .filter(Column::Seq.is_null())
        .filter(Column::Id.lte(last_id))
        .order_by_desc(Column::Id)
        .limit(limit)
        .all(database)
        .await
}

/// At most `limit` entries of a chain after a place in it, in their order.
pub(super) async fn in_chain(
    database: &impl ConnectionTrait,
    chain: &str,
    after: i64,
    limit: u64,
) -> Result<Vec<audit::Model>, DbErr> {
    let of_chain = Entity::find().filter(Column::Chain.eq(chain));
    rows_after(database, of_chain, Column::Seq, after, limit).await
}
