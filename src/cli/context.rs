//! What commands share: logs, the clock and the randomness of the machine, the open server, output.

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

use secrecy::ExposeSecret;

use super::failure::CommandFailure;
use crate::app::App;
use crate::config::Settings;
use crate::foundation::clock::steady::SteadyClock;
use crate::foundation::clock::{Ms, SharedClock, SystemClock};
use crate::foundation::database::DbAddress;
use crate::foundation::logging;
use crate::foundation::randomness::Randomness;
use crate::foundation::traces::Traces;

pub(super) fn start_logging(
    settings: &Settings,
    filter: Option<&str>,
) -> Result<(), CommandFailure> {
    let filter = filter.unwrap_or(&settings.log.filter);
    let log = &settings.log;
    logging::start(log.format, filter, log.colours, None).map_err(CommandFailure::Log)
}

/// The same, with traces where the configuration wants them.
pub(super) fn start_logging_and_traces(
    settings: &Settings,
    filter: Option<&str>,
) -> Result<Option<Traces>, CommandFailure> {
    let Some(of_traces) = &settings.traces else {
        start_logging(settings, filter)?;
        return Ok(None);
    };
    let (clock, randomness) = ambient(settings)?;
    let traces = Traces::start(of_traces, randomness.id(), clock).map_err(CommandFailure::Log)?;
    let filter = filter.unwrap_or(&settings.log.filter);
    let log = &settings.log;
    logging::start(log.format, filter, log.colours, Some(&traces)).map_err(CommandFailure::Log)?;
    Ok(Some(traces))
}

/// The one place where time and randomness come from the machine.
pub(super) fn ambient(settings: &Settings) -> Result<(SharedClock, Randomness), CommandFailure> {
    let clock: SharedClock = match settings.renewal.max_skew {
        Ms::ZERO => Arc::new(SystemClock),
        followed => {
            let clock = SteadyClock::new(Arc::new(SystemClock), followed);
            Arc::new(match settings.http.frozen_between_requests {
                true => clock.of_a_machine_that_may_be_paused(),
                false => clock,
            })
        }
    };
    Ok((clock, Randomness::from_system()?))
}

/// Opens a database that is there: in the wrong directory, or under a mistyped name, a new one would
/// be made instead, and be found in good order.
pub(super) async fn open(settings: Settings) -> Result<App, CommandFailure> {
    must_be_there(&settings)?;
    let (clock, randomness) = ambient(&settings)?;
    Ok(Box::pin(App::open_existing(settings, clock, randomness)).await?)
}

/// Opens a database that is there and up to date, and writes nothing.
pub(super) async fn open_for_dry_run(settings: Settings) -> Result<App, CommandFailure> {
    must_be_there(&settings)?;
    let (clock, randomness) = ambient(&settings)?;
    Ok(Box::pin(App::open_for_dry_run(settings, clock, randomness)).await?)
}

pub(super) fn must_be_there(settings: &Settings) -> Result<(), CommandFailure> {
    let address = DbAddress::of(settings.database.url.expose_secret());
    if address.is_missing() {
        let data_dir = std::path::absolute(&settings.data_dir).map_err(CommandFailure::of)?;
        return Err(CommandFailure::NoDatabase { address, data_dir });
    }
    Ok(())
}

pub(super) async fn open_or_make(settings: Settings) -> Result<App, CommandFailure> {
    let (clock, randomness) = ambient(&settings)?;
    Ok(Box::pin(App::open(settings, clock, randomness)).await?)
}

/// Writes to standard output.
pub(super) fn say(text: &str) -> Result<ExitCode, CommandFailure> {
    let mut out = std::io::stdout();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(CommandFailure::of)?;
    Ok(ExitCode::SUCCESS)
}
