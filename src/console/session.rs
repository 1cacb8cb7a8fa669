//! What a session is: what it has its rights by, when it was begun, and what a change by it shows.

use std::fmt;

use subtle::ConstantTimeEq;

use super::rules::SignedIn;
use crate::access::key::KeyHash;
use crate::foundation::clock::EpochMs;
use crate::foundation::hex;

pub(super) const CSRF_BYTES: usize = 16;

/// What a session has its rights by.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Grant {
    /// The API key that it stands for.
    Key(KeyHash),
    /// The rule that somebody has met who signed in by OpenID Connect.
    Rule(SignedIn),
}

/// What a cookie says that a server with a key of the ring has sealed. Whether it is still good,
/// [`super::sessions::Sessions::caller`] knows.
#[derive(Clone, PartialEq, Eq)]
pub struct Session {
    pub(super) grant: Grant,
    /// What a change must show, which no page of another site can read.
    pub(super) csrf: [u8; CSRF_BYTES],
    pub(super) begun: EpochMs,
    /// When its idle time last began.
    pub(super) prolonged: EpochMs,
}

/// Shows nothing of it.
impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Session")
    }
}

impl Session {
    /// As the page that made it shows it.
    pub fn csrf(&self) -> String {
        hex(&self.csrf)
    }

    /// Whether that is what it must show.
    pub fn has_csrf(&self, shown: &[u8]) -> bool {
        self.csrf().as_bytes().ct_eq(shown).into()
    }
}
