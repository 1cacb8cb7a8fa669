//! Bodies of callers without a good key are not waited for: who calls is asked first.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::kit::server::{ADMIN_KEY, Options};
use crate::kit::{PATIENCE, Server, TestDatabase};

/// Longer than a test waits.
const NEVER: &str = "600";

async fn server() -> (TestDatabase, Server) {
    let database = TestDatabase::sqlite();
    let limits = [
        ("TOKEN_SERVER__HTTP__BODY_TIMEOUT_S", NEVER),
        ("TOKEN_SERVER__HTTP__MAX_BODY_BYTES", "1048576"),
    ];
    let server = Server::start_with(&database, Options::default().with(&limits)).await;
    (database, server)
}

async fn connect(server: &Server) -> TcpStream {
    let connected = TcpStream::connect(server.address()).await;
    connected.expect("it listens")
}

/// The head of a request with a body that is never sent to its end.
fn head(target: &str, more: &str) -> String {
    format!(
        "{target} HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n\
         Content-Length: 4000000\r\n{more}\r\n"
    )
}

/// The status of the first answer.
async fn status(connection: &mut TcpStream) -> String {
    let mut line = Vec::new();
    let read = async {
        while !line.ends_with(b"\r\n") {
            line.push(connection.read_u8().await.expect("it answers"));
        }
    };
    timeout(PATIENCE, read).await.expect("it answers");
    let line = String::from_utf8(line).expect("text");
    line.split(' ').nth(1).expect("a status").to_owned()
}

async fn answered(server: &Server, sent: &[u8]) -> String {
    let mut connection = connect(server).await;
    connection.write_all(sent).await.expect("it is sent");
    status(&mut connection).await
}

#[tokio::test]
async fn who_has_no_good_key_is_told_before_his_body_has_come() {
    let (_database, server) = server().await;
    for target in ["POST /api/realm", "PUT /api/token", "POST /api/token/flush"] {
        for key in ["", "Authorization: Bearer guessed\r\n"] {
            let nothing = head(target, key);
            assert_eq!(
                answered(&server, nothing.as_bytes()).await,
                "401",
                "{target}"
            );
            let some = format!("{nothing}{{\"id\":");
            assert_eq!(answered(&server, some.as_bytes()).await, "401", "{target}");
        }
    }
    // Nor does anybody wait for the body of what is not there.
    let nowhere = head("POST /api/nowhere", "");
    assert_eq!(answered(&server, nowhere.as_bytes()).await, "404");
}

#[tokio::test]
async fn who_asks_whether_to_send_a_body_is_told_that_the_key_is_not_good() {
    let (_database, server) = server().await;
    let expect = "Expect: 100-continue\r\n";
    let asked = head("POST /api/realm", expect);
    assert_eq!(answered(&server, asked.as_bytes()).await, "401");
    let key = format!("{expect}Authorization: Bearer {ADMIN_KEY}\r\n");
    let asked = head("POST /api/realm", &key);
    assert_eq!(answered(&server, asked.as_bytes()).await, "100");
}

#[tokio::test]
async fn who_sends_all_of_a_large_body_before_he_reads_can_read_why_it_is_refused() {
    let (_database, server) = server().await;
    let mut connection = connect(&server).await;
    let mut sent = head("POST /api/realm", "").into_bytes();
    sent.resize(sent.len() + 4_000_000, b' ');
    timeout(PATIENCE, connection.write_all(&sent))
        .await
        .expect("it is read")
        .expect("it is taken");
    assert_eq!(status(&mut connection).await, "401");
}

#[tokio::test]
async fn a_head_request_is_answered_as_its_get_is() {
    let (_database, server) = server().await;
    for (key, expected) in [(ADMIN_KEY, "200"), ("guessed", "401")] {
        let request = format!(
            "HEAD /api/realm HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer {key}\r\n\r\n"
        );
        assert_eq!(answered(&server, request.as_bytes()).await, expected);
    }
}
