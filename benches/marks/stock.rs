//! Many tokens, put into a database at once: what hundred thousand renewals would leave.

use std::time::{Duration, Instant};

use sea_orm::{ActiveValue::Set, ConnectionTrait, EntityTrait, IntoActiveModel};
use token_server::foundation::clock::{Clock, EpochMs, Ms, SystemClock, Timeline};
use token_server::foundation::ids::{KeyName, RealmId, SecretId, Version};
use token_server::foundation::randomness::Randomness;
use token_server::foundation::sealing::KeyRing;
use token_server::secret::params::Params;
use token_server::secret::seal_params;
use token_server::token::{SealedPart, seal, store};
use token_server_entity::{secret, token};
use tokio::time::interval;

use crate::kit::TestDatabase;
use crate::kit::server::SEALING_KEYS;
use crate::world::{TOKEN_BYTES, key_name, realm_name};

/// Rows of one statement.
const ROWS: usize = 200;
/// Between two statements that make tokens due.
const DUE_EVERY: Duration = Duration::from_millis(100);
/// None is due while anything is measured.
const LIFE: Ms = Ms::from_secs(86_400);

/// Tokens numbered so, none due, in a realm that is there, and authenticated.
pub async fn add(database: &TestDatabase, numbers: std::ops::Range<usize>) {
    let randomness = Randomness::from_system().expect("the system has randomness");
    let ring = KeyRing::parse(&SEALING_KEYS.into(), randomness).expect("the tests' keys are good");
    let now = SystemClock.now();
    let connection = database.connect().await;
    let numbers: Vec<usize> = numbers.collect();
    for piece in numbers.chunks(ROWS) {
        let rows = piece.iter().map(|number| row(*number, now, &ring));
        let (secrets, tokens): (Vec<_>, Vec<_>) = rows.unzip();
        let secrets = secret::Entity::insert_many(secrets);
        let done = secrets.exec_without_returning(&connection).await;
        done.expect("secrets are stored");
        let tokens = token::Entity::insert_many(tokens);
        let done = tokens.exec_without_returning(&connection).await;
        done.expect("tokens are stored");
    }
    connection.close().await.expect("the connection closes");
    database.authenticate_tokens().await;
}

/// Makes so many tokens due at a time, one after the other, until then.
pub async fn make_due(database: &TestDatabase, end: Instant, at_once: i64) {
    let connection = database.connect().await;
    let first = database.number("SELECT MIN(secret_id) FROM ts_token").await;
    let last = database.number("SELECT MAX(secret_id) FROM ts_token").await;
    let (mut pace, mut next) = (interval(DUE_EVERY), first);
    while Instant::now() < end {
        pace.tick().await;
        let due = format!(
            "UPDATE ts_token SET renew_at = 0 WHERE secret_id >= {next} \
             AND secret_id < {next} + {at_once} AND renew_at IS NOT NULL"
        );
        let done = connection.execute_unprepared(&due).await;
        done.expect("the statement is good");
        next += at_once;
        if next > last {
            next = first;
        }
    }
    connection.close().await.expect("the connection closes");
}

fn row(number: usize, now: EpochMs, ring: &KeyRing) -> (secret::ActiveModel, token::ActiveModel) {
    // Beyond what the server itself has counted.
    let id = i64::try_from(number).expect("a small number") + 1_000_000;
    let (realm, key) = (realm_name(0), key_name(number));
    let name = (RealmId::stored(realm.clone()), KeyName::stored(key.clone()));
    let value = format!("{number:0TOKEN_BYTES$}");
    let params = seal_params((&name.0, &name.1), Version(1), &Params::default(), ring);
    let secret = secret::Model {
        id,
        realm_id: realm,
        key_name: key,
        params: params.params,
        mac: Some(params.mac),
        version: 1,
        created_at: now,
        updated_at: now,
    };
    let renew_at = Some(now.plus(Ms(LIFE.0 / 2)));
    let token = token::ActiveModel {
        token: Set(Some(seal(
            SecretId(id),
            SealedPart::Token,
            &value.into(),
            ring,
        ))),
        expires_at: Set(Some(now.plus(LIFE))),
        generation: Set(1),
        obtained_at: Set(Some(now)),
        last_attempt_at: Set(Some(now)),
        fence: Set(1),
        ..store::new_row(SecretId(id), &name.0, &name.1, renew_at, now)
    };
    (secret.into_active_model(), token)
}
