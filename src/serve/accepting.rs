//! Accepts connections, as many as there may be. Beyond, whoever has kept the server waiting
//! longest makes room. Where the system gives no connection, nothing spins.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use poem::Endpoint;
use poem::web::RemoteAddr;
use rustix::io::Errno;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::connections::{Connections, Told, WaitingConnection};
use super::http::Http;
use crate::foundation::clock::SharedClock;
use crate::foundation::metrics::Metrics;
use crate::foundation::seldom::Seldom;

/// How long accepting pauses after a failure; twice as long after each more, up to the longest.
const PAUSE: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// Where every request is worked on, it is looked again for who may make room.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// Of so many connections one is looked for ahead, so that a flood does not go through all of them
/// for each of its own.
const ONE_AHEAD_OF: usize = 64;
const AHEAD_MAX: usize = 64;
/// Where descriptors have run out, so many connections are closed at once: renewals need some.
const FREED: usize = 32;

pub struct Accepting<E> {
    listener: TcpListener,
    http: Arc<Http<E>>,
    connections: Arc<Connections>,
    /// The most connections.
    max: usize,
    clock: SharedClock,
    metrics: Arc<Metrics>,
    /// Who makes room next, the last first.
    ahead: Vec<WaitingConnection>,
    pause: Duration,
    failed: Seldom,
    full: Seldom,
}

impl<E: Endpoint + 'static> Accepting<E> {
    pub fn new(
        listener: TcpListener,
        http: Http<E>,
        max: usize,
        clock: SharedClock,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            listener,
            http: Arc::new(http),
            connections: Arc::new(Connections::new(metrics.connections.clone())),
            max,
            clock,
            metrics,
            ahead: Vec::new(),
            pause: PAUSE,
            failed: Seldom::default(),
            full: Seldom::default(),
        }
    }

    /// Accepts until it is to stop; then what is under way may take the grace time.
    pub async fn run(mut self, stopping: CancellationToken, grace: Duration) {
        let _ = stopping.run_until_cancelled(self.accept()).await;
        let connections = self.connections.clone();
        // Closes the listener.
        drop(self);
        connections.tell_all(Told::Finish);
        let finished = connections.all_ended();
        if tokio::time::timeout(grace, finished).await.is_err() {
            connections.tell_all(Told::End);
            connections.all_ended().await;
        }
    }

    async fn accept(&mut self) {
        loop {
            match self.listener.accept().await {
                Ok((stream, remote)) => {
                    self.pause = PAUSE;
                    self.make_room().await;
                    self.serve(stream, RemoteAddr(remote.into()));
                }
                Err(error) => self.wait_after(&error).await,
            }
        }
    }

    fn serve(&self, stream: TcpStream, remote: RemoteAddr) {
        let slot = self.connections.add(self.clock.boot());
        tokio::spawn(self.http.clone().serve(stream, remote, slot));
    }

    /// Waits until there is room for one more.
    async fn make_room(&mut self) {
        while self.connections.count() >= self.max {
            if self.ask_one() {
                let now = self.clock.boot();
                if let Some(connections) = self.full.count(now) {
                    tracing::warn!(
                        connections,
                        max_connections = self.max,
                        "all connections were in use, so those that had kept the server waiting longest were closed for new ones; see http.max_connections"
                    );
                }
            }
            let ended = self.connections.one_ended();
            let _ = tokio::time::timeout(LOOK_AGAIN, ended).await;
        }
    }

    /// Asks whoever has kept the server waiting longest to end; false where nobody has.
    fn ask_one(&mut self) -> bool {
        while let Some(candidate) = self.ahead.pop() {
            if candidate.ask() {
                return true;
            }
        }
        let ahead = (self.max / ONE_AHEAD_OF).clamp(1, AHEAD_MAX);
        let now = self.clock.boot();
        self.ahead = self.connections.longest_waiting(now, ahead);
        self.ahead.pop().is_some_and(|candidate| candidate.ask())
    }

    async fn wait_after(&mut self, error: &io::Error) {
        self.metrics.accept_failures.inc();
        if is_out_of_descriptors(error) {
            let now = self.clock.boot();
            for candidate in self.connections.longest_waiting(now, FREED) {
                candidate.ask();
            }
        }
        if let Some(failures) = self.failed.count(self.clock.boot()) {
            tracing::warn!(
                %error,
                failures,
                "connections cannot be accepted; if these are too many open files, raise that limit (ulimit -Hn) or lower http.max_connections"
            );
        }
        sleep(self.pause).await;
        self.pause = (self.pause * 2).min(PAUSE_MAX);
    }
}

fn is_out_of_descriptors(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::MFILE | Errno::NFILE)
    )
}
