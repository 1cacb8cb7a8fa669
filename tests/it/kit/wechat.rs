//! The token endpoint of a WeChat Official Account, simulated as documented.
//!
//! Sources: the provider's page "Get access_token"
//! (<https://developers.weixin.qq.com/doc/service/en/Basic_Information/Get_access_token.html>)
//! and its page on call limits (subscription/guide/dev/api/limit).

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard},
};

use poem::{Endpoint, Request, Response, http::Method, http::StatusCode};
use serde_json::{Value, json};

use super::provider::LocalServer;

/// Milliseconds since the epoch; the simulation knows no other time.
pub type NowMs = Arc<dyn Fn() -> i64 + Send + Sync>;

const TOKEN_PATH: &str = "/cgi-bin/token";
const API_PATH: &str = "/cgi-bin/getcallbackip";

const SYSTEM_BUSY: i64 = -1;
const INVALID_CREDENTIAL: i64 = 40001;
const INVALID_GRANT_TYPE: i64 = 40002;
const INVALID_APPID: i64 = 40013;
const INVALID_APPSECRET: i64 = 40125;
const TOKEN_MISSING: i64 = 41001;
const TOKEN_EXPIRED: i64 = 42001;
const QUOTA_REACHED: i64 = 45009;

const DAY_MS: i64 = 24 * 60 * 60 * 1000;
/// The quota is per day; that the day is Beijing's is assumed, not documented.
const BEIJING_OFFSET_MS: i64 = 8 * 60 * 60 * 1000;

/// Where the provider lets accounts differ. The default is the documented behaviour.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Lifetime of a token in seconds.
    pub lifetime_s: i64,
    /// For how many seconds a token stays valid after the next one was issued.
    pub grace_s: i64,
    /// Tokens an appid may fetch in a day.
    pub daily_quota: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            lifetime_s: 7200,
            grace_s: 300,
            daily_quota: 2000,
        }
    }
}

/// A simulated WeChat on a port of its own. It stops when dropped.
pub struct Wechat {
    platform: Arc<Platform>,
    server: LocalServer,
}

impl Wechat {
    /// Starts on 127.0.0.1 with no app registered.
    pub async fn start(now_ms: NowMs, settings: Settings) -> Self {
        let platform = Arc::new(Platform {
            now_ms,
            settings,
            state: Mutex::default(),
        });
        let server = LocalServer::start(WechatEndpoint(Arc::clone(&platform))).await;
        Self { platform, server }
    }

    /// Makes an appid known, or gives it another secret; its tokens stay as they are.
    pub fn register_app(&self, appid: &str, secret: &str) {
        let mut state = self.platform.state();
        secret.clone_into(&mut state.apps.entry(appid.to_owned()).or_default().secret);
    }

    /// Where the provider's paths begin, without a final `/`: add `/cgi-bin/token`, or
    /// `/cgi-bin/getcallbackip` for the API that takes the token.
    pub fn url(&self) -> String {
        self.server.url("")
    }

    /// Whether the API would take this token now.
    pub fn accepts(&self, token: &str) -> bool {
        self.platform.check(token).is_ok()
    }

    /// How many tokens this appid has been given since the start.
    pub fn issued(&self, appid: &str) -> u64 {
        let state = self.platform.state();
        state.apps.get(appid).map_or(0, |app| app.issued)
    }

    /// Makes the next call of the token endpoint fail with this errcode, -1 for "system
    /// busy", before anything else is looked at. Several add up in order.
    pub fn fail_next(&self, errcode: i64) {
        self.platform.state().failures.push_back(errcode);
    }
}

struct Platform {
    now_ms: NowMs,
    settings: Settings,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    apps: HashMap<String, App>,
    failures: VecDeque<i64>,
}

#[derive(Default)]
struct App {
    secret: String,
    issued: u64,
    /// The day of the last call, and the calls of that day.
    day: i64,
    calls: u64,
    current: Option<Token>,
    /// The one before the current. Whatever is older is dead.
    previous: Option<Token>,
}

struct Token {
    value: String,
    expires_at_ms: i64,
}

type Query = HashMap<String, String>;

