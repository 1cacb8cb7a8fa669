//! A provider that keeps the bytes it was sent, and a way to it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;
use secrecy::SecretString;
use serde_json::{Value, json};
use token_server::foundation::clock::{EpochMs, ManualClock, Ms};
use token_server::foundation::ids::{KeyName, RealmId, SecretId, Version};
use token_server::foundation::randomness::Randomness;
use token_server::realm::document::ProviderDocument;
use token_server::realm::expression::Expressions;
use token_server::realm::failure::{Failure, FailureClass};
use token_server::realm::{Realm, Source};
use token_server::secret::Secret;
use token_server::secret::params::{ParamChange, Params};
use token_server::upstream::egress::{Egress, SystemResolver};
use token_server::upstream::proxy::Proxies;
use token_server::upstream::{Obtained, Previous, Upstream, UpstreamSettings};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};

/// The same answer to a provider's realm and to custom logic.
const ANSWER: &str = r#"{"access_token":"issued","token":"issued","expires_in":7200}"#;

#[derive(Debug, Default)]
pub(super) struct Recorded {
    pub(super) target: String,
    /// Names in lower case; values without the blanks around them (RFC 9112, section 5).
    headers: Vec<(String, Vec<u8>)>,
    pub(super) body: Vec<u8>,
}

impl Recorded {
    pub(super) fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    pub(super) fn query(&self) -> &str {
        self.target.split_once('?').map_or("", |(_, query)| query)
    }

    pub(super) fn header(&self, name: &str) -> &[u8] {
        let mut found = self.headers.iter().filter(|(known, _)| known == name);
        found.next().map_or(b"", |(_, value)| value)
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("the body is JSON")
    }

    pub(super) fn text(&self) -> &str {
        str::from_utf8(&self.body).expect("the body is UTF-8")
    }

    async fn read(stream: &mut BufReader<TcpStream>) -> Option<Self> {
        let mut recorded = Self::default();
        let mut length = 0;
        loop {
            let mut line = Vec::new();
            stream.read_until(b'\n', &mut line).await.ok()?;
            let line = line.strip_suffix(b"\r\n")?;
            if recorded.target.is_empty() {
                let line = str::from_utf8(line).ok()?;
                recorded.target = line.split(' ').nth(1)?.to_owned();
            } else if line.is_empty() {
                break;
            } else {
                let colon = line.iter().position(|byte| *byte == b':')?;
                let name = str::from_utf8(&line[..colon]).ok()?.to_ascii_lowercase();
                let value = line[colon + 1..].trim_ascii();
                if name == "content-length" {
                    length = str::from_utf8(value).ok()?.parse().ok()?;
                }
                recorded.headers.push((name, value.to_vec()));
            }
        }
        recorded.body.resize(length, 0);
        stream.read_exact(&mut recorded.body).await.ok()?;
        Some(recorded)
    }
}

