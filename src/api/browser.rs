//! What a browser is told and believed: pages of other sites change nothing here, whatever
//! credentials the browser adds, and pages of this server run nothing but their own.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use poem::http::header::{
    CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, ORIGIN, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use poem::http::{HeaderMap, HeaderName, HeaderValue, Method};
use poem::{Request, Response};
use sha2::{Digest, Sha256};
use url::form_urlencoded;

pub const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");
const NO_REFERRER: HeaderValue = HeaderValue::from_static("no-referrer");
const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
const SAME_ORIGIN: HeaderValue = HeaderValue::from_static("same-origin");
/// Of a page that says nothing itself: it may load and run nothing, and be framed by nobody.
const NOTHING: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);
const SCRIPT: &str = "script";
const STYLE: &str = "style";
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The policy of a page that brings its scripts and styles with it: those run, nothing else does,
/// and they reach this server only. Pictures stand in its styles.
pub fn policy_of(page: &str) -> String {
    let (mut scripts, mut styles, mut rest) = (String::new(), String::new(), page);
    while let Some((name, content, after)) = next_element(rest) {
        let sources = match name {
            SCRIPT => &mut scripts,
            _ => &mut styles,
        };
        // Content Security Policy Level 3, section 2.3.1.
        let digest = STANDARD.encode(Sha256::digest(content));
        sources.push_str(&format!(" 'sha256-{digest}'"));
        rest = after;
    }
    format!(
        "default-src 'none'; script-src{scripts}; style-src{styles}; img-src data:; \
         connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
}

/// The first script or style of a text: its name, what stands in it, and what follows. Within one
/// nothing else begins.
fn next_element(text: &str) -> Option<(&'static str, &str, &str)> {
    let begun = [SCRIPT, STYLE].into_iter();
    let begun = begun.filter_map(|name| Some((text.find(&format!("<{name}"))?, name)));
    let (at, name) = begun.min()?;
    let (_, opened) = text.split_at(at).1.split_once('>')?;
    let (content, after) = opened.split_once(&format!("</{name}>"))?;
    Some((name, content, after))
}

/// Adds what each answer says to a browser, and what a page says beside.
pub fn protect(response: &mut Response) {
    let is_page = response
        .headers()
        .get(CONTENT_TYPE)
        .is_some_and(|media_type| media_type.as_bytes().starts_with(b"text/html"));
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, NOSNIFF);
    if is_page {
        headers.insert(REFERRER_POLICY, NO_REFERRER);
        headers.insert(OPENER_POLICY, SAME_ORIGIN);
        headers.entry(CONTENT_SECURITY_POLICY).or_insert(NOTHING);
    }
}

/// Whether a request may change something: by its method, or because a flush is asked for.
pub fn may_change(request: &Request) -> bool {
    let flushes = |query: &str| {
        let mut names = form_urlencoded::parse(query.as_bytes()).map(|(name, _)| name);
        names.any(|name| name == "flush")
    };
    match *request.method() {
        Method::POST | Method::PUT | Method::PATCH | Method::DELETE => true,
        _ => request.uri().query().is_some_and(flushes),
    }
}

/// Whether a browser says that a page of another site sent this. Who is no browser sends neither
/// header; one that is sends them whatever the page does.
pub fn is_cross_site(request: &Request) -> bool {
    let headers = request.headers();
    // `none`: a human typed it (Fetch Metadata Request Headers, section 2.3).
    let foreign = |site: &HeaderValue| site != "same-origin" && site != "none";
    headers.get_all(FETCH_SITE).iter().any(foreign) || {
        let asked = request.uri().authority().map(|asked| asked.as_str());
        let asked = asked.or_else(|| text(headers, HOST));
        let mut origins = headers.get_all(ORIGIN).iter();
        origins.any(|origin| !is_origin_of(origin.to_str().unwrap_or_default(), asked))
    }
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

/// Whether an origin (RFC 6454, section 7) is that of the host a request asked. The scheme is not
/// compared: with TLS in front this server does not know its own.
fn is_origin_of(origin: &str, asked: Option<&str>) -> bool {
    let Some((scheme, host)) = origin.split_once("://") else {
        // `null`, of a page that has none.
        return false;
    };
    let port = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => return false,
    };
    let without_port = |host: &str| host.strip_suffix(port).unwrap_or(host).to_ascii_lowercase();
    asked.is_some_and(|asked| !host.is_empty() && without_port(host) == without_port(asked))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_compared_with_the_host_that_was_asked() {
        for (origin, host, is_same) in [
            ("http://10.0.0.5:8080", "10.0.0.5:8080", true),
            ("https://Tokens.example", "tokens.example", true),
            ("https://tokens.example", "tokens.example:443", true),
            ("http://tokens.example", "tokens.example:80", true),
            ("http://[::1]:8080", "[::1]:8080", true),
            ("http://[::1]", "[::1]", true),
            ("https://tokens.example", "tokens.example:80", false),
            ("https://tokens.example", "tokens.example:8443", false),
            ("https://tokens.example:8443", "tokens.example", false),
            ("https://tokens.example.evil", "tokens.example", false),
            ("https://evil.tokens.example", "tokens.example", false),
            ("https://evil.example", "tokens.example", false),
            ("null", "tokens.example", false),
            ("null", "null", false),
            ("tokens.example", "tokens.example", false),
            ("file://tokens.example", "tokens.example", false),
            ("https://", "", false),
            ("", "tokens.example", false),
        ] {
            assert_eq!(
                is_origin_of(origin, Some(host)),
                is_same,
                "{origin} asks {host}"
            );
        }
        assert!(!is_origin_of("https://tokens.example", None));
    }

    #[test]
    fn a_page_runs_its_own_scripts_only() {
        let page = "<style>b{}</style><script a=\"b\">alert('1');</script>\
                    <p><script>'<style>b{ }</style>'</script>";
        let policy = policy_of(page);
        for part in [
            "default-src 'none'; ",
            // By sha256sum.
            "script-src 'sha256-EjVhz22CrLnrY69c3dAwQhcjKhj92NZNEbcnS0HYdVw=' \
             'sha256-VKpmxPR3ZBucg2VxPpK+PPhHdjr/G4UZVyiEutz/k9I='; ",
            "style-src 'sha256-7yqHVAesot11p6HczDsgKRipvI5UPgs97z80zNXlans='; img-src ",
            "; frame-ancestors 'none'",
        ] {
            assert!(policy.contains(part), "{part} is not in {policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
    }

    #[test]
    fn every_method_that_changes_something_may_and_a_flush_by_get() {
        for (method, uri, changes) in [
            (Method::POST, "/api/realm", true),
            (Method::PUT, "/api/token", true),
            (Method::PATCH, "/", true),
            (Method::DELETE, "/api/realm/r", true),
            (Method::GET, "/api/token?realm=r&key=k&flush=true", true),
            (Method::GET, "/api/token?%66lus%68=1&realm=r", true),
            (Method::GET, "/api/token?realm=r&key=flush", false),
            (Method::GET, "/docs", false),
            (Method::OPTIONS, "/api/realm", false),
        ] {
            let request = Request::builder().method(method.clone());
            let request = request.uri_str(uri).finish();
            assert_eq!(may_change(&request), changes, "{method} {uri}");
        }
    }
}