impl Platform {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics with the lock")
    }

    fn issue(&self, query: &Query) -> Result<Value, i64> {
        let argument = |name| query.get(name).map_or("", String::as_str);
        let now_ms = (self.now_ms)();
        let mut state = self.state();
        if let Some(errcode) = state.failures.pop_front() {
            return Err(errcode);
        }
        if argument("grant_type") != "client_credential" {
            return Err(INVALID_GRANT_TYPE);
        }
        let appid = argument("appid");
        let app = state.apps.get_mut(appid).ok_or(INVALID_APPID)?;
        if argument("secret") != app.secret {
            return Err(INVALID_APPSECRET);
        }
        app.count_call(now_ms, self.settings.daily_quota)?;
        Ok(json!({
            "access_token": app.rotate(appid, now_ms, &self.settings),
            "expires_in": self.settings.lifetime_s,
        }))
    }

    fn check(&self, token: &str) -> Result<(), i64> {
        let now_ms = (self.now_ms)();
        let state = self.state();
        let current = state.apps.values().filter_map(|app| app.current.as_ref());
        let previous = state.apps.values().filter_map(|app| app.previous.as_ref());
        let alive = |known: &Token| known.value == token && now_ms < known.expires_at_ms;

        if current.clone().any(alive) || previous.clone().any(alive) {
            Ok(())
        } else if current.clone().any(|known| known.value == token) {
            Err(TOKEN_EXPIRED)
        } else {
            Err(INVALID_CREDENTIAL)
        }
    }

    fn call_api(&self, query: &Query) -> Result<Value, i64> {
        self.check(query.get("access_token").ok_or(TOKEN_MISSING)?)?;
        Ok(json!({ "ip_list": ["127.0.0.1"] }))
    }
}

impl App {
    fn count_call(&mut self, now_ms: i64, daily_quota: u64) -> Result<(), i64> {
        let today = (now_ms + BEIJING_OFFSET_MS).div_euclid(DAY_MS);
        if self.day != today {
            self.day = today;
            self.calls = 0;
        }
        if self.calls >= daily_quota {
            return Err(QUOTA_REACHED);
        }
        self.calls += 1;
        Ok(())
    }

    fn rotate(&mut self, appid: &str, now_ms: i64, settings: &Settings) -> String {
        self.issued += 1;
        // The provider asks for 512 characters of storage: give a token that needs them.
        let value = format!("{:_<512}", format!("{appid}-{}-", self.issued));
        self.previous = self.current.take().map(|mut replaced| {
            let grace_ends_ms = now_ms + settings.grace_s * 1000;
            replaced.expires_at_ms = replaced.expires_at_ms.min(grace_ends_ms);
            replaced
        });
        self.current = Some(Token {
            value: value.clone(),
            expires_at_ms: now_ms + settings.lifetime_s * 1000,
        });
        value
    }
}

fn errmsg(errcode: i64) -> &'static str {
    match errcode {
        SYSTEM_BUSY => "system busy",
        INVALID_CREDENTIAL => "invalid credential, access_token is invalid or not latest",
        INVALID_GRANT_TYPE => "invalid grant_type",
        INVALID_APPID => "invalid appid",
        INVALID_APPSECRET => "invalid appsecret",
        TOKEN_MISSING => "access_token missing",
        TOKEN_EXPIRED => "access_token expired",
        QUOTA_REACHED => "reach max api daily quota limit",
        _ => "failed on demand of the test",
    }
}

struct WechatEndpoint(Arc<Platform>);

impl Endpoint for WechatEndpoint {
    type Output = Response;

    async fn call(&self, request: Request) -> poem::Result<Response> {
        let query = request.params().unwrap_or_default();
        let answer = match (request.method(), request.uri().path()) {
            (&Method::GET, TOKEN_PATH) => self.0.issue(&query),
            (&Method::GET, API_PATH) => self.0.call_api(&query),
            _ => return Ok(StatusCode::NOT_FOUND.into()),
        };
        // The status is 200 also for a failure.
        let body = answer
            .unwrap_or_else(|errcode| json!({ "errcode": errcode, "errmsg": errmsg(errcode) }));
        Ok(Response::builder()
            .content_type("application/json; encoding=utf-8")
            .body(body.to_string()))
    }
}
