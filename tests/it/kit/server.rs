//! A server within the test's own process, on a port of its own.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use token_server::app::App;
use token_server::config::{Env, Settings};
use token_server::foundation::clock::{EpochMs, ManualClock, SharedClock, SystemClock};
use token_server::foundation::randomness::Randomness;
use token_server::jobs::job::PassOutcome;
use token_server::serve::{self, Running};
use token_server::upstream::egress::Resolver;

pub use super::client::{ADMIN_KEY, Client, Reply};
use super::{TestDatabase, eventually};

pub const SEALING_KEYS: &str = "test:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";

/// What a server is configured with, beside the test's database.
#[derive(Clone, Default)]
pub struct Options {
    pub env: Vec<(&'static str, String)>,
    /// A file, beside the environment.
    pub file: Option<PathBuf>,
    pub clock: Option<SharedClock>,
    /// Where names lead, and whom TLS trusts; absent: the system's.
    pub internet: Option<(Arc<dyn Resolver>, CertificateDer<'static>)>,
}

impl Options {
    /// Of a server that gives callers, and a provider that is held, all the time they take.
    pub fn patient() -> Self {
        Self::default().with(&[
            ("TOKEN_SERVER__READ__MAX_WAIT_S", "600"),
            ("TOKEN_SERVER__UPSTREAM__TIMEOUT_S", "600"),
        ])
    }

    pub fn with(mut self, more: &[(&'static str, &str)]) -> Self {
        let more = more
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()));
        self.env.extend(more);
        self
    }
}

pub struct Server {
    running: Running,
    pub client: Client,
}

impl Server {
    pub async fn start(database: &TestDatabase) -> Self {
        Self::start_with(database, Options::default()).await
    }

    pub async fn start_with(database: &TestDatabase, options: Options) -> Self {
        let app = Self::opened(database, options).await;
        let running = Box::pin(serve::start(app))
            .await
            .expect("the server starts");
        let client = Client::new(format!("http://{}", running.address()));
        Self { running, client }
    }

    /// All that a server is made of, before it serves and sweeps.
    pub async fn opened(database: &TestDatabase, options: Options) -> App {
        super::log_events::note_own();
        let mut env = environment(database, &options.env);
        if options.clock.is_some() {
            // A clock of the test's own agrees with no database, and a pace needs one that
            // runs. Connections outlive its steps: one that were closed for them might be so
            // while the test's next request is on its way.
            for (name, value) in [
                ("RENEWAL__MAX_SKEW_MS", "0"),
                ("RENEWAL__REALM_RATE", "1000000"),
                ("HTTP__HEADER_TIMEOUT_S", "4000000000"),
                ("HTTP__IDLE_TIMEOUT_S", "4000000000"),
                ("HTTP__REQUEST_TIMEOUT_S", "4000000000"),
            ] {
                env.entry(format!("TOKEN_SERVER__{name}"))
                    .or_insert_with(|| value.to_owned());
            }
        }
        let settings = Settings::load(options.file.as_deref(), &env);
        let mut settings = settings.expect("the test's configuration is good");
        if let Some((names, authority)) = options.internet {
            settings.upstream.names = names;
            settings.upstream.authorities = vec![authority];
        }
        let clock = options.clock.unwrap_or_else(|| Arc::new(SystemClock));
        let randomness = Randomness::from_system().expect("the system has randomness");
        let app = Box::pin(App::open(settings, clock, randomness))
            .await
            .expect("the server opens its database");
        app.ensure_admin_key()
            .await
            .expect("the administrator's key is stored");
        app
    }

    /// With more in its environment.
    pub async fn with_env(database: &TestDatabase, env: &[(&'static str, &str)]) -> Self {
        Self::start_with(database, Options::default().with(env)).await
    }

    /// On a clock that stands still until the test moves it.
    pub async fn on_manual_clock(database: &TestDatabase) -> (Self, Arc<ManualClock>) {
        Self::on_manual_clock_with(database, Options::default()).await
    }

    pub async fn on_manual_clock_with(
        database: &TestDatabase,
        options: Options,
    ) -> (Self, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::at(EpochMs(1_700_000_000_000)));
        let options = Options {
            clock: Some(clock.clone()),
            ..options
        };
        (Self::start_with(database, options).await, clock)
    }

    /// The background jobs, and how the last pass of each ended.
    pub fn jobs(&self) -> Vec<(&'static str, PassOutcome)> {
        self.running.jobs()
    }

    pub fn app(&self) -> &App {
        self.running.app()
    }

    pub fn address(&self) -> SocketAddr {
        self.running.address()
    }

    /// Waits until no attempt is under way: what was committed is remembered by then, too.
    pub async fn settled(&self) {
        let in_flight = &self.app().metrics.in_flight;
        eventually("no attempt is under way", async || {
            (in_flight.get() == 0).then_some(())
        })
        .await;
    }

    /// Waits until so many callers wait for a token to be fetched: they have joined the flight.
    pub async fn readers_waiting(&self, count: i64) {
        let waiting = &self.app().metrics.readers_waiting;
        eventually(&format!("{count} callers wait"), async || {
            (waiting.get() == count).then_some(())
        })
        .await;
    }

    /// Waits until a sweep has looked for what is due as it is now.
    pub async fn sweeps(&self) {
        let sweeps = &self.app().metrics.sweeps;
        let before = sweeps.get();
        eventually("a sweep", async || {
            // The first may have been under way before.
            (sweeps.get() >= before + 2).then_some(())
        })
        .await;
    }

    /// Waits until the feed of changes was read to its end, from its beginning as it is now.
    pub async fn follows(&self) {
        let followed = &self.app().metrics.followed;
        let before = followed.get();
        eventually("the feed is followed", async || {
            // The first may have been under way before.
            (followed.get() >= before + 2).then_some(())
        })
        .await;
    }

    pub async fn stop(self) {
        self.running.stop().await;
    }
}

/// The environment of a server for tests.
pub fn environment(database: &TestDatabase, more: &[(&'static str, String)]) -> Env {
    let mut env: HashMap<String, String> = [
        ("DATABASE_URL", database.url.clone()),
        (
            "TOKEN_SERVER__DATA_DIR",
            database.directory.path().display().to_string(),
        ),
        ("TOKEN_SERVER__HTTP__LISTEN", "127.0.0.1:0".to_owned()),
        ("TOKEN_SERVER__ADMIN_KEY", ADMIN_KEY.to_owned()),
        // Tests of these tries ask for them; the others are not to wait for them.
        ("TOKEN_SERVER__RENEWAL__TRIES_AFTER_SAVE_S", "0".to_owned()),
        ("TOKEN_SERVER__SEALING__KEYS", SEALING_KEYS.to_owned()),
        // On a busy machine a transaction takes its time.
        (
            "TOKEN_SERVER__DATABASE__WRITE_TIMEOUT_MS",
            "60000".to_owned(),
        ),
        // Tests of it ask for it; the others call as often as they like.
        ("TOKEN_SERVER__ACCESS__ADDRESS_RATE", "0".to_owned()),
        (
            "TOKEN_SERVER__UPSTREAM__ALLOWED_NETWORKS",
            "127.0.0.0/8".to_owned(),
        ),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect();
    env.extend(
        more.iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone())),
    );
    env
}
