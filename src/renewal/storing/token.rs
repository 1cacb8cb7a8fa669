//! A token: in its place under the fence, or kept by compare-and-set.

use std::sync::Arc;

use super::ResultStore;
use super::new::{NewResult, NewToken, Put};
use crate::foundation::clock::Ms;
use crate::foundation::ids::Generation;
use crate::memory::{Remembered, Remembering, Since};
use crate::realm::Source;
use crate::realm::policy::Repeat;
use crate::renewal::cause::RenewalCause;
use crate::renewal::outcome::{Attempted, Fresh, Opened};
use crate::token::candidate::Promotion;
use crate::token::claim::Claimed;
use crate::token::expiry::{Expiry, schedule};
use crate::token::results::{Novelty, RefreshChange, TokenUpdate};
use crate::token::{HeldToken, SealedPart, SealedPayload, Serving, TokenPayload, seal};
use crate::upstream::Obtained;

impl ResultStore {
    pub(in crate::renewal) async fn store_token(
        &self,
        claimed: &Arc<Claimed>,
        cause: RenewalCause,
        opened: &Opened,
        obtained: Obtained,
        took: Ms,
    ) -> Attempted {
        let record = &claimed.record;
        let new = Arc::new(self.new_token(claimed, opened, cause, &obtained, took));
        let candidate = new.candidate(claimed);
        let since = self.parts.memory.begin();
        let result = NewResult::Token(new.clone());
        let put = self
            .parts
            .writer
            .bring(claimed, &result, candidate.as_ref())
            .await;
        let promotion = match (put, candidate) {
            (Ok(Put::Stored(generation)), _) => {
                self.parts.pairs.kept(&claimed.attempt).await;
                tracing::info!(
                    name: "renewal.stored",
                    realm = %record.realm, key = %record.key, cause = cause.as_str(),
                    outcome = "stored", generation = generation.0, duration_ms = took.0,
                    "renewed"
                );
                return self.fresh_token(claimed, opened, obtained, &new, (generation, since));
            }
            (Ok(Put::Kept(promotion)), _) => {
                self.parts
                    .pairs
                    .is_kept(&claimed.attempt, record.secret_id, promotion)
                    .await;
                Some(promotion)
            }
            (Ok(Put::Refused), _) => {
                tracing::info!(
                    name: "renewal.discarded",
                    realm = %record.realm, key = %record.key, cause = cause.as_str(),
                    outcome = "discarded", duration_ms = took.0,
                    "the lease was lost, or secret or realm changed meanwhile"
                );
                return Attempted::Discarded;
            }
            (Err(error), candidate) => {
                tracing::error!(
                    name: "renewal.token_not_stored",
                    %error, realm = %record.realm, key = %record.key,
                    "a token could not be stored"
                );
                let promotion = match candidate {
                    Some(candidate) => self.parts.pairs.keep(candidate).await,
                    None => None,
                };
                self.give_back(claimed).await;
                promotion
            }
        };
        match promotion {
            Some(Promotion::Token(generation)) => {
                self.fresh_token(claimed, opened, obtained, &new, (generation, since))
            }
            Some(Promotion::RefreshToken | Promotion::Superseded) => Attempted::Discarded,
            None => Attempted::Unstored,
        }
    }

