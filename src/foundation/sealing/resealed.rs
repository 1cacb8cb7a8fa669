//! What came of sealing stored values with another key.

use std::ops::AddAssign;

use super::OpenError;

/// How many values were sealed anew, and how many stay as they are because they do not open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resealed {
    pub values: u64,
    pub closed: u64,
}

impl Resealed {
    /// Counts one value: sealed anew, under the key already, or closed. Answers what is to be
    /// written.
    pub fn count<T>(&mut self, resealed: Result<Option<T>, OpenError>) -> Option<T> {
        match resealed {
            Ok(Some(value)) => {
                self.values += 1;
                Some(value)
            }
            Ok(None) => None,
            Err(error) => {
                self.closed += 1;
                tracing::warn!(
                    name: "damage.not_resealed",
                    table = error.table, row = error.row, column = error.column, why = %error.why,
                    "a stored value is not sealed with the new key: it does not open"
                );
                None
            }
        }
    }
}

impl AddAssign for Resealed {
    fn add_assign(&mut self, other: Self) {
        self.values += other.values;
        self.closed += other.closed;
    }
}
