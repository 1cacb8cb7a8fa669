//! The stored token, as it is served.

use std::sync::Arc;

use secrecy::SecretString;

use super::Reads;
use super::served::{RETRY_LATER, RETRY_SOON, ReadError, Served, TokenSource, unavailable};
use super::wording::REALM_UNREADABLE;
use crate::foundation::clock::EpochMs;
use crate::realm::failure::FailureClass;
use crate::realm::{Realm, Source};
use crate::renewal::damage::Remedy;
use crate::secret::{Secret, store as secrets};
use crate::token::{HeldToken, TokenRecord};

impl Reads {
    /// The stored token if it can be served, marked as not what was asked for.
    pub(super) async fn stored_or(
        &self,
        record: &TokenRecord,
        refused: ReadError,
    ) -> Result<Served, ReadError> {
        match self.stored(record, self.clock.now()).await? {
            Some(served) => Ok(Served {
                stale: true,
                ..served
            }),
            None => Err(refused),
        }
    }

    /// The stored token; none where there is none that is valid, or where it is damaged.
    pub(super) async fn stored(
        &self,
        record: &TokenRecord,
        now: EpochMs,
    ) -> Result<Option<Served>, ReadError> {
        // Nobody is served an older one after this.
        self.memory.seen(record);
        let Some(held) = record.valid(now) else {
            return Ok(None);
        };
        let opened = record.open_extra(held, &self.ring);
        let Some(extra) = self.damage.unless_damaged::<_, ReadError>(opened).await? else {
            return Ok(None);
        };
        let opened = record.open_served(held, &self.ring);
        let token = match self.damage.unless_damaged::<_, ReadError>(opened).await? {
            Some(Some(token)) => Some(token),
            Some(None) => self.rendered_now(record, held, &extra).await?,
            None => None,
        };
        Ok(token.map(|token| Served {
            secret: record.secret_id,
            expires_in: held.payload.expiry.left(now),
            payload: held.payload.opened(token, extra),
            generation: record.generation,
            tag: held.tag(record.secret_id, record.generation),
            source: TokenSource::Database,
            stale: false,
            flushed: None,
        }))
    }

    /// Renders a token that is served anew on each read; none where it is damaged.
    async fn rendered_now(
        &self,
        record: &TokenRecord,
        held: &HeldToken,
        extra: &serde_json::Value,
    ) -> Result<Option<SecretString>, ReadError> {
        let opened = record.open_token(held, &self.ring);
        let Some(token) = self.damage.unless_damaged::<_, ReadError>(opened).await? else {
            return Ok(None);
        };
        let realm = self.realm_of(record).await?;
        let Source::Provider(document) = &realm.source else {
            return Ok(Some(token));
        };
        let row = self
            .database
            .read_with_retry(|reader| secrets::find(reader, &record.realm, &record.key))
            .await?
            .ok_or(ReadError::UnknownSecret)?;
        let opened = Secret::open(row, &self.ring);
        let secret = self
            .damage
            .unless_lost::<_, ReadError>(opened, Remedy::Params)
            .await?;
        self.upstream
            .served(document, &secret.params, &token, extra)
            .map(Some)
            .map_err(|failure| unavailable(Some(failure.class), &failure.detail, RETRY_LATER))
    }

    pub(super) async fn realm_of(&self, record: &TokenRecord) -> Result<Arc<Realm>, ReadError> {
        self.realms
            .load(&record.realm)
            .await?
            .ok_or_else(|| unavailable(Some(FailureClass::Internal), REALM_UNREADABLE, RETRY_SOON))
    }
}
