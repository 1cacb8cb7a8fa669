//! Answers that come after their attempt's time. The provider may have rotated the refresh
//! token, and then the answer holds the only one that is good: it is waited for beside, and
//! kept as a candidate.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use tokio::sync::{Notify, oneshot};
use tracing::Instrument;

use super::background::Background;
use super::candidates::PairKeeper;
use super::cause::RenewalCause;
use super::claiming::Claimer;
use super::outcome::{FetchOutcome, LateAnswer, Opened};
use super::refresh::retries;
use super::storing::ResultStore;
use crate::foundation::clock::{Deadline, Ms, SharedClock, Timeline};
use crate::foundation::database::{Database, DbError};
use crate::foundation::ids::{AttemptId, RealmId, SecretId};
use crate::foundation::limit::within;
use crate::realm::failure::{Failure, MAYBE_SPENT};
use crate::realm::{Realm, Source};
use crate::token::candidate::Candidate;
use crate::token::claim::Claimed;
use crate::token::claim::RefreshTokenRisk;
use crate::token::lost;
use crate::upstream::{Previous, Upstream};

/// Attempts whose answers are waited for.
#[derive(Default)]
pub(super) struct Awaited {
    attempts: Mutex<HashMap<AttemptId, (SecretId, RealmId)>>,
    ended: Notify,
}

impl Awaited {
    fn lock(&self) -> MutexGuard<'_, HashMap<AttemptId, (SecretId, RealmId)>> {
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has(&self, attempt: &AttemptId) -> bool {
        self.lock().contains_key(attempt)
    }

    /// Waits until none of these is waited for.
    async fn these_end(&self, these: &[AttemptId]) {
        loop {
            let ended = self.ended.notified();
            tokio::pin!(ended);
            ended.as_mut().enable();
            if !these.iter().any(|attempt| self.has(attempt)) {
                return;
            }
            ended.await;
        }
    }

    /// False where as many are waited for as attempts may be made at once: in the realm, or
    /// in all.
    fn add(&self, claimed: &Claimed, in_realm: usize, in_all: usize) -> bool {
        let mut awaited = self.lock();
        let realm = &claimed.record.realm;
        let of_realm = awaited.values().filter(|(_, other)| other == realm).count();
        if of_realm >= in_realm || awaited.len() >= in_all {
            return false;
        }
        let what = (claimed.record.secret_id, realm.clone());
        awaited.insert(claimed.attempt.clone(), what);
        true
    }
}

/// Dropped when the attempt's failure is stored: before that, its lease is held, and what it
/// stores would be put over what came late.
pub(super) struct FailureStored {
    _told: oneshot::Sender<()>,
}

/// What [`LateAnswers`] can touch.
pub(super) struct LateAnswersParts {
    pub database: Database,
    pub clock: SharedClock,
    pub upstream: Arc<Upstream>,
    pub claims: Arc<Claimer>,
    pub pairs: Arc<PairKeeper>,
    pub results: Arc<ResultStore>,
    pub background: Background,
    pub at_most: usize,
}

/// Waits for answers that come after their attempt's time.
pub(crate) struct LateAnswers {
    parts: LateAnswersParts,
    awaited: Awaited,
}

impl LateAnswers {
    pub(super) fn new(parts: LateAnswersParts) -> Self {
        Self {
            parts,
            awaited: Awaited::default(),
        }
    }

    /// Asks within the time that is left. Where the request uses up a refresh token, that
    /// goes on when time is up.
    pub(super) async fn ask_within(
        &self,
        opened: &Arc<Opened>,
        previous: Previous,
        time: Ms,
    ) -> FetchOutcome {
        let limit = self.parts.upstream.time_limit(time);
        let rotates = opened.uses_refresh_token && previous.inputs.refresh_token.is_some();
        if !rotates || goes_on_by_itself(&opened.realm) {
            let (realm, secret) = (&opened.realm, &opened.secret);
            return self
                .parts
                .upstream
                .fetch(realm, secret, &previous, limit)
                .await
                .into();
        }
        let late = limit.answered_late(self.parts.upstream.late_answer());
        let (upstream, opened) = (self.parts.upstream.clone(), opened.clone());
        let retry = match &opened.realm.source {
            Source::Provider(document) => retries(document),
            Source::CustomLogic(_) | Source::Fixed => true,
        };
        let fetch = async move {
            let (realm, secret) = (&opened.realm, &opened.secret);
            upstream.fetch(realm, secret, &previous, late).await
        };
        let mut answer = self.parts.background.spawn(fetch.in_current_span());
        match within(time.as_duration(), &mut answer).await {
            Some(Ok(answer)) => answer.into(),
            Some(Err(_panicked)) => {
                let failure = Failure::internal("the request could not be made");
                Err(failure.into()).into()
            }
            None if retry => FetchOutcome::Late(limit.no_answer(), answer),
            None => {
                let unclear = limit.no_answer().needs_another_refresh_token(MAYBE_SPENT);
                FetchOutcome::Late(unclear, answer)
            }
        }
    }

