//! A command that prints the sealing keys, such as a vault's.

use secrecy::SecretString;

use super::sealing::SealingKeys;
use super::value_command::{ValueCommand, ValueCommandError};

/// More than any ring of keys.
pub const OUTPUT_MAX_BYTES: usize = 64 * 1024;

/// Why there are no keys. Nothing that the command printed is repeated.
#[derive(Debug, thiserror::Error)]
pub enum KeyCommandError {
    #[error(transparent)]
    Command(#[from] ValueCommandError),
    #[error("{program} printed no sealing keys; expected id:base64(32 bytes)[,…]")]
    NoKeys { program: String },
}

/// Runs a command, and reads the keys that it prints.
///
/// # Errors
///
/// Where it cannot be run, fails, takes too long, prints too much or anything but keys.
pub async fn keys_of(command: &ValueCommand) -> Result<SealingKeys, KeyCommandError> {
    let printed = command.run().await?;
    let no_keys = || KeyCommandError::NoKeys {
        program: command.program.clone(),
    };
    let text = std::str::from_utf8(&printed).map_err(|_| no_keys())?;
    // The reason could repeat what was printed: what stands where an id should.
    SealingKeys::parse(&SecretString::from(text)).map_err(|_| no_keys())
}
