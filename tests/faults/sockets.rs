//! More sockets than the server may open files: tokens are renewed as if there were none, and
//! `/healthz` answers.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::json;
use token_server::foundation::clock::{Clock, EpochMs, Ms, SystemClock, Timeline};
use token_server::foundation::descriptors;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::kit::process::ServerProcess;
use crate::kit::server::Client;
use crate::kit::{PATIENCE, TestDatabase, eventually, on_every_database};
use crate::provider::{Exchange, Reuse, RotatingProvider};
use crate::scene::{register, rotating_realm};

on_every_database! { alone:
    half_open_connections_beyond_the_soft_limit_stop_no_renewal,
    half_open_connections_beyond_the_hard_limit_stop_no_renewal,
    where_descriptors_run_out_nothing_spins_and_it_goes_on_afterwards,
}

/// As seen: so many, and no renewal went out any more.
const SOCKETS: usize = 1100;
const HALF: &[u8] = b"GET /healthz HTTP/1.1\r\nHost:";
const WHOLE: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
const TOKENS: usize = 60;
const LIFETIME_S: i64 = 8;
const LIFETIME: Ms = Ms::from_secs(LIFETIME_S);
/// From then on a token is due.
const DUE: Ms = Ms(LIFETIME.0 / 2);
/// Until then it is renewed in time: the sweep comes each second, and the token has still life left.
const IN_TIME: Ms = Ms(LIFETIME.0 * 3 / 4);
/// A phase, calm or under attack, ends when each token was renewed so often in it.
const RENEWALS: usize = 3;
/// A socket that was closed is opened again after so long.
const AGAIN: Duration = Duration::from_secs(2);
/// Those of the sockets, as many again that the system has not taken back yet, and the rest of the
/// tests.
const DESCRIPTORS: u64 = 4096;

async fn half_open_connections_beyond_the_soft_limit_stop_no_renewal(database: TestDatabase) {
    let scene = Scene::begin(database, "ulimit -Sn 1024").await;
    let (calm, attacked) = scene.attacked().await;
    compare(&calm, &attacked);
    // The limit was raised: all of them are open, and none had to make room.
    assert!(attacked.most_open >= SOCKETS, "{attacked:?}");
    assert_eq!(attacked.log, Vec::<String>::new());
}

async fn half_open_connections_beyond_the_hard_limit_stop_no_renewal(database: TestDatabase) {
    let scene = Scene::begin(database, "ulimit -Sn 1024 && ulimit -Hn 1024").await;
    let (calm, attacked) = scene.attacked().await;
    compare(&calm, &attacked);
    assert!(attacked.most_open < 1024, "{attacked:?}");
    // The reserve is never touched: descriptors do not run out.
    let failures = "token_server_http_accept_failures_total";
    assert_eq!(scene.metric(failures).await, 0);
    let full = r#"token_server_http_connections_closed_total{reason="full"}"#;
    assert!(scene.metric(full).await > 100);
    // At least one line says so, and one a minute at most.
    let minutes = usize::try_from(attacked.logged_for.0 / 60_000).expect("a short time");
    let lines = attacked.log.len();
    assert!((1..=1 + minutes).contains(&lines), "{:#?}", attacked.log);
}

async fn where_descriptors_run_out_nothing_spins_and_it_goes_on_afterwards(database: TestDatabase) {
    let scene = Scene::begin(database, "ulimit -Sn 1024").await;
    scene.server.logged();
    let before = scene.limit_descriptors(3);
    let begun = SystemClock.now();
    let waiting = tokio::spawn(healthy(scene.server.address));
    // The pauses have grown to their longest.
    let mut log = Vec::new();
    eventually("a few attempts to accept", async || {
        log.extend(scene.server.logged());
        (SystemClock.now().since(begun) > Ms::from_secs(5)).then_some(())
    })
    .await;
    scene.limit_descriptors(before);
    waiting.await.expect("it is answered");
    log.extend(scene.server.logged());
    let failures = scene
        .metric("token_server_http_accept_failures_total")
        .await;
    // 0.1 + 0.2 + 0.4 + 0.8 s, and then one a second.
    let most = 4 + SystemClock.now().since(begun).0 / 1000;
    assert!((2..=most).contains(&failures), "{failures} of {most}");
    let told = log
        .iter()
        .filter(|line| line.contains("cannot be accepted"));
    assert_eq!(told.count(), 1, "{log:#?}");
}

/// A server, and tokens that are renewed often.
struct Scene {
    server: ServerProcess,
    provider: RotatingProvider,
    _database: TestDatabase,
}

