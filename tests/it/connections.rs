//! Connections end when nothing is asked on them, or when a request takes too long.

use token_server::foundation::clock::{BootMs, Clock, Ms, SystemClock};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::kit::server::{ADMIN_KEY, Options};
use crate::kit::{Answer, PATIENCE, Provider, Server, TestDatabase, eventually};

const WHOLE: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: test\r\n\r\n";
const HALF: &[u8] = b"GET /healthz HTTP/1.1\r\nHost:";
const LIMIT: Ms = Ms::from_secs(1);

/// One of the limits is a second.
async fn server(limit: &'static str) -> (TestDatabase, Server) {
    let database = TestDatabase::sqlite();
    let options = Options {
        env: vec![(limit, "1".to_owned())],
        ..Options::default()
    };
    let server = Server::start_with(&database, options).await;
    (database, server)
}

const IDLE: &str = "TOKEN_SERVER__HTTP__IDLE_TIMEOUT_S";
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
    connection.write_all(HALF).await.expect("it is sent");
    let begun = SystemClock.boot();
    until_closed(&mut connection).await;
    assert!(since(begun) >= LIMIT);
}

#[tokio::test]
async fn a_request_may_take_longer_than_a_connection_may_be_idle() {
    let (_database, server) = server(IDLE).await;
    let provider = Provider::start().await;
    provider.answer_with(Answer::token("t1", 3600));
    provider.hold();
    server
        .client
        .register_realm("r", &provider.url("/token"))
        .await;
    server.client.save_secret("r", "k").await;
    let mut connection = connect(&server).await;
    let request = format!(
        "GET /api/token?realm=r&key=k HTTP/1.1\r\nHost: test\r\n\
         Authorization: Bearer {ADMIN_KEY}\r\n\r\n"
    );
    let begun = SystemClock.boot();
    connection
        .write_all(request.as_bytes())
        .await
        .expect("sent");
    eventually("it has taken long", async || {
        (since(begun) > Ms(2 * LIMIT.0)).then_some(())
    })
    .await;
    provider.release();
    let answer = until_closed(&mut connection).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
}