/// Answers 400 below `/refuse`, and a token elsewhere.
async fn serve(stream: TcpStream, seen: Arc<Mutex<Vec<Recorded>>>) {
    let mut stream = BufReader::new(stream);
    while let Some(recorded) = Recorded::read(&mut stream).await {
        let status = match recorded.path().starts_with("/refuse") {
            true => "400 Bad Request",
            false => "200 OK",
        };
        seen.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(recorded);
        let length = ANSWER.len();
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{ANSWER}");
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// The way to a provider, and the provider.
pub(super) struct World {
    runtime: Runtime,
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Recorded>>>,
    upstream: Upstream,
}

impl World {
    pub(super) fn new() -> Self {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let seen = Arc::<Mutex<Vec<Recorded>>>::default();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"));
        let listener = listener.expect("a port");
        let address = listener.local_addr().expect("an address");
        let kept = Arc::clone(&seen);
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&kept)));
            }
        });
        let settings = UpstreamSettings {
            egress: Egress::new(["127.0.0.0/8".parse().expect("a network")]),
            names: Arc::new(SystemResolver),
            proxies: Proxies::default(),
            authorities: Vec::new(),
            timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(10),
            late_answer: Duration::ZERO,
            max_answer_bytes: 64 * 1024,
        };
        let clock = Arc::new(ManualClock::at(EpochMs(1_800_000_000_000)));
        Self {
            upstream: Upstream::new(&settings, clock, Randomness::seeded(1)).expect("a client"),
            runtime,
            address,
            seen,
        }
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// What the provider was sent since the last time.
    pub(super) fn seen(&self) -> Vec<Recorded> {
        std::mem::take(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Obtains a token, and says what was sent for it.
    pub(super) fn fetch(
        &self,
        realm: &Realm,
        params: &[(&str, &str)],
    ) -> (Result<Obtained, Failure>, Vec<Recorded>) {
        let (secret, previous) = (secret(params), Previous::default());
        let limit = self.upstream.time_limit(Ms::from_secs(30));
        let fetching = self.upstream.fetch(realm, &secret, &previous, limit);
        let obtained = self.runtime.block_on(fetching);
        (obtained.map_err(|error| error.failure), self.seen())
    }

    pub(super) fn fetched(&self, realm: &Realm, value: &str) -> Vec<Recorded> {
        let (obtained, seen) = self.fetch(realm, &[("v", value), ("w", "expanded")]);
        assert!(obtained.is_ok(), "{:?}", obtained.map(|_| ()));
        seen
    }

    /// Nothing was sent, and the reason is this server's own and does not repeat the value.
    pub(super) fn refuses(&self, realm: &Realm, value: &str) -> TestCaseResult {
        let (obtained, seen) = self.fetch(realm, &[("v", value)]);
        prop_assert_eq!(seen.len(), 0, "something was sent");
        let failure = obtained.map(|_| ()).expect_err("nothing was sent");
        prop_assert_eq!(failure.class, FailureClass::Internal, "{}", failure.detail);
        prop_assert!(!failure.sent, "{}", failure.detail);
        let telling = value.chars().count() >= 8;
        prop_assert!(!(telling && failure.detail.contains(value)));
        Ok(())
    }
}

pub(super) fn realm_of(source: Source) -> Realm {
    Realm {
        id: RealmId::new("r").expect("a name"),
        comment: None,
        config: None,
        logic_code: None,
        source,
        version: Version(1),
        blocked_until: None,
        created_at: EpochMs(0),
        updated_at: EpochMs(0),
    }
}

/// A realm of one parameter `v`, where the document does not say otherwise.
pub(super) fn read_realm(mut config: Value) -> Result<Realm, Vec<String>> {
    let fields = config.as_object_mut().expect("a document is an object");
    let own = json!({"v": {}, "w": {"optional": true}});
    fields.entry("params").or_insert(own);
    fields.entry("token_path").or_insert(json!("access_token"));
    fields
        .entry("expires_in_path")
        .or_insert(json!("expires_in"));
    let document = ProviderDocument::read(&config, &Expressions::new());
    match document {
        Ok(document) => Ok(realm_of(Source::Provider(Box::new(document)))),
        Err(faults) => Err(faults.iter().map(ToString::to_string).collect()),
    }
}

pub(super) fn realm(config: Value) -> Realm {
    read_realm(config).unwrap_or_else(|faults| panic!("{faults:?}"))
}

pub(super) fn secret(params: &[(&str, &str)]) -> Secret {
    let mut open = Params::default();
    let set = |(name, value): &(&str, &str)| {
        let change = ParamChange::Set(SecretString::from(*value));
        ((*name).to_owned(), change)
    };
    open.merge(params.iter().map(set));
    Secret {
        id: SecretId(1),
        realm: RealmId::new("r").expect("a name"),
        key: KeyName::new("k").expect("a name"),
        params: open,
        version: Version(1),
        created_at: EpochMs(0),
        updated_at: EpochMs(0),
    }
}
