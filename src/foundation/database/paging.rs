//! Queries in parts: one page of a list, so many rows after an id, and deletion of so many rows at a
//! time.

use std::time::Duration;

use sea_orm::{
    ColumnTrait, ConnectionTrait, DbErr, EntityTrait, FromQueryResult, PaginatorTrait, QueryFilter,
    QueryOrder, QuerySelect, Select,
};

use super::error::DbError;
use crate::foundation::page::{Listed, Page};

/// One page of what a query selects, in its order, and how much it selects in all.
pub async fn one_page<E>(
    database: &impl ConnectionTrait,
    query: Select<E>,
    page: Page,
) -> Result<Listed<E::Model>, DbErr>
where
    E: EntityTrait,
    E::Model: FromQueryResult + Send + Sync,
{
    let total = query.clone().count(database).await?;
    let list = query
        .offset(page.offset())
        .limit(page.limit())
        .all(database)
        .await?;
    Ok(Listed { list, total })
}

/// At most `limit` rows of what a query selects, those after an id, by their ids.
pub async fn rows_after<E>(
    database: &impl ConnectionTrait,
    query: Select<E>,
    id: E::Column,
    after: i64,
    limit: u64,
) -> Result<Vec<E::Model>, DbErr>
where
    E: EntityTrait,
{
    query
        .filter(id.gt(after))
        .order_by_asc(id)
        .limit(limit)
        .all(database)
        .await
}

/// Deletes at most `limit` rows of what a query selects, in its order; answers how many.
/// Two statements, because no `DELETE … LIMIT` is understood by every database.
pub async fn delete_some<E: EntityTrait>(
    database: &impl ConnectionTrait,
    query: Select<E>,
    id: E::Column,
    limit: u64,
) -> Result<u64, DbErr> {
    let ids: Vec<i64> = query
        .select_only()
        .column(id)
        .limit(limit)
        .into_tuple()
        .all(database)
        .await?;
    let deleted = E::delete_many()
        .filter(id.is_in(ids))
        .exec(database)
        .await?;
    Ok(deleted.rows_affected)
}

/// Between two pieces of a long deletion: whoever else writes goes on meanwhile.
const PIECE_PAUSE: Duration = Duration::from_millis(10);

/// Deletes one piece after the other, until one is not full; answers how many rows. `delete` deletes
/// `piece_rows` at most, and answers how many.
pub async fn delete_in_pieces<Fut>(
    piece_rows: u64,
    mut delete: impl FnMut() -> Fut,
) -> Result<u64, DbError>
where
    Fut: Future<Output = Result<u64, DbError>>,
{
    let mut deleted = 0;
    loop {
        let piece = delete().await?;
        deleted += piece;
        if piece < piece_rows {
            return Ok(deleted);
        }
        tokio::time::sleep(PIECE_PAUSE).await;
    }
}
