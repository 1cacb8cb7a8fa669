//! An OAuth server whose refresh tokens rotate: each refresh ends the token before it, at
//! once or after a while. It remembers every request.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use poem::http::StatusCode;
use poem::{Endpoint, Request, Response};
use serde_json::json;
use token_server::foundation::clock::{EpochMs, Ms, SharedClock, SystemClock};
use tokio::sync::watch;

use crate::kit::provider::LocalServer;

/// The header that names the attempt.
pub const ATTEMPT: &str = "X-Attempt";

/// What happens to a refresh token that was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reuse {
    /// It is accepted that long beside its successor.
    AcceptedFor(Ms),
    /// It is refused, and ends the whole family (RFC 9700, section 4.14.2).
    EndsFamily,
}

/// Where requests are held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Held {
    #[default]
    Nowhere,
    /// Received, and nothing done.
    Before,
    /// The tokens are rotated, and not answered.
    After,
    /// Those that were held before are never answered, and nothing is done for them.
    Dropped,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The serial of the new pair.
    Rotated(u64),
    Refused,
}

/// One request, as far as it was worked on.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// When it came, and when it was worked on.
    pub received: EpochMs,
    pub at: EpochMs,
    pub client: String,
    /// The attempt that asked, by its own word.
    pub attempt: String,
    pub presented: u64,
    pub outcome: Outcome,
}

#[derive(Debug, Default)]
struct Family {
    current: u64,
    rotated_at: i64,
    ended: bool,
}

#[derive(Debug)]
struct State {
    families: HashMap<String, Family>,
    log: Vec<Exchange>,
    received: usize,
    next: Next,
}

/// What is done with the next request, and no other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Next {
    #[default]
    Usual,
    /// Received, and nothing done until it is let go.
    HeldBefore,
    /// The tokens are rotated, and not answered until it is let go.
    HeldAfter,
    /// Answered 503, and nothing done.
    Busy,
}

#[derive(Clone)]
struct Authority {
    reuse: Reuse,
    lifetime_s: i64,
    clock: SharedClock,
    state: Arc<Mutex<State>>,
    held: watch::Sender<Held>,
    /// The one request that is held by itself: client and attempt.
    holding: watch::Sender<Option<(String, String)>>,
}

pub struct RotatingProvider {
    authority: Authority,
    server: LocalServer,
}

impl RotatingProvider {
    pub async fn start(reuse: Reuse, lifetime_s: i64) -> Self {
        Self::on_clock(reuse, lifetime_s, Arc::new(SystemClock)).await
    }

    /// On a test's own clock.
    pub async fn on_clock(reuse: Reuse, lifetime_s: i64, clock: SharedClock) -> Self {
        let authority = Authority {
            reuse,
            lifetime_s,
            clock,
            state: Arc::new(Mutex::new(State {
                families: HashMap::new(),
                log: Vec::new(),
                received: 0,
                next: Next::default(),
            })),
            held: watch::Sender::default(),
            holding: watch::Sender::default(),
        };
        let server = LocalServer::start(authority.clone()).await;
        Self { authority, server }
    }

    pub fn url(&self) -> String {
        self.server.url("/token")
    }

    pub fn reuse(&self) -> Reuse {
        self.authority.reuse
    }

    /// The refresh token that a client begins with.
    pub fn first_refresh_token(client: &str) -> String {
        format!("refresh.{client}.0")
    }

    pub fn hold(&self, at: Held) {
        self.authority.held.send_replace(at);
    }

    pub fn next(&self, next: Next) {
        self.authority.state().next = next;
    }

    /// Lets the one that is held by itself go.
    pub fn let_go(&self) {
        self.authority.holding.send_replace(None);
    }

    /// Waits until a request is held by itself; answers its client and its attempt.
    pub async fn holds(&self) -> (String, String) {
        let mut holding = self.authority.holding.subscribe();
        let held = holding.wait_for(Option::is_some).await;
        let held = held.expect("the provider lives").clone();
        held.expect("it was waited for")
    }

    pub fn log(&self) -> Vec<Exchange> {
        self.authority.state().log.clone()
    }

    /// Requests that came, worked on or not.
    pub fn received(&self) -> usize {
        self.authority.state().received
    }

