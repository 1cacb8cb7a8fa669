//! What admins register: each change is one transaction, and its audit entry is part of it.

mod api_keys;
mod changed;
pub mod check;
mod damaged;
mod deletion;
mod difference;
pub mod dry_run;
mod exporting;
mod importing;
mod issuers;
mod leaves;
mod parents;
mod patch;
mod planning;
mod preview;
mod realm_file;
mod realms;
mod rights;
mod save;
mod sealing_keys;
mod secrets;
mod values;

use std::num::NonZeroU32;
use std::sync::Arc;

use sea_orm::{ConnectionTrait, DbErr};
use tokio::sync::Notify;

use crate::access::Rights;
use crate::access::audit::{AuditEntry, AuditLog, AuditOutcome, Change};
use crate::access::key_name::COMMAND_LINE;
use crate::foundation::clear_name::check_visible;
use crate::foundation::clock::{EpochMs, Ms, SharedClock, Timeline};
use crate::foundation::database::{Abort, Database, DbError};
use crate::foundation::fields::escape;
use crate::foundation::pattern::Coverage;
use crate::foundation::randomness::Randomness;
use crate::foundation::sealing::{KeyRing, OpenError};
use crate::memory::Memory;
use crate::realm::expression::Expressions;
use crate::realm::{Fault, UnreadableRealm};
use crate::upstream::Upstream;
pub use api_keys::BootstrapKey;
pub use deletion::Deletion;
pub use difference::Destination;
pub use exporting::{ExportedSecret, ExportedSecrets};
pub use importing::{Imported, Pass};
pub(crate) use importing::{Unkept, done};
pub use issuers::{ListedIssuer, pattern_faults};
pub use patch::{SecretPatch, SentParam, SentToken, TokenOrigin};
pub use planning::{Lacking, LackingSecret, PlannedRealm, RealmFate};
pub use preview::RealmPreview;
pub use realms::{LeftAlone, RealmPatch};
pub use save::{Confirmation, SaveOutcome};
pub use sealing_keys::{RotateError, Rotated};
pub use secrets::{ListedSecret, ParamDifference, PlannedSecret, SecretFate, SecretPreview};

/// Where an expiry stands in a request, for faults.
pub const EXPIRES_AT: &str = "/expires_at";

/// Where a name stands in a request, for faults.
const NAME: &str = "/name";

/// Where scopes stand in a request, for faults.
pub const SCOPES: &str = "/scopes";

/// Where patterns stand in a request, for faults.
pub const REALMS: &str = "/realms";
pub const KEYS: &str = "/keys";

/// Who makes a change.
#[derive(Clone, Debug)]
pub struct Actor {
    pub name: String,
    pub request_id: Option<String>,
    pub rights: Rights,
    /// What it was made by, for the audit, where that is not the credential itself.
    pub via: Option<&'static str>,
}

impl Actor {
    /// Whoever can start this program with its configuration.
    pub fn command_line() -> Self {
        Self {
            name: COMMAND_LINE.to_owned(),
            request_id: None,
            rights: Rights::All,
            via: None,
        }
    }
}

/// Refuses the name of a new realm or secret that holds what nobody sees. It may hold letters of full
/// width, which are usual there.
fn check_new_name(pointer: &str, name: &str) -> Result<(), Refusal> {
    check_visible(name).map_err(|error| {
        let fault = Fault::new(pointer, error.to_string());
        Refusal::Faults(vec![fault])
    })
}

/// Notes patterns of what nobody sees, by their places below `at`.
fn check_patterns(at: &str, coverage: &Coverage, faults: &mut Vec<Fault>) {
    for (field, patterns) in [(REALMS, &coverage.realms), (KEYS, &coverage.keys)] {
        for (index, pattern) in patterns.iter().flatten().enumerate() {
            if let Err(error) = check_visible(pattern.as_str()) {
                faults.push(Fault::new(
                    format!("{at}{field}/{index}"),
                    error.to_string(),
                ));
            }
        }
    }
}

/// What a merge does to one field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum FieldChange<T> {
    /// Absent: the field keeps its value.
    #[default]
    Keep,
    /// Null: the field is cleared.
    Clear,
    Set(T),
}

impl<T> FieldChange<T> {
    pub fn as_ref(&self) -> FieldChange<&T> {
        match self {
            Self::Keep => FieldChange::Keep,
            Self::Clear => FieldChange::Clear,
            Self::Set(value) => FieldChange::Set(value),
        }
    }

    /// The value that it sets.
    pub fn set(self) -> Option<T> {
        self.over(None)
    }

    fn over(self, stored: Option<T>) -> Option<T> {
        match self {
            Self::Keep => stored,
            Self::Clear => None,
            Self::Set(value) => Some(value),
        }
    }
}

