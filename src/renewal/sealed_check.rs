//! Looks for stored values that were damaged before anybody needs them: tokens are obtained
//! again, and where a human is needed, the state says so while the token is still served.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use token_server_entity::{realm, secret};

use super::background::Background;
use super::damage::{DamageDetector, Remedy};
use super::inputs::InputReader;
use super::realms::RealmCache;
use super::refresh::Instead;
use crate::foundation::clock::{SharedClock, Timeline};
use crate::foundation::database::{Database, DbError};
use crate::foundation::ids::{SecretId, Version};
use crate::foundation::randomness::Randomness;
use crate::foundation::sealing::{Closed, KeyRing, OpenError};
use crate::realm::UnreadableRealm;
use crate::realm::failure::{Failure, FailureClass};
use crate::realm::{Realm, Source, store as realm_store};
use crate::secret::{Secret, store as secrets};
use crate::token::candidate::{self, Candidate};
use crate::token::{TokenRecord, results, store};
use crate::webhook::event::{self, Event};

/// Rows read at once.
pub const PAGE_ROWS: u64 = 200;
/// Between two pages: others need the database, too.
const PAGE_PAUSE: Duration = Duration::from_millis(20);

/// What one look at everything that is sealed has found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SealedFindings {
    pub secrets: u64,
    pub damaged_values: u64,
    /// Values sealed with keys that other servers have, or had.
    pub unknown_keys: u64,
    /// Tokens that are renewed now because of it.
    pub made_due: u64,
    /// Secrets that need a human, and did not before.
    pub need_attention: u64,
}

impl SealedFindings {
    pub fn is_empty(&self) -> bool {
        self.damaged_values == 0 && self.unknown_keys == 0
    }
}

#[derive(Default)]
struct Pass {
    findings: SealedFindings,
    /// Ids of keys that this server lacks, and that are registered.
    registered: HashSet<String>,
}

/// What belongs to one secret.
struct Stored<'a> {
    secret: secret::Model,
    record: TokenRecord,
    realm: &'a realm::Model,
    candidates: Vec<&'a Candidate>,
}

/// What is damaged of a secret.
struct Damage {
    secret: Result<Secret, OpenError>,
    params: Option<OpenError>,
    token: Option<OpenError>,
    refresh: Option<OpenError>,
}

/// What follows.
enum Verdict {
    Fine,
    Due,
    Attention(Failure),
}

/// What a [`SealedCheck`] can touch.
pub(super) struct SealedCheckParts {
    pub database: Database,
    pub clock: SharedClock,
    pub randomness: Randomness,
    pub ring: Arc<KeyRing>,
    pub realms: Arc<RealmCache>,
    pub damage: Arc<DamageDetector>,
    pub inputs: Arc<InputReader>,
    pub background: Background,
    pub failing_after: Option<i64>,
}

/// Looks for damaged values.
pub(super) struct SealedCheck {
    parts: SealedCheckParts,
}

impl SealedCheck {
    pub(super) fn new(parts: SealedCheckParts) -> Self {
        Self { parts }
    }

    /// Opens everything that is sealed for a secret, page by page.
    ///
    /// # Errors
    /// Where the database cannot be read. What could not be written is logged, and is found
    /// again the next time.
    pub(super) async fn check(&self) -> Result<SealedFindings, DbError> {
        let (mut pass, mut after) = (Pass::default(), SecretId(i64::MIN));
        loop {
            let page = secrets::list_after(self.parts.database.reader(), after, PAGE_ROWS).await?;
            let Some(last) = page.last() else { break };
            after = SecretId(last.id);
            let full = page.len() as u64 == PAGE_ROWS;
            self.check_page(page, &mut pass).await?;
            if !full {
                break;
            }
            tokio::time::sleep(PAGE_PAUSE).await;
        }
        if pass.findings.made_due > 0 {
            self.parts.background.wake();
        }
        Ok(pass.findings)
    }

