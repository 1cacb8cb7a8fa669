//! A line to a database server that can be cut, or lose an answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// The packet of a query (`COM_QUERY`) that says so and nothing else.
const COMMIT: &[u8] = b"\x07\0\0\0\x03COMMIT";

pub struct Line {
    url: url::Url,
    is_up: watch::Sender<bool>,
    commits_to_lose: Arc<AtomicUsize>,
}

impl Line {
    /// To a database.
    pub async fn to(database: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound socket has one");
        let mut url: url::Url = database.parse().expect("a URL");
        let port = url.port().expect("a port");
        url.set_port(Some(address.port())).expect("a URL of a host");
        let line = Self {
            url,
            is_up: watch::Sender::new(true),
            commits_to_lose: Arc::default(),
        };
        let (up, commits_to_lose) = (line.is_up.subscribe(), line.commits_to_lose.clone());
        tokio::spawn(async move {
            while let Ok((caller, _)) = listener.accept().await {
                let (mut up, commits_to_lose) = (up.clone(), commits_to_lose.clone());
                tokio::spawn(async move {
                    tokio::select! {
                        _ = up.wait_for(|up| !*up) => {}
                        _ = carry(caller, port, &commits_to_lose) => {}
                    }
                });
            }
        });
        line
    }

    /// Of the database, over this line.
    pub fn url(&self) -> &str {
        self.url.as_str()
    }

    /// Connections break, and no more are made.
    pub fn cut(&self) {
        self.is_up.send_replace(false);
    }

    pub fn mend(&self) {
        self.is_up.send_replace(true);
    }

    /// So many transactions are committed, and their connections break before anybody is told.
    /// Under TLS no COMMIT is seen.
    pub fn lose_answers_to_commits(&self, count: usize) {
        self.commits_to_lose.store(count, Ordering::SeqCst);
    }

    pub fn has_lost_them(&self) -> bool {
        self.commits_to_lose.load(Ordering::SeqCst) == 0
    }
}

async fn carry(
    mut caller: TcpStream,
    port: u16,
    commits_to_lose: &AtomicUsize,
) -> std::io::Result<()> {
    let mut server = TcpStream::connect(("127.0.0.1", port)).await?;
    let (mut from_caller, mut to_caller) = caller.split();
    let (mut from_server, mut to_server) = server.split();
    let loses = AtomicBool::new(false);
    let asking = async {
        let mut piece = vec![0; 1 << 16];
        loop {
            let length = from_caller.read(&mut piece).await?;
            let piece = &piece[..length];
            if piece.is_empty() {
                return std::io::Result::Ok(());
            }
            let commits = piece.windows(COMMIT.len()).any(|bytes| bytes == COMMIT);
            let one_less = |count: usize| count.checked_sub(1);
            let (set, fetch) = (Ordering::SeqCst, Ordering::SeqCst);
            if commits && commits_to_lose.fetch_update(set, fetch, one_less).is_ok() {
                loses.store(true, Ordering::SeqCst);
            }
            to_server.write_all(piece).await?;
        }
    };
    let answering = async {
        let mut piece = vec![0; 1 << 16];
        loop {
            let length = from_server.read(&mut piece).await?;
            if length == 0 || loses.load(Ordering::SeqCst) {
                return std::io::Result::Ok(());
            }
            to_caller.write_all(&piece[..length]).await?;
        }
    };
    tokio::select! {
        ended = asking => ended,
        ended = answering => ended,
    }
}
