//! Tokens over HTTP: get, flush, report, and store a fixed one.

mod requests;
mod watch;

use poem::http::HeaderMap;
use poem::web::Data as State;
use poem_openapi::param::Query;
use poem_openapi::payload::{Json, Response};
use poem_openapi::types::Any;
use poem_openapi::{ApiResponse, Object, OpenApi};
use secrecy::ExposeSecret;
use serde::Serialize;
use serde_json::Value;

use super::auth::{Key, SecretWrite, TokenFlush, TokenRead};
use super::body::JsonBody;
use super::event_stream::EventStream;
use super::extract::{names, one_of};
use super::group::Group;
use super::lists::{Success, success};
use super::preconditions;
use super::problem::Problem;
use crate::access::scope::Scope;
use crate::app::App;
use crate::foundation::clock::Ms;
use crate::foundation::ids::Generation;
use crate::memory::Remembered;
use crate::reads::{Ask, Flush, FlushDenied, Flushed, ReadError, Served, TokenSource};
use crate::token::{ServedTag, TokenPayload};
pub use requests::{FixedBody, FlushBody, ReportBody};
pub use watch::Included;
use watch::Shown;

/// The longest `min_ttl_s`: a year.
pub(super) const MIN_TTL_MAX_S: i64 = 31_536_000;

pub struct Tokens;

/// A token, as applications get it.
#[derive(Object)]
#[oai(rename = "Token")]
pub struct TokenView {
    token: String,
    /// How long it is valid, in milliseconds; 31536000000 where it never expires.
    expires_in: i64,
    /// The same in seconds, rounded down, as OAuth libraries read `expires_in`; 31536000 where it
    /// never expires.
    expires_in_s: i64,
    /// `cache`, `database` or `upstream`.
    source: String,
    #[oai(skip_serializing_if_is_none)]
    token_type: Option<String>,
    /// What the realm takes from the answer beside the token.
    #[oai(skip_serializing_if_is_none)]
    extra: Option<Any<Value>>,
    /// RFC 3339, UTC; null: it never expires.
    #[oai(nullable)]
    expires_at: Option<String>,
    /// Rises by one with each new token.
    generation: i64,
    /// True where a fresher token was asked for and could not be had.
    #[oai(skip_serializing_if_is_none)]
    stale: Option<bool>,
    /// Whether a flush renewed the token; absent where none was asked for.
    #[oai(skip_serializing_if_is_none)]
    flushed: Option<bool>,
    /// Why it did not, for humans.
    #[oai(skip_serializing_if_is_none)]
    flush_denied: Option<String>,
    #[oai(skip_serializing_if_is_none)]
    flush_denied_code: Option<String>,
}

impl TokenView {
    fn of(served: Served) -> Self {
        let (flushed, why) = match served.flushed {
            None => (None, None),
            Some(Flushed::Yes) => (Some(true), None),
            Some(Flushed::No { why, .. }) => (Some(false), Some(why)),
        };
        let expires_at = served.payload.expires_at();
        // By name, so that none is forgotten.
        let TokenPayload {
            token,
            token_type,
            extra,
            expiry: _,
        } = served.payload;
        Self {
            token: token.expose_secret().to_owned(),
            expires_in: served.expires_in.0,
            expires_in_s: served.expires_in.as_secs_floor(),
            source: served.source.as_str().to_owned(),
            token_type,
            extra: Some(extra).filter(|extra| !extra.is_null()).map(Any),
            expires_at,
            generation: served.generation.0,
            stale: served.stale.then_some(true),
            flushed,
            flush_denied: why.as_ref().map(ToString::to_string),
            flush_denied_code: why.map(|why| why.code().as_str().to_owned()),
        }
    }
}

/// What is served with a token that is in memory.
#[derive(Serialize)]
struct TokenMetadata<'a> {
    expires_in: i64,
    expires_in_s: i64,
    source: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Value::is_null")]
    extra: &'a Value,
    expires_at: Option<&'a str>,
    generation: i64,
}

/// Room for that, where `extra` is not long.
const METADATA_BYTES: usize = 256;

