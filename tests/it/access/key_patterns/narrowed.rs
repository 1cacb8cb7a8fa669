//! Calls by a credential that is narrowed or revoked meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::{Value, json};

use super::{claims, register};
use crate::access::make_key;
use crate::kit::issuer::SigningKey;
use crate::kit::server::{Client, Options};
use crate::kit::{Server, TestDatabase, eventually, on_every_database};
use crate::rights::LIMITED;

on_every_database! {
    calls_that_begin_after_a_credential_was_narrowed_or_revoked_reach_nothing_more,
}

/// Calls that go on until they are told to end, by one credential.
struct Callers {
    /// What was taken away is away, on the server that is called.
    changed: AtomicBool,
    done: AtomicBool,
    /// Changes of the secret `b` that were answered 200.
    made: AtomicUsize,
    /// Calls that began after that.
    after: AtomicUsize,
}

impl Callers {
    /// Reads and changes the secret `b`, and lists. Once the credential is narrowed (`403`) or
    /// revoked (`401`), nothing of `b` is reached by a call that begins then.
    async fn call(&self, caller: &Client, refused: u16) {
        for round in 0.. {
            let begun_after = self.changed.load(Ordering::SeqCst);
            if begun_after {
                self.after.fetch_add(1, Ordering::SeqCst);
            }
            let body = json!({"realm": "f", "key": "b", "token": format!("canary-{round}")});
            let (what, reply) = match round % 4 {
                0 => ("read", caller.token("f", "b").await),
                1 => ("change", caller.put("/api/token", &body).await),
                2 => ("list", caller.get("/api/secret?realm=f").await),
                _ => ("show", caller.get("/api/secret/f/b").await),
            };
            let status = reply.status.as_u16();
            assert!(
                [200, refused].contains(&status),
                "{what}: {status} {}",
                reply.text
            );
            self.made.fetch_add(
                usize::from(what == "change" && status == 200),
                Ordering::SeqCst,
            );
            let shows = reply.text.contains("\"b\"") || reply.text.contains("canary-");
            if begun_after {
                assert!(
                    status == refused || what == "list" && refused == 403,
                    "{what}: {status}"
                );
                assert!(!shows, "{what}: {}", reply.text);
            }
            if self.done.load(Ordering::SeqCst) {
                return;
            }
        }
    }
}

async fn calls_that_begin_after_a_credential_was_narrowed_or_revoked_reach_nothing_more(
    database: TestDatabase,
) {
    let (server, clock) = Server::on_manual_clock(&database).await;
    let options = Options {
        clock: Some(clock.clone()),
        ..Default::default()
    };
    let beside = Server::start_with(&database, options).await;
    let client = &server.client;
    client
        .post("/api/realm", &json!({"id": "f"}))
        .await
        .expect(200);
    for key in ["a", "b"] {
        let body = json!({"realm": "f", "key": key, "token": "canary-first"});
        client.put("/api/token", &body).await.expect(200);
    }
    let signing = SigningKey::new("k", "ES256");
    let rule =
        |keys: &[&str]| json!({"when": "claims.sub == 'limited'", "scopes": LIMITED, "keys": keys});
    register(client, &signing, &rule(&["a", "b"])).await;
    let token = signing.token(&claims(&*clock));
    let document = json!({"name": "to be revoked", "scopes": LIMITED, "keys": ["a", "b"]});
    let (id, api_key) = make_key(client, &document).await;
    beside.follows().await;
    let mut calling = Vec::new();
    for (credential, refused) in [(&token, 403), (&api_key, 401)] {
        for called in [&server, &beside] {
            let callers = Arc::new(Callers {
                changed: AtomicBool::new(false),
                done: AtomicBool::new(false),
                made: AtomicUsize::new(0),
                after: AtomicUsize::new(0),
            });
            let caller = called.client.with_key(credential);
            let tasks: Vec<_> = (0..2)
                .map(|_| {
                    let (callers, caller) = (callers.clone(), caller.clone());
                    tokio::spawn(async move { callers.call(&caller, refused).await })
                })
                .collect();
            calling.push((callers, tasks));
        }
    }
    for (callers, _) in &calling {
        eventually("changes are made", async || {
            (callers.made.load(Ordering::SeqCst) > 2).then_some(())
        })
        .await;
    }
    register(client, &signing, &rule(&["a"])).await;
    client
        .delete(&format!("/api/api-key/{id}"))
        .await
        .expect(200);
    // The server that was told knows at once, the other follows.
    for (place, (callers, _)) in calling.iter().enumerate() {
        if place % 2 == 0 {
            callers.changed.store(true, Ordering::SeqCst);
        }
    }
    beside.follows().await;
    for (callers, _) in &calling {
        callers.changed.store(true, Ordering::SeqCst);
    }
    let mut made = 0;
    for (callers, tasks) in calling {
        eventually("calls begin after it", async || {
            (callers.after.load(Ordering::SeqCst) > 8).then_some(())
        })
        .await;
        callers.done.store(true, Ordering::SeqCst);
        for task in tasks {
            task.await.expect("what it saw is right");
        }
        made += callers.made.load(Ordering::SeqCst);
    }
    // Each change that was answered is in the audit, and no other.
    let entries = client
        .list("/api/audit?action=secret.save&target=f/b")
        .await;
    let by = |entry: &&Value| {
        let actor = entry["actor"].as_str().unwrap_or_default();
        entry["outcome"] == "done" && (actor == "to be revoked" || actor.starts_with("jwt:"))
    };
    assert_eq!(entries.iter().filter(by).count(), made);
}
