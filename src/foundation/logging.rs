//! Structured logs: one line an event, to standard error.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt;

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Pretty,
    Json,
}

/// Whether a filter can be read.
pub fn check_filter(filter: &str) -> Result<(), String> {
    match EnvFilter::try_new(filter) {
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

/// Starts logging. `filter` is a directive such as `info` or `token_server=debug`.
pub fn start(format: Option<LogFormat>, filter: &str) -> Result<(), String> {
    let filter = EnvFilter::try_new(filter).map_err(|error| format!("log.filter: {error}"))?;
    let on_terminal = std::io::stderr().is_terminal();
    let format = format.unwrap_or(if on_terminal {
        LogFormat::Pretty
    } else {
        LogFormat::Json
    });
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    let started = match format {
        LogFormat::Pretty => builder.with_ansi(on_terminal).finish().try_init(),
        LogFormat::Json => builder.json().flatten_event(true).finish().try_init(),
    };
    started.map_err(|error| format!("logging cannot start: {error}"))
}
