//! One attempt: open what is sealed, ask the provider, have stored what came back.

use std::sync::Arc;

use tracing::Instrument;

use super::cause::RenewalCause;
use super::claiming::Claimer;
use super::damage::{DamageDetector, Remedy};
use super::fetching::Fetcher;
use super::inputs::InputReader;
use super::late::LateAnswers;
use super::outcome::{Attempted, FetchOutcome, NotOpened, Opened};
use super::quota::{NotReserved, Quotas, ReservedPlaces, Spent};
use super::realms::RealmCache;
use super::refresh::RefreshInput;
use super::settings::BEGINS_WITHIN;
use super::storing::{FailedAttempt, ResultStore};
use crate::foundation::clock::{Deadline, Ms, SharedClock};
use crate::foundation::metrics::Metrics;
use crate::foundation::sealing::{KeyRing, OpenError};
use crate::foundation::traces;
use crate::realm::expression::STORED;
use crate::realm::failure::Failure;
use crate::realm::{Realm, Source, UnreadableRealm};
use crate::secret::Secret;
use crate::token::claim::Claimed;
use crate::token::{Wait, Waiting};
use crate::upstream::{FetchError, Inputs, Previous, Upstream};

/// What an [`AttemptRunner`] can touch.
pub(super) struct AttemptRunnerParts {
    pub clock: SharedClock,
    pub metrics: Arc<Metrics>,
    pub ring: Arc<KeyRing>,
    pub upstream: Arc<Upstream>,
    pub realms: Arc<RealmCache>,
    pub damage: Arc<DamageDetector>,
    pub quotas: Arc<Quotas>,
    pub claims: Arc<Claimer>,
    pub inputs: Arc<InputReader>,
    pub results: Arc<ResultStore>,
    pub late: Arc<LateAnswers>,
    pub fetcher: Fetcher,
}

/// Makes attempts.
pub(crate) struct AttemptRunner {
    parts: AttemptRunnerParts,
}

impl AttemptRunner {
    pub(super) fn new(parts: AttemptRunnerParts) -> Self {
        Self { parts }
    }

    /// Makes one attempt under a claim.
    pub(crate) async fn attempt(&self, claimed: Claimed, cause: RenewalCause) -> Attempted {
        let record = &claimed.record;
        // Around all that is logged meanwhile; at this level it is there whatever that is.
        let span = tracing::error_span!(
            "attempt",
            realm = record.realm.as_str(),
            key = record.key.as_str(),
            attempt = claimed.attempt.0,
            cause = cause.as_str(),
        );
        self.parts.metrics.in_flight.inc();
        let claimed = Arc::new(claimed);
        let attempt = self.attempt_counted(&claimed, cause);
        let attempted = attempt.instrument(span.clone()).await;
        self.parts.metrics.in_flight.dec();
        let (outcome, class) = attempted.outcome_and_class();
        traces::attempt_ended(&span, outcome, class);
        let realm = claimed.record.realm.as_str();
        self.parts.metrics.renewed(realm, outcome, class);
        if !matches!(outcome, "stored" | "failed") {
            span.in_scope(|| tracing::debug!(outcome, "an attempt ended without a result"));
        }
        attempted
    }

    /// Leaves a row to the servers that have its sealing key. It stays due, and says what it
    /// waits for; the log names the first of each minute.
    async fn leave_to_others(&self, claimed: &Claimed, error: OpenError) -> Attempted {
        let record = &claimed.record;
        if self.parts.claims.leave_to_others(record.secret_id) {
            tracing::warn!(
                name: "renewal.left_to_others",
                %error,
                "a token is left to servers that have its sealing key: put that key back into sealing.keys"
            );
        } else {
            tracing::debug!(%error, "a token is left to servers that have its sealing key");
        }
        let waiting = Waiting {
            why: format!("a server that has the sealing key: {error}"),
            until: Wait::OtherServer(record.renew_at.unwrap_or(self.parts.clock.now())),
        };
        match self.parts.results.store_waiting(claimed, waiting).await {
            Attempted::Waiting(_) => Attempted::Sealed(error),
            other => other,
        }
    }

