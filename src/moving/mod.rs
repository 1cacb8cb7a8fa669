//! Moves what another token server's database holds into this one, while that server goes on.
//!
//! Never may both renew one token: a provider whose refresh tokens rotate would end the
//! authorization. So a copy is held here from the transaction that makes it on, by a lease that
//! does not run out, until it is handed over: the token is held there, attempts under way there have
//! ended, and it is copied once more by the transaction that ends the lease here. Wherever this is
//! cut off, each token is held in one of both databases at least.

/// Writes to this database, or rehearses it: `work` answers from within the transaction.
macro_rules! written {
    ($self:ident, |$transaction:ident, $this:ident| $work:expr) => {{
        let $this = &*$self;
        let ended = $this
            .target
            .database
            .write(|$transaction, _| {
                Box::pin(async move {
                    $this
                        .keep($transaction)
                        .await
                        .map_err($crate::registry::Unkept::Failed)?;
                    let work = async move { $work };
                    let worked: Result<_, $crate::registry::RegistryError> = work.await;
                    $this
                        .pass
                        .end(worked.map_err($crate::registry::Unkept::Failed)?)
                })
            })
            .await;
        $crate::registry::done(ended).map_err(|error| $this.failed_here(error))
    }};
}
mod account;
mod beside;
mod deleted;
mod handover;
mod registered;
mod secrets;

use std::collections::{BTreeSet, HashMap};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use sea_orm::ConnectionTrait;

use crate::access::audit::{AuditEntry, AuditLog, AuditOutcome, Change};
use crate::access::key_name::COMMAND_LINE;
use crate::feed::{self, FeedChange};
use crate::foundation::clock::{EpochMs, Ms, SharedClock, Timeline};
use crate::foundation::database::{Database, DbAddress, DbError, DbFault};
use crate::foundation::ids::SecretId;
use crate::foundation::named_row;
use crate::foundation::randomness::Randomness;
use crate::foundation::sealing::KeyRing;
use crate::realm::expression::Expressions;
use crate::registry::check::Outbound;
use crate::registry::{Pass, Refusal, RegistryError};
use crate::token::elsewhere::{self, DatabaseId};
pub use account::{Accounts, CountedRows, Name, Row, TokenFate};

/// Whoever imports and gives no sign for so long has ended.
const PLACE: Ms = Ms::from_secs(5);
const POLL: Duration = Duration::from_millis(250);
/// Changes of one look at the feed.
const CHANGES_AT_ONCE: u64 = 1000;
/// So many changes before the last are read again: numbers become visible out of order.
const READ_AGAIN: i64 = 500;
/// Between two looks at everything lie at least this, and so many times the time of a look.
const LOOKS_APART: Ms = Ms::from_secs(1);
const LOOKS_PART: i64 = 10;

/// Secrets of one transaction.
const AT_ONCE: usize = 20;

/// What a copy is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// It is held here.
    Follow,
    /// It is renewed here from now on: there it is held.
    HandOver,
}

/// One of the two databases.
pub struct Side {
    pub database: Database,
    pub ring: Arc<KeyRing>,
    id: DatabaseId,
}

/// What an import works with.
pub struct MoveParts<'a> {
    pub source: Database,
    pub source_ring: KeyRing,
    pub target: Database,
    pub target_ring: Arc<KeyRing>,
    pub audit: AuditLog,
    pub clock: SharedClock,
    pub randomness: Randomness,
    pub outbound: Outbound<'a>,
    pub pass: Pass,
    pub told: &'a (dyn Fn(MoveProgress) + Send + Sync),
}

/// What is told while it works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MoveProgress {
    /// So many secrets more were looked at.
    Looked(usize),
    /// Everything is copied, and changes are followed.
    Following,
    /// The other server's attempts under way are waited for.
    Awaiting(usize),
    /// It is tried again.
    Failed(String),
}

/// Why a move ends early. It can be run again, and goes on.
#[derive(Debug, thiserror::Error)]
pub enum MoveError {
    #[error("the database {0} failed: {1}; run this again, and it goes on")]
    Database(Box<DbAddress>, DbFault),
    #[error("another import into {0} is under way: end that one first")]
    Busy(Box<DbAddress>),
    #[error("another import into this database has begun meanwhile; this one ends")]
    Superseded,
    #[error("{0}")]
    Registry(String),
}

