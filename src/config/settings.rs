//! What can be configured, as it is used: checked, with units.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use secrecy::SecretString;
use serde_json::Value;

use crate::access::certified::CertifiedClients;
use crate::access::writer::AuditedReads;
use crate::console::SessionSettings;
use crate::foundation::clock::Ms;
use crate::foundation::database::DatabaseSettings;
use crate::foundation::logging::LogFormat;
use crate::foundation::rate::Rate;
use crate::foundation::sealing::SealingKeys;
use crate::foundation::server_tls::TlsFiles;
use crate::foundation::traces::TracesSettings;
use crate::foundation::value_command::ValueCommand;
use crate::issuers::IssuerSettings;
use crate::issuers::sign_in::SignInSettings;
use crate::jobs::audit_sinks::AuditSink;
use crate::jobs::maintenance::MaintenanceSettings;
use crate::memory::MemorySettings;
use crate::renewal::RenewalSettings;
use crate::ticket::inbox::TicketSettings;
use crate::upstream::UpstreamSettings;
use crate::webhook::WebhookSettings;

/// A configuration that cannot be used; says which key and why, never a secret's value.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(pub(super) String);

impl ConfigError {
    pub(super) fn of_key(key: &str, what: impl std::fmt::Display) -> Self {
        Self(format!("{key} {what}"))
    }

    /// Where what is wrong names its keys.
    pub(super) fn of_all(what: impl std::fmt::Display) -> Self {
        Self(what.to_string())
    }
}

/// Everything that can be configured, checked.
#[derive(Clone, Debug)]
pub struct Settings {
    pub data_dir: PathBuf,
    pub admin_key: Option<SecretString>,
    pub sealing: SealingSource,
    pub http: HttpSettings,
    pub database: DatabaseSettings,
    pub upstream: UpstreamSettings,
    pub renewal: RenewalSettings,
    pub memory: MemorySettings,
    /// Of calls without a good key; none: they are not limited.
    pub address_rate: Option<Rate>,
    /// How long it is held back that there are too many.
    pub address_delay: Ms,
    pub issuers: IssuerSettings,
    pub console: ConsoleSettings,
    pub ticket: TicketSettings,
    /// None: nobody is told of anything.
    pub webhook: Option<WebhookSettings>,
    pub audit_reads: AuditedReads,
    /// Where copies of the audit go.
    pub audit_sinks: Vec<AuditSink>,
    pub maintenance: MaintenanceSettings,
    /// As many realms have a label of their own in metrics.
    pub metrics_realms_max: usize,
    /// None: no traces are made.
    pub traces: Option<TracesSettings>,
    pub log: LogSettings,
    /// Every key that has a value, as it may be shown.
    pub effective: Value,
}

/// The administration console.
#[derive(Clone, Debug)]
pub struct ConsoleSettings {
    /// Otherwise there are no pages of it, and no sessions.
    pub enabled: bool,
    pub session: SessionSettings,
    /// None: nobody signs in by OpenID Connect.
    pub oidc: Option<Arc<SignInSettings>>,
    /// Streams of events at once.
    pub event_streams_max: usize,
    /// Of them, those of one caller.
    pub caller_event_streams_max: usize,
}

/// Where the sealing keys come from.
#[derive(Clone, Debug)]
pub enum SealingSource {
    /// A file in the data directory, made at the first start; on SQLite only.
    DataDir,
    Keys(Arc<SealingKeys>),
    Command(ValueCommand),
}

#[derive(Clone, Debug)]
pub struct HttpSettings {
    pub listen: SocketAddr,
    /// Whether a file or a variable says so.
    pub listen_is_set: bool,
    pub max_body_bytes: usize,
    pub max_header_bytes: usize,
    pub header_timeout: Ms,
    pub body_timeout: Duration,
    pub idle_timeout: Ms,
    pub request_timeout: Ms,
    pub grace: Ms,
    /// None: what the limit of open files leaves.
    pub max_connections: Option<u32>,
    /// Of all connections, those that one address may have; none: all.
    pub address_connections_percent: Option<u8>,
    pub max_streams: u32,
    /// Callers that watch a token.
    pub watchers_max: usize,
    /// Of them, those of one caller.
    pub caller_watchers_max: usize,
    /// Of these, the `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// The platform stops this process, or its machine, while no request is under way.
    pub frozen_between_requests: bool,
    /// None: plain HTTP.
    pub tls: Option<TlsSettings>,
}

/// TLS towards callers.
#[derive(Clone, Debug)]
pub struct TlsSettings {
    pub files: TlsFiles,
    /// Of handshakes that no good key follows, of one address; none: they are not limited.
    pub handshake_rate: Option<Rate>,
    /// How long browsers are told to come by TLS only, in seconds; none: they are not told.
    pub hsts_s: Option<u32>,
    /// The API keys that callers with a certificate act as.
    pub clients: CertifiedClients,
}

#[derive(Clone, Debug)]
pub struct LogSettings {
    pub format: Option<LogFormat>,
    pub filter: String,
    /// Whether the environment leaves them to a terminal.
    pub colours: bool,
}

/// The process's environment, read once.
pub type Env = HashMap<String, String>;
