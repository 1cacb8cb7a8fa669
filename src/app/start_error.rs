//! Why a command cannot begin.

use std::path::PathBuf;

use crate::foundation::database::{ConnectError, DbAddress, DbError, DbFault};
use crate::foundation::key_command::KeyCommandError;
use crate::foundation::private::OpenToAnybody;
use crate::foundation::sealing::KeyRingError;

/// Why a command cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("the database failed: {0}")]
    Database(#[from] DbError),
    #[error("the database {0} failed: {1}")]
    DatabaseAt(Box<DbAddress>, DbFault),
    #[error(
        "there is nothing of a token server in the database {0}: is that its name? `token-server migrate` or `token-server serve` makes its tables there"
    )]
    NoSchema(Box<DbAddress>),
    #[error("sealing.keys {0}")]
    KeyRing(#[from] KeyRingError),
    #[error("sealing.command: {0}")]
    KeyCommand(#[from] KeyCommandError),
    #[error(
        "sealing.keys is required on MySQL, the same on every replica; make one with: echo \"k1:$(head -c 32 /dev/urandom | base64)\""
    )]
    NoSealingKeys,
    #[error(
        "the database holds sealed values, but {} is missing: put it back, or set sealing.keys; a new key could open none of them", .0.display()
    )]
    LostSealingKeys(PathBuf),
    #[error(
        "the key of id {0:?} in sealing.keys is not the one that values in this database were sealed with; or ts_sealing_key.check_value of row {0:?} is damaged: if you are sure of the key, delete that row, and the next start writes it again"
    )]
    WrongSealingKey(String),
    #[error(
        "sealing.keys holds none of the keys that this database was sealed with: {0}; put them back; if one is lost for good, `token-server forget-key ID` gives up what was sealed with it"
    )]
    ForeignSealingKeys(String),
    #[error(
        "sealing.keys holds no key that all servers which run have; they seal with {0}: put that there, too; a server that ended without a word counts for half a minute"
    )]
    NoKeyInCommon(String),
    #[error(
        "the schema of {0} is older than this program, and a dry run changes nothing: `token-server migrate` brings it up to date, or the next start of the server does"
    )]
    OldSchema(DbAddress),
    #[error(
        "an earlier version stored what is in {0}, and a dry run authenticates none of it: start the server with this version first, or run `token-server api-key list` with its configuration; both do that once (`token-server migrate` does not: it has no sealing keys)"
    )]
    NotAuthenticated(Box<DbAddress>),
    #[error(transparent)]
    KeyOpenToAnybody(#[from] OpenToAnybody),
    #[error(
        "{place} is the API key {name:?} (ID {id}), which exists already and is not the administrator's: choose another value for it (head -c 32 /dev/urandom | base64), or leave it out"
    )]
    AdminKeyIsAnother {
        place: String,
        id: i64,
        name: String,
    },
    #[error("{} cannot be used: {source}", path.display())]
    File {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("the HTTP client cannot be made: {0}")]
    Upstream(String),
}

impl StartError {
    /// Says which database it was.
    pub(super) fn at(self, address: DbAddress) -> Self {
        match self {
            Self::Database(error) => {
                let fault = DbFault::of(&error, &address);
                Self::DatabaseAt(Box::new(address), fault)
            }
            other => other,
        }
    }
}
