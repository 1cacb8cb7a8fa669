//! A flood without a key, from a process of its own and from several addresses: sockets with half a
//! request, denied calls at a rate, and pushes that nobody signed, one after the other.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use token_server::foundation::descriptors;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{MissedTickBehavior, interval};

/// The argument that makes this program that process.
pub const ARGUMENT: &str = "flood";

const HALF: &[u8] = b"GET /api/token?realm=r0&key=k0 HTTP/1.1\r\nHost:";
/// A socket that was closed is opened again after so long.
const AGAIN: Duration = Duration::from_secs(2);
/// It comes from so many addresses.
const ADDRESSES: usize = 4;
/// Connections that denied calls come on: refusals are held back, so each connection has few.
const CALLERS: u64 = 600;
/// Descriptors that the process keeps for everything else.
const RESERVE: u64 = 500;

/// How much of a flood; the numbers are wanted, not promised.
#[derive(Clone, Copy)]
pub struct FloodSize {
    pub sockets: usize,
    pub denied_a_second: u64,
    pub pushers: usize,
}

/// What came of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Flooded {
    pub denied_a_second: f64,
    pub pushes_a_second: f64,
}

#[derive(Default)]
struct Counts {
    open: AtomicUsize,
    begun: AtomicUsize,
    denied: AtomicU64,
    pushed: AtomicU64,
}

async fn connect(number: usize, to: SocketAddr) -> std::io::Result<TcpStream> {
    let last = u8::try_from(2 + number % ADDRESSES).unwrap_or(2);
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), 0)))?;
    socket.connect(to).await
}

/// Holds a connection with half a request, again and again.
async fn hold(number: usize, to: SocketAddr, counts: Arc<Counts>) {
    let mut pace = interval(AGAIN);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut first = true;
    loop {
        pace.tick().await;
        let connected = connect(number, to).await;
        if std::mem::take(&mut first) {
            counts.begun.fetch_add(1, Ordering::Relaxed);
        }
        if let Ok(mut connection) = connected {
            counts.open.fetch_add(1, Ordering::Relaxed);
            let _ = connection.write_all(HALF).await;
            let _ = connection.read(&mut [0; 64]).await;
            counts.open.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Sends requests on a connection, and reads whatever is answered; none where it has ended.
async fn exchange(connection: &mut TcpStream, request: &[u8]) -> Option<()> {
    connection.write_all(request).await.ok()?;
    let mut answer = Vec::with_capacity(2048);
    loop {
        if connection.read_buf(&mut answer).await.ok()? == 0 {
            return None;
        }
        if let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = std::str::from_utf8(&answer[..end]).ok()?;
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                let is_length = name.eq_ignore_ascii_case("content-length");
                is_length.then(|| value.trim().parse::<usize>().ok())?
            });
            if answer.len() >= end + 4 + length.unwrap_or(0) {
                return Some(());
            }
        }
    }
}

/// Asks on a connection that is kept, so often; at once again where there is no pause.
async fn ask(
    number: usize,
    to: SocketAddr,
    pause: Option<Duration>,
    request: impl Fn(u64) -> Vec<u8>,
    count: impl Fn(&Counts) -> &AtomicU64,
    counts: Arc<Counts>,
) {
    let mut pace = pause.map(interval);
    let (mut open, mut sent) = (None, 0);
    loop {
        if let Some(pace) = &mut pace {
            pace.tick().await;
        }
        let connection = match &mut open {
            Some(connection) => connection,
            none => match connect(number, to).await {
                Ok(connection) => none.insert(connection),
                Err(_) => {
                    tokio::time::sleep(AGAIN).await;
                    continue;
                }
            },
        };
        sent += 1;
        match exchange(connection, &request(sent)).await {
            Some(()) => count(&counts).fetch_add(1, Ordering::Relaxed),
            None => {
                open = None;
                continue;
            }
        };
    }
}

/// A guess of a key, for another secret each time.
fn denied(number: u64) -> Vec<u8> {
    format!(
        "GET /api/token?realm=r0&key=k{number} HTTP/1.1\r\nHost: bench\r\n\
         Authorization: Bearer guessed-{number}\r\n\r\n"
    )
    .into_bytes()
}

/// A ticket that nobody signed.
fn push(number: u64) -> Vec<u8> {
    let body = "<xml><AppId>the-app</AppId><Encrypt>c2VjcmV0</Encrypt></xml>";
    format!(
        "POST /api/ticket/tickets?msg_signature={number:040x}&timestamp={number}&nonce=n HTTP/1.1\r\n\
         Host: bench\r\nContent-Type: text/xml\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// Floods an address until standard input ends. Prints how many sockets are open once all were
/// tried, and at last what was answered in how many seconds.
pub async fn flood(address: &str, size: &str) {
    descriptors::raise();
    let to: SocketAddr = address.parse().expect("an address");
    let mut numbers = size.split('/').map(|text| text.parse().expect("a number"));
    let mut next = || -> u64 { numbers.next().expect("three numbers") };
    let (sockets, denied_a_second, pushers) = (next(), next(), next());
    let sockets = sockets.min(descriptors::limit().saturating_sub(RESERVE)) as usize;
    let counts = Arc::new(Counts::default());
    for number in 0..sockets {
        tokio::spawn(hold(number, to, counts.clone()));
    }
    let mut pace = interval(Duration::from_millis(10));
    while counts.begun.load(Ordering::Relaxed) < sockets {
        pace.tick().await;
    }
    let begun = Instant::now();
    let callers = CALLERS.min(denied_a_second);
    for number in 0..callers as usize {
        let pause = Duration::from_secs_f64(callers as f64 / denied_a_second as f64);
        let counts = counts.clone();
        tokio::spawn(ask(
            number,
            to,
            Some(pause),
            denied,
            |counts| &counts.denied,
            counts,
        ));
    }
    for number in 0..pushers as usize {
        let counts = counts.clone();
        tokio::spawn(ask(number, to, None, push, |counts| &counts.pushed, counts));
    }
    println!("{}", counts.open.load(Ordering::Relaxed));
    let ended = tokio::task::spawn_blocking(|| std::io::stdin().lock().lines().count());
    ended.await.expect("standard input ends");
    let seconds = begun.elapsed().as_secs_f64();
    let rate = |count: &AtomicU64| count.load(Ordering::Relaxed) as f64 / seconds;
    println!("{} {}", rate(&counts.denied), rate(&counts.pushed));
}

/// A flood that goes on until it is ended.
pub struct Flood {
    child: Child,
    /// It floods while this is open.
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    /// Sockets that were open when all were tried.
    pub open: f64,
}

impl Flood {
    pub fn start(address: SocketAddr, size: FloodSize) -> Self {
        let FloodSize {
            sockets,
            denied_a_second,
            pushers,
        } = size;
        let program = std::env::current_exe().expect("this program has a path");
        let size = format!("{sockets}/{denied_a_second}/{pushers}");
        let mut child = Command::new(program)
            .args([ARGUMENT, &address.to_string(), &size])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this program starts");
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut flood = Self {
            child,
            stdin,
            stdout,
            open: 0.0,
        };
        flood.open = flood.line().trim().parse().expect("a number");
        flood
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("it says something");
        line
    }

    pub fn end(mut self) -> Flooded {
        drop(self.stdin.take());
        let line = self.line();
        let (denied, pushes) = line.trim().split_once(' ').expect("two numbers");
        self.child.wait().expect("it ends");
        let number = |text: &str| text.parse().expect("a number");
        Flooded {
            denied_a_second: number(denied),
            pushes_a_second: number(pushes),
        }
    }
}
