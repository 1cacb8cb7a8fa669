//! One run through all that is due, to the end: the scheduled container job, and cloud
//! timers.

use std::collections::HashSet;

use futures_util::stream::{FuturesUnordered, StreamExt};

use super::Renewals;
use super::attempt::{Attempted, Cause};
use crate::foundation::clock::Ms;
use crate::foundation::database::DbError;
use crate::foundation::ids::{KeyName, RealmId, SecretId};
use crate::foundation::page::{PAGE_SIZE_MAX, Page};
use crate::realm::failure::FailureClass;
use crate::realm::{Realm, store as realm_store};
use crate::token::lease::{Claimed, Ground};
use crate::token::store;

/// Failures that a summary names; beyond, it counts.
const NAMED_FAILURES_MAX: usize = 100;

/// What a run covers.
#[derive(Clone, Debug, Default)]
pub struct RunScope {
    /// One realm only.
    pub realm: Option<RealmId>,
    /// Due or not.
    pub all: bool,
}

#[derive(Clone, Debug)]
pub struct NamedFailure {
    pub realm: RealmId,
    pub key: KeyName,
    pub class: FailureClass,
    pub detail: String,
}

/// What a run did.
#[derive(Clone, Debug, Default)]
pub struct RunSummary {
    pub renewed: u64,
    pub failed: u64,
    /// Results that were void because something changed meanwhile, or could not be stored.
    pub discarded: u64,
    pub failures: Vec<NamedFailure>,
    pub duration: Ms,
}

/// Told of a run as it goes.
pub trait Progress: Sync {
    /// So many more are to be attempted.
    fn found(&self, tokens: u64);
    fn attempted(&self, realm: &RealmId, key: &KeyName, renewed: bool);
}

impl Progress for () {
    fn found(&self, _: u64) {}
    fn attempted(&self, _: &RealmId, _: &KeyName, _: bool) {}
}

impl Renewals {
    /// Attempts everything in scope once.
    pub async fn run(
        &self,
        scope: &RunScope,
        progress: &dyn Progress,
    ) -> Result<RunSummary, DbError> {
        let begun = self.clock.boot();
        let realms = self.realms_in(scope).await?;
        let mut running: FuturesUnordered<_> = realms
            .iter()
            .map(|realm| self.run_realm(realm, scope.all, progress))
            .collect();
        let mut summary = RunSummary::default();
        while let Some(of_realm) = running.next().await {
            summary.add(of_realm?);
        }
        summary.duration = self.clock.boot().since(begun);
        Ok(summary)
    }

    async fn realms_in(&self, scope: &RunScope) -> Result<Vec<Realm>, DbError> {
        let reader = self.database.reader();
        let ids = match &scope.realm {
            Some(realm) => vec![realm.clone()],
            None if scope.all => all_realms(reader).await?,
            None => store::due_realms(reader, self.clock.now()).await?,
        };
        let mut realms = Vec::new();
        for id in ids {
            realms.extend(self.load_realm(&id).await?);
        }
        Ok(realms)
    }

    async fn run_realm(
        &self,
        realm: &Realm,
        all: bool,
        progress: &dyn Progress,
    ) -> Result<RunSummary, DbError> {
        let mut summary = RunSummary::default();
        let mut attempted = HashSet::new();
        let mut after = SecretId(i64::MIN);
        let limit = self.realm_limit(realm) as u64;
        loop {
            let reader = self.database.reader();
            let now = self.clock.now();
            let mut ids = if all {
                store::renewable_in(reader, &realm.id, after, limit).await?
            } else {
                store::due_in(reader, &realm.id, now, limit).await?
            };
            self.drop_left_to_others(&mut ids);
            ids.retain(|id| attempted.insert(*id));
            let Some(last) = ids.iter().max() else {
                return Ok(summary);
            };
            after = *last;
            let ground = if all {
                Ground::Chosen(ids)
            } else {
                Ground::Due(ids)
            };
            self.run_batch(realm, ground, progress, &mut summary)
                .await?;
        }
    }

    async fn run_batch(
        &self,
        realm: &Realm,
        ground: Ground,
        progress: &dyn Progress,
        summary: &mut RunSummary,
    ) -> Result<(), DbError> {
        let limit = self.realm_limit(realm);
        let first = self.permits.take_one(&realm.id, limit).await;
        let timeout = self.upstream.timeout(&realm.source);
        let claimed = self.claim(&ground, timeout).await?;
        drop(first);
        progress.found(claimed.len() as u64);
        let mut running: FuturesUnordered<_> = claimed
            .into_iter()
            .map(|claimed| self.attempt_permitted(claimed, limit))
            .collect();
        while let Some((realm, key, outcome)) = running.next().await {
            let renewed = matches!(outcome, Attempted::Stored(_));
            progress.attempted(&realm, &key, renewed);
            summary.count(realm, key, outcome);
        }
        Ok(())
    }

    async fn attempt_permitted(
        &self,
        claimed: Claimed,
        limit: usize,
    ) -> (RealmId, KeyName, Attempted) {
        let (realm, key) = (claimed.record.realm.clone(), claimed.record.key.clone());
        let _permit = self.permits.take_one(&realm, limit).await;
        let outcome = self.attempt(claimed, Cause::Run).await;
        (realm, key, outcome)
    }
}

async fn all_realms(reader: &sea_orm::DatabaseConnection) -> Result<Vec<RealmId>, DbError> {
    let mut ids = Vec::new();
    for number in 1.. {
        let Ok(page) = Page::new(number, PAGE_SIZE_MAX) else {
            break;
        };
        let listed = realm_store::list(reader, page, None).await?;
        if listed.list.is_empty() {
            break;
        }
        ids.extend(listed.list.into_iter().map(|row| RealmId::stored(row.id)));
    }
    Ok(ids)
}

impl RunSummary {
    fn count(&mut self, realm: RealmId, key: KeyName, outcome: Attempted) {
        match outcome {
            Attempted::Stored(_) => self.renewed += 1,
            Attempted::Discarded | Attempted::Unstored => self.discarded += 1,
            Attempted::Failed(failure) => {
                self.failed += 1;
                if self.failures.len() < NAMED_FAILURES_MAX {
                    self.failures.push(NamedFailure {
                        realm,
                        key,
                        class: failure.class,
                        detail: failure.detail,
                    });
                }
            }
        }
    }

    fn add(&mut self, other: Self) {
        self.renewed += other.renewed;
        self.failed += other.failed;
        self.discarded += other.discarded;
        self.failures.extend(other.failures);
        self.failures.truncate(NAMED_FAILURES_MAX);
    }
}
