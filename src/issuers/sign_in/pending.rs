//! A sign-in that is under way, as the browser keeps it: sealed, so that whichever server it comes back
//! to opens it.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::foundation::clock::{EpochMs, Ms};
use crate::foundation::randomness::Randomness;
use crate::foundation::sealing::KeyRing;

/// How long a sign-in may take.
pub const PENDING_MAX: Ms = Ms::from_secs(600);
pub(super) const STATE_BYTES: usize = 16;
/// 256 bits, which are 43 characters (RFC 7636, section 4.1).
const VERIFIER_BYTES: usize = 32;
const NAME: &str = "(sign-in)";
const FORMAT: u8 = 1;

pub(super) struct Pending {
    state: [u8; STATE_BYTES],
    nonce: [u8; STATE_BYTES],
    verifier: String,
    pub begun: EpochMs,
}

impl Pending {
    pub fn draw(randomness: &Randomness, now: EpochMs) -> Self {
        Self {
            state: randomness.bytes(),
            nonce: randomness.bytes(),
            verifier: URL_SAFE_NO_PAD.encode(randomness.bytes::<VERIFIER_BYTES>()),
            begun: now,
        }
    }

    pub fn state(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.state)
    }

    pub fn state_bytes(&self) -> &[u8; STATE_BYTES] {
        &self.state
    }

    pub fn nonce(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.nonce)
    }

    /// What only the server that asks for the token can show (RFC 7636).
    pub fn verifier(&self) -> &str {
        &self.verifier
    }

    pub fn seal(&self, ring: &KeyRing) -> String {
        let mut plain = vec![FORMAT];
        plain.extend_from_slice(&self.state);
        plain.extend_from_slice(&self.nonce);
        plain.extend_from_slice(&self.begun.0.to_be_bytes());
        plain.extend_from_slice(self.verifier.as_bytes());
        ring.seal_cookie(NAME, &plain)
    }

    /// None where no server with a key of this ring sealed it as one.
    pub fn open(text: &str, ring: &KeyRing) -> Option<Self> {
        let plain = ring.open_cookie(NAME, text)?;
        let (&[format], rest) = plain.split_first_chunk::<1>()?;
        let (state, rest) = rest.split_first_chunk()?;
        let (nonce, rest) = rest.split_first_chunk()?;
        let (begun, verifier) = rest.split_first_chunk()?;
        let verifier = std::str::from_utf8(verifier).ok()?;
        (format == FORMAT).then(|| Self {
            state: *state,
            nonce: *nonce,
            verifier: verifier.to_owned(),
            begun: EpochMs(i64::from_be_bytes(*begun)),
        })
    }
}
