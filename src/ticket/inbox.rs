//! Receives pushes: finds the secrets of the application, stores the ticket, and makes due
//! what waited for it.

use std::sync::Arc;

use tokio::sync::{Notify, Semaphore};

use super::message;
use super::push::{Push, PushFault, PushKeys, PushReply, Pushed, Window};
use super::store::{self, NewTicket};
use crate::foundation::clock::{EpochMs, Ms, SharedClock, Timeline};
use crate::foundation::database::{Database, DbError};
use crate::foundation::ids::{RealmId, SecretId};
use crate::foundation::sealing::KeyRing;
use crate::realm::document::{ProviderDocument, TicketRule};
use crate::realm::expression::Expressions;
use crate::realm::{Realm, Source, store as realms};
use crate::secret::{Secret, store as secrets};
use crate::token::store as tokens;
use crate::upstream::Upstream;

/// Pushes handled at once: whoever sends them shows no key, and each costs decryption.
const AT_ONCE: usize = 4;
/// Applications of one realm that are tried for one push.
const APPLICATIONS_MAX: u64 = 1000;

/// How far a push's own date may lie from now.
#[derive(Clone, Copy, Debug)]
pub struct TicketSettings {
    pub tolerance_s: u32,
}

/// Why a push is not taken.
#[derive(Debug, thiserror::Error)]
pub enum InboxError {
    #[error("there is no realm of that name that takes tickets")]
    UnknownRealm,
    #[error("{0}")]
    Refused(#[from] PushFault),
    #[error("no secret of the realm is of the application that the ticket is for")]
    UnknownApplication,
    #[error("other pushes are being handled; send it again")]
    Busy,
    #[error(transparent)]
    Database(#[from] DbError),
}

#[derive(Clone)]
pub struct Inbox {
    database: Database,
    ring: Arc<KeyRing>,
    upstream: Arc<Upstream>,
    expressions: Arc<Expressions>,
    clock: SharedClock,
    settings: TicketSettings,
    wake: Arc<Notify>,
    places: Arc<Semaphore>,
}

/// A secret's application, with what its pushes are checked by.
struct Application {
    secret: SecretId,
    app_id: String,
    token: secrecy::SecretString,
    aes_key: Option<secrecy::SecretString>,
}

impl Inbox {
    pub fn new(
        database: Database,
        ring: Arc<KeyRing>,
        upstream: Arc<Upstream>,
        clock: SharedClock,
        settings: TicketSettings,
        wake: Arc<Notify>,
    ) -> Self {
        Self {
            database,
            ring,
            upstream,
            expressions: Arc::new(Expressions::new()),
            clock,
            settings,
            wake,
            places: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }

    /// Takes a push, or answers what the provider checks the URL by.
    pub async fn receive(&self, realm: &RealmId, push: &Push<'_>) -> Result<PushReply, InboxError> {
        let _place = self.places.try_acquire().map_err(|_| InboxError::Busy)?;
        let row = realms::find(self.database.reader(), realm)
            .await
            .map_err(DbError::from)?
            .ok_or(InboxError::UnknownRealm)?;
        let read = Realm::from_row(row, &self.expressions, &self.ring)
            .map_err(|_| InboxError::UnknownRealm)?;
        let Source::Provider(document) = &read.source else {
            return Err(InboxError::UnknownRealm);
        };
        let rule = document.ticket.as_ref().ok_or(InboxError::UnknownRealm)?;
        let claimed = message::claimed_app_id(rule.format, push)?;
        let mut applications = self.applications(realm, document, rule).await?;
        if let Some(claimed) = &claimed {
            applications.retain(|application| application.app_id == *claimed);
        }
        let now = self.clock.now();
        let window = Window {
            now_s: now.0.div_euclid(1000),
            tolerance_s: self.settings.tolerance_s,
        };
        let mut refused = None;
        for application in &applications {
            let keys = PushKeys {
                app_id: &application.app_id,
                token: &application.token,
                aes_key: application.aes_key.as_ref(),
            };
            match message::open(rule.format, keys, push, window) {
                Err(error) => refused = refused.or(Some(error)),
                Ok(Pushed::Challenge(answer)) => return Ok(answer),
                Ok(Pushed::Other) => return Ok(message::acknowledgement(rule.format)),
                Ok(Pushed::Ticket { value, sent_at_s }) => {
                    let app_id = &application.app_id;
                    let new = NewTicket {
                        realm: realm.clone(),
                        app_id: app_id.clone(),
                        value: super::seal(realm, app_id, &value, &self.ring),
                        sent_at: EpochMs(sent_at_s.saturating_mul(1000)),
                        received_at: now,
                        expires_at: now.plus(Ms::from_secs(rule.valid_s)),
                    };
                    let same_app = applications.iter().filter(|other| other.app_id == *app_id);
                    let waiting: Vec<_> = same_app.map(|other| other.secret).collect();
                    self.store(&new, &waiting).await?;
                    return Ok(message::acknowledgement(rule.format));
                }
            }
        }
        Err(refused.map_or(InboxError::UnknownApplication, InboxError::Refused))
    }

    async fn store(&self, new: &NewTicket, waiting: &[SecretId]) -> Result<(), DbError> {
        self.database
            .write(|transaction, _| {
                Box::pin(async move {
                    if store::store(transaction, new).await? {
                        tokens::wake_waiting(transaction, waiting, new.received_at).await?;
                    }
                    Ok::<_, DbError>(())
                })
            })
            .await?;
        tracing::info!(realm = %new.realm, "a ticket was pushed");
        self.wake.notify_one();
        Ok(())
    }

    /// The applications of a realm's secrets. One that cannot be told has no ticket.
    async fn applications(
        &self,
        realm: &RealmId,
        document: &ProviderDocument,
        rule: &TicketRule,
    ) -> Result<Vec<Application>, DbError> {
        let rows = secrets::list_in(self.database.reader(), realm, APPLICATIONS_MAX).await?;
        let opened = rows
            .into_iter()
            .filter_map(|row| Secret::open(row, &self.ring).ok());
        let application = |secret: Secret| {
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
        };
        Ok(opened.filter_map(application).collect())
    }
}