/// Why a change is not made. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    #[error("the request is not valid")]
    Faults(Vec<Fault>),
    #[error("there is no realm {0:?}")]
    UnknownRealm(String),
    #[error("there is no secret {key:?} in realm {realm:?}")]
    UnknownSecret { realm: String, key: String },
    #[error("the realm still has secrets; delete them first, or ask with cascade=true")]
    RealmHasSecrets,
    #[error(
        "saving would leave secrets without parameters that the realm comes to require: {count}, the first \
         {first:?} (without {params}); make these parameters optional, give them a default, or save with \
         confirm=secrets_lack_params and then give the secrets their values"
    )]
    SecretsLackParams {
        count: usize,
        first: String,
        params: String,
    },
    #[error("the realm is not one of fixed tokens: its tokens are obtained from its provider")]
    NotFixed,
    #[error("there is no preset {0:?}; GET /api/preset lists them")]
    UnknownPreset(String),
    #[error("there is a realm {0:?} already; choose another id, or say replace")]
    RealmExists(String),
    #[error("there is no issuer {0:?}")]
    UnknownIssuer(String),
    #[error(
        "the tokens of that issuer are registered as {0:?} already; change that, or delete it first"
    )]
    IssuerTaken(String),
    #[error("the realm has no document: nothing is sent to a provider for it")]
    NoDocument,
    /// The rights of whoever asks do not allow it.
    #[error("{0}")]
    Denied(String),
    #[error("somebody else changed this at the same time; read it and try again")]
    ChangedMeanwhile,
    /// Another replica may have the key.
    #[error("{0}")]
    Sealed(#[from] OpenError),
    #[error(
        "the stored parameters of the secret are damaged and cannot be opened any more; save them again, all of them"
    )]
    DamagedParams,
    #[error(transparent)]
    Unreadable(#[from] UnreadableRealm),
}

/// Why a change was not made.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error(transparent)]
    Database(#[from] DbError),
}

impl From<DbErr> for RegistryError {
    fn from(error: DbErr) -> Self {
        Self::Database(error.into())
    }
}

impl Abort for RegistryError {
    fn failure(&self) -> Option<&DbError> {
        match self {
            Self::Database(error) => Some(error),
            Self::Refused(_) => None,
        }
    }
}

/// Realms and secrets, as admins see them.
#[derive(Clone)]
pub struct Registry {
    database: Database,
    ring: Arc<KeyRing>,
    upstream: Arc<Upstream>,
    clock: SharedClock,
    randomness: Randomness,
    expressions: Arc<Expressions>,
    /// Woken after every change: what is due now is renewed now.
    wake: Arc<Notify>,
    memory: Memory,
    audit: AuditLog,
}

/// What a registry is made of.
pub struct RegistryParts {
    pub database: Database,
    pub ring: Arc<KeyRing>,
    pub upstream: Arc<Upstream>,
    pub clock: SharedClock,
    pub randomness: Randomness,
    pub wake: Arc<Notify>,
    pub memory: Memory,
    pub audit: AuditLog,
}

impl Registry {
    pub fn new(parts: RegistryParts) -> Self {
        let RegistryParts {
            database,
            ring,
            upstream,
            clock,
            randomness,
            wake,
            memory,
            audit,
        } = parts;
        Self {
            database,
            ring,
            upstream,
            clock,
            randomness,
            expressions: Arc::new(Expressions::new()),
            wake,
            memory,
            audit,
        }
    }
}

/// What an admin makes, a key or a fixed token, must not have expired already.
fn check_expiry(expires_at: Option<EpochMs>, now: EpochMs) -> Result<(), Refusal> {
    if expires_at.is_none_or(|end| now < end) {
        return Ok(());
    }
    let tomorrow = now.plus(Ms::from_secs(86_400));
    let why = format!(
        "is in the past: give milliseconds since the epoch, such as {}",
        tomorrow.0
    );
    Err(Refusal::Faults(vec![Fault::new(EXPIRES_AT, why)]))
}

/// What the audit says of a change.
struct Changed {
    action: &'static str,
    target: String,
    change: Change,
}

impl Registry {
    /// Writes the audit entry of a change, in the transaction of that, as its last step.
    async fn audit_change(
        &self,
        transaction: &impl ConnectionTrait,
        by: &Actor,
        changed: Changed,
        at: EpochMs,
    ) -> Result<(), DbErr> {
        let entry = AuditEntry {
            at,
            actor: Some(by.name.clone()),
            action: changed.action.to_owned(),
            target: changed.target,
            outcome: AuditOutcome::Done,
            detail: by.via.map(str::to_owned),
            request_id: by.request_id.clone(),
            count: NonZeroU32::MIN,
            change: changed.change,
        };
        self.audit.append(transaction, vec![entry]).await
    }
}

/// Where a parameter stands in a request.
fn pointer_of(param: &str) -> String {
    format!("/params/{}", escape(param))
}
