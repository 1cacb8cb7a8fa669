//! Load: connections that are kept, each with one request after the other, as fast as they are
//! answered or at a rate of their own.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep_until, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// An answer that takes longer is an error.
const PATIENCE: Duration = Duration::from_secs(5);

/// An answer that came.
pub struct Answer<'a> {
    pub connection: usize,
    /// Which of the requests it answers.
    pub request: usize,
    pub asked: Instant,
    pub body: &'a [u8],
}

/// Sees an answer; false where it is wrong.
pub type Check = Arc<dyn Fn(&Answer) -> bool + Send + Sync>;

/// How connections are made.
#[derive(Clone)]
pub enum Connecting {
    Plain,
    /// Over TLS; anew for each request, or kept.
    Tls {
        connector: TlsConnector,
        anew: bool,
    },
}

#[derive(Clone)]
pub struct Load {
    pub address: SocketAddr,
    pub connecting: Connecting,
    /// Each connection begins with another one, and goes round.
    pub requests: Arc<[Vec<u8>]>,
    pub connections: usize,
    pub duration: Duration,
    /// Requests a second, of all connections together; none: as fast as it goes.
    pub rate: Option<f64>,
    pub check: Check,
}

/// What came of it.
#[derive(Default)]
pub struct Seen {
    pub answered: u64,
    pub errors: u64,
    /// Why, and how often.
    failures: BTreeMap<String, u64>,
    pub seconds: f64,
    /// In microseconds.
    latencies: Vec<u32>,
}

impl Seen {
    pub fn per_second(&self) -> f64 {
        self.answered as f64 / self.seconds
    }

    fn fail(&mut self, why: &str) {
        self.errors += 1;
        *self.failures.entry(why.to_owned()).or_default() += 1;
    }

    /// The latency that so many do not exceed, in milliseconds.
    pub fn percentile(&mut self, part: f64) -> f64 {
        self.latencies.sort_unstable();
        let last = self.latencies.len().saturating_sub(1);
        let index = (last as f64 * part) as usize;
        self.latencies
            .get(index)
            .map_or(f64::NAN, |us| f64::from(*us) / 1000.0)
    }
}

/// A request for a token.
pub fn token_request(realm: &str, key: &str, api_key: &str) -> Vec<u8> {
    format!(
        "GET /api/token?realm={realm}&key={key} HTTP/1.1\r\nHost: bench\r\n\
         Authorization: Bearer {api_key}\r\n\r\n"
    )
    .into_bytes()
}

/// Opens all connections, and then measures.
pub async fn run(load: &Load) -> Seen {
    let opening = (0..load.connections).map(|_| open(load.clone()));
    let opening: Vec<_> = opening.map(tokio::spawn).collect();
    let mut opened = Vec::new();
    for opening in opening {
        opened.push(opening.await.expect("a connection is opened"));
    }
    let begun = Instant::now();
    let end = begun + load.duration;
    let asking = opened.into_iter().enumerate();
    let asking: Vec<_> = asking
        .map(|(number, open)| tokio::spawn(connection(load.clone(), open, number, begun, end)))
        .collect();
    let mut all = Seen::default();
    for connection in asking {
        let seen = connection.await.expect("a connection ends");
        all.answered += seen.answered;
        all.errors += seen.errors;
        for (why, count) in seen.failures {
            *all.failures.entry(why).or_default() += count;
        }
        all.latencies.extend(seen.latencies);
    }
    all.seconds = begun.elapsed().as_secs_f64();
    for (why, count) in &all.failures {
        println!("{count} requests failed: {why}");
    }
    all
}

/// A connection with a server.
enum Open {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Open {
    async fn to(address: SocketAddr, connecting: &Connecting) -> std::io::Result<Self> {
        let open = TcpStream::connect(address).await?;
        open.set_nodelay(true)?;
        match connecting {
            Connecting::Plain => Ok(Self::Plain(open)),
            Connecting::Tls { connector, .. } => {
                let name = ServerName::from(IpAddr::V4(Ipv4Addr::LOCALHOST));
                let open = connector.connect(name, open).await?;
                Ok(Self::Tls(Box::new(open)))
            }
        }
    }

