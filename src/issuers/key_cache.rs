//! The keys of one issuer, kept: refreshed while they are used, fetched for an id that nobody
//! knows, and good for a while where the issuer is away. However many ask, the issuer is asked
//! as seldom as the configuration says. Their age goes by both clocks: a machine that was paused has a boot
//! clock that stood still.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracing::Instrument;

use super::fetching::Fetching;
use super::settings::IssuerSettings;
use crate::access::issuer::KeySet;
use crate::access::issuer::store::Issuer;
use crate::foundation::clock::{Moment, Ms};

/// There are no keys of the issuer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unavailable {
    pub retry_after: Ms,
}

#[derive(Default)]
pub(super) struct KeyCache {
    state: Mutex<State>,
    /// Held by the one who fetches.
    flight: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    /// The last that were fetched, and when that began.
    keys: Option<(Arc<KeySet>, Moment)>,
    /// When the last fetch began, and whether it brought nothing.
    tried: Option<(Moment, Tried)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Tried {
    Fetched,
    Failed,
}

/// What is to be done for a token.
enum Step {
    Use(Arc<KeySet>),
    UseAndRefresh(Arc<KeySet>),
    /// With what is used where nothing is brought.
    FetchFirst(Option<Arc<KeySet>>),
    Wait(Ms),
}

impl State {
    fn step(&self, id: Option<&str>, now: Moment, settings: &IssuerSettings) -> Step {
        let kept = self.keys.as_ref();
        let kept = kept.filter(|(_, fetched)| now.since(*fetched) < settings.max_stale);
        let apart = match kept {
            Some(_) => settings.fetch_interval,
            None => settings.retry_interval,
        };
        let wait = match self.tried {
            Some((at, _)) => Ms(apart.0 - now.since(at).0),
            None => Ms::ZERO,
        };
        let may_fetch = wait <= Ms::ZERO;
        let Some((keys, fetched)) = kept else {
            return match may_fetch {
                true => Step::FetchFirst(None),
                false => Step::Wait(wait),
            };
        };
        let (keys, age) = (keys.clone(), now.since(*fetched));
        let is_away = matches!(self.tried, Some((_, Tried::Failed)));
        if !may_fetch || (keys.knows(id) && age < settings.refresh_after) {
            Step::Use(keys)
        } else if keys.knows(id) && (age < settings.max_age || is_away) {
            Step::UseAndRefresh(keys)
        } else {
            Step::FetchFirst(Some(keys))
        }
    }
}

impl KeyCache {
    /// The keys with which a token is verified that names this key.
    pub async fn keys(
        self: &Arc<Self>,
        issuer: &Arc<Issuer>,
        id: Option<&str>,
        fetching: &Arc<Fetching>,
    ) -> Result<Arc<KeySet>, Unavailable> {
        match self.step(id, fetching) {
            Step::Use(keys) => Ok(keys),
            Step::UseAndRefresh(keys) => {
                self.refresh(issuer, fetching);
                Ok(keys)
            }
            Step::Wait(retry_after) => Err(Unavailable { retry_after }),
            Step::FetchFirst(_) => {
                // A caller that goes away interrupts no fetch that others wait for.
                let (cache, issuer) = (self.clone(), issuer.clone());
                let retry_after = fetching.settings.retry_interval;
                let (fetching, id) = (fetching.clone(), id.map(str::to_owned));
                let fetched = async move { cache.fetch_first(&issuer, id, &fetching).await };
                let fetched = tokio::spawn(fetched.in_current_span()).await;
                fetched.unwrap_or(Err(Unavailable { retry_after }))
            }
        }
    }

    async fn fetch_first(
        &self,
        issuer: &Issuer,
        id: Option<String>,
        fetching: &Fetching,
    ) -> Result<Arc<KeySet>, Unavailable> {
        let _flight = self.flight.lock().await;
        // Somebody else may have fetched them meanwhile.
        match self.step(id.as_deref(), fetching) {
            Step::Use(keys) | Step::UseAndRefresh(keys) => Ok(keys),
            Step::Wait(retry_after) => Err(Unavailable { retry_after }),
            Step::FetchFirst(kept) => {
                let fetched = self.fetch(issuer, fetching).await;
                fetched.or(kept).ok_or(Unavailable {
                    retry_after: fetching.settings.retry_interval,
                })
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn step(&self, id: Option<&str>, fetching: &Fetching) -> Step {
        let now = fetching.machine();
        self.lock().step(id, now, &fetching.settings)
    }

    /// Fetches beside the call; nobody waits for it.
    fn refresh(self: &Arc<Self>, issuer: &Arc<Issuer>, fetching: &Arc<Fetching>) {
        let (cache, issuer, fetching) = (self.clone(), issuer.clone(), fetching.clone());
        let refreshing = async move {
            if let Ok(_flight) = cache.flight.try_lock() {
                cache.fetch(&issuer, &fetching).await;
            }
        };
        tokio::spawn(refreshing.in_current_span());
    }

    /// By the one who holds the flight. None where nothing was brought.
    async fn fetch(&self, issuer: &Issuer, fetching: &Fetching) -> Option<Arc<KeySet>> {
        let mut attempt = Attempt {
            cache: self,
            begun: fetching.machine(),
            brought: None,
        };
        let keys = Arc::new(fetching.fetch(issuer).await.ok()?);
        attempt.brought = Some(keys.clone());
        Some(keys)
    }
}

/// A fetch. Whatever becomes of it, one that is cut off included, it has been tried.
struct Attempt<'a> {
    cache: &'a KeyCache,
    begun: Moment,
    brought: Option<Arc<KeySet>>,
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        let mut state = self.cache.lock();
        match self.brought.take() {
            Some(keys) => {
                state.tried = Some((self.begun, Tried::Fetched));
                state.keys = Some((keys, self.begun));
            }
            None => state.tried = Some((self.begun, Tried::Failed)),
        }
    }
}
