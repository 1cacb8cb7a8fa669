//! Who watches a token is told of it at once, and whenever another takes its place. He is woken by
//! the memory: what follows is one look into it.

use std::pin::Pin;
use std::time::Duration;

use futures_util::stream;
use poem::http::StatusCode;
use poem::{FromRequest, Request, RequestBody};
use secrecy::ExposeSecret;
use serde::Serialize;
use serde_json::Value;
use strum::VariantArray;
use tokio::time::{Sleep, sleep};

use crate::access::scope::Scope;
use crate::access::writer::GivenToken;
use crate::api::auth::{Key, TokenRead};
use crate::api::credential::Credential;
use crate::api::event_stream::{EventStream, Sent, comment_every};
use crate::api::problem::Problem;
use crate::app::App;
use crate::foundation::clock::{Ms, Timeline};
use crate::foundation::ids::{Generation, KeyName, RealmId};
use crate::foundation::open_streams::TooManyStreams;
use crate::memory::changes::{Watched, Woken};
use crate::reads::{Ask, ReadError, Served};
use crate::token::ServedTag;
use crate::token::expiry::Expiry;

/// What an event holds beside the generation and the expiry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, VariantArray)]
pub enum Included {
    Token,
}

impl Included {
    pub const ALL: &'static [Self] = Self::VARIANTS;

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Token => "token",
        }
    }
}

/// What the caller shows.
pub struct Shown(Credential);

impl<'a> FromRequest<'a> for Shown {
    async fn from_request(request: &'a Request, _: &mut RequestBody) -> poem::Result<Self> {
        let app = request.data::<App>();
        let shown = app.and_then(|app| Credential::of(request, app));
        shown
            .map(Self)
            .ok_or_else(|| Problem::unauthorized().into())
    }
}

/// The data of an event.
#[derive(Serialize)]
struct WatchedToken<'a> {
    realm: &'a str,
    key: &'a str,
    generation: i64,
    expires_at: Option<String>,
    expires_in: i64,
    expires_in_s: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    extra: Option<&'a Value>,
}

/// What was last sent.
#[derive(PartialEq, Eq)]
struct Last {
    tag: Option<ServedTag>,
    generation: Generation,
    expiry: Expiry,
}

/// One who watches.
struct Watcher {
    app: App,
    credential: Credential,
    /// Its name, for the audit.
    caller: String,
    request_id: String,
    realm: RealmId,
    key: KeyName,
    includes_token: bool,
    watched: Watched,
    comment_every: Duration,
    /// Ends when a comment is to be sent.
    silence: Pin<Box<Sleep>>,
    /// Another token may be there than was last sent.
    looks: bool,
    /// The same, and it could not be seen.
    looks_later: bool,
    last: Option<Last>,
}

/// What a look found.
enum Found {
    Another(Sent),
    Nothing,
    /// The secret is not there any more.
    Gone,
    /// It is looked again with the next comment.
    Unknown,
}

/// Begins once there is a token, as a read does.
pub async fn begin(
    api_key: &Key<TokenRead>,
    app: &App,
    Shown(credential): Shown,
    (realm, key): (RealmId, KeyName),
    included: Option<Included>,
) -> Result<EventStream, Problem> {
    api_key.must_cover(&realm, &key)?;
    let actor = api_key.actor();
    let open = app.watchers.open(&actor.name).map_err(too_many)?;
    let ask = Ask {
        realm,
        key,
        min_ttl: Ms::ZERO,
        flush: None,
    };
    let served = app.reads.read(&ask).await?;
    let Ask { realm, key, .. } = ask;
    let comment_every = comment_every(&app.settings.http);
    let watcher = Watcher {
        watched: app.memory.changes().watch(served.secret),
        comment_every,
        silence: Box::pin(sleep(comment_every)),
        app: app.clone(),
        credential,
        caller: actor.name,
        request_id: actor.request_id.unwrap_or_default(),
        realm,
        key,
        includes_token: included == Some(Included::Token),
        // It was read before it was watched.
        looks: true,
        looks_later: false,
        last: None,
    };
    Ok(EventStream::new(
        stream::unfold(watcher, Watcher::next),
        open,
    ))
}

