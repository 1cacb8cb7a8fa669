//! One address has a part of the connections, and makes room among its own.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use token_server::foundation::clock::ManualClock;
use tokio::net::TcpSocket;

use super::*;

const ONE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const OTHER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);

/// Ten connections, of which an address may have so many percent; `proxies` are trusted.
async fn ten(percent: &str, proxies: &str) -> (TestDatabase, Server, Arc<ManualClock>) {
    let database = TestDatabase::sqlite();
    let options = Options::default().with(&[
        ("TOKEN_SERVER__HTTP__MAX_CONNECTIONS", "10"),
        ("TOKEN_SERVER__HTTP__ADDRESS_CONNECTIONS_PERCENT", percent),
        ("TOKEN_SERVER__HTTP__TRUSTED_PROXIES", proxies),
    ]);
    let (server, clock) = Server::on_manual_clock_with(&database, options).await;
    (database, server, clock)
}

async fn connect_from(address: Ipv4Addr, server: &Server) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    let bound = socket.bind(SocketAddr::from((address, 0)));
    bound.expect("it is an address of this machine");
    let connected = socket.connect(server.address()).await;
    connected.expect("it listens")
}

/// Connects, asks, and is answered.
async fn idle_from(address: Ipv4Addr, server: &Server) -> TcpStream {
    let mut connection = connect_from(address, server).await;
    is_answered(&mut connection).await;
    connection
}

async fn is_answered(connection: &mut TcpStream) {
    connection.write_all(WHOLE).await.expect("it is sent");
    let answer = answer(connection).await;
    assert!(answer.starts_with("http/1.1 200 ok\r\n"), "{answer}");
}

/// Half a request, that the server has taken up.
async fn half_from(address: Ipv4Addr, server: &Server) -> TcpStream {
    let before = server.app().metrics.connections.get();
    let mut connection = connect_from(address, server).await;
    connection.write_all(HALF).await.expect("it is sent");
    eventually("it is connected", async || {
        (server.app().metrics.connections.get() > before).then_some(())
    })
    .await;
    connection
}

#[tokio::test]
async fn an_address_that_takes_all_it_can_get_leaves_places_to_others() {
    let (_database, server, clock) = ten("50", "").await;
    let mut others = [
        idle_from(OTHER, &server).await,
        idle_from(OTHER, &server).await,
    ];
    let mut half_open = Vec::new();
    for _ in 0..5 {
        half_open.push(half_from(ONE, &server).await);
        clock.advance(Ms::from_secs(2));
    }
    // From here on its own make room, those that have waited longest first, for whoever comes from
    // there: who asks is answered.
    let mut good = Vec::new();
    for (number, first) in half_open.iter_mut().enumerate() {
        good.push(idle_from(ONE, &server).await);
        assert_eq!(until_closed(first).await, "");
        assert_eq!(closed(&server, "address"), number as u64 + 1);
    }
    // Others have not made room for them, and there are places left.
    for other in &mut others {
        is_answered(other).await;
    }
    for _ in 0..3 {
        idle_from(OTHER, &server).await;
    }
    assert_eq!(closed(&server, "full"), 0);
}

#[tokio::test]
async fn where_all_of_an_address_are_worked_on_it_gets_no_more_and_nobody_waits_for_that() {
    let (_database, server, _clock) = ten("20", "").await;
    let provider = held(&server).await;
    let mut worked_on = Vec::new();
    for _ in 0..2 {
        let mut connection = connect_from(ONE, &server).await;
        let sent = connection.write_all(token_request("").as_bytes()).await;
        sent.expect("it is sent");
        worked_on.push(connection);
    }
    server.readers_waiting(2).await;
    for _ in 0..3 {
        let mut third = connect_from(ONE, &server).await;
        assert_eq!(until_closed(&mut third).await, "");
        idle_from(OTHER, &server).await;
    }
    assert_eq!(closed(&server, "address"), 3);
    provider.release();
    for connection in &mut worked_on {
        let answer = answer(connection).await;
        assert!(answer.starts_with("http/1.1 200 ok\r\n"), "{answer}");
    }
}

#[tokio::test]
async fn a_trusted_proxy_may_have_all_connections_and_so_may_all_where_there_is_no_limit() {
    for (percent, proxies) in [("20", "127.0.0.2/32"), ("0", "")] {
        let (_database, server, _clock) = ten(percent, proxies).await;
        // The client of the test has one.
        let mut all = Vec::new();
        for _ in 0..9 {
            all.push(half_from(ONE, &server).await);
        }
        assert_eq!(closed(&server, "address"), 0);
        let rest = &WHOLE[HALF.len()..];
        for connection in &mut all {
            connection.write_all(rest).await.expect("it is sent");
            let answer = answer(connection).await;
            assert!(answer.starts_with("http/1.1 200 ok\r\n"), "{answer}");
        }
    }
}
