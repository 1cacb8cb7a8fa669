//! `realm export`: registered realms as files that `realm apply` takes.

use std::path::Path;
use std::process::ExitCode;

use serde_json::Value;

use crate::app::App;
use crate::cli::context::{open, say};
use crate::cli::failure::CommandFailure;
use crate::cli::written::{file_name, make_folder, pretty, write};
use crate::config::Settings;
use crate::foundation::ids::RealmId;

/// Writes some realms, or all.
pub(super) async fn run(
    settings: Settings,
    ids: &[String],
    folder: Option<&Path>,
) -> Result<ExitCode, CommandFailure> {
    let app = open(settings).await?;
    let files = files(&app, ids).await;
    app.close().await;
    let files = files?;
    let Some(folder) = folder else {
        let mut documents: Vec<_> = files.into_iter().map(|(_, document)| document).collect();
        return match (documents.len(), documents.pop()) {
            (1, Some(one)) => say(&pretty(&one)),
            (_, last) => {
                documents.extend(last);
                say(&pretty(&Value::Array(documents)))
            }
        };
    };
    make_folder(folder)?;
    for (id, document) in files {
        let path = write(folder, &file_name(id.as_str()), &pretty(&document))?;
        say(&format!("{}\n", path.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn files(app: &App, ids: &[String]) -> Result<Vec<(RealmId, Value)>, CommandFailure> {
    let named: Vec<_> = ids.iter().map(|id| RealmId::stored(id.clone())).collect();
    let ids = match named.is_empty() {
        true => app.registry.realm_ids().await.map_err(CommandFailure::of)?,
        false => named,
    };
    let mut files = Vec::new();
    for id in ids {
        let document = app.registry.export_realm(&id).await;
        files.push((id, document.map_err(CommandFailure::of)?));
    }
    Ok(files)
}