    /// Waits for what an attempt that failed may still bring; not where too many are waited
    /// for. The pair is on the disk at once, and in the database after the failure.
    pub(super) async fn await_late(
        self: &Arc<Self>,
        claimed: &Claimed,
        opened: Arc<Opened>,
        cause: RenewalCause,
        answer: LateAnswer,
    ) -> (RefreshTokenRisk, FailureStored) {
        let (told, failure_stored) = oneshot::channel();
        let stored = FailureStored { _told: told };
        let in_realm = self.parts.claims.realm_limit(&opened.realm);
        if !self.awaited.add(claimed, in_realm, self.parts.at_most) {
            answer.abort();
            return (RefreshTokenRisk::Lost, stored);
        }
        let (late, claimed) = (self.clone(), claimed.clone());
        let awaiting = async move {
            let answer = answer.await.ok();
            let sent = !matches!(&answer, Some(Err(error)) if !error.failure.sent);
            let candidate = match answer {
                Some(Ok(obtained)) => {
                    let took = late.parts.clock.now().since(obtained.requested_at);
                    let new = late
                        .parts
                        .results
                        .new_token(&claimed, &opened, cause, &obtained, took);
                    new.candidate(&claimed)
                }
                Some(Err(error)) => {
                    let refresh = error.refresh.as_ref();
                    let held =
                        refresh.map(|refresh| late.parts.results.seal_refresh(&claimed, refresh));
                    held.map(|refresh| Candidate::of(&claimed, None, refresh))
                }
                None => None,
            };
            if let Some(candidate) = &candidate {
                late.parts.pairs.spool(candidate).await;
            }
            // Told by the end of the sender, and nothing is ever sent.
            let _ = failure_stored.await;
            match candidate {
                Some(candidate) => {
                    late.parts.pairs.keep(candidate).await;
                    late.await_no_more(&claimed.attempt);
                }
                None => {
                    let id = claimed.record.secret_id;
                    late.nothing_comes(id, &claimed.attempt, sent).await;
                }
            }
        };
        self.parts.background.spawn(awaiting.in_current_span());
        (RefreshTokenRisk::Awaited, stored)
    }

    /// Who waits for the answer of an attempt need wait no longer.
    async fn nothing_comes(&self, id: SecretId, attempt: &AttemptId, sent: bool) {
        let note = || {
            let now = self.parts.clock.now();
            self.parts.database.write(move |transaction, _| {
                Box::pin(async move {
                    let noted = lost::nothing_comes(transaction, id, attempt, sent, now);
                    Ok::<_, DbError>(noted.await?)
                })
            })
        };
        let noted = note
            .retry(
                ExponentialBuilder::default()
                    .with_min_delay(Duration::from_millis(100))
                    .with_max_delay(Duration::from_secs(2))
                    .without_max_times()
                    .with_jitter(),
            )
            .when(|_| !self.parts.background.is_stopping())
            .await;
        match noted {
            Ok(()) => {
                self.await_no_more(attempt);
                self.parts.background.wake();
            }
            // The next start says so.
            Err(error) => tracing::warn!(
                name: "renewal.late_not_noted",
                %error, "what will not come late could not be noted"
            ),
        }
    }

    fn await_no_more(&self, attempt: &AttemptId) {
        self.awaited.lock().remove(attempt);
        self.awaited.ended.notify_waiters();
    }

    /// Whether the answer to an attempt that has failed may still come.
    pub(crate) fn awaits(&self, attempt: &AttemptId) -> bool {
        self.awaited.has(attempt)
    }

    /// Waits for the answers to these attempts, until then at most: each is kept, or will not come.
    pub(crate) async fn these_end(&self, attempts: &[AttemptId], until: Deadline) {
        let left = until.left(self.parts.clock.machine()).as_duration();
        let all = tokio::time::timeout(left, self.awaited.these_end(attempts));
        if all.await.is_err() {
            tracing::warn!(
                name: "renewal.answer_late",
                "an answer that may hold a refresh token did not come in the request's time"
            );
        }
    }
}

/// Whether the attempt has another way as soon as the refresh has failed.
fn goes_on_by_itself(realm: &Realm) -> bool {
    match &realm.source {
        Source::Provider(document) => document.goes_on_without_refresh(),
        Source::CustomLogic(_) | Source::Fixed => false,
    }
}
