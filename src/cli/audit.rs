//! The command `audit`: verifies the audit, and writes it out.

use std::io::{BufWriter, Write};
use std::process::ExitCode;

use chrono::DateTime;
use clap::Subcommand;

use super::context::{open, say, start_logging};
use super::failure::CommandFailure;
use super::help::ON_THE_DATABASE;
use crate::access::audit::{self, AuditFilter, Verification};
use crate::app::App;
use crate::config::Settings;
use crate::foundation::clock::{EpochMs, Timeline};
use crate::foundation::logging::on_one_line;

/// Entries read at once.
const PAGE_ROWS: u64 = 1000;

#[derive(Subcommand)]
pub enum AuditCommand {
    /// Name the first entry of each chain that was altered, deleted, moved or inserted: 0 none
    #[command(after_help = ON_THE_DATABASE)]
    Verify,
    /// Write entries as lines of JSON, oldest first
    #[command(after_help = ON_THE_DATABASE)]
    Export {
        /// Entries from then on, such as 2026-11-29T10:00:00Z
        #[arg(long, value_name = "DATE", value_parser = date)]
        since: Option<EpochMs>,
        /// Entries before then
        #[arg(long, value_name = "DATE", value_parser = date)]
        until: Option<EpochMs>,
    },
}

fn date(text: &str) -> Result<EpochMs, String> {
    let date = DateTime::parse_from_rfc3339(text);
    let date = date.map_err(|_| "must be a date of RFC 3339, such as 2026-11-29T10:00:00Z")?;
    Ok(EpochMs(date.timestamp_millis()))
}

pub async fn run(settings: Settings, command: AuditCommand) -> Result<ExitCode, CommandFailure> {
    start_logging(&settings, None)?;
    let app = open(settings).await?;
    let done = match command {
        AuditCommand::Verify => verify(&app).await,
        AuditCommand::Export { since, until } => export(&app, since, until).await,
    };
    app.close().await;
    done
}

async fn verify(app: &App) -> Result<ExitCode, CommandFailure> {
    let verified = audit::verify(app.database.causal(), &app.ring).await;
    let verified = verified.map_err(CommandFailure::of)?;
    say(&told(&verified))?;
    Ok(ExitCode::from(u8::from(!verified.faults.is_empty())))
}

fn told(verified: &Verification) -> String {
    let Verification {
        entries,
        chains,
        unchained,
        noted_since,
        faults,
        more_inserted,
    } = verified;
    let mut text = String::new();
    for fault in faults {
        // What stands in the database was written by anybody.
        text.push_str(&on_one_line(&fault.to_string()));
        text.push('\n');
    }
    if *more_inserted > 0 {
        text.push_str(&format!("{more_inserted} more entries were inserted\n"));
    }
    let are = match faults.is_empty() {
        true => "are as they were written",
        false => "were gone through before that, and are as they were written",
    };
    text.push_str(&format!("{entries} entries in {chains} chains {are}\n"));
    if *unchained > 0 {
        let noted = match noted_since {
            Some(since) => format!("what they say was noted at {}", since.to_rfc3339()),
            None => "nothing is noted of them, so a change would not be found".to_owned(),
        };
        text.push_str(&format!(
            "{unchained} entries of an earlier version are in no chain; {noted}\n"
        ));
    }
    text
}

async fn export(
    app: &App,
    since: Option<EpochMs>,
    until: Option<EpochMs>,
) -> Result<ExitCode, CommandFailure> {
    let filter = AuditFilter {
        since,
        until,
        ..AuditFilter::default()
    };
    let mut out = BufWriter::new(std::io::stdout());
    let mut place = i64::MIN;
    loop {
        let rows = audit::after(app.database.causal(), place, &filter, PAGE_ROWS).await;
        let rows = rows.map_err(CommandFailure::of)?;
        let Some(last) = rows.last() else { break };
        place = last.id;
        for row in &rows {
            writeln!(out, "{}", audit::line(row)).map_err(CommandFailure::of)?;
        }
    }
    out.flush().map_err(CommandFailure::of)?;
    Ok(ExitCode::SUCCESS)
}
