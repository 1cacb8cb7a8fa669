//! A server with everything that is measured: TLS, quotas, limits, an issuer, copies of the audit, a
//! webhook; providers that answer and that do not, and a value that is damaged.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::json;
use token_server::foundation::clock::SystemClock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::damage::Stored;
use crate::kit::client::Client;
use crate::kit::issuer::{Publisher, SigningKey, service_account};
use crate::kit::server::Options;
use crate::kit::tls::{Authority, GOOD};
use crate::kit::{Answer, Provider, Server, TestDatabase};

const NAME: &str = "tokens.example";

pub struct Loaded {
    pub server: Server,
    pub client: Client,
    visitor: Client,
    database: TestDatabase,
    /// They answer as long as they are held.
    _providers: [Provider; 2],
    _publisher: Publisher,
}

/// The certificate and the key of a server, in files; answers the authority that signed it.
fn certificate_in(folder: &Path) -> Authority {
    let authority = Authority::root("Test Root");
    let issued = authority.issue(NAME, GOOD);
    let key = folder.join("tls.key");
    let certificate = rcgen_pem(&issued.chain[0]);
    std::fs::write(folder.join("tls.pem"), certificate).expect("the folder is there");
    std::fs::write(&key, issued.key.serialize_pem()).expect("the folder is there");
    let private = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(&key, private).expect("the file is there");
    authority
}

fn rcgen_pem(der: &[u8]) -> String {
    use base64::Engine;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
}

fn http(authority: &Authority, address: SocketAddr) -> reqwest::Client {
    let root = reqwest::Certificate::from_der(authority.certificate.der());
    reqwest::Client::builder()
        .no_proxy()
        .tls_certs_only([root.expect("a certificate")])
        .resolve(NAME, address)
        .build()
        .expect("a client can be made")
}

impl Loaded {
    pub async fn start() -> Self {
        let database = TestDatabase::sqlite();
        let [good, away] = [Provider::start().await, Provider::start().await];
        away.answer_with(Answer::status(503));
        let folder = database.directory.path();
        let authority = certificate_in(folder);
        let file = |name: &str| folder.join(name).display().to_string();
        let webhook_key = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
        let options = Options::default().with(&[
            ("TOKEN_SERVER__HTTP__TLS__CERT_FILE", &file("tls.pem")),
            ("TOKEN_SERVER__HTTP__TLS__KEY_FILE", &file("tls.key")),
            ("TOKEN_SERVER__ACCESS__ADDRESS_RATE", "1"),
            ("TOKEN_SERVER__ACCESS__ADDRESS_BURST", "1"),
            ("TOKEN_SERVER__ACCESS__ADDRESS_DELAY_MS", "0"),
            ("TOKEN_SERVER__RENEWAL__MIN_FLUSH_INTERVAL_S", "0"),
            ("TOKEN_SERVER__MAINTENANCE__CHECK_SEALED_EVERY_S", "1"),
            ("TOKEN_SERVER__AUDIT__FILE", &file("audit.jsonl")),
            ("TOKEN_SERVER__AUDIT__URL", &away.url("/audit")),
            ("TOKEN_SERVER__WEBHOOK__URL", &good.url("/hook")),
            ("TOKEN_SERVER__WEBHOOK__SECRET", webhook_key),
            ("TOKEN_SERVER__WEBHOOK__FAILING_AFTER", "1"),
        ]);
        let server = Server::start_with(&database, options).await;
        let base = format!("https://{NAME}:{}", server.address().port());
        let client = Client::over(http(&authority, server.address()), base);
        let (publisher, visitor) = visitor(&client).await;
        let loaded = Self {
            visitor,
            _publisher: publisher,
            client,
            server,
            database,
            _providers: [good, away],
        };
        loaded.registers().await;
        loaded
    }

    /// Realms that work and that fail, and a token that is damaged where it is stored.
    async fn registers(&self) {
        let [good, away] = &self._providers;
        for (realm, provider) in [("r", good), ("failing", away)] {
            let config = json!({
                "url": provider.url("/token"), "method": "GET", "arguments": [],
                "token_path": "access_token", "expires_in_path": "expires_in",
                "policy": {"quota": [{"limit": 100_000, "window_s": 3600}]},
            });
            self.client.save_realm(realm, config).await;
            self.client.save_secret(realm, "k").await;
        }
        self.client.save_secret("r", "damaged").await;
        self.client.generation("r", "k", 1).await;
        self.client.generation("r", "damaged", 1).await;
        self.server.settled().await;
        let token = Stored::of_key("ts_token", "token", "damaged");
        token.write(&self.database, vec![0; 40]).await;
    }

    /// Reads, renews, fails, and is called by those who may not.
    pub async fn works(&self) {
        let client = &self.client;
        for _ in 0..3 {
            client.token("r", "k").await.expect(200);
        }
        let secret = json!({"realm": "r", "key": "k"});
        client.post("/api/token/flush", &secret).await.expect(200);
        let failing = json!({"realm": "failing", "key": "k"});
        client.post("/api/token/flush", &failing).await;
        self.visitor.token("r", "k").await;
        for _ in 0..3 {
            client.without_key().token("r", "k").await;
        }
        // A record of TLS that begins no handshake.
        let plain = TcpStream::connect(self.server.address()).await;
        let mut plain = plain.expect("the server listens");
        let _ = plain.write_all(b"\x16\x03\x01\x00\x04junk").await;
        let _ = plain.read_to_end(&mut Vec::new()).await;
    }
}

/// A caller that shows a JWT of an issuer whose keys are fetched.
async fn visitor(client: &Client) -> (Publisher, Client) {
    let key = SigningKey::new("first", "RS256");
    let publisher = Publisher::start(&[&key]).await;
    let issuer = json!({
        "issuer": publisher.issuer(),
        "audiences": ["token-server"],
        "rules": [{
            "when": "claims.sub == 'system:serviceaccount:prod:checkout'",
            "scopes": ["token:read"], "realms": ["*"],
        }],
    });
    client.put("/api/issuer/k8s", &issuer).await.expect(200);
    let claims = service_account(&publisher.issuer(), "prod", "checkout", &SystemClock);
    let token = key.token_with(&json!({"alg": "RS256", "kid": key.id}), &claims);
    (publisher, client.with_key(&token))
}
