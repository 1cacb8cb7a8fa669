//! A server within the test's own process, on a port of its own, and a client for it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use reqwest::{Method, StatusCode};
use rustls::pki_types::CertificateDer;
use serde_json::{Value, json};
use token_server::app::App;
use token_server::config::{Env, Settings};
use token_server::foundation::clock::{EpochMs, ManualClock, SharedClock, SystemClock};
use token_server::foundation::randomness::Randomness;
use token_server::jobs::job::Outcome;
use token_server::serve::{self, Running};
use token_server::upstream::egress::Resolver;

use super::{TestDatabase, contract, eventually};

pub const ADMIN_KEY: &str = "the-administrator-of-the-tests-0123456789";
pub const SEALING_KEYS: &str = "test:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";

/// What a server is configured with, beside the test's database.
#[derive(Clone, Default)]
pub struct Options {
    pub env: Vec<(&'static str, String)>,
    pub clock: Option<SharedClock>,
    /// Where names lead, and whom TLS trusts; absent: the system's.
    pub internet: Option<(Arc<dyn Resolver>, CertificateDer<'static>)>,
}

impl Options {
    /// Of a server that gives callers, and a provider that is held, all the time they take.
    pub fn patient() -> Self {
        Self::default().with(&[
            ("TOKEN_SERVER__READ__MAX_WAIT_S", "600"),
            ("TOKEN_SERVER__UPSTREAM__TIMEOUT_S", "600"),
        ])
    }

    pub fn with(mut self, more: &[(&'static str, &str)]) -> Self {
        let more = more
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()));
        self.env.extend(more);
        self
    }
}

pub struct Server {
    running: Running,
    pub client: Client,
}

impl Server {
    pub async fn start(database: &TestDatabase) -> Self {
        Self::start_with(database, Options::default()).await
    }

    pub async fn start_with(database: &TestDatabase, options: Options) -> Self {
        let mut env = environment(database, &options.env);
        if options.clock.is_some() {
            // A clock of the test's own agrees with no database, and a pace needs one that
            // runs.
            for (name, value) in [("MAX_SKEW_MS", "0"), ("REALM_RATE", "1000000")] {
                env.entry(format!("TOKEN_SERVER__RENEWAL__{name}"))
                    .or_insert_with(|| value.to_owned());
            }
        }
        let mut settings = Settings::load(None, &env).expect("the test's configuration is good");
        if let Some((names, authority)) = options.internet {
            settings.upstream.names = names;
            settings.upstream.authorities = vec![authority];
        }
        let clock = options.clock.unwrap_or_else(|| Arc::new(SystemClock));
        let randomness = Randomness::from_system().expect("the system has randomness");
        let app = Box::pin(App::open(settings, clock, randomness))
            .await
            .expect("the server opens its database");
        app.ensure_admin_key()
            .await
            .expect("the administrator's key is stored");
        let running = Box::pin(serve::start(app))
            .await
            .expect("the server starts");
        let client = Client::new(format!("http://{}", running.address()));
        Self { running, client }
    }

    /// On a clock that stands still until the test moves it.
    pub async fn on_manual_clock(database: &TestDatabase) -> (Self, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::at(EpochMs(1_700_000_000_000)));
        let options = Options {
            clock: Some(clock.clone()),
            ..Options::default()
        };
        (Self::start_with(database, options).await, clock)
    }

    /// The background jobs, and how the last pass of each ended.
    pub fn jobs(&self) -> Vec<(&'static str, Outcome)> {
        self.running.jobs()
    }

    pub fn app(&self) -> &App {
        self.running.app()
    }

    pub fn address(&self) -> SocketAddr {
        self.running.address()
    }

    /// Waits until no attempt is under way: what was committed is remembered by then, too.
    pub async fn settled(&self) {
        let in_flight = &self.app().metrics.in_flight;
        eventually("no attempt is under way", async || {
            (in_flight.get() == 0).then_some(())
        })
        .await;
    }

    /// Waits until so many callers wait for a token to be fetched: they have joined the flight.
    pub async fn readers_waiting(&self, count: i64) {
        let waiting = &self.app().metrics.readers_waiting;
        eventually(&format!("{count} callers wait"), async || {
            (waiting.get() == count).then_some(())
        })
        .await;
    }

    /// Waits until a sweep has looked for what is due as it is now.
    pub async fn sweeps(&self) {
        let sweeps = &self.app().metrics.sweeps;
        let before = sweeps.get();
        eventually("a sweep", async || {
            // The first may have been under way before.
            (sweeps.get() >= before + 2).then_some(())
        })
        .await;
    }

    /// Waits until the feed of changes was read to its end, from its beginning as it is now.
    pub async fn follows(&self) {
        let followed = &self.app().metrics.followed;
        let before = followed.get();
        eventually("the feed is followed", async || {
            // The first may have been under way before.
            (followed.get() >= before + 2).then_some(())
        })
        .await;
    }

    pub async fn stop(self) {
        self.running.stop().await;
    }
}

/// The environment of a server for tests.
pub fn environment(database: &TestDatabase, more: &[(&'static str, String)]) -> Env {
    let mut env: HashMap<String, String> = [
        ("DATABASE_URL", database.url.clone()),
        (
            "TOKEN_SERVER__DATA_DIR",
            database.directory.path().display().to_string(),
        ),
        ("TOKEN_SERVER__HTTP__LISTEN", "127.0.0.1:0".to_owned()),
        ("TOKEN_SERVER__ADMIN_KEY", ADMIN_KEY.to_owned()),
        // Tests of these tries ask for them; the others are not to wait for them.
        ("TOKEN_SERVER__RENEWAL__TRIES_AFTER_SAVE_S", "0".to_owned()),
        ("TOKEN_SERVER__SEALING__KEYS", SEALING_KEYS.to_owned()),
        (
            "TOKEN_SERVER__UPSTREAM__ALLOWED_NETWORKS",
            "127.0.0.0/8".to_owned(),
        ),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect();
    env.extend(
        more.iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone())),
    );
    env
}

/// An answer, read whole.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: reqwest::header::HeaderMap,
    pub text: String,
}

impl Reply {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("not JSON: {}", self.text))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Fails the test unless the status is this one.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        self
    }

    /// Fails the test unless this is a problem document of that status and code.
    #[track_caller]
    pub fn expect_problem(self, status: u16, code: &str) -> Value {
        let reply = self.expect(status);
        assert_eq!(
            reply.header("content-type"),
            Some("application/problem+json")
        );
        let problem = reply.json();
        assert_eq!(problem["code"], code, "{problem}");
        assert_eq!(problem["status"], status);
        assert_eq!(problem["request_id"].as_str(), reply.header("x-request-id"));
        problem
    }
}

