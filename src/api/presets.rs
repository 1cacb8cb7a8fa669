//! Presets over HTTP: list them, register one as a realm.

use poem::web::Data as State;
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::types::Any;
use poem_openapi::{Object, OpenApi};
use serde_json::Value;

use super::auth::{Admin, Key};
use super::body::{Document, JsonBody};
use super::extract::Paging;
use super::group::Group;
use super::http::note_realm;
use super::lists::{Data, PageOf, data, list};
use super::problem::Problem;
use super::realms::RealmView;
use crate::app::App;
use crate::foundation::fields::Fields;
use crate::foundation::ids::{RealmId, name_schema};
use crate::realm::preset::{self, Preset};

pub struct Presets;

/// A realm that ships with the server.
#[derive(Object)]
#[oai(rename = "Preset")]
struct PresetView {
    id: String,
    title: String,
    /// The provider's own page.
    documentation: String,
    /// What its facts were taken from: `documentation`, `sdk` or `community`.
    verified: String,
    facts: Vec<String>,
    /// The realm document, with what a secret must give under `params`.
    config: Any<Value>,
}

impl From<&Preset> for PresetView {
    fn from(preset: &Preset) -> Self {
        Self {
            id: preset.id.clone(),
            title: preset.title.clone(),
            documentation: preset.documentation.clone(),
            verified: preset.verified.as_str().to_owned(),
            facts: preset.facts.clone(),
            config: Any(preset.config.clone()),
        }
    }
}

/// How a preset is registered.
#[derive(Object)]
#[oai(rename = "PresetRegistration")]
pub struct RegistrationBody {
    /// The realm's name; absent: the preset's.
    id: Option<String>,
    /// Whether a realm of that name may be replaced.
    replace: Option<bool>,
}

pub struct Registration {
    id: Option<RealmId>,
    replace: bool,
}

impl Document for RegistrationBody {
    type Content = Registration;

    fn read(fields: Fields<'_>) -> Option<Registration> {
        fields.describe("id", name_schema);
        let id = fields.text("id").and_then(|id| {
            RealmId::new(id)
                .map_err(|error| fields.fault("id", error.to_string()))
                .ok()
        });
        id.iter().for_each(note_realm);
        let replace = fields.flag("replace").unwrap_or(false);
        fields.finish();
        Some(Registration { id, replace })
    }
}

#[OpenApi(tag = "Group::Realm")]
impl Presets {
    /// List the realms that ship with the server
    ///
    /// Documents for well-known providers, each tested against what its provider documents.
    #[oai(path = "/api/preset", method = "get", operation_id = "listPresets")]
    async fn list(
        &self,
        _key: Key<Admin>,
        paging: Paging,
        /// A part of the id or the title.
        keyword: Query<Option<String>>,
    ) -> Result<Json<Data<PageOf<PresetView>>>, Problem> {
        let keyword = keyword.0.unwrap_or_default().to_lowercase();
        let named = preset::all().values().filter(|preset| {
            preset.id.contains(&keyword) || preset.title.to_lowercase().contains(&keyword)
        });
        Ok(Json(list(paging.0.of(named).map(PresetView::from))))
    }

    /// Register a preset as a realm
    ///
    /// Refused where there is a realm of that name, unless `replace` is true.
    #[oai(
        path = "/api/preset/:id",
        method = "post",
        operation_id = "registerPreset"
    )]
    async fn register(
        &self,
        key: Key<Admin>,
        app: State<&App>,
        id: Path<String>,
        body: JsonBody<RegistrationBody>,
    ) -> Result<Json<Data<RealmView>>, Problem> {
        let Registration { id: name, replace } = body.0;
        let saved = app
            .registry
            .save_preset(&id.0, name, replace, &key.actor())
            .await?;
        Ok(Json(data(RealmView::warned(saved, &app.registry))))
    }
}
