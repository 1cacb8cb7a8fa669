//! What is tried when the provider refuses a refresh token, before a human is asked for
//! another: what an attempt that was thought lost has brought, an earlier candidate, the
//! main request if that can stand alone.

use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};

use super::Renewals;
use super::attempt::Opened;
use super::late::LateAnswer;
use super::refresh::CANDIDATES_LOOKED_AT;
use crate::foundation::clock::{BootMs, Ms};
use crate::realm::Source;
use crate::realm::failure::{Failure, MAYBE_SPENT, REFUSED};
use crate::token::lease::Claimed;
use crate::token::{candidate, store};
use crate::upstream::{FetchError, Obtained, Previous};

/// Refresh tokens that are tried after the stored one was refused.
const CANDIDATES_MAX: usize = 3;
/// With less time left nothing more is sent: a second, or a quarter of a shorter attempt.
fn worth_sending(timeout: Ms) -> Ms {
    Ms::from_secs(1).min(Ms(timeout.0 / 4))
}

/// What came of asking the provider.
pub(super) enum Asked {
    Answered(Box<Result<Obtained, FetchError>>),
    /// Time is up; the provider has the request.
    Late(Failure, LateAnswer),
    /// A newer token was stored meanwhile, by whoever used up the refresh token.
    Overtaken,
}

impl From<Result<Obtained, FetchError>> for Asked {
    fn from(answer: Result<Obtained, FetchError>) -> Self {
        Self::Answered(Box::new(answer))
    }
}

impl Asked {
    /// The provider's word that the refresh token is not good.
    fn grant_refused(&self) -> Option<&Failure> {
        let failure = match self {
            Self::Answered(answer) => answer.as_ref().as_ref().err(),
            Self::Late(..) | Self::Overtaken => None,
        };
        let failure = failure.map(|error| &error.failure);
        failure.filter(|failure| failure.grant_refused)
    }
}

impl Renewals {
    /// Asks for a token, by whatever way is open, within one attempt's time.
    pub(super) async fn ask(&self, claimed: &Claimed, opened: &Arc<Opened>, timeout: Ms) -> Asked {
        let begun = self.clock.boot();
        let previous = opened.previous.clone();
        let asked = self.ask_within(opened, previous, timeout).await;
        match asked.grant_refused().cloned() {
            Some(refusal) if opened.uses_refresh_token => {
                self.after_refusal(claimed, opened, refusal, begun, timeout)
                    .await
            }
            _ => asked,
        }
    }

    async fn after_refusal(
        &self,
        claimed: &Claimed,
        opened: &Arc<Opened>,
        refusal: Failure,
        begun: BootMs,
        timeout: Ms,
    ) -> Asked {
        let record = &claimed.record;
        let left = || Ms(timeout.0 - self.clock.boot().since(begun).0);
        // These reads decide over a human's work: they see what any node has committed.
        let now = match store::find_by_id(self.database.causal(), record.secret_id).await {
            Ok(now) => now,
            Err(error) => return unread(&error).into(),
        };
        if now.is_none_or(|now| now.generation != record.generation) {
            return Asked::Overtaken;
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
        let candidates = match self.usable(record, found).await {
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
            let asked = self.ask_within(opened, with(opened, None), left()).await;
            return match asked {
                Asked::Answered(answer) => (*answer)
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
    tracing::error!(%error, "after a refused refresh token the database could not be read");
    let failure = Failure::transient(
        "the refresh token was refused, and the database could not say whether there is a newer one",
    );
    Err(failure.unsent().into())
}
