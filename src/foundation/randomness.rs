//! Randomness as a parameter: seeded by the operating system, or by a test.

use std::sync::{Arc, Mutex, PoisonError};

use rand::rngs::{StdRng, SysRng};
use rand::{Rng, RngExt, SeedableRng, TryRng};

/// A cryptographically secure generator that can be shared.
#[derive(Clone)]
pub struct Randomness(Arc<Mutex<StdRng>>);

/// The operating system gave no randomness; nothing safe can be done without it.
#[derive(Debug, thiserror::Error)]
#[error("the operating system's random source failed")]
pub struct NoRandomness;

impl Randomness {
    pub fn from_system() -> Result<Self, NoRandomness> {
        let mut seed = <StdRng as SeedableRng>::Seed::default();
        SysRng.try_fill_bytes(&mut seed).map_err(|_| NoRandomness)?;
        Ok(Self::from_rng(StdRng::from_seed(seed)))
    }

    /// The same numbers for the same seed: for tests only.
    pub fn seeded(seed: u64) -> Self {
        Self::from_rng(StdRng::seed_from_u64(seed))
    }

    fn from_rng(rng: StdRng) -> Self {
        Self(Arc::new(Mutex::new(rng)))
    }

    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.with(|rng| rng.fill_bytes(&mut bytes));
        bytes
    }

    /// Uniform between the two ends, both included; `low` where the range is empty.
    pub fn between(&self, low: i64, high: i64) -> i64 {
        if high <= low {
            return low;
        }
        self.with(|rng| rng.random_range(low..=high))
    }

    /// 128 random bits as 32 lower-case hexadecimal digits: a name nobody else has.
    pub fn id(&self) -> String {
        super::hex(&self.bytes::<16>())
    }

    fn with<T>(&self, draw: impl FnOnce(&mut StdRng) -> T) -> T {
        // A panic while drawing leaves a generator that is still random.
        draw(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl std::fmt::Debug for Randomness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Randomness")
    }
}
