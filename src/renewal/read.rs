//! The rules of `GET /api/token`: what is served, when a fetch is made for it, and what is
//! said where none can be.

mod flush;
mod under_way;

use std::sync::Arc;

use sea_orm::DbErr;
use secrecy::SecretString;

use super::Renewals;
use super::attempt::Cause;
use super::damage::{DAMAGED, Remedy};
use super::flight::Landed;
use crate::foundation::clock::{EpochMs, Moment, Ms, Timeline};
use crate::foundation::database::DbError;
use crate::foundation::ids::{Generation, KeyName, RealmId};
use crate::foundation::limit::within;
use crate::foundation::metrics::ReadLabels;
use crate::foundation::sealing::OpenError;
use crate::memory::{COMPARING, Look, Remembered};
use crate::realm::failure::{Failure, FailureClass};
use crate::realm::{Realm, Source};
use crate::secret::{Secret, store as secrets};
use crate::token::expiry::{Expiry, attempt_floor};
use crate::token::{HeldToken, TokenRecord, Wait, store};
pub use flush::FlushDenied;
use under_way::Waited;

/// A question for a token.
#[derive(Clone, Debug)]
pub struct Ask {
    pub realm: RealmId,
    pub key: KeyName,
    /// As if a token with less left had expired.
    pub min_ttl: Ms,
    pub flush: Option<Flush>,
}

/// A request to renew now.
#[derive(Clone, Debug)]
pub enum Flush {
    /// Only if this is still the current one, where one is named.
    Wished(Option<Generation>),
    /// The provider refused this one.
    Refused {
        refused: Refused,
        /// The provider's error code.
        code: Option<String>,
    },
}

/// Which token a provider refused.
#[derive(Clone, Debug)]
pub enum Refused {
    Generation(Generation),
    Token(SecretString),
}

/// Where a served token came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// This process remembers it.
    Cache,
    Database,
    Upstream,
}

impl Origin {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cache => "cache",
            Self::Database => "database",
            Self::Upstream => "upstream",
        }
    }
}

/// What became of a flush.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Flushed {
    Yes,
    /// Why not, and when it may be asked again.
    No {
        why: FlushDenied,
        retry_after: Option<Ms>,
    },
}

#[derive(Clone, Debug)]
pub struct Served {
    pub token: SecretString,
    pub token_type: Option<String>,
    /// Null where the realm takes nothing beside the token.
    pub extra: serde_json::Value,
    /// RFC 3339; none: it never expires.
    pub expires_at: Option<String>,
    pub expires_in: Ms,
    pub generation: Generation,
    pub origin: Origin,
    /// The fresher token that was asked for could not be had.
    pub stale: bool,
    pub flushed: Option<Flushed>,
}

