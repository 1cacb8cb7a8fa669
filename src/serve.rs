//! Runs the server: HTTP, the sweep, the jobs; stops them in order.

mod accepting;
mod capacity;
mod connected;
mod connection;
mod connections;
mod frames;
mod http;
mod secured;
mod turn;

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::access::address_rates::AddressRates;
use crate::access::audit::{EarlierNoter, HeadSigner};
use crate::api;
use crate::app::App;
use crate::foundation::descriptors;
use crate::foundation::server_tls::{ServerTls, TlsFault};
use crate::jobs::audit_heads::AuditHeads;
use crate::jobs::certificates::Certificates;
use crate::jobs::delivery::Delivery;
use crate::jobs::follow::Follow;
use crate::jobs::job::{Job, PassOutcome};
use crate::jobs::maintenance::Maintenance;
use crate::jobs::news::TellNews;
use crate::jobs::sealed::SealedCheckJob;
use crate::jobs::sweep::Sweep;
use crate::jobs::{Jobs, JobsError};
use crate::memory::follower::Follower;
use crate::renewal::RenewalTrigger;
use accepting::Accepting;
use capacity::{Places, TooManyConnections};
use http::Http;
use secured::{SecuredBy, hsts};

/// Why the server does not run.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("http.listen: {address} cannot be listened on: {source}")]
    Listen {
        address: SocketAddr,
        source: std::io::Error,
    },
    #[error(transparent)]
    Jobs(#[from] JobsError),
    #[error(transparent)]
    Connections(#[from] TooManyConnections),
    #[error(transparent)]
    Tls(#[from] TlsFault),
}

/// A running server.
pub struct Running {
    app: App,
    address: SocketAddr,
    stopping: CancellationToken,
    http: JoinHandle<()>,
    jobs: Jobs,
}

/// Starts everything; answers once requests are accepted.
pub async fn start(app: App) -> Result<Running, ServeError> {
    let listen = app.settings.http.listen;
    let cannot_listen = |source| ServeError::Listen {
        address: listen,
        source,
    };
    let tls = secured_by(&app)?;
    let places = Places::new(&app.settings, descriptors::limit())?;
    let listener = TcpListener::bind(listen).await.map_err(cannot_listen)?;
    let address = listener.local_addr().map_err(cannot_listen)?;
    let jobs = Jobs::start(jobs_of(&app, tls.as_ref())).await?;
    let stopping = CancellationToken::new();
    let http = tokio::spawn({
        let (clock, metrics) = (app.clock.clone(), app.metrics.clone());
        let settings = &app.settings.http;
        let routes = api::routes(app.clone());
        let http = Http::new(routes, settings, tls, clock.clone(), metrics.clone());
        let proxies = settings.trusted_proxies.clone();
        Accepting::new(listener, http, places, proxies, clock, metrics)
            .run(stopping.clone(), settings.grace.as_duration())
    });
    Ok(Running {
        address,
        app,
        stopping,
        http,
        jobs,
    })
}

/// TLS towards callers, if there is any.
fn secured_by(app: &App) -> Result<Option<SecuredBy>, TlsFault> {
    let Some(settings) = &app.settings.http.tls else {
        return Ok(None);
    };
    let tls = Arc::new(ServerTls::load(settings.files.clone())?);
    app.metrics.certificate_ends(tls.ends());
    Ok(Some(SecuredBy {
        tls,
        hsts: settings.hsts_s.and_then(hsts),
        clients: settings.clients.clone(),
        rates: Arc::new(AddressRates::new(settings.handshake_rate)),
        clock: app.clock.clone(),
    }))
}

/// Everything that is done in the background.
fn jobs_of(app: &App, tls: Option<&SecuredBy>) -> Vec<Arc<dyn Job>> {
    let maintenance = &app.settings.maintenance;
    let mut jobs: Vec<Arc<dyn Job>> = match app.renewals.trigger() {
        RenewalTrigger::Sweep => {
            vec![Arc::new(Sweep::new(app.renewals.clone(), app.wake.clone()))]
        }
        RenewalTrigger::Requests { .. } => Vec::new(),
    };
    let others: [Arc<dyn Job>; 4] = [
        Arc::new(Follow::new(
            Follower::new(app.memory.clone()),
            app.database.clone(),
        )),
        Arc::new(TellNews::new(app.newsroom.clone(), app.database.clone())),
        Arc::new(Maintenance::new(
            app.database.clone(),
            app.audit.clone(),
            app.clock.clone(),
            maintenance.clone(),
        )),
        Arc::new(SealedCheckJob::new(
            app.renewals.clone(),
            app.clock.clone(),
            maintenance.check_sealed_every,
        )),
    ];
    jobs.extend(others);
    let signer = HeadSigner::new(app.database.clone(), app.audit.clone(), app.clock.clone());
    let noter = EarlierNoter::new(app.database.clone(), app.audit.clone(), app.clock.clone());
    let heads = AuditHeads::new(signer, noter, app.database.clone(), app.clock.clone());
    jobs.push(Arc::new(heads));
    if let Some(secured) = tls {
        let (tls, clock) = (secured.tls.clone(), app.clock.clone());
        let certificates = Certificates::new(tls, clock, app.metrics.clone());
        jobs.push(Arc::new(certificates));
    }
    if let Some(sinks) = &app.audit_sinks {
        jobs.push(sinks.clone());
    }
    if let Some(delivery_worker) = &app.delivery_worker {
        jobs.push(Arc::new(Delivery::new(delivery_worker.clone())));
    }
    jobs
}

impl Running {
    /// Where requests are accepted; tells the port where 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The name of each background job, and how its last pass ended.
    pub fn jobs(&self) -> Vec<(&'static str, PassOutcome)> {
        self.jobs.last_outcomes()
    }

    pub fn app(&self) -> &App {
        &self.app
    }

    /// Accepts nothing new, finishes what is under way within the grace time, gives back
    /// leases, closes the database.
    pub async fn stop(mut self) {
        self.jobs.begin_none().await;
        self.app.watchers.close();
        self.app.event_streams.close();
        self.stopping.cancel();
        let grace = self.app.settings.http.grace;
        let (http, ()) = tokio::join!(self.http, self.app.renewals.stop(grace));
        self.app.requests.close();
        let finished = self.app.requests.wait();
        if tokio::time::timeout(grace.as_duration(), finished)
            .await
            .is_err()
        {
            tracing::warn!(name: "http.unfinished", "requests did not end within the grace time");
        }
        if http.is_err() {
            tracing::warn!(
                name: "http.accepting_ended",
                "accepting connections ended before its time"
            );
        }
        self.jobs.stop();
        self.app.close().await;
    }
}
