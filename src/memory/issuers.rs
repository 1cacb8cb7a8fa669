//! The issuers of JWTs, as they are registered: read once, and again when the feed says that
//! callers are to be forgotten, or when a while has passed.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use sea_orm::DbErr;
use token_server_entity::issuer;

use super::changes::MemoryChange;
use super::known_issuers::KnownIssuers;
use super::{COMPARING, Memory};
use crate::access::issuer::store::{self, Issuer, UnusableIssuer};
use crate::foundation::database::DbError;
use crate::foundation::limit::within;
use crate::foundation::metrics::DamageLabels;
use crate::foundation::sealing::Closed;

impl Memory {
    /// The issuers whose tokens are let in.
    ///
    /// # Errors
    /// Where the database cannot be asked, and what is remembered was confirmed too long ago.
    pub async fn issuers(&self) -> Result<Arc<KnownIssuers>, DbError> {
        if let Some(known) = self.good_issuers() {
            if !self.is_to_compare(&known.checked, false) {
                return Ok(known);
            }
            // They are good until something else is known.
            let reading = self.read_issuers(self.issuers.known());
            return match within(COMPARING, reading).await {
                Some(Ok(read)) => Ok(read),
                Some(Err(_)) | None => Ok(known),
            };
        }
        let _reading = self.issuers.reading.lock().await;
        if let Some(known) = self.good_issuers() {
            return Ok(known);
        }
        let before = self.issuers.known();
        self.database
            .read_with_retry(|_| self.read_issuers(before.clone()))
            .await
    }

    /// What is remembered and may be used without asking the database.
    fn good_issuers(&self) -> Option<Arc<KnownIssuers>> {
        let now = self.clock.moment();
        let is_good = |known: &Arc<KnownIssuers>| {
            known.forgotten == self.callers.times_forgotten()
                && self.is_trusted_since(known.read_at, now)
        };
        self.issuers.known().filter(is_good)
    }

    async fn read_issuers(
        &self,
        before: Option<Arc<KnownIssuers>>,
    ) -> Result<Arc<KnownIssuers>, DbErr> {
        let mut forgotten = self.callers.times_forgotten();
        let read_at = self.clock.boot();
        let rows = store::all(self.database.reader()).await?;
        if let Some(before) = &before
            && before.forgotten == forgotten
            && before.rows != rows
        {
            // The feed has not said so: somebody else wrote to the database, or it is late.
            forgotten = self.callers.forget_all();
            self.changes.tell(MemoryChange::Callers);
        }
        let mut by_claim = HashMap::new();
        for row in &rows {
            let same = |before: &Arc<KnownIssuers>| before.rows.contains(row);
            let is_known = before.as_ref().is_some_and(same);
            let kept = before.as_ref().and_then(|before| before.find(&row.issuer));
            let issuer = match kept.filter(|_| is_known) {
                Some(issuer) => issuer.clone(),
                None => match Issuer::from_row(row, &self.ring, &self.issuers.expressions) {
                    Ok(issuer) => Arc::new(issuer),
                    Err(why) => {
                        if !is_known {
                            self.tell_unusable(row, &why);
                        }
                        continue;
                    }
                },
            };
            by_claim.insert(row.issuer.clone(), issuer);
        }
        let known = Arc::new(KnownIssuers {
            forgotten,
            read_at,
            checked: AtomicI64::new(read_at.0),
            rows,
            by_claim,
        });
        self.issuers.remember(known.clone());
        Ok(known)
    }

    fn tell_unusable(&self, row: &issuer::Model, why: &UnusableIssuer) {
        let (table, column) = ("ts_issuer", "mac");
        match why {
            UnusableIssuer::NotAuthentic(error) => {
                if let Closed::UnknownKey(_) = error.why {
                    tracing::error!(
                        name: "issuer.of_another_server",
                        %error,
                        "an issuer lets nobody in that another server registered: put the sealing key into sealing.keys"
                    );
                    return;
                }
                tracing::error!(
                    name: "issuer.forged",
                    table, row = row.name, column, why = %error.why,
                    "an issuer lets nobody in: its row was not written by a token server; save it again, or delete it"
                );
                self.damaged_values
                    .get_or_create(&DamageLabels { table, column })
                    .inc();
            }
            UnusableIssuer::Unreadable => {
                tracing::warn!(
                    name: "issuer.unreadable",
                    table,
                    row = row.name,
                    "an issuer lets nobody in: its registration is not one that this version can read"
                );
            }
        }
    }
}
