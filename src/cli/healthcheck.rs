//! Asks the server of this configuration whether it lives: what a container's health check runs.

use std::error::Error;
use std::iter::successors;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use reqwest::StatusCode;
use reqwest::redirect::Policy;

use super::context::say;
use super::failure::CommandFailure;
use crate::config::Settings;

/// Asks `/healthz` at `http.listen`.
///
/// Over TLS any certificate is accepted: one for callers seldom names a loopback address, and a
/// restart, which is what an answer leads to, repairs neither its name nor its dates. Nothing secret
/// is sent, and nothing of the answer is used but its status.
pub async fn run(settings: Settings, timeout: Duration) -> Result<ExitCode, CommandFailure> {
    let listen = settings.http.listen;
    if listen.port() == 0 {
        return Err(CommandFailure::Command(format!(
            "http.listen is {listen}: the server chose its port by itself, and only its log says which; give http.listen a port"
        )));
    }
    let scheme = match settings.http.tls {
        Some(_) => "https",
        None => "http",
    };
    let url = format!("{scheme}://{}/healthz", reachable(listen));
    let unhealthy = |what: String| CommandFailure::Unhealthy {
        url: url.clone(),
        what,
    };
    let client = reqwest::Client::builder()
        .no_proxy()
        .redirect(Policy::none())
        .timeout(timeout)
        .tls_danger_accept_invalid_certs(true)
        .build()
        .map_err(CommandFailure::of)?;
    let response = client.get(&url).send().await.map_err(|error| {
        unhealthy(match error.is_timeout() {
            true => format!("did not answer within {} s", timeout.as_secs()),
            false => format!("does not answer: {}", innermost(&error)),
        })
    })?;
    match response.status() {
        StatusCode::OK => say(&format!("healthy: {url} answered 200\n")),
        status => Err(unhealthy(format!("answered {}", status.as_u16()))),
    }
}

/// A server that listens on all addresses is asked on loopback.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

/// The cause below all others.
fn innermost(error: &(dyn Error + 'static)) -> String {
    let causes = successors(Some(error), |&error| error.source());
    causes.last().unwrap_or(error).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_addresses_mean_loopback() {
        for (listen, asked) in [
            ("0.0.0.0:8080", "127.0.0.1:8080"),
            ("[::]:8080", "[::1]:8080"),
            ("127.0.0.2:1", "127.0.0.2:1"),
            ("[::1]:443", "[::1]:443"),
        ] {
            let listen: SocketAddr = listen.parse().expect("an address");
            assert_eq!(reachable(listen).to_string(), asked);
        }
    }
}
