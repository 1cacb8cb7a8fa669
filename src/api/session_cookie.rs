//! The cookie of a session: read from requests, and set.

use poem::Request;
use poem::http::header::COOKIE;
use poem::http::uri::Scheme;

use super::forwarded::came_by_tls;
use crate::config::HttpSettings;
use crate::foundation::clock::Ms;

/// Over plain HTTP.
const NAME: &str = "token_server_session";
/// Over TLS: browsers take it from this host only, by TLS only, so nobody else can put another in its
/// place (draft-ietf-httpbis-rfc6265bis, section 4.1.3.2).
const SECURE_NAME: &str = "__Host-token_server_session";

/// Whether the caller came by TLS: to this server, or to a trusted proxy that says so.
fn is_secure(request: &Request, http: &HttpSettings) -> bool {
    let peer = request.remote_addr().as_socket_addr();
    *request.scheme() == Scheme::HTTPS
        || peer.is_some_and(|peer| came_by_tls(peer.ip(), request.headers(), &http.trusted_proxies))
}

fn name(is_secure: bool) -> &'static str {
    match is_secure {
        true => SECURE_NAME,
        false => NAME,
    }
}

/// What the cookie of a session holds; none where there is none. Of two nobody knows which the server
/// set: they hold nothing.
pub fn shown<'a>(request: &'a Request, http: &HttpSettings) -> Option<&'a str> {
    let lines = request.headers().get_all(COOKIE).iter();
    let mut lines = lines.peekable();
    lines.peek()?;
    let name = name(is_secure(request, http));
    let lines = lines.filter_map(|line| line.to_str().ok());
    let pairs = lines.flat_map(|line| line.split(';'));
    let pairs = pairs.filter_map(|pair| pair.trim().split_once('='));
    let mut values = pairs.filter(|(other, _)| *other == name);
    let (_, value) = values.next()?;
    Some(match values.next() {
        None => value,
        Some(_) => "",
    })
}

/// The header that sets it, for so long.
pub fn set(request: &Request, http: &HttpSettings, value: &str, lasts: Ms) -> String {
    let is_secure = is_secure(request, http);
    let secure = match is_secure {
        true => "; Secure",
        false => "",
    };
    format!(
        "{}={value}; Path=/; Max-Age={}; HttpOnly; SameSite=Strict{secure}",
        name(is_secure),
        lasts.as_secs_ceil().max(0),
    )
}

/// The header that removes it.
pub fn remove(request: &Request, http: &HttpSettings) -> String {
    set(request, http, "", Ms::ZERO)
}
