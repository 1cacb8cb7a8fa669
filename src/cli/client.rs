//! The way to a running server, for commands that need its URL and an API key and nothing else.

use std::fmt::Write;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use reqwest::Method;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use url::{Host, Url};
use zeroize::Zeroizing;

use super::failure::CommandFailure;
use crate::foundation::logging::on_one_line;
use crate::foundation::page::PAGE_SIZE_MAX;
use crate::foundation::private::check_key_file;

/// A server may wait for a provider before it answers.
const TIMEOUT: Duration = Duration::from_secs(60);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Where the server is, and who asks it.
#[derive(Args)]
pub struct ServerArguments {
    /// The URL of the server
    #[arg(long, env = "TOKEN_SERVER_URL", value_name = "URL")]
    server: Url,
    /// A file that holds an API key
    #[arg(long, env = "TOKEN_SERVER_KEY_FILE", value_name = "FILE")]
    key_file: PathBuf,
    /// Send the API key over plain HTTP to a host that is not this machine: everybody on the way can
    /// read it
    #[arg(long, env = "TOKEN_SERVER_INSECURE_HTTP", value_parser = clap::builder::FalseyValueParser::new())]
    insecure_http: bool,
}

/// A server, asked with one key.
pub(super) struct ServerClient {
    http: reqwest::Client,
    server: Url,
    authorization: HeaderValue,
}

impl ServerClient {
    /// # Errors
    /// Where the URL is none of HTTP, holds a password, or would send the key in the clear; or where
    /// the key cannot be read or is open to anybody.
    pub(super) fn new(arguments: ServerArguments) -> Result<Self, CommandFailure> {
        let ServerArguments {
            server,
            key_file,
            insecure_http,
        } = arguments;
        if !matches!(server.scheme(), "http" | "https") || server.cannot_be_a_base() {
            return Err(CommandFailure::of(
                "--server (TOKEN_SERVER_URL) must be a URL of http or https",
            ));
        }
        if !server.username().is_empty() || server.password().is_some() {
            return Err(CommandFailure::of(
                "--server (TOKEN_SERVER_URL) must hold no user and no password: the API key is what \
                 the server knows callers by",
            ));
        }
        if server.scheme() == "http" && !is_this_machine(&server) && !insecure_http {
            return Err(CommandFailure::of(format!(
                "the API key would be sent to {} over plain HTTP, where everybody on the way can read \
                 it: use https; or, where the network is trusted, say --insecure-http \
                 (TOKEN_SERVER_INSECURE_HTTP=true)",
                shown(&server)
            )));
        }
        let refused = |what: String| {
            CommandFailure::of(format!("--key-file (TOKEN_SERVER_KEY_FILE): {what}"))
        };
        check_key_file(&key_file).map_err(|open| refused(open.to_string()))?;
        let key = std::fs::read_to_string(&key_file)
            .map(Zeroizing::new)
            .map_err(|error| refused(format!("{} cannot be read: {error}", key_file.display())))?;
        let header = Zeroizing::new(format!("Bearer {}", key.trim()));
        let mut authorization = HeaderValue::from_str(&header)
            .map_err(|_| refused(format!("{} holds no API key", key_file.display())))?;
        authorization.set_sensitive(true);
        let http = reqwest::Client::builder()
            // A redirect would take the key elsewhere.
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TIMEOUT)
            .build()
            .map_err(CommandFailure::of)?;
        Ok(Self {
            http,
            server,
            authorization,
        })
    }

    /// The answer to a GET.
    pub(super) async fn get(
        &self,
        path: &[&str],
        query: &[(&str, String)],
    ) -> Result<Value, CommandFailure> {
        self.send(Method::GET, path, query, None).await
    }

    pub(super) async fn post(&self, path: &[&str], body: Value) -> Result<Value, CommandFailure> {
        self.send(Method::POST, path, &[], Some(body)).await
    }

    /// A list from its beginning: all of it, or so many.
    pub(super) async fn list(
        &self,
        path: &[&str],
        query: &[(&str, Option<String>)],
        limit: Option<u64>,
    ) -> Result<Vec<Value>, CommandFailure> {
        let limit = limit.unwrap_or(u64::MAX);
        let size = limit.min(PAGE_SIZE_MAX);
        let given = query
            .iter()
            .filter_map(|(name, value)| Some((*name, value.clone()?)));
        let mut query: Vec<_> = given.collect();
        query.extend([("page", String::new()), ("pageSize", size.to_string())]);
        let page = query.len() - 2;
        let mut all = Vec::new();
        for number in 1_u64.. {
            query[page].1 = number.to_string();
            let mut answer = self.get(path, &query).await?;
            let list = answer.pointer_mut("/data/list").map(Value::take);
            let Some(Value::Array(list)) = list else {
                return Err(unreadable(&self.server));
            };
            let is_last = (list.len() as u64) < size;
            all.extend(list);
            if is_last || all.len() as u64 >= limit {
                break;
            }
        }
        all.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        Ok(all)
    }

    async fn send(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, String)],
        body: Option<Value>,
    ) -> Result<Value, CommandFailure> {
        let mut url = self.server.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let mut request = self
            .http
            .request(method, url)
            .header(AUTHORIZATION, self.authorization.clone())
            .header(ACCEPT, "application/json");
        if let Some(body) = body {
            request = request
                .header(CONTENT_TYPE, "application/json")
                .body(body.to_string());
        }
        let cannot = |error: reqwest::Error| {
            CommandFailure::of(format!(
                "the server {} cannot be asked: {}",
                shown(&self.server),
                with_causes(&error.without_url())
            ))
        };
        let answer = request.send().await.map_err(cannot)?;
        let status = answer.status();
        let bytes = answer.bytes().await.map_err(cannot)?;
        let body: Option<Value> = serde_json::from_slice(&bytes).ok();
        match body {
            Some(body) if status.is_success() => Ok(body),
            Some(problem) if problem["code"].is_string() => Err(refusal(&problem)),
            _ if status.is_success() => Err(unreadable(&self.server)),
            _ => Err(CommandFailure::of(format!(
                "{} answered {status}, and not as a token server does: is the URL right?",
                shown(&self.server)
            ))),
        }
    }
}

