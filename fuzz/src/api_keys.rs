//! What callers send to show a key.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::ExposeSecret;
use token_server::access::key::{KeyHash, hint, presented};

/// Reads an input as the content of an `Authorization` header, and as credentials that a client
/// makes one of.
pub fn fuzz(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    if let Some(key) = presented(text) {
        let shown = key.expose_secret();
        assert!(shown.len() < text.len(), "a key longer than what was sent");
        let hash = KeyHash::of(&key).hex();
        assert_eq!(hash.len(), 64, "{hash}");
        let hint = hint(&key);
        assert!(
            shown.starts_with(&hint) && hint.chars().count() <= 8,
            "{hint}"
        );
    }
    bearer(text);
    if let Some((name, password)) = text.split_once(':') {
        basic(name, password);
    }
}

fn bearer(key: &str) {
    for scheme in ["Bearer", "bearer", "BEARER"] {
        let read = presented(&format!("{scheme} {key}"));
        let read = read.expect("a bearer token is read");
        assert_eq!(read.expose_secret(), key.trim());
    }
}

fn basic(name: &str, password: &str) {
    let pair = STANDARD.encode(format!("{name}:{password}"));
    let read = presented(&format!("Basic {pair}")).expect("a pair is read");
    let expected = if password.is_empty() { name } else { password };
    assert_eq!(read.expose_secret(), expected);
}
