//! A server on a clock of the test's own that is scraped each minute.

use std::sync::Arc;
use std::time::Duration;

use sea_orm::{ConnectionTrait, Statement};
use token_server::foundation::clock::{Clock, EpochMs, ManualClock, Ms};

use crate::kit::promtool::Scrapes;
use crate::kit::server::{Client, Options};
use crate::kit::{Server, TestDatabase, eventually};

const MINUTE: Ms = Ms::from_secs(60);
/// What something that hangs is given to go on after all, each minute.
const GIVEN: Duration = Duration::from_millis(200);

pub struct Watched {
    pub server: Server,
    pub clock: Arc<ManualClock>,
    pub scrapes: Scrapes,
}

impl Watched {
    pub async fn start(database: &TestDatabase) -> Self {
        Self::start_with(database, Vec::new()).await
    }

    pub async fn start_with(database: &TestDatabase, env: Vec<(&'static str, String)>) -> Self {
        let clock = Arc::new(ManualClock::at(EpochMs(1_700_000_000_000)));
        let options = Options {
            clock: Some(clock.clone()),
            env,
            ..Options::default()
        };
        let server = Server::start_with(database, options).await;
        let scrapes = Scrapes::begun_at(clock.now());
        Self {
            server,
            clock,
            scrapes,
        }
    }

    pub fn client(&self) -> Client {
        self.server.client.clone()
    }

    /// Some minutes, in each of which all that is due is done.
    pub async fn lives(&mut self, minutes: usize) {
        for _ in 0..minutes {
            self.clock.advance(MINUTE);
            self.settles().await;
            self.scrape().await;
        }
    }

    /// The same where something hangs: nothing is waited for.
    pub async fn stands(&mut self, minutes: usize) {
        for _ in 0..minutes {
            self.clock.advance(MINUTE);
            self.server.app().wake.notify_one();
            let _ = tokio::time::timeout(GIVEN, self.settles()).await;
            self.scrape().await;
        }
    }

    /// Two sweeps, of which the second began after now, and what they set off.
    async fn settles(&self) {
        let app = self.server.app();
        let swept = app.metrics.sweeps.get();
        eventually("two sweeps", async || {
            app.wake.notify_one();
            (app.metrics.sweeps.get() >= swept + 2).then_some(())
        })
        .await;
        let reader = app.database.reader();
        let held = "SELECT COUNT(*) FROM ts_token WHERE lease_owner IS NOT NULL";
        eventually("nothing is under way", async || {
            let held = Statement::from_string(reader.get_database_backend(), held);
            let row = reader.query_one_raw(held).await.ok()??;
            let held: i64 = row.try_get_by_index(0).ok()?;
            (held == 0 && app.metrics.in_flight.get() == 0).then_some(())
        })
        .await;
    }

    /// What is remembered is as it was before the clock leapt: a follower to whom it looks as if
    /// nobody had followed for a while forgets all.
    pub async fn followed(&self) {
        let followed = &self.server.app().metrics.followed;
        let before = followed.get();
        eventually("the feed is followed", async || {
            (followed.get() >= before + 2).then_some(())
        })
        .await;
    }

    /// What was asked while the database was away has come to its end, too.
    pub async fn database_is_up(&self) {
        eventually("the database is up", async || {
            let page = self.server.client.get("/metrics").await.expect(200).text;
            page.contains("token_server_database_up 1\n").then_some(())
        })
        .await;
    }

    async fn scrape(&mut self) {
        let page = self.server.client.get("/metrics").await.expect(200);
        self.scrapes.add(&page.text);
    }
}
