//! What is wrong with a document, and what is most likely not meant in it, each with its place.

use std::cell::RefCell;
use std::fmt;

/// What is wrong with a document, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// JSON pointer (RFC 6901) into the request body.
    pub pointer: String,
    pub detail: String,
}

impl Fault {
    pub fn new(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            pointer: pointer.into(),
            detail: detail.into(),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.pointer, self.detail)
    }
}

/// What is allowed in a document, and most likely not meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// JSON pointer (RFC 6901) into the request body.
    pub pointer: String,
    pub detail: String,
}

impl Warning {
    pub fn new(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            pointer: pointer.into(),
            detail: detail.into(),
        }
    }
}

/// Collects faults and warnings while a document is read.
#[derive(Default)]
pub struct Faults {
    faults: RefCell<Vec<Fault>>,
    warnings: RefCell<Vec<Warning>>,
}

impl Faults {
    pub fn add(&self, pointer: impl Into<String>, detail: impl Into<String>) {
        self.faults.borrow_mut().push(Fault::new(pointer, detail));
    }

    pub fn warn(&self, pointer: impl Into<String>, detail: impl Into<String>) {
        let warning = Warning::new(pointer, detail);
        self.warnings.borrow_mut().push(warning);
    }

    /// What was read and what is to be warned of, or everything that is wrong.
    pub fn judge<T>(self, read: Option<T>) -> Result<(T, Vec<Warning>), Vec<Fault>> {
        let faults = self.faults.into_inner();
        match read {
            Some(read) if faults.is_empty() => Ok((read, self.warnings.into_inner())),
            _ => Err(faults),
        }
    }
}