fn too_many(why: TooManyStreams) -> Problem {
    let (status, detail) = match why {
        TooManyStreams::OfCaller => (
            StatusCode::TOO_MANY_REQUESTS,
            "This caller watches as many tokens at once as it may (http.caller_watchers_max).",
        ),
        TooManyStreams::OfAll => (
            StatusCode::SERVICE_UNAVAILABLE,
            "As many tokens are watched as this server allows (http.watchers_max).",
        ),
    };
    Problem::new(status, "too_many_watchers", detail).after(COME_AGAIN)
}

/// Somebody may have gone by then.
const COME_AGAIN: Ms = Ms::from_secs(5);

impl Watcher {
    /// Waits for what is to be sent next; none: the answer ends.
    async fn next(mut self) -> Option<(Sent, Self)> {
        loop {
            if std::mem::take(&mut self.looks) {
                // What is large is rare.
                match Box::pin(self.look()).await {
                    Found::Another(event) => return Some(self.sends(event)),
                    Found::Nothing => {}
                    Found::Gone => return None,
                    Found::Unknown => self.looks_later = true,
                }
            }
            let woken = tokio::select! {
                biased;
                woken = self.watched.woken() => Some(woken),
                () = self.silence.as_mut() => None,
            };
            match woken {
                Some(Woken::Token) => self.looks = true,
                Some(Woken::Callers) => {
                    if !Box::pin(self.is_let_in()).await {
                        return None;
                    }
                }
                None => {
                    self.looks = std::mem::take(&mut self.looks_later);
                    // A key, or a certificate, may have ended by itself.
                    let still = Box::pin(self.is_let_in()).await;
                    return still.then(|| self.sends(Sent::Comment));
                }
            }
        }
    }

    fn sends(mut self, what: Sent) -> (Sent, Self) {
        self.silence.set(sleep(self.comment_every));
        (what, self)
    }

    /// Whether the caller may read the token still.
    async fn is_let_in(&self) -> bool {
        let caller = self.credential.recognise(&self.app).await;
        let (realm, key) = (self.realm.as_str(), self.key.as_str());
        // Where nobody can say so, the next call is told why.
        caller.ok().flatten().is_some_and(|caller| {
            caller.has(Scope::TokenRead) && caller.coverage.secret(realm, key)
        })
    }

    async fn look(&mut self) -> Found {
        let served = match self.app.reads.look(&self.realm, &self.key).await {
            Ok(Some(served)) => served,
            // There is no token now; perhaps because it is another secret of that name.
            Ok(None) => return Found::Unknown,
            Err(ReadError::UnknownSecret) => return Found::Gone,
            Err(_) => return Found::Unknown,
        };
        if served.secret != self.watched.id() {
            // It was made again under its name.
            return Found::Gone;
        }
        let last = Last {
            tag: served.tag.clone(),
            generation: served.generation,
            expiry: served.payload.expiry,
        };
        if self.last.as_ref() == Some(&last) {
            return Found::Nothing;
        }
        if !self.is_let_in().await {
            return Found::Gone;
        }
        self.last = Some(last);
        Found::Another(self.event(&served))
    }

    fn event(&self, served: &Served) -> Sent {
        let payload = &served.payload;
        let token = WatchedToken {
            realm: self.realm.as_str(),
            key: self.key.as_str(),
            generation: served.generation.0,
            expires_at: payload.expiry.at().map(Timeline::to_rfc3339),
            expires_in: served.expires_in.0,
            expires_in_s: served.expires_in.as_secs_floor(),
            token: self.includes_token.then(|| payload.token.expose_secret()),
            token_type: payload
                .token_type
                .as_deref()
                .filter(|_| self.includes_token),
            extra: Some(&payload.extra).filter(|extra| self.includes_token && !extra.is_null()),
        };
        if self.includes_token {
            let given = GivenToken {
                actor: &self.caller,
                realm: token.realm,
                key: token.key,
                generation: token.generation,
            };
            self.app.audit_writer.token_read(&given, &self.request_id);
        }
        Sent::Event {
            name: "token",
            data: serde_json::to_string(&token).expect("texts and numbers can be written as JSON"),
        }
    }
}
