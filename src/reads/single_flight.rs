//! Single flight: however many callers want a fresh token, one request is sent — in this
//! process by joining the flight under way, across replicas by the lease.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sea_orm::DbErr;
use tokio::sync::watch;
use tracing::Instrument;

use super::flight_outcome::{Attempt, FlightOutcome};
use super::hold::holding_back;
use crate::foundation::clock::{BootMs, Deadline, Ms, SharedClock};
use crate::foundation::database::{Database, DbError};
use crate::foundation::ids::{AttemptId, Generation, SecretId};
use crate::foundation::metrics::Metrics;
use crate::realm::Realm;
use crate::renewal::cause::RenewalCause;
use crate::renewal::outcome::Attempted;
use crate::renewal::permits::Permit;
use crate::renewal::{
    AttemptRunner, Background, Claimer, DamageDetector, FOR_THE_ANSWER, LateAnswers, Permits,
    RealmCache, RenewalTrigger, can_end,
};
use crate::token::claim::Claimed;
use crate::token::lease::ClaimCondition;
use crate::token::{TokenRecord, Wait, Waiting, store};
use crate::upstream::Upstream;

/// How often another replica's fetch is looked at.
const POLL: Duration = Duration::from_millis(50);

type Landing = watch::Receiver<Option<Landed>>;

/// How a flight ended.
#[derive(Clone)]
struct Landed {
    outcome: FlightOutcome,
    /// Its attempts that have failed, and whose answers may still come.
    late: Vec<AttemptId>,
}

impl From<FlightOutcome> for Landed {
    fn from(outcome: FlightOutcome) -> Self {
        Self {
            outcome,
            late: Vec::new(),
        }
    }
}

#[derive(Default)]
struct Flights(Mutex<HashMap<SecretId, Landing>>);

impl Flights {
    fn lock(&self) -> MutexGuard<'_, HashMap<SecretId, Landing>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a [`SingleFlight`] can touch.
pub(super) struct SingleFlightParts {
    pub database: Database,
    pub clock: SharedClock,
    pub metrics: Arc<Metrics>,
    pub upstream: Arc<Upstream>,
    pub realms: Arc<RealmCache>,
    pub damage: Arc<DamageDetector>,
    pub permits: Permits,
    pub claims: Arc<Claimer>,
    pub attempts: Arc<AttemptRunner>,
    pub background: Background,
    pub late: Arc<LateAnswers>,
    pub trigger: RenewalTrigger,
    pub max_wait: Ms,
}

/// Sends one request, however many callers want the token.
pub(super) struct SingleFlight {
    parts: SingleFlightParts,
    flights: Arc<Flights>,
    /// Renewals under way that callers wait for, without asking for one.
    watches: Arc<Flights>,
}

impl SingleFlight {
    pub(super) fn new(parts: SingleFlightParts) -> Self {
        Self {
            parts,
            flights: Arc::default(),
            watches: Arc::default(),
        }
    }

    /// Joins the flight for a secret, or starts one. A caller that goes away does not
    /// end it. Where the process may be frozen after the answer, the flight has ended before, and so
    /// has what its own attempts leave behind.
    pub(super) async fn fresh(
        self: &Arc<Self>,
        realm: &Arc<Realm>,
        seen: &TokenRecord,
        cause: RenewalCause,
    ) -> FlightOutcome {
        let ends = self.parts.trigger.ends(self.parts.clock.machine());
        self.fresh_until(realm, seen, cause, ends).await
    }

    /// The same for a request that ends then.
    async fn fresh_until(
        self: &Arc<Self>,
        realm: &Arc<Realm>,
        seen: &TokenRecord,
        cause: RenewalCause,
        ends: Option<Deadline>,
    ) -> FlightOutcome {
        let landing = self.join_or_fetch(realm, seen, cause, ends);
        let Some(ends) = ends else {
            return self.within(self.parts.max_wait, landing).await.outcome;
        };
        let answers = ends.less(FOR_THE_ANSWER);
        let left = answers.left(self.parts.clock.machine());
        let Landed { outcome, late } = self.within(left, landing).await;
        self.parts.late.these_end(&late, answers).await;
        outcome
    }

    fn join_or_fetch(
        self: &Arc<Self>,
        realm: &Arc<Realm>,
        seen: &TokenRecord,
        cause: RenewalCause,
        ends: Option<Deadline>,
    ) -> Landing {
        let (this, realm, record) = (self.clone(), realm.clone(), seen.clone());
        let fly = async move {
            let mut late = Vec::new();
            let landed = this.fly(&realm, record, (cause, ends), &mut late).await;
            // What was left over may be due.
            this.parts.background.wake();
            landed.map(|outcome| Landed { outcome, late })
        };
        self.join_or_start(&self.flights, seen.secret_id, fly)
    }

