//! What a save or a deletion would change, or has.

use poem_openapi::Object;
use poem_openapi::types::Any;
use serde_json::Value;

use crate::registry::{
    Confirmation, Deletion, Destination, LackingSecret, ParamDifference, RealmPreview,
    SecretPreview,
};

use super::extract::one_of;
use super::problem::Problem;

/// Secrets that are named; the others are counted.
const SECRETS_NAMED: usize = 100;

/// What saving a realm would change.
#[derive(Object)]
pub struct RealmChanges {
    /// `new`, `changed` or `unchanged`.
    outcome: String,
    /// The realm as a file of it is now, without the defaults of secret parameters; null: there is
    /// none of that name.
    #[oai(nullable)]
    before: Option<Any<Value>>,
    /// The same as it would be.
    after: Any<Value>,
    /// What differs of where credentials are sent.
    destinations: Vec<DestinationChange>,
    /// The first secrets that would lack parameters which the realm comes to require. Where there
    /// are any, the save is refused without `confirm=secrets_lack_params`.
    lacking_secrets: Vec<LackingSecretView>,
    /// How many there are.
    lacking_secrets_total: u64,
    /// Secrets that this server cannot open, so that it does not know what they would lack.
    unknown_secrets_total: u64,
}

/// A part of a realm that says where credentials are sent.
#[derive(Object)]
struct DestinationChange {
    /// JSON pointer (RFC 6901) into `before` and `after`.
    pointer: String,
    #[oai(nullable)]
    before: Option<String>,
    #[oai(nullable)]
    after: Option<String>,
}

/// A secret that would lack parameters.
#[derive(Object)]
#[oai(rename = "LackingSecret")]
struct LackingSecretView {
    key: String,
    /// Their names.
    params: Vec<String>,
}

/// What saving a secret would change.
#[derive(Object)]
pub struct SecretChanges {
    /// `new`, `changed` or `unchanged`.
    outcome: String,
    /// The parameters that differ.
    params: Vec<ParamDifferenceView>,
    /// Whether another token would be stored.
    token: bool,
}

/// A parameter before and after a save, masked unless the realm declares that it is not secret.
#[derive(Object)]
#[oai(rename = "ParamDifference")]
struct ParamDifferenceView {
    name: String,
    #[oai(nullable)]
    before: Option<String>,
    #[oai(nullable)]
    after: Option<String>,
}

/// What went with a realm or a secret that was deleted; with `dry_run`, what would go.
#[derive(Object)]
pub struct Deleted {
    /// How many secrets.
    secrets: u64,
    /// The keys of the first of them, oldest first.
    keys: Vec<String>,
    /// How many of them had a token.
    tokens: u64,
    /// How many of them had a refresh token that a provider had issued.
    refresh_tokens: u64,
    /// Tokens that were obtained and kept beside the stored ones.
    candidates: u64,
    /// Tickets that the provider had pushed.
    tickets: u64,
}

impl From<RealmPreview> for RealmChanges {
    fn from(preview: RealmPreview) -> Self {
        let [before, after] = preview.planned.documents();
        let lacking = preview.lacking;
        let total = lacking.secrets.len();
        let named = lacking.secrets.into_iter().take(SECRETS_NAMED);
        let destinations = preview.planned.destinations().into_iter();
        Self {
            outcome: preview.outcome.as_str().to_owned(),
            before: before.map(Any),
            after: Any(after.unwrap_or_default()),
            destinations: destinations.map(DestinationChange::from).collect(),
            lacking_secrets: named.map(LackingSecretView::from).collect(),
            lacking_secrets_total: total as u64,
            unknown_secrets_total: lacking.unknown,
        }
    }
}

impl From<Destination> for DestinationChange {
    fn from(destination: Destination) -> Self {
        Self {
            pointer: destination.pointer,
            before: destination.before,
            after: destination.after,
        }
    }
}

impl From<LackingSecret> for LackingSecretView {
    fn from(secret: LackingSecret) -> Self {
        Self {
            key: secret.key.to_string(),
            params: secret.params,
        }
    }
}

impl SecretChanges {
    pub fn of(preview: &SecretPreview) -> Self {
        Self {
            outcome: preview.outcome.as_str().to_owned(),
            params: preview
                .params
                .iter()
                .map(ParamDifferenceView::from)
                .collect(),
            token: preview.has_other_token,
        }
    }
}

impl From<&ParamDifference> for ParamDifferenceView {
    fn from(param: &ParamDifference) -> Self {
        Self {
            name: param.name.clone(),
            before: param.before.clone(),
            after: param.after.clone(),
        }
    }
}

impl From<Deletion> for Deleted {
    fn from(deletion: Deletion) -> Self {
        Self {
            secrets: deletion.secrets,
            keys: deletion.named.iter().map(ToString::to_string).collect(),
            tokens: deletion.removed.tokens,
            refresh_tokens: deletion.removed.refresh_tokens,
            candidates: deletion.removed.candidates,
            tickets: deletion.tickets,
        }
    }
}

/// What the query `confirm` says.
///
/// # Errors
/// A problem, where it is none of the words.
pub fn confirmation(confirm: Option<String>) -> Result<Option<Confirmation>, Problem> {
    one_of("confirm", confirm, Confirmation::ALL, Confirmation::as_str)
}