    /// The token as it is served, to whoever waited for it and to all who read from now on.
    fn fresh_token(
        &self,
        claimed: &Claimed,
        opened: &Opened,
        obtained: Obtained,
        new: &NewToken,
        (generation, since): (Generation, Since),
    ) -> Attempted {
        let TokenPayload {
            token,
            token_type,
            extra,
            expiry: _,
        } = obtained.payload;
        let served = match (&opened.realm.source, obtained.served) {
            (_, Some(served)) => Ok(served),
            (Source::Provider(document), None) => {
                let params = &opened.secret.params;
                self.parts.upstream.served(document, params, &token, &extra)
            }
            (_, None) => Ok(token),
        };
        match served {
            Ok(token) => {
                let held = &new.stored.held;
                let secret = claimed.record.secret_id;
                let fresh = Fresh {
                    secret,
                    tag: held.tag(secret, generation),
                    payload: TokenPayload {
                        token,
                        token_type,
                        extra,
                        expiry: held.payload.expiry,
                    },
                    generation,
                };
                let policy = opened.realm.source.policy();
                if policy.revokes_previous {
                    self.parts.memory.changed(claimed.record.secret_id);
                } else {
                    self.remember(claimed, &fresh, &new.stored, since);
                }
                Attempted::Stored(Box::new(fresh))
            }
            // Stored it is; each read says why it cannot be served.
            Err(failure) => {
                tracing::warn!(
                    name: "renewal.not_rendered",
                    detail = %failure.detail, "a stored token cannot be rendered"
                );
                self.parts.memory.changed(claimed.record.secret_id);
                Attempted::Unstored
            }
        }
    }

    fn remember(&self, claimed: &Claimed, fresh: &Fresh, stored: &TokenUpdate, since: Since) {
        let record = &claimed.record;
        if stored.held.serving == Serving::PerRead {
            return self.parts.memory.changed(record.secret_id);
        }
        let what = Remembering {
            id: record.secret_id,
            realm: record.realm.clone(),
            key: record.key.clone(),
            payload: fresh.payload.clone(),
            generation: fresh.generation,
            obtained_at: stored.held.obtained_at,
            renew_at: stored.renew_at,
            read_at: self.parts.clock.boot(),
        };
        self.parts.memory.stored(Remembered::new(what), since);
    }

    pub(in crate::renewal) fn new_token(
        &self,
        claimed: &Claimed,
        opened: &Opened,
        cause: RenewalCause,
        obtained: &Obtained,
        took: Ms,
    ) -> NewToken {
        let record = &claimed.record;
        let entry = self.entry(claimed, cause, obtained.requested_at, took);
        let policy = opened.realm.source.policy();
        let (novelty, expiry) = match &record.held {
            Some(held) if opened.repeats(obtained) => (
                Novelty::Repeated,
                repeated(held.payload.expiry, obtained.payload.expiry, policy.repeat),
            ),
            _ => (Novelty::New, obtained.payload.expiry),
        };
        let SealedPayload {
            token,
            token_type,
            extra,
            expiry: _,
        } = obtained.payload.seal(record.secret_id, &self.parts.ring);
        let first = record.held.is_none();
        let sent = obtained.requested_at;
        let per_read = match &opened.realm.source {
            Source::Provider(document) => document.serving.as_ref().is_some_and(|s| s.per_read),
            Source::CustomLogic(_) | Source::Fixed => false,
        };
        let stored = TokenUpdate {
            held: HeldToken {
                payload: SealedPayload {
                    token,
                    token_type,
                    extra,
                    // What is repeated keeps or prolongs its expiry; all else is the answer's.
                    expiry,
                },
                serving: match &obtained.served {
                    _ if per_read => Serving::PerRead,
                    Some(served) => {
                        let id = record.secret_id;
                        Serving::Rendered(seal(id, SealedPart::Served, served, &self.parts.ring))
                    }
                    None => Serving::AsItCame,
                },
                obtained_at: sent,
            },
            refresh: match &obtained.refresh {
                Some(refresh) => RefreshChange::Replace(self.seal_refresh(claimed, refresh)),
                None if obtained.refresh_refused || opened.forgets_refresh => RefreshChange::Forget,
                None => match &opened.instead {
                    Some(instead) => RefreshChange::Replace(self.seal_refresh(claimed, instead)),
                    None => RefreshChange::Keep,
                },
            },
            novelty,
            renew_at: expiry
                .at()
                .map(|end| schedule(sent, end, &policy, first, &self.parts.randomness).renew_at),
        };
        NewToken { stored, entry }
    }
}

/// Which expiry counts where a provider gave the same token again.
fn repeated(held: Expiry, obtained: Expiry, repeat: Repeat) -> Expiry {
    match repeat {
        Repeat::Keeps => held.earlier(obtained),
        Repeat::Extends => obtained,
    }
}
