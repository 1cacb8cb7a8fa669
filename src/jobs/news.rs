//! Tells open pages of the console what has changed.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::job::{Job, PassOutcome, Trigger};
use crate::console::news::{LOOKED_UP_MAX, Newsroom};
use crate::foundation::database::{Database, DbError};

/// What has changed by then is told together.
const TOLD_EVERY: Duration = Duration::from_millis(250);
/// A database that does not answer by then is asked anew; pages are told to load again.
const LOOKING_MAX: Duration = Duration::from_secs(10);
const DOING: &str = "looking up what has changed";

pub struct TellNews {
    newsroom: Arc<Newsroom>,
    database: Database,
}

impl TellNews {
    pub fn new(newsroom: Arc<Newsroom>, database: Database) -> Self {
        Self { newsroom, database }
    }
}

#[async_trait]
impl Job for TellNews {
    fn name(&self) -> &'static str {
        "news"
    }

    fn trigger(&self) -> Trigger {
        Trigger::Every(TOLD_EVERY)
    }

    /// Secrets looked up at once.
    fn limit(&self) -> u64 {
        LOOKED_UP_MAX as u64
    }

    fn timeout(&self) -> Option<Duration> {
        Some(LOOKING_MAX)
    }

    fn gave_up(&self) {
        self.newsroom.missed_some();
        self.database
            .failed(&DbError::Unanswered(LOOKING_MAX), DOING);
    }

    async fn pass(&self) -> PassOutcome {
        match self.newsroom.pass().await {
            Ok(true) => PassOutcome::Done,
            Ok(false) => PassOutcome::Idle,
            Err(error) => {
                self.database.failed(&error, DOING);
                PassOutcome::Failed
            }
        }
    }
}
