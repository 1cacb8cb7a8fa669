//! Hosts by name: which of them belong together, and which a document allows beside its own.

use url::{Host, Url};

/// The registered domain of a host name: `example.co.uk` of `api.example.co.uk`. None where
/// there is none: an address, a public suffix itself, a suffix that is not in the list
/// (<https://publicsuffix.org>).
fn registered_domain(host: &str) -> Option<&str> {
    let domain = psl::domain(host.as_bytes())?;
    let text = std::str::from_utf8(domain.as_bytes()).ok()?;
    domain.suffix().is_known().then_some(text)
}

/// Whether two URLs lead to the same host, or to hosts of one registered domain.
pub fn belong_together(one: &Url, other: &Url) -> bool {
    match (one.host(), other.host()) {
        (Some(Host::Domain(one)), Some(Host::Domain(other))) => {
            one == other
                || registered_domain(one).is_some_and(|of| registered_domain(other) == Some(of))
        }
        (one, other) => one.is_some() && one == other,
    }
}

/// Whether a text is the name of a public host, or a URL that is nothing more than a host: what
/// an answer says of where to go, and no credential.
pub fn names_a_host(text: &str) -> bool {
    let is_bare = |url: &Url| {
        matches!(url.path(), "" | "/")
            && matches!(url.scheme(), "http" | "https")
            && [url.query(), url.fragment(), url.password()] == [None; 3]
            && url.username().is_empty()
    };
    match (Url::parse(text), Url::parse(&format!("https://{text}"))) {
        (Ok(url), _) => is_bare(&url),
        (Err(_), Ok(url)) => is_bare(&url) && url.domain().and_then(registered_domain).is_some(),
        (Err(_), Err(_)) => false,
    }
}

/// A host, or all hosts below a domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllowedHost {
    Exactly(String),
    /// `*.example.com`; the domain itself is not among them.
    Below(String),
}

impl AllowedHost {
    /// Reads `api.example.com` or `*.example.com`.
    pub fn read(text: &str) -> Result<Self, String> {
        let (is_below, name) = match text.strip_prefix("*.") {
            Some(name) => (true, name),
            None => (false, text),
        };
        let is_name = match Host::parse(name) {
            Ok(Host::Domain(parsed)) => parsed == name,
            Ok(Host::Ipv4(_) | Host::Ipv6(_)) => !is_below,
            Err(_) => false,
        };
        if !is_name || name.contains('*') {
            return Err(
                "must be a host name in lower case, such as api.example.com, or *.example.com \
                 for all below a domain: without https://, port and path"
                    .to_owned(),
            );
        }
        if !is_below {
            return Ok(Self::Exactly(name.to_owned()));
        }
        match registered_domain(name) {
            Some(_) => Ok(Self::Below(name.to_owned())),
            None => Err(format!(
                "must name a registered domain: below {name} are domains of many owners"
            )),
        }
    }

    pub fn covers(&self, url: &Url) -> bool {
        let Some(host) = url.host_str() else {
            return false;
        };
        match self {
            Self::Exactly(name) => host == name,
            Self::Below(domain) => host
                .strip_suffix(domain)
                .is_some_and(|before| before.ends_with('.')),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(host: &str) -> Url {
        Url::parse(&format!("https://{host}/token")).unwrap()
    }

    #[test]
    fn hosts_of_one_registered_domain_belong_together_and_no_others() {
        for (one, other, together) in [
            ("us.api.example.com", "eu.api.example.com", true),
            ("example.com", "a.b.example.com", true),
            ("api.example.co.uk", "eu.example.co.uk", true),
            ("api.example.com", "api.example.org", false),
            ("one.co.uk", "two.co.uk", false),
            // Each is another customer's.
            ("one.github.io", "two.github.io", false),
            ("api.example.com", "api.example.com.evil.org", false),
            ("api.example.com", "evilexample.com", false),
            ("localhost", "localhost", true),
            ("a.internal", "b.internal", false),
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.1", "127.0.0.2", false),
            ("[::1]", "127.0.0.1", false),
        ] {
            assert_eq!(
                belong_together(&url(one), &url(other)),
                together,
                "{one} {other}"
            );
        }
    }

    #[test]
    fn an_allowed_host_is_one_name_or_all_below_a_registered_domain() {
        for (text, covered, not) in [
            ("api.example.com", "api.example.com", "x.api.example.com"),
            ("*.example.com", "a.b.example.com", "example.com"),
            ("*.example.com", "a.example.com", "a.evilexample.com"),
            ("10.1.2.3", "10.1.2.3", "10.1.2.4"),
        ] {
            let allowed = AllowedHost::read(text).unwrap();
            assert!(allowed.covers(&url(covered)), "{text}");
            assert!(!allowed.covers(&url(not)), "{text}");
        }
        for text in [
            "",
            "*",
            "*.",
            "*.com",
            "*.co.uk",
            "*.github.io",
            "*.10.1.2.3",
            "a.*.com",
            "https://api.example.com",
            "api.example.com/path",
            "api.example.com:443",
            "API.example.com",
            "a b",
        ] {
            assert!(AllowedHost::read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_text_names_a_host_where_it_is_nothing_else() {
        for (text, names) in [
            ("https://us2.api.concursolutions.com", true),
            ("https://acme.internal/", true),
            ("acme.my.salesforce.com", true),
            ("acme.my.salesforce.com:8443", false),
            ("acme.internal", false),
            ("https://acme.example.com/path/token-1", false),
            ("https://acme.example.com?token=1", false),
            ("https://user:secret@acme.example.com", false),
            ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl", false),
            ("a1b2c3d4e5f6", false),
            ("com", false),
            ("", false),
        ] {
            assert_eq!(names_a_host(text), names, "{text}");
        }
    }
}
