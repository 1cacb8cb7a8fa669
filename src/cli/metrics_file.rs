//! What a job did, as a file for the textfile collector of Prometheus' node exporter.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use prometheus_client::encoding::text;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::failure::CommandFailure;
use crate::foundation::clock::EpochMs;
use crate::foundation::metrics::{SecondsGauge, seconds, timestamp};
use crate::renewal::RunSummary;

/// The exporter runs as another user.
const MODE: u32 = 0o644;

/// A file that is replaced as a whole: the exporter reads it at any time. Files of another
/// extension than `.prom`, such as the one that is written first, are passed over.
pub(super) struct MetricsFile {
    path: PathBuf,
    part: PathBuf,
    file: File,
}

impl MetricsFile {
    /// # Errors
    /// Where no file can be made beside it: before anything is renewed.
    pub(super) fn begin(path: PathBuf) -> Result<Self, CommandFailure> {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.part", std::process::id()));
        let part = path.with_file_name(name);
        let file = File::create(&part).map_err(|error| {
            CommandFailure::of(format!(
                "--metrics-file {} cannot be written: {error}",
                path.display()
            ))
        })?;
        Ok(Self { path, part, file })
    }

    pub(super) fn write(
        self,
        summary: &RunSummary,
        now: EpochMs,
        exit_code: u8,
    ) -> Result<(), CommandFailure> {
        let text = written(summary, now, exit_code).map_err(CommandFailure::of)?;
        let write = || -> io::Result<()> {
            (&self.file).write_all(text.as_bytes())?;
            self.file.set_permissions(Permissions::from_mode(MODE))?;
            self.file.sync_all()?;
            fs::rename(&self.part, &self.path)
        };
        write().map_err(|error| {
            CommandFailure::of(format!(
                "--metrics-file {} could not be written: {error}",
                self.path.display()
            ))
        })
    }
}

impl Drop for MetricsFile {
    /// Of a run that came to nothing the last file stays as it is.
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.part);
    }
}

fn written(summary: &RunSummary, now: EpochMs, exit_code: u8) -> Result<String, std::fmt::Error> {
    let mut registry = Registry::with_prefix("token_server_renew");
    for (name, help, count) in [
        (
            "renewed",
            "Tokens that the last run renewed",
            summary.renewed,
        ),
        (
            "failed",
            "Renewals of the last run that failed",
            summary.failed,
        ),
        (
            "discarded",
            "Results of the last run that were discarded",
            summary.discarded,
        ),
        (
            "waiting",
            "Secrets that waited for something else when the last run ended",
            summary.waiting,
        ),
        (
            "left",
            "Secrets that were due and not attempted by the last run",
            summary.left,
        ),
        (
            "needs_attention",
            "Secrets that needed attention when the last run ended",
            summary.needs_attention,
        ),
        (
            "exit_code",
            "Exit code of the last run",
            u64::from(exit_code),
        ),
    ] {
        let gauge: Gauge = Gauge::default();
        gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
        registry.register(name, help, gauge);
    }
    for (name, help, value) in [
        (
            "duration",
            "How long the last run took",
            seconds(summary.duration),
        ),
        (
            "end_timestamp",
            "When the last run ended, since the epoch",
            timestamp(now),
        ),
    ] {
        let gauge = SecondsGauge::default();
        gauge.set(value);
        registry.register_with_unit(name, help, Unit::Seconds, gauge);
    }
    let mut text = String::new();
    text::encode(&mut text, &registry)?;
    Ok(text)
}
