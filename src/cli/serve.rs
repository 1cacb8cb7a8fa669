//! Runs the server until it is told to stop.

use std::process::ExitCode;

use secrecy::ExposeSecret;

use super::context::{open_or_make, say, start_logging_and_traces};
use super::failure::CommandFailure;
use super::predecessor;
use super::signals::Signals;
use crate::app::App;
use crate::config::Settings;
use crate::demo;
use crate::foundation::clock::Ms;
use crate::foundation::descriptors;
use crate::serve::{self, Running};

const LOOPBACK: &str = "127.0.0.1/32";
/// The last traces have so long to be sent where the grace time is used up.
const LAST_TRACES: Ms = Ms(500);

pub async fn run(mut settings: Settings, demo: bool) -> Result<ExitCode, CommandFailure> {
    let traces = start_logging_and_traces(&settings, None)?;
    descriptors::raise();
    let mut signals = Signals::new().map_err(CommandFailure::of)?;
    if demo {
        let loopback = LOOPBACK.parse().map_err(CommandFailure::of)?;
        settings.upstream.egress = settings.upstream.egress.and(loopback);
        // What it greets with are commands for plain HTTP.
        settings.http.tls = None;
    }
    // A relative one is found from elsewhere, too.
    let data_dir = std::path::absolute(&settings.data_dir).map_err(CommandFailure::of)?;
    let app = open_or_make(settings).await?;
    let started = started(&app, demo).await;
    if started.is_err() {
        // Others need not wait until it is clear that this one has gone.
        app.close().await;
    }
    let running = started?;
    let stored = running.app().counted().await;
    tracing::info!(
        name: "server.serving",
        address = %running.address(),
        tls = running.app().settings.http.tls.is_some(),
        database = %running.app().database.address(),
        database_tls = running.app().settings.database.shown_tls(),
        data_dir = %data_dir.display(),
        realms = stored.map(|(realms, _)| realms),
        secrets = stored.map(|(_, secrets)| secrets),
        version = env!("CARGO_PKG_VERSION"),
        "serving"
    );
    if demo {
        greet(&running)?;
    }
    signals.next().await;
    tracing::info!(name: "server.stopping", "stopping; what is in flight is stored first");
    let stop = async {
        let (clock, grace) = (
            running.app().clock.clone(),
            running.app().settings.http.grace,
        );
        let begun = clock.boot();
        running.stop().await;
        if let Some(traces) = traces {
            let left = Ms(grace.0 - clock.boot().since(begun).0);
            traces.end(left.max(LAST_TRACES).as_duration()).await;
        }
    };
    let mut stopping = std::pin::pin!(stop);
    // Stopping has its limits; a supervisor that signals twice shall not cost a pair.
    loop {
        tokio::select! {
            () = &mut stopping => return Ok(ExitCode::SUCCESS),
            () = signals.next() => tracing::warn!(
                name: "server.stopping_already",
                "stopping already"
            ),
        }
    }
}

/// All that comes between opening the database and serving.
async fn started(app: &App, demo: bool) -> Result<Running, CommandFailure> {
    if let Some(path) = app.ensure_admin_key().await? {
        tracing::info!(name: "access.admin_key_file", path = %path.display(), "the administrator's key is in this file");
    }
    if demo {
        demo::start(app).await.map_err(CommandFailure::of)?;
    }
    tell_of_predecessor(app).await;
    Ok(serve::start(app.clone()).await?)
}

/// Says so where the predecessor's tables are in the database, and nothing of them was imported.
async fn tell_of_predecessor(app: &App) {
    match predecessor::not_imported(&app.database).await {
        Ok(Some((realms, secrets))) => tracing::warn!(
            name: "import.predecessor_found",
            realms,
            secrets,
            "the predecessor's tables are in this database, and nothing of them was imported: `token-server import` does it, with the URL of this database in TOKEN_SERVER_IMPORT_URL"
        ),
        Ok(None) => {}
        Err(error) => {
            app.database
                .failed(&error.into(), "looking for the predecessor's tables");
        }
    }
}

/// What a newcomer needs to see a token.
fn greet(running: &Running) -> Result<(), CommandFailure> {
    let address = running.address();
    let key = running.app().admin_key()?.map_or_else(
        || "YOUR-KEY".to_owned(),
        |key| key.expose_secret().to_owned(),
    );
    let (realm, name) = (demo::REALM, demo::KEY);
    say(&format!(
        "\n  Swagger UI   http://{address}/docs\n  \
           API key      {key}\n               (Authorize, bearer)\n\n  \
           A token, renewed every few seconds; watch its generation rise:\n\n  \
           curl -H 'Authorization: Bearer {key}' 'http://{address}/api/token?realm={realm}&key={name}'\n\n"
    ))?;
    Ok(())
}
