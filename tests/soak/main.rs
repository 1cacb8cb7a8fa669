//! Fifty secrets of a real OAuth server with 20-second tokens, for ten minutes: every
//! poll of every secret must be answered with a token that the provider itself still
//! accepts, at no more than 1.5 times the fewest requests possible.
//!
//! `SOAK_MINUTES` and `SOAK_SECRETS` change the size, `SOAK_DATABASE=mysql` the database.

// A soak fails by panicking; it measures in floating point and tells on standard output.
#![allow(clippy::panic, clippy::print_stdout, clippy::cast_precision_loss)]

// The kit serves the integration tests; a soak needs a part of it.
#[allow(dead_code, unused_imports, unused_macros)]
#[path = "../it/kit/mod.rs"]
mod kit;

use std::process::ExitCode;
use std::time::Duration;

use kit::TestDatabase;
use kit::oidc::OauthServer;
use kit::process::ServerProcess;
use kit::server::Client;
use serde_json::json;
use token_server::foundation::clock::{BootMs, Clock, Ms, SystemClock};

const TOKEN_TTL_S: u32 = 20;
const POLL_EVERY: Duration = Duration::from_millis(500);
/// Requests, against the fewest possible.
const RATIO_MAX: f64 = 1.5;

struct Size {
    minutes: i64,
    secrets: usize,
    mysql: bool,
}

impl Size {
    fn of_environment() -> Self {
        let value = |wanted: &str| std::env::vars().find(|(name, _)| name == wanted);
        let number = |name: &str, default: i64| {
            value(name).map_or(default, |(_, text)| text.parse().expect("a whole number"))
        };
        Self {
            minutes: number("SOAK_MINUTES", 10),
            secrets: usize::try_from(number("SOAK_SECRETS", 50)).expect("a count"),
            mysql: value("SOAK_DATABASE").is_some_and(|(_, kind)| kind == "mysql"),
        }
    }
}

/// What the pollers of one secret, or of all, have seen.
#[derive(Default)]
struct Seen {
    polls: u64,
    accepted: u64,
    /// Answers that were not a token, and tokens that the provider did not accept.
    complaints: Vec<String>,
    generations: i64,
}

#[tokio::main]
async fn main() -> ExitCode {
    let size = Size::of_environment();
    let database = match size.mysql {
        true => TestDatabase::mysql().await,
        false => TestDatabase::sqlite(),
    };
    let oauth = std::sync::Arc::new(OauthServer::start(size.secrets, TOKEN_TTL_S));
    let server = ServerProcess::start(&database, &[]);
    for number in 1..=size.secrets {
        register(&server.client, &oauth, number).await;
    }
    for number in 1..=size.secrets {
        server
            .client
            .generation(realm_of(number), &key_of(number), 1)
            .await;
    }
    let begun = SystemClock.boot();
    let end = BootMs(begun.0 + size.minutes * 60_000);
    let pollers: Vec<_> = (1..=size.secrets)
        .map(|number| tokio::spawn(poll(server.client.clone(), oauth.clone(), number, end)))
        .collect();
    let mut seen = Seen::default();
    for poller in pollers {
        seen.add(poller.await.expect("a poller ends"));
    }
    let lasted = SystemClock.boot().since(begun);
    let requests = oauth.issued().await;
    report(&size, &seen, lasted, requests)
}

/// Odd clients authenticate by Basic, even ones in the body.
fn realm_of(number: usize) -> &'static str {
    if number % 2 == 1 {
        "client_secret_basic"
    } else {
        "client_secret_post"
    }
}

fn key_of(number: usize) -> String {
    format!("client-{number}")
}

async fn register(client: &Client, oauth: &OauthServer, number: usize) {
    let realm = realm_of(number);
    client
        .save_realm(
            realm,
            json!({
                "url": oauth.token_endpoint(), "method": "POST", "content_type": "form",
                "arguments": [
                    {"name": "grant_type", "place": "body", "value": "client_credentials"},
                ],
                "client_auth": {
                    "method": realm, "client_id": "$key_1", "client_secret": "$key_2",
                },
                "token_path": "access_token", "expires_in_path": "expires_in",
            }),
        )
        .await;
    let secret = json!({
        "realm": realm, "key": key_of(number),
        "key_1": key_of(number), "key_2": OauthServer::secret_of(number),
    });
    client.post("/api/secret", &secret).await.expect(200);
}

async fn poll(
    client: Client,
    oauth: std::sync::Arc<OauthServer>,
    number: usize,
    end: BootMs,
) -> Seen {
    let (realm, key) = (realm_of(number), key_of(number));
    let mut seen = Seen::default();
    let mut pace = tokio::time::interval(POLL_EVERY);
    while SystemClock.boot() < end {
        pace.tick().await;
        seen.polls += 1;
        let reply = client.token(realm, &key).await;
        if !reply.status.is_success() {
            seen.complaints
                .push(format!("{key}: status {}", reply.status));
            continue;
        }
        let token = reply.json();
        seen.generations = token["generation"].as_i64().unwrap_or_default();
        if oauth
            .accepts(token["token"].as_str().unwrap_or_default())
            .await
        {
            seen.accepted += 1;
        } else {
            seen.complaints
                .push(format!("{key}: generation {} refused", seen.generations));
        }
    }
    seen
}

impl Seen {
    fn add(&mut self, other: Self) {
        self.polls += other.polls;
        self.accepted += other.accepted;
        self.complaints.extend(other.complaints);
        self.generations += other.generations;
    }
}

fn report(size: &Size, seen: &Seen, lasted: Ms, requests: u64) -> ExitCode {
    let seconds = lasted.as_duration().as_secs_f64();
    // Each token used to its last second, and none wasted on the registration.
    let fewest = size.secrets as f64 * (size.minutes * 60) as f64 / f64::from(TOKEN_TTL_S);
    let ratio = requests as f64 / fewest;
    println!("secrets            {}", size.secrets);
    println!("lasted             {seconds:.0} s");
    println!("polls              {}", seen.polls);
    println!("accepted           {}", seen.accepted);
    println!("upstream requests  {requests}");
    println!("fewest possible    {fewest:.0}");
    println!("ratio              {ratio:.3} (at most {RATIO_MAX})");
    for complaint in seen.complaints.iter().take(20) {
        println!("  {complaint}");
    }
    let good = seen.polls > 0 && seen.accepted == seen.polls && ratio <= RATIO_MAX;
    println!(
        "{}",
        if good {
            "1 passed, 0 failed"
        } else {
            "0 passed, 1 failed"
        }
    );
    if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
