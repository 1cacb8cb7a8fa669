//! Single flight: however many callers want a fresh token, one request is sent — in this
//! process by joining the flight under way, across replicas by the lease.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::Renewals;
use super::attempt::{Attempted, Cause, Fresh};
use crate::foundation::database::DbError;
use crate::foundation::ids::{Generation, SecretId};
use crate::realm::Realm;
use crate::realm::failure::Failure;
use crate::token::TokenRecord;
use crate::token::lease::Ground;
use crate::token::store;

/// How often another replica's fetch is looked at.
const POLL: Duration = Duration::from_millis(50);

/// How a flight ended, for everyone who joined.
#[derive(Clone, Debug)]
pub enum Landed {
    /// This server fetched and stored it.
    Fetched(Box<Fresh>),
    /// Another replica, or the sweep, stored a newer token meanwhile.
    Elsewhere(Box<TokenRecord>),
    Failed(Failure),
    /// No result within the time a reader waits.
    StillWaiting,
    /// The secret is gone, or paused.
    Void,
    DatabaseFailed,
}

#[derive(Default)]
pub struct Flights(Mutex<HashMap<SecretId, watch::Receiver<Option<Landed>>>>);

impl Flights {
    fn lock(&self) -> MutexGuard<'_, HashMap<SecretId, watch::Receiver<Option<Landed>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Renewals {
    /// Joins the flight for a secret, or starts one. A caller that goes away does not
    /// end it.
    pub(super) async fn fresh(&self, realm: &Realm, seen: &TokenRecord, cause: Cause) -> Landed {
        let mut landing = self.join_or_start(realm, seen, cause);
        let landed = landing.wait_for(Option::is_some).await;
        match landed {
            Ok(landed) => landed.clone().unwrap_or(Landed::DatabaseFailed),
            // The flight's task was dropped: the server is stopping.
            Err(_) => Landed::StillWaiting,
        }
    }

    fn join_or_start(
        &self,
        realm: &Realm,
        seen: &TokenRecord,
        cause: Cause,
    ) -> watch::Receiver<Option<Landed>> {
        let id = seen.secret_id;
        let mut flights = self.flights.lock();
        if let Some(under_way) = flights.get(&id) {
            return under_way.clone();
        }
        let (sender, receiver) = watch::channel(None);
        flights.insert(id, receiver.clone());
        drop(flights);
        let (renewals, realm, seen) = (self.clone(), realm.clone(), seen.clone());
        self.tasks.spawn(async move {
            let deadline = renewals.settings.max_wait.as_duration();
            let flown = tokio::time::timeout(deadline, renewals.fly(&realm, seen, cause)).await;
            let landed = match flown {
                Ok(Ok(landed)) => landed,
                Ok(Err(error)) => {
                    tracing::error!(%error, "a fetch could not reach the database");
                    Landed::DatabaseFailed
                }
                Err(_elapsed) => Landed::StillWaiting,
            };
            // First out of the list, so that who comes now starts anew.
            renewals.flights.lock().remove(&id);
            let _ = sender.send(Some(landed));
            renewals.wake.notify_one();
        });
        receiver
    }

    /// Claims and fetches, or watches whoever holds the claim.
    async fn fly(&self, realm: &Realm, seen: TokenRecord, cause: Cause) -> Result<Landed, DbError> {
        let id = seen.secret_id;
        let permit = self
            .permits
            .take_one(&realm.id, self.realm_limit(realm))
            .await;
        let timeout = self.upstream.timeout(&realm.source);
        let mut failures = failures_of(&seen);
        loop {
            let ground = Ground::Asked(id, seen.generation);
            if let Some(claimed) = self.claim(&ground, timeout).await?.pop() {
                let renewals = self.clone();
                // Once sent, an answer must be stored, even if the readers' time is up.
                let attempt = self.tasks.spawn(async move {
                    let attempted = renewals.attempt(claimed, cause).await;
                    drop(permit);
                    attempted
                });
                return Ok(match attempt.await {
                    Ok(Attempted::Stored(fresh)) => Landed::Fetched(fresh),
                    Ok(Attempted::Failed(failure)) => Landed::Failed(failure),
                    Ok(Attempted::Discarded) => Landed::StillWaiting,
                    Ok(Attempted::Unstored) | Err(_) => Landed::DatabaseFailed,
                });
            }
            match self
                .watch_holder(id, seen.generation, &mut failures)
                .await?
            {
                Some(landed) => return Ok(landed),
                None => continue,
            }
        }
    }

    /// Waits while somebody else holds the lease. None: nobody holds it any more, and
    /// nothing came of it.
    async fn watch_holder(
        &self,
        id: SecretId,
        seen: Generation,
        failures: &mut i64,
    ) -> Result<Option<Landed>, DbError> {
        loop {
            let Some(record) = store::find_by_id(self.database.reader(), id).await? else {
                return Ok(Some(Landed::Void));
            };
            if record.generation > seen {
                return Ok(Some(Landed::Elsewhere(Box::new(record))));
            }
            if record.paused {
                return Ok(Some(Landed::Void));
            }
            let failed = failures_of(&record);
            if failed > *failures
                && let Some(trouble) = record.trouble
            {
                return Ok(Some(Landed::Failed(Failure::new(
                    trouble.class,
                    trouble.detail,
                ))));
            }
            *failures = failed;
            if record.lease.is_none() {
                return Ok(None);
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

fn failures_of(record: &TokenRecord) -> i64 {
    record
        .trouble
        .as_ref()
        .map_or(0, |trouble| trouble.failures)
}
