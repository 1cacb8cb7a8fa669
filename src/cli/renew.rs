//! The scheduled container job: one sweep, to the end.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::context::{open, say, start_logging_and_traces};
use super::failure::CommandFailure;
use super::metrics_file::MetricsFile;
use super::signals::Signals;
use super::time::time;
use crate::access::key_name::COMMAND_LINE;
use crate::access::writer::Look;
use crate::app::App;
use crate::config::Settings;
use crate::foundation::clock::Ms;
use crate::foundation::database::{DbError, DbFault};
use crate::foundation::descriptors;
use crate::foundation::ids::{KeyName, RealmId};
use crate::foundation::logging::on_one_line;
use crate::renewal::{NamedFailure, Progress, RUN, Reach, RunBy, RunScope, RunSummary, came_of};

/// What the exit codes of `renew` mean, for its help.
pub(super) const EXIT_CODES: &str = "\
Works on the database, with the configuration of the server.

Exit codes:
   0  All that was due was renewed, and no secret needs attention
   1  A renewal failed or waits, its result was discarded, a secret needs attention, or something
      due is left; the summary on standard output (JSON) names them
   2  It could not run: no database there, it cannot be reached, an unknown realm, …
  64  The configuration cannot be used; the message names the key";

#[derive(Args)]
pub struct RenewArguments {
    /// One realm only
    #[arg(long)]
    realm: Option<String>,
    /// Due or not
    #[arg(long, conflicts_with = "within")]
    all: bool,
    /// Also what becomes due within that time, such as 30m: before the next run. What backs off
    /// or waits keeps its date
    #[arg(long, value_name = "TIME", value_parser = time)]
    within: Option<Ms>,
    /// Begin nothing more after that time, such as 4m; what is under way ends, the summary names
    /// what is left, and the exit code is 1
    #[arg(long, value_name = "TIME", value_parser = time)]
    timeout: Option<Ms>,
    /// Write the summary to this file, too, for the textfile collector of Prometheus' node exporter
    #[arg(long, value_name = "PATH")]
    metrics_file: Option<PathBuf>,
}

pub async fn run(
    settings: Settings,
    arguments: RenewArguments,
) -> Result<ExitCode, CommandFailure> {
    let on_terminal = std::io::stderr().is_terminal();
    // On a terminal the bar tells; log lines would tear it.
    let traces = start_logging_and_traces(&settings, on_terminal.then_some("error"))?;
    descriptors::raise();
    let RenewArguments {
        realm,
        all,
        within,
        timeout,
        metrics_file,
    } = arguments;
    let mut signals = Signals::new().map_err(CommandFailure::of)?;
    // Counts from here.
    let time_is_up = tokio::time::sleep(timeout.map_or(Duration::MAX, Ms::as_duration));
    let mut told_to_end = pin!(async move {
        tokio::select! {
            () = time_is_up => {}
            () = signals.next() => {}
        }
    });
    let realm = realm
        .map(RealmId::new)
        .transpose()
        .map_err(|error| CommandFailure::of(format!("--realm {error}")))?;
    let scope = RunScope {
        realm,
        reach: match within {
            _ if all => Reach::All,
            Some(within) => Reach::Within(within),
            None => Reach::Due,
        },
        by: RunBy::Job,
        ..RunScope::default()
    };
    let metrics_file = metrics_file.map(MetricsFile::begin).transpose()?;
    let app = open(settings).await?;
    if let Some(realm) = &scope.realm
        && let Err(unknown) = app.registry.realm(realm).await
    {
        app.close().await;
        return Err(CommandFailure::of(unknown));
    }
    let bar = if on_terminal {
        bar()
    } else {
        ProgressBar::hidden()
    };
    let run = {
        let progress = Bar(bar.clone());
        let mut run = pin!(app.renewals.run(&scope, &progress));
        tokio::select! {
            // Before anything is claimed, where time is up already.
            biased;
            () = &mut told_to_end => {
                scope.stop.cancel();
                run.await
            }
            run = &mut run => run,
        }
    };
    bar.finish_and_clear();
    end(&app, &scope, &run).await;
    if let Some(traces) = traces {
        traces.end(app.settings.http.grace.as_duration()).await;
    }
    let summary = run.map_err(|error| {
        let address = app.database.address();
        CommandFailure::of(format!(
            "the database {address} failed: {}",
            DbFault::of(&error, address)
        ))
    })?;
    say(&format!("{}\n", for_programs(&summary)))?;
    if on_terminal {
        // Whoever closed standard error has the summary.
        let _ = std::io::stderr().write_all(for_humans(&summary).as_bytes());
    }
    let code = u8::from(!summary.is_clean());
    if let Some(file) = metrics_file {
        file.write(&summary, app.clock.now(), code)?;
    }
    Ok(ExitCode::from(code))
}