    async fn check_page(&self, page: Vec<secret::Model>, pass: &mut Pass) -> Result<(), DbError> {
        let reader = self.parts.database.reader();
        let ids: Vec<_> = page.iter().map(|row| SecretId(row.id)).collect();
        let mut records = store::find_all(reader, &ids).await?;
        let candidates = candidate::of_secrets(reader, &ids).await?;
        let realms = page.iter().map(|row| row.realm_id.as_str());
        let realms = realm_store::find_all(reader, realms).await?;
        for secret in page {
            pass.findings.secrets += 1;
            let id = SecretId(secret.id);
            let record = records.iter().position(|record| record.secret_id == id);
            let realm = realms.iter().find(|realm| realm.id == secret.realm_id);
            // Either may have been deleted meanwhile.
            let (Some(record), Some(realm)) = (record, realm) else {
                continue;
            };
            let stored = Stored {
                secret,
                record: records.swap_remove(record),
                realm,
                candidates: candidates.iter().filter(|one| one.secret == id).collect(),
            };
            self.check_one(&stored, pass).await?;
        }
        Ok(())
    }

    async fn check_one(&self, stored: &Stored<'_>, pass: &mut Pass) -> Result<(), DbError> {
        let damage = self.damage_of(stored, pass).await?;
        let record = &stored.record;
        if record.lease.is_some() {
            // Whoever holds it finds the same.
            return Ok(());
        }
        match self.verdict(stored, damage).await? {
            Verdict::Fine => {}
            Verdict::Due => {
                let (seen, now) = (record.seen(), self.parts.clock.now());
                let made_due = self
                    .parts
                    .database
                    .write_alone(|writer| store::make_damaged_due(writer, &seen, now))
                    .await;
                match made_due {
                    Ok(made_due) => pass.findings.made_due += u64::from(made_due),
                    Err(error) => tracing::warn!(
                        name: "damage.token_not_due",
                        %error, realm = %record.realm, key = %record.key,
                        "a damaged token could not be made due; it is tried again"
                    ),
                }
            }
            Verdict::Attention(failure) => match self.store_attention(stored, &failure).await {
                Ok(noted) => pass.findings.need_attention += u64::from(noted),
                Err(error) => tracing::warn!(
                    name: "damage.secret_not_noted",
                    %error, realm = %record.realm, key = %record.key,
                    "a damaged secret could not be noted; it is tried again"
                ),
            },
        }
        Ok(())
    }

    /// Opens everything; notes what is damaged.
    async fn damage_of(&self, stored: &Stored<'_>, pass: &mut Pass) -> Result<Damage, DbError> {
        let (record, ring) = (&stored.record, &self.parts.ring);
        let secret = Secret::open(stored.secret.clone(), ring);
        let params = secret.as_ref().err().cloned();
        let token = record.closed(ring);
        let refresh = record.refresh.as_ref();
        let refresh = refresh.and_then(|refresh| record.open_refresh(refresh, ring).err());
        for candidate in &stored.candidates {
            // They are passed over: nothing else follows.
            let token = candidate.token.iter();
            let token = token.flat_map(|token| record.closed_parts(&token.held, ring));
            let refresh = record.open_refresh(&candidate.refresh, ring).err();
            for error in token.chain(refresh) {
                self.found(Some(error), pass).await?;
            }
        }
        let mut damaged_token = None;
        for error in token {
            damaged_token = self.found(Some(error), pass).await?.or(damaged_token);
        }
        Ok(Damage {
            secret,
            params: self.found(params, pass).await?,
            token: damaged_token,
            refresh: self.found(refresh, pass).await?,
        })
    }

    /// The same error, where the value is damaged.
    async fn found(
        &self,
        error: Option<OpenError>,
        pass: &mut Pass,
    ) -> Result<Option<OpenError>, DbError> {
        let Some(error) = error else { return Ok(None) };
        let unknown = match &error.why {
            Closed::UnknownKey(id) => Some(id.clone()),
            Closed::Refused | Closed::Malformed | Closed::Missing => None,
        };
        let known_elsewhere = unknown
            .as_ref()
            .is_some_and(|id| pass.registered.contains(id));
        if !known_elsewhere && self.parts.damage.is_damaged(&error).await? {
            pass.findings.damaged_values += 1;
            return Ok(Some(error));
        }
        pass.findings.unknown_keys += 1;
        pass.registered.extend(unknown);
        Ok(None)
    }