    /// Waits for the renewal that is under way, whoever makes it; starts none.
    pub(super) async fn under_way(self: &Arc<Self>, seen: &TokenRecord) -> FlightOutcome {
        let (this, record) = (self.clone(), seen.clone());
        let watch = async move {
            let begun = this.parts.clock.boot();
            Ok(match this.watch_holder(&record, begun).await? {
                Watched::Ended(landed) => landed.into(),
                Watched::Free(record) => FlightOutcome::Elsewhere(record).into(),
            })
        };
        let landing = self.join_or_start(&self.watches, seen.secret_id, watch);
        self.within(self.parts.max_wait, landing).await.outcome
    }

    /// Whoever is counted as waiting has joined.
    async fn within(&self, longest: Ms, mut landing: Landing) -> Landed {
        let deadline = longest.as_duration();
        self.parts.metrics.readers_waiting.inc();
        let landed = tokio::time::timeout(deadline, landing.wait_for(Option::is_some)).await;
        self.parts.metrics.readers_waiting.dec();
        let Ok(Ok(landed)) = landed else {
            // Not yet, or the server is stopping.
            return FlightOutcome::StillWaiting.into();
        };
        landed
            .clone()
            .unwrap_or_else(|| FlightOutcome::DatabaseFailed.into())
    }

    fn join_or_start(
        &self,
        flights: &Arc<Flights>,
        id: SecretId,
        flight: impl Future<Output = Result<Landed, DbError>> + Send + 'static,
    ) -> Landing {
        let mut under_way = flights.lock();
        if let Some(under_way) = under_way.get(&id) {
            return under_way.clone();
        }
        let (sender, receiver) = watch::channel(None);
        under_way.insert(id, receiver.clone());
        drop(under_way);
        let (flights, database) = (flights.clone(), self.parts.database.clone());
        let flight = async move {
            let landed = flight.await.unwrap_or_else(|error| {
                database.failed(&error, "fetching a token");
                FlightOutcome::DatabaseFailed.into()
            });
            // First out of the list, so that who comes now starts anew.
            flights.lock().remove(&id);
            let _ = sender.send(Some(landed));
        };
        // What it logs names the request that it was started for.
        self.parts.background.spawn(flight.in_current_span());
        receiver
    }

