//! Rows of the predecessor in every shape that its columns allow, and what is to become of them.

use std::collections::BTreeMap;
use std::fmt::Write;

use sea_orm::EntityTrait;
use secrecy::ExposeSecret;
use serde_json::json;
use token_server::foundation::ids::SecretId;
use token_server::foundation::randomness::Randomness;
use token_server::foundation::sealing::KeyRing;
use token_server::secret::Secret;
use token_server::token::TokenRecord;
use token_server_entity::{secret, token};

use crate::kit::TestDatabase;
use crate::kit::server::SEALING_KEYS;

/// The predecessor's schema.
const SCHEMA: [&str; 2] = [
    "CREATE TABLE `realm` (`id` VARCHAR(50) NOT NULL PRIMARY KEY, `config` JSON NULL, \
     `logic_code` TEXT NULL, `comment` VARCHAR(255) NULL, \
     `created_at` TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, \
     `updated_at` TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP)",
    "CREATE TABLE `secret` (`key` VARCHAR(200) NOT NULL, `realm` VARCHAR(50) NOT NULL, \
     `key_1` VARCHAR(200) NULL, `key_2` VARCHAR(200) NULL, `key_3` VARCHAR(200) NULL, \
     `key_4` VARCHAR(200) NULL, `key_5` VARCHAR(200) NULL, `token` TEXT NULL, \
     `expires_at` BIGINT NULL, \
     `created_at` TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, \
     `updated_at` TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, PRIMARY KEY (`key`, `realm`))",
];

pub const HOUR_MS: i64 = 3_600_000;

/// A secret of the predecessor, and what is to become of it.
#[derive(Clone, Debug)]
pub struct Row {
    pub realm: &'static str,
    pub key: String,
    pub params: [Option<String>; 5],
    pub token: Option<String>,
    pub expires_at: Option<i64>,
    /// The realm that it is registered in; none: it is refused.
    pub taken: Option<&'static str>,
    pub kept: bool,
}

impl Row {
    pub fn new(realm: &'static str, key: &str) -> Self {
        Self {
            realm,
            key: key.to_owned(),
            params: [const { None }; 5],
            token: None,
            expires_at: None,
            taken: Some(realm),
            kept: false,
        }
    }

    pub fn with_token(mut self, token: &str, expires_at: Option<i64>) -> Self {
        (self.token, self.expires_at) = (Some(token.to_owned()), expires_at);
        self
    }

    fn values(&self) -> String {
        let text = |text: &str| format!("CONVERT(X'{}' USING utf8mb4)", hex(text));
        let optional = |value: &Option<String>| match value {
            // MariaDB makes NULL of no bytes in that form.
            Some(value) if value.is_empty() => "''".to_owned(),
            Some(value) => text(value),
            None => "NULL".to_owned(),
        };
        let params: Vec<_> = self.params.iter().map(optional).collect();
        let end = self
            .expires_at
            .map_or("NULL".to_owned(), |end| end.to_string());
        format!(
            "({}, {}, {}, {}, {end})",
            text(self.realm),
            text(&self.key),
            params.join(", "),
            optional(&self.token)
        )
    }
}

