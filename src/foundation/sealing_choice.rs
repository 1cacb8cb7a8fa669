//! With which key a server seals: the first of its own that all who run have, so that nobody stores
//! what another cannot open. Who publishes its ring, or has all seal with another key, takes its
//! turn: either it sees a server that starts at the same time, or that one sees what is sealed with.

use sea_orm::{ColumnTrait, ConnectionTrait, DbErr, EntityTrait, QueryFilter, QuerySelect};
use token_server_entity::{audit_chain, renewal};

use super::clock::{EpochMs, Ms, Timeline};
use super::database::{Database, DbError};
use super::ids::ReplicaId;
use super::named_row;
use super::published_rings::{self, PublishedRing, live, put};
use super::sealing::KeyRing;
use super::sealing_keys;

/// A server of a version that publishes no ring is noticed by what it did in that time.
const EARLIER_SEEN: Ms = Ms::from_secs(10 * 60);

/// Why a server keeps others from sealing with a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LackingServer {
    /// It has other keys only.
    Has {
        replica: String,
        key_ids: Vec<String>,
    },
    /// An earlier version does not say what it has.
    Unpublished { replica: String },
}

/// As they stand in messages.
pub fn shown(lacking: &[LackingServer]) -> String {
    let each = lacking.iter().map(|one| match one {
        LackingServer::Has { replica, key_ids } => format!("{replica} (has {key_ids:?})"),
        LackingServer::Unpublished { replica } => {
            format!("{replica} (of an earlier version, which does not say what it has)")
        }
    });
    each.collect::<Vec<_>>().join(", ")
}

/// A key that this server would seal with, had the others it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitingKey {
    pub key_id: String,
    pub lacking: Vec<LackingServer>,
}

/// What a server is to seal with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    pub seals: String,
    pub waiting: Option<WaitingKey>,
}

/// What came of publishing a ring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Published {
    Seals(Choice),
    /// There is no key that all have. They seal with these; nothing was published.
    NothingInCommon(Vec<String>),
}

/// Publishes the ring of a server, and says with which key it is to seal: all who run know by then
/// that it does.
pub async fn publish(
    database: &Database,
    ring: &KeyRing,
    replica: &ReplicaId,
    now: EpochMs,
) -> Result<Published, DbError> {
    loop {
        let published = database
            .write(|transaction, _| {
                Box::pin(async move {
                    if !named_row::take_sealing_turn(transaction).await? {
                        return Ok::<_, DbError>(None);
                    }
                    let live = live(transaction, ring, now).await?;
                    let choice = choose(transaction, ring, replica, &live, now).await?;
                    let Some(choice) = choice else {
                        return Ok(Some(Published::NothingInCommon(sealing(&live, replica))));
                    };
                    put(transaction, ring, replica, &choice.seals, now).await?;
                    Ok(Some(Published::Seals(choice)))
                })
            })
            .await?;
        match published {
            Some(published) => return Ok(published),
            None => named_row::make_sealing_turn(database).await?,
        }
    }
}

/// Who keeps all from sealing with a key. Inside a transaction: nobody's ring changes until it ends.
pub async fn lacking_one(
    transaction: &impl ConnectionTrait,
    ring: &KeyRing,
    key_id: &str,
    now: EpochMs,
) -> Result<Vec<LackingServer>, DbErr> {
    named_row::take_sealing_turn(transaction).await?;
    if named(transaction, ring).await?.as_deref() == Some(key_id) {
        return Ok(Vec::new());
    }
    let live = live(transaction, ring, now).await?;
    let mut lacking = lacking(key_id, None, &live);
    if lacking.is_empty() && !is_used(transaction, key_id).await? {
        lacking = unpublished(transaction, None, now).await?;
    }
    Ok(lacking)
}

