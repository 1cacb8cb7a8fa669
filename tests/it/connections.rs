//! Connections end when nothing is asked on them, or when a request takes too long.

mod address;
mod full;
mod heads;
mod http2;

use token_server::foundation::clock::{BootMs, Clock, Ms, SystemClock};
use token_server::foundation::metrics::ClosedLabels;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::kit::server::{ADMIN_KEY, Options};
use crate::kit::{PATIENCE, Provider, Server, TestDatabase, eventually};

const WHOLE: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: test\r\n\r\n";
const HALF: &[u8] = b"GET /healthz HTTP/1.1\r\nHost:";
const LIMIT: Ms = Ms::from_secs(1);

/// One of the limits is a second.
async fn server(limit: &'static str) -> (TestDatabase, Server) {
    server_with(limit, 1).await
}

async fn server_with(limit: &'static str, value: u32) -> (TestDatabase, Server) {
    let database = TestDatabase::sqlite();
    let options = Options {
        env: vec![(limit, value.to_string())],
        ..Options::default()
    };
    let server = Server::start_with(&database, options).await;
    (database, server)
}

const IDLE: &str = "TOKEN_SERVER__HTTP__IDLE_TIMEOUT_S";
const HEADER: &str = "TOKEN_SERVER__HTTP__HEADER_TIMEOUT_S";
const REQUEST: &str = "TOKEN_SERVER__HTTP__REQUEST_TIMEOUT_S";

async fn connect(server: &Server) -> TcpStream {
    let connected = TcpStream::connect(server.address()).await;
    connected.expect("it listens")
}

/// All that comes until the server closes the connection.
async fn until_closed(connection: &mut TcpStream) -> String {
    let mut text = String::new();
    let read = timeout(PATIENCE, connection.read_to_string(&mut text)).await;
    read.expect("it is closed").expect("it is closed in order");
    text
}

/// One whole answer, its head in lower case.
async fn answer(connection: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let whole = async {
        loop {
            if let Some(answer) = whole_answer(&bytes) {
                return answer;
            }
            let read = connection.read_buf(&mut bytes).await;
            assert_ne!(
                read.expect("it can be read"),
                0,
                "closed before it answered"
            );
        }
    };
    timeout(PATIENCE, whole).await.expect("it answers")
}

fn whole_answer(bytes: &[u8]) -> Option<String> {
    let text = str::from_utf8(bytes).expect("it is text");
    let (head, body) = text.split_once("\r\n\r\n")?;
    let head = head.to_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    let length: usize = length.map_or(0, |length| length.parse().expect("a number"));
    (body.len() >= length).then(|| format!("{head}\r\n\r\n{body}"))
}

/// How many connections the server has closed for a reason.
fn closed(server: &Server, reason: &'static str) -> u64 {
    let closed = &server.app().metrics.connections_closed;
    closed.get_or_create(&ClosedLabels { reason }).get()
}

fn since(begun: BootMs) -> Ms {
    SystemClock.boot().since(begun)
}

#[tokio::test]
async fn a_connection_is_closed_when_nothing_is_asked_for_a_while() {
    let (_database, server) = server(IDLE).await;
    let mut connection = connect(&server).await;
    connection.write_all(WHOLE).await.expect("it is sent");
    let begun = SystemClock.boot();
    let answer = until_closed(&mut connection).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(since(begun) >= LIMIT);
}

#[tokio::test]
async fn who_sends_half_a_request_is_not_waited_for_without_end() {
    let (_database, server) = server(REQUEST).await;
    let mut connection = connect(&server).await;
    let begun = SystemClock.boot();
    connection.write_all(HALF).await.expect("it is sent");
    until_closed(&mut connection).await;
    assert!(since(begun) >= LIMIT);
}

/// A secret whose provider answers nothing yet.
async fn held(server: &Server) -> Provider {
    let provider = Provider::start().await;
    provider.hold();
    server
        .client
        .register_realm("r", &provider.url("/token"))
        .await;
    server.client.save_secret("r", "k").await;
    provider
}

/// A request takes two of the limits, and is answered.
async fn takes_longer_than(limit: &'static str) {
    let (_database, server) = server(limit).await;
    let provider = held(&server).await;
    let mut connection = connect(&server).await;
    let begun = SystemClock.boot();
    connection
        .write_all(token_request("").as_bytes())
        .await
        .expect("sent");
    past(begun, Ms(2 * LIMIT.0)).await;
    provider.release();
    let answer = answer(&mut connection).await;
    assert!(answer.starts_with("http/1.1 200 ok\r\n"), "{answer}");
}

/// Asks for a token, with more headers.
fn token_request(more: &str) -> String {
    format!(
        "GET /api/token?realm=r&key=k HTTP/1.1\r\nHost: test\r\n\
         Authorization: Bearer {ADMIN_KEY}\r\n{more}\r\n"
    )
}

/// Waits until so much time has passed.
async fn past(begun: BootMs, length: Ms) {
    eventually("time passes", async || {
        (since(begun) > length).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_request_may_take_longer_than_a_connection_may_be_idle() {
    takes_longer_than(IDLE).await;
}

#[tokio::test]
async fn a_request_may_take_longer_than_its_head() {
    takes_longer_than(HEADER).await;
}