fn hex(text: &str) -> String {
    text.bytes().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// A database of the predecessor.
pub async fn source(url_of_provider: &str) -> TestDatabase {
    let source = TestDatabase::mysql().await;
    for table in SCHEMA {
        source.run(table).await;
    }
    let config = json!({
        "url": url_of_provider, "method": "GET", "token_path": "access_token",
        "expires_in_path": "expires_in", "content_type": "json",
        "arguments": [{"name": "appid", "place": "url", "value": "$key_1"}],
    });
    let logic = "'https://logic.example/token'";
    for (id, config, logic_code) in [
        ("wx", format!("'{config}'"), "NULL"),
        ("both", format!("'{config}'"), logic),
        ("logic", "NULL".to_owned(), logic),
        ("fixed", "NULL".to_owned(), "NULL"),
        ("jnull", "'null'".to_owned(), "NULL"),
        ("array", "'[]'".to_owned(), "NULL"),
        ("text", "'\"x\"'".to_owned(), "NULL"),
        ("broken", "'{\"url\": 5}'".to_owned(), "NULL"),
    ] {
        let insert = format!(
            "INSERT INTO realm (id, config, logic_code, comment) VALUES ('{id}', {config}, {logic_code}, 'of {id} 😀')"
        );
        source.run(&insert).await;
    }
    source
}

pub async fn insert(source: &TestDatabase, rows: &[Row]) {
    for rows in rows.chunks(500) {
        let values: Vec<_> = rows.iter().map(Row::values).collect();
        let insert = format!(
            "INSERT INTO secret (realm, `key`, key_1, key_2, key_3, key_4, key_5, token, expires_at) VALUES {}",
            values.join(", ")
        );
        source.run(&insert).await;
    }
}

/// Shapes that the columns allow, one after the other.
pub fn odd(number: usize, now: i64) -> Row {
    let key = format!("k{number}");
    let live = now + 24 * HOUR_MS;
    let token = format!("token-{number}-\u{1f511}");
    let of = |realm| Row::new(realm, &key);
    let some = |text: String| Some(text);
    let mut row = match number % 18 {
        0 => of("wx"),
        1 => Row {
            params: [const { Some(String::new()) }; 5],
            ..of("wx").with_token("", Some(live))
        },
        2 => Row {
            params: [
                some(format!("ä😀𝒳{number}")),
                None,
                some("a'b\\c\"d\n".into()),
                None,
                None,
            ],
            kept: true,
            ..of("wx").with_token(&token, Some(live))
        },
        3 => Row {
            params: [(); 5].map(|()| Some("𝒳".repeat(200))),
            kept: true,
            ..of("wx").with_token(&"t".repeat(4000), Some(live))
        },
        4 => of("wx").with_token(&token, Some(now - 3000)),
        5 => Row {
            kept: true,
            ..of("fixed").with_token(&token, None)
        },
        6 => Row {
            kept: true,
            ..of("fixed").with_token(&token, Some(live))
        },
        7 => of("fixed").with_token(&token, Some(now - 1)),
        8 => Row {
            taken: None,
            ..of("nowhere").with_token(&token, Some(live))
        },
        9 => Row {
            kept: true,
            ..of("both").with_token(&token, Some(live))
        },
        10 => Row {
            taken: None,
            ..of("array").with_token(&token, Some(live))
        },
        11 => Row {
            taken: Some("wx"),
            kept: true,
            ..of("WX").with_token(&token, Some(live))
        },
        12 => of("logic").with_token(&token, Some(now + 20 * 366 * 24 * HOUR_MS)),
        13 => Row {
            taken: None,
            ..Row::new("wx", &format!(" {key}"))
        },
        14 => Row::new("wx", &format!("键🔑{number}")),
        15 => of("wx").with_token(&token, None),
        16 => Row {
            kept: true,
            ..of("jnull").with_token(&token, None)
        },
        _ => Row {
            taken: None,
            ..of("text")
        },
    };
    if row.params[0].is_none() && number.is_multiple_of(3) {
        row.params[0] = Some(format!("value-{number}"));
    }
    row
}

/// Compares what is stored with what was to be taken, opened.
pub async fn holds(database: &TestDatabase, rows: &[Row]) {
    let ring = KeyRing::parse(&SEALING_KEYS.into(), Randomness::seeded(1)).expect("a key ring");
    let connection = database.connect().await;
    let secrets = secret::Entity::find().all(&connection).await.expect("rows");
    let tokens = token::Entity::find().all(&connection).await.expect("rows");
    connection.close().await.expect("the connection closes");
    let mut tokens: BTreeMap<_, _> = tokens
        .into_iter()
        .map(|row| (SecretId(row.secret_id), TokenRecord::from_row(row)))
        .collect();
    let mut secrets: BTreeMap<_, _> = secrets
        .into_iter()
        .map(|row| {
            let secret = Secret::open(row, &ring).expect("the parameters open");
            ((secret.realm.to_string(), secret.key.to_string()), secret)
        })
        .collect();
    for row in rows {
        let Some(realm) = row.taken else {
            continue;
        };
        let secret = secrets.remove(&(realm.to_owned(), row.key.clone()));
        let secret = secret.unwrap_or_else(|| panic!("it is stored: {row:?}"));
        for (index, sent) in row.params.iter().enumerate() {
            let stored = secret.params.get(&format!("key_{}", index + 1));
            let stored = stored.map(|value| value.expose_secret().to_owned());
            assert_eq!(&stored, sent, "{row:?}");
        }
        let record = tokens.remove(&secret.id).expect("a token's row");
        let held = record.held.as_ref().map(|held| {
            let token = record.open_token(held, &ring).expect("the token opens");
            (
                token.expose_secret().to_owned(),
                held.payload.expiry.at().map(|end| end.0),
            )
        });
        let kept = row
            .kept
            .then(|| (row.token.clone().expect("a token"), row.expires_at));
        assert_eq!(held, kept, "{row:?}");
        // What a provider issued is due before it ends, what is not here at once.
        let is_fixed = matches!(realm, "fixed" | "jnull");
        assert_eq!(record.renew_at.is_none(), is_fixed, "{row:?}");
        if let (Some(due), true) = (record.renew_at, row.kept) {
            assert!(Some(due.0) < row.expires_at, "{row:?}");
        }
    }
    assert!(secrets.is_empty(), "{} more are stored", secrets.len());
}