/// The same answer as [`TokenView`] for a token in memory; its text is copied as it is kept.
pub fn plain(cell: &Remembered, expires_in: Ms) -> serde_json::Result<Vec<u8>> {
    // By name, so that none is forgotten.
    let TokenPayload {
        token,
        token_type,
        extra,
        expiry: _,
    } = &cell.payload;
    let token = token.as_str();
    let mut body = Vec::with_capacity(token.len() + METADATA_BYTES);
    body.extend_from_slice(b"{\"token\":\"");
    body.extend_from_slice(token.as_bytes());
    body.push(b'"');
    let metadata = body.len();
    serde_json::to_writer(
        &mut body,
        &TokenMetadata {
            expires_in: expires_in.0,
            expires_in_s: expires_in.as_secs_floor(),
            source: TokenSource::Cache.as_str(),
            token_type: token_type.as_deref(),
            extra,
            expires_at: cell.expires_at.as_deref(),
            generation: cell.generation.0,
        },
    )?;
    // It goes on where another object would begin.
    body[metadata] = b',';
    Ok(body)
}

type TokenAnswer = Result<Response<Json<TokenView>>, Problem>;

fn answer(served: Served) -> Response<Json<TokenView>> {
    let retry_after = retry_after(&served);
    let response = Response::new(Json(TokenView::of(served)));
    match retry_after {
        Some(wait) => response.header("Retry-After", wait),
        None => response,
    }
}

/// In seconds.
fn retry_after(served: &Served) -> Option<i64> {
    match &served.flushed {
        Some(Flushed::No { retry_after, .. }) => {
            (*retry_after).map(|wait| wait.as_secs_ceil().max(1))
        }
        Some(Flushed::Yes) | None => None,
    }
}

/// What a read is answered.
#[derive(ApiResponse)]
#[allow(clippy::large_enum_variant)] // It is sent at once, and kept nowhere.
enum ReadAnswer {
    #[oai(status = 200)]
    Token(
        Json<TokenView>,
        #[oai(header = "ETag")] Option<String>,
        #[oai(header = "Retry-After")] Option<i64>,
    ),
    #[oai(status = 304)]
    NotModified(#[oai(header = "ETag")] String),
}

impl ReadAnswer {
    /// Where an answer says more than the token, it has no tag: the same token may be answered
    /// without that.
    fn of(served: Served, headers: &HeaderMap) -> Self {
        let is_plain = served.flushed.is_none() && !served.stale;
        let tag = served.tag.as_ref().filter(|_| is_plain);
        let text = tag.map(ServedTag::to_string);
        match (tag, text) {
            (Some(tag), Some(text)) if preconditions::is_known(headers, tag.opaque()) => {
                Self::NotModified(text)
            }
            (_, text) => {
                let retry_after = retry_after(&served);
                Self::Token(Json(TokenView::of(served)), text, retry_after)
            }
        }
    }
}

/// Whether the `flush` of a query asks for one; an error where it is neither yes nor no. The
/// predecessor took any text, so that is no reason to refuse the read.
fn asks_for_flush(text: &str) -> Result<bool, FlushDenied> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" => Ok(true),
        "" | "false" | "0" => Ok(false),
        _ => Err(FlushDenied::UnknownValue),
    }
}

#[OpenApi(tag = "Group::Token")]
impl Tokens {
    /// Get a token
    ///
    /// A valid stored token is answered at once. One that is missing or expired is fetched,
    /// once for however many callers. `flush=true` needs the scope token:flush, too.
    ///
    /// `If-None-Match` with the `ETag` of an earlier answer: 304 while that token is the current one.
    #[oai(path = "/api/token", method = "get", operation_id = "getToken")]
    #[allow(clippy::too_many_arguments)] // Each is a parameter of the query.
    async fn get(
        &self,
        api_key: Key<TokenRead>,
        app: State<&App>,
        realm: Query<String>,
        key: Query<String>,
        /// `true` or `1`, in any case: renew now. `false`, `0` or nothing: do not. Any other text
        /// is false, and the answer says so.
        flush: Query<Option<String>>,
        /// Seconds; as if a token with less left had expired.
        #[oai(name = "min_ttl_s")]
        min_ttl_s: Query<Option<i64>>,
        /// With `flush`: renew only if this is still the current generation.
        generation: Query<Option<i64>>,
        headers: &HeaderMap,
    ) -> Result<ReadAnswer, Problem> {
        let (realm, key) = names(realm.0, key.0)?;
        let generation = generation.0.map(Generation);
        if generation.is_some_and(|generation| generation < Generation(0)) {
            return Err(Problem::invalid_parameter(
                "generation",
                "must not be negative",
            ));
        }
        let asked = asks_for_flush(flush.0.as_deref().unwrap_or_default());
        let flush = (asked == Ok(true)).then_some(Flush::Wished(generation));
        if flush.is_some() {
            api_key.must_have(Scope::TokenFlush)?;
        }
        let min_ttl_s = min_ttl_s.0.unwrap_or(0);
        if !(0..=MIN_TTL_MAX_S).contains(&min_ttl_s) {
            let why = format!("must be from 0 to {MIN_TTL_MAX_S} (seconds)");
            return Err(Problem::invalid_parameter("min_ttl_s", why));
        }
        let ask = Ask {
            realm,
            key,
            min_ttl: Ms::from_secs(min_ttl_s),
            flush,
        };
        let mut served = read(&api_key, app.0, &ask).await?;
        if let Err(why) = asked {
            let retry_after = None;
            served.flushed = Some(Flushed::No { why, retry_after });
        }
        Ok(ReadAnswer::of(served, headers))
    }

