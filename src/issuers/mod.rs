//! Callers without static keys: a JWT of a registered issuer is verified here, with the keys that
//! the issuer publishes, and remembered beside the API keys. So are the ID tokens of humans who sign
//! in to the console.

mod fetching;
mod key_cache;
mod settings;
pub mod sign_in;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use secrecy::ExposeSecret;

use crate::access::Caller;
use crate::access::issuer::store::Issuer;
use crate::access::issuer::{Jwt, KeySource, TokenFault, VerifiedToken};
use crate::access::key::PresentedKey;
use crate::foundation::clock::{Ms, SharedClock};
use crate::foundation::database::DbError;
use crate::foundation::limit::within;
use crate::foundation::metrics::Metrics;
use crate::foundation::seldom::Seldom;
use crate::memory::{COMPARING, KnownIssuers, Memory};
use crate::upstream::Upstream;
use fetching::Fetching;
use key_cache::KeyCache;
pub use settings::IssuerSettings;

/// Why nobody knows whether a credential is good.
#[derive(Debug, thiserror::Error)]
pub enum RecogniseError {
    #[error(transparent)]
    Database(#[from] DbError),
    /// The keys of the token's issuer cannot be had now.
    #[error("the keys of the token's issuer {name:?} cannot be fetched; the server's log says why")]
    IssuerUnavailable { name: String, retry_after: Ms },
}

/// Recognises callers by what they present. Clones share what is known of issuers.
#[derive(Clone)]
pub struct Issuers(Arc<Inner>);

struct Inner {
    memory: Memory,
    clock: SharedClock,
    fetching: Arc<Fetching>,
    /// By the name of the issuer.
    of_issuers: Mutex<HashMap<String, OfIssuer>>,
    /// Tokens that were refused because their issuer is not registered.
    strangers: Mutex<Seldom>,
}

/// What is kept of one issuer.
struct OfIssuer {
    issuer: Arc<Issuer>,
    cache: Arc<KeyCache>,
    /// Tokens of it that were refused.
    refused: Seldom,
}

impl Issuers {
    pub fn new(
        memory: Memory,
        upstream: Arc<Upstream>,
        clock: SharedClock,
        metrics: &Metrics,
        settings: IssuerSettings,
    ) -> Self {
        let fetching = Fetching::new(upstream, clock.clone(), metrics, settings);
        Self(Arc::new(Inner {
            memory,
            fetching: Arc::new(fetching),
            clock,
            of_issuers: Mutex::default(),
            strangers: Mutex::default(),
        }))
    }

    /// Whose credential that is: an API key's, or a token's of a registered issuer.
    ///
    /// # Errors
    /// Where nobody can be asked that knows.
    pub async fn recognise(
        &self,
        presented: &PresentedKey,
    ) -> Result<Option<Arc<Caller>>, RecogniseError> {
        let (memory, hash) = (&self.0.memory, presented.hash());
        let Some(token) = Jwt::read(presented.text().expose_secret()) else {
            return Ok(memory.recognise(hash).await?);
        };
        let issuers = memory.issuers().await?;
        let Some(issuer) = issuers.find(token.issuer()) else {
            // A key that somebody chose may look like that.
            let found = memory.recognise(hash).await?;
            if found.is_none() {
                self.tell_unregistered();
            }
            return Ok(found);
        };
        if let Some(caller) = memory.verified(hash) {
            return Ok(Some(caller));
        }
        match Box::pin(self.verify(&token, issuer, &issuers)).await? {
            Ok(verified) => Ok(Some(memory.remember_verified(hash, verified, &issuers))),
            Err(fault) => {
                memory.forget_verified(hash);
                self.tell_refused(issuer, &fault);
                Ok(None)
            }
        }
    }

    /// The same for what is asked for just because the database may be away: a caller who was
    /// recognised before is not kept waiting for it, and is recognised for as long as it is away.
    pub async fn recognise_or_recall(
        &self,
        presented: &PresentedKey,
    ) -> Result<Option<Arc<Caller>>, RecogniseError> {
        match self.0.memory.recalled(presented.hash()) {
            None => self.recognise(presented).await,
            Some(recalled) => match within(COMPARING, Box::pin(self.recognise(presented))).await {
                Some(Ok(found)) => Ok(found),
                Some(Err(_)) | None => Ok(Some(recalled)),
            },
        }
    }

    async fn verify(
        &self,
        token: &Jwt<'_>,
        issuer: &Arc<Issuer>,
        issuers: &KnownIssuers,
    ) -> Result<Result<VerifiedToken, TokenFault>, RecogniseError> {
        let registration = &issuer.registration;
        let cache = self.0.cache_of(issuer, issuers);
        if let Err(fault) = token.check(registration, self.0.clock.now()) {
            return Ok(Err(fault));
        }
        let keys = match &registration.keys {
            KeySource::Registered(_, keys) => keys.clone(),
            KeySource::Discovery | KeySource::Url(_) => {
                let keys = cache.keys(issuer, token.key_id(), &self.0.fetching).await;
                keys.map_err(|unavailable| RecogniseError::IssuerUnavailable {
                    name: issuer.name.to_string(),
                    retry_after: unavailable.retry_after,
                })?
            }
        };
        // Fetching took its time.
        let now = self.0.clock.now();
        Ok(token.verify(issuer.name.as_str(), registration, &keys, now))
    }

    /// Says that tokens are refused whose issuer is not registered, and of none what it says.
    fn tell_unregistered(&self) {
        let strangers = self.0.strangers.lock();
        let mut strangers = strangers.unwrap_or_else(PoisonError::into_inner);
        if let Some(calls) = strangers.count(self.0.clock.boot()) {
            tracing::warn!(
                name: "issuer.unknown",
                calls,
                "JWTs are refused: what they name as their issuer (iss) is not registered"
            );
        }
    }

    /// Says why tokens are refused: each for who looks closely, and how many once a minute.
    fn tell_refused(&self, issuer: &Issuer, fault: &TokenFault) {
        let name = issuer.name.as_str();
        tracing::debug!(issuer = name, why = %fault, "a JWT is refused");
        let mut of_issuers = self.0.lock();
        let known = of_issuers.get_mut(name);
        let calls = known.and_then(|known| known.refused.count(self.0.clock.boot()));
        if let Some(calls) = calls {
            tracing::warn!(
                name: "issuer.tokens_refused",
                issuer = name, why = %fault, calls,
                "JWTs of an issuer are refused; this is why the last one was"
            );
        }
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, OfIssuer>> {
        self.of_issuers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the keys of an issuer are kept. They outlive a change of anything but where they come
    /// from.
    fn cache_of(&self, issuer: &Arc<Issuer>, issuers: &KnownIssuers) -> Arc<KeyCache> {
        let mut of_issuers = self.lock();
        let name = issuer.name.as_str();
        if let Some(known) = of_issuers.get_mut(name) {
            if !Arc::ptr_eq(&known.issuer, issuer) {
                if !known.issuer.registration.has_keys_of(&issuer.registration) {
                    known.cache = Arc::default();
                }
                known.issuer = issuer.clone();
            }
            return known.cache.clone();
        }
        of_issuers.retain(|name, _| issuers.all().any(|issuer| issuer.name.as_str() == name));
        let new = OfIssuer {
            issuer: issuer.clone(),
            cache: Arc::default(),
            refused: Seldom::default(),
        };
        of_issuers
            .entry(name.to_owned())
            .or_insert(new)
            .cache
            .clone()
    }
}
