//! A provider that answers as the test has told it to, and remembers what it was asked.

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use poem::{Endpoint, Request, Response, Server, http::StatusCode, listener::TcpAcceptor};
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    sync::{Semaphore, oneshot, watch},
};

use super::PATIENCE;

/// What the provider answers to one request.
#[derive(Clone, Debug)]
pub struct Answer {
    status: StatusCode,
    headers: Vec<(String, String)>,
    body: Body,
}

#[derive(Clone, Debug)]
enum Body {
    Bytes(Vec<u8>),
    NumberedToken { expires_in_s: i64 },
}

impl Default for Answer {
    fn default() -> Self {
        Self::numbered_token(7200)
    }
}

impl Answer {
    /// An empty body with this HTTP status.
    pub fn status(status: u16) -> Self {
        Self {
            status: StatusCode::from_u16(status).expect("an HTTP status has three digits"),
            headers: Vec::new(),
            body: Body::Bytes(Vec::new()),
        }
    }

    /// 200 with this token, as RFC 6749 §5.1 words it; the lifetime is in seconds.
    pub fn token(access_token: &str, expires_in_s: i64) -> Self {
        Self::status(200)
            .with_json(&json!({ "access_token": access_token, "expires_in": expires_in_s }))
    }

    /// Like [`Answer::token`], with `token-1`, `token-2` and so on, another at each answer.
    pub fn numbered_token(expires_in_s: i64) -> Self {
        Self {
            body: Body::NumberedToken { expires_in_s },
            ..Self::status(200).with_header("content-type", "application/json")
        }
    }

    /// Adds a header; a name may come more than once.
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets a JSON body and its content type.
    pub fn with_json(self, body: &Value) -> Self {
        self.with_header("content-type", "application/json")
            .with_bytes(body.to_string())
    }

    /// Sets the body as it goes over the wire; adds no content type.
    pub fn with_bytes(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Body::Bytes(body.into());
        self
    }
}

/// A request as the provider received it.
#[derive(Clone, Debug)]
pub struct RecordedRequest {
    /// In capitals, as on the wire.
    pub method: String,
    /// Without the query, and as it came: percent-encoding is not undone.
    pub path: String,
    /// Names and values decoded, in the order they came.
    pub query: Vec<(String, String)>,
    /// Names in lower case; the values of a repeated header are joined by `", "`.
    pub headers: BTreeMap<String, String>,
    /// Bytes that are not UTF-8 are replaced.
    pub body: String,
}

impl RecordedRequest {
    async fn read(mut request: Request) -> Self {
        let mut headers = BTreeMap::<String, String>::new();
        for (name, value) in request.headers() {
            let joined = headers.entry(name.to_string()).or_default();
            if !joined.is_empty() {
                joined.push_str(", ");
            }
            joined.push_str(&String::from_utf8_lossy(value.as_bytes()));
        }
        let body = request.take_body().into_vec().await.unwrap_or_default();
        Self {
            method: request.method().to_string(),
            path: request.uri().path().to_owned(),
            query: request.params().expect("any query decodes into pairs"),
            headers,
            body: String::from_utf8_lossy(&body).into_owned(),
        }
    }
}

/// A scripted provider on a port of its own. It stops when dropped.
pub struct Provider {
    script: Arc<Script>,
    server: LocalServer,
}

impl Provider {
    /// Starts on 127.0.0.1 with numbered tokens of two hours as the answer.
    pub async fn start() -> Self {
        let script = Arc::<Script>::default();
        let server = LocalServer::start(ScriptedEndpoint(Arc::clone(&script))).await;
        Self { script, server }
    }

    /// The address of a path that begins with `/`.
    pub fn url(&self, path: &str) -> String {
        self.server.url(path)
    }

    /// Sets the answer for every request that has no [`Provider::answer_next`] left.
    /// A request takes its answer when it arrives, also while requests are held.
    pub fn answer_with(&self, answer: Answer) {
        self.script.state().answer = answer;
    }

    /// Adds an answer that is used once, in the order added and before any other.
    pub fn answer_next(&self, answer: Answer) {
        self.script.state().next.push_back(answer);
    }

    /// Makes the requests that arrive from now on wait, once recorded, for
    /// [`Provider::release`]. Returns how many arrived before.
    pub fn hold(&self) -> usize {
        let mut state = self.script.state();
        state
            .gate
            .get_or_insert_with(|| Arc::new(Semaphore::new(0)));
        state.requests.len()
    }

