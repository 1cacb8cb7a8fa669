//! Runs the server: HTTP, the sweep, the jobs; stops them in order.

mod accepting;
mod capacity;
mod connection;
mod connections;
mod frames;
mod http;

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::api;
use crate::app::App;
use crate::foundation::descriptors;
use crate::jobs::maintenance::Maintenance;
use crate::jobs::sealed::SealedCheck;
use crate::jobs::{Jobs, JobsError, Wakes};
use accepting::Accepting;
use capacity::{TooManyConnections, max_connections};
use http::Http;

/// Why the server does not run.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("http.listen: {address} cannot be listened on: {source}")]
    Listen {
        address: SocketAddr,
        source: std::io::Error,
    },
    #[error("maintenance.schedule {0}")]
    Jobs(#[from] JobsError),
    #[error(transparent)]
    Connections(#[from] TooManyConnections),
}

/// A running server.
pub struct Running {
    app: App,
    address: SocketAddr,
    stopping: CancellationToken,
    http: JoinHandle<()>,
    maintenance: JoinHandle<()>,
    sealed_check: JoinHandle<()>,
    follower: JoinHandle<()>,
    /// None where there is no webhook.
    courier: Option<JoinHandle<()>>,
    jobs: Jobs,
}

/// Starts everything; answers once requests are accepted.
pub async fn start(app: App) -> Result<Running, ServeError> {
    let listen = app.settings.http.listen;
    let cannot_listen = |source| ServeError::Listen {
        address: listen,
        source,
    };
    let max_connections = max_connections(&app.settings, descriptors::limit())?;
    let listener = TcpListener::bind(listen).await.map_err(cannot_listen)?;
    let address = listener.local_addr().map_err(cannot_listen)?;
    let wakes = Wakes {
        sweep: app.wake.clone(),
        courier: Arc::new(Notify::new()),
        maintenance: Arc::new(Notify::new()),
        sealed_check: Arc::new(Notify::new()),
    };
    let jobs = Jobs::start(&wakes, &app.settings.maintenance.schedule).await?;
    let maintenance = tokio::spawn({
        let maintenance = Maintenance {
            database: app.database.clone(),
            clock: app.clock.clone(),
            settings: app.settings.maintenance.clone(),
        };
        async move { maintenance.work_when_woken(&wakes.maintenance).await }
    });
    let sealed_check = tokio::spawn({
        let check = SealedCheck {
            renewals: app.renewals.clone(),
            clock: app.clock.clone(),
            every: app.settings.maintenance.check_sealed_every,
        };
        async move { check.work_when_woken(&wakes.sealed_check).await }
    });
    let courier = app.courier.clone().map(|courier| {
        let wake = wakes.courier.clone();
        tokio::spawn(async move { courier.work_when_woken(&wake).await })
    });
    app.renewals.start_sweeping();
    let stopping = CancellationToken::new();
    let follower = tokio::spawn({
        let (memory, stopping) = (app.memory.clone(), stopping.clone());
        async move { memory.follow(stopping).await }
    });
    let http = tokio::spawn({
        let (clock, metrics) = (app.clock.clone(), app.metrics.clone());
        let settings = &app.settings.http;
        let routes = api::routes(app.clone());
        let http = Http::new(routes, settings, clock.clone(), metrics.clone());
        Accepting::new(listener, http, max_connections, clock, metrics)
            .run(stopping.clone(), settings.grace.as_duration())
    });
    Ok(Running {
        address,
        app,
        stopping,
        http,
        maintenance,
        sealed_check,
        follower,
        courier,
        jobs,
    })
}

impl Running {
    /// Where requests are accepted; tells the port where 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn app(&self) -> &App {
        &self.app
    }

    /// Accepts nothing new, finishes what is under way within the grace time, gives back
    /// leases, closes the database.
    pub async fn stop(self) {
        self.jobs.stop().await;
        self.stopping.cancel();
        let grace = self.app.settings.http.grace;
        let (http, ()) = tokio::join!(self.http, self.app.renewals.stop(grace));
        self.app.requests.close();
        let finished = self.app.requests.wait();
        if tokio::time::timeout(grace.as_duration(), finished)
            .await
            .is_err()
        {
            tracing::warn!("requests did not end within the grace time");
        }
        if http.is_err() {
            tracing::warn!("accepting connections ended before its time");
        }
        self.maintenance.abort();
        self.sealed_check.abort();
        self.follower.abort();
        if let Some(courier) = self.courier {
            courier.abort();
        }
        self.app.close().await;
    }
}
