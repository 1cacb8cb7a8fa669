//! Accepts connections, as many as there may be, and of each address a part of them. Beyond, whoever
//! has kept the server waiting longest makes room: of all, or of that address. Where the system gives
//! no connection, nothing spins.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use poem::Endpoint;
use poem::web::RemoteAddr;
use rustix::io::Errno;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::capacity::Places;
use super::connected::Told;
use super::connections::{Connections, WaitingConnection, Whose};
use super::http::Http;
use crate::access::address_rates::CallerAddress;
use crate::foundation::clock::{BootMs, Ms, SharedClock};
use crate::foundation::metrics::{ClosedLabels, Metrics};
use crate::foundation::seldom::Seldom;

/// How long accepting pauses after a failure; twice as long after each more, up to the longest.
const PAUSE: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// Where every request is worked on, it is looked again for who may make room.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// Of so many connections one is looked for ahead, so that a flood does not go through all of them
/// for each of its own.
const ONE_AHEAD_OF: usize = 16;
const AHEAD_MAX: usize = 512;
/// So long they are the ones that have waited longest: whoever comes meanwhile has waited less, but
/// goes first a second later where it has sent no request.
const AHEAD_FOR: Ms = Ms(250);
/// Addresses of which some are looked for ahead.
const ADDRESSES_AHEAD_MAX: usize = 64;
/// Where descriptors have run out, so many connections are closed at once: renewals need some.
const FREED: usize = 32;

pub struct Accepting<E> {
    listener: TcpListener,
    http: Arc<Http<E>>,
    connections: Arc<Connections>,
    places: Places,
    /// They bring many callers: their addresses are nobody's.
    proxies: Vec<IpNet>,
    clock: SharedClock,
    metrics: Arc<Metrics>,
    ahead: HashMap<Whose, Ahead>,
    pause: Duration,
    failed: Seldom,
    full: Seldom,
    address_full: Seldom,
}

/// Who makes room next.
struct Ahead {
    found_at: BootMs,
    /// The last first.
    waiting: Vec<WaitingConnection>,
}

impl Ahead {
    /// Asks the next to end; false where none is left that still waits.
    fn ask_one(&mut self) -> bool {
        while let Some(candidate) = self.waiting.pop() {
            if candidate.ask() {
                return true;
            }
        }
        false
    }
}

