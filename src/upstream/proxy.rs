//! The proxies that providers may be reached through, as the configuration names them.

pub(super) mod error;
mod socks;
pub(super) mod target;
pub(super) mod tunnel;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use percent_encoding::percent_decode_str;
use secrecy::{ExposeSecret, SecretString};
use url::{Host, Url};

use super::egress::Scheme;
use crate::realm::document::ProxyChoice;
use crate::realm::failure::Failure;

/// The name of the one that is used where a realm names none.
pub const DEFAULT: &str = "default";

/// What is spoken with a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyKind {
    /// HTTP CONNECT (RFC 9110, section 9.3.6).
    Http,
    /// The same, over TLS.
    Https,
    /// RFC 1928, with user and password by RFC 1929.
    Socks5,
}

/// Who finds the addresses of a provider's name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ResolvedBy {
    /// This server: the proxy is asked for an address that is permitted.
    #[default]
    Server,
    /// The proxy, which is trusted to connect to nothing that it should not.
    Proxy,
}

#[derive(Clone, Debug)]
pub(super) struct ProxyCredentials {
    pub user: String,
    pub password: SecretString,
}

/// A proxy. Its address is the operator's, so that no policy applies to it.
#[derive(Clone, Debug)]
pub struct Proxy {
    name: String,
    kind: ProxyKind,
    host: Host,
    port: u16,
    credentials: Option<ProxyCredentials>,
    resolved_by: ResolvedBy,
}

impl Proxy {
    /// Reads `http://`, `https://` or `socks5://`, with `user:password@` where there is one.
    ///
    /// # Errors
    /// What is wrong with it, without any of it.
    pub fn read(name: &str, url: &SecretString, resolved_by: ResolvedBy) -> Result<Self, String> {
        const FORM: &str = "must be http://host:port, https://host:port or socks5://host:port, \
                            with user:password@ before the host where the proxy wants them";
        let url = Url::parse(url.expose_secret()).map_err(|_| FORM.to_owned())?;
        let (kind, usual_port) = match url.scheme() {
            "http" => (ProxyKind::Http, 80),
            "https" => (ProxyKind::Https, 443),
            "socks5" => (ProxyKind::Socks5, 1080),
            _ => return Err(FORM.to_owned()),
        };
        let is_bare = matches!(url.path(), "" | "/") && url.query().or(url.fragment()).is_none();
        // A host of socks5:// is not parsed by the library.
        let host = url.host_str().and_then(|host| Host::parse(host).ok());
        let (Some(host), true) = (host, is_bare) else {
            return Err(FORM.to_owned());
        };
        let decoded = |text: &str| {
            let text = percent_decode_str(text).decode_utf8();
            text.map(std::borrow::Cow::into_owned)
                .map_err(|_| "holds a user or password that is not UTF-8".to_owned())
        };
        let user = decoded(url.username())?;
        let password = decoded(url.password().unwrap_or_default())?;
        let has_credentials = !user.is_empty() || !password.is_empty();
        let fits = |text: &str| (1..=255).contains(&text.len());
        if kind == ProxyKind::Socks5 && has_credentials && !(fits(&user) && fits(&password)) {
            return Err(
                "needs a user and a password of 1 to 255 bytes each, or neither".to_owned(),
            );
        }
        if user.contains(':') {
            return Err(
                "holds a user with a colon, which Basic authentication cannot say".to_owned(),
            );
        }
        Ok(Self {
            name: name.to_owned(),
            kind,
            host,
            port: url.port().unwrap_or(usual_port),
            credentials: has_credentials.then(|| ProxyCredentials {
                user,
                password: password.into(),
            }),
            resolved_by,
        })
    }

    pub fn name(&self) -> &str {
        &self.name
    }
}

/// All proxies, by name.
#[derive(Clone, Debug, Default)]
pub struct Proxies(Arc<BTreeMap<String, Arc<Proxy>>>);

/// A name that no proxy has.
#[derive(Debug, PartialEq, Eq)]
pub struct UnknownProxy(String);

impl fmt::Display for UnknownProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(name) = self;
        if name == DEFAULT {
            return f
                .write_str("names the default proxy, and this server has no upstream.proxy.url");
        }
        write!(
            f,
            "names {name:?}, which this server has no proxy of: see upstream.proxies in its \
             configuration"
        )
    }
}

impl Proxies {
    pub fn new(proxies: impl IntoIterator<Item = Proxy>) -> Self {
        let named = proxies
            .into_iter()
            .map(|proxy| (proxy.name.clone(), Arc::new(proxy)));
        Self(Arc::new(named.collect()))
    }

    /// The proxy of a realm's choice; none where it is reached directly.
    ///
    /// # Errors
    /// Where it names one that is not there.
    pub fn chosen(&self, choice: &ProxyChoice) -> Result<Option<Arc<Proxy>>, UnknownProxy> {
        match choice {
            ProxyChoice::Direct => Ok(None),
            ProxyChoice::Unsaid => Ok(self.0.get(DEFAULT).cloned()),
            ProxyChoice::Named(name) => match self.0.get(name) {
                Some(proxy) => Ok(Some(proxy.clone())),
                None => Err(UnknownProxy(name.clone())),
            },
        }
    }

    /// The proxy of one request. What is in the clear is for this network, and would be read on the
    /// way: it goes through none that nobody named.
    pub(super) fn to_send_through(
        &self,
        choice: &ProxyChoice,
        scheme: Scheme,
    ) -> Result<Option<Arc<Proxy>>, Failure> {
        if (choice, scheme) == (&ProxyChoice::Unsaid, Scheme::Plain) {
            return Ok(None);
        }
        let unknown = |why| Failure::internal(format!("proxy: {why}")).unsent();
        self.chosen(choice).map_err(unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: &str) -> Result<Proxy, String> {
        Proxy::read("p", &url.to_owned().into(), ResolvedBy::Server)
    }

    #[test]
    fn a_proxy_is_read_with_its_port_and_its_credentials() {
        let proxy = read("http://a%40b:p%3Ass@proxy.example:3128/").unwrap();
        assert_eq!((proxy.kind, proxy.port), (ProxyKind::Http, 3128));
        let credentials = proxy.credentials.unwrap();
        assert_eq!(credentials.user, "a@b");
        assert_eq!(credentials.password.expose_secret(), "p:ss");
        let proxy = read("socks5://127.0.0.1").unwrap();
        assert_eq!(proxy.host, Host::parse("127.0.0.1").unwrap());
        assert_eq!(proxy.port, 1080);
        assert!(proxy.credentials.is_none());
        assert_eq!(
            read("socks5://[::1]:1").unwrap().host,
            Host::parse("[::1]").unwrap()
        );
        assert_eq!(read("https://proxy.example").unwrap().port, 443);
    }

    #[test]
    fn what_is_no_proxy_is_refused_without_repeating_it() {
        for url in [
            "canary",
            "canary.example:3128",
            "ftp://canary.example:1",
            "socks4://canary.example:1",
            "socks5h://canary.example:1",
            "http://canary.example/path",
            "http://canary.example:1?query",
            "http://:1",
            "socks5://canary@proxy.example",
            "http://can%3Aary:x@proxy.example",
            "http://%ff:canary@proxy.example",
        ] {
            let refused = read(url).unwrap_err();
            assert!(!refused.contains("canary"), "{refused}");
        }
    }

    #[test]
    fn no_proxy_shows_its_password() {
        let proxy = read("http://user:canary@proxy.example:3128").unwrap();
        let shown = format!("{:?}", Proxies::new([proxy]));
        assert!(!shown.contains("canary"), "{shown}");
    }
}
