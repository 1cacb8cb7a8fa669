//! Values that a file of secrets says to be elsewhere: in other files, in variables, printed by
//! commands, or sealed. What is wrong names the place of a value, and never the value.

use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use super::declared::ValueSource;
use crate::config::{Env, handed_on};
use crate::foundation::private::check_key_file;
use crate::foundation::sealing::KeyRing;
use crate::foundation::value_command::ValueCommand;
use crate::secret::exported::ExportedPlace;
use crate::secret::params::VALUE_MAX_BYTES;

/// What sets how long a command may take.
const TIMEOUT_NAME: &str = "--command-timeout";

/// What values are resolved with.
pub(super) struct ValueResolver<'a> {
    pub env: &'a Env,
    pub ring: &'a KeyRing,
    pub command_timeout: Duration,
}

impl ValueResolver<'_> {
    /// The value, or what is wrong and with which field of its reference.
    pub async fn value(
        &self,
        source: &ValueSource,
        folder: &Path,
        place: &ExportedPlace<'_>,
    ) -> Result<SecretString, (&'static str, String)> {
        match source {
            ValueSource::Literal(value) => Ok(value.clone()),
            ValueSource::File(path) => read(&folder.join(path)).map_err(|why| ("/file", why)),
            ValueSource::Env(name) => match self.env.get(name) {
                None => Err((
                    "/env",
                    format!("names the variable {name}, which is not set"),
                )),
                Some(value) if value.is_empty() => {
                    Err(("/env", format!("names the variable {name}, which is empty")))
                }
                Some(value) => Ok(value.as_str().into()),
            },
            ValueSource::Command { program, arguments } => {
                let command = ValueCommand {
                    program: program.clone(),
                    arguments: arguments.clone(),
                    environment: handed_on(self.env),
                    timeout: self.command_timeout,
                    timeout_name: TIMEOUT_NAME,
                    // A value that is too long is refused by its length.
                    output_max_bytes: VALUE_MAX_BYTES + 2,
                };
                let printed = command.run().await;
                let printed = printed.map_err(|why| ("/command", why.to_string()))?;
                let printed = text(&printed).map_err(|why| ("/command", why))?;
                match printed.expose_secret().is_empty() {
                    true => Err(("/command", "printed nothing".to_owned())),
                    false => Ok(printed),
                }
            }
            ValueSource::Sealed(sealed) => place
                .open(sealed, self.ring)
                .map_err(|why| ("/sealed", why.to_string())),
        }
    }
}

fn read(path: &Path) -> Result<SecretString, String> {
    check_key_file(path).map_err(|open| open.to_string())?;
    let unreadable = |error: io::Error| format!("{} cannot be read: {error}", path.display());
    let file = std::fs::File::open(path).map_err(unreadable)?;
    // It grows no more: what had been there before would not be wiped.
    let mut bytes = Zeroizing::new(Vec::with_capacity(VALUE_MAX_BYTES + 3));
    let mut file = file.take(VALUE_MAX_BYTES as u64 + 3);
    file.read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() > VALUE_MAX_BYTES + 2 {
        return Err(format!(
            "{} holds more than {VALUE_MAX_BYTES} bytes",
            path.display()
        ));
    }
    text(&bytes).map_err(|why| format!("{} {why}", path.display()))
}

/// Without the line end that most programs add.
fn text(bytes: &[u8]) -> Result<SecretString, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "does not hold text (UTF-8)".to_owned())?;
    let text = text.strip_suffix('\n').unwrap_or(text);
    Ok(text.strip_suffix('\r').unwrap_or(text).into())
}
