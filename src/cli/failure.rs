//! Why a command failed, and the exit code for it.

use std::path::PathBuf;

use crate::app::StartError;
use crate::config::ConfigError;
use crate::foundation::database::DbAddress;
use crate::foundation::randomness::NoRandomness;
use crate::serve::ServeError;

/// What each exit code means.
pub const EXIT_CODES: [(u8, &str); 5] = [
    (
        0,
        "Done. `renew`: all that was due was renewed. `serve`: stopped by SIGTERM or SIGINT",
    ),
    (
        EXIT_REFUSED,
        "`renew`: a renewal failed or waits, its result was discarded, a secret needs attention, or \
         something due is left. `import`: a row was refused, or is another here. `audit verify`: the \
         audit is not as it was written. `realm apply`, `realm check`, `secret apply`: a file is \
         refused, and nothing was changed. `export`: something was left out. `token`, `secret`, `renewal`: the server refused. \
         `healthcheck`: the server does not answer, or not with 200",
    ),
    (
        EXIT_COULD_NOT_RUN,
        "Could not run: the database cannot be reached, the port is taken, unknown arguments, …",
    ),
    (
        EXIT_WOULD_CHANGE,
        "`realm apply --dry-run`, `secret apply --dry-run`: something would change",
    ),
    (
        EXIT_CONFIG,
        "The configuration cannot be used; the message names the key",
    ),
];

/// EX_USAGE of sysexits(3): the configuration cannot be used.
const EXIT_CONFIG: u8 = 64;

/// It ran, and not all is well; `healthcheck`: what orchestrators take for unhealthy.
pub(super) const EXIT_REFUSED: u8 = 1;

/// A dry run found something that would change; not the code of one that could not run.
pub(super) const EXIT_WOULD_CHANGE: u8 = 3;

/// The command could not run.
const EXIT_COULD_NOT_RUN: u8 = 2;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum CommandFailure {
    #[error("configuration: {0}")]
    Config(#[from] ConfigError),
    #[error("configuration: {0}")]
    Log(String),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
    #[error(transparent)]
    Serve(#[from] ServeError),
    #[error(
        "there is no database at {address} (data_dir is {}): run this where the server runs, with its configuration; `token-server serve` or `token-server migrate` makes a new one", data_dir.display()
    )]
    NoDatabase {
        address: DbAddress,
        data_dir: PathBuf,
    },
    /// For what they hold. Nothing was changed.
    #[error("{0}")]
    FilesRefused(String),
    /// By a running server.
    #[error("the server refused: {0}")]
    Refused(String),
    /// The server that was asked does not live.
    #[error("unhealthy: {url} {what}")]
    Unhealthy { url: String, what: String },
    #[error("{0}")]
    Command(String),
}

impl CommandFailure {
    pub(super) fn of(error: impl std::fmt::Display) -> Self {
        Self::Command(error.to_string())
    }

    pub(super) fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_)
            | Self::Log(_)
            | Self::Serve(ServeError::Jobs(_) | ServeError::Connections(_))
            | Self::Start(
                StartError::KeyRing(_)
                | StartError::NoSealingKeys
                | StartError::ForeignSealingKeys(_)
                | StartError::NoKeyInCommon(_)
                | StartError::WrongSealingKey(_)
                | StartError::AdminKeyIsAnother { .. }
                | StartError::KeyOpenToAnybody(_),
            ) => EXIT_CONFIG,
            Self::FilesRefused(_) | Self::Refused(_) | Self::Unhealthy { .. } => EXIT_REFUSED,
            Self::Start(_)
            | Self::Serve(_)
            | Self::Randomness(_)
            | Self::NoDatabase { .. }
            | Self::Command(_) => EXIT_COULD_NOT_RUN,
        }
    }
}
