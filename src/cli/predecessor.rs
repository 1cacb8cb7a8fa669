//! The predecessor's tables in a MySQL database: whether they are there, and what they hold.
//! Every column is read as text, whatever its type.

use std::collections::BTreeMap;

use sea_orm::{ConnectionTrait, DbBackend, DbErr, QueryResult, Statement};
use secrecy::SecretString;

use crate::foundation::database::Database;
use crate::foundation::ids::RealmId;
use crate::realm::store as realms;

/// The columns that are read, by table.
const COLUMNS: [(&str, &[&str]); 2] = [
    ("realm", &["id", "comment", "config", "logic_code"]),
    (
        "secret",
        &[
            "realm",
            "key",
            "token",
            "expires_at",
            "key_1",
            "key_2",
            "key_3",
            "key_4",
            "key_5",
        ],
    ),
];

/// A realm as it is stored there.
pub(super) struct RealmRow {
    pub id: String,
    pub comment: Option<String>,
    pub config: Option<String>,
    pub logic_code: Option<String>,
}

/// A secret as it is stored there.
pub(super) struct SecretRow {
    pub realm: String,
    pub key: String,
    pub token: Option<SecretString>,
    pub expires_at: Option<String>,
    /// `key_1` to `key_5`.
    pub params: Vec<(&'static str, Option<SecretString>)>,
}

/// All rows, in the order of their names.
pub(super) struct Rows {
    pub realms: Vec<RealmRow>,
    pub secrets: Vec<SecretRow>,
    /// Realms by the names that secrets have for them: as its collation compares them, that
    /// database knows several spellings of one name.
    pub spelled: BTreeMap<String, Vec<String>>,
}

/// Whether both tables are there with all their columns.
pub(super) async fn is_there(database: &Database) -> Result<bool, DbErr> {
    if database.backend() != DbBackend::MySql {
        return Ok(false);
    }
    let columns = "SELECT CAST(CONCAT(table_name, '.', column_name) AS CHAR) \
        FROM information_schema.columns \
        WHERE table_schema = DATABASE() AND table_name IN ('realm', 'secret')";
    let rows = all(database, columns).await?;
    let mut found = Vec::new();
    for row in rows {
        found.push(text(&row, 0)?);
    }
    let is_found = |table: &str, column: &str| {
        let name = format!("{table}.{column}");
        found.iter().any(|found| found.eq_ignore_ascii_case(&name))
    };
    Ok(COLUMNS
        .iter()
        .all(|(table, columns)| columns.iter().all(|column| is_found(table, column))))
}

/// How many realms and secrets stand in the predecessor's tables, if these are in this database
/// and none of their realms is registered.
pub(super) async fn not_imported(database: &Database) -> Result<Option<(i64, i64)>, DbErr> {
    if !is_there(database).await? {
        return Ok(None);
    }
    let ids = all(database, "SELECT CAST(`id` AS CHAR) FROM `realm`").await?;
    let mut names = Vec::new();
    for row in &ids {
        names.push(text(row, 0)?);
    }
    let names: Vec<_> = names.into_iter().flat_map(RealmId::new).collect();
    let here = realms::all_ids(database.reader()).await?;
    if names.is_empty() || names.iter().any(|name| here.contains(name)) {
        return Ok(None);
    }
    let secrets = all(database, "SELECT CAST(COUNT(*) AS SIGNED) FROM `secret`").await?;
    let secrets = secrets.first().map(|row| row.try_get_by_index(0));
    let realms = i64::try_from(ids.len()).unwrap_or(i64::MAX);
    Ok(Some((realms, secrets.transpose()?.unwrap_or(0))))
}

/// Reads both tables whole, so that no row is met twice or passed over while others change.
pub(super) async fn read(database: &Database) -> Result<Rows, DbErr> {
    let mut realms = Vec::new();
    for row in all(database, &select(COLUMNS[0])).await? {
        realms.push(RealmRow {
            id: text(&row, 0)?,
            comment: row.try_get_by_index(1)?,
            config: row.try_get_by_index(2)?,
            logic_code: row.try_get_by_index(3)?,
        });
    }
    let mut secrets = Vec::new();
    let (table, columns) = COLUMNS[1];
    for row in all(database, &select((table, columns))).await? {
        let secret = |index: usize| -> Result<Option<SecretString>, DbErr> {
            let value: Option<String> = row.try_get_by_index(index)?;
            Ok(value.map(SecretString::from))
        };
        let mut params = Vec::new();
        for (index, name) in columns.iter().enumerate().skip(4) {
            params.push((*name, secret(index)?));
        }
        secrets.push(SecretRow {
            realm: text(&row, 0)?,
            key: text(&row, 1)?,
            token: secret(2)?,
            expires_at: row.try_get_by_index(3)?,
            params,
        });
    }
    let pairs = "SELECT CAST(s.`realm` AS CHAR), CAST(r.`id` AS CHAR) FROM `secret` s \
        JOIN `realm` r ON r.`id` = s.`realm`";
    let mut spelled: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for row in all(database, pairs).await? {
        let ids = spelled.entry(text(&row, 0)?).or_default();
        let id = text(&row, 1)?;
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    Ok(Rows {
        realms,
        secrets,
        spelled,
    })
}

fn select((table, columns): (&str, &[&str])) -> String {
    let values: Vec<_> = columns
        .iter()
        .map(|column| format!("CAST(`{column}` AS CHAR)"))
        .collect();
    let (first, second) = (columns[0], columns[1]);
    let values = values.join(", ");
    format!("SELECT {values} FROM `{table}` ORDER BY `{first}`, `{second}`")
}

async fn all(database: &Database, sql: &str) -> Result<Vec<QueryResult>, DbErr> {
    let statement = Statement::from_string(database.backend(), sql);
    database.reader().query_all_raw(statement).await
}

/// A name; one that is NULL is empty, and refused as that.
fn text(row: &QueryResult, index: usize) -> Result<String, DbErr> {
    Ok(row
        .try_get_by_index::<Option<String>>(index)?
        .unwrap_or_default())
}
