//! A command that prints a secret, such as a vault's: how long it may take and how much it may print
//! is bounded, and nothing of what it prints is shown.

use std::fmt;
use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};
use zeroize::Zeroizing;

/// A program and its arguments; no shell reads them.
#[derive(Clone)]
pub struct ValueCommand {
    pub program: String,
    pub arguments: Vec<String>,
    /// All that it is given of the environment.
    pub environment: Vec<(String, String)>,
    pub timeout: Duration,
    /// What sets that.
    pub timeout_name: &'static str,
    pub output_max_bytes: usize,
}

impl fmt::Debug for ValueCommand {
    /// Its arguments and its environment may hold what nobody is to see.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ValueCommand")
            .field("program", &self.program)
            .finish_non_exhaustive()
    }
}

/// Why there is no value. Nothing that the command printed is repeated.
#[derive(Debug, thiserror::Error)]
pub enum ValueCommandError {
    #[error("{program} cannot be run: {source}")]
    Start { program: String, source: io::Error },
    #[error("{program} cannot be waited for: {source}")]
    Wait { program: String, source: io::Error },
    #[error("{program} failed ({status}); what it said is not shown here: run it by hand")]
    Failed { program: String, status: ExitStatus },
    #[error("{program} was ended: it took longer than {name} ({} s)", timeout.as_secs())]
    Slow {
        program: String,
        name: &'static str,
        timeout: Duration,
    },
    #[error("{program} was ended: it printed more than {max} bytes")]
    TooMuch { program: String, max: usize },
}

impl ValueCommand {
    /// Runs it, and reads what it prints.
    ///
    /// # Errors
    ///
    /// Where it cannot be run, fails, takes too long or prints too much.
    pub async fn run(&self) -> Result<Zeroizing<Vec<u8>>, ValueCommandError> {
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
        let mut child = command.spawn().map_err(|source| ValueCommandError::Start {
            program: program(),
            source,
        })?;
        let done =
            tokio::time::timeout(self.timeout, read(&mut child, self.output_max_bytes)).await;
        if !matches!(&done, Ok(Ok((_, Some(_))))) {
            end(&child);
        }
        let done = done.map_err(|_elapsed| ValueCommandError::Slow {
            program: program(),
            name: self.timeout_name,
            timeout: self.timeout,
        })?;
        let (printed, status) = done.map_err(|source| ValueCommandError::Wait {
            program: program(),
            source,
        })?;
        match status {
            None => Err(ValueCommandError::TooMuch {
                program: program(),
                max: self.output_max_bytes,
            }),
            Some(status) if status.success() => Ok(printed),
            Some(status) => Err(ValueCommandError::Failed {
                program: program(),
                status,
            }),
        }
    }
}

/// All that it prints, and how it ended; not waited for where it prints too much.
async fn read(
    child: &mut Child,
    max: usize,
) -> io::Result<(Zeroizing<Vec<u8>>, Option<ExitStatus>)> {
    // It grows no more: what had been there before would not be wiped.
    let mut printed = Zeroizing::new(Vec::with_capacity(max + 1));
    if let Some(output) = child.stdout.take() {
        let mut output = output.take(max as u64 + 1);
        while printed.len() <= max && output.read_buf(&mut *printed).await? > 0 {}
    }
    if printed.len() > max {
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
