//! How this server is configured, without any secret.

use std::sync::Arc;

use poem::web::Data as State;
use poem_openapi::payload::Json;
use poem_openapi::types::Any;
use poem_openapi::{Object, OpenApi};
use serde_json::Value;

use super::auth::{Admin, Key};
use super::group::Group;
use super::lists::{Data, data};
use super::problem::Problem;
use crate::app::App;
use crate::foundation::sealing_keys::KeyUse;

pub struct SettingsApi;

/// How the replica that answers is configured.
#[derive(Object)]
#[oai(rename = "Settings")]
struct SettingsView {
    version: String,
    /// The replica that answers.
    replica: String,
    /// Where its database is.
    database: String,
    /// Each key that has a value, by section, as the reference of the configuration lists them. `***`
    /// stands in the place of a secret.
    configuration: Any<Value>,
    /// The keys of its ring.
    sealing_keys: Vec<SealingKeyView>,
}

/// A sealing key, without itself.
#[derive(Object)]
#[oai(rename = "SealingKey")]
struct SealingKeyView {
    id: String,
    /// Whether this replica seals with it.
    seals: bool,
    /// Stored values that were made with it.
    values: u64,
}

#[OpenApi(tag = "Group::Operation")]
impl SettingsApi {
    /// How the server is configured
    ///
    /// The configuration in effect at the replica that answers, and the keys of its ring with how many
    /// stored values were made with each. These are counted every two seconds at most, and less often
    /// where there are so many that counting takes its time.
    #[oai(path = "/api/settings", method = "get", operation_id = "getSettings")]
    async fn show(
        &self,
        _key: Key<Admin>,
        app: State<&App>,
    ) -> Result<Json<Data<SettingsView>>, Problem> {
        let uses: Arc<Vec<KeyUse>> = app.key_uses.now().await?;
        let view = |of: &KeyUse| SealingKeyView {
            seals: of.key_id == app.ring.sealing_id(),
            id: of.key_id.clone(),
            values: of.values,
        };
        Ok(Json(data(SettingsView {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            replica: app.replica.id.0.clone(),
            database: app.database.address().to_string(),
            configuration: Any(app.settings.effective.clone()),
            sealing_keys: uses.iter().map(view).collect(),
        })))
    }
}