impl<E: Endpoint + 'static> Accepting<E> {
    pub fn new(
        listener: TcpListener,
        http: Http<E>,
        places: Places,
        proxies: Vec<IpNet>,
        clock: SharedClock,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            listener,
            http: Arc::new(http),
            connections: Arc::new(Connections::new(metrics.connections.clone())),
            places,
            proxies,
            clock,
            metrics,
            ahead: HashMap::new(),
            pause: PAUSE,
            failed: Seldom::default(),
            full: Seldom::default(),
            address_full: Seldom::default(),
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
                    let address = self.address(remote.ip());
                    if self.has_place(address).await {
                        self.make_room().await;
                        self.serve(stream, RemoteAddr(remote.into()), address);
                    }
                }
                Err(error) => self.wait_after(&error).await,
            }
        }
    }

    /// Whose connection it is; none where it is a proxy's.
    fn address(&self, peer: IpAddr) -> Option<CallerAddress> {
        let peer = peer.to_canonical();
        let is_proxy = self.proxies.iter().any(|network| network.contains(&peer));
        (!is_proxy).then(|| CallerAddress::of(peer))
    }

    fn serve(&self, stream: TcpStream, remote: RemoteAddr, address: Option<CallerAddress>) {
        let slot = self.connections.add(address, self.clock.boot());
        tokio::spawn(self.http.clone().serve(stream, remote, slot));
    }

    /// Waits until there is room for one more.
    async fn make_room(&mut self) {
        let max = self.places.max;
        while self.connections.count(Whose::Everybody) >= max {
            if self.ask_one(Whose::Everybody) {
                let now = self.clock.boot();
                if let Some(connections) = self.full.count(now) {
                    tracing::warn!(
                        name: "http.connections_full",
                        connections,
                        max_connections = max,
                        "all connections were in use, so those that had kept the server waiting longest were closed for new ones; see http.max_connections"
                    );
                }
            }
            self.wait_for_place(Whose::Everybody, max).await;
        }
    }

    /// Whether an address may have one more connection, once another of its own has made room. Where
    /// all of them are worked on, nobody else waits for that.
    async fn has_place(&mut self, address: Option<CallerAddress>) -> bool {
        let (Some(address), Some(max)) = (address, self.places.of_address) else {
            return true;
        };
        let whose = Whose::Of(address);
        while self.connections.count(whose) >= max {
            let asked = self.ask_one(whose);
            if let Some(connections) = self.address_full.count(self.clock.boot()) {
                tracing::warn!(
                    name: "http.address_connections_full",
                    connections,
                    %address,
                    address_connections = max,
                    "an address had as many connections as one may have, so some of its own were closed for new ones; see http.address_connections_percent, and http.trusted_proxies if it is a proxy's"
                );
            }
            if !asked {
                let labels = ClosedLabels { reason: "address" };
                self.metrics.connections_closed.get_or_create(&labels).inc();
                return false;
            }
            self.wait_for_place(whose, max).await;
        }
        true
    }

    /// Waits until who was asked has ended, for a while.
    async fn wait_for_place(&self, whose: Whose, max: usize) {
        let below = async {
            while self.connections.count(whose) >= max {
                self.connections.one_ended().await;
            }
        };
        let _ = tokio::time::timeout(LOOK_AGAIN, below).await;
    }

    /// Asks whoever of these has kept the server waiting longest to end; false where nobody has.
    fn ask_one(&mut self, whose: Whose) -> bool {
        if self.ahead.len() > ADDRESSES_AHEAD_MAX {
            self.ahead.clear();
        }
        let now = self.clock.boot();
        if let Some(ahead) = self.ahead.get_mut(&whose)
            && now.since(ahead.found_at) < AHEAD_FOR
            && ahead.ask_one()
        {
            return true;
        }
        let count = (self.places.max / ONE_AHEAD_OF).clamp(1, AHEAD_MAX);
        let mut ahead = Ahead {
            found_at: now,
            waiting: self.connections.longest_waiting(whose, now, count),
        };
        let asked = ahead.ask_one();
        self.ahead.insert(whose, ahead);
        asked
    }

    async fn wait_after(&mut self, error: &io::Error) {
        self.metrics.accept_failures.inc();
        if is_out_of_descriptors(error) {
            let now = self.clock.boot();
            for candidate in self
                .connections
                .longest_waiting(Whose::Everybody, now, FREED)
            {
                candidate.ask();
            }
        }
        if let Some(failures) = self.failed.count(self.clock.boot()) {
            tracing::warn!(
                name: "http.accept_failed",
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

#[cfg(test)]
mod tests {
    use poem::endpoint::make_sync;

    use super::*;
    use crate::config::{Env, Settings};
    use crate::foundation::clock::{Clock, EpochMs, ManualClock};

    async fn accepting(clock: SharedClock, places: Places) -> Accepting<impl Endpoint + 'static> {
        let settings = Settings::load(None, &Env::new()).unwrap();
        let metrics = Arc::new(Metrics::new(1));
        let endpoint = make_sync(|_| ());
        let http = Http::new(
            endpoint,
            &settings.http,
            None,
            clock.clone(),
            metrics.clone(),
        );
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Accepting::new(listener, http, places, Vec::new(), clock, metrics)
    }

    #[tokio::test]
    async fn no_number_of_addresses_takes_more_memory_than_the_limit() {
        let places = Places {
            max: 10,
            of_address: Some(1),
        };
        let clock = Arc::new(ManualClock::at(EpochMs(0)));
        let mut accepting = accepting(clock, places).await;
        for number in 0..1000 {
            let address = CallerAddress::of(IpAddr::V4(u32::into(number)));
            assert!(!accepting.ask_one(Whose::Of(address)));
            assert!(accepting.ahead.len() <= ADDRESSES_AHEAD_MAX + 1);
        }
    }

    #[tokio::test]
    async fn who_was_found_to_make_room_is_not_asked_once_another_should_be() {
        let places = Places {
            max: 2 * ONE_AHEAD_OF,
            of_address: None,
        };
        let clock = Arc::new(ManualClock::at(EpochMs(0)));
        let mut accepting = accepting(clock.clone(), places).await;
        let connections = accepting.connections.clone();
        let idle = [(); 2].map(|()| {
            let slot = connections.add(None, clock.boot());
            slot.connected.begin();
            slot.connected.end(clock.boot(), true);
            clock.advance(Ms(1));
            slot
        });
        let silent = connections.add(None, clock.boot());
        // Finds the second, too.
        assert!(accepting.ask_one(Whose::Everybody));
        assert!(!idle[0].connected.listens());
        clock.advance(Ms::from_secs(1));
        assert!(accepting.ask_one(Whose::Everybody));
        assert!(!silent.connected.listens());
        assert!(idle[1].connected.listens());
    }
}
