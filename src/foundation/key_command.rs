//! A command that prints the sealing keys, such as a vault's: how long it may take and how much it
//! may print is bounded, and nothing of what it prints is shown.

use std::fmt;
use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use secrecy::SecretString;
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};
use zeroize::Zeroizing;

use super::sealing::SealingKeys;

/// More than any ring of keys.
const OUTPUT_MAX_BYTES: usize = 64 * 1024;

/// A program and its arguments; no shell reads them.
#[derive(Clone)]
pub struct KeyCommand {
    pub program: String,
    pub arguments: Vec<String>,
    /// All that it is given of the environment.
    pub environment: Vec<(String, String)>,
    pub timeout: Duration,
}

impl fmt::Debug for KeyCommand {
    /// Its arguments and its environment may hold what nobody is to see.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyCommand")
            .field("program", &self.program)
            .finish_non_exhaustive()
    }
}

/// Why there are no keys. Nothing that the command printed is repeated.
#[derive(Debug, thiserror::Error)]
pub enum KeyCommandError {
    #[error("{program} cannot be run: {source}")]
    Start { program: String, source: io::Error },
    #[error("{program} cannot be waited for: {source}")]
    Wait { program: String, source: io::Error },
    #[error("{program} failed ({status}); what it said is not shown here: run it by hand")]
    Failed { program: String, status: ExitStatus },
    #[error(
        "{program} was ended: it took longer than sealing.command_timeout_s ({} s)", timeout.as_secs()
    )]
    Slow { program: String, timeout: Duration },
    #[error("{program} was ended: it printed more than {OUTPUT_MAX_BYTES} bytes")]
    TooMuch { program: String },
    #[error("{program} printed no sealing keys; expected id:base64(32 bytes)[,…]")]
    NoKeys { program: String },
}

impl KeyCommand {
    /// Runs it, and reads what it prints.
    ///
    /// # Errors
    ///
    /// Where it cannot be run, fails, takes too long, prints too much or anything but keys.
    pub async fn keys(&self) -> Result<SealingKeys, KeyCommandError> {
        let printed = self.run().await?;
        let no_keys = || KeyCommandError::NoKeys {
            program: self.program.clone(),
        };
        let text = std::str::from_utf8(&printed).map_err(|_| no_keys())?;
        // The reason could repeat what was printed: what stands where an id should.
        SealingKeys::parse(&SecretString::from(text)).map_err(|_| no_keys())
    }

    async fn run(&self) -> Result<Zeroizing<Vec<u8>>, KeyCommandError> {
        let program = || self.program.clone();
        let mut command = Command::new(&self.program);
        let environment = self.environment.iter();
        command
            .args(&self.arguments)
            .env_clear()
            .envs(environment.map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            // It may say what is secret, and standard error is kept in logs.
            .stderr(Stdio::null())
            // What it starts is ended with it.
            .process_group(0)
            .kill_on_drop(true);
        let mut child = command.spawn().map_err(|source| KeyCommandError::Start {
            program: program(),
            source,
        })?;
        let done = tokio::time::timeout(self.timeout, read(&mut child)).await;
        if !matches!(&done, Ok(Ok((_, Some(_))))) {
            end(&child);
        }
        let done = done.map_err(|_elapsed| KeyCommandError::Slow {
            program: program(),
            timeout: self.timeout,
        })?;
        let (printed, status) = done.map_err(|source| KeyCommandError::Wait {
            program: program(),
            source,
        })?;
        match status {
            None => Err(KeyCommandError::TooMuch { program: program() }),
            Some(status) if status.success() => Ok(printed),
            Some(status) => Err(KeyCommandError::Failed {
                program: program(),
                status,
            }),
        }
    }
}

/// All that it prints, and how it ended; not waited for where it prints too much.
async fn read(child: &mut Child) -> io::Result<(Zeroizing<Vec<u8>>, Option<ExitStatus>)> {
    // It grows no more: what had been there before would not be wiped.
    let mut printed = Zeroizing::new(Vec::with_capacity(OUTPUT_MAX_BYTES + 1));
    if let Some(output) = child.stdout.take() {
        let mut output = output.take(OUTPUT_MAX_BYTES as u64 + 1);
        while printed.len() <= OUTPUT_MAX_BYTES && output.read_buf(&mut *printed).await? > 0 {}
    }
    if printed.len() > OUTPUT_MAX_BYTES {
        return Ok((printed, None));
    }
    let status = child.wait().await?;
    Ok((printed, Some(status)))
}

/// Ends it with all that it has started.
fn end(child: &Child) {
    let id = child.id().and_then(|id| i32::try_from(id).ok());
    if let Some(group) = id.and_then(Pid::from_raw) {
        // Where it has ended meanwhile there is nobody to end.
        let _ = kill_process_group(group, Signal::KILL);
    }
}
