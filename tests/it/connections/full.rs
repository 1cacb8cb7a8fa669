//! There are no more connections than configured: whoever has kept the server waiting longest
//! makes room for who comes.

use std::time::Duration;

use token_server::foundation::clock::ManualClock;
use token_server::foundation::metrics::LimitLabels;

use super::*;
use crate::kit::process::command;

const MAX: &str = "TOKEN_SERVER__HTTP__MAX_CONNECTIONS";
/// All callers of these tests have one address.
const ANY_ADDRESS: (&str, &str) = ("TOKEN_SERVER__HTTP__ADDRESS_CONNECTIONS_PERCENT", "0");

/// So many may be connected; time stands still until the test moves it.
async fn small(max: usize) -> (TestDatabase, Server, std::sync::Arc<ManualClock>) {
    let database = TestDatabase::sqlite();
    let options = Options::default().with(&[(MAX, &max.to_string()), ANY_ADDRESS]);
    let (server, clock) = Server::on_manual_clock_with(&database, options).await;
    (database, server, clock)
}

/// The same, on the time that passes.
async fn small_now(max: usize) -> (TestDatabase, Server) {
    let database = TestDatabase::sqlite();
    let options = Options::default().with(&[(MAX, &max.to_string()), ANY_ADDRESS]);
    let server = Server::start_with(&database, options).await;
    (database, server)
}

/// Waits until so many are connected.
async fn connected(server: &Server, count: i64) {
    eventually("they are connected", async || {
        (server.app().metrics.connections.get() == count).then_some(())
    })
    .await;
}

/// Connects and sends; waits until so many are connected.
async fn connect_as(server: &Server, count: i64, sends: &[u8]) -> TcpStream {
    let mut connection = connect(server).await;
    connection.write_all(sends).await.expect("it is sent");
    connected(server, count).await;
    connection
}

async fn is_answered(connection: &mut TcpStream) {
    connection.write_all(WHOLE).await.expect("it is sent");
    let answer = answer(connection).await;
    assert!(answer.starts_with("http/1.1 200 ok\r\n"), "{answer}");
}

/// Connects, asks, and is answered.
async fn idle(server: &Server) -> TcpStream {
    let mut connection = connect(server).await;
    is_answered(&mut connection).await;
    connection
}

#[tokio::test]
async fn whoever_has_kept_the_server_waiting_longest_makes_room() {
    let (_database, server, clock) = small(4).await;
    let mut idle_longest = idle(&server).await;
    clock.advance(Ms::from_secs(2));
    let mut half_open = connect_as(&server, 2, HALF).await;
    clock.advance(Ms::from_secs(2));
    let mut silent = connect_as(&server, 3, b"").await;
    clock.advance(Ms::from_secs(2));
    let mut idle_since_then = idle(&server).await;
    assert_eq!(closed(&server, "full"), 0);

    // First those that have never sent a request, the longest first; then the others.
    let mut first = idle(&server).await;
    assert_eq!(until_closed(&mut half_open).await, "");
    clock.advance(Ms::from_secs(1));
    let mut second = idle(&server).await;
    assert_eq!(until_closed(&mut silent).await, "");
    clock.advance(Ms::from_secs(1));
    let mut third = idle(&server).await;
    assert_eq!(until_closed(&mut idle_longest).await, "");
    assert_eq!(closed(&server, "full"), 3);

    for still in [&mut idle_since_then, &mut first, &mut second, &mut third] {
        is_answered(still).await;
    }
    // An answer counts anew: the one who asked first of these has now waited longest.
    clock.advance(Ms::from_secs(1));
    for again in [&mut first, &mut second, &mut third] {
        is_answered(again).await;
    }
    idle(&server).await;
    assert_eq!(until_closed(&mut idle_since_then).await, "");
}

#[tokio::test]
async fn who_has_only_just_come_does_not_make_room_for_the_next() {
    let (_database, server, clock) = small(3).await;
    let mut regulars = [idle(&server).await, idle(&server).await];
    clock.advance(Ms::from_secs(2));
    let mut newcomer = connect_as(&server, 3, HALF).await;
    let _next = idle(&server).await;
    let _another = idle(&server).await;
    for regular in &mut regulars {
        assert_eq!(until_closed(regular).await, "");
    }
    let rest = &WHOLE[HALF.len()..];
    newcomer.write_all(rest).await.expect("it is sent");
    let answer = answer(&mut newcomer).await;
    assert!(answer.starts_with("http/1.1 200 ok\r\n"), "{answer}");
}

#[tokio::test]
async fn many_who_send_half_a_request_do_not_keep_others_out() {
    let (_database, server) = small_now(8).await;
    let mut half_open = Vec::new();
    for _ in 0..50 {
        let mut connection = connect(&server).await;
        connection.write_all(HALF).await.expect("it is sent");
        half_open.push(connection);
    }
    for _ in 0..20 {
        idle(&server).await;
    }
    assert!(server.app().metrics.connections.get() <= 8);
    assert!(closed(&server, "full") >= 42);
}