/// What happened in a while.
#[derive(Debug)]
struct Phase {
    took: Ms,
    /// How often a token became due, and how often one of those was renewed in time.
    due: usize,
    in_time: usize,
    /// The longest time between two renewals of one token.
    longest: Ms,
    /// Of the server's process, in milliseconds.
    cpu: u64,
    answered: usize,
    most_open: usize,
    /// Lines about connections, and how long they were gathered.
    log: Vec<String>,
    logged_for: Ms,
}

fn compare(calm: &Phase, attacked: &Phase) {
    assert!(calm.longest < LIFETIME, "{calm:?}");
    assert!(attacked.longest < LIFETIME, "{attacked:?}");
    // Each of them more than once.
    assert!(
        calm.due > TOKENS && attacked.due > TOKENS,
        "{calm:?} {attacked:?}"
    );
    let (calmly, under_attack) = (calm.in_time * attacked.due, attacked.in_time * calm.due);
    assert!(
        calmly > 0 && under_attack * 100 >= calmly * 95,
        "{calm:?} {attacked:?}"
    );
    assert!(attacked.answered > 0, "{attacked:?}");
    // Less than half a core for them all; it was nearly a whole one that did nothing but spin.
    let most = calm.cpu + u64::try_from(attacked.took.0).expect("a time") / 2;
    assert!(attacked.cpu < most, "{calm:?} {attacked:?}");
}

impl Scene {
    async fn begin(database: TestDatabase, limits: &str) -> Self {
        descriptors::raise();
        assert!(
            descriptors::limit() >= DESCRIPTORS,
            "this test needs {DESCRIPTORS} descriptors of its own: raise the hard limit (ulimit -Hn)"
        );
        // All these sockets have one address.
        let any = (
            "TOKEN_SERVER__HTTP__ADDRESS_CONNECTIONS_PERCENT",
            "0".to_owned(),
        );
        let server = ServerProcess::start_limited(&database, &[any], limits);
        let provider = RotatingProvider::start(Reuse::EndsFamily, LIFETIME_S).await;
        let mut realm = rotating_realm(&provider);
        realm["policy"]["timeout_s"] = json!(5);
        realm["policy"]["renew_before_s"] = json!(LIFETIME_S / 2);
        server.client.save_realm("r", realm).await;
        for number in 0..TOKENS {
            register(&server.client, &format!("k{number}")).await;
        }
        let scene = Self {
            server,
            provider,
            _database: database,
        };
        // Their first renewals are drawn apart; all others are due at half of a life.
        scene.all_renewed(2).await;
        scene
    }

    /// Waits until each token was renewed so often.
    async fn all_renewed(&self, times: usize) {
        eventually("all are renewed", async || {
            let renewed = times_of(&self.provider.log());
            let enough = renewed.values().filter(|of_one| of_one.len() >= times);
            (enough.count() == TOKENS).then_some(())
        })
        .await;
    }

    /// A calm while, and one with the sockets.
    async fn attacked(&self) -> (Phase, Phase) {
        let calm = self.phase(SystemClock.now()).await;
        let begun = SystemClock.now();
        let open = Arc::new(AtomicUsize::new(0));
        let attackers: Vec<_> = (0..SOCKETS)
            .map(|_| hold(self.server.address, open.clone()))
            .collect();
        eventually("they have connected", async || {
            (open.load(Ordering::Relaxed) >= SOCKETS).then_some(())
        })
        .await;
        let attacked = self.phase(begun).await;
        for attacker in attackers {
            attacker.abort();
        }
        // The last renewal of each lies behind both: what lies before is known.
        let renewed = times_of(&self.provider.log()).values().map(Vec::len).max();
        self.all_renewed(renewed.expect("some were renewed") + 1)
            .await;
        let log = self.provider.log();
        (calm.counted(&log), attacked.counted(&log))
    }

    /// Looks on meanwhile. What was logged before counts, too.
    async fn phase(&self, logged_since: EpochMs) -> Watched {
        let (begun, cpu) = (SystemClock.now(), cpu_of(&self.server));
        let mut watched = Watched {
            begun,
            ended: begun,
            cpu: 0,
            answered: 0,
            most_open: 0,
            log: Vec::new(),
            logged_since,
        };
        eventually("each token is renewed some times", async || {
            healthy(self.server.address).await;
            watched.answered += 1;
            let open = self.metric("token_server_http_connections").await;
            let open = usize::try_from(open).expect("a number of connections");
            watched.most_open = watched.most_open.max(open);
            let times = times_of(&self.provider.log());
            let enough = times.values().filter(|of_one| {
                let lately = of_one.iter().filter(|at| **at >= begun);
                lately.count() >= RENEWALS
            });
            (enough.count() == TOKENS).then_some(())
        })
        .await;
        watched.ended = SystemClock.now();
        watched.cpu = cpu_of(&self.server) - cpu;
        let about = |line: &String| line.contains("connections");
        watched.log = self.server.logged().into_iter().filter(about).collect();
        watched
    }

