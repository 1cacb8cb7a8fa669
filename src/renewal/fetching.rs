//! What is tried when the provider refuses a refresh token, before a human is asked for
//! another: what an attempt that was thought lost has brought, an earlier candidate, the
//! main request if that can stand alone.

use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};

use super::inputs::InputReader;
use super::late::LateAnswers;
use super::outcome::{FetchOutcome, Opened};
use super::refresh::CANDIDATES_LOOKED_AT;
use crate::foundation::clock::{Deadline, Ms, SharedClock};
use crate::foundation::database::Database;
use crate::realm::Source;
use crate::realm::failure::{Failure, MAYBE_SPENT, REFUSED};
use crate::token::claim::Claimed;
use crate::token::{candidate, store};
use crate::upstream::{FetchError, Obtained, Previous};

/// Refresh tokens that are tried after the stored one was refused.
const CANDIDATES_MAX: usize = 3;
/// With less time left nothing more is sent: a second, or a quarter of a shorter attempt.
fn worth_sending(timeout: Ms) -> Ms {
    Ms::from_secs(1).min(Ms(timeout.0 / 4))
}

/// Asks providers for tokens.
pub(super) struct Fetcher {
    database: Database,
    clock: SharedClock,
    inputs: Arc<InputReader>,
    late: Arc<LateAnswers>,
}

impl Fetcher {
    pub(super) fn new(
        database: Database,
        clock: SharedClock,
        inputs: Arc<InputReader>,
        late: Arc<LateAnswers>,
    ) -> Self {
        Self {
            database,
            clock,
            inputs,
            late,
        }
    }

    /// Asks for a token, by whatever way is open, within one attempt's time.
    pub(super) async fn fetch(
        &self,
        claimed: &Claimed,
        opened: &Arc<Opened>,
        timeout: Ms,
    ) -> FetchOutcome {
        let limit = Deadline::after(self.clock.machine(), timeout);
        let previous = opened.previous.clone();
        let asked = self.late.ask_within(opened, previous, timeout).await;
        match asked.grant_refused().cloned() {
            Some(refusal) if opened.uses_refresh_token => {
                let refused = self.after_refusal(claimed, opened, refusal, limit, timeout);
                refused.await.after_another()
            }
            _ => asked,
        }
    }

    async fn after_refusal(
        &self,
        claimed: &Claimed,
        opened: &Arc<Opened>,
        refusal: Failure,
        limit: Deadline,
        timeout: Ms,
    ) -> FetchOutcome {
        let record = &claimed.record;
        let left = || limit.left(self.clock.machine());
        // These reads decide over a human's work: they see what any node has committed.
        let now = match store::find_by_id(self.database.causal(), record.secret_id).await {
            Ok(now) => now,
            Err(error) => return unread(&error).into(),
        };
        if now.is_none_or(|now| now.generation != record.generation) {
            return FetchOutcome::Overtaken;
        }
        let found = candidate::newest_of(
            self.database.causal(),
            record.secret_id,
            record.refresh_line,
            CANDIDATES_LOOKED_AT,
        )
        .await;
        let found = match found {
            Ok(found) => found,
            Err(error) => return unread(&error).into(),
        };
        let spent_by_another = record.lost.is_some() || !found.is_empty();
        let candidates = match self.inputs.usable(record, found).await {
            Ok(candidates) => candidates,
            Err(error) => return unread(&error).into(),
        };
        let mut refused = vec![opened.previous.inputs.refresh_token.clone()];
        for (_, token) in candidates.into_iter().take(CANDIDATES_MAX) {
            if refused.iter().flatten().any(|known| same(known, &token)) {
                continue;
            }
            if left() < worth_sending(timeout) {
                return out_of_time().into();
            }
            refused.push(Some(token.clone()));
            let asked = self
                .late
                .ask_within(opened, with(opened, Some(token)), left())
                .await;
            if asked.grant_refused().is_none() {
                return asked;
            }
        }
        let stands_alone = match &opened.realm.source {
            Source::Provider(document) => document.stands_alone(),
            Source::CustomLogic(_) | Source::Fixed => false,
        };
        if stands_alone {
            if left() < worth_sending(timeout) {
                return out_of_time().into();
            }
            let asked = self
                .late
                .ask_within(opened, with(opened, None), left())
                .await;
            return match asked {
                FetchOutcome::Answered(answer) => (*answer)
                    .map(|obtained| Obtained {
                        refresh_refused: true,
                        ..obtained
                    })
                    .into(),
                other => other,
            };
        }
        let why = if spent_by_another {
            MAYBE_SPENT
        } else {
            REFUSED
        };
        Err(refusal.needs_another_refresh_token(why).into()).into()
    }
}

/// The same attempt with another refresh token, or none.
fn with(opened: &Opened, refresh_token: Option<SecretString>) -> Previous {
    let mut previous = opened.previous.clone();
    previous.inputs.refresh_token = refresh_token;
    previous
}

fn same(one: &SecretString, other: &SecretString) -> bool {
    one.expose_secret() == other.expose_secret()
}

fn out_of_time() -> Result<Obtained, FetchError> {
    let failure = Failure::transient(
        "the refresh token was refused, and no time is left to try what else there is",
    );
    Err(failure.unsent().into())
}

fn unread(error: &sea_orm::DbErr) -> Result<Obtained, FetchError> {
    tracing::error!(
        name: "renewal.refusal_not_checked",
        %error, "after a refused refresh token the database could not be read"
    );
    let failure = Failure::transient(
        "the refresh token was refused, and the database could not say whether there is a newer one",
    );
    Err(failure.unsent().into())
}
