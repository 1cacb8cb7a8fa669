//! The groups that the specification sorts operations into.

use poem_openapi::Tags;

#[derive(Tags)]
pub enum Group {
    /// Providers.
    Realm,
    /// Credentials.
    Secret,
    /// What applications ask for.
    Token,
    /// History, and renewal now.
    Renewal,
    /// Callers' keys and what was done with them.
    Access,
    /// For operators.
    Operation,
}
