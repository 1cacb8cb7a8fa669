//! The key ring: read or made, and each key compared with the check value in the database.

use sea_orm::{ActiveValue::Set, DbBackend, EntityTrait};
use token_server_entity::{sealing_key, secret};

use super::key_file::{SEALING_KEYS_FILE, read_secret, write_secret};
use super::start_error::StartError;
use crate::access::store as keys;
use crate::config::Settings;
use crate::foundation::clock::{EpochMs, SharedClock};
use crate::foundation::database::{Database, DbError, is_duplicate};
use crate::foundation::ids::SecretId;
use crate::foundation::randomness::Randomness;
use crate::foundation::sealing::{self, KeyRing, SealedPlace};
use crate::realm::store as realms;
use crate::secret::{Secret, store as secrets};
use crate::token::authentic as tokens;

/// What a key's check value held before rows were authenticated.
const CHECK_BEFORE: &[u8] = b"token-server";
/// What it held while tokens were not.
const CHECK_BEFORE_TOKENS: &[u8] = b"token-server, rows are authenticated";
/// What it holds since all of them are.
const CHECK: &[u8] = b"token-server, rows and tokens are authenticated";
/// Secrets that are tried where a check value does not open.
const PROOFS_MAX: u64 = 1000;

pub(super) async fn open_ring(
    settings: &Settings,
    database: &Database,
    clock: &SharedClock,
    randomness: &Randomness,
) -> Result<KeyRing, StartError> {
    let checks = sealing_key::Entity::find()
        .all(database.reader())
        .await
        .map_err(DbError::from)?;
    let path = settings.data_dir.join(SEALING_KEYS_FILE);
    let text = match &settings.sealing_keys {
        Some(text) => text.clone(),
        None if database.backend() != DbBackend::Sqlite => return Err(StartError::NoSealingKeys),
        None => match read_secret(&path)? {
            Some(text) => text,
            None if !checks.is_empty() => return Err(StartError::LostSealingKeys(path)),
            None => {
                let text = KeyRing::generate(randomness);
                write_secret(&path, &text)?;
                text
            }
        },
    };
    let ring = KeyRing::parse(&text, randomness.clone())?;
    // All keys are checked before anything is written: a refused start leaves nothing.
    let (mut new, mut damaged, mut before) = (Vec::new(), Vec::new(), Vec::new());
    let mut stored_by = match checks.is_empty() {
        true => Some(StoredBy::Now),
        false => None,
    };
    for key_id in ring.key_ids() {
        let row = checks.iter().find(|row| row.key_id == key_id);
        match row.map(|row| (row, checked(&ring, row))) {
            Some((row, Some(version))) => {
                stored_by = stored_by.max(Some(version));
                before.extend((version < StoredBy::Now).then_some(row));
            }
            Some((row, None)) => match opens_secrets(&ring, key_id, database).await? {
                Some(true) => damaged.push(row),
                Some(false) | None => return Err(StartError::WrongSealingKey(key_id.to_owned())),
            },
            // It is a new key, or its check value was deleted.
            None => match opens_secrets(&ring, key_id, database).await? {
                Some(true) | None => new.extend(check_row(&ring, key_id, clock.now())),
                Some(false) => return Err(StartError::WrongSealingKey(key_id.to_owned())),
            },
        }
    }
    if let Some(version) = stored_by {
        authenticate(database, &ring, version).await?;
    }
    for row in &damaged {
        tracing::warn!(
            table = "ts_sealing_key",
            row = row.key_id,
            column = "check_value",
            "a stored value is damaged: its key opens what was sealed with it, and it is written again"
        );
    }
    for row in damaged.into_iter().chain(before) {
        let Some(good) = check_row(&ring, &row.key_id, row.created_at) else {
            continue;
        };
        database
            .write_alone(|writer| {
                let update = sealing_key::Entity::update(good.clone());
                async move { update.exec(writer).await.map(|_| ()) }
            })
            .await?;
    }
    for row in new {
        database
            .write_alone(|writer| {
                let insert = sealing_key::Entity::insert(row.clone());
                async move {
                    match insert.exec_without_returning(writer).await {
                        // Another replica was first; its value is checked at the next start.
                        Err(error) if !is_duplicate(&error) => Err(error),
                        _ => Ok(()),
                    }
                }
            })
            .await?;
    }
    Ok(ring)
}

fn check_place(key_id: &str) -> SealedPlace<'_> {
    SealedPlace {
        table: "ts_sealing_key",
        row: key_id,
        column: "check_value",
    }
}

/// What a version authenticated of what it stored; the check value says so, beside that the key
/// is the one of its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum StoredBy {
    BeforeRows,
    BeforeTokens,
    Now,
}

fn checked(ring: &KeyRing, row: &sealing_key::Model) -> Option<StoredBy> {
    let opened = ring.open(&check_place(&row.key_id), &row.check_value);
    match opened.ok()?.as_slice() {
        CHECK => Some(StoredBy::Now),
        CHECK_BEFORE_TOKENS => Some(StoredBy::BeforeTokens),
        CHECK_BEFORE => Some(StoredBy::BeforeRows),
        _ => None,
    }
}

/// Authenticates what an earlier version stored, once: from then on a row that is not
/// authenticated was written by somebody else.
async fn authenticate(
    database: &Database,
    ring: &KeyRing,
    stored_by: StoredBy,
) -> Result<(), DbError> {
    let (mut realms, mut api_keys, mut tokens) = (0, 0, 0);
    match stored_by {
        StoredBy::Now => return Ok(()),
        StoredBy::BeforeTokens => {}
        StoredBy::BeforeRows => {
            (realms, api_keys) = database
                .write(|transaction, _| {
                    Box::pin(async move {
                        let realms = realms::authenticate_all(transaction, ring).await?;
                        let api_keys = keys::authenticate_all(transaction, ring).await?;
                        Ok::<_, DbError>((realms, api_keys))
                    })
                })
                .await?;
        }
    }
    let mut after = SecretId(i64::MIN);
    while let Some((last, count)) = database
        .write(|transaction, _| {
            Box::pin(async move {
                let some = tokens::authenticate_after(transaction, ring, after).await?;
                Ok::<_, DbError>(some)
            })
        })
        .await?
    {
        (after, tokens) = (last, tokens + count);
    }
    tracing::info!(
        realms,
        api_keys,
        tokens,
        "rows that an earlier version stored were authenticated"
    );
    Ok(())
}

/// Whether a secret that was sealed under a key id opens: then the key is the one of its id,
/// whatever its check value says. None where no secret was sealed under it.
async fn opens_secrets(
    ring: &KeyRing,
    key_id: &str,
    database: &Database,
) -> Result<Option<bool>, StartError> {
    let reader = database.reader();
    let first = secrets::list_after(reader, SecretId(i64::MIN), PROOFS_MAX).await;
    let of_key = |row: &secret::Model| sealing::key_id(&row.params) == Some(key_id);
    let of_key = first.map_err(DbError::from)?.into_iter().filter(of_key);
    let opened: Vec<bool> = of_key.map(|row| Secret::open(row, ring).is_ok()).collect();
    Ok((!opened.is_empty()).then(|| opened.contains(&true)))
}

fn check_row(ring: &KeyRing, key_id: &str, now: EpochMs) -> Option<sealing_key::ActiveModel> {
    let check_value = ring.seal_under(key_id, &check_place(key_id), CHECK)?;
    Some(sealing_key::ActiveModel {
        key_id: Set(key_id.to_owned()),
        check_value: Set(check_value),
        created_at: Set(now),
    })
}