    /// How often tokens were rotated.
    pub fn rotations(&self) -> usize {
        let rotated = |exchange: &&Exchange| matches!(exchange.outcome, Outcome::Rotated(_));
        self.authority.state().log.iter().filter(rotated).count()
    }
}

/// The client and the serial of a token; the token names both.
pub fn serial_of(token: &str) -> Option<(String, u64)> {
    let (rest, serial) = token.rsplit_once('.')?;
    let (_, client) = rest.split_once('.')?;
    Some((client.to_owned(), serial.parse().ok()?))
}

impl Authority {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn rotate(&self, received: EpochMs, client: &str, attempt: &str, presented: u64) -> Outcome {
        let now = self.clock.now();
        let mut state = self.state();
        let family = state.families.entry(client.to_owned()).or_default();
        let current = presented == family.current;
        let outcome = match self.reuse {
            _ if family.ended => Outcome::Refused,
            Reuse::AcceptedFor(grace) => {
                let previous =
                    presented + 1 == family.current && now.0 - family.rotated_at < grace.0;
                if current || previous {
                    Outcome::Rotated(family.current + 1)
                } else {
                    Outcome::Refused
                }
            }
            Reuse::EndsFamily if current => Outcome::Rotated(family.current + 1),
            Reuse::EndsFamily => {
                family.ended = true;
                Outcome::Refused
            }
        };
        if let Outcome::Rotated(serial) = outcome {
            family.current = serial;
            family.rotated_at = now.0;
        }
        state.log.push(Exchange {
            received,
            at: now,
            client: client.to_owned(),
            attempt: attempt.to_owned(),
            presented,
            outcome: outcome.clone(),
        });
        outcome
    }

    /// Waits while requests are held there; false where this one is to be dropped.
    async fn pass(&self, stage: Held) -> bool {
        let mut held = self.held.subscribe();
        let was_held = *held.borrow() == stage;
        let now = held.wait_for(|held| *held != stage).await.map(|held| *held);
        !(was_held && matches!(now, Ok(Held::Dropped)))
    }
}

impl Authority {
    /// Holds a request until it is let go.
    async fn hold(&self, client: &str, attempt: &str) {
        let mut holding = self.holding.subscribe();
        self.holding
            .send_replace(Some((client.to_owned(), attempt.to_owned())));
        let _ = holding.wait_for(Option::is_none).await;
    }
}

impl Endpoint for Authority {
    type Output = Response;

    async fn call(&self, mut request: Request) -> poem::Result<Response> {
        let received = self.clock.now();
        let attempt = request.header(ATTEMPT).unwrap_or_default().to_owned();
        let body = request.take_body().into_bytes().await.unwrap_or_default();
        let presented = url::form_urlencoded::parse(&body)
            .find(|(name, _)| name == "refresh_token")
            .and_then(|(_, token)| serial_of(&token));
        let Some((client, serial)) = presented else {
            return Ok(Response::builder().status(StatusCode::BAD_REQUEST).finish());
        };
        let next = {
            let mut state = self.state();
            state.received += 1;
            std::mem::take(&mut state.next)
        };
        if next == Next::Busy {
            let busy = StatusCode::SERVICE_UNAVAILABLE;
            return Ok(Response::builder().status(busy).finish());
        }
        if next == Next::HeldBefore {
            self.hold(&client, &attempt).await;
        }
        if !self.pass(Held::Before).await {
            return Ok(Response::builder().status(StatusCode::BAD_GATEWAY).finish());
        }
        let outcome = self.rotate(received, &client, &attempt, serial);
        if next == Next::HeldAfter {
            self.hold(&client, &attempt).await;
        }
        self.pass(Held::After).await;
        let (status, answer) = match outcome {
            Outcome::Rotated(serial) => (
                StatusCode::OK,
                json!({
                    "access_token": format!("access.{client}.{serial}"),
                    "refresh_token": format!("refresh.{client}.{serial}"),
                    "expires_in": self.lifetime_s, "token_type": "Bearer",
                }),
            ),
            Outcome::Refused => (StatusCode::BAD_REQUEST, json!({"error": "invalid_grant"})),
        };
        Ok(Response::builder()
            .status(status)
            .content_type("application/json")
            .body(answer.to_string()))
    }
}
