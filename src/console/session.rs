//! What a session is: the key that it stands for, when it was begun, and what a change by it shows.

use std::fmt;

use subtle::ConstantTimeEq;

use crate::access::key::KeyHash;
use crate::foundation::clock::EpochMs;
use crate::foundation::hex;

pub(super) const CSRF_BYTES: usize = 16;

/// What a cookie says that a server with a key of the ring has sealed. Whether it is still good,
/// [`super::sessions::Sessions::caller`] knows.
#[derive(Clone, PartialEq, Eq)]
pub struct Session {
    /// Of the API key that it stands for.
    pub(super) key: KeyHash,
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
