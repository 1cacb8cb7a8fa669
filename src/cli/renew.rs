//! The scheduled container job: one sweep, to the end.

use std::io::IsTerminal;
use std::process::ExitCode;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::context::{open, say, start_logging};
use super::failure::CommandFailure;
use crate::access::key_name::COMMAND_LINE;
use crate::access::writer::Look;
use crate::config::Settings;
use crate::foundation::database::DbFault;
use crate::foundation::descriptors;
use crate::foundation::ids::{KeyName, RealmId};
use crate::foundation::logging::on_one_line;
use crate::renewal::{Progress, RUN, RunScope, RunSummary, came_of};

pub async fn run(
    settings: Settings,
    realm: Option<String>,
    all: bool,
) -> Result<ExitCode, CommandFailure> {
    let on_terminal = std::io::stdout().is_terminal() && std::io::stderr().is_terminal();
    // On a terminal the bar tells; log lines would tear it.
    start_logging(&settings, on_terminal.then_some("error"))?;
    descriptors::raise();
    let realm = realm
        .map(RealmId::new)
        .transpose()
        .map_err(|error| CommandFailure::of(format!("--realm {error}")))?;
    let app = open(settings).await?;
    if let Some(realm) = &realm
        && let Err(unknown) = app.registry.realm(realm).await
    {
        app.close().await;
        return Err(CommandFailure::of(unknown));
    }
    let scope = RunScope {
        realm,
        all,
        recover: true,
    };
    let bar = if on_terminal {
        bar()
    } else {
        ProgressBar::hidden()
    };
    let run = app.renewals.run(&scope, &Bar(bar.clone())).await;
    bar.finish_and_clear();
    let look = Look {
        actor: COMMAND_LINE.to_owned(),
        action: RUN,
        target: scope.target(),
        detail: Some(came_of(&run)),
    };
    app.audit_writer.look(look, None);
    if let Some(delivery_worker) = &app.delivery_worker
        && let Err(error) = delivery_worker.deliver_due().await
    {
        tracing::warn!(%error, "events are sent by the next server or run");
    }
    app.renewals.end().await;
    app.close().await;
    let summary = run.map_err(|error| {
        let address = app.database.address();
        CommandFailure::of(format!(
            "the database {address} failed: {}",
            DbFault::of(&error, address)
        ))
    })?;
    if on_terminal {
        say(&for_humans(&summary))?;
    } else {
        say(&format!("{}\n", for_programs(&summary)))?;
    }
    let clean = summary.failed == 0 && summary.discarded == 0 && summary.waiting == 0;
    Ok(if clean {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

struct Bar(ProgressBar);

impl Progress for Bar {
    fn found(&self, tokens: u64) {
        self.0.inc_length(tokens);
    }

    fn attempted(&self, realm: &RealmId, key: &KeyName, renewed: bool) {
        if !renewed {
            self.0.println(format!("failed: {realm}/{key}"));
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
    let mut text = format!(
        "{} renewed, {} failed, {} waiting, {} discarded, in {} ms\n",
        summary.renewed, summary.failed, summary.waiting, summary.discarded, summary.duration.0
    );
    for failure in &summary.failures {
        let (realm, key, class) = (&failure.realm, &failure.key, failure.class.as_str());
        let detail = on_one_line(&failure.detail);
        text.push_str(&format!("  {realm}/{key}: {class}: {detail}\n"));
    }
    text
}

fn for_programs(summary: &RunSummary) -> serde_json::Value {
    let failures = summary.failures.iter().map(|failure| {
        json!({
            "realm": failure.realm.as_str(), "key": failure.key.as_str(),
            "class": failure.class.as_str(), "detail": failure.detail,
        })
    });
    json!({
        "renewed": summary.renewed, "failed": summary.failed, "discarded": summary.discarded,
        "waiting": summary.waiting,
        "duration_ms": summary.duration.0, "failures": failures.collect::<Vec<_>>(),
    })
}