    async fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        match self {
            Self::Plain(open) => open.write_all(bytes).await,
            Self::Tls(open) => {
                open.write_all(bytes).await?;
                open.flush().await
            }
        }
    }

    async fn read(&mut self, into: &mut Vec<u8>) -> std::io::Result<usize> {
        match self {
            Self::Plain(open) => open.read_buf(into).await,
            Self::Tls(open) => open.read_buf(into).await,
        }
    }
}

/// A connection that is kept, and made anew where it breaks.
pub struct Connection {
    address: SocketAddr,
    connecting: Connecting,
    open: Option<Open>,
    answer: Vec<u8>,
}

impl Connection {
    pub fn new(address: SocketAddr, connecting: Connecting) -> Self {
        Self {
            address,
            connecting,
            open: None,
            answer: Vec::with_capacity(4096),
        }
    }

    /// The body of an answer that has status 200.
    pub async fn ask(&mut self, request: &[u8]) -> std::io::Result<&[u8]> {
        let asked = timeout(PATIENCE, self.exchange(request)).await;
        match asked.unwrap_or_else(|late| Err(late.into())) {
            Ok(body) => Ok(&self.answer[body..]),
            Err(error) => {
                self.open = None;
                Err(error)
            }
        }
    }

    /// Reads one answer with a Content-Length; answers where its body begins.
    async fn exchange(&mut self, request: &[u8]) -> std::io::Result<usize> {
        if matches!(self.connecting, Connecting::Tls { anew: true, .. }) {
            self.open = None;
        }
        let open = match &mut self.open {
            Some(open) => open,
            none => none.insert(Open::to(self.address, &self.connecting).await?),
        };
        open.write(request).await?;
        self.answer.clear();
        let mut whole = None;
        loop {
            if open.read(&mut self.answer).await? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            if whole.is_none() {
                whole = head(&self.answer)?;
            }
            if let Some((body, length)) = whole
                && self.answer.len() >= body + length
            {
                return Ok(body);
            }
        }
    }
}

/// Asks once. What goes wrong goes wrong again, and is counted then.
async fn open(load: Load) -> Connection {
    let mut connection = Connection::new(load.address, load.connecting.clone());
    let _ = connection.ask(&load.requests[0]).await;
    connection
}

async fn connection(
    load: Load,
    mut connection: Connection,
    number: usize,
    begun: Instant,
    end: Instant,
) -> Seen {
    let mut seen = Seen::default();
    let pause = load
        .rate
        .map(|rate| Duration::from_secs_f64(load.connections as f64 / rate));
    // Spread over the pause.
    let part = number as f64 / load.connections as f64;
    let mut due = begun + pause.unwrap_or_default().mul_f64(part);
    for round in number.. {
        if pause.is_some() {
            sleep_until(due.into()).await;
        } else {
            due = Instant::now();
        }
        if Instant::now() >= end {
            break;
        }
        let (request, asked) = (round % load.requests.len(), Instant::now());
        let right = |body| {
            (load.check)(&Answer {
                connection: number,
                request,
                asked,
                body,
            })
        };
        match connection.ask(&load.requests[request]).await {
            Ok(body) if right(body) => {
                seen.answered += 1;
                let us = due.elapsed().as_micros();
                seen.latencies.push(u32::try_from(us).unwrap_or(u32::MAX));
            }
            Ok(_) => seen.fail("a wrong answer"),
            Err(error) => seen.fail(&error.to_string()),
        }
        due += pause.unwrap_or_default();
    }
    seen
}

/// Where the body begins, and how long it is; none: the head is not complete.
fn head(answer: &[u8]) -> std::io::Result<Option<(usize, usize)>> {
    let Some(end) = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n") else {
        return Ok(None);
    };
    let wrong = || std::io::Error::from(std::io::ErrorKind::InvalidData);
    let head = std::str::from_utf8(&answer[..end]).map_err(|_| wrong())?;
    if !head.starts_with("HTTP/1.1 200 ") {
        return Err(wrong());
    }
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse().ok())?
    });
    Ok(Some((end + 4, length.ok_or_else(wrong)?)))
}
