//! Denied calls in the audit: added up, so that a flood adds rows by the minute, and none is lost.

use reqwest::Method;
use serde_json::{Value, json};
use token_server::access::writer::{Denial, DenialReason, GivenToken};
use token_server::foundation::clock::Ms;

use crate::kit::process::ServerProcess;
use crate::kit::server::Client;
use crate::kit::{Server, TestDatabase, eventually, on_every_database};

on_every_database! {
    a_flood_of_denied_calls_adds_rows_by_the_minute_and_each_call_is_counted,
    calls_are_counted_apart_by_caller_reason_method_and_minute,
    a_method_that_nobody_knows_keeps_no_entry_out_of_the_audit,
    a_stopping_server_writes_what_it_has_counted,
    what_a_database_does_not_take_is_written_later,
    what_was_never_written_is_counted_as_dropped,
    no_more_entries_wait_for_a_database_than_ten_thousand_and_the_oldest_are_kept,
}

const MINUTE: Ms = Ms::from_secs(60);
const CALLS: &str =
    "SELECT CAST(COALESCE(SUM(count), 0) AS SIGNED) FROM ts_audit WHERE outcome = 'denied'";
const ROWS: &str = "SELECT COUNT(*) FROM ts_audit";
const BYTES: &str = "SELECT CAST(SUM(64 + LENGTH(action) + LENGTH(target) + LENGTH(COALESCE(actor, '')) \
     + LENGTH(COALESCE(detail, '')) + LENGTH(COALESCE(request_id, ''))) AS SIGNED) FROM ts_audit";

async fn with_key(client: &Client, document: Value) -> Client {
    let made = client.post("/api/api-key", &document).await.expect(200);
    let key = made.json()["data"]["key"].as_str().map(str::to_owned);
    client.with_key(&key.expect("a key"))
}

