//! A provider that keeps the bytes of each request as they came, answers it with a token, and
//! closes the connection without having said that it would.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A request, head and body, as it came.
#[derive(Clone, Debug)]
pub struct RawRequest {
    /// The lines of the head, the first of them the request line.
    pub head: Vec<String>,
    pub body: Vec<u8>,
}

impl RawRequest {
    /// Whether such a line stands in the head, letter for letter.
    pub fn has(&self, line: &str) -> bool {
        self.head.iter().any(|known| known == line)
    }

    async fn read(stream: &mut TcpStream) -> Option<Self> {
        let mut bytes = Vec::new();
        let end = loop {
            if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                break end;
            }
            if stream.read_buf(&mut bytes).await.ok()? == 0 {
                return None;
            }
        };
        let head = str::from_utf8(&bytes[..end]).ok()?;
        let head: Vec<String> = head.split("\r\n").map(str::to_owned).collect();
        let length = head.iter().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            let is_length = name.eq_ignore_ascii_case("content-length");
            is_length.then(|| value.trim().parse::<usize>().ok())?
        });
        let mut body = bytes.split_off(end + 4);
        while body.len() < length.unwrap_or(0) {
            if stream.read_buf(&mut body).await.ok()? == 0 {
                return None;
            }
        }
        Some(Self { head, body })
    }
}

pub struct RawProvider {
    port: u16,
    seen: Arc<Mutex<Vec<RawRequest>>>,
    accepting: JoinHandle<()>,
}

impl RawProvider {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.expect("loopback has a free port");
        let port = listener.local_addr().expect("an address").port();
        let seen = Arc::<Mutex<Vec<RawRequest>>>::default();
        let kept = seen.clone();
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, kept.clone()));
            }
        });
        Self {
            port,
            seen,
            accepting,
        }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Every request since the start, in the order they came.
    pub fn requests(&self) -> Vec<RawRequest> {
        self.seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Drop for RawProvider {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn answer(mut stream: TcpStream, seen: Arc<Mutex<Vec<RawRequest>>>) {
    let Some(request) = RawRequest::read(&mut stream).await else {
        return;
    };
    seen.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(request);
    let body = r#"{"access_token":"issued","expires_in":3600,"session":"s"}"#;
    let length = body.len();
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    // Whoever has gone meanwhile has no use for it.
    let _ = stream.write_all(answer.as_bytes()).await;
}