/// Whether what is sent there does not leave the machine.
fn is_this_machine(server: &Url) -> bool {
    match server.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.to_canonical().is_loopback(),
        // RFC 6761, section 6.3.
        Some(Host::Domain(name)) => {
            let name = name.trim_end_matches('.');
            name == "localhost" || name.ends_with(".localhost")
        }
        None => false,
    }
}

/// A URL without what may be a password.
fn shown(server: &Url) -> String {
    let mut server = server.clone();
    // Refused of URLs without a host only, which are refused before.
    let _ = server.set_password(None);
    let _ = server.set_username("");
    server.set_query(None);
    server.to_string()
}

fn unreadable(server: &Url) -> CommandFailure {
    let server = shown(server);
    CommandFailure::of(format!(
        "{server} answered what no token server does: is the URL right?"
    ))
}

/// What the server says of what it refuses: never a value.
fn refusal(problem: &Value) -> CommandFailure {
    let text = |name: &str| on_one_line(problem[name].as_str().unwrap_or_default());
    let mut told = format!(
        "{} ({}): {}",
        problem["status"],
        text("code"),
        text("detail")
    );
    for fault in problem["errors"].as_array().into_iter().flatten() {
        let text = |name: &str| on_one_line(fault[name].as_str().unwrap_or_default());
        // A String takes whatever is written.
        let _ = write!(told, "\n  {} {}", text("pointer"), text("detail"));
    }
    CommandFailure::Refused(told)
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        // A String takes whatever is written.
        let _ = write!(text, ": {cause}");
        source = cause.source();
    }
    text
}

/// A value that a command line must not hold: other users of the machine see those.
pub(super) fn read_value(from: &str) -> Result<SecretString, CommandFailure> {
    let read = match from {
        "-" => std::io::read_to_string(std::io::stdin()),
        file => std::fs::read_to_string(file),
    };
    let text = read.map(Zeroizing::new).map_err(|error| {
        CommandFailure::of(match from {
            "-" => format!("standard input cannot be read: {error}"),
            file => format!("{file} cannot be read: {error}"),
        })
    })?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    Ok(text.into())
}

/// For a body that is sent and dropped.
pub(super) fn exposed(value: &SecretString) -> Value {
    Value::from(value.expose_secret())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_is_this_machine() {
        let is_this_machine = |host: &str| {
            let url = Url::parse(&format!("http://{host}:8080/")).unwrap();
            super::is_this_machine(&url)
        };
        for host in [
            "127.0.0.1",
            "127.8.9.10",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "localhost",
            "LOCALHOST.",
            "a.localhost",
        ] {
            assert!(is_this_machine(host), "{host}");
        }
        for host in [
            "0.0.0.0",
            "10.0.0.1",
            "[::]",
            "token-server",
            "localhost.example",
            "notlocalhost",
            "127.0.0.1.example",
        ] {
            assert!(!is_this_machine(host), "{host}");
        }
    }
}