/// Calls a server, with the administrator's key unless told otherwise.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    key: Option<String>,
}

impl Client {
    pub fn new(base: String) -> Self {
        Self {
            http: reqwest::Client::builder()
                .no_proxy()
                .build()
                .expect("a client can be made"),
            base,
            key: Some(ADMIN_KEY.to_owned()),
        }
    }

    pub fn with_key(&self, key: &str) -> Self {
        Self {
            key: Some(key.to_owned()),
            ..self.clone()
        }
    }

    pub fn without_key(&self) -> Self {
        Self {
            key: None,
            ..self.clone()
        }
    }

    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        match &self.key {
            Some(key) => request.header("authorization", format!("Bearer {key}")),
            None => request,
        }
    }

    pub async fn send(&self, request: reqwest::RequestBuilder) -> Reply {
        Self::try_send(request).await.expect("the server answers")
    }

    /// For a server that may die meanwhile.
    pub async fn try_send(request: reqwest::RequestBuilder) -> reqwest::Result<Reply> {
        let (client, request) = request.build_split();
        let request = request?;
        let (method, path) = (request.method().clone(), request.url().path().to_owned());
        let response = client.execute(request).await?;
        let reply = Reply {
            status: response.status(),
            headers: response.headers().clone(),
            text: response.text().await?,
        };
        contract::check(&method, &path, &reply);
        Ok(reply)
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.send(self.request(Method::GET, path)).await
    }

    /// All entries of a list.
    pub async fn list(&self, path: &str) -> Vec<Value> {
        let separator = if path.contains('?') { '&' } else { '?' };
        let mut all = Vec::new();
        for page in 1.. {
            let path = format!("{path}{separator}pageSize=1000&page={page}");
            let data = self.get(&path).await.expect(200).json()["data"].take();
            let list = data["list"].as_array().expect("a list");
            all.extend(list.iter().cloned());
            if list.is_empty() || data["total"].as_u64() <= Some(all.len() as u64) {
                break;
            }
        }
        all
    }

    pub async fn delete(&self, path: &str) -> Reply {
        self.send(self.request(Method::DELETE, path)).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Reply {
        self.send_json(Method::POST, path, body).await
    }

    pub async fn put(&self, path: &str, body: &Value) -> Reply {
        self.send_json(Method::PUT, path, body).await
    }

    async fn send_json(&self, method: Method, path: &str, body: &Value) -> Reply {
        let request = self
            .request(method, path)
            .header("content-type", "application/json")
            .body(body.to_string());
        self.send(request).await
    }

    /// Registers a realm that asks `url` for a token, as the predecessor's documents do.
    pub async fn register_realm(&self, id: &str, url: &str) {
        self.save_realm(
            id,
            json!({
                "url": url, "method": "GET",
                "arguments": [
                    {"name": "appid", "place": "url", "value": "$key_1"},
                    {"name": "secret", "place": "url", "value": "$key_2"},
                ],
                "token_path": "access_token", "expires_in_path": "expires_in",
            }),
        )
        .await;
    }

    /// Registers a realm `r` and a secret `k` in it, and waits for the first token.
    pub async fn register(&self, url: &str) {
        self.register_realm("r", url).await;
        self.save_secret("r", "k").await;
        self.generation("r", "k", 1).await;
    }

    pub async fn save_realm(&self, id: &str, config: Value) {
        self.post("/api/realm", &json!({"id": id, "config": config}))
            .await
            .expect(200);
    }

    pub async fn save_secret(&self, realm: &str, key: &str) {
        let secret = json!({"realm": realm, "key": key, "key_1": "the-app", "key_2": "the-secret"});
        self.post("/api/secret", &secret).await.expect(200);
    }

    pub async fn token(&self, realm: &str, key: &str) -> Reply {
        self.get(&format!("/api/token?realm={realm}&key={key}"))
            .await
    }

    pub async fn secret(&self, realm: &str, key: &str) -> Value {
        let reply = self
            .get(&format!("/api/secret/{realm}/{key}"))
            .await
            .expect(200);
        reply.json()["data"].clone()
    }

    /// Waits until a secret's token is of at least this generation.
    pub async fn generation(&self, realm: &str, key: &str, at_least: i64) -> Value {
        eventually(
            &format!("generation {at_least} of {realm}/{key}"),
            async || {
                let secret = self.secret(realm, key).await;
                (secret["generation"].as_i64() >= Some(at_least)).then_some(secret)
            },
        )
        .await
    }

    /// Waits until a secret is in this state.
    pub async fn state(&self, realm: &str, key: &str, state: &str) -> Value {
        eventually(&format!("state {state} of {realm}/{key}"), async || {
            let secret = self.secret(realm, key).await;
            (secret["state"] == state).then_some(secret)
        })
        .await
    }
}
