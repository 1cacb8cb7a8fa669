//! The key ring: read or made, and each key compared with the check value in the database.

use std::num::NonZeroU32;
use std::sync::Arc;

use sea_orm::{DbBackend, EntityTrait};
use serde_json::json;
use token_server_entity::sealing_key;

use super::key_check::{StoredBy, check_row, checked};
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
use crate::foundation::published_rings;
use crate::foundation::randomness::Randomness;
use crate::foundation::sealing::{KeyRing, SealingKeys};
use crate::foundation::sealing_choice::{self, Choice, Published};
use crate::foundation::sealing_keys::{self, KeyUse};
use crate::realm::store as realms;
use crate::secret::authentic as secrets;
use crate::token::authentic as tokens;

/// A ring, and what is sealed with it; nothing is in a dry run.
pub(super) struct OpenedRing {
    pub(super) ring: KeyRing,
    pub(super) choice: Option<Choice>,
}

pub(super) async fn open_ring(
    purpose: Purpose,
    settings: &Settings,
    database: &Database,
    (clock, randomness, replica): (&SharedClock, &Randomness, &ReplicaId),
) -> Result<OpenedRing, StartError> {
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
        if !before.is_empty() {
            let address = Box::new(database.address().clone());
            return Err(StartError::NotAuthenticated(address));
        }
        sealing_keys::follow(database.reader(), &ring)
            .await
            .map_err(DbError::from)?;
        return Ok(OpenedRing { ring, choice: None });
    }
    let choice = publish(&ring, database, replica, clock.now()).await?;
    if let (Some(version), false) = (stored_by, before.is_empty()) {
        let ids: Vec<_> = before.iter().map(|row| row.key_id.as_str()).collect();
        authenticate(database, &ring, version, &ids).await?;
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
    let choice = Some(choice);
    Ok(OpenedRing { ring, choice })
}

/// Says which keys this server has, before it seals anything.
async fn publish(
    ring: &KeyRing,
    database: &Database,
    replica: &ReplicaId,
    now: EpochMs,
) -> Result<Choice, StartError> {
    match sealing_choice::publish(database, ring, replica, now).await? {
        Published::Seals(choice) => {
            ring.seal_with(&choice.seals);
            Ok(choice)
        }
        Published::NothingInCommon(theirs) => {
            let theirs: Vec<_> = theirs.iter().map(|id| format!("{id:?}")).collect();
            Err(StartError::NoKeyInCommon(theirs.join(", ")))
        }
    }
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
    let now = clock.now();
    let ring = ring.as_ref();
    if let Some(ring) = ring {
        // Where there is no key in common, what is lost is most likely theirs.
        if let Published::Seals(choice) =
            sealing_choice::publish(database, ring, replica, now).await?
        {
            ring.seal_with(&choice.seals);
        }
    }
    let log = ring.map(|ring| AuditLog::new(ring.clone(), replica.clone(), randomness.clone()));
    let (given_up, log) = (&uses, &log);
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
    if let Some(ring) = ring {
        published_rings::leave(database, ring, replica, clock.now()).await?;
    }
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

/// Authenticates what an earlier version stored, once: from then on a row that is not
/// authenticated was written by somebody else. Of secrets those that are sealed with some keys: no
/// server with one of these has done so.
async fn authenticate(
    database: &Database,
    ring: &KeyRing,
    stored_by: StoredBy,
    key_ids: &[&str],
) -> Result<(), DbError> {
    let (mut realms, mut api_keys, mut tokens, mut secret_count) = (0, 0, 0, 0);
    match stored_by {
        StoredBy::Now | StoredBy::BeforeSecrets | StoredBy::BeforeTokens => {}
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
    if stored_by < StoredBy::BeforeSecrets {
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
    }
    let mut after = SecretId(i64::MIN);
    while let Some((last, count)) = database
        .write(|transaction, _| {
            Box::pin(async move {
                let by = (ring, key_ids);
                let some = secrets::authenticate_after(transaction, by, after).await?;
                Ok::<_, DbError>(some)
            })
        })
        .await?
    {
        (after, secret_count) = (last, secret_count + count);
    }
    tracing::info!(
        name: "sealing.authenticated",
        realms,
        api_keys,
        tokens,
        secrets = secret_count,
        "rows that an earlier version stored were authenticated"
    );
    Ok(())
}
