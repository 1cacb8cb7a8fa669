//! Renewals and readers together, beside something else or without it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::Size;
use crate::kit::TestDatabase;
use crate::kit::process::ServerProcess;
use crate::load::{self, Connecting, Load, token_request};
use crate::report::Runs;
use crate::stock;
use crate::world::{self, Provider, key_name, none_left, realm_name};

const PROVIDER_DELAY: Duration = Duration::from_millis(50);
const LIFETIME_S: i64 = 7200;
/// The default pace of a realm is 50 a second.
const REALMS: usize = 16;
/// Readers ask so often altogether: what is beside them takes its time, and they are no load.
const READS_A_SECOND: f64 = 500.0;
const READERS: usize = 20;

/// What was measured beside something, or without it.
#[derive(Default)]
pub struct Side {
    pub renewals: Runs,
    pub p99: Runs,
    pub errors: u64,
}

/// Tokens that become due, and their readers.
pub struct Traffic {
    pub provider: Provider,
    load: Load,
    due_at_once: i64,
}

impl Traffic {
    /// Registers secrets with a server. So many tokens become due at once, ten times a second.
    pub async fn of(
        server: &ServerProcess,
        database: &TestDatabase,
        size: &Size,
        due_at_once: i64,
    ) -> Self {
        let provider = Provider::start(PROVIDER_DELAY, LIFETIME_S).await;
        let (client, url) = (&server.client, provider.url());
        world::register(database, client, &url, REALMS, size.beside).await;
        let key = world::reading_key(client).await;
        let request = |number| token_request(&realm_name(number % REALMS), &key_name(number), &key);
        let load = Load {
            address: server.address,
            connecting: Connecting::Plain,
            requests: (0..size.beside).map(request).collect(),
            connections: READERS,
            duration: 2 * size.one_run,
            rate: Some(READS_A_SECOND),
            check: Arc::new(|_| true),
        };
        Self {
            provider,
            load,
            due_at_once,
        }
    }

    /// Readers, and renewals that become due at a rate, until all of them are made.
    pub async fn measure(
        &mut self,
        server: &ServerProcess,
        database: &TestDatabase,
        side: &mut Side,
    ) {
        self.load.address = server.address;
        let (before, begun) = (self.provider.answered(), Instant::now());
        let end = begun + self.load.duration;
        let (mut seen, ()) = tokio::join!(
            load::run(&self.load),
            stock::make_due(database, end, self.due_at_once)
        );
        none_left(database, "renew_at = 0").await;
        let renewed = self.provider.answered() - before;
        side.renewals
            .push(renewed as f64 / begun.elapsed().as_secs_f64());
        side.p99.push(seen.percentile(0.99));
        side.errors += seen.errors;
    }
}