    /// Claims and fetches, or watches whoever holds the claim. Nothing here is cut off by
    /// a deadline: a claim that was sent must be acted on.
    async fn fly(
        self: &Arc<Self>,
        realm: &Realm,
        mut seen: TokenRecord,
        (cause, ends): (RenewalCause, Option<Deadline>),
        late: &mut Vec<AttemptId>,
    ) -> Result<FlightOutcome, DbError> {
        let begun = self.parts.clock.boot();
        let timeout = self.parts.upstream.timeout(&realm.source);
        let (mut asked_parent, mut has_come) = (false, false);
        loop {
            let permit = self
                .parts
                .permits
                .take_one(&realm.id, self.parts.claims.realm_limit(realm))
                .await;
            let now = self.parts.clock.machine();
            if ends.is_some_and(|ends| !can_end(ends, now, timeout)) {
                tracing::warn!(
                    name: "renewal.not_begun",
                    timeout_ms = timeout.0,
                    "an attempt is not begun: it may take longer than its request (http.request_timeout_s)"
                );
                return Ok(FlightOutcome::StillWaiting);
            }
            let condition = match cause {
                RenewalCause::Report => ClaimCondition::Reported(seen.seen()),
                _ => ClaimCondition::AsSeen(seen.seen()),
            };
            if let Some(claimed) = self.parts.claims.claim(&condition, timeout).await?.pop() {
                let attempt = claimed.attempt.clone();
                let landed = self.fetch(claimed, cause, permit.begin()).await;
                late.extend(Some(attempt).filter(|attempt| self.parts.late.awaits(attempt)));
                let (waiting, again) = match landed {
                    Attempt::Ended(landed) => return Ok(landed),
                    Attempt::HasCome(waiting) => (waiting, !std::mem::replace(&mut has_come, true)),
                    // Without a permit: the parent needs one itself.
                    Attempt::Waits(waiting) => {
                        let again = !std::mem::replace(&mut asked_parent, true)
                            && self.fetch_parent(&waiting, cause, ends).await?;
                        (waiting, again)
                    }
                };
                if !again {
                    return Ok(FlightOutcome::Waiting(waiting));
                }
                let id = seen.secret_id;
                let reading = |reader| store::find_by_id(reader, id);
                match self.parts.database.read_with_retry(reading).await? {
                    // The sweep was first.
                    Some(record) if record.generation > seen.generation => {
                        return Ok(FlightOutcome::Elsewhere(Box::new(record)));
                    }
                    Some(record) => seen = record,
                    None => return Ok(FlightOutcome::GoneOrPaused),
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
    async fn fetch_parent(
        self: &Arc<Self>,
        waiting: &Waiting,
        cause: RenewalCause,
        ends: Option<Deadline>,
    ) -> Result<bool, DbError> {
        let Some(parent) = parent_record(&self.parts.database, waiting).await? else {
            return Ok(false);
        };
        let now = self.parts.clock.now();
        if parent.lease.is_some() && self.parts.realms.ends_with_the_next(&parent).await? {
            self.under_way(&parent).await;
            return Ok(true);
        }
        let parent = self.parts.damage.without_damaged_token(parent).await?;
        if parent.valid(now).is_some() {
            return Ok(true);
        }
        let Some(realm) = self.parts.realms.load(&parent.realm).await? else {
            return Ok(false);
        };
        if realm.source.is_fixed() || holding_back(&parent, &realm, now).is_some() {
            return Ok(false);
        }
        // The parent is wanted because it has no valid token, whoever asks.
        let cause = match cause {
            RenewalCause::Report => RenewalCause::Read,
            other => other,
        };
        let landed = Box::pin(self.fresh_until(&realm, &parent, cause, ends)).await;
        Ok(matches!(
            landed,
            FlightOutcome::Fetched(_) | FlightOutcome::Elsewhere(_)
        ))
    }

    async fn fetch(&self, claimed: Claimed, cause: RenewalCause, permit: Permit) -> Attempt {
        let seen = (claimed.record.secret_id, claimed.record.generation);
        let attempted = self.parts.attempts.attempt(claimed, cause).await;
        drop(permit);
        Attempt::Ended(match attempted {
            Attempted::Stored(fresh) => FlightOutcome::Fetched(fresh),
            Attempted::Failed {
                failure,
                next_attempt,
            } => FlightOutcome::Failed {
                class: failure.class,
                detail: failure.detail,
                next_attempt: Some(next_attempt),
            },
            Attempted::Waiting(waiting) => return Attempt::Waits(waiting),
            Attempted::HasCome(waiting) => return Attempt::HasCome(waiting),
            Attempted::Spent(spent) => FlightOutcome::Spent(spent),
            Attempted::Sealed(error) => FlightOutcome::Sealed(error),
            Attempted::Discarded => self.overtaken(seen).await,
            Attempted::Unstored => FlightOutcome::DatabaseFailed,
        })
    }

    /// A result was discarded: because a newer token has come, or because something changed.
    async fn overtaken(&self, (id, generation): (SecretId, Generation)) -> FlightOutcome {
        match store::find_by_id(self.parts.database.causal(), id).await {
            Ok(Some(record)) if record.generation > generation => {
                FlightOutcome::Elsewhere(Box::new(record))
            }
            Ok(Some(_)) => FlightOutcome::StillWaiting,
            Ok(None) => FlightOutcome::GoneOrPaused,
            Err(_) => FlightOutcome::DatabaseFailed,
        }
    }

    /// Waits while somebody else holds the lease.
    async fn watch_holder(&self, seen: &TokenRecord, begun: BootMs) -> Result<Watched, DbError> {
        loop {
            let record = store::find_by_id(self.parts.database.causal(), seen.secret_id).await?;
            let Some(record) = record.filter(|record| !record.paused) else {
                return Ok(Watched::Ended(FlightOutcome::GoneOrPaused));
            };
            if record.generation > seen.generation {
                return Ok(Watched::Ended(FlightOutcome::Elsewhere(Box::new(record))));
            }
            if record.failures() > seen.failures()
                && let Some(trouble) = record.trouble
            {
                return Ok(Watched::Ended(FlightOutcome::Failed {
                    class: trouble.class,
                    detail: trouble.detail,
                    next_attempt: record.renew_at,
                }));
            }
            if self.parts.clock.boot().since(begun) > self.parts.max_wait {
                return Ok(Watched::Ended(FlightOutcome::StillWaiting));
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
    Ended(FlightOutcome),
    /// Nobody holds it any more, and nothing came of it.
    Free(Box<TokenRecord>),
}

/// The record of a parent that is waited for, if it may be asked for now.
async fn parent_record(
    database: &Database,
    waiting: &Waiting,
) -> Result<Option<TokenRecord>, DbErr> {
    match waiting.until {
        Wait::Parent(parent) => store::find_by_id(database.reader(), parent.id).await,
        Wait::Registration
        | Wait::Ticket(_)
        | Wait::Candidate(_)
        | Wait::Quota(_)
        | Wait::OtherServer(_) => Ok(None),
    }
}