/// What is known of a secret there.
struct Known {
    name: Name,
    /// Its number here; none where it is refused.
    here: Option<SecretId>,
    /// Of what was copied last.
    fingerprint: u64,
    is_copy: bool,
}

/// An import under way.
pub struct Move<'a> {
    source: Side,
    target: Side,
    audit: AuditLog,
    clock: SharedClock,
    outbound: Outbound<'a>,
    expressions: Expressions,
    pass: Pass,
    told: &'a (dyn Fn(MoveProgress) + Send + Sync),
    /// Its place as the one import into this database.
    owner: String,
    accounts: Accounts,
    secrets: HashMap<SecretId, Known>,
    /// Realms, keys and issuers that were made here, and are written over while the move lasts.
    copies: BTreeSet<Name>,
    refused_realms: BTreeSet<String>,
    /// An earlier run has left copies.
    goes_on: bool,
    /// The last attempt of the history that was copied.
    history: i64,
}

impl<'a> Move<'a> {
    /// Begins one; nothing is copied yet.
    ///
    /// # Errors
    ///
    /// A database failed, or another import is under way.
    pub async fn begin(parts: MoveParts<'a>) -> Result<Self, MoveError> {
        let MoveParts {
            source,
            source_ring,
            target,
            target_ring,
            audit,
            clock,
            randomness,
            outbound,
            pass,
            told,
        } = parts;
        let owner = randomness.id();
        let (there, here) = match pass {
            Pass::Rehearse => {
                let there = named_row::identity(source.reader()).await;
                let here = named_row::identity(target.reader()).await;
                let there = there.map_err(|error| failed(&source, &error.into()))?;
                let here = here.map_err(|error| failed(&target, &error.into()))?;
                (there.unwrap_or_default(), here.unwrap_or_default())
            }
            Pass::Keep => {
                take_place(&target, &owner, &clock).await?;
                let there = named_row::identity_or(&source, &randomness.id()).await;
                let here = named_row::identity_or(&target, &randomness.id()).await;
                (
                    there.map_err(|error| failed(&source, &error))?,
                    here.map_err(|error| failed(&target, &error))?,
                )
            }
        };
        let (there, here) = (DatabaseId(there), DatabaseId(here));
        let left = elsewhere::renewed_by(target.causal(), &there, SecretId(i64::MIN), 1).await;
        let left = left.map_err(|error| failed(&target, &error.into()))?;
        let handed_over =
            elsewhere::renewed_by(source.causal(), &here, SecretId(i64::MIN), 1).await;
        let handed_over = handed_over.map_err(|error| failed(&source, &error.into()))?;
        Ok(Self {
            source: Side {
                database: source,
                ring: Arc::new(source_ring),
                id: there,
            },
            target: Side {
                database: target,
                ring: target_ring,
                id: here,
            },
            audit,
            clock,
            outbound,
            expressions: Expressions::new(),
            pass,
            told,
            owner,
            accounts: Accounts::default(),
            secrets: HashMap::new(),
            copies: BTreeSet::new(),
            refused_realms: BTreeSet::new(),
            // Once anything was handed over, what is registered here is this server's own.
            goes_on: !left.is_empty() && handed_over.is_empty(),
            history: i64::MIN,
        })
    }

    /// Copies everything once. Every copy is held.
    pub async fn copy(&mut self) -> Result<(), MoveError> {
        self.registered().await?;
        self.look().await?;
        self.beside().await
    }

    /// Goes on copying what changes, until it is told to finish.
    pub async fn follow(&mut self, finish: impl Future<Output = ()>) -> Result<(), MoveError> {
        let mut finish = std::pin::pin!(finish);
        let newest = feed::newest(self.source.database.reader()).await;
        let newest = newest.map_err(|error| failed(&self.source.database, &error.into()))?;
        let mut position = Position {
            newest: (newest - READ_AGAIN).max(0),
            seen: BTreeSet::new(),
            next_look: self.clock.now(),
        };
        (self.told)(MoveProgress::Following);
        loop {
            tokio::select! {
                biased;
                () = &mut finish => return Ok(()),
                () = tokio::time::sleep(POLL) => {}
            }
            match self.follow_once(&mut position).await {
                // The old server goes on whatever happens to its database for a while.
                Err(MoveError::Database(address, fault)) => {
                    (self.told)(MoveProgress::Failed(format!(
                        "the database {address} failed: {fault}"
                    )));
                }
                other => other?,
            }
        }
    }

