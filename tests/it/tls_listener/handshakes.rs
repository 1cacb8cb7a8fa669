//! How many handshakes an address may begin.

use token_server::foundation::clock::Ms;
use token_server::foundation::metrics::ClosedLabels;

use super::*;

on_every_database! {
    who_only_shakes_hands_is_refused_beyond_the_rate_of_an_address,
}

const RATE: &str = "TOKEN_SERVER__HTTP__TLS__ADDRESS_HANDSHAKE_RATE";
const PROXIES: &str = "TOKEN_SERVER__HTTP__TRUSTED_PROXIES";

/// How many connections the server has closed because of the rate.
fn refused(server: &Server) -> u64 {
    let reason = "handshake_rate";
    let closed = &server.app().metrics.connections_closed;
    closed.get_or_create(&ClosedLabels { reason }).get()
}

async fn who_only_shakes_hands_is_refused_beyond_the_rate_of_an_address(database: TestDatabase) {
    let authority = Authority::root("Root");
    let files = Files::write(database.directory.path(), &authority.issue(NAME, GOOD));
    // One a second, four at once.
    let options = files.options().with(&[(RATE, "1")]);
    let (server, clock) = Server::on_manual_clock_with(&database, options.clone()).await;
    let (health, realms) = (url(&server, "/healthz"), url(&server, "/api/realm"));
    let new = || {
        client(&server, &authority)
            .build()
            .expect("a client can be made")
    };
    // Whoever has a good key shakes hands as often as he likes.
    let admin = admin(&server, &authority);
    admin.get("/api/realm").await.expect(200);
    for _ in 0..10 {
        let answered = status(&new(), &realms, Some(ADMIN_KEY)).await;
        assert_eq!(answered.expect("answered"), 200);
    }
    // Who speaks no TLS begins no handshake, nor does who connects and leaves.
    for sends in [&b""[..], b"GET / HTTP/1.1\r\n\r\n"] {
        let mut stream = connect(server.address()).await;
        stream.write_all(sends).await.expect("it is open");
        stream.shutdown().await.expect("it is open");
        let _ = stream.read_to_end(&mut Vec::new()).await;
    }
    let kept = new();
    for key in [None, None, Some("wrong")] {
        let answered = status(&new(), &realms, key).await;
        assert_eq!(answered.expect("answered"), 401);
    }
    assert_eq!(status(&kept, &health, None).await.expect("answered"), 200);
    assert_eq!(refused(&server), 0);
    assert!(status(&new(), &health, None).await.is_err());
    assert!(status(&new(), &realms, Some(ADMIN_KEY)).await.is_err());
    assert_eq!(refused(&server), 2);
    // Connections that are open go on, and time gives another one.
    assert_eq!(status(&kept, &health, None).await.expect("answered"), 200);
    admin.get("/api/realm").await.expect(200);
    clock.advance(Ms::from_secs(1));
    assert_eq!(status(&new(), &health, None).await.expect("answered"), 200);
    assert!(status(&new(), &health, None).await.is_err());
    server.stop().await;
    for (rate, proxies) in [("1", "127.0.0.0/8"), ("0", "")] {
        let options = files.options().with(&[(RATE, rate), (PROXIES, proxies)]);
        let (server, _clock) = Server::on_manual_clock_with(&database, options).await;
        let health = url(&server, "/healthz");
        for _ in 0..10 {
            let new = client(&server, &authority)
                .build()
                .expect("a client can be made");
            assert_eq!(status(&new, &health, None).await.expect("answered"), 200);
        }
        server.stop().await;
    }
}