/// Why no token is served.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("there is no secret of that realm and key")]
    UnknownSecret,
    #[error("the realm holds fixed tokens, which cannot be flushed")]
    FixedFlushed,
    #[error("the realm holds fixed tokens, and none that is valid is stored")]
    FixedMissing,
    #[error("{}", .detail)]
    Unavailable {
        /// None where it is not the provider that failed.
        class: Option<FailureClass>,
        detail: String,
        retry_after: Ms,
    },
    #[error("the fixed token that is stored is damaged; store it again with PUT /api/token")]
    FixedDamaged,
    /// Another replica may have the key.
    #[error("{0}")]
    Sealed(#[from] OpenError),
    #[error("{0}")]
    Database(#[from] DbError),
}

impl From<DbErr> for ReadError {
    fn from(error: DbErr) -> Self {
        Self::Database(error.into())
    }
}

impl From<Failure> for ReadError {
    fn from(failure: Failure) -> Self {
        unavailable(
            Some(failure.class),
            &what_failed(failure.class, &failure.detail),
            RETRY_LATER,
        )
    }
}

const QUOTA_SPENT: &str = "the provider's quota is used up";
const NOT_IN_TIME: &str = "the token is being fetched; it did not arrive in time";
const EXPIRED_MEANWHILE: &str = "the token expired while it was fetched";
const DATABASE_UNUSABLE: &str = "the database cannot be used now";
const REALM_UNREADABLE: &str = "the realm cannot be read by this server";
/// What a caller is told to wait where nothing better is known.
const RETRY_SOON: Ms = Ms::from_secs(1);
/// While something else must come first.
const RETRY_LATER: Ms = Ms::from_secs(5);

impl Renewals {
    pub async fn read(&self, ask: &Ask) -> Result<Served, ReadError> {
        let served = match &ask.flush {
            Some(flush) => self.flush(ask, flush).await,
            None => self.read_wished(ask).await,
        }?;
        self.metrics
            .reads
            .get_or_create(&ReadLabels {
                source: served.origin.as_str(),
            })
            .inc();
        Ok(served)
    }

    /// What this process remembers, where nothing speaks against it, and how long that is
    /// valid. Waits for nothing, and leaves what takes longer to [`Renewals::read`].
    pub fn read_at_once(
        &self,
        realm: &str,
        key: &str,
        now: Moment,
    ) -> Option<(Arc<Remembered>, Ms)> {
        let cell = self.memory.sure_token(realm, key, now)?;
        if !self.is_fresh(cell.expiry, Ms::ZERO, now.wall) {
            return None;
        }
        self.metrics.cache_reads.inc();
        let left = cell.expiry.left(now.wall);
        Some((cell, left))
    }

    async fn read_wished(&self, ask: &Ask) -> Result<Served, ReadError> {
        let look = self.memory.token(&ask.realm, &ask.key);
        if let Look::Sure(cell) = &look
            && let Some(served) = self.remembered(cell, ask.min_ttl)
        {
            return Ok(served);
        }
        let (since, read_at) = (self.memory.begin(), self.clock.boot());
        let record = match look {
            Look::Doubtful(cell) => {
                let reading = store::find(self.database.reader(), &ask.realm, &ask.key);
                let served = || self.remembered(&cell, ask.min_ttl);
                match (within(COMPARING, reading).await, served()) {
                    (Some(Ok(Some(record))), Some(served)) if cell.is_of(&record) => {
                        return Ok(served);
                    }
                    (Some(Ok(Some(record))), _) => record,
                    (Some(Ok(None)), _) => {
                        self.memory.changed(cell.id);
                        return Err(ReadError::UnknownSecret);
                    }
                    (Some(Err(_)) | None, Some(served)) => return Ok(served),
                    (Some(Err(_)) | None, None) => self.find(ask).await?,
                }
            }
            Look::Sure(_) | Look::Nothing => self.find(ask).await?,
        };
        let waited = match self.ends_with_the_next(&record).await? {
            true => self.after_renewal(ask, record).await?,
            false => {
                // What cannot be opened is said by the read.
                if let Ok(Some(cell)) = Remembered::of(&record, &self.ring, read_at) {
                    self.memory.remember(cell, since);
                }
                Waited::Ended(record)
            }
        };
        self.read_waited(waited, ask.min_ttl).await
    }

    async fn read_waited(&self, waited: Waited, min_ttl: Ms) -> Result<Served, ReadError> {
        match waited {
            Waited::Ended(record) => self.read_through(&record, min_ttl).await,
            Waited::InVain(record) => {
                let late = "the token is being renewed; the next did not arrive in time";
                self.stored_or(&record, unavailable(None, late, RETRY_SOON))
                    .await
            }
        }
    }

    async fn find(&self, ask: &Ask) -> Result<TokenRecord, ReadError> {
        self.database
            .patiently(|reader| store::find(reader, &ask.realm, &ask.key))
            .await?
            .ok_or(ReadError::UnknownSecret)
    }

    fn remembered(&self, cell: &Remembered, min_ttl: Ms) -> Option<Served> {
        let now = self.clock.now();
        self.is_fresh(cell.expiry, min_ttl, now).then(|| Served {
            token: cell.token(),
            token_type: cell.token_type.clone(),
            extra: cell.extra.clone(),
            expires_at: cell.expires_at.clone(),
            expires_in: cell.expiry.left(now),
            generation: cell.generation,
            origin: Origin::Cache,
            stale: false,
            flushed: None,
        })
    }

    /// Whether a token with that expiry has as much left as is wanted.
    fn is_fresh(&self, expiry: Expiry, min_ttl: Ms, now: EpochMs) -> bool {
        let wanted = min_ttl.max(self.settings.min_ttl);
        let left = expiry.left(now);
        left > Ms::ZERO && (expiry == Expiry::Never || left > wanted)
    }

    async fn read_through(&self, record: &TokenRecord, min_ttl: Ms) -> Result<Served, ReadError> {
        let now = self.clock.now();
        if let Some(held) = &record.held
            && self.is_fresh(held.expiry, min_ttl, now)
            && let Some(served) = self.stored(record, now).await?
        {
            return Ok(served);
        }
        let realm = self.realm_of(record).await?;
        if realm.source.is_fixed() {
            let served = self.stored(record, now).await?;
            return served.ok_or(match record.valid(now) {
                Some(_) => ReadError::FixedDamaged,
                None => ReadError::FixedMissing,
            });
        }
        // A damaged token is as good as none, but may be intact in the form it is served in.
        let usable = self.without_damaged_token(record.clone()).await?;
        if let Some(refused) = holding_back(&usable, &realm, now) {
            return self.stored_or(record, refused).await;
        }
        if let Some(spent) = self.known_spent(&realm, record, Cause::Read) {
            return self.stored_or(record, beyond_quota(spent.until, now)).await;
        }
        let landed = self.fresh(&realm, record, Cause::Read).await;
        match self.landed(landed).await? {
            Ok(served) => Ok(served),
            Err(refused) => self.stored_or(record, refused).await,
        }
    }

    /// What a flight brought, or why it brought nothing.
    async fn landed(&self, landed: Landed) -> Result<Result<Served, ReadError>, ReadError> {
        let now = self.clock.now();
        Ok(match landed {
            Landed::Fetched(fresh) => Ok(Served {
                expires_in: fresh.expiry.left(now),
                token: fresh.token,
                token_type: fresh.token_type,
                extra: fresh.extra,
                expires_at: fresh.expiry.at().map(Timeline::to_rfc3339),
                generation: fresh.generation,
                origin: Origin::Upstream,
                stale: false,
                flushed: None,
            })
            .and_then(|served: Served| {
                if served.expires_in > Ms::ZERO {
                    Ok(served)
                } else {
                    Err(unavailable(None, EXPIRED_MEANWHILE, RETRY_SOON))
                }
            }),
            Landed::Elsewhere(record) => {
                let served = self.stored(&record, now).await?;
                served.ok_or_else(not_in_time)
            }
            Landed::StillWaiting => Err(not_in_time()),
            Landed::Failed {
                class,
                detail,
                next_attempt,
            } => Err(unavailable(
                Some(class),
                &what_failed(class, &detail),
                next_attempt.map_or(RETRY_SOON, |again| again.since(now).max(RETRY_SOON)),
            )),
            Landed::Spent(spent) => Err(beyond_quota(spent.until, now)),
            Landed::Sealed(error) => Err(ReadError::Sealed(error)),
            Landed::Waiting(waiting) => Err(match waiting.until {
                Wait::Quota(until) => beyond_quota(until, now),
                Wait::Parent(_) | Wait::Something | Wait::Candidate(_) | Wait::OtherServer(_) => {
                    unavailable(None, &waiting.why, RETRY_LATER)
                }
            }),
            Landed::Void => Err(unavailable(
                None,
                "renewal is paused, or the secret was deleted",
                RETRY_SOON,
            )),
            Landed::DatabaseFailed => Err(unavailable(None, DATABASE_UNUSABLE, RETRY_SOON)),
        })
    }

    /// The stored token if it can be served, marked as not what was asked for.
    async fn stored_or(
        &self,
        record: &TokenRecord,
        refused: ReadError,
    ) -> Result<Served, ReadError> {
        match self.stored(record, self.clock.now()).await? {
            Some(served) => Ok(Served {
                stale: true,
                ..served
            }),
            None => Err(refused),
        }
    }

    /// The stored token; none where there is none that is valid, or where it is damaged.
    async fn stored(
        &self,
        record: &TokenRecord,
        now: EpochMs,
    ) -> Result<Option<Served>, ReadError> {
        // Nobody is served an older one after this.
        self.memory.seen(record);
        let Some(held) = record.valid(now) else {
            return Ok(None);
        };
        let opened = record.open_extra(held, &self.ring);
        let Some(extra) = self.unless_damaged::<_, ReadError>(opened).await? else {
            return Ok(None);
        };
        let opened = record.open_served(held, &self.ring);
        let token = match self.unless_damaged::<_, ReadError>(opened).await? {
            Some(Some(token)) => Some(token),
            Some(None) => self.rendered_now(record, held, &extra).await?,
            None => None,
        };
        Ok(token.map(|token| Served {
            token,
            token_type: held.token_type.clone(),
            extra,
            expires_at: held.expiry.at().map(Timeline::to_rfc3339),
            expires_in: held.expiry.left(now),
            generation: record.generation,
            origin: Origin::Database,
            stale: false,
            flushed: None,
        }))
    }

    /// Renders a token that is served anew on each read; none where it is damaged.
    async fn rendered_now(
        &self,
        record: &TokenRecord,
        held: &HeldToken,
        extra: &serde_json::Value,
    ) -> Result<Option<SecretString>, ReadError> {
        let opened = record.open_token(held, &self.ring);
        let Some(token) = self.unless_damaged::<_, ReadError>(opened).await? else {
            return Ok(None);
        };
        let realm = self.realm_of(record).await?;
        let Source::Provider(document) = &realm.source else {
            return Ok(Some(token));
        };
        let row = self
            .database
            .patiently(|reader| secrets::find(reader, &record.realm, &record.key))
            .await?
            .ok_or(ReadError::UnknownSecret)?;
        let opened = Secret::open(row, &self.ring);
        let secret = self
            .unless_lost::<_, ReadError>(opened, Remedy::Params)
            .await?;
        self.upstream
            .served(document, &secret.params, &token, extra)
            .map(Some)
            .map_err(|failure| unavailable(Some(failure.class), &failure.detail, RETRY_LATER))
    }

    async fn realm_of(&self, record: &TokenRecord) -> Result<Arc<Realm>, ReadError> {
        self.load_realm(&record.realm)
            .await?
            .ok_or_else(|| unavailable(Some(FailureClass::Internal), REALM_UNREADABLE, RETRY_SOON))
    }
}

/// Readers never storm a provider: who is parked, backing off or limited is not asked.
pub(super) fn holding_back(record: &TokenRecord, realm: &Realm, now: EpochMs) -> Option<ReadError> {
    if record.paused {
        return Some(unavailable(None, "renewal is paused", RETRY_SOON));
    }
    if let Some(until) = realm.blocked_until.filter(|until| *until > now) {
        return Some(unavailable(
            Some(FailureClass::RateLimited),
            "the provider limits the rate",
            until.since(now),
        ));
    }
    if let Some(wait) = within_floor(record, now) {
        return Some(unavailable(None, "the token was renewed moments ago", wait));
    }
    let trouble = record.trouble.as_ref()?;
    let again = record.renew_at.filter(|again| *again > now)?;
    let failed = what_failed(trouble.class, &trouble.detail);
    Some(unavailable(
        Some(trouble.class),
        &format!("{failed}; the next attempt is not due"),
        again.since(now),
    ))
}

/// Which side failed, and why.
fn what_failed(class: FailureClass, detail: &str) -> String {
    let who = match class {
        FailureClass::Transient => "the provider did not issue a token",
        FailureClass::RateLimited => "the provider limits the rate",
        FailureClass::Permanent => "the provider refused",
        FailureClass::InvalidToken => {
            "the provider refused the token that this one is derived from"
        }
        FailureClass::Internal if detail.starts_with(DAMAGED) => {
            "what is stored for the secret is damaged"
        }
        FailureClass::Internal => "the realm's document failed",
    };
    format!("{who} ({detail})")
}

fn not_in_time() -> ReadError {
    unavailable(None, NOT_IN_TIME, RETRY_SOON)
}

/// A token that was just obtained is not asked for again, however much life a caller
/// wants left: no `min_ttl_s` makes a loop.
fn within_floor(record: &TokenRecord, now: EpochMs) -> Option<Ms> {
    let held = record.held.as_ref().filter(|_| record.lease.is_none())?;
    let lead = held.expiry.at()?.since(record.renew_at?);
    let until = held.obtained_at.plus(attempt_floor(lead));
    Some(until.since(now)).filter(|wait| *wait > Ms::ZERO)
}

fn beyond_quota(until: EpochMs, now: EpochMs) -> ReadError {
    let wait = until.since(now).max(RETRY_SOON);
    unavailable(Some(FailureClass::RateLimited), QUOTA_SPENT, wait)
}

fn unavailable(class: Option<FailureClass>, detail: &str, retry_after: Ms) -> ReadError {
    ReadError::Unavailable {
        class,
        detail: detail.to_owned(),
        retry_after,
    }
}

impl ReadError {
    fn retry_after(&self) -> Option<Ms> {
        match self {
            Self::Unavailable { retry_after, .. } => Some(*retry_after),
            _ => None,
        }
    }
}
