use sea_orm::{
    ConnectionTrait, DbErr, EntityTrait, FromQueryResult, PaginatorTrait, QuerySelect, Select,
};

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
