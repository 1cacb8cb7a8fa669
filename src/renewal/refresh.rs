//! The refresh token that an attempt begins with: the stored one; before there is one, the
//! secret's parameter; and where the stored one is damaged, what there is instead.

use sea_orm::DbErr;
use secrecy::SecretString;

use super::damage::Remedy;
use super::inputs::InputReader;
use super::outcome::NotOpened;
use crate::foundation::clock::Ms;
use crate::realm::document::{ProviderDocument, REFRESH_TOKEN};
use crate::realm::failure::Failure;
use crate::secret::Secret;
use crate::secret::params::Params;
use crate::token::candidate::{self, Candidate};
use crate::token::claim::Claimed;
use crate::token::{HeldRefresh, TokenRecord};
use crate::upstream::ObtainedRefresh;

/// Pairs kept beside a token that are looked at: most of them could be damaged, too.
pub(super) const CANDIDATES_LOOKED_AT: u64 = 20;

/// Which refresh token an attempt sends.
#[derive(Default)]
pub(super) struct RefreshInput {
    pub token: Option<SecretString>,
    /// The stored one is of no use.
    pub forget: bool,
    /// What takes the place of a damaged one.
    pub instead: Option<ObtainedRefresh>,
}

/// What there is where the stored refresh token is damaged.
pub(super) enum Instead {
    /// Another that may be good.
    Refresh(ObtainedRefresh),
    /// The main request does without.
    Nothing,
    /// Nothing: a human must give another.
    Lost,
}

impl InputReader {
    pub(super) async fn refresh_input(
        &self,
        claimed: &Claimed,
        document: &ProviderDocument,
        secret: &Secret,
        timeout: Ms,
    ) -> Result<RefreshInput, NotOpened> {
        let record = &claimed.record;
        let without = RefreshInput {
            forget: true,
            ..RefreshInput::default()
        };
        if record.lost.is_some() && document.goes_on_without_refresh() {
            return Ok(without);
        }
        let Some(stored) = &record.refresh else {
            return Ok(RefreshInput {
                token: secret.params.get(REFRESH_TOKEN).cloned(),
                ..RefreshInput::default()
            });
        };
        let now = self.parts.clock.now();
        if stored.expires_at.is_some_and(|end| end <= now) {
            return match document.stands_alone() {
                true => Ok(RefreshInput::default()),
                false => Err(expired().into()),
            };
        }
        let error = match record.open_refresh(stored, &self.parts.ring) {
            Ok(token) => {
                return Ok(RefreshInput {
                    token: Some(token),
                    ..RefreshInput::default()
                });
            }
            Err(error) if self.parts.damage.is_damaged(&error).await? => error,
            Err(error) => return Err(error.into()),
        };
        match self
            .instead_of_refresh(record, stored, document, &secret.params)
            .await?
        {
            Instead::Refresh(instead) => Ok(RefreshInput {
                token: Some(instead.token.clone()),
                instead: Some(instead),
                ..RefreshInput::default()
            }),
            Instead::Nothing => Ok(without),
            Instead::Lost => match self.awaits_candidate(claimed, &document.policy, timeout) {
                Some(waiting) => Err(NotOpened::Waiting(waiting)),
                None => Err(Remedy::RefreshToken.failure(&error).into()),
            },
        }
    }

    /// What there is instead of a damaged refresh token: a main request that does without; what
    /// is kept beside it; the one that the secret was given, where a failed call burns nothing,
    /// because many providers do not end it when they issue another.
    pub(super) async fn instead_of_refresh(
        &self,
        record: &TokenRecord,
        damaged: &HeldRefresh,
        document: &ProviderDocument,
        params: &Params,
    ) -> Result<Instead, DbErr> {
        if document.stands_alone() {
            return Ok(Instead::Nothing);
        }
        let (id, line) = (record.secret_id, record.refresh_line);
        let beside =
            candidate::newest_of(self.parts.database.causal(), id, line, CANDIDATES_LOOKED_AT)
                .await?;
        let now = self.parts.clock.now();
        let mut beside = self.usable(record, beside).await?.into_iter();
        let beside = beside.find(|(candidate, _)| {
            let end = candidate.refresh.expires_at;
            end.is_none_or(|end| end > now)
        });
        if let Some((candidate, token)) = beside {
            return Ok(Instead::Refresh(ObtainedRefresh {
                token,
                expires_at: candidate.refresh.expires_at,
                requested_at: candidate.refresh.obtained_at,
            }));
        }
        Ok(match params.get(REFRESH_TOKEN) {
            Some(first) if retries(document) => Instead::Refresh(ObtainedRefresh {
                token: first.clone(),
                expires_at: None,
                // It takes the place of the damaged one.
                requested_at: damaged.obtained_at,
            }),
            _ => Instead::Lost,
        })
    }

    /// Those of some candidates whose refresh token can be opened.
    pub(super) async fn usable(
        &self,
        record: &TokenRecord,
        candidates: Vec<Candidate>,
    ) -> Result<Vec<(Candidate, SecretString)>, DbErr> {
        let mut usable = Vec::new();
        for candidate in candidates {
            match record.open_refresh(&candidate.refresh, &self.parts.ring) {
                Ok(token) => usable.push((candidate, token)),
                // Passed over, whether damaged or sealed with a key of another replica.
                Err(error) => {
                    self.parts.damage.is_damaged(&error).await?;
                }
            }
        }
        Ok(usable)
    }
}

/// Whether a failed refresh is to be tried again with the same refresh token.
pub(super) fn retries(document: &ProviderDocument) -> bool {
    let refresh = document.refresh.as_ref();
    refresh.is_none_or(|refresh| refresh.retry)
}

fn expired() -> Failure {
    let expired = Failure::permanent(
        "refresh_token_expired: the refresh token has expired; give the secret another",
    );
    Failure {
        needs_human: true,
        ..expired
    }
}
