//! How many handshakes an address may begin.

use std::sync::Arc;

use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{ClientConfig, HandshakeKind, RootCertStore, SupportedProtocolVersion, version};
use token_server::foundation::clock::Ms;
use token_server::foundation::metrics::ClosedLabels;
use tokio_rustls::TlsConnector;

use super::*;
use crate::limits::pushes;

on_every_database! {
    who_only_shakes_hands_is_refused_beyond_the_rate_of_an_address,
    who_reads_tokens_or_pushes_what_is_signed_shakes_hands_as_often_as_he_likes,
    where_callers_show_certificates_no_session_is_resumed,
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

async fn who_reads_tokens_or_pushes_what_is_signed_shakes_hands_as_often_as_he_likes(
    database: TestDatabase,
) {
    let authority = Authority::root("Root");
    let files = Files::write(database.directory.path(), &authority.issue(NAME, GOOD));
    // One a second, four at once.
    let options = files.options().with(&[(RATE, "1")]);
    let (server, _clock) = Server::on_manual_clock_with(&database, options).await;
    let admin = admin(&server, &authority);
    let fixed = json!({"id": "fixed"});
    admin.post("/api/realm", &fixed).await.expect(200);
    let token = json!({"realm": "fixed", "key": "k", "token": "t"});
    admin.put("/api/token", &token).await.expect(200);
    let app = pushes::register(&admin).await;
    let new = || {
        client(&server, &authority)
            .build()
            .expect("a client can be made")
    };
    let read = url(&server, "/api/token?realm=fixed&key=k");
    let push = app.wechat_url_check("the-echo", 1_700_000_000);
    let push = push.url(&url(&server, "/api/ticket/t"));
    for _ in 0..10 {
        let answered = status(&new(), &read, Some(ADMIN_KEY)).await;
        assert_eq!(answered.expect("answered"), 200);
        let answered = status(&new(), push.as_str(), None).await;
        assert_eq!(answered.expect("answered"), 200);
    }
    assert_eq!(refused(&server), 0);
}

/// How the second handshake of a client is made that keeps what it was given for that.
async fn second(
    server: &Server,
    (authority, caller): (&Authority, &Issued),
    version: &'static SupportedProtocolVersion,
) -> HandshakeKind {
    let mut roots = RootCertStore::empty();
    let root = authority.certificate.der().clone();
    roots.add(root).expect("it is an authority");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let key = PrivateKeyDer::try_from(caller.key.serialize_der()).expect("a key");
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .expect("the provider knows it")
        .with_root_certificates(roots)
        .with_client_auth_cert(caller.chain.clone(), key)
        .expect("the key belongs to the certificate");
    let connector = TlsConnector::from(Arc::new(config));
    let mut kinds = Vec::new();
    for _ in 0..2 {
        let name = ServerName::try_from(NAME).expect("a name");
        let stream = connect(server.address()).await;
        let mut stream = connector.connect(name, stream).await.expect("shaken hands");
        let request = format!("GET /healthz HTTP/1.1\r\nhost: {NAME}\r\nconnection: close\r\n\r\n");
        let sent = stream.write_all(request.as_bytes()).await;
        sent.expect("it is open");
        let mut answer = String::new();
        let read = stream.read_to_string(&mut answer).await;
        read.expect("it is answered");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        kinds.extend(stream.get_ref().1.handshake_kind());
    }
    assert_eq!(kinds[0], HandshakeKind::Full);
    kinds[1]
}

async fn where_callers_show_certificates_no_session_is_resumed(database: TestDatabase) {
    let authority = Authority::root("Root");
    let directory = database.directory.path();
    let files = Files::write(directory, &authority.issue(NAME, GOOD));
    let authorities = directory.join("clients.pem");
    std::fs::write(&authorities, authority.certificate.pem()).expect("the directory is there");
    let authorities = authorities.to_str().expect("a name").to_owned();
    let caller = authority.issue("a.example", GOOD);
    for (more, kind) in [
        (None, HandshakeKind::Resumed),
        (Some(authorities), HandshakeKind::Full),
    ] {
        let mut options = files.options();
        let more = more.map(|path| ("TOKEN_SERVER__HTTP__TLS__CLIENT_CA_FILE", path));
        options.env.extend(more);
        let server = Server::start_with(&database, options).await;
        for version in [&version::TLS12, &version::TLS13] {
            let made = second(&server, (&authority, &caller), version).await;
            assert_eq!(made, kind, "{version:?}");
        }
        server.stop().await;
    }
}
