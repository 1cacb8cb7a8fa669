//! Values that are damaged where they are stored: what can be obtained again is, and for the
//! rest a human is told what to do, in time.

mod beside;
mod humans;
mod looks;
mod starts;
mod tokens;

use sea_orm::{ConnectionTrait, Statement, Value as Bound};
use serde_json::{Value, json};
use token_server::renewal::SealedFindings;

use crate::kit::server::Options;
use crate::kit::{Provider, Server, TestDatabase, eventually};

/// How a stored value comes to harm. It was sealed with the key id `test`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Harm {
    /// The first byte: no known format.
    Format,
    /// The length of the key id.
    KeyIdLength,
    /// The key id looks like another, which no server has registered.
    KeyId,
    /// It is no text any more.
    KeyIdText,
    Nonce,
    Ciphertext,
    /// The last byte.
    Tag,
    Truncated,
    Empty,
    /// It is another row's.
    Swapped,
}

pub const HARMS: [Harm; 10] = [
    Harm::Format,
    Harm::KeyIdLength,
    Harm::KeyId,
    Harm::KeyIdText,
    Harm::Nonce,
    Harm::Ciphertext,
    Harm::Tag,
    Harm::Truncated,
    Harm::Empty,
    Harm::Swapped,
];

/// Where the parts of a sealed value begin: format, length of the key id, `test`, 24 bytes.
const KEY_ID: usize = 2;
const NONCE: usize = 6;
const CIPHERTEXT: usize = 30;

impl Harm {
    pub fn done_to(self, mut bytes: Vec<u8>, of_another: Vec<u8>) -> Vec<u8> {
        let flipped = match self {
            Self::Format => (0, 1),
            Self::KeyIdLength => (1, 1),
            Self::KeyId => (KEY_ID, 1),
            Self::KeyIdText => (KEY_ID, 0x80),
            Self::Nonce => (NONCE, 1),
            Self::Ciphertext => (CIPHERTEXT, 1),
            Self::Tag => (bytes.len() - 1, 0x40),
            Self::Truncated => {
                bytes.truncate(CIPHERTEXT + 3);
                return bytes;
            }
            Self::Empty => return Vec::new(),
            Self::Swapped => return of_another,
        };
        bytes[flipped.0] ^= flipped.1;
        bytes
    }
}

/// One stored value: a column of one row.
#[derive(Clone, Debug)]
pub struct Stored {
    pub table: &'static str,
    pub column: &'static str,
    /// Which row.
    pub row: String,
}

impl Stored {
    /// A column of `ts_secret` or `ts_token` of a secret in the realm `r`.
    pub fn of_key(table: &'static str, column: &'static str, key: &str) -> Self {
        Self {
            table,
            column,
            row: format!("realm_id = 'r' AND key_name = '{key}'"),
        }
    }

    pub async fn read(&self, database: &TestDatabase) -> Vec<u8> {
        let connection = database.connect().await;
        let Self { table, column, row } = self;
        let sql = format!("SELECT {column} FROM {table} WHERE {row}");
        let statement = Statement::from_string(connection.get_database_backend(), sql);
        let found = connection.query_one_raw(statement).await;
        let found = found.expect("the query is good").expect("there is one row");
        found.try_get_by_index(0).expect("bytes")
    }

    pub async fn write(&self, database: &TestDatabase, bytes: Vec<u8>) {
        let connection = database.connect().await;
        let Self { table, column, row } = self;
        let sql = format!("UPDATE {table} SET {column} = ? WHERE {row}");
        let statement = Statement::from_sql_and_values(
            connection.get_database_backend(),
            sql,
            [Bound::from(bytes)],
        );
        let done = connection.execute_raw(statement).await;
        assert_eq!(done.expect("the statement is good").rows_affected(), 1);
    }

    /// Does harm to it; the value of another row may take its place.
    pub async fn harm(&self, database: &TestDatabase, harm: Harm, other: &Self) {
        let bytes = self.read(database).await;
        let of_another = other.read(database).await;
        let harmed = harm.done_to(bytes.clone(), of_another);
        assert_ne!(harmed, bytes, "{harm:?} changes it");
        self.write(database, harmed).await;
    }
}

pub async fn run(database: &TestDatabase, sql: &str) {
    let connection = database.connect().await;
    let done = connection.execute_unprepared(sql).await;
    done.expect("the statement is good");
}

/// A server that serves from the database, and that may be flushed as often as one likes.
pub async fn server(database: &TestDatabase) -> Server {
    server_with(database, Vec::new()).await
}

