//! The key ring: read or made, and each key compared with the check value in the database.

use std::num::NonZeroU32;
use std::sync::Arc;

use sea_orm::{
    ActiveValue::{NotSet, Set},
    DbBackend, EntityTrait,
};
use serde_json::json;
use token_server_entity::sealing_key;

use super::key_file::{SEALING_KEYS_FILE, read_secret, write_secret};
use super::key_proof::opens_stored;
use super::purpose::Purpose;
use super::start_error::StartError;
use crate::access::audit::{self, AuditEntry, AuditLog, AuditOutcome, Change};
use crate::access::key_name::COMMAND_LINE;
use crate::access::store as keys;
use crate::config::{SealingSource, Settings};
use crate::foundation::clock::{EpochMs, SharedClock};
use crate::foundation::database::{Database, DbError, is_duplicate};
use crate::foundation::ids::{ReplicaId, SecretId};
use crate::foundation::key_command::keys_of;
use crate::foundation::randomness::Randomness;
use crate::foundation::sealing::{KeyRing, SealedPlace, SealingKeys};
use crate::foundation::sealing_keys::{self, KeyUse};
use crate::realm::store as realms;
use crate::token::authentic as tokens;

/// What a key's check value held before rows were authenticated.
const CHECK_BEFORE: &[u8] = b"token-server";
/// What it held while tokens were not.
const CHECK_BEFORE_TOKENS: &[u8] = b"token-server, rows are authenticated";
/// What it holds since all of them are.
const CHECK: &[u8] = b"token-server, rows and tokens are authenticated";

pub(super) async fn open_ring(
    purpose: Purpose,
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
    let keys = match configured(settings, database).await? {
        Some(keys) => keys,
        None if database.backend() != DbBackend::Sqlite => return Err(StartError::NoSealingKeys),
        None if !checks.is_empty() => return Err(StartError::LostSealingKeys(path)),
        None => {
            let text = SealingKeys::generate(randomness);
            if purpose != Purpose::DryRun {
                write_secret(&path, &text)?;
            }
            Arc::new(SealingKeys::parse(&text)?)
        }
    };
    if let Some(error) = keys.unlocked() {
        tracing::warn!(
            name: "sealing.memory_not_locked",
            %error,
            "the sealing keys may be swapped out, because no memory may be locked: raise that limit (ulimit -l), or switch swap off"
        );
    }
    let ring = KeyRing::of(keys, randomness.clone());
    refuse_foreign(&ring, &checks, database).await?;
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
            Some((row, None)) => match opens_stored(&ring, key_id, database).await? {
                Some(true) => damaged.push(row),
                Some(false) | None => return Err(StartError::WrongSealingKey(key_id.to_owned())),
            },
            // It is a new key, or its check value was deleted.
            None => match opens_stored(&ring, key_id, database).await? {
                Some(true) | None => new.extend(check_row(&ring, key_id, clock.now())),
                Some(false) => return Err(StartError::WrongSealingKey(key_id.to_owned())),
            },
        }
    }
    if purpose == Purpose::DryRun {
        if stored_by.is_some_and(|version| version < StoredBy::Now) {
            return Err(StartError::OldSchema(database.address().clone()));
        }
        sealing_keys::follow(database.reader(), &ring)
            .await
            .map_err(DbError::from)?;
        return Ok(ring);
    }
    if let Some(version) = stored_by {
        authenticate(database, &ring, version).await?;
    }
    for row in &damaged {
        tracing::warn!(
            name: "damage.resealed",
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
    sealing_keys::follow(database.reader(), &ring)
        .await
        .map_err(DbError::from)?;
    Ok(ring)
}

/// The keys of the configuration, of its command, or of their file; none where there are none yet.
async fn configured(
    settings: &Settings,
    database: &Database,
) -> Result<Option<Arc<SealingKeys>>, StartError> {
    let keys = match &settings.sealing {
        SealingSource::Keys(keys) => return Ok(Some(keys.clone())),
        SealingSource::Command(command) => Some(keys_of(command).await?),
        SealingSource::DataDir if database.backend() != DbBackend::Sqlite => None,
        SealingSource::DataDir => {
            let text = read_secret(&settings.data_dir.join(SEALING_KEYS_FILE))?;
            text.as_ref().map(SealingKeys::parse).transpose()?
        }
    };
    Ok(keys.map(Arc::new))
}

/// What came of giving keys up for lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ForgottenKeys {
    /// Nobody can open any more what was sealed with these.
    GivenUp(Vec<KeyUse>),
    /// This server has it: it is not lost.
    IsHere,
    /// These are registered.
    Unknown(Vec<String>),
}

