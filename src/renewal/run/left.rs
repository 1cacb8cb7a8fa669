//! What a run has left: what was due and was not attempted, what others attempted in vain, and what
//! needs a human.

use std::collections::{HashMap, HashSet};

use super::scope::RunScope;
use super::summary::{NAMED_MAX, NamedFailure, RunSummary};
use crate::foundation::clock::{EpochMs, SharedClock, Timeline};
use crate::foundation::database::{Database, DbError};
use crate::foundation::ids::{RealmId, SecretId};
use crate::foundation::page::Page;
use crate::realm::store as realm_store;
use crate::renewal::realms::RealmCache;
use crate::token::due::{self, WantedToken};
use crate::token::listing::{self, SecretFilter};
use crate::token::state::State;
use crate::token::store;
use crate::upstream::Upstream;

/// Rows of one page of what is left.
const LEFT_PAGE_ROWS: u64 = 1000;

/// Why a token that could be renewed is left.
const CHANGED: &str = "it was given back while the run ended, or somebody was changing it: \
     the next run renews it";

/// Rows of which others have made something, read at once.
const SETTLED_ROWS: usize = 500;

/// Whether a run has to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// Nothing, or nothing that it could renew now.
    Nothing,
    /// Another process is renewing some of it.
    Held,
    /// It could renew some of it.
    Free,
}

/// What counts what is left.
pub(super) struct LeftCounter<'a> {
    pub database: &'a Database,
    pub clock: &'a SharedClock,
    pub realms: &'a RealmCache,
    pub upstream: &'a Upstream,
}

impl LeftCounter<'_> {
    /// What is to be renewed when a run begins, held by somebody or not.
    pub(super) async fn wanted(
        &self,
        scope: &RunScope,
        begun: EpochMs,
    ) -> Result<HashSet<SecretId>, DbError> {
        let mut ids = HashSet::new();
        self.for_each_wanted(scope, begun, |_, token| {
            ids.insert(token.id);
        })
        .await?;
        Ok(ids)
    }

    async fn for_each_wanted(
        &self,
        scope: &RunScope,
        begun: EpochMs,
        mut found: impl FnMut(&RealmId, WantedToken),
    ) -> Result<(), DbError> {
        let reader = self.database.causal();
        let all = match &scope.realm {
            Some(realm) => vec![realm.clone()],
            None => realm_store::all_ids(reader).await?,
        };
        for wanted in scope.should_have_renewed(begun) {
            let realms = match wanted.by() {
                Some(by) => due::due_among(reader, &all, by).await?,
                None => all.clone(),
            };
            for realm in realms {
                let mut after = SecretId(i64::MIN);
                loop {
                    let page =
                        due::wanted_in(reader, &realm, wanted, after, LEFT_PAGE_ROWS).await?;
                    let Some(last) = page.last() else { break };
                    after = last.id;
                    for token in page {
                        found(&realm, token);
                    }
                }
            }
        }
        Ok(())
    }

    /// Counts and names what was to be renewed and was not attempted, and what others attempted and
    /// did not renew, of what was wanted at the begin.
    pub(super) async fn count_left(
        &self,
        scope: &RunScope,
        begun: EpochMs,
        wanted: &HashSet<SecretId>,
        summary: &mut RunSummary,
    ) -> Result<Left, DbError> {
        summary.forget_left();
        let mut left = Vec::new();
        self.for_each_wanted(scope, begun, |realm, token| {
            if !summary.has_tried(token.id) {
                left.push((realm.clone(), token));
            }
        })
        .await?;
        let (mut any_held, mut any_free) = (false, false);
        let mut reasons: HashMap<RealmId, Option<String>> = HashMap::new();
        for (realm, token) in left {
            if !reasons.contains_key(&realm) {
                let why = self.why_left(&realm, scope).await?;
                reasons.insert(realm.clone(), why);
            }
            any_held |= token.is_held;
            let why = match reasons.get(&realm) {
                _ if token.is_held => "another process is renewing it",
                Some(Some(why)) => why.as_str(),
                _ => {
                    any_free = true;
                    CHANGED
                }
            };
            summary.leave(token.id, &realm, token.key, why);
        }
        let settled = wanted.iter().copied();
        let settled = settled.filter(|id| !summary.has_tried(*id) && !summary.has_left(*id));
        let settled: Vec<_> = settled.collect();
        for ids in settled.chunks(SETTLED_ROWS) {
            for record in store::find_all(self.database.causal(), ids).await? {
                summary.count_elsewhere(record);
            }
        }
        Ok(match (any_held, any_free) {
            (true, _) => Left::Held,
            (false, true) => Left::Free,
            (false, false) => Left::Nothing,
        })
    }

    /// Why nothing of a realm was attempted any more; none: it could be.
    async fn why_left(&self, id: &RealmId, scope: &RunScope) -> Result<Option<String>, DbError> {
        let Some(row) = realm_store::find(self.database.reader(), id).await? else {
            return Ok(Some("its realm was deleted meanwhile".to_owned()));
        };
        let now = self.clock.now();
        Ok(Some(match self.realms.read(&row) {
            Err(unreadable) => unreadable.to_string(),
            Ok(realm) => match realm.blocked_until {
                Some(until) if until > now => {
                    format!("the provider limits the realm until {}", until.to_rfc3339())
                }
                _ if !scope.can_end(self.clock.machine(), self.upstream.timeout(&realm.source)) => {
                    "an attempt may take longer than the run has left (http.request_timeout_s)"
                        .to_owned()
                }
                _ if scope.stop.is_cancelled() => "the run was ended before its turn".to_owned(),
                _ => return Ok(None),
            },
        }))
    }

    pub(super) async fn count_attention(
        &self,
        scope: &RunScope,
        summary: &mut RunSummary,
    ) -> Result<(), DbError> {
        let (reader, now) = (self.database.causal(), self.clock.now());
        let filter = SecretFilter {
            realm: scope.realm.as_ref().map(RealmId::as_str),
            state: Some(State::NeedsAttention),
            ..SecretFilter::default()
        };
        let Ok(first) = Page::new(1, NAMED_MAX as u64) else {
            return Ok(());
        };
        let listed = listing::list(reader, first, &filter, now).await?;
        summary.needs_attention = listed.total;
        let named = listed.list.into_iter().filter_map(NamedFailure::of_trouble);
        summary.needs_attention_secrets = named.collect();
        Ok(())
    }
}