    async fn attempt_counted(&self, claimed: &Arc<Claimed>, cause: RenewalCause) -> Attempted {
        let (started, results) = (self.parts.clock.now(), &self.parts.results);
        let mut opened = match self.open(claimed).await {
            Ok(opened) => opened,
            Err(NotOpened::LeaveToOthers(error)) => {
                return self.leave_to_others(claimed, error).await;
            }
            Err(NotOpened::Waiting(waiting)) => {
                return results.store_waiting(claimed, waiting).await;
            }
            Err(NotOpened::Database(error)) => {
                tracing::error!(
                    name: "renewal.inputs_unreadable",
                    %error, "an attempt could not read what it needs"
                );
                results.give_back(claimed).await;
                return Attempted::Unstored;
            }
            Err(NotOpened::Failed(failure)) => {
                let failed = FailedAttempt::of(started, failure);
                return results.store_failure(claimed, cause, failed, None).await;
            }
        };
        let timeout = self.parts.upstream.timeout(&opened.realm.source);
        if self.is_late(claimed, timeout) {
            results.give_back(claimed).await;
            return Attempted::Discarded;
        }
        let places = match self.reserve_for(claimed, &mut opened, cause).await {
            Ok(places) => places,
            Err(NotReserved::Spent(spent)) => {
                return self.beyond_quota(claimed, cause, spent).await;
            }
            Err(NotReserved::Database(error)) => {
                tracing::error!(
                    name: "quota.not_reserved",
                    %error, "a place in the provider's quota could not be reserved"
                );
                results.give_back(claimed).await;
                return Attempted::Unstored;
            }
        };
        // Reserving took its time.
        if self.is_late(claimed, timeout) {
            results.give_back(claimed).await;
            self.parts.quotas.give_back(places).await;
            return Attempted::Discarded;
        }
        let opened = Arc::new(opened);
        let before = self.parts.clock.boot();
        let limit = Deadline::after(self.parts.clock.machine(), timeout);
        let asked = self.parts.fetcher.fetch(claimed, &opened, timeout).await;
        let took = self.parts.clock.boot().since(before);
        let realm = claimed.record.realm.as_str();
        self.parts.metrics.upstream_answered(realm, took);
        match asked {
            FetchOutcome::Answered(fetched) => {
                let usable =
                    (*fetched).and_then(|obtained| opened.refuse_dead_repeat(claimed, obtained));
                match usable {
                    Ok(obtained) => {
                        results
                            .store_token(claimed, cause, &opened, obtained, took)
                            .await
                    }
                    Err(error) => {
                        let unsent = Some(places).filter(|_| error.nothing_was_sent());
                        // The provider has no part in it. The token stays due.
                        let attempted = if self.was_cut_off(limit, &error) {
                            tracing::warn!(
                                name: "renewal.cut_off",
                                "an attempt was cut off before it was sent: the wall clock was set, or the machine was paused"
                            );
                            results.give_back(claimed).await;
                            Attempted::Discarded
                        } else {
                            let failed = FailedAttempt {
                                risk: opened.risk_after(&error),
                                refresh: error.refresh,
                                ..FailedAttempt::of(started, error.failure)
                            };
                            results
                                .store_failure(claimed, cause, failed, Some(&opened))
                                .await
                        };
                        if let Some(places) = unsent {
                            self.parts.quotas.give_back(places).await;
                        }
                        attempted
                    }
                }
            }
            // It was sent, or still may be: its places are used.
            FetchOutcome::Late(failure, answer) => {
                let awaiting = self
                    .parts
                    .late
                    .await_late(claimed, opened.clone(), cause, answer);
                let (risk, _until_stored) = awaiting.await;
                let failed = FailedAttempt {
                    risk,
                    ..FailedAttempt::of(started, failure)
                };
                results
                    .store_failure(claimed, cause, failed, Some(&opened))
                    .await
            }
            // A refresh token was sent, and refused: the places are used.
            FetchOutcome::Overtaken => {
                results.give_back(claimed).await;
                Attempted::Discarded
            }
        }
    }

    /// Whether less of the lease is left, by either clock, than an attempt may take.
    fn is_late(&self, claimed: &Claimed, timeout: Ms) -> bool {
        claimed.lease.left(self.parts.clock.machine()).0 < timeout.0 + BEGINS_WITHIN.0
    }

    /// Whether the last request was not sent because the wall clock alone says so.
    fn was_cut_off(&self, limit: Deadline, error: &FetchError) -> bool {
        let is_unsent = !error.failure.sent && error.refresh.is_none();
        is_unsent && limit.is_cut_short(self.parts.clock.machine())
    }

    /// Reserves a place in the provider's quotas. Where the budget for forced requests is
    /// spent, a token that must be had is asked for as any other.
    async fn reserve_for(
        &self,
        claimed: &Claimed,
        opened: &mut Opened,
        cause: RenewalCause,
    ) -> Result<ReservedPlaces, NotReserved> {
        let record = &claimed.record;
        let quotas = &self.parts.quotas;
        let reserved = quotas.reserve(&opened.realm, record, cause, record.forced);
        let reserved = reserved.await;
        let must_be_had = matches!(cause, RenewalCause::Scheduled | RenewalCause::Run)
            || record.valid(self.parts.clock.now()).is_none();
        let is_spent = matches!(reserved, Err(NotReserved::Spent(_)));
        if is_spent && record.forced && must_be_had {
            opened.previous.inputs.forced = false;
            return quotas.reserve(&opened.realm, record, cause, false).await;
        }
        reserved
    }

