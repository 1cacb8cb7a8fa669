//! Tokens that end when the provider issues the next (`policy.revokes_previous`): while that is
//! under way, readers wait for it, instead of being given a token that is about to die.

use super::{Ask, ReadError};
use crate::foundation::database::DbError;
use crate::renewal::Renewals;
use crate::renewal::flight::Landed;
use crate::token::TokenRecord;

/// What a reader reads, after it may have waited.
pub(super) enum Waited {
    /// Nothing is under way any more: the row as it is.
    Ended(TokenRecord),
    /// The renewal takes longer than a reader waits.
    InVain(TokenRecord),
}

impl Renewals {
    /// Whether the stored token is one that the next ends. It is not remembered: no replica
    /// would know in time that another renews it.
    pub(in crate::renewal) async fn ends_with_the_next(
        &self,
        record: &TokenRecord,
    ) -> Result<bool, DbError> {
        let realm = self.load_realm(&record.realm).await?;
        Ok(realm.is_some_and(|realm| realm.source.policy().revokes_previous))
    }

    /// Waits, for `read.max_wait_s` at most, while somebody renews the token.
    pub(super) async fn after_renewal(
        &self,
        ask: &Ask,
        record: TokenRecord,
    ) -> Result<Waited, ReadError> {
        if record.lease.is_none() {
            return Ok(Waited::Ended(record));
        }
        Ok(match self.under_way(&record).await {
            Landed::Elsewhere(now) => Waited::Ended(*now),
            Landed::StillWaiting => Waited::InVain(record),
            Landed::Fetched(_)
            | Landed::Failed { .. }
            | Landed::Waiting(_)
            | Landed::Spent(_)
            | Landed::Sealed(_)
            | Landed::Void
            | Landed::DatabaseFailed => Waited::Ended(self.find(ask).await?),
        })
    }
}
