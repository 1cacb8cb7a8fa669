//! Receives pushes: finds the secrets of the application, stores the ticket, and makes due
//! what waited for it. A push that nobody signed is refused in one way, whether it is for an
//! application that is here or not.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Notify, Semaphore};

use super::applications::{Application, Applications};
use super::message;
use super::push::{Push, PushFault, PushReply, Window};
use super::store::{self, NewTicket};
use super::trial::{Nobody, PushForm, Tried, tried};
use crate::foundation::clock::{EpochMs, Ms, SharedClock, Timeline};
use crate::foundation::database::{Database, DbError};
use crate::foundation::ids::{RealmId, SecretId};
use crate::foundation::randomness::Randomness;
use crate::foundation::sealing::KeyRing;
use crate::foundation::seldom::SeldomOfEach;
use crate::token::store as tokens;
use crate::upstream::Upstream;

/// Pushes handled at once: whoever sends them shows no key, and each costs decryption.
const AT_ONCE: usize = 4;

/// Limits on pushes.
#[derive(Clone, Copy, Debug)]
pub struct TicketSettings {
    /// How far a push's own date may lie from now.
    pub tolerance_s: u32,
    /// Secrets of one realm that a push may be for.
    pub applications_max: u64,
}

/// Why a push is not taken.
#[derive(Debug, thiserror::Error)]
pub enum InboxError {
    #[error("there is no realm of that name that takes tickets")]
    UnknownRealm,
    #[error("{0}")]
    Refused(#[from] PushFault),
    #[error("other pushes are being handled; send it again")]
    Busy,
    #[error(transparent)]
    Database(#[from] DbError),
}

#[derive(Clone)]
pub struct Inbox {
    database: Database,
    ring: Arc<KeyRing>,
    applications: Arc<Applications>,
    nobody: Arc<Nobody>,
    clock: SharedClock,
    settings: TicketSettings,
    wake: Arc<Notify>,
    places: Arc<Semaphore>,
    /// Pushes that were refused.
    refused: Arc<Mutex<SeldomOfEach<RealmId>>>,
}

impl Inbox {
    pub fn new(
        database: Database,
        ring: Arc<KeyRing>,
        upstream: Arc<Upstream>,
        clock: SharedClock,
        randomness: &Randomness,
        settings: TicketSettings,
        wake: Arc<Notify>,
    ) -> Self {
        Self {
            applications: Arc::new(Applications::new(
                database.clone(),
                ring.clone(),
                upstream,
                settings.applications_max,
            )),
            nobody: Arc::new(Nobody::new(randomness)),
            database,
            ring,
            clock,
            settings,
            wake,
            places: Arc::new(Semaphore::new(AT_ONCE)),
            refused: Arc::default(),
        }
    }

    /// Secrets that were opened for pushes so far.
    pub fn opened(&self) -> u64 {
        self.applications.opened()
    }

    /// Takes a push, or answers what the provider checks the URL by.
    pub async fn receive(&self, realm: &RealmId, push: &Push<'_>) -> Result<PushReply, InboxError> {
        let _place = self.places.try_acquire().map_err(|_| InboxError::Busy)?;
        let known = self.applications.of(realm).await?;
        let known = known.ok_or(InboxError::UnknownRealm)?;
        let rule = known.document().ticket.as_ref();
        let rule = rule.ok_or(InboxError::UnknownRealm)?;
        let form = PushForm::from(rule);
        let claimed = message::claimed_app_id(form.format, push)?;
        let is_meant = |application: &&Arc<Application>| {
            let claimed = claimed.as_ref();
            claimed.is_none_or(|claimed| application.app_id == *claimed)
        };
        let applications: Vec<_> = known.applications().filter(is_meant).cloned().collect();
        let now = self.clock.now();
        let window = Window {
            now_s: now.0.div_euclid(1000),
            tolerance_s: self.settings.tolerance_s,
        };
        let (candidates, nobody) = (applications.clone(), self.nobody.clone());
        let tried = tried(candidates, nobody, form, push.copied(), window).await;
        match tried.map_err(|_| InboxError::Busy)? {
            Tried::Answer(answer) => Ok(answer),
            Tried::Refused {
                fault,
                is_for_nobody,
            } => {
                self.tell_refused(realm, fault, is_for_nobody);
                Err(InboxError::Refused(fault))
            }
            Tried::Ticket {
                app_id,
                value,
                sent_at_s,
            } => {
                let new = NewTicket {
                    realm: realm.clone(),
                    value: super::seal(realm, &app_id, &value, &self.ring),
                    app_id,
                    sent_at: EpochMs(sent_at_s.saturating_mul(1000)),
                    received_at: now,
                    expires_at: now.plus(Ms::from_secs(rule.valid_s)),
                };
                let same_app = applications.iter();
                let same_app = same_app.filter(|other| other.app_id == new.app_id);
                let waiting: Vec<_> = same_app.map(|other| other.secret).collect();
                self.store(&new, &waiting).await?;
                Ok(message::acknowledgement(form.format))
            }
        }
    }

    /// Says why pushes to a realm are refused, once a minute. Who sent them is not told of whom there is here.
    fn tell_refused(&self, realm: &RealmId, fault: PushFault, is_for_nobody: bool) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(pushes) = refused.count(realm.clone(), self.clock.boot()) else {
            return;
        };
        if is_for_nobody {
            tracing::warn!(
                name: "ticket.of_no_secret",
                %realm, pushes,
                "a push is refused: no secret of the realm is of the application that it is for"
            );
        } else {
            tracing::warn!(name: "ticket.refused", %realm, %fault, pushes, "a push is refused");
        }
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
        tracing::info!(name: "ticket.pushed", realm = %new.realm, "a ticket was pushed");
        self.wake.notify_one();
        Ok(())
    }
}
