//! Follows the feed of changes, for what is in memory.

use std::time::Duration;

use async_trait::async_trait;

use super::job::{Job, PassOutcome, Trigger};
use crate::foundation::database::{Database, DbError};
use crate::memory::follower::{Follower, PAGE};

const FOLLOWED_EVERY: Duration = Duration::from_millis(250);
/// A database that does not answer by then is asked anew, from the beginning.
const FOLLOWING_MAX: Duration = Duration::from_secs(10);
const DOING: &str = "following the feed of changes";

pub struct Follow {
    follower: Follower,
    database: Database,
}

impl Follow {
    pub fn new(follower: Follower, database: Database) -> Self {
        Self { follower, database }
    }
}

#[async_trait]
impl Job for Follow {
    fn name(&self) -> &'static str {
        "follow"
    }

    fn trigger(&self) -> Trigger {
        Trigger::Every(FOLLOWED_EVERY)
    }

    /// Entries read at once.
    fn limit(&self) -> u64 {
        PAGE
    }

    fn timeout(&self) -> Option<Duration> {
        Some(FOLLOWING_MAX)
    }

    fn gave_up(&self) {
        self.database
            .failed(&DbError::Unanswered(FOLLOWING_MAX), DOING);
    }

    async fn pass(&self) -> PassOutcome {
        match self.follower.follow().await {
            Ok(()) => {
                self.database.answered();
                PassOutcome::Done
            }
            Err(error) => {
                self.database.failed(&error, DOING);
                PassOutcome::Failed
            }
        }
    }
}
