//! How far copies of the audit are. By chain and place, because that is the order in which entries
//! are committed; their numbers are not.

use std::collections::HashMap;

use sea_orm::sea_query::Expr;
use sea_orm::{
    ActiveValue::{NotSet, Set},
    ColumnTrait, ConnectionTrait, DbErr, EntityTrait, QueryFilter, QueryOrder,
};
use token_server_entity::audit_sink::{ActiveModel, Column, Entity};
use token_server_entity::{audit, audit_chain};

use super::store::in_chain;
use crate::foundation::database::is_duplicate;

/// A chain of which a sink lacks entries.
#[derive(Clone, Debug)]
pub struct Behind {
    pub chain: String,
    /// The server that writes it.
    pub replica: String,
    /// The last entry that the sink has taken; 0: none.
    pub taken: i64,
    /// None where nothing is stored of that.
    stored: Option<i64>,
    /// Its last entry.
    pub last: i64,
}

impl Behind {
    /// Entries that the sink lacks, as far as they are kept.
    pub fn count(&self) -> i64 {
        self.last - self.taken
    }
}

/// Chains of which a sink lacks entries, in the order they were begun in.
pub async fn behind(database: &impl ConnectionTrait, sink: &str) -> Result<Vec<Behind>, DbErr> {
    let rows = Entity::find().filter(Column::Sink.eq(sink)).all(database);
    let rows = rows.await?.into_iter();
    let stored: HashMap<String, i64> = rows.map(|row| (row.chain, row.seq)).collect();
    let chains = audit_chain::Entity::find()
        .order_by_asc(audit_chain::Column::Id)
        .all(database)
        .await?;
    let behind = chains.into_iter().map(|row| {
        let stored = stored.get(&row.chain).copied();
        Behind {
            // What was pruned meanwhile is gone.
            taken: stored.unwrap_or(0).max(row.pruned_seq),
            stored,
            chain: row.chain,
            replica: row.replica,
            last: row.seq,
        }
    });
    Ok(behind.filter(|behind| behind.count() > 0).collect())
}

/// The next entries of a chain for a sink.
pub async fn next(
    database: &impl ConnectionTrait,
    behind: &Behind,
    limit: u64,
) -> Result<Vec<audit::Model>, DbErr> {
    in_chain(database, &behind.chain, behind.taken, limit).await
}

/// Says that a sink has taken the entries of a chain up to a place; false where another server has
/// said so of others meanwhile.
pub async fn advance(
    database: &impl ConnectionTrait,
    sink: &str,
    behind: &mut Behind,
    taken: i64,
) -> Result<bool, DbErr> {
    let advanced = match behind.stored {
        Some(stored) => {
            let updated = Entity::update_many()
                .col_expr(Column::Seq, Expr::value(taken))
                .filter(Column::Sink.eq(sink))
                .filter(Column::Chain.eq(behind.chain.as_str()))
                .filter(Column::Seq.eq(stored))
                .exec(database)
                .await?;
            updated.rows_affected == 1
        }
        None => {
            let row = ActiveModel {
                id: NotSet,
                sink: Set(sink.to_owned()),
                chain: Set(behind.chain.clone()),
                seq: Set(taken),
            };
            match Entity::insert(row).exec_without_returning(database).await {
                Err(error) if is_duplicate(&error) => false,
                other => other.map(|_| true)?,
            }
        }
    };
    (behind.taken, behind.stored) = (taken, Some(taken));
    Ok(advanced)
}
