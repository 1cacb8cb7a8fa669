//! What SQLite and MySQL spell differently, in one place.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

/// The longest name of a realm, a key or an owner, in characters.
pub const NAME_CHARS: u32 = 255;

/// Makes column definitions for one database.
#[derive(Clone, Copy)]
pub struct Dialect(DbBackend);

impl Dialect {
    pub fn of(manager: &SchemaManager<'_>) -> Self {
        Self(manager.get_database_backend())
    }

    /// A name compared byte for byte: `A` and `a` are two names. MySQL's default
    /// collation would make them one; SQLite needs (and accepts) no such clause.
    pub fn name(self, column: &'static str) -> ColumnDef {
        let mut def = ColumnDef::new(column);
        match self.0 {
            DbBackend::MySql => def.custom(format!(
                "varchar({NAME_CHARS}) character set utf8mb4 collate utf8mb4_bin"
            )),
            _ => def.string_len(NAME_CHARS),
        };
        def
    }

    /// Text of any length.
    pub fn text(self, column: &'static str) -> ColumnDef {
        let mut def = ColumnDef::new(column);
        match self.0 {
            DbBackend::MySql => def.custom("longtext character set utf8mb4 collate utf8mb4_bin"),
            _ => def.text(),
        };
        def
    }

    /// Bytes of any length.
    pub fn bytes(self, column: &'static str) -> ColumnDef {
        let mut def = ColumnDef::new(column);
        match self.0 {
            DbBackend::MySql => def.custom("longblob"),
            _ => def.blob(),
        };
        def
    }

    /// A whole number of 64 bits: counters, and milliseconds since the epoch.
    pub fn integer(self, column: &'static str) -> ColumnDef {
        let mut def = ColumnDef::new(column);
        def.big_integer();
        def
    }

    pub fn boolean(self, column: &'static str) -> ColumnDef {
        let mut def = ColumnDef::new(column);
        def.boolean();
        def
    }

    /// A row id that the database counts up.
    pub fn auto_id(self) -> ColumnDef {
        let mut def = ColumnDef::new("id");
        def.big_integer().not_null().auto_increment().primary_key();
        def
    }
}

/// Creates an index unless it is there: MySQL has no `IF NOT EXISTS` for one, and
/// a DDL that was cut off must be able to run again.
pub async fn create_index(
    manager: &SchemaManager<'_>,
    table: &'static str,
    name: &'static str,
    columns: &[&'static str],
    unique: bool,
) -> Result<(), DbErr> {
    if manager.has_index(table, name).await? {
        return Ok(());
    }
    let mut index = Index::create();
    index.name(name).table(table);
    for column in columns {
        index.col(*column);
    }
    if unique {
        index.unique();
    }
    manager.create_index(index).await
}

/// Drops an index if it is there.
pub async fn drop_index(
    manager: &SchemaManager<'_>,
    table: &'static str,
    name: &'static str,
) -> Result<(), DbErr> {
    if !manager.has_index(table, name).await? {
        return Ok(());
    }
    manager
        .drop_index(Index::drop().name(name).table(table).to_owned())
        .await
}

/// Adds a column unless it is there.
pub async fn add_column(
    manager: &SchemaManager<'_>,
    table: &'static str,
    column: ColumnDef,
) -> Result<(), DbErr> {
    if manager.has_column(table, column.get_column_name()).await? {
        return Ok(());
    }
    manager
        .alter_table(Table::alter().table(table).add_column(column).take())
        .await
}

/// Drops a column if it is there.
pub async fn drop_column(
    manager: &SchemaManager<'_>,
    table: &'static str,
    column: &str,
) -> Result<(), DbErr> {
    if !manager.has_column(table, column).await? {
        return Ok(());
    }
    let column = column.to_owned();
    manager
        .alter_table(Table::alter().table(table).drop_column(column).take())
        .await
}

/// Drops a table if it is there.
pub async fn drop_table(manager: &SchemaManager<'_>, table: &'static str) -> Result<(), DbErr> {
    manager
        .drop_table(Table::drop().table(table).if_exists().take())
        .await
}