    async fn verdict(&self, stored: &Stored<'_>, damage: Damage) -> Result<Verdict, DbError> {
        let record = &stored.record;
        let realm = match self.parts.realms.read(stored.realm) {
            Ok(realm) => realm,
            Err(UnreadableRealm::NotAuthentic { error, .. })
                if self.parts.damage.is_damaged(&error).await? =>
            {
                return Ok(Verdict::Attention(Remedy::Realm.failure(&error)));
            }
            // It is a newer server's, or sealed with a key that another has.
            Err(_) => return Ok(Verdict::Fine),
        };
        if record.paused && !realm.source.is_fixed() {
            // It is not to be renewed; when it is resumed, the attempt says what is wrong.
            return Ok(Verdict::Fine);
        }
        if let Some(error) = &damage.params {
            return Ok(Verdict::Attention(Remedy::Params.failure(error)));
        }
        if let (true, Some(error)) = (realm.source.is_fixed(), &damage.token) {
            return Ok(Verdict::Attention(Remedy::FixedToken.failure(error)));
        }
        if realm.source.is_fixed() {
            return Ok(Verdict::Fine);
        }
        let refresh = match &damage.refresh {
            Some(error) => self.without_refresh(record, &realm, &damage, error).await?,
            None => Verdict::Fine,
        };
        Ok(match (refresh, damage.token) {
            (Verdict::Fine, Some(_)) => Verdict::Due,
            (refresh, _) => refresh,
        })
    }

    /// What follows from a damaged refresh token.
    async fn without_refresh(
        &self,
        record: &TokenRecord,
        realm: &Realm,
        damage: &Damage,
        error: &OpenError,
    ) -> Result<Verdict, DbError> {
        let (Source::Provider(document), Ok(secret), Some(stored)) =
            (&realm.source, &damage.secret, &record.refresh)
        else {
            return Ok(Verdict::Fine);
        };
        let now = self.parts.clock.now();
        if stored.expires_at.is_some_and(|end| end <= now) {
            // It would not be sent.
            return Ok(Verdict::Fine);
        }
        let instead = self
            .parts
            .inputs
            .instead_of_refresh(record, stored, document, &secret.params)
            .await?;
        Ok(match instead {
            Instead::Refresh(_) | Instead::Nothing => Verdict::Due,
            // Another may still come.
            Instead::Lost if record.lost.as_ref().is_some_and(|lost| lost.awaited) => Verdict::Fine,
            Instead::Lost => Verdict::Attention(Remedy::RefreshToken.failure(error)),
        })
    }

    /// Notes that a human is needed, once: false where that is known, or where something has
    /// changed meanwhile.
    async fn store_attention(
        &self,
        stored: &Stored<'_>,
        failure: &Failure,
    ) -> Result<bool, DbError> {
        let (record, now) = (&stored.record, self.parts.clock.now());
        let known = record.trouble.as_ref().is_some_and(|trouble| {
            trouble.class == FailureClass::Internal
                && trouble.needs_attention()
                && trouble.detail == failure.detail
        });
        if known {
            return Ok(false);
        }
        let (seen, failures) = (record.seen(), record.failures() + 1);
        let of = (
            Version(stored.secret.version),
            Version(stored.realm.version),
        );
        let announced = self.parts.failing_after.and_then(|failing_after| {
            event::of_failure(record.announced, true, failures, failing_after)
        });
        let noted = self
            .parts
            .database
            .write(|transaction, _| {
                let seen = &seen;
                Box::pin(async move {
                    let noted =
                        results::store_attention(transaction, seen, of, failure, announced, now);
                    if !noted.await? {
                        return Ok(false);
                    }
                    if let Some(announced) = announced {
                        let event = Event::Troubled {
                            announced,
                            failure,
                            failures,
                            next_attempt: record.renew_at,
                        };
                        event::append(transaction, &[(event, record)], &self.parts.randomness, now)
                            .await?;
                    }
                    Ok::<_, DbError>(true)
                })
            })
            .await?;
        if noted {
            let next_attempt = record.renew_at.map(Timeline::to_rfc3339);
            tracing::warn!(
                name: "renewal.human_needed",
                realm = %record.realm, key = %record.key,
                class = failure.class.as_str(), detail = %failure.detail,
                next_attempt = next_attempt.as_deref().unwrap_or("never"),
                "a human is needed"
            );
        }
        Ok(noted)
    }
}
