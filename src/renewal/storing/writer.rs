//! What an attempt brought, on its way to the database: with what other attempts brought where
//! nothing is in the way, else alone.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};

use super::batch::BatchWriter;
use super::new::{NewResult, Put};
use super::transaction::{store_in, stored_before};
use crate::foundation::clock::SharedClock;
use crate::foundation::database::{Database, DbError};
use crate::foundation::metrics::Metrics;
use crate::foundation::randomness::Randomness;
use crate::foundation::sealing::KeyRing;
use crate::renewal::background::Background;
use crate::renewal::candidates::PairKeeper;
use crate::renewal::history;
use crate::token::candidate::Candidate;
use crate::token::claim::Claimed;
use crate::token::lease;
use crate::token::locked::Busy;

/// A commit that takes longer is not waited for before the spool is written.
const SPOOLED_AFTER: Duration = Duration::from_millis(500);

/// What a [`ResultWriter`] can touch.
pub(in crate::renewal) struct ResultWriterParts {
    pub database: Database,
    pub clock: SharedClock,
    pub ring: Arc<KeyRing>,
    pub randomness: Randomness,
    pub metrics: Arc<Metrics>,
    pub pairs: Arc<PairKeeper>,
    pub background: Background,
}

/// Brings results to the database.
pub(in crate::renewal) struct ResultWriter {
    parts: ResultWriterParts,
    batch: Arc<BatchWriter>,
}

impl ResultWriter {
    pub(in crate::renewal) fn new(parts: ResultWriterParts) -> Self {
        let batch = BatchWriter::new(
            parts.database.clone(),
            parts.clock.clone(),
            parts.ring.clone(),
            parts.randomness.clone(),
            parts.metrics.clone(),
            parts.background.clone(),
        );
        Self {
            parts,
            batch: Arc::new(batch),
        }
    }

    /// A result is not thrown away because the database hiccups: as long as the lease
    /// lasts, nobody else will fetch one. At the first hiccup, or when the database takes
    /// its time, what must not be lost is written to the spool.
    async fn until_lease_ends<T, Fut>(
        &self,
        claimed: &Claimed,
        candidate: Option<&Candidate>,
        mut store: impl FnMut() -> Fut,
    ) -> Result<T, DbError>
    where
        Fut: Future<Output = Result<T, DbError>>,
    {
        let mut spooled = false;
        {
            let mut first = pin!(store());
            let stored = match tokio::time::timeout(SPOOLED_AFTER, &mut first).await {
                Ok(stored) => stored,
                Err(_elapsed) => {
                    if let Some(candidate) = candidate {
                        spooled = self.parts.pairs.spool(candidate).await;
                    }
                    first.await
                }
            };
            match stored {
                Ok(stored) => return Ok(stored),
                Err(error) => {
                    tracing::warn!(
                        name: "renewal.result_not_stored",
                        %error, "a result could not be stored; it is tried again"
                    );
                }
            }
        }
        if let Some(candidate) = candidate.filter(|_| !spooled) {
            self.parts.pairs.spool(candidate).await;
        }
        store
            .retry(
                ExponentialBuilder::default()
                    .with_min_delay(Duration::from_millis(50))
                    .with_max_delay(Duration::from_secs(1))
                    .without_max_times()
                    .with_jitter(),
            )
            .when(|_| self.parts.clock.now() < claimed.until)
            .await
    }

    /// Brings a result to the database for as long as its lease lasts.
    pub(super) async fn bring(
        &self,
        claimed: &Arc<Claimed>,
        new: &NewResult,
        candidate: Option<&Candidate>,
    ) -> Result<Put, DbError> {
        let mut among_others = true;
        self.until_lease_ends(claimed, candidate, || {
            // What was in the way of one try is not to be in the way of others again.
            let among_others = std::mem::take(&mut among_others);
            self.put(claimed, new, candidate, among_others)
        })
        .await
    }

    async fn put(
        &self,
        claimed: &Arc<Claimed>,
        new: &NewResult,
        candidate: Option<&Candidate>,
        among_others: bool,
    ) -> Result<Put, DbError> {
        if among_others && let Some(generation) = self.batch.store_among_others(claimed, new).await
        {
            return Ok(Put::Stored(generation));
        }
        self.put_alone(claimed, new, candidate).await
    }

    /// All in one transaction: where the fence has moved, what must not be dropped is kept by
    /// the very commit that finds it so.
    async fn put_alone(
        &self,
        claimed: &Claimed,
        new: &NewResult,
        candidate: Option<&Candidate>,
    ) -> Result<Put, DbError> {
        let now = self.parts.clock.now();
        let put = self
            .parts
            .database
            .write(|transaction, _| {
                Box::pin(async move {
                    let result = [(claimed, new)];
                    let stored = store_in(
                        transaction,
                        &result,
                        Busy::Await,
                        now,
                        (&*self.parts.ring, &self.parts.randomness),
                    )
                    .await?;
                    if let [Some(generation)] = stored[..] {
                        return Ok(Put::Stored(generation));
                    }
                    if let Some(generation) = stored_before(transaction, claimed, new).await? {
                        return Ok(Put::Stored(generation));
                    }
                    history::append(transaction, &[new.ended(None)]).await?;
                    lease::release_at_risk(transaction, claimed, new.risk()).await?;
                    let put = match candidate {
                        Some(candidate) => Put::Kept(
                            self.parts
                                .pairs
                                .keep_in(transaction, candidate, now)
                                .await?,
                        ),
                        None => Put::Refused,
                    };
                    Ok::<_, DbError>(put)
                })
            })
            .await?;
        self.parts.metrics.result_transactions.inc();
        Ok(put)
    }
}
