//! Tokens of fifteen seconds from both servers, while the token server is killed and the
//! providers are restarted: whatever is served, its provider accepts.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use token_server::foundation::clock::{Clock, EpochMs, Ms, SystemClock, Timeline};
use tokio::sync::watch;

use super::{
    CLIENT_SECRET, credentials_realm, key_realm, private_key, refreshing_realm, register,
    register_key, register_refresher, save_secret,
};
use crate::kit::process::ServerProcess;
use crate::kit::python::{Library, PythonServer};
use crate::kit::server::Client;
use crate::kit::{TestDatabase, eventually, on_every_database};

on_every_database! {
    every_token_served_is_accepted_through_a_kill_and_a_restart_of_the_providers,
}

const TOKEN_TTL_S: u32 = 15;
/// Kills come where nothing is due for that long: a kill within an exchange may cost a refresh
/// token, and that is not what is tried here.
const QUIET: Ms = Ms::from_secs(1);
const POLL_EVERY: Duration = Duration::from_millis(50);

/// A secret, and who judges its tokens.
#[derive(Clone)]
struct Watched {
    realm: &'static str,
    oauth: Arc<PythonServer>,
}

/// A token that was served, and what its provider said of it at once.
#[derive(Debug)]
struct Served {
    realm: &'static str,
    generation: i64,
    asked_at: EpochMs,
    accepted: bool,
}

/// What the readers are told.
#[derive(Clone, Default)]
struct Told {
    /// The providers are being restarted.
    away: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
}

/// Reads and has judged until told to stop.
async fn read(watched: Watched, server: watch::Receiver<Client>, told: Told) -> Vec<Served> {
    let mut all = Vec::new();
    let mut pace = tokio::time::interval(POLL_EVERY);
    while !told.stop.load(Ordering::Relaxed) {
        pace.tick().await;
        let client = server.borrow().clone();
        let path = format!("/api/token?realm={}&key=k", watched.realm);
        let (asked_at, asked) = (SystemClock.now(), SystemClock.boot());
        // It may be dead at the moment.
        let request = client.request(reqwest::Method::GET, &path);
        let Ok(reply) = Client::try_send(request).await else {
            continue;
        };
        // A provider may be away for longer than its token lives: none is served then.
        let away = told.away.load(Ordering::Relaxed);
        if away && reply.status == reqwest::StatusCode::SERVICE_UNAVAILABLE {
            continue;
        }
        let served = reply.expect(200).json();
        let token = served["token"].as_str().expect("a token");
        let Ok(accepted) = watched.oauth.accepts(token).await else {
            continue;
        };
        let life = Ms(served["expires_in"].as_i64().expect("a number"));
        // Judged too late: the life that it was served with is over.
        if !accepted && SystemClock.boot().since(asked) >= life {
            continue;
        }
        all.push(Served {
            realm: watched.realm,
            generation: served["generation"].as_i64().expect("a generation"),
            asked_at,
            accepted,
        });
    }
    all
}

/// Saves the realms and secrets; answers what is to be watched.
async fn begin(client: &Client) -> Vec<Watched> {
    let authlib = Arc::new(PythonServer::start(Library::Authlib, TOKEN_TTL_S).await);
    let django = Arc::new(PythonServer::start(Library::Django, TOKEN_TTL_S).await);
    register_key(&authlib).await;
    let mut all = Vec::new();
    for (realm, library, oauth) in [
        ("authlib-secret", Library::Authlib, &authlib),
        ("authlib-key", Library::Authlib, &authlib),
        ("authlib-refresh", Library::Authlib, &authlib),
        ("django-secret", Library::Django, &django),
        ("django-refresh", Library::Django, &django),
    ] {
        let (config, params) = if realm.ends_with("-key") {
            (key_realm(oauth, &json!({})), json!({"key": private_key()}))
        } else if realm.ends_with("-refresh") {
            let params = register_refresher(oauth, realm).await;
            (refreshing_realm(library, oauth), params)
        } else {
            let method = "client_secret_basic";
            register(oauth, realm, CLIENT_SECRET, method, "client_credentials").await;
            let params = json!({"client_id": realm, "client_secret": CLIENT_SECRET});
            (credentials_realm(oauth, method), params)
        };
        client.save_realm(realm, config).await;
        save_secret(client, realm, "k", params).await;
        let oauth = oauth.clone();
        all.push(Watched { realm, oauth });
    }
    for watched in &all {
        client.generation(watched.realm, "k", 1).await;
    }
    all
}

