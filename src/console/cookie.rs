//! A session as the text of a cookie: sealed for that purpose and no other.

use super::rules::{RuleDigest, SignedIn};
use super::session::{CSRF_BYTES, Grant, Session};
use crate::access::key::KeyHash;
use crate::foundation::clock::EpochMs;
use crate::foundation::sealing::KeyRing;

const NAME: &str = "(session)";
/// Of a session of an API key.
const OF_KEY: u8 = 1;
/// Of one who has signed in by OpenID Connect: what he is called ends it.
const OF_RULE: u8 = 2;

pub(super) fn seal(session: &Session, ring: &KeyRing) -> String {
    let Session {
        grant,
        csrf,
        begun,
        prolonged,
    } = session;
    let (format, digest, name) = match grant {
        Grant::Key(key) => (OF_KEY, key.as_bytes(), ""),
        Grant::Rule(SignedIn { name, rule }) => (OF_RULE, rule.as_bytes(), name.as_str()),
    };
    let mut plain = vec![format];
    plain.extend_from_slice(digest);
    plain.extend_from_slice(csrf);
    plain.extend_from_slice(&begun.0.to_be_bytes());
    plain.extend_from_slice(&prolonged.0.to_be_bytes());
    plain.extend_from_slice(name.as_bytes());
    ring.seal_cookie(NAME, &plain)
}

pub(super) fn open(text: &str, ring: &KeyRing) -> Option<Session> {
    let plain = ring.open_cookie(NAME, text)?;
    let (&[format], rest) = plain.split_first_chunk::<1>()?;
    let (digest, rest) = rest.split_first_chunk()?;
    let (csrf, rest) = rest.split_first_chunk::<CSRF_BYTES>()?;
    let (begun, rest) = rest.split_first_chunk()?;
    let (prolonged, name) = rest.split_first_chunk()?;
    let grant = match format {
        OF_KEY if name.is_empty() => Grant::Key(KeyHash::of_bytes(*digest)),
        OF_RULE => Grant::Rule(SignedIn {
            name: String::from_utf8(name.to_vec()).ok()?,
            rule: RuleDigest::of_bytes(*digest),
        }),
        _ => return None,
    };
    Some(Session {
        grant,
        csrf: *csrf,
        begun: EpochMs(i64::from_be_bytes(*begun)),
        prolonged: EpochMs(i64::from_be_bytes(*prolonged)),
    })
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

    use super::*;
    use crate::foundation::randomness::Randomness;
    use crate::foundation::sealing::SealedPlace;

    fn ring(byte: u8) -> KeyRing {
        let keys = format!("a:{}", STANDARD.encode([byte; 32]));
        KeyRing::parse(&keys.as_str().into(), Randomness::seeded(1)).unwrap()
    }

    fn session() -> Session {
        Session {
            grant: Grant::Key(KeyHash::of(&"a key".into())),
            csrf: [7; CSRF_BYTES],
            begun: EpochMs(1),
            prolonged: EpochMs(2),
        }
    }

    fn signed_in(name: &str) -> Session {
        let rule = RuleDigest::of_bytes([3; 32]);
        let name = name.to_owned();
        Session {
            grant: Grant::Rule(SignedIn { name, rule }),
            ..session()
        }
    }

    #[test]
    fn a_cookie_opens_as_it_was_sealed_under_its_own_ring_and_in_its_own_place() {
        let ours = ring(1);
        let text = seal(&session(), &ours);
        assert_eq!(open(&text, &ours), Some(session()));
        assert_eq!(open(&text, &ring(2)), None);
        let named = [signed_in("oidc:a"), signed_in(&"x".repeat(200))];
        for session in named {
            let text = seal(&session, &ours);
            assert_eq!(open(&text, &ours), Some(session));
            assert_eq!(open(&text, &ring(2)), None);
        }
        let plain = ours.open_cookie(NAME, &text).unwrap();
        assert_eq!(open(&ours.seal_cookie("(sign-in)", &plain), &ours), None);
        let stored = SealedPlace {
            table: "ts_token",
            row: "",
            column: "cookie",
        };
        let stored = ours.seal(&stored, &plain);
        assert_eq!(open(&URL_SAFE_NO_PAD.encode(stored.0), &ours), None);
    }

    #[test]
    fn a_cookie_that_was_changed_cut_or_made_longer_opens_as_nothing() {
        let ring = ring(1);
        let text = seal(&session(), &ring);
        let bytes = URL_SAFE_NO_PAD.decode(&text).unwrap();
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert_eq!(open(&URL_SAFE_NO_PAD.encode(changed), &ring), None);
            assert_eq!(open(&URL_SAFE_NO_PAD.encode(&bytes[..at]), &ring), None);
        }
        for longer in [format!("{text}AAAA"), "A".repeat(100_000), String::new()] {
            assert_eq!(open(&longer, &ring), None);
        }
        for other in [&[OF_KEY; 10][..], &[OF_KEY; 100], &[3; 65], &[0xff; 100]] {
            assert_eq!(open(&ring.seal_cookie(NAME, other), &ring), None);
        }
    }
}
