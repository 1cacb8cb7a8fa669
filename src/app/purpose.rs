//! What a command opens the database for.

/// What a command opens the database for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// What is not there is made.
    Make,
    /// The schema is there: a name of a database may be mistyped.
    Work,
    /// Nothing is written: neither the schema nor keys, leases, the spool or a name.
    DryRun,
}