pub async fn server_with(database: &TestDatabase, more: Vec<(&'static str, String)>) -> Server {
    let mut env = vec![
        ("TOKEN_SERVER__READ__MEMORY_MIB", "0".to_owned()),
        (
            "TOKEN_SERVER__RENEWAL__MIN_FLUSH_INTERVAL_S",
            "0".to_owned(),
        ),
        ("TOKEN_SERVER__RENEWAL__FORCED_PER_DAY", "1000".to_owned()),
        // The test looks when it wants to.
        (
            "TOKEN_SERVER__MAINTENANCE__CHECK_SEALED_EVERY_S",
            "0".to_owned(),
        ),
    ];
    env.extend(more);
    let options = Options {
        env,
        ..Options::default()
    };
    Server::start_with(database, options).await
}

/// A realm `r` with something beside the token, and in a form of its own where one is given.
pub async fn register_realm(server: &Server, provider: &Provider, more: Value) {
    let mut config = json!({
        "url": provider.url("/token"), "method": "GET",
        "arguments": [
            {"name": "appid", "place": "url", "value": "$key_1"},
            {"name": "secret", "place": "url", "value": "$key_2"},
        ],
        "token_path": "access_token", "expires_in_path": "expires_in",
        "extra": {"life": "body.expires_in"},
    });
    for (field, value) in more.as_object().expect("fields") {
        config[field] = value.clone();
    }
    server.client.save_realm("r", config).await;
}

/// Saves secrets in the realm `r`, and waits for their first tokens.
pub async fn register(server: &Server, keys: &[&str]) {
    for key in keys {
        server.client.save_secret("r", key).await;
    }
    for key in keys {
        server.client.generation("r", key, 1).await;
    }
    server.settled().await;
}

/// Makes a secret due, as if its time had come.
pub async fn make_due(database: &TestDatabase, server: &Server, key: &str) {
    let due = format!("UPDATE ts_token SET renew_at = 0 WHERE key_name = '{key}'");
    run(database, &due).await;
    server.app().wake.notify_one();
}

pub async fn number(database: &TestDatabase, what: &str, key: &str) -> i64 {
    let query = format!("SELECT {what} FROM ts_token WHERE realm_id = 'r' AND key_name = '{key}'");
    database.number(&query).await
}

/// Everything that is stored of a secret, but for what a claim leaves.
pub async fn everything_of(database: &TestDatabase, key: &str) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for (table, column) in [
        ("ts_secret", "params"),
        ("ts_secret", "version"),
        ("ts_token", "token"),
        ("ts_token", "extra"),
        ("ts_token", "generation"),
        ("ts_token", "renew_at"),
        ("ts_token", "failures"),
        ("ts_token", "fence"),
    ] {
        let connection = database.connect().await;
        let sql = format!(
            "SELECT CAST({column} AS BINARY) FROM {table} WHERE realm_id = 'r' AND key_name = '{key}'"
        );
        let sql = match database.kind() {
            crate::kit::database::Kind::Sqlite => sql.replace("BINARY", "BLOB"),
            crate::kit::database::Kind::MySql => sql,
        };
        let statement = Statement::from_string(connection.get_database_backend(), sql);
        let row = connection.query_one_raw(statement).await;
        let row = row.expect("the query is good").expect("there is one row");
        all.push(row.try_get_by_index(0).expect("bytes"));
    }
    all
}

/// What the counter of damaged values says of a column; none: it was never damaged.
pub async fn counted(server: &Server, table: &str, column: &str) -> Option<u64> {
    let page = server.client.get("/metrics").await.expect(200).text;
    let begins =
        format!("token_server_damaged_values_total{{table=\"{table}\",column=\"{column}\"}} ");
    let line = page.lines().find_map(|line| line.strip_prefix(&begins))?;
    Some(line.trim().parse().expect("a number"))
}

pub async fn renewed(server: &Server, key: &str, generation: i64) -> Value {
    eventually("the next generation, without trouble", async || {
        let secret = server.client.secret("r", key).await;
        assert!(secret["last_error"].is_null(), "{secret}");
        (secret["generation"].as_i64() >= Some(generation)).then_some(secret)
    })
    .await
}

/// Looks for damage, as the server does now and then.
pub async fn look(server: &Server) -> SealedFindings {
    let found = server.app().renewals.check_sealed().await;
    found.expect("the database can be read")
}

/// The parameters of a secret in the realm `r`.
pub fn params(key: &str) -> Stored {
    Stored::of_key("ts_secret", "params", key)
}

/// Two secrets in the realm `r`, `k` and `other`, with their first tokens.
pub async fn scene(database: &TestDatabase) -> (Provider, Server) {
    let (provider, server) = (Provider::start().await, server(database).await);
    register_realm(&server, &provider, json!({})).await;
    register(&server, &["k", "other"]).await;
    (provider, server)
}

/// What went wrong with a secret.
pub fn detail(secret: &Value) -> &str {
    secret["last_error"]["detail"].as_str().expect("a text")
}
