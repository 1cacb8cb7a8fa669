//! The applications of realms that take tickets, open in memory: who pushes shows no key, and must
//! not make the server open every secret of a realm. Which rows there are, and when they were last
//! changed, is asked for each push; only what has changed since is read and opened.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use quick_cache::sync::Cache;
use secrecy::SecretString;

use crate::foundation::clock::EpochMs;
use crate::foundation::database::{Database, DbError};
use crate::foundation::ids::{RealmId, SecretId, Version};
use crate::foundation::sealing::KeyRing;
use crate::realm::document::ProviderDocument;
use crate::realm::expression::Expressions;
use crate::realm::{Realm, Source, store as realms};
use crate::secret::{Secret, store as secrets};
use crate::upstream::Upstream;

/// Realms whose applications are remembered at once.
const REALMS_MAX: usize = 64;
/// Realms of which it is remembered that they take no tickets: anybody may ask for any.
const OTHER_REALMS_MAX: usize = 1000;

/// The version of a row, and when it was written: another row of the same name has another.
pub type RowVersion = (Version, EpochMs);

/// A secret's application, with what its pushes are checked by.
pub(super) struct Application {
    pub(super) secret: SecretId,
    pub(super) app_id: String,
    pub(super) token: SecretString,
    pub(super) aes_key: Option<SecretString>,
}

/// A realm that takes tickets, as it was at a version.
pub(super) struct TicketRealm {
    version: RowVersion,
    document: Arc<ProviderDocument>,
    secrets: BTreeMap<SecretId, Known>,
}

#[derive(Clone)]
struct Known {
    version: RowVersion,
    /// None: which application it is of cannot be told, so it has no ticket.
    application: Option<Arc<Application>>,
}

impl TicketRealm {
    pub(super) fn document(&self) -> &ProviderDocument {
        &self.document
    }

    /// In the order of their secrets.
    pub(super) fn applications(&self) -> impl Iterator<Item = &Arc<Application>> {
        let known = self.secrets.values();
        known.filter_map(|known| known.application.as_ref())
    }
}

pub(super) struct Applications {
    database: Database,
    ring: Arc<KeyRing>,
    upstream: Arc<Upstream>,
    expressions: Expressions,
    realms: Cache<RealmId, Arc<TicketRealm>>,
    /// Realms that took no tickets at these versions.
    others: Cache<RealmId, RowVersion>,
    /// Applications of one realm that a push may be for.
    max: u64,
    opened: AtomicU64,
}

impl Applications {
    pub(super) fn new(
        database: Database,
        ring: Arc<KeyRing>,
        upstream: Arc<Upstream>,
        max: u64,
    ) -> Self {
        Self {
            database,
            ring,
            upstream,
            expressions: Expressions::new(),
            realms: Cache::new(REALMS_MAX),
            others: Cache::new(OTHER_REALMS_MAX),
            max,
            opened: AtomicU64::new(0),
        }
    }

    /// Secrets that were opened so far.
    pub(super) fn opened(&self) -> u64 {
        self.opened.load(Relaxed)
    }

    /// A realm that takes tickets, as it is stored now; none where there is none of that name.
    pub(super) async fn of(&self, realm: &RealmId) -> Result<Option<Arc<TicketRealm>>, DbError> {
        let reader = self.database.reader();
        let Some(version) = realms::version(reader, realm).await? else {
            self.realms.remove(realm);
            self.others.remove(realm);
            return Ok(None);
        };
        if self.others.get(realm) == Some(version) {
            return Ok(None);
        }
        let known = self.realms.get(realm);
        let known = known.filter(|known| known.version == version);
        let (version, document) = match &known {
            Some(known) => (version, Some(known.document.clone())),
            None => match self.read(realm).await? {
                Some(read) => read,
                None => return Ok(None),
            },
        };
        let Some(document) = document else {
            self.realms.remove(realm);
            self.others.insert(realm.clone(), version);
            return Ok(None);
        };
        let stored = secrets::versions_in(reader, realm, self.max).await?;
        let before = known.as_ref().map(|known| &known.secrets);
        let is_known = |(id, version): &(SecretId, RowVersion)| {
            let before = before.and_then(|before| before.get(id));
            before.is_some_and(|before| before.version == *version)
        };
        if let Some(known) = &known
            && stored.len() == known.secrets.len()
            && stored.iter().all(is_known)
        {
            return Ok(Some(known.clone()));
        }
        let (same, changed): (Vec<_>, Vec<_>) = stored.into_iter().partition(is_known);
        let same = same.into_iter().filter_map(|(id, _)| {
            let before = before.and_then(|before| before.get(&id));
            before.map(|before| (id, before.clone()))
        });
        let mut all: BTreeMap<_, _> = same.collect();
        let changed: Vec<_> = changed.into_iter().map(|(id, _)| id).collect();
        for row in secrets::find_each(reader, &changed).await? {
            let (id, version) = (SecretId(row.id), (Version(row.version), row.updated_at));
            self.opened.fetch_add(1, Relaxed);
            // What cannot be opened now may be later, although nobody changes it.
            let Ok(secret) = Secret::open(row, &self.ring) else {
                continue;
            };
            let application = self.application(&document, &secret).map(Arc::new);
            let known = Known {
                version,
                application,
            };
            all.insert(id, known);
        }
        Ok(Some(self.remember(realm, version, document, all)))
    }

    fn remember(
        &self,
        realm: &RealmId,
        version: RowVersion,
        document: Arc<ProviderDocument>,
        secrets: BTreeMap<SecretId, Known>,
    ) -> Arc<TicketRealm> {
        let known = Arc::new(TicketRealm {
            version,
            document,
            secrets,
        });
        self.realms.insert(realm.clone(), known.clone());
        known
    }

    /// The document of a realm, if it takes tickets; none where the realm cannot be read.
    async fn read(
        &self,
        realm: &RealmId,
    ) -> Result<Option<(RowVersion, Option<Arc<ProviderDocument>>)>, DbError> {
        let row = realms::find(self.database.reader(), realm).await?;
        let read = row.and_then(|row| Realm::from_row(row, &self.expressions, &self.ring).ok());
        let Some(read) = read else {
            return Ok(None);
        };
        let version = (read.version, read.updated_at);
        let document = match read.source {
            Source::Provider(document) if document.ticket.is_some() => Some(Arc::from(document)),
            _ => None,
        };
        Ok(Some((version, document)))
    }

    fn application(&self, document: &ProviderDocument, secret: &Secret) -> Option<Application> {
        let rule = document.ticket.as_ref()?;
        let text = |template| self.upstream.rendered(document, &secret.params, template);
        Some(Application {
            app_id: text(&rule.app_id)?,
            token: text(&rule.token)?.into(),
            aes_key: match &rule.aes_key {
                Some(key) => text(key).map(Into::into),
                None => None,
            },
            secret: secret.id,
        })
    }
}