    /// Watch a token
    ///
    /// Server-sent events: a `token` with the current generation and its expiry at once, fetched first
    /// where it is missing or expired, and one whenever another takes its place; nothing is fetched for
    /// that. A comment comes every 15 seconds. The answer ends when the API key or its rights do, when
    /// the secret is deleted and when the server stops: a call for it then says why.
    #[oai(path = "/api/token/watch", method = "get", operation_id = "watchToken")]
    async fn watch(
        &self,
        api_key: Key<TokenRead>,
        app: State<&App>,
        shown: Shown,
        realm: Query<String>,
        key: Query<String>,
        /// `token`: each event has the token itself, its `token_type` and its `extra`, too.
        include: Query<Option<String>>,
    ) -> Result<EventStream, Problem> {
        let (realm, key) = names(realm.0, key.0)?;
        let included = one_of("include", include.0, Included::ALL, Included::as_str)?;
        watch::begin(&api_key, app.0, shown, (realm, key), included).await
    }

    /// Renew a token now, and get it
    ///
    /// Where that is denied, for instance inside the minimum flush interval, the current token is
    /// answered with `flushed: false`, `flush_denied`, `flush_denied_code` and `Retry-After`.
    #[oai(
        path = "/api/token/flush",
        method = "post",
        operation_id = "flushToken"
    )]
    async fn flush(
        &self,
        api_key: Key<TokenFlush>,
        app: State<&App>,
        body: JsonBody<FlushBody>,
    ) -> TokenAnswer {
        Ok(answer(read(&api_key, app.0, &body.0).await?))
    }

    /// Report that the provider refused a token, and get a good one
    ///
    /// If the token is still the current one it is replaced, once for however many callers
    /// report it and however recent it is, within the budget for forced requests. If it is not, the
    /// current one is answered and nothing is sent.
    #[oai(
        path = "/api/token/report",
        method = "post",
        operation_id = "reportToken"
    )]
    async fn report(
        &self,
        api_key: Key<TokenFlush>,
        app: State<&App>,
        body: JsonBody<ReportBody>,
    ) -> TokenAnswer {
        Ok(answer(read(&api_key, app.0, &body.0).await?))
    }

    /// Store a fixed token
    ///
    /// For realms of fixed tokens only. The secret is made where it is not there; its token is
    /// served as it is, until `expires_at`.
    #[oai(path = "/api/token", method = "put", operation_id = "saveFixedToken")]
    async fn put(
        &self,
        api_key: Key<SecretWrite>,
        app: State<&App>,
        body: JsonBody<FixedBody>,
    ) -> Result<Json<Success>, Problem> {
        api_key.must_cover(&body.0.realm, &body.0.key)?;
        let saved = app.registry.save_secret(body.0, &api_key.actor()).await;
        saved.map_err(|error| api_key.refused(error))?;
        Ok(Json(success()))
    }
}

async fn read<S>(api_key: &Key<S>, app: &App, ask: &Ask) -> Result<Served, Problem> {
    api_key.must_cover(&ask.realm, &ask.key)?;
    let read = app.reads.read(ask).await;
    let action = ask.flush.as_ref().map(|flush| match flush {
        Flush::Wished(_) => "token.flush",
        Flush::Refused { .. } => "token.report",
    });
    if let Some(action) = action {
        let what_came = match &read {
            Ok(served) => match &served.flushed {
                Some(Flushed::No { why, .. }) => format!("not renewed: {}", why.code().as_str()),
                Some(Flushed::Yes) | None => "renewed".to_owned(),
            },
            Err(ReadError::UnknownSecret) => "there is no such secret".to_owned(),
            Err(_) => "no token".to_owned(),
        };
        let target = format!("{}/{}", ask.realm, ask.key);
        api_key.has_looked(action, target, Some(what_came));
    }
    let served = read?;
    api_key.has_read(&ask.realm, &ask.key, served.generation);
    Ok(served)
}