    /// A number of the metrics; 0 where there is none yet.
    async fn metric(&self, name: &str) -> i64 {
        // On a connection of its own: an idle one may be closed for the sockets as it is used.
        let unkept = reqwest::Client::builder()
            .no_proxy()
            .pool_max_idle_per_host(0);
        let unkept = unkept.build().expect("a client can be made");
        let client = Client::over(unkept, format!("http://{}", self.server.address));
        let page = client.get("/metrics").await.expect(200).text;
        let mut lines = page.lines().filter_map(|line| line.rsplit_once(' '));
        let value = lines.find(|(of, _)| *of == name);
        value.map_or(0, |(_, value)| value.parse().expect("a number"))
    }

    /// Sets the server's soft limit; answers what it was.
    fn limit_descriptors(&self, to: u64) -> u64 {
        let pid = i32::try_from(self.server.pid())
            .ok()
            .and_then(Pid::from_raw);
        let limits = Rlimit {
            current: Some(to),
            maximum: Some(descriptors::limit()),
        };
        let before = prlimit(pid, Resource::Nofile, limits);
        let before = before.expect("the limit can be set");
        before.current.expect("there was a limit")
    }
}

/// A while, before the renewals in it are counted.
struct Watched {
    begun: EpochMs,
    ended: EpochMs,
    cpu: u64,
    answered: usize,
    most_open: usize,
    log: Vec<String>,
    logged_since: EpochMs,
}

impl Watched {
    fn counted(self, log: &[Exchange]) -> Phase {
        let (mut due, mut in_time, mut longest) = (0, 0, Ms::ZERO);
        for times in times_of(log).values() {
            for pair in times.windows(2) {
                if (self.begun..self.ended).contains(&pair[0].plus(DUE)) {
                    let apart = pair[1].since(pair[0]);
                    longest = longest.max(apart);
                    due += 1;
                    in_time += usize::from(apart <= IN_TIME);
                }
            }
        }
        Phase {
            took: self.ended.since(self.begun),
            due,
            in_time,
            longest,
            cpu: self.cpu,
            answered: self.answered,
            most_open: self.most_open,
            log: self.log,
            logged_for: self.ended.since(self.logged_since),
        }
    }
}

/// When each token was renewed.
fn times_of(log: &[Exchange]) -> HashMap<String, Vec<EpochMs>> {
    let mut times = HashMap::<_, Vec<_>>::new();
    for exchange in log {
        let of_one = times.entry(exchange.client.clone()).or_default();
        of_one.push(exchange.at);
    }
    times
}

/// Holds a connection with half a request, again and again.
fn hold(address: SocketAddr, open: Arc<AtomicUsize>) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut pace = interval(AGAIN);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            pace.tick().await;
            if let Ok(mut connection) = TcpStream::connect(address).await {
                open.fetch_add(1, Ordering::Relaxed);
                let _ = connection.write_all(HALF).await;
                let _ = connection.read_to_end(&mut Vec::new()).await;
            }
        }
    })
}

/// A new connection asks for `/healthz` and is answered.
async fn healthy(address: SocketAddr) {
    let answered = async {
        let mut connection = TcpStream::connect(address).await?;
        connection.write_all(WHOLE).await?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    let answer = timeout(PATIENCE, answered).await;
    let answer = answer.expect("it answers in time").expect("it answers");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
}

/// What the process has used of the processor so far, in milliseconds.
fn cpu_of(server: &ServerProcess) -> u64 {
    let file = format!("/proc/{}/stat", server.pid());
    let text = std::fs::read_to_string(file).expect("the process lives");
    // After the name, which may hold blanks: the state, and 10 more; then utime and stime.
    let (_, rest) = text.rsplit_once(')').expect("a name");
    let used = rest.split_whitespace().skip(11).take(2);
    let ticks: u64 = used
        .map(|ticks| ticks.parse::<u64>().expect("a number"))
        .sum();
    ticks * 1000 / rustix::param::clock_ticks_per_second()
}