#[tokio::test]
async fn no_request_that_is_worked_on_makes_room() {
    let (_database, server) = small_now(2).await;
    let provider = Provider::start().await;
    provider.hold();
    let url = provider.url("/token");
    // Its connections are closed, so that they are no part of this.
    let client = crate::kit::server::Client::new(format!("http://{}", server.address()));
    client.register_realm("r", &url).await;
    client.save_secret("r", "k").await;
    drop(client);
    let worked_on = async || {
        let mut connection = connect(&server).await;
        let sent = connection.write_all(token_request("").as_bytes()).await;
        sent.expect("it is sent");
        connection
    };
    let (mut one, mut other) = (worked_on().await, worked_on().await);
    provider.wait_for_requests(1).await;
    connected(&server, 2).await;
    let mut third = connect(&server).await;
    third.write_all(WHOLE).await.expect("it is sent");
    // It would be answered at once if it could take a place.
    let early = timeout(Duration::from_millis(500), third.read_u8()).await;
    assert!(early.is_err(), "{early:?}");
    provider.release();
    for connection in [&mut one, &mut other, &mut third] {
        let answer = answer(connection).await;
        assert!(answer.starts_with("http/1.1 200 ok\r\n"), "{answer}");
    }
}

#[tokio::test]
async fn a_request_whose_body_does_not_come_makes_room() {
    let (_database, server) = small_now(1).await;
    let mut connection = connect(&server).await;
    let head = format!(
        "POST /api/realm HTTP/1.1\r\nHost: test\r\nContent-Length: 9\r\n\
         Authorization: Bearer {ADMIN_KEY}\r\nExpect: 100-continue\r\n\r\n"
    );
    let sent = connection.write_all(head.as_bytes()).await;
    sent.expect("it is sent");
    // Its head has been read.
    let go_on = answer(&mut connection).await;
    assert!(go_on.starts_with("http/1.1 100 continue"), "{go_on}");
    let begun = SystemClock.boot();
    idle(&server).await;
    assert_eq!(until_closed(&mut connection).await, "");
    // It did so before its body was due.
    let body_timeout = server.app().settings.http.body_timeout;
    assert!(since(begun) < body_timeout.into());
}

#[tokio::test]
async fn a_stopping_server_answers_what_is_under_way_and_closes_the_others() {
    let (_database, server) = server_with("TOKEN_SERVER__HTTP__GRACE_S", 5).await;
    let provider = held(&server).await;
    let mut resting = idle(&server).await;
    let mut asking = connect(&server).await;
    let sent = asking.write_all(token_request("").as_bytes()).await;
    sent.expect("it is sent");
    provider.wait_for_requests(1).await;
    let stopping = tokio::spawn(server.stop());
    assert_eq!(until_closed(&mut resting).await, "");
    provider.release();
    let answer = until_closed(&mut asking).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    stopping.await.expect("it stops");
}

#[tokio::test]
async fn more_connections_than_the_limit_of_open_files_leaves_are_refused() {
    let database = TestDatabase::sqlite();
    let mut command = command(&database, &[(MAX, "4000000000".to_owned())]);
    let ended = command.arg("serve").output().expect("the binary starts");
    assert_eq!(ended.status.code(), Some(64));
    let said = String::from_utf8_lossy(&ended.stderr);
    let fault = said.lines().last().expect("a line");
    assert!(
        fault.contains("http.max_connections is 4000000000"),
        "{fault}"
    );
    assert!(
        fault.contains("files") && fault.contains("ulimit"),
        "{fault}"
    );
}

#[tokio::test]
async fn a_caller_whose_refusal_is_held_back_makes_room() {
    let database = TestDatabase::sqlite();
    let options = Options::default().with(&[
        (MAX, "1"),
        ANY_ADDRESS,
        ("TOKEN_SERVER__ACCESS__ADDRESS_RATE", "1"),
        ("TOKEN_SERVER__ACCESS__ADDRESS_BURST", "1"),
        ("TOKEN_SERVER__ACCESS__ADDRESS_DELAY_MS", "10000"),
    ]);
    let (server, _clock) = Server::on_manual_clock_with(&database, options).await;
    let call = "GET /api/token?realm=r&key=k HTTP/1.1\r\nHost: test\r\n\r\n";
    let mut refused = connect(&server).await;
    refused
        .write_all(call.as_bytes())
        .await
        .expect("it is sent");
    let first = answer(&mut refused).await;
    assert!(first.starts_with("http/1.1 401 "), "{first}");
    refused
        .write_all(call.as_bytes())
        .await
        .expect("it is sent");
    eventually("the second call is refused", async || {
        let limited = &server.app().metrics.limited;
        let labels = LimitLabels { limit: "address" };
        (limited.get_or_create(&labels).get() == 1).then_some(())
    })
    .await;
    idle(&server).await;
    assert_eq!(until_closed(&mut refused).await, "");
    assert_eq!(closed(&server, "full"), 1);
}
