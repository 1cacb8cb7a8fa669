//! The keys of one issuer, kept: refreshed while they are used, fetched for an id that nobody
//! knows, and good for a while where the issuer is away. However many ask, the issuer is asked
//! once a minute at most. Their age goes by both clocks: a machine that was paused has a boot clock
//! that stood still.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracing::Instrument;

use super::fetching::Fetching;
use crate::access::issuer::KeySet;
use crate::access::issuer::store::Issuer;
use crate::foundation::clock::{Moment, Ms};

/// Between two fetches for one issuer.
const APART: Ms = Ms::from_secs(60);
/// The same while there is no key at all: nobody is let in meanwhile.
const APART_WITHOUT_KEYS: Ms = Ms::from_secs(10);
/// Keys that are older are fetched again beside the call that uses them …
const REFRESHED_AFTER: Ms = Ms::from_secs(45 * 60);
/// … and before it, if they are older than that: a key that was withdrawn is good no longer.
const OLD_AFTER: Ms = Ms::from_secs(60 * 60);
/// So old keys are good where the issuer does not answer.
const KEPT: Ms = Ms::from_secs(24 * 60 * 60);

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
    fn step(&self, id: Option<&str>, now: Moment) -> Step {
        let kept = self.keys.as_ref();
        let kept = kept.filter(|(_, fetched)| now.since(*fetched) < KEPT);
        let apart = match kept {
            Some(_) => APART,
            None => APART_WITHOUT_KEYS,
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
        if !may_fetch || (keys.knows(id) && age < REFRESHED_AFTER) {
            Step::Use(keys)
        } else if keys.knows(id) && (age < OLD_AFTER || is_away) {
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
                let (fetching, id) = (fetching.clone(), id.map(str::to_owned));
                let fetched = async move { cache.fetch_first(&issuer, id, &fetching).await };
                let fetched = tokio::spawn(fetched.in_current_span()).await;
                fetched.unwrap_or(Err(Unavailable {
                    retry_after: APART_WITHOUT_KEYS,
                }))
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
                    retry_after: APART_WITHOUT_KEYS,
                })
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn step(&self, id: Option<&str>, fetching: &Fetching) -> Step {
        let now = fetching.machine();
        self.lock().step(id, now)
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