/// Calls so often, at once on several connections that are kept. Each call has another query, and a
/// number of its own.
async fn flood(
    caller: impl Fn(usize) -> Client + Clone + Send + 'static,
    path: &str,
    calls: usize,
    status: u16,
) {
    const AT_ONCE: usize = 8;
    let callers = (0..AT_ONCE).map(|first| {
        let (caller, path) = (caller.clone(), path.to_owned());
        tokio::spawn(async move {
            for call in (first..calls).step_by(AT_ONCE) {
                let path = path.replace("{call}", &call.to_string());
                let sent = caller(call).request(Method::GET, &path).send().await;
                let answer = sent.expect("the server answers");
                assert_eq!(answer.status().as_u16(), status);
                answer.bytes().await.expect("it is whole");
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.expect("it calls to the end");
    }
}

/// Waits until so many denied calls are in the audit.
async fn written(database: &TestDatabase, calls: i64) {
    eventually(&format!("{calls} denied calls in the audit"), async || {
        (database.number(CALLS).await == calls).then_some(())
    })
    .await;
}

/// Actor, method, target, detail and count of each denied call, oldest first.
async fn denied(client: &Client) -> Vec<Value> {
    let entries = client.list("/api/audit").await.into_iter().rev();
    let denied = entries.filter(|entry| entry["outcome"] == "denied");
    let fields = ["actor", "action", "target", "detail", "count"];
    let told = denied.map(|entry| json!(fields.map(|field| entry[field].clone())));
    told.collect()
}

async fn a_flood_of_denied_calls_adds_rows_by_the_minute_and_each_call_is_counted(
    database: TestDatabase,
) {
    let (server, clock) = Server::on_manual_clock(&database).await;
    let client = &server.client;
    let reader = with_key(client, json!({"name": "reader", "scopes": ["token:read"]})).await;
    let (rows, bytes) = (database.number(ROWS).await, database.number(BYTES).await);
    // Over real connections 3000: without a key, each with a wrong one of its own, without a scope.
    let nobody = client.without_key();
    flood(
        move |_| nobody.clone(),
        "/api/token?realm=r&key={call}",
        1500,
        401,
    )
    .await;
    let guessing = client.clone();
    let guess = move |call| guessing.with_key(&format!("tsk_guess-{call}"));
    flood(guess, "/api/token?realm=r&key={call}", 1000, 401).await;
    flood(
        move |_| reader.clone(),
        "/api/realm?keyword={call}",
        500,
        403,
    )
    .await;
    // The rest does without HTTP, in a fraction of the ten seconds: however many they are, they add
    // the same rows.
    for call in 0..30_000 {
        server.app().audit_writer.deny(Denial {
            actor: None,
            reason: DenialReason::Unauthorized,
            method: ["GET", "POST", "PUT"][call % 3].to_owned(),
            path: format!("/api/secret/realm/{call}"),
            request_id: call.to_string(),
        });
    }
    clock.advance(MINUTE);
    written(&database, 33_000).await;
    let (more_rows, more_bytes) = (
        database.number(ROWS).await - rows,
        database.number(BYTES).await - bytes,
    );
    assert_eq!(more_rows, 8);
    assert!(more_bytes < 1 << 20, "{more_bytes}");
    let (nobody, lacks) = ("no good API key", "lacks the scope realm:read");
    let several = "(several paths)";
    let mut sums = denied(client).await.split_off(4);
    sums.sort_by_key(Value::to_string);
    assert_eq!(
        sums,
        [
            json!(["reader", "GET", "/api/realm", lacks, 499]),
            json!([null, "GET", several, nobody, 2499 + 10_000]),
            json!([null, "POST", several, nobody, 9999]),
            json!([null, "PUT", several, nobody, 9999]),
        ]
    );
    assert_eq!(server.app().metrics.audit_dropped.get(), 0);
}

async fn calls_are_counted_apart_by_caller_reason_method_and_minute(database: TestDatabase) {
    let (server, clock) = Server::on_manual_clock(&database).await;
    let client = &server.client;
    let document = json!({
        "name": "limited", "scopes": ["token:read", "realm:read"], "realms": ["wx"],
    });
    let limited = with_key(client, document).await;
    let stranger = client.with_key("unknown");
    let mut expected = Vec::new();
    for minute in 1..=2 {
        for (caller, actor, operation, status, detail) in [
            (
                &limited,
                json!("limited"),
                "GET /api/token?realm=o&key=k",
                403,
                "does not cover that realm or key",
            ),
            (
                &limited,
                json!("limited"),
                "GET /api/token?realm=wx&key=k&flush=true",
                403,
                "lacks the scope token:flush",
            ),
            (&limited, json!("limited"), "PUT /api/token/flush", 405, ""),
            (
                &stranger,
                Value::Null,
                "GET /api/token?realm=o&key=k",
                401,
                "no good API key",
            ),
            (
                &stranger,
                Value::Null,
                "DELETE /api/realm/r",
                401,
                "no good API key",
            ),
        ] {
            let (method, path) = operation.split_once(' ').expect("a method and a path");
            let parsed: Method = method.parse().expect("a method");
            for _ in 0..3 {
                caller
                    .send(caller.request(parsed.clone(), path))
                    .await
                    .expect(status);
            }
            // What no handler is asked for is denied to nobody.
            if status != 405 {
                let target = path.split('?').next();
                expected.extend([1, 2].map(|count| json!([actor, method, target, detail, count])));
            }
        }
        clock.advance(MINUTE);
        written(&database, minute * 12).await;
    }
    let mut told = denied(client).await;
    told.sort_by_key(Value::to_string);
    expected.sort_by_key(Value::to_string);
    assert_eq!(told, expected);
    for entry in client.list("/api/audit").await {
        assert!(
            entry["outcome"] == "denied" || entry["count"] == 1,
            "{entry}"
        );
    }
}

async fn a_method_that_nobody_knows_keeps_no_entry_out_of_the_audit(database: TestDatabase) {
    let server = Server::start(&database).await;
    let client = &server.client;
    for length in [1, 300] {
        let method = Method::from_bytes(&vec![b'A'; length]).expect("a method");
        let request = client.without_key().request(method, "/x?flush");
        let request = request.header("origin", "null");
        let refused = request.send().await.expect("the server answers");
        assert_eq!(refused.status(), 403);
    }
    client.without_key().get("/api/realm").await.expect(401);
    server.stop().await;
    let methods = "SELECT COUNT(*) FROM ts_audit WHERE action IN ('other', 'GET')";
    assert_eq!(database.number(methods).await, 3);
    assert_eq!(database.number(CALLS).await, 3);
}

async fn a_stopping_server_writes_what_it_has_counted(database: TestDatabase) {
    let server = Server::start(&database).await;
    for _ in 0..7 {
        let stranger = server.client.without_key();
        stranger.get("/api/realm").await.expect(401);
    }
    server.stop().await;
    assert_eq!(database.number(CALLS).await, 7);
}

async fn what_a_database_does_not_take_is_written_later(database: TestDatabase) {
    let server = ServerProcess::start(&database, &[]);
    database.run("ALTER TABLE ts_audit RENAME TO away").await;
    let denied = async || server.client.without_key().get("/api/realm").await;
    denied().await.expect(401);
    eventually("the log says that it cannot be written", async || {
        let log = server.logged().concat();
        log.contains("writing calls to the audit").then_some(())
    })
    .await;
    denied().await.expect(401);
    database.run("ALTER TABLE away RENAME TO ts_audit").await;
    eventually("the first is written", async || {
        (database.number(CALLS).await > 0).then_some(())
    })
    .await;
    // The other is counted until the minute ends, or the server.
    server.terminate();
    assert_eq!(server.exit_code(), Some(0));
    assert_eq!(database.number(CALLS).await, 2);
}

async fn what_was_never_written_is_counted_as_dropped(database: TestDatabase) {
    let server = Server::start(&database).await;
    database.run("ALTER TABLE ts_audit RENAME TO away").await;
    for _ in 0..5 {
        let stranger = server.client.without_key();
        stranger.get("/api/realm").await.expect(401);
    }
    let app = server.app().clone();
    server.stop().await;
    assert_eq!(app.metrics.audit_dropped.get(), 5);
    app.audit_writer.deny(Denial {
        actor: None,
        reason: DenialReason::Limited,
        method: "GET".to_owned(),
        path: "/".to_owned(),
        request_id: String::new(),
    });
    assert_eq!(app.metrics.audit_dropped.get(), 6);
}

async fn no_more_entries_wait_for_a_database_than_ten_thousand_and_the_oldest_are_kept(
    database: TestDatabase,
) {
    const MORE: usize = 7;
    let server = Server::start(&database).await;
    database.run("ALTER TABLE ts_audit RENAME TO away").await;
    for number in 0..10_000 + MORE {
        let read = GivenToken {
            actor: "reader",
            realm: "r",
            key: &format!("k{number}"),
            generation: 1,
        };
        server.app().audit_writer.token_read(&read, "q");
    }
    let dropped = &server.app().metrics.audit_dropped;
    // Some are being tried meanwhile, and come back.
    eventually("what is too much is dropped", async || {
        (dropped.get() == MORE as u64).then_some(())
    })
    .await;
    database.run("ALTER TABLE away RENAME TO ts_audit").await;
    server.stop().await;
    let kept = "SELECT COUNT(*) FROM ts_audit WHERE action = 'token.read'";
    assert_eq!(database.number(kept).await, 10_000);
    let last = format!("{kept} AND target IN ('r/k10000', 'r/k{}')", 9999 + MORE);
    assert_eq!(database.number(&last).await, 0);
}
