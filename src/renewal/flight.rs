//! Single flight: however many callers want a fresh token, one request is sent — in this
//! process by joining the flight under way, across replicas by the lease.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tracing::Instrument;

use super::attempt::{Attempted, Cause, Fresh};
use super::permits::Permit;
use super::quota::Spent;
use super::read::holding_back;
use super::{Inner, Renewals};
use crate::foundation::clock::{BootMs, EpochMs};
use crate::foundation::database::DbError;
use crate::foundation::ids::{Generation, SecretId};
use crate::foundation::sealing::OpenError;
use crate::realm::Realm;
use crate::realm::failure::FailureClass;
use crate::token::lease::{Claimed, Ground};
use crate::token::{TokenRecord, Waiting, store};

/// How often another replica's fetch is looked at.
const POLL: Duration = Duration::from_millis(50);

/// How a flight ended, for everyone who joined.
#[derive(Clone, Debug)]
pub enum Landed {
    /// This server fetched and stored it.
    Fetched(Box<Fresh>),
    /// Another replica, or the sweep, stored a newer token meanwhile.
    Elsewhere(Box<TokenRecord>),
    /// The attempt failed, here or elsewhere.
    Failed {
        class: FailureClass,
        detail: String,
        next_attempt: Option<EpochMs>,
    },
    /// Something must come first, and could not be had now.
    Waiting(Waiting),
    /// The provider's quota leaves no place for it.
    Spent(Spent),
    /// This server has not the key that something is sealed with.
    Sealed(OpenError),
    /// No result within the time a reader waits.
    StillWaiting,
    /// The secret is gone, or paused.
    Void,
    DatabaseFailed,
}

type Landing = watch::Receiver<Option<Landed>>;

#[derive(Default)]
pub struct Flights(Mutex<HashMap<SecretId, Landing>>);

impl Flights {
    fn lock(&self) -> MutexGuard<'_, HashMap<SecretId, Landing>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Renewals {
    /// Joins the flight for a secret, or starts one. A caller that goes away does not
    /// end it.
    pub(super) async fn fresh(
        &self,
        realm: &Arc<Realm>,
        seen: &TokenRecord,
        cause: Cause,
    ) -> Landed {
        let landing = self.join_or_fetch(realm, seen, cause);
        self.within_max_wait(landing).await
    }

    fn join_or_fetch(&self, realm: &Arc<Realm>, seen: &TokenRecord, cause: Cause) -> Landing {
        let (renewals, realm, record) = (self.clone(), realm.clone(), seen.clone());
        let fly = async move {
            let landed = renewals.fly(&realm, record, cause).await;
            // What was left over may be due.
            renewals.wake.notify_one();
            landed
        };
        self.join_or_start(|inner| &inner.flights, seen.secret_id, fly)
    }

    /// Waits for the renewal that is under way, whoever makes it; starts none.
    pub(super) async fn under_way(&self, seen: &TokenRecord) -> Landed {
        let (renewals, record) = (self.clone(), seen.clone());
        let watch = async move {
            let begun = renewals.clock.boot();
            Ok(match renewals.watch_holder(&record, begun).await? {
                Watched::Ended(landed) => landed,
                Watched::Free(record) => Landed::Elsewhere(record),
            })
        };
        let landing = self.join_or_start(|inner| &inner.watches, seen.secret_id, watch);
        self.within_max_wait(landing).await
    }

    /// Whoever is counted as waiting has joined.
    async fn within_max_wait(&self, mut landing: Landing) -> Landed {
        let deadline = self.settings.max_wait.as_duration();
        self.metrics.readers_waiting.inc();
        let landed = tokio::time::timeout(deadline, landing.wait_for(Option::is_some)).await;
        self.metrics.readers_waiting.dec();
        match landed {
            Ok(Ok(landed)) => landed.clone().unwrap_or(Landed::DatabaseFailed),
            // Not yet, or the server is stopping.
            Err(_) | Ok(Err(_)) => Landed::StillWaiting,
        }
    }

    fn join_or_start(
        &self,
        flights_of: fn(&Inner) -> &Flights,
        id: SecretId,
        flight: impl Future<Output = Result<Landed, DbError>> + Send + 'static,
    ) -> Landing {
        let mut flights = flights_of(self).lock();
        if let Some(under_way) = flights.get(&id) {
            return under_way.clone();
        }
        let (sender, receiver) = watch::channel(None);
        flights.insert(id, receiver.clone());
        drop(flights);
        let renewals = self.clone();
        let flight = async move {
            let landed = flight.await.unwrap_or_else(|error| {
                renewals.database.failed(&error, "fetching a token");
                Landed::DatabaseFailed
            });
            // First out of the list, so that who comes now starts anew.
            flights_of(&renewals).lock().remove(&id);
            let _ = sender.send(Some(landed));
        };
        // What it logs names the request that it was started for.
        self.tasks.spawn(flight.in_current_span());
        receiver
    }

