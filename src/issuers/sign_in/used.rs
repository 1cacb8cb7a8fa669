//! Sign-ins that were used up. Each server knows of those that came to it; that a code is good once for
//! all of them is the provider's to see to (RFC 6749, section 4.1.2).

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use quick_cache::sync::Cache;

use super::pending::{Pending, STATE_BYTES};

/// So many are remembered.
const REMEMBERED_MAX: usize = 10_000;

pub(super) struct Used(Cache<[u8; STATE_BYTES], Arc<AtomicBool>>);

impl Default for Used {
    fn default() -> Self {
        Self(Cache::new(REMEMBERED_MAX))
    }
}

impl Used {
    /// Whether that one comes for the first time.
    pub fn is_first(&self, pending: &Pending) -> bool {
        let new = || Ok::<_, Infallible>(Arc::default());
        let Ok(used) = self.0.get_or_insert_with(pending.state_bytes(), new);
        !used.swap(true, Ordering::AcqRel)
    }
}
