//! A client of a server: with the administrator's key, unless told otherwise.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::events::Events;
use super::{Provider, contract, eventually};

pub const ADMIN_KEY: &str = "the-administrator-of-the-tests-0123456789";

/// An answer, read whole; of one that goes on, the first event.
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

    /// By an HTTP client of the test's own.
    pub fn over(http: reqwest::Client, base: String) -> Self {
        Self {
            http,
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
        let (status, headers) = (response.status(), response.headers().clone());
        let text = match Events::are_in(&response) {
            true => Events::of(response).first().await,
            false => response.text().await?,
        };
        let reply = Reply {
            status,
            headers,
            text,
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

    /// What the audit says of callers and changes, newest first: all entries but those in which a
    /// server notes something of the audit itself.
    pub async fn audited(&self) -> Vec<Value> {
        const OF_THE_AUDIT: [&str; 2] = ["audit.heads", "audit.unchained"];
        let mut entries = self.list("/api/audit").await;
        entries.retain(|entry| !OF_THE_AUDIT.iter().any(|action| entry["action"] == *action));
        entries
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

    /// Registers a realm whose refresh tokens are good once.
    pub async fn register_rotating(&self, id: &str, url: &str, policy: Value) {
        let config = json!({
            "params": {"refresh_token": {"title": "The first refresh token"}},
            "url": url, "method": "POST", "content_type": "form",
            "arguments": [
                {"name": "grant_type", "place": "body", "value": "refresh_token"},
                {"name": "refresh_token", "place": "body", "value": "$refresh_token"},
            ],
            "token_path": "access_token", "expires_in_path": "expires_in",
            "refresh_token_path": "refresh_token", "policy": policy,
        });
        self.save_realm(id, config).await;
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

    /// Shows what a realm document would send, and how it reads the answer.
    pub async fn dry_run(&self, trial: &Value) -> Reply {
        self.post("/api/realm/test", trial).await
    }

    /// Saves a secret whose attempt the provider does not answer before it is released.
    pub async fn held_attempt(&self, provider: &Provider, realm: &str, key: &str) {
        let requests = provider.request_count();
        provider.hold();
        self.save_secret(realm, key).await;
        provider.wait_for_requests(requests + 1).await;
    }

    /// Watches a token of a realm `r`; `more` is the rest of the query.
    pub async fn watch(&self, key: &str, more: &str) -> Events {
        let path = format!("/api/token/watch?realm=r&key={key}{more}");
        let answer = self.request(Method::GET, &path).send().await;
        let answer = answer.expect("the server answers");
        assert_eq!(answer.status(), StatusCode::OK);
        Events::of(answer)
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
