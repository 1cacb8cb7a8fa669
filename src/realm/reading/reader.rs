//! What is known of a document while it is read.

use std::cell::{Cell, RefCell};

use crate::realm::document::Let;
use crate::realm::expression::{Expressions, Names};

/// Requests before the main one.
pub(super) const STEPS_MAX: usize = 10;

pub(super) struct DocumentReader<'a> {
    pub(super) expressions: &'a Expressions,
    /// Whether the document is being registered, not read from where it is stored.
    pub(super) is_new: bool,
    pub(super) known: Names,
    /// What `let` names, each after those it uses.
    pub(super) lets: Vec<Let>,
    /// The names that were met so far.
    pub(super) used: RefCell<Names>,
    /// The steps that come before what is being read.
    pub(super) earlier: Cell<usize>,
}