/// What follows a run, whatever came of it.
async fn end(app: &App, scope: &RunScope, run: &Result<RunSummary, DbError>) {
    let look = Look {
        actor: COMMAND_LINE.to_owned(),
        action: RUN,
        target: scope.target(),
        detail: Some(came_of(run)),
    };
    app.audit_writer.look(look, None);
    if let Some(delivery_worker) = &app.delivery_worker
        && let Err(error) = delivery_worker.deliver_due().await
    {
        tracing::warn!(
            name: "webhook.left_to_others",
            %error, "events are sent by the next server or run"
        );
    }
    app.renewals.end().await;
    app.close().await;
}

struct Bar(ProgressBar);

impl Progress for Bar {
    fn found(&self, tokens: u64) {
        self.0.inc_length(tokens);
    }

    fn attempted(&self, realm: &RealmId, key: &KeyName, renewed: bool) {
        if !renewed {
            self.0.println(format!("not renewed: {realm}/{key}"));
        }
        self.0.inc(1);
    }
}

fn bar() -> ProgressBar {
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} {elapsed}") {
        bar.set_style(style);
    }
    bar
}

fn for_humans(summary: &RunSummary) -> String {
    let RunSummary {
        renewed,
        failed,
        waiting,
        discarded,
        left,
        needs_attention,
        duration,
        ..
    } = summary;
    let mut text = format!(
        "{renewed} renewed, {failed} failed, {waiting} waiting, {discarded} discarded, {left} left, {needs_attention} need attention, in {} ms\n",
        duration.0
    );
    let mut line = |realm: &RealmId, key: &KeyName, what: &str, why: &str| {
        text.push_str(&format!("  {realm}/{key}: {what}: {}\n", on_one_line(why)));
    };
    for failure in &summary.failures {
        line(
            &failure.realm,
            &failure.key,
            failure.class.as_str(),
            &failure.detail,
        );
    }
    for secret in &summary.needs_attention_secrets {
        line(
            &secret.realm,
            &secret.key,
            "needs attention",
            &secret.detail,
        );
    }
    for secret in &summary.left_secrets {
        line(&secret.realm, &secret.key, "left", &secret.why);
    }
    text
}

fn for_programs(summary: &RunSummary) -> Value {
    let failures = |failures: &[NamedFailure]| -> Vec<Value> {
        let each = failures.iter().map(|failure| {
            json!({
                "realm": failure.realm.as_str(), "key": failure.key.as_str(),
                "class": failure.class.as_str(), "detail": failure.detail,
            })
        });
        each.collect()
    };
    let left = summary.left_secrets.iter().map(
        |left| json!({"realm": left.realm.as_str(), "key": left.key.as_str(), "why": left.why}),
    );
    json!({
        "renewed": summary.renewed, "failed": summary.failed, "discarded": summary.discarded,
        "waiting": summary.waiting, "left": summary.left,
        "needs_attention": summary.needs_attention, "duration_ms": summary.duration.0,
        "failures": failures(&summary.failures),
        "left_secrets": left.collect::<Vec<_>>(),
        "needs_attention_secrets": failures(&summary.needs_attention_secrets),
    })
}
