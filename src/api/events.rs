//! Events for open pages of the console: what a caller may see and has changed.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream;
use poem::Request;
use poem::web::Data as State;
use poem_openapi::OpenApi;
use serde_json::{Value, json};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};
use tokio::time::{Sleep, sleep};

use super::auth::{Key, SecretRead, credential};
use super::credential::Credential;
use super::event_stream::{EventStream, Sent, comment_every};
use super::group::Group;
use super::problem::Problem;
use crate::access::Caller;
use crate::access::scope::Scope;
use crate::app::App;
use crate::console::news::News;
use crate::foundation::clock::{EpochMs, Timeline};

pub struct EventApi;

#[OpenApi(tag = "Group::Secret")]
impl EventApi {
    /// Follow what changes
    ///
    /// Server-sent events of what the caller may see: `secret` where a secret or its token has changed,
    /// with its `realm`, `key`, `generation`, `state` and `expires_at`; `secret_deleted` with `realm` and
    /// `key`; `realm`, for callers with `realm:read`, where one was saved or deleted; `resync` where some
    /// were missed: load anew. What changes on any replica is told within a second. A comment comes every
    /// 15 seconds. The stream ends with the credential that opened it: of a session, with the end that its
    /// cookie had then. What passed before it is not told: load after the first comment.
    #[oai(path = "/api/event", method = "get", operation_id = "getEvents")]
    async fn follow(
        &self,
        key: Key<SecretRead>,
        app: State<&App>,
        request: &Request,
    ) -> Result<EventStream, Problem> {
        let shown = credential(request).cloned();
        let shown = shown.ok_or_else(Problem::unauthorized)?;
        let caller = key.caller().clone();
        let open = app.event_streams.open(&caller.name);
        let open = open.map_err(|_full| Problem::too_many_streams())?;
        let follower = NewsFollower {
            news: app.newsroom.follow(),
            callers: app.memory.changes().callers(),
            comment_every: comment_every(&app.settings.http),
            silence: Box::pin(sleep(Duration::ZERO)),
            app: app.clone(),
            shown,
            caller,
        };
        let events = stream::unfold(follower, NewsFollower::next);
        Ok(EventStream::new(events, open))
    }
}

/// One who follows the news.
struct NewsFollower {
    app: App,
    shown: Credential,
    /// Whoever that is, as he was last recognised.
    caller: Arc<Caller>,
    news: broadcast::Receiver<News>,
    /// Wakes where a caller may be good no more.
    callers: watch::Receiver<()>,
    comment_every: Duration,
    /// Ends when a comment is to be sent, or the credential may have ended; at first at once.
    silence: Pin<Box<Sleep>>,
}

/// What a follower was woken by.
enum WokenBy {
    Callers,
    News(Result<News, RecvError>),
    Silence,
}

impl NewsFollower {
    /// Waits for what is to be sent next; none: the answer ends.
    async fn next(mut self) -> Option<(Sent, Self)> {
        loop {
            let woken = tokio::select! {
                // Nobody is told anything after his key has ended.
                biased;
                _ = self.callers.changed() => WokenBy::Callers,
                news = self.news.recv() => WokenBy::News(news),
                () = self.silence.as_mut() => WokenBy::Silence,
            };
            let sent = match woken {
                WokenBy::News(Ok(news)) => event(&news, &self.caller),
                WokenBy::News(Err(RecvError::Lagged(_))) => Some(resync()),
                WokenBy::News(Err(RecvError::Closed)) => return None,
                WokenBy::Callers | WokenBy::Silence => {
                    // What is large is rare.
                    self.caller = Box::pin(self.is_let_in()).await?;
                    matches!(woken, WokenBy::Silence).then_some(Sent::Comment)
                }
            };
            if let Some(sent) = sent {
                self.silence.set(sleep(self.silent_for()));
                return Some((sent, self));
            }
        }
    }

    /// Until the next comment, or the end of what was shown.
    fn silent_for(&self) -> Duration {
        let ends = self.shown.ends(&self.app, &self.caller);
        let left = ends.map(|end| end.since(self.app.clock.now()).as_duration());
        self.comment_every.min(left.unwrap_or(Duration::MAX))
    }

    /// Who the caller is now, if he may follow the news still.
    async fn is_let_in(&self) -> Option<Arc<Caller>> {
        let caller = self.shown.recognise(&self.app).await;
        // Where nobody can say so, the next call is told why.
        caller
            .ok()
            .flatten()
            .filter(|caller| caller.has(Scope::SecretRead))
    }
}

/// What a caller is told; none where it is not for him.
fn event(news: &News, caller: &Caller) -> Option<Sent> {
    let covers = |realm: &str, key: &str| caller.coverage.secret(realm, key);
    match news {
        News::Secret(secret) => {
            let (realm, key) = (secret.name.realm.as_str(), secret.name.key.as_str());
            covers(realm, key).then(|| {
                let data = json!({
                    "realm": realm,
                    "key": key,
                    "generation": secret.generation.0,
                    "state": secret.state.as_str(),
                    "expires_at": secret.expires_at.map(EpochMs::to_rfc3339),
                });
                named("secret", &data)
            })
        }
        News::Deleted(name) => {
            let (realm, key) = (name.realm.as_str(), name.key.as_str());
            let data = json!({"realm": realm, "key": key});
            covers(realm, key).then(|| named("secret_deleted", &data))
        }
        News::Realm(realm) => {
            let sees = caller.has(Scope::RealmRead) && caller.coverage.realm(realm.as_str());
            sees.then(|| named("realm", &json!({"realm": realm.as_str()})))
        }
        News::Anything => Some(resync()),
    }
}

fn named(name: &'static str, data: &Value) -> Sent {
    Sent::Event {
        name,
        data: data.to_string(),
    }
}

fn resync() -> Sent {
    named("resync", &json!({}))
}