    /// A token that must be had waits for the quota; a wish changes nothing.
    async fn beyond_quota(
        &self,
        claimed: &Claimed,
        cause: RenewalCause,
        spent: Spent,
    ) -> Attempted {
        match cause {
            RenewalCause::Scheduled | RenewalCause::Run | RenewalCause::Recovered => {
                let waiting = Waiting {
                    why: "the provider's quota is used up".to_owned(),
                    until: Wait::Quota(spent.until),
                };
                self.parts.results.store_waiting(claimed, waiting).await
            }
            RenewalCause::Read | RenewalCause::Flush => {
                self.parts.results.give_back(claimed).await;
                Attempted::Spent(spent)
            }
            RenewalCause::Report => {
                self.parts.results.refuse_report(claimed).await;
                Attempted::Spent(spent)
            }
        }
    }

    async fn open(&self, claimed: &Claimed) -> Result<Opened, NotOpened> {
        let realm = self.realm(claimed).await?;
        let secret = Secret::open(claimed.secret.clone(), &self.parts.ring);
        let secret: Secret = self
            .parts
            .damage
            .unless_lost::<_, NotOpened>(secret, Remedy::Params)
            .await?;
        let (token, expires_at) = match &claimed.record.held {
            Some(held) => {
                let token = claimed.record.open_token(held, &self.parts.ring);
                let token = self
                    .parts
                    .damage
                    .unless_damaged::<_, NotOpened>(token)
                    .await?;
                let expires_at = token.as_ref().and(held.payload.expiry.at());
                (token, expires_at)
            }
            None => (None, None),
        };
        let mut inputs = Inputs {
            token,
            extra: self.stored_extra(claimed, &realm, &secret).await?,
            forced: claimed.record.forced,
            attempt: claimed.attempt.clone(),
            ..Inputs::default()
        };
        let (mut parent, mut refresh) = (None, RefreshInput::default());
        let mut uses_refresh_token = false;
        if let Source::Provider(document) = &realm.source {
            let timeout = self.parts.upstream.timeout(&realm.source);
            refresh = self
                .parts
                .inputs
                .refresh_input(claimed, document, &secret, timeout)
                .await?;
            inputs.refresh_token = refresh.token.take();
            uses_refresh_token =
                inputs.refresh_token.is_some() && document.consumes_refresh_token();
            if uses_refresh_token
                && let Some(waiting) =
                    self.parts
                        .inputs
                        .awaits_candidate(claimed, &document.policy, timeout)
            {
                return Err(NotOpened::Waiting(waiting));
            }
            if document.parent.is_some() {
                let opened = self.parts.inputs.parent_token(document, &secret).await?;
                inputs.parent = Some(opened.token.clone());
                parent = Some(opened);
            }
            if let Some(rule) = &document.ticket {
                inputs.ticket = Some(
                    self.parts
                        .inputs
                        .pushed_ticket(document, rule, &secret)
                        .await?,
                );
            }
        }
        Ok(Opened {
            realm,
            secret,
            previous: Previous { inputs, expires_at },
            uses_refresh_token,
            forgets_refresh: refresh.forget,
            instead: refresh.instead,
            parent,
        })
    }

    async fn realm(&self, claimed: &Claimed) -> Result<Arc<Realm>, NotOpened> {
        let (record, secret) = (&claimed.record, &claimed.secret);
        if (record.realm.as_str(), record.key.as_str()) != (&secret.realm_id, &secret.key_name) {
            // A secret's parameters open under its own name only, and go to its own realm only.
            return Err(Failure::internal(format!(
                "ts_token of row {} is not the token of the secret of that number: its name was changed",
                record.secret_id
            ))
            .into());
        }
        match self.parts.realms.read(&claimed.realm) {
            Ok(realm) => Ok(realm),
            Err(UnreadableRealm::NotAuthentic { error, .. }) => {
                self.parts
                    .damage
                    .unless_lost(Err(error), Remedy::Realm)
                    .await
            }
            Err(faulty) => Err(Failure::internal(faulty.to_string()).into()),
        }
    }

    /// The extra fields stored with the token, where the document asks for them. Once the
    /// parameters were saved anew they count, and not what was obtained with the old ones.
    async fn stored_extra(
        &self,
        claimed: &Claimed,
        realm: &Realm,
        secret: &Secret,
    ) -> Result<serde_json::Value, NotOpened> {
        let Source::Provider(document) = &realm.source else {
            return Ok(serde_json::Value::Null);
        };
        let held = claimed.record.held.as_ref();
        let held = held.filter(|held| secret.is_as_before(held.obtained_at));
        let Some(held) = held.filter(|_| document.uses.contains(STORED)) else {
            return Ok(serde_json::Value::Null);
        };
        let extra = claimed.record.open_extra(held, &self.parts.ring);
        let extra = self
            .parts
            .damage
            .unless_damaged::<_, NotOpened>(extra)
            .await?;
        Ok(extra.unwrap_or_default())
    }
}
