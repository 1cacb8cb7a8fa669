//! What an earlier process left in the spool is brought to the database.

use std::sync::Arc;
use std::time::Duration;

use sea_orm::DbErr;
use tracing::Instrument;

use super::candidates::PairKeeper;
use super::cause::RenewalCause;
use super::damage::DamageDetector;
use crate::foundation::database::Database;
use crate::foundation::ids::{KeyName, RealmId};
use crate::foundation::limit::within;
use crate::foundation::sealing::KeyRing;
use crate::foundation::sealing_keys;
use crate::token::candidate::Candidate;
use crate::token::store;

/// A pair whose secret is not found by then is brought without its name in the log.
const NAMED_WITHIN: Duration = Duration::from_millis(250);

/// Brings what an earlier process left in the spool.
pub(super) struct SpoolReplay {
    database: Database,
    ring: Arc<KeyRing>,
    damage: Arc<DamageDetector>,
    pairs: Arc<PairKeeper>,
}

impl SpoolReplay {
    pub(super) fn new(
        database: Database,
        ring: Arc<KeyRing>,
        damage: Arc<DamageDetector>,
        pairs: Arc<PairKeeper>,
    ) -> Self {
        Self {
            database,
            ring,
            damage,
            pairs,
        }
    }

    /// Brings what an earlier process left in the spool; answers how much there was. Before
    /// its leases are given back: whoever claims then finds the newest refresh token. What
    /// the database does not take now is brought in the background, and its lease is kept.
    pub(super) async fn replay(&self) -> usize {
        let (left, unreadable) = self.pairs.left_in_spool().await;
        for path in unreadable {
            tracing::error!(
                name: "spool.file_unreadable",
                path = %path.display(), "a file of the spool cannot be read; it stays"
            );
        }
        let count = left.len();
        for candidate in left {
            let attempt = candidate.attempt.clone();
            if let Some(key) = self.lacked_key(&candidate).await {
                tracing::error!(
                    name: "spool.key_missing",
                    attempt = attempt.0,
                    key,
                    "a pair in the spool is sealed with a key that this server lacks; its file stays: put the key into sealing.keys, and start again"
                );
                self.pairs.stays_in_spool(attempt);
                continue;
            }
            let Some(candidate) = self.undamaged(candidate).await else {
                tracing::error!(
                    name: "spool.refresh_token_damaged",
                    attempt = attempt.0,
                    "a refresh token in the spool is damaged; its file stays"
                );
                continue;
            };
            // Its file is written again so where the database does not take it now.
            let candidate = candidate.resealed(&self.ring).unwrap_or(candidate);
            let span = self.span_of(&candidate).await;
            self.pairs.keep_spooled(candidate).instrument(span).await;
        }
        count
    }

    /// The id of a key that a pair was sealed with and that this server lacks. An id that is not
    /// registered is that of no key: the value is damaged. Where the database cannot be asked, it is
    /// taken for one.
    async fn lacked_key(&self, candidate: &Candidate) -> Option<String> {
        for id in candidate.lacked_keys(&self.ring) {
            let reader = self.database.reader();
            if sealing_keys::is_registered(reader, &id)
                .await
                .unwrap_or(true)
            {
                return Some(id);
            }
        }
        None
    }

    /// Names the secret of a pair, where the database can be asked.
    async fn span_of(&self, candidate: &Candidate) -> tracing::Span {
        let finding = store::find_by_id(self.database.reader(), candidate.secret);
        let found = within(NAMED_WITHIN, finding).await;
        let record = found.and_then(Result::ok).flatten();
        let (realm, key) = record.map(|record| (record.realm, record.key)).unzip();
        tracing::error_span!(
            "attempt",
            realm = realm.as_ref().map(RealmId::as_str),
            key = key.as_ref().map(KeyName::as_str),
            attempt = candidate.attempt.0,
            cause = RenewalCause::Recovered.as_str(),
        )
    }

    /// What of a pair in the spool can be opened: what was damaged there must not take the place
    /// of what is good. None where its refresh token was.
    async fn undamaged(&self, candidate: Candidate) -> Option<Candidate> {
        match self.damage_in(&candidate).await {
            Ok((true, _)) => None,
            Ok((false, true)) => Some(Candidate {
                token: None,
                ..candidate
            }),
            Ok((false, false)) => Some(candidate),
            Err(error) => {
                tracing::warn!(
                    name: "spool.token_as_it_is",
                    %error, "a token in the spool is brought as it is"
                );
                Some(candidate)
            }
        }
    }

    /// Whether the refresh token is damaged, and whether the token is.
    async fn damage_in(&self, candidate: &Candidate) -> Result<(bool, bool), DbErr> {
        let reader = self.database.reader();
        let Some(record) = store::find_by_id(reader, candidate.secret).await? else {
            return Ok((false, false));
        };
        let refresh = match record.open_refresh(&candidate.refresh, &self.ring) {
            Ok(_) => false,
            Err(error) => self.damage.is_damaged(&error).await?,
        };
        let mut damaged = false;
        let token = candidate.token.iter();
        for error in token.flat_map(|token| record.closed_parts(&token.held, &self.ring)) {
            damaged |= self.damage.is_damaged(&error).await?;
        }
        Ok((refresh, damaged))
    }
}
