//! Cookies that this server sets: read from requests, and set.

use poem::Request;
use poem::http::header::COOKIE;
use poem::http::uri::Scheme;

use super::forwarded::came_by_tls;
use crate::config::HttpSettings;
use crate::foundation::clock::Ms;

/// A cookie. Over TLS its name begins with `__Host-`: browsers take it from this host only, by TLS
/// only, so nobody else can put another in its place (draft-ietf-httpbis-rfc6265bis, section
/// 4.1.3.2).
pub struct Cookie {
    /// Over plain HTTP.
    name: &'static str,
    /// Over TLS.
    secure_name: &'static str,
    same_site: &'static str,
}

/// Of a session.
pub const SESSION: Cookie = Cookie {
    name: "token_server_session",
    secure_name: "__Host-token_server_session",
    same_site: "Strict",
};

/// Of a sign-in that is under way: another site, the provider, leads back to this one.
pub const SIGN_IN: Cookie = Cookie {
    name: "token_server_sign_in",
    secure_name: "__Host-token_server_sign_in",
    same_site: "Lax",
};

/// Whether the caller came by TLS: to this server, or to a trusted proxy that says so.
fn is_secure(request: &Request, http: &HttpSettings) -> bool {
    let peer = request.remote_addr().as_socket_addr();
    *request.scheme() == Scheme::HTTPS
        || peer.is_some_and(|peer| came_by_tls(peer.ip(), request.headers(), &http.trusted_proxies))
}

impl Cookie {
    fn name(&self, is_secure: bool) -> &'static str {
        match is_secure {
            true => self.secure_name,
            false => self.name,
        }
    }

    /// What it holds; none where there is none. Of two nobody knows which the server set: they hold
    /// nothing.
    pub fn shown<'a>(&self, request: &'a Request, http: &HttpSettings) -> Option<&'a str> {
        let lines = request.headers().get_all(COOKIE).iter();
        let mut lines = lines.peekable();
        lines.peek()?;
        let name = self.name(is_secure(request, http));
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
    pub fn set(&self, request: &Request, http: &HttpSettings, value: &str, lasts: Ms) -> String {
        let is_secure = is_secure(request, http);
        let secure = match is_secure {
            true => "; Secure",
            false => "",
        };
        format!(
            "{}={value}; Path=/; Max-Age={}; HttpOnly; SameSite={}{secure}",
            self.name(is_secure),
            lasts.as_secs_ceil().max(0),
            self.same_site,
        )
    }

    /// The header that removes it.
    pub fn remove(&self, request: &Request, http: &HttpSettings) -> String {
        self.set(request, http, "", Ms::ZERO)
    }
}