/// Gives up one key, or all that this server lacks.
pub(super) async fn forget_keys(
    settings: &Settings,
    database: &Database,
    (clock, randomness, replica): (&SharedClock, &Randomness, &ReplicaId),
    id: Option<&str>,
) -> Result<ForgottenKeys, StartError> {
    let keys = configured(settings, database).await?;
    let ring = keys.map(|keys| Arc::new(KeyRing::of(keys, randomness.clone())));
    let own: Vec<String> = match &ring {
        Some(ring) => ring.key_ids().map(str::to_owned).collect(),
        None => Vec::new(),
    };
    let log = ring.map(|ring| AuditLog::new(ring, replica.clone(), randomness.clone()));
    let known = sealing_keys::registered(database.reader()).await;
    let known = known.map_err(DbError::from)?;
    let lost = match id {
        Some(id) if own.iter().any(|own| own == id) => return Ok(ForgottenKeys::IsHere),
        Some(id) if known.iter().any(|one| one == id) => vec![id.to_owned()],
        Some(_) => return Ok(ForgottenKeys::Unknown(known)),
        None => known.into_iter().filter(|id| !own.contains(id)).collect(),
    };
    let uses = sealing_keys::uses(database.reader(), lost).await;
    let uses = uses.map_err(DbError::from)?;
    let (given_up, log, now) = (&uses, &log, clock.now());
    database
        .write(|transaction, _| {
            Box::pin(async move {
                let mut entries = Vec::new();
                for KeyUse { key_id, values } in given_up {
                    entries.push(AuditEntry {
                        at: now,
                        actor: Some(COMMAND_LINE.to_owned()),
                        action: "sealing_key.forget".to_owned(),
                        target: key_id.clone(),
                        outcome: AuditOutcome::Done,
                        detail: Some(format!("{values} values")),
                        count: NonZeroU32::MIN,
                        request_id: None,
                        change: Change {
                            before: Some(json!({"values": values})),
                            after: None,
                        },
                    });
                    let row = sealing_key::Entity::delete_by_id(key_id.as_str());
                    row.exec(transaction).await?;
                }
                match log {
                    Some(log) => log.append(transaction, entries).await?,
                    None => audit::append_unchained(transaction, entries).await?,
                }
                Ok::<_, DbError>(())
            })
        })
        .await?;
    Ok(ForgottenKeys::GivenUp(uses))
}

/// A ring that opens nothing of what is stored is another's. One that lacks some keys is told of it.
async fn refuse_foreign(
    ring: &KeyRing,
    checks: &[sealing_key::Model],
    database: &Database,
) -> Result<(), StartError> {
    let is_own = |row: &sealing_key::Model| ring.key_ids().any(|id| id == row.key_id);
    if checks.iter().all(is_own) {
        return Ok(());
    }
    let lacked = sealing_keys::lacked(database.reader(), ring)
        .await
        .map_err(DbError::from)?;
    if lacked.is_empty() {
        return Ok(());
    }
    let keys = sealing_keys::shown(&lacked);
    if !checks.iter().any(is_own) {
        return Err(StartError::ForeignSealingKeys(keys));
    }
    tracing::error!(
        name: "sealing.keys_missing",
        keys,
        "this server lacks sealing keys of stored values, and is not ready: put them into sealing.keys"
    );
    Ok(())
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
pub(super) enum StoredBy {
    BeforeRows,
    BeforeTokens,
    Now,
}

pub(super) fn checked(ring: &KeyRing, row: &sealing_key::Model) -> Option<StoredBy> {
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
        name: "sealing.authenticated",
        realms,
        api_keys,
        tokens,
        "rows that an earlier version stored were authenticated"
    );
    Ok(())
}

fn check_row(ring: &KeyRing, key_id: &str, now: EpochMs) -> Option<sealing_key::ActiveModel> {
    let check_value = ring.seal_under(key_id, &check_place(key_id), CHECK)?;
    Some(sealing_key::ActiveModel {
        key_id: Set(key_id.to_owned()),
        check_value: Set(check_value),
        created_at: Set(now),
        seals_since: NotSet,
        seals_mac: NotSet,
    })
}