/// The key that was chosen for all, where it was and is here; else the first that all have.
async fn choose(
    database: &impl ConnectionTrait,
    ring: &KeyRing,
    replica: &ReplicaId,
    live: &[PublishedRing],
    now: EpochMs,
) -> Result<Option<Choice>, DbErr> {
    if let Some(named) = named(database, ring).await? {
        return Ok(Some(Choice {
            seals: named,
            waiting: None,
        }));
    }
    let (mut held, mut waiting) = (Vec::new(), None);
    for key_id in ring.key_ids() {
        let lacking = lacking(key_id, Some(replica), live);
        match lacking.is_empty() {
            true => held.push(key_id),
            false if held.is_empty() && waiting.is_none() => {
                let key_id = key_id.to_owned();
                waiting = Some(WaitingKey { key_id, lacking });
            }
            false => {}
        }
    }
    let (Some(first), Some(last)) = (held.first(), held.last()) else {
        return Ok(None);
    };
    let mut seals = *first;
    if held.len() > 1 && !is_sealed_with(first, live) {
        let unpublished = unpublished(database, Some(replica), now).await?;
        if !unpublished.is_empty() {
            // They opened what is stored, so they have its keys.
            seals = *last;
            for key_id in &held {
                if is_used(database, key_id).await? {
                    seals = *key_id;
                    break;
                }
            }
            if seals != *first {
                waiting = waiting.or(Some(WaitingKey {
                    key_id: (*first).to_owned(),
                    lacking: unpublished,
                }));
            }
        }
    }
    Ok(Some(Choice {
        seals: seals.to_owned(),
        waiting,
    }))
}

async fn named(database: &impl ConnectionTrait, ring: &KeyRing) -> Result<Option<String>, DbErr> {
    let named = sealing_keys::named(database, ring).await?;
    let here = |id: &String| ring.key_ids().any(|own| own == id);
    let mut good = named
        .into_iter()
        .filter_map(|(id, verified)| verified.is_ok().then_some(id))
        .filter(here);
    Ok(good.next())
}

/// Who lacks a key, unless one who runs seals with it: whoever lacks that is not ready, and keeps
/// nobody from it.
fn lacking(key_id: &str, own: Option<&ReplicaId>, live: &[PublishedRing]) -> Vec<LackingServer> {
    if is_sealed_with(key_id, live) {
        return Vec::new();
    }
    let others = live
        .iter()
        .filter(|one| own.is_none_or(|own| own.0 != one.replica));
    others
        .filter(|one| !one.key_ids.iter().any(|id| id == key_id))
        .map(|one| LackingServer::Has {
            replica: one.replica.clone(),
            key_ids: one.key_ids.clone(),
        })
        .collect()
}

fn is_sealed_with(key_id: &str, live: &[PublishedRing]) -> bool {
    live.iter().any(|one| one.seals == key_id)
}

/// What the others seal with.
fn sealing(live: &[PublishedRing], own: &ReplicaId) -> Vec<String> {
    let others = live.iter().filter(|one| one.replica != own.0);
    let mut sealing: Vec<_> = others.map(|one| one.seals.clone()).collect();
    sealing.sort_unstable();
    sealing.dedup();
    sealing
}

async fn is_used(database: &impl ConnectionTrait, key_id: &str) -> Result<bool, DbErr> {
    let uses = sealing_keys::uses(database, [key_id.to_owned()]).await?;
    Ok(uses.iter().any(|key| key.values > 0))
}

/// Other servers that did something lately, and published nothing.
async fn unpublished(
    database: &impl ConnectionTrait,
    own: Option<&ReplicaId>,
    now: EpochMs,
) -> Result<Vec<LackingServer>, DbErr> {
    let since = now.minus(EARLIER_SEEN);
    let published = published_rings::replicas(database).await?;
    let mut seen: Vec<String> = renewal::Entity::find()
        .select_only()
        .column(renewal::Column::Replica)
        .distinct()
        .filter(renewal::Column::StartedAt.gte(since))
        .into_tuple()
        .all(database)
        .await?;
    let audited: Vec<String> = audit_chain::Entity::find()
        .select_only()
        .column(audit_chain::Column::Replica)
        .filter(audit_chain::Column::UpdatedAt.gte(since))
        .into_tuple()
        .all(database)
        .await?;
    seen.extend(audited);
    let is_own = |replica: &String| own.is_some_and(|own| own.0 == *replica);
    seen.retain(|replica| !published.contains(replica) && !is_own(replica));
    seen.sort_unstable();
    seen.dedup();
    let each = seen.into_iter();
    Ok(each
        .map(|replica| LackingServer::Unpublished { replica })
        .collect())
}
