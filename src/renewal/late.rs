//! Answers that come after their attempt's time. The provider may have rotated the refresh
//! token, and then the answer holds the only one that is good: it is waited for beside, and
//! kept as a candidate.

use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::Renewals;
use super::attempt::{Cause, Opened};
use super::refusal::Asked;
use crate::foundation::clock::{Ms, Timeline};
use crate::foundation::limit::within;
use crate::realm::failure::{Failure, MAYBE_SPENT};
use crate::realm::{Realm, Source};
use crate::token::lease::{self, Claimed};
use crate::upstream::{Obtained, Previous};

/// A request that was sent in time, and is not answered yet.
pub(super) type LateAnswer = JoinHandle<Result<Obtained, Failure>>;

/// Dropped when the attempt's failure is stored: before that, its lease is held, and what it
/// stores would be put over what came late.
pub(super) struct FailureStored {
    _told: oneshot::Sender<()>,
}

impl Renewals {
    /// Asks within the time that is left. Where the request uses up a refresh token, that
    /// goes on when time is up.
    pub(super) async fn ask_within(
        &self,
        opened: &Arc<Opened>,
        previous: Previous,
        time: Ms,
    ) -> Asked {
        let limit = self.upstream.time_limit(time);
        let rotates = opened.uses_refresh_token && previous.inputs.refresh_token.is_some();
        if !rotates || goes_on_by_itself(&opened.realm) {
            let (realm, secret) = (&opened.realm, &opened.secret);
            return self
                .upstream
                .fetch(realm, secret, &previous, limit)
                .await
                .into();
        }
        let late = limit.answered_late(self.upstream.late_answer());
        let (renewals, opened) = (self.clone(), opened.clone());
        let retry = retries(&opened.realm);
        let mut answer = self.tasks.spawn(async move {
            let (realm, secret) = (&opened.realm, &opened.secret);
            renewals
                .upstream
                .fetch(realm, secret, &previous, late)
                .await
        });
        match within(time.as_duration(), &mut answer).await {
            Some(Ok(answer)) => answer.into(),
            Some(Err(_panicked)) => Err(Failure::ours("the request could not be made")).into(),
            None if retry => Asked::Late(limit.no_answer(), answer),
            None => {
                let unclear = limit.no_answer().needs_another_refresh_token(MAYBE_SPENT);
                Asked::Late(unclear, answer)
            }
        }
    }

    /// Waits for what an attempt that failed may still bring. Its pair is on the disk at
    /// once, and in the database after the failure.
    pub(super) fn await_late(
        &self,
        claimed: &Claimed,
        opened: Arc<Opened>,
        cause: Cause,
        answer: LateAnswer,
    ) -> FailureStored {
        let (told, failure_stored) = oneshot::channel();
        let (renewals, claimed) = (self.clone(), claimed.clone());
        self.tasks.spawn(async move {
            let obtained = answer.await.ok().and_then(Result::ok);
            let candidate = obtained.and_then(|obtained| {
                let took = renewals.clock.now().since(obtained.requested_at);
                let new = renewals.new_token(&claimed, &opened, cause, &obtained, took);
                new.candidate(&claimed)
            });
            if let Some(candidate) = &candidate {
                renewals.spool(candidate).await;
            }
            // Told by the end of the sender, and nothing is ever sent.
            let _ = failure_stored.await;
            match candidate {
                Some(candidate) => {
                    renewals.keep(candidate).await;
                }
                None => renewals.nothing_comes(&claimed).await,
            }
        });
        FailureStored { _told: told }
    }

    /// Who waits for the answer of this attempt need wait no longer.
    async fn nothing_comes(&self, claimed: &Claimed) {
        let (id, attempt, now) = (claimed.record.secret_id, &claimed.attempt, self.clock.now());
        let noted = self
            .database
            .write(|transaction, _| {
                Box::pin(async move { lease::nothing_comes(transaction, id, attempt, now).await })
            })
            .await;
        match noted {
            Ok(()) => self.wake.notify_one(),
            // It is waited for until the stored token nears its expiry.
            Err(error) => tracing::warn!(%error, "what will not come late could not be noted"),
        }
    }
}

/// Whether a failed refresh is to be tried again with the same refresh token.
fn retries(realm: &Realm) -> bool {
    match &realm.source {
        Source::Provider(document) => document
            .refresh
            .as_ref()
            .is_none_or(|refresh| refresh.retry),
        Source::CustomLogic(_) | Source::Fixed => true,
    }
}

/// Whether the attempt has another way as soon as the refresh has failed.
fn goes_on_by_itself(realm: &Realm) -> bool {
    match &realm.source {
        Source::Provider(document) => !retries(realm) && document.stands_alone(),
        Source::CustomLogic(_) | Source::Fixed => false,
    }
}
