//! Where copies of the audit go, and how a batch is brought there.

use std::path::PathBuf;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use token_server_entity::audit;

use super::file;
use super::syslog::{self, SyslogAddress};
use crate::access::audit::line;
use crate::foundation::clock::Ms;
use crate::realm::document::ProxyChoice;
use crate::upstream::Upstream;

/// Where copies go.
#[derive(Clone, Debug)]
pub enum AuditSink {
    File(PathBuf),
    Syslog(SyslogAddress),
    Https(HttpsSink),
}

#[derive(Clone, Debug)]
pub struct HttpsSink {
    pub url: SecretString,
    /// Sent as a bearer token; none where there is none.
    pub token: Option<SecretString>,
    pub proxy: ProxyChoice,
    pub timeout: Ms,
}

impl AuditSink {
    /// In metrics, and where it is stored how far the sink is.
    pub fn name(&self) -> &'static str {
        match self {
            Self::File(_) => "file",
            Self::Syslog(_) => "syslog",
            Self::Https(_) => "https",
        }
    }
}

/// Why a sink did not take a batch.
#[derive(Debug, thiserror::Error)]
pub enum SinkFailure {
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("answered {0}")]
    Status(u16),
    #[error("{0}")]
    Unreachable(String),
}

/// Brings entries to a sink, in their order.
pub(super) async fn deliver(
    sink: &AuditSink,
    entries: &[audit::Model],
    upstream: &Upstream,
) -> Result<(), SinkFailure> {
    let lines = || {
        let lines = entries.iter().map(|row| format!("{}\n", line(row)));
        lines.collect::<String>()
    };
    match sink {
        AuditSink::File(path) => {
            let (path, lines) = (path.clone(), lines());
            let appended = tokio::task::spawn_blocking(move || file::append(&path, &lines));
            let appended = appended.await.map_err(std::io::Error::other)?;
            Ok(appended?)
        }
        AuditSink::Syslog(address) => Ok(syslog::send(address, entries).await?),
        AuditSink::Https(sink) => post(sink, lines(), upstream).await,
    }
}

async fn post(sink: &HttpsSink, lines: String, upstream: &Upstream) -> Result<(), SinkFailure> {
    let mut headers = HeaderMap::new();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/x-ndjson"),
    );
    if let Some(token) = &sink.token {
        let bearer = format!("Bearer {}", token.expose_secret());
        // The configuration takes none that is no value of a header.
        if let Ok(mut value) = HeaderValue::from_str(&bearer) {
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
    }
    let url = sink.url.expose_secret();
    let sent = upstream
        .notify(url, headers, lines.into_bytes(), &sink.proxy, sink.timeout)
        .await;
    match sent {
        Ok(status) if status.is_success() => Ok(()),
        Ok(status) => Err(SinkFailure::Status(status.as_u16())),
        Err(failure) => Err(SinkFailure::Unreachable(failure.detail)),
    }
}
