//! What others have under way in the scope of a run: waited for, or taken over.

use super::{LOOKS_EVERY, Progress, RunScope, RunSummary, Runner};
use crate::foundation::database::DbError;
use crate::foundation::ids::{Fence, SecretId};
use crate::token::suspect::Suspect;

impl Runner {
    /// Waits until every lease that others hold now was given back, and takes over those whose
    /// holder went silent. Answers whether there was any.
    pub(super) async fn wait_for_others(
        &self,
        scope: &RunScope,
        progress: &dyn Progress,
        summary: &mut RunSummary,
    ) -> Result<bool, DbError> {
        let claims = &self.parts.claims;
        let (suspects, mut abandoned) = self.held(scope).await?;
        let mut held: Vec<(SecretId, Fence)> = suspects.iter().map(|s| (s.id, s.fence)).collect();
        let any = !held.is_empty();
        while !held.is_empty() {
            for suspect in abandoned {
                if scope.stop.is_cancelled() {
                    return Ok(any);
                }
                let timeout = claims.timeout(&suspect).await?;
                if !scope.can_end(self.parts.clock.machine(), timeout) {
                    // Nobody waits for it; the others are looked after.
                    held.retain(|(id, fence)| (*id, *fence) != (suspect.id, suspect.fence));
                    continue;
                }
                if let Some(claimed) = claims.take_over(&suspect, timeout).await? {
                    progress.found(1);
                    let realm = claimed.record.realm.clone();
                    let permit = self.parts.permits.take_one(&realm, usize::MAX).await;
                    self.attempt_all(vec![(claimed, permit)], progress, summary)
                        .await;
                }
            }
            tokio::select! {
                () = scope.stop.cancelled() => return Ok(any),
                () = tokio::time::sleep(LOOKS_EVERY) => {}
            }
            let suspects;
            (suspects, abandoned) = self.held(scope).await?;
            held.retain(|(id, fence)| suspects.iter().any(|s| s.id == *id && s.fence == *fence));
        }
        Ok(any)
    }

    /// The leases that are held in scope, and those of them that may be taken over. All are watched:
    /// the sweep, and runs of other realms, have the same watch.
    pub(super) async fn held(
        &self,
        scope: &RunScope,
    ) -> Result<(Vec<Suspect>, Vec<Suspect>), DbError> {
        let claims = &self.parts.claims;
        let all = claims.suspects(None).await?;
        let mut abandoned = claims.abandoned(&all);
        let held = match &scope.realm {
            None => all,
            realm => claims.suspects(realm.as_ref()).await?,
        };
        abandoned.retain(|suspect| held.contains(suspect));
        Ok((held, abandoned))
    }
}