    /// Claims and fetches, or watches whoever holds the claim. Nothing here is cut off by
    /// a deadline: a claim that was sent must be acted on.
    async fn fly(
        &self,
        realm: &Realm,
        mut seen: TokenRecord,
        cause: Cause,
    ) -> Result<Landed, DbError> {
        let begun = self.clock.boot();
        let timeout = self.upstream.timeout(&realm.source);
        let mut asked_parent = false;
        loop {
            let permit = self
                .permits
                .take_one(&realm.id, self.realm_limit(realm))
                .await;
            let ground = match cause {
                Cause::Report => Ground::Reported(seen.seen()),
                _ => Ground::Asked(seen.seen()),
            };
            if let Some(claimed) = self.claim(&ground, timeout).await?.pop() {
                let landed = self.fetch(claimed, cause, permit.begin()).await;
                let Landed::Waiting(waiting) = landed else {
                    return Ok(landed);
                };
                // Without a permit: the parent needs one itself.
                if asked_parent || !self.fetch_parent(&waiting, cause).await? {
                    return Ok(Landed::Waiting(waiting));
                }
                asked_parent = true;
                let id = seen.secret_id;
                let reading = |reader| store::find_by_id(reader, id);
                match self.database.patiently(reading).await? {
                    // The sweep was first.
                    Some(record) if record.generation > seen.generation => {
                        return Ok(Landed::Elsewhere(Box::new(record)));
                    }
                    Some(record) => seen = record,
                    None => return Ok(Landed::Void),
                }
                continue;
            }
            drop(permit);
            match self.watch_holder(&seen, begun).await? {
                Watched::Ended(landed) => return Ok(landed),
                Watched::Free(record) => seen = *record,
            }
        }
    }

    /// Fetches the parent that is waited for, as a reader of it would. Answers whether it
    /// has a valid token now.
    async fn fetch_parent(&self, waiting: &Waiting, cause: Cause) -> Result<bool, DbError> {
        let Some(parent) = self.parent_record(waiting).await? else {
            return Ok(false);
        };
        let now = self.clock.now();
        if parent.lease.is_some() && self.ends_with_the_next(&parent).await? {
            self.under_way(&parent).await;
            return Ok(true);
        }
        let parent = self.without_damaged_token(parent).await?;
        if parent.valid(now).is_some() {
            return Ok(true);
        }
        let Some(realm) = self.load_realm(&parent.realm).await? else {
            return Ok(false);
        };
        if realm.source.is_fixed() || holding_back(&parent, &realm, now).is_some() {
            return Ok(false);
        }
        // The parent is wanted because it has no valid token, whoever asks.
        let cause = match cause {
            Cause::Report => Cause::Read,
            other => other,
        };
        let landed = Box::pin(self.fresh(&realm, &parent, cause)).await;
        Ok(matches!(landed, Landed::Fetched(_) | Landed::Elsewhere(_)))
    }

    async fn fetch(&self, claimed: Claimed, cause: Cause, permit: Permit) -> Landed {
        let seen = (claimed.record.secret_id, claimed.record.generation);
        let attempted = self.attempt(claimed, cause).await;
        drop(permit);
        match attempted {
            Attempted::Stored(fresh) => Landed::Fetched(fresh),
            Attempted::Failed {
                failure,
                next_attempt,
            } => Landed::Failed {
                class: failure.class,
                detail: failure.detail,
                next_attempt: Some(next_attempt),
            },
            Attempted::Waiting(waiting) => Landed::Waiting(waiting),
            Attempted::Spent(spent) => Landed::Spent(spent),
            Attempted::Sealed(error) => Landed::Sealed(error),
            Attempted::Discarded => self.overtaken(seen).await,
            Attempted::Unstored => Landed::DatabaseFailed,
        }
    }

    /// A result was void: because a newer token has come, or because something changed.
    async fn overtaken(&self, (id, generation): (SecretId, Generation)) -> Landed {
        match store::find_by_id(self.database.causal(), id).await {
            Ok(Some(record)) if record.generation > generation => {
                Landed::Elsewhere(Box::new(record))
            }
            Ok(Some(_)) => Landed::StillWaiting,
            Ok(None) => Landed::Void,
            Err(_) => Landed::DatabaseFailed,
        }
    }

    /// Waits while somebody else holds the lease.
    async fn watch_holder(&self, seen: &TokenRecord, begun: BootMs) -> Result<Watched, DbError> {
        loop {
            let record = store::find_by_id(self.database.causal(), seen.secret_id).await?;
            let Some(record) = record.filter(|record| !record.paused) else {
                return Ok(Watched::Ended(Landed::Void));
            };
            if record.generation > seen.generation {
                return Ok(Watched::Ended(Landed::Elsewhere(Box::new(record))));
            }
            if record.failures() > seen.failures()
                && let Some(trouble) = record.trouble
            {
                return Ok(Watched::Ended(Landed::Failed {
                    class: trouble.class,
                    detail: trouble.detail,
                    next_attempt: record.renew_at,
                }));
            }
            if self.clock.boot().since(begun) > self.settings.max_wait {
                return Ok(Watched::Ended(Landed::StillWaiting));
            }
            if record.lease.is_none() {
                return Ok(Watched::Free(Box::new(record)));
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

/// What came of somebody else's lease.
enum Watched {
    Ended(Landed),
    /// Nobody holds it any more, and nothing came of it.
    Free(Box<TokenRecord>),
}
