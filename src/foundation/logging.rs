//! Structured logs: one line an event, to standard error.

mod line;

use std::collections::HashMap;
use std::io::{IsTerminal, Write};

use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry};

use super::traces::Traces;
pub use line::on_one_line;
use line::{LineStyle, Lines};

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

/// Starts logging. `filter` is a directive such as `info` or `token_server=debug`; traces have what
/// they want whatever it says.
pub fn start(
    format: Option<LogFormat>,
    filter: &str,
    colours: bool,
    traces: Option<&Traces>,
) -> Result<(), String> {
    let filter = EnvFilter::try_new(filter).map_err(|error| format!("log.filter: {error}"))?;
    let on_terminal = std::io::stderr().is_terminal();
    let lines = Lines(look(format, on_terminal, colours));
    let started = match traces {
        None => Registry::default().with(filter).with(lines).try_init(),
        Some(traces) => Registry::default()
            .with(lines.with_filter(filter))
            .with(traces.layer())
            .try_init(),
    };
    started.map_err(|error| format!("logging cannot start: {error}"))
}

/// Whether events are logged.
pub fn is_started() -> bool {
    tracing::dispatcher::has_been_set()
}

/// Has panics told from now on, as an event once logging has started: what Rust prints of one is no
/// line of the log. The message is told where it stands in the source as it is; one that was put
/// together may hold a value, and then the place must do.
pub fn tell_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let at = panic.location().map(ToString::to_string);
        let why = panic.payload().downcast_ref::<&'static str>().copied();
        if is_started() {
            tracing::error!(name: "task.panicked", why, at, "a task panicked");
            return;
        }
        let (at, why) = (at.unwrap_or_default(), why.unwrap_or_default());
        let _ = writeln!(std::io::stderr(), "token-server: panicked at {at} {why}");
    }));
}

fn look(format: Option<LogFormat>, on_terminal: bool, colours: bool) -> LineStyle {
    match format {
        Some(LogFormat::Json) => LineStyle::Json,
        None if !on_terminal => LineStyle::Json,
        Some(LogFormat::Pretty) | None if on_terminal && colours => LineStyle::Coloured,
        Some(LogFormat::Pretty) | None => LineStyle::Plain,
    }
}

/// NO_COLOR counts unless it is empty (no-color.org), and a dumb terminal has no colours.
pub fn wants_colours(env: &HashMap<String, String>) -> bool {
    let value = |name| env.get(name).map(String::as_str).unwrap_or_default();
    value("NO_COLOR").is_empty() && value("TERM") != "dumb"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_terminal_that_is_not_asked_to_do_without_has_colours() {
        let pretty = Some(LogFormat::Pretty);
        for (format, on_terminal, env, expected) in [
            (None, true, ("TERM", "xterm"), LineStyle::Coloured),
            (pretty, true, ("NO_COLOR", ""), LineStyle::Coloured),
            (pretty, true, ("NO_COLOR", "1"), LineStyle::Plain),
            (None, true, ("NO_COLOR", "0"), LineStyle::Plain),
            (None, true, ("TERM", "dumb"), LineStyle::Plain),
            (pretty, false, ("TERM", "xterm"), LineStyle::Plain),
            (None, false, ("TERM", "xterm"), LineStyle::Json),
            (
                Some(LogFormat::Json),
                true,
                ("TERM", "xterm"),
                LineStyle::Json,
            ),
        ] {
            let env = HashMap::from([(env.0.to_owned(), env.1.to_owned())]);
            assert_eq!(
                look(format, on_terminal, wants_colours(&env)),
                expected,
                "{env:?}"
            );
        }
    }
}