/// Waits until each secret has had so many more tokens.
async fn renewed(client: &Client, watched: &[Watched], times: i64) {
    let mut wanted = Vec::new();
    for watched in watched {
        let now = client.secret(watched.realm, "k").await["generation"].as_i64();
        wanted.push((watched.realm, now.expect("a generation") + times));
    }
    for (realm, generation) in wanted {
        client.generation(realm, "k", generation).await;
    }
}

/// Waits until no exchange is under way, nor will be soon.
async fn quiet(client: &Client, watched: &[Watched]) {
    eventually("a moment without renewals", async || {
        for watched in watched {
            let secret = client.secret(watched.realm, "k").await;
            let left = time(&secret["renew_at"]).since(SystemClock.now());
            if secret["state"] != "active" || left < QUIET {
                return None;
            }
        }
        Some(())
    })
    .await;
}

fn time(text: &Value) -> EpochMs {
    let text = text.as_str().expect("a time");
    let time = chrono::DateTime::parse_from_rfc3339(text).expect("RFC 3339");
    EpochMs(time.timestamp_millis())
}

async fn every_token_served_is_accepted_through_a_kill_and_a_restart_of_the_providers(
    database: TestDatabase,
) {
    let mut server = ServerProcess::start(&database, &[]);
    let watched = begin(&server.client).await;
    let (sender, receiver) = watch::channel(server.client.clone());
    let told = Told::default();
    let readers: Vec<_> = watched
        .iter()
        .map(|watched| tokio::spawn(read(watched.clone(), receiver.clone(), told.clone())))
        .collect();
    renewed(&server.client, &watched, 1).await;
    quiet(&server.client, &watched).await;
    server.kill();
    server = ServerProcess::start(&database, &[]);
    sender.send_replace(server.client.clone());
    renewed(&server.client, &watched, 1).await;
    quiet(&server.client, &watched).await;
    told.away.store(true, Ordering::Relaxed);
    for oauth in [&watched[0].oauth, &watched[3].oauth] {
        oauth.restart().await;
    }
    renewed(&server.client, &watched, 1).await;
    told.stop.store(true, Ordering::Relaxed);
    let mut all = Vec::new();
    for reader in readers {
        all.extend(reader.await.expect("a reader ends"));
    }
    judge(&server.client, &watched, &all).await;
}

async fn judge(client: &Client, watched: &[Watched], all: &[Served]) {
    let attempts = client.list("/api/renewal").await;
    for watched in watched {
        let of_realm = || all.iter().filter(|served| served.realm == watched.realm);
        let generations: std::collections::BTreeSet<_> =
            of_realm().map(|served| served.generation).collect();
        assert!(generations.len() >= 4, "{}: {generations:?}", watched.realm);
        assert!(of_realm().count() >= 100, "{}", watched.realm);
        let secret = client.secret(watched.realm, "k").await;
        assert_eq!(secret["state"], "active", "{secret}");
        let revokes = watched.realm == "django-refresh";
        for served in of_realm().filter(|served| !served.accepted) {
            // Of a provider that ends the old token: only one that was asked for before its
            // successor was.
            let successor = attempts.iter().find(|attempt| {
                attempt["realm"] == watched.realm && attempt["generation"] == served.generation + 1
            });
            let replaced_since =
                successor.is_some_and(|attempt| time(&attempt["started_at"]) >= served.asked_at);
            assert!(revokes && replaced_since, "{served:?}, then {successor:?}");
        }
    }
}
