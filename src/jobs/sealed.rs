//! Looks, now and then, for stored values that were damaged.

use std::sync::Arc;

use tokio::sync::Notify;

use crate::foundation::clock::{Ms, SharedClock};
use crate::renewal::Renewals;

pub struct SealedCheck {
    pub renewals: Renewals,
    pub clock: SharedClock,
    /// From the start of one look to that of the next; zero: none.
    pub every: Ms,
}

impl SealedCheck {
    /// Works when woken and due; ends by being dropped. The first look is as long after the
    /// start: a server that starts has other things to do.
    pub async fn work_when_woken(&self, wake: &Arc<Notify>) {
        let mut begun = self.clock.boot();
        loop {
            wake.notified().await;
            let now = self.clock.boot();
            if self.every == Ms::ZERO || now.since(begun) < self.every {
                continue;
            }
            begun = now;
            match self.renewals.check_sealed().await {
                Ok(found) if found.is_empty() => {}
                Ok(found) => tracing::warn!(
                    secrets = found.secrets,
                    damaged_values = found.damaged_values,
                    unknown_keys = found.unknown_keys,
                    made_due = found.made_due,
                    need_attention = found.need_attention,
                    "stored values cannot be opened"
                ),
                Err(error) => {
                    tracing::error!(%error, "what is sealed could not be looked at");
                }
            }
        }
    }
}
