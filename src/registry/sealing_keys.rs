//! Sealing keys: rotated while servers run, and given up for lost.

use std::time::Duration;

use sea_orm::DbErr;
use serde_json::json;

use super::{Actor, Changed, Registry};
use crate::access::audit::Change;
use crate::access::issuer::store as issuers;
use crate::access::store as api_keys;
use crate::feed::{self, FeedChange};
use crate::foundation::database::{Abort, DbError};
use crate::foundation::ids::SecretId;
use crate::foundation::sealing::Resealed;
use crate::foundation::sealing_choice::{LackingServer, lacking_one};
use crate::foundation::sealing_keys::{self, KeyUse};
use crate::realm::store as realms;
use crate::secret::store as secrets;
use crate::ticket::store as tickets;
use crate::token::resealing as tokens;

/// Between two passes: other servers take the new key meanwhile.
const PASS_EVERY: Duration = Duration::from_secs(1);
/// Servers follow within a second, and one that was away within half a minute.
const PASSES_MAX: u32 = 60;

/// What came of a rotation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rotated {
    pub sealed_anew: u64,
    /// How many values each registered key has now.
    pub uses: Vec<KeyUse>,
}

/// Why no server seals with a key.
#[derive(Debug, thiserror::Error)]
pub enum RotateError {
    #[error("this server lacks the key")]
    LackedHere,
    #[error("servers that run lack the key")]
    LackedBy(Vec<LackingServer>),
    #[error(transparent)]
    Database(#[from] DbError),
}

impl From<DbErr> for RotateError {
    fn from(error: DbErr) -> Self {
        Self::Database(error.into())
    }
}

impl Abort for RotateError {
    fn failure(&self) -> Option<&DbError> {
        match self {
            Self::LackedHere | Self::LackedBy(_) => None,
            Self::Database(error) => Some(error),
        }
    }
}

/// What there may be too much of for one transaction.
#[derive(Clone, Copy)]
enum Paged {
    Secrets,
    Tokens,
}

impl Registry {
    /// Has all servers seal with a key, and seals everything that is stored with it. To do it again
    /// goes on where it was cut off.
    ///
    /// # Errors
    ///
    /// Also where this server or another that runs lacks the key: then nothing is changed.
    pub async fn rotate_sealing_key(
        &self,
        key_id: &str,
        by: &Actor,
        mut told: impl FnMut(Resealed),
    ) -> Result<Rotated, RotateError> {
        if !self.ring.key_ids().any(|id| id == key_id) {
            return Err(RotateError::LackedHere);
        }
        let before = self.ring.sealing_id().to_owned();
        let now = self.clock.now();
        let (before, ring) = (&before, &*self.ring);
        self.database
            .write(|transaction, _| {
                Box::pin(async move {
                    let lacking = lacking_one(transaction, ring, key_id, now).await?;
                    if !lacking.is_empty() {
                        return Err(RotateError::LackedBy(lacking));
                    }
                    sealing_keys::set_sealing(transaction, ring, key_id, now).await?;
                    feed::append(transaction, &[FeedChange::SealingKey]).await?;
                    let changed = Changed {
                        action: "sealing_key.rotate",
                        target: key_id.to_owned(),
                        change: Change {
                            before: Some(json!({"sealing_key": before})),
                            after: Some(json!({"sealing_key": key_id})),
                        },
                    };
                    self.audit_change(transaction, by, changed, now).await?;
                    Ok(())
                })
            })
            .await?;
        self.ring.seal_with(key_id);
        let mut sealed_anew = 0;
        let mut passes = 0;
        loop {
            passes += 1;
            let resealed = self.reseal_all().await?;
            sealed_anew += resealed.values;
            told(resealed);
            let reader = self.database.reader();
            let ids = sealing_keys::registered(reader).await?;
            let uses = sealing_keys::uses(reader, ids).await?;
            let others = uses.iter().filter(|key| key.key_id != key_id);
            let left: u64 = others.map(|key| key.values).sum();
            // What does not open is not sealed anew however often that is tried.
            if left <= resealed.closed || passes == PASSES_MAX {
                return Ok(Rotated { sealed_anew, uses });
            }
            tokio::time::sleep(PASS_EVERY).await;
        }
    }

    async fn reseal_all(&self) -> Result<Resealed, DbError> {
        let (database, ring) = (&self.database, &*self.ring);
        let mut all = Resealed::default();
        all += database
            .write_alone(|writer| realms::reseal(writer, ring))
            .await?;
        all += database
            .write_alone(|writer| api_keys::reseal(writer, ring))
            .await?;
        all += database
            .write_alone(|writer| issuers::reseal(writer, ring))
            .await?;
        all += database
            .write_alone(|writer| tickets::reseal(writer, ring))
            .await?;
        all += database
            .write_alone(|writer| tokens::reseal_candidates(writer, ring))
            .await?;
        all += database
            .write_alone(|writer| self.audit.reseal(writer))
            .await?;
        for paged in [Paged::Secrets, Paged::Tokens] {
            let mut after = Some(SecretId(i64::MIN));
            while let Some(place) = after {
                let page = database.write(|transaction, _| {
                    Box::pin(async move {
                        let mut counts = Resealed::default();
                        let last = match paged {
                            Paged::Secrets => {
                                secrets::reseal_after(transaction, ring, place, &mut counts).await
                            }
                            Paged::Tokens => {
                                tokens::reseal_after(transaction, ring, place, &mut counts).await
                            }
                        };
                        Ok::<_, DbError>((last?, counts))
                    })
                });
                let (last, resealed) = page.await?;
                after = last;
                all += resealed;
            }
        }
        Ok(all)
    }
}
