//! OAuth servers made with libraries of PyPI, each in a process of its own: Authlib and
//! django-oauth-toolkit.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::database_server::free_port;
use super::eventually;

/// Who asks for introspection.
const INTROSPECTOR: &str = "introspector";
const INTROSPECTOR_SECRET: &str = "secret-of-introspector";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Library {
    Authlib,
    Django,
}

impl Library {
    pub const ALL: [Self; 2] = [Self::Authlib, Self::Django];

    fn program(self) -> &'static str {
        match self {
            Self::Authlib => "authlib_server.py",
            Self::Django => "django_server.py",
        }
    }
}

/// A server that keeps its clients and tokens in a file, and its port, when it is restarted.
pub struct PythonServer {
    library: Library,
    access_token_ttl_s: u32,
    port: u16,
    data: TempDir,
    process: Mutex<Child>,
    http: reqwest::Client,
}

impl PythonServer {
    pub async fn start(library: Library, access_token_ttl_s: u32) -> Self {
        let (port, data) = (free_port(), tempfile::tempdir());
        let data = data.expect("a temporary directory can be made");
        let server = Self {
            library,
            access_token_ttl_s,
            port,
            process: Mutex::new(run(library, access_token_ttl_s, port, data.path())),
            data,
            http: reqwest::Client::builder()
                .no_proxy()
                .build()
                .expect("a client can be made"),
        };
        server.is_ready().await;
        let introspector = json!({
            "client_id": INTROSPECTOR, "client_secret": INTROSPECTOR_SECRET,
            "auth_method": "client_secret_basic", "grant_type": "client_credentials",
        });
        server.register(&introspector).await;
        server
    }

    /// Ends it by `kill -9` and starts it on what it left.
    pub async fn restart(&self) {
        {
            let mut process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
            process.kill().expect("the process can be killed");
            process.wait().expect("the process ends");
            let data = self.data.path();
            *process = run(self.library, self.access_token_ttl_s, self.port, data);
        }
        self.is_ready().await;
    }

    async fn is_ready(&self) {
        let ready = self.url("/test/ready");
        eventually("the OAuth server answers", async || {
            let process = self
                .process
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .try_wait();
            let ended = process.expect("the process can be looked at");
            assert!(
                ended.is_none(),
                "the OAuth server has ended; `make setup` installs what it needs"
            );
            self.http.get(&ready).send().await.ok()
        })
        .await;
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    pub fn token_endpoint(&self) -> String {
        self.url("/token")
    }

    /// A client: `client_id`, `client_secret` or `jwks`, `auth_method` (which the toolkit leaves
    /// to the client), `grant_type`.
    pub async fn register(&self, client: &Value) {
        self.ask_for("/test/client", client).await;
    }

    /// A first refresh token.
    pub async fn first_refresh_token(&self, client_id: &str) -> String {
        let granted = self
            .ask_for("/test/grant", &json!({"client_id": client_id}))
            .await;
        granted["refresh_token"].as_str().expect("one").to_owned()
    }

    async fn ask_for(&self, path: &str, body: &Value) -> Value {
        let request = self.http.post(self.url(path)).body(body.to_string());
        let request = request.header("content-type", "application/json");
        let answer = request.send().await.expect("the OAuth server answers");
        read(answer).await.expect("the answer is whole")
    }

    /// Whether the server itself still accepts a token (RFC 7662); an error where it is away.
    pub async fn accepts(&self, token: &str) -> reqwest::Result<bool> {
        let request = self
            .http
            .post(self.url("/introspect"))
            .basic_auth(INTROSPECTOR, Some(INTROSPECTOR_SECRET))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(format!("token={token}"));
        let answer = read(request.send().await?).await?;
        Ok(answer["active"].as_bool().expect("RFC 7662 wants it"))
    }

    /// Revokes a token of a client (RFC 7009), both in plain characters.
    pub async fn revoke(&self, client_id: &str, client_secret: &str, token: &str) {
        let request = self
            .http
            .post(self.url("/revoke"))
            .basic_auth(client_id, Some(client_secret))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(format!("token={token}"));
        let answer = request.send().await.expect("the OAuth server answers");
        assert!(answer.status().is_success(), "{}", answer.status());
    }
}

async fn read(answer: reqwest::Response) -> reqwest::Result<Value> {
    let (status, text) = (answer.status(), answer.text().await?);
    assert!(
        status.is_success(),
        "the OAuth server answered {status}: {text}"
    );
    Ok(serde_json::from_str(&text).expect("the answer is JSON"))
}

/// The Python of the tests.
pub fn interpreter() -> Command {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let chosen = std::env::vars().find(|(name, _)| name == "TEST_PYTHON");
    Command::new(match chosen {
        Some((_, path)) => path.into(),
        None => root.join("target/servers/python/bin/python"),
    })
}

fn run(library: Library, access_token_ttl_s: u32, port: u16, data: &Path) -> Child {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    interpreter()
        // No byte code beside the sources.
        .arg("-B")
        .arg(root.join("tests/oauth").join(library.program()))
        .args(["--port", &port.to_string()])
        .args(["--access-token-ttl", &access_token_ttl_s.to_string()])
        .arg("--data")
        .arg(data)
        // It ends when its standard input does.
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the Python of the tests is there; `make setup` makes it")
}

impl Drop for PythonServer {
    fn drop(&mut self) {
        let process = self
            .process
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        let _ = process.kill();
        let _ = process.wait();
    }
}
