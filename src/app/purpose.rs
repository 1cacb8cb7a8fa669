//! What a command opens the database for.

/// What a command opens the database for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Work,
    /// Nothing is written: neither the schema nor keys, leases, the spool or a name.
    DryRun,
}
