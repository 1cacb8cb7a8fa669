//! The head of a request comes in time, and is not too large.

use super::*;

/// Sends one byte of a header after another, until the server closes the connection.
async fn trickle(connection: &mut TcpStream) {
    let (mut read, mut write) = connection.split();
    let bytes = async {
        let mut pace = tokio::time::interval(std::time::Duration::from_millis(50));
        while write.write_all(b"x").await.is_ok() {
            pace.tick().await;
        }
    };
    let mut rest = Vec::new();
    let closed = async {
        tokio::select! {
            read = read.read_to_end(&mut rest) => { read.ok(); }
            () = bytes => {}
        }
    };
    let closed = timeout(PATIENCE, closed).await;
    closed.expect("what trickles does not keep it open");
    assert_eq!(rest, b"");
}

#[tokio::test]
async fn who_connects_and_sends_nothing_is_not_waited_for() {
    let (_database, server) = server(HEADER).await;
    let begun = SystemClock.boot();
    let mut connection = connect(&server).await;
    assert_eq!(until_closed(&mut connection).await, "");
    assert!(since(begun) >= LIMIT);
    assert_eq!(closed(&server, "header_timeout"), 1);
}

#[tokio::test]
async fn a_head_that_trickles_is_not_waited_for() {
    let (_database, server) = server(HEADER).await;
    let begun = SystemClock.boot();
    let mut connection = connect(&server).await;
    connection.write_all(HALF).await.expect("it is sent");
    trickle(&mut connection).await;
    assert!(since(begun) >= LIMIT);
    assert_eq!(closed(&server, "header_timeout"), 1);
}

#[tokio::test]
async fn a_second_head_that_trickles_is_not_waited_for_either() {
    let (_database, server) = server(HEADER).await;
    let mut connection = connect(&server).await;
    connection.write_all(WHOLE).await.expect("it is sent");
    answer(&mut connection).await;
    let begun = SystemClock.boot();
    connection.write_all(HALF).await.expect("it is sent");
    trickle(&mut connection).await;
    assert!(since(begun) >= LIMIT);
    assert_eq!(closed(&server, "header_timeout"), 1);
}

#[tokio::test]
async fn between_two_requests_a_connection_may_rest_longer_than_a_head_may_take() {
    let (_database, server) = server(HEADER).await;
    let mut connection = connect(&server).await;
    for _ in 0..2 {
        connection.write_all(WHOLE).await.expect("it is sent");
        let answer = answer(&mut connection).await;
        assert!(answer.starts_with("http/1.1 200 ok\r\n"), "{answer}");
        past(SystemClock.boot(), Ms(2 * LIMIT.0)).await;
    }
}

#[tokio::test]
async fn a_body_may_take_longer_than_a_head() {
    let (_database, server) = server(HEADER).await;
    let mut connection = connect(&server).await;
    let head = format!(
        "POST /api/realm HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer {ADMIN_KEY}\r\n\
         Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{{"
    );
    let sent = connection.write_all(head.as_bytes()).await;
    sent.expect("it is sent");
    past(SystemClock.boot(), Ms(2 * LIMIT.0)).await;
    connection.write_all(b"}").await.expect("it is sent");
    let answer = answer(&mut connection).await;
    assert!(answer.starts_with("http/1.1 422 "), "{answer}");
}

/// Sends a head; answers what came.
async fn ask(server: &Server, head: &str) -> String {
    let mut connection = connect(server).await;
    let sent = connection.write_all(head.as_bytes()).await;
    sent.expect("it is sent");
    answer(&mut connection).await
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused_wherever_it_is_large() {
    let (_database, server) = server_with("TOKEN_SERVER__HTTP__MAX_HEADER_BYTES", 8000).await;
    let large = "x".repeat(7000);
    let many: String = (0..70)
        .map(|n| format!("x-{n}: {}\r\n", &large[..100]))
        .collect();
    let fits = [
        format!("GET /openapi.json?{large} HTTP/1.1\r\nHost: test\r\n\r\n"),
        format!("GET /healthz HTTP/1.1\r\nHost: test\r\nx: {large}\r\n\r\n"),
        format!("GET /healthz HTTP/1.1\r\nHost: test\r\n{many}\r\n"),
    ];
    for head in fits {
        let answer = ask(&server, &head).await;
        assert!(answer.starts_with("http/1.1 200 ok\r\n"), "{answer}");
    }
    let large = "x".repeat(8000);
    let many: String = (0..80)
        .map(|n| format!("x-{n}: {}\r\n", &large[..100]))
        .collect();
    let too_large = [
        format!("GET /openapi.json?{large} HTTP/1.1\r\nHost: test\r\n\r\n"),
        format!("GET /{large} HTTP/1.1\r\nHost: test\r\n\r\n"),
        format!("GET /healthz HTTP/1.1\r\nHost: test\r\nx: {large}\r\n\r\n"),
        format!("GET /healthz HTTP/1.1\r\nHost: test\r\n{large}: x\r\n\r\n"),
        format!("GET /healthz HTTP/1.1\r\nHost: test\r\n{many}\r\n"),
        format!("GET /healthz HTTP/1.1\r\nHost: test\r\n{many}{many}\r\n"),
    ];
    for head in too_large {
        let answer = ask(&server, &head).await;
        assert!(answer.starts_with("http/1.1 431 "), "{answer}");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        // Where it is much too large, the library answers without a body.
        if !body.is_empty() {
            assert!(
                head.contains("content-type: application/problem+json"),
                "{head}"
            );
            assert!(body.contains("\"headers_too_large\""), "{body}");
            assert!(body.contains("http.max_header_bytes"), "{body}");
        }
    }
}

#[tokio::test]
async fn a_problem_document_says_that_a_head_is_too_large() {
    let (_database, server) = server_with("TOKEN_SERVER__HTTP__MAX_HEADER_BYTES", 8000).await;
    let request = server.client.request(reqwest::Method::GET, "/healthz");
    let request = request.header("x", "x".repeat(8000));
    let reply = server.client.send(request).await;
    reply.expect_problem(431, "headers_too_large");
}

#[tokio::test]
async fn a_token_in_memory_is_not_given_to_a_head_that_is_too_large() {
    let (_database, server) = server_with("TOKEN_SERVER__HTTP__MAX_HEADER_BYTES", 8000).await;
    let provider = Provider::start().await;
    server.client.register(&provider.url("/token")).await;
    for (large, status) in [(0, 200), (7000, 200), (8000, 431)] {
        let request = token_request(&format!("x: {}\r\n", "x".repeat(large)));
        let answer = ask(&server, &request).await;
        assert!(
            answer.starts_with(&format!("http/1.1 {status} ")),
            "{answer}"
        );
    }
}