    /// Answers the requests that wait, and lets later ones pass.
    pub fn release(&self) {
        if let Some(gate) = self.script.state().gate.take() {
            gate.close();
        }
    }

    /// Returns once `count` requests have been received since the start.
    ///
    /// # Panics
    /// After [`PATIENCE`].
    pub async fn wait_for_requests(&self, count: usize) {
        let mut received = self.script.received.subscribe();
        let enough = received.wait_for(|received| *received >= count);
        let in_time = tokio::time::timeout(PATIENCE, enough).await.is_ok();
        let so_far = self.request_count();
        assert!(in_time, "{so_far} of {count} requests came in {PATIENCE:?}");
    }

    /// Every request since the start, in the order they came.
    pub fn requests(&self) -> Vec<RecordedRequest> {
        self.script.state().requests.clone()
    }

    /// The number of requests since the start.
    pub fn request_count(&self) -> usize {
        self.script.state().requests.len()
    }

    /// The largest number of requests that were in progress at once.
    pub fn in_flight_peak(&self) -> usize {
        self.script.state().in_flight_peak
    }
}

#[derive(Default)]
struct Script {
    state: Mutex<State>,
    received: watch::Sender<usize>,
}

#[derive(Default)]
struct State {
    answer: Answer,
    next: VecDeque<Answer>,
    /// How many tokens [`Answer::numbered_token`] has given.
    tokens: u64,
    requests: Vec<RecordedRequest>,
    /// Has no permits: who waits for one waits until it is closed.
    gate: Option<Arc<Semaphore>>,
    in_flight: usize,
    in_flight_peak: usize,
}

impl Script {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics with the lock")
    }
}

impl State {
    /// Counts the request as in progress, and gives what [`Endpoint::call`] needs to end it.
    fn record(&mut self, request: RecordedRequest) -> (Response, Option<Arc<Semaphore>>) {
        self.requests.push(request);
        self.in_flight += 1;
        self.in_flight_peak = self.in_flight_peak.max(self.in_flight);
        (self.next_response(), self.gate.clone())
    }

    fn next_response(&mut self) -> Response {
        let answer = self.next.pop_front().unwrap_or_else(|| self.answer.clone());
        let body = match answer.body {
            Body::Bytes(bytes) => bytes,
            Body::NumberedToken { expires_in_s } => {
                self.tokens += 1;
                let access_token = format!("token-{}", self.tokens);
                let body = json!({ "access_token": access_token, "expires_in": expires_in_s });
                body.to_string().into_bytes()
            }
        };
        let mut response = Response::builder().status(answer.status);
        for (name, value) in answer.headers {
            response = response.header(name, value);
        }
        response.body(body)
    }
}

struct ScriptedEndpoint(Arc<Script>);

impl Endpoint for ScriptedEndpoint {
    type Output = Response;

    async fn call(&self, request: Request) -> poem::Result<Response> {
        let request = RecordedRequest::read(request).await;
        let (response, gate) = self.0.state().record(request);
        let _in_flight = InFlight(&self.0);
        self.0.received.send_modify(|received| *received += 1);
        if let Some(gate) = gate {
            drop(gate.acquire().await);
        }
        Ok(response)
    }
}

/// A request in progress, until it is answered or its caller has gone.
struct InFlight<'a>(&'a Script);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.state().in_flight -= 1;
    }
}

/// An HTTP server on 127.0.0.1, at a port the system chose, that stops when dropped:
/// open connections are cut.
pub struct LocalServer {
    address: SocketAddr,
    /// Dropping it is the signal to stop.
    _stop: oneshot::Sender<()>,
}

impl LocalServer {
    pub async fn start(endpoint: impl Endpoint + 'static) -> Self {
        let bound = TcpListener::bind("127.0.0.1:0").await;
        let listener = bound.expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound socket has one");
        let acceptor = TcpAcceptor::from_tokio(listener).expect("the address is known");
        let (stop, stopped) = oneshot::channel::<()>();
        let stopped = async { drop(stopped.await) };
        let server = Server::new_with_acceptor(acceptor);
        tokio::spawn(server.run_with_graceful_shutdown(endpoint, stopped, Some(Duration::ZERO)));
        let _stop = stop;
        Self { address, _stop }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}