    async fn follow_once(&mut self, position: &mut Position) -> Result<(), MoveError> {
        self.keep_place().await?;
        let begin = (position.newest - READ_AGAIN).max(0);
        let changes = feed::after(self.source.database.causal(), begin, CHANGES_AT_ONCE).await;
        let changes = changes.map_err(|error| failed(&self.source.database, &error.into()))?;
        let mut changed = Vec::new();
        let mut seen = BTreeSet::new();
        for (number, change) in changes {
            if position.seen.contains(&number) {
                continue;
            }
            if let Some(FeedChange::Token(id) | FeedChange::Forget(id, _)) = change {
                changed.push(id);
            }
            seen.insert(number);
        }
        changed.sort_unstable_by_key(|id| id.0);
        changed.dedup();
        for ids in changed.chunks(AT_ONCE) {
            self.copy_some(ids, Step::Follow).await?;
        }
        // What failed before is read again.
        position.seen.append(&mut seen);
        if let Some(last) = position.seen.last().copied() {
            position.newest = position.newest.max(last);
        }
        position.seen = position.seen.split_off(&(position.newest - READ_AGAIN));
        if self.clock.now() >= position.next_look {
            let begun = self.clock.boot();
            self.registered().await?;
            self.look().await?;
            self.beside().await?;
            let took = Ms(self.clock.boot().since(begun).0 * LOOKS_PART);
            position.next_look = self.clock.now().plus(took.max(LOOKS_APART));
        }
        Ok(())
    }

    /// Ends the import; what became of every row.
    pub async fn end(self) -> Result<Accounts, MoveError> {
        if self.pass == Pass::Keep {
            let ended = named_row::end_import(&self.target.database, &self.owner).await;
            ended.map_err(|error| failed(&self.target.database, &error))?;
        }
        Ok(self.accounts)
    }

    /// Keeps the place of the one import, for as long as nothing else is written.
    async fn keep_place(&self) -> Result<(), MoveError> {
        let this = self;
        let kept = self
            .target
            .database
            .write(|transaction, _| Box::pin(async move { this.keep(transaction).await }))
            .await;
        kept.map_err(|error| self.failed_here(error))
    }

    /// The same, inside a transaction that writes: whoever has taken the place writes alone.
    async fn keep(&self, transaction: &impl ConnectionTrait) -> Result<(), RegistryError> {
        if self.pass == Pass::Rehearse {
            return Ok(());
        }
        let until = self.clock.now().plus(PLACE);
        match named_row::keep_import(transaction, &self.owner, until).await? {
            true => Ok(()),
            false => Err(Refusal::ChangedMeanwhile.into()),
        }
    }

    fn failed_here(&self, error: RegistryError) -> MoveError {
        match error {
            RegistryError::Database(error) => failed(&self.target.database, &error),
            RegistryError::Refused(Refusal::ChangedMeanwhile) => MoveError::Superseded,
            RegistryError::Refused(refusal) => MoveError::Registry(refusal.to_string()),
        }
    }

    fn failed_there(&self, error: &DbError) -> MoveError {
        failed(&self.source.database, error)
    }

    fn entry(&self, action: &str, target: String, at: EpochMs) -> AuditEntry {
        AuditEntry {
            at,
            actor: Some(COMMAND_LINE.to_owned()),
            action: action.to_owned(),
            target,
            outcome: AuditOutcome::Done,
            detail: Some(format!("from {}", self.source.database.address())),
            count: NonZeroU32::MIN,
            request_id: None,
            change: Change {
                before: None,
                after: None,
            },
        }
    }
}

/// Takes the place of the one import. That of a killed one is waited for: it ends by itself.
async fn take_place(target: &Database, owner: &str, clock: &SharedClock) -> Result<(), MoveError> {
    let begun = clock.boot();
    loop {
        let now = clock.now();
        let taken = named_row::begin_import(target, owner, now, now.plus(PLACE)).await;
        if taken.map_err(|error| failed(target, &error))? {
            return Ok(());
        }
        if clock.boot().since(begun) > PLACE {
            return Err(MoveError::Busy(Box::new(target.address().clone())));
        }
        tokio::time::sleep(POLL).await;
    }
}

/// How far the feed of the other database was followed.
struct Position {
    newest: i64,
    seen: BTreeSet<i64>,
    next_look: EpochMs,
}

fn failed(database: &Database, error: &DbError) -> MoveError {
    let address = database.address();
    MoveError::Database(Box::new(address.clone()), DbFault::of(error, address))
}
