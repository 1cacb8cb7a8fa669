//! Copies of the audit: in a file, by syslog, over HTTPS; nothing is lost while a sink is away.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Value, json};
use token_server::foundation::clock::Ms;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, UdpSocket, UnixDatagram};

use super::{exported, save};
use crate::kit::server::Options;
use crate::kit::{Answer, Provider, Server, TestDatabase, eventually, on_every_database};

on_every_database! {
    a_file_has_every_entry_in_order_also_after_it_was_moved_away,
    a_receiver_over_http_gets_what_it_did_not_take_at_first,
    what_another_server_left_is_copied_after_a_minute,
    syslog_gets_each_entry_over_each_transport,
}

const FILE: &str = "TOKEN_SERVER__AUDIT__FILE";
const SYSLOG: &str = "TOKEN_SERVER__AUDIT__SYSLOG";
const URL: &str = "TOKEN_SERVER__AUDIT__URL";
const TOKEN: &str = "TOKEN_SERVER__AUDIT__TOKEN";

/// Of each entry its chain and its place there.
fn places(entries: &[Value]) -> BTreeSet<String> {
    let place = |entry: &Value| format!("{} {}", entry["chain"], entry["seq"]);
    entries.iter().map(place).collect()
}

fn lines(text: &str) -> Vec<Value> {
    let lines = text.lines().map(serde_json::from_str);
    lines.collect::<Result<_, _>>().expect("lines of JSON")
}

fn in_file(path: &Path) -> Vec<Value> {
    lines(&std::fs::read_to_string(path).unwrap_or_default())
}

async fn a_file_has_every_entry_in_order_also_after_it_was_moved_away(database: TestDatabase) {
    let path = database.directory.path().join("audit.jsonl");
    let options = Options::default().with(&[(FILE, &path.display().to_string())]);
    let server = Server::start_with(&database, options.clone()).await;
    save(&server, "a").await;
    save(&server, "b").await;
    let copied = async |path: &Path, count: usize| {
        eventually("all are in the file", async || {
            Some(in_file(path)).filter(|entries| entries.len() >= count)
        })
        .await
    };
    let first = copied(&path, 3).await;
    let moved = database.directory.path().join("moved.jsonl");
    std::fs::rename(&path, &moved).expect("it can be moved");
    save(&server, "c").await;
    copied(&path, 1).await;
    server.stop().await;
    // Another process goes on where that one was.
    let server = Server::start_with(&database, options).await;
    save(&server, "d").await;
    let second = copied(&path, 2).await;
    server.stop().await;
    let mut all = [in_file(&moved), in_file(&path)].concat();
    // A server that is stopped before it has noted what it copied has the next copy that again.
    let mut seen = BTreeSet::new();
    all.retain(|entry| seen.insert(entry["id"].as_i64()));
    assert_eq!(all, exported(&database, &[]));
    assert!(first.len() == 4 && second.len() >= 2);
}

async fn a_receiver_over_http_gets_what_it_did_not_take_at_first(database: TestDatabase) {
    let receiver = Provider::start().await;
    receiver.answer_with(Answer::status(503));
    let url = receiver.url("/audit");
    let env = [(URL, &*url), (TOKEN, "canary-bearer")];
    let server = Server::with_env(&database, &env).await;
    save(&server, "a").await;
    let failures = "token_server_audit_sink_failures_total{sink=\"https\"}";
    // The first try may have been for the first entry alone.
    let behind = "token_server_audit_sink_behind{sink=\"https\"} 3";
    eventually(
        "the failure is counted, and all three entries are lacking",
        async || {
            let page = server.client.get("/metrics").await.text;
            (page.contains(failures) && page.contains(behind)).then_some(())
        },
    )
    .await;
    receiver.answer_with(Answer::status(204));
    eventually("nothing is lacking", async || {
        let page = server.client.get("/metrics").await.text;
        page.contains("token_server_audit_sink_behind{sink=\"https\"} 0")
            .then_some(())
    })
    .await;
    server.stop().await;
    let requests = receiver.requests();
    let last = requests.last().expect("a request");
    assert_eq!(last.method, "POST");
    assert_eq!(last.headers["authorization"], "Bearer canary-bearer");
    assert_eq!(last.headers["content-type"], "application/x-ndjson");
    let taken: Vec<_> = requests.iter().flat_map(|sent| lines(&sent.body)).collect();
    assert_eq!(places(&taken), places(&exported(&database, &[])));
}

async fn what_another_server_left_is_copied_after_a_minute(database: TestDatabase) {
    let path = database.directory.path().join("audit.jsonl");
    let (server, clock) = Server::on_manual_clock(&database).await;
    save(&server, "left").await;
    let mut options = Options::default().with(&[(FILE, &path.display().to_string())]);
    options.clock = Some(clock.clone());
    let copying = Server::start_with(&database, options).await;
    save(&copying, "own").await;
    eventually("its own is copied", async || {
        (in_file(&path).len() == 1).then_some(())
    })
    .await;
    clock.advance(Ms::from_secs(60));
    eventually("that of the other is copied", async || {
        let entries = in_file(&path);
        let left = entries.iter().any(|entry| entry["target"] == "left");
        left.then_some(())
    })
    .await;
}

async fn syslog_gets_each_entry_over_each_transport(database: TestDatabase) {
    let path = database.directory.path().join("log");
    let local = UnixDatagram::bind(&path).expect("a socket");
    let udp = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    let tcp = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
    let port = |address: std::io::Result<std::net::SocketAddr>| address.expect("an address").port();
    let addresses = [
        format!("unix:{}", path.display()),
        format!("udp://127.0.0.1:{}", port(udp.local_addr())),
        format!("tcp://127.0.0.1:{}", port(tcp.local_addr())),
    ];
    for (number, address) in addresses.iter().enumerate() {
        let server = Server::with_env(&database, &[(SYSLOG, address)]).await;
        save(&server, &format!("r{number}")).await;
        let wanted = format!("\"target\":\"r{number}\"");
        let mut buffer = vec![0; 1 << 16];
        let message = loop {
            let length = match number {
                0 => local.recv(&mut buffer).await.expect("a message"),
                1 => udp.recv(&mut buffer).await.expect("a message"),
                _ => {
                    let (mut stream, _) = tcp.accept().await.expect("a connection");
                    let mut all = Vec::new();
                    stream.read_to_end(&mut all).await.expect("messages");
                    buffer[..all.len()].copy_from_slice(&all);
                    all.len()
                }
            };
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if text.contains(&wanted) {
                break text;
            }
        };
        if number == 2 {
            let (length, rest) = message.split_once(' ').expect("a length");
            let length: usize = length.parse().expect("a number");
            assert!(
                rest.len() >= length && rest.starts_with("<110>1 "),
                "{message}"
            );
        } else {
            assert!(message.starts_with("<110>1 20"), "{message}");
        }
        assert!(
            message.contains(" - token-server - realm.save - {"),
            "{message}"
        );
        server.stop().await;
    }
    let taken = "SELECT COUNT(*) FROM ts_audit_sink WHERE sink = 'syslog'";
    eventually("it is stored what was taken", async || {
        (database.number(taken).await == 1).then_some(json!(null))
    })
    .await;
}
