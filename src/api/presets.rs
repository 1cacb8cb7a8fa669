//! Presets over HTTP: list them, register one as a realm.

use poem::web::Data as State;
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::types::Any;
use poem_openapi::{Object, OpenApi};
use serde_json::Value;

use super::auth::{Key, RealmRead, RealmWrite};
use super::body::{Document, JsonBody};
use super::extract::{Paging, one_of};
use super::group::Group;
use super::http::note_realm;
use super::lists::{Data, PageOf, data, list};
use super::problem::Problem;
use super::realms::{RealmSave, RealmView};
use crate::app::App;
use crate::foundation::fields::Fields;
use crate::foundation::ids::{RealmId, name_schema};
use crate::realm::preset::{self, Category, Preset, PresetFilter, PresetSource};
use crate::registry::Refusal;

pub struct Presets;

/// A realm that ships with the server.
#[derive(Object)]
#[oai(rename = "Preset")]
struct PresetView {
    id: String,
    title: String,
    /// Other names by which people search for it.
    names: Vec<String>,
    category: String,
    /// Where the provider is: two letters of ISO 3166-1.
    country: String,
    /// The provider's own page.
    documentation: String,
    /// What its facts were taken from: `documentation`, `sdk` or `community`.
    verified: String,
    /// The public pages and files that were read for it.
    sources: Vec<SourceView>,
    facts: Vec<String>,
    /// The realm document, with what a secret must give under `params`.
    config: Any<Value>,
}

/// A public page or file that was read for a preset.
#[derive(Object)]
#[oai(rename = "PresetSource")]
struct SourceView {
    url: String,
    /// The day on which it was read.
    read: String,
    /// What it shows.
    #[oai(rename = "for")]
    shows: String,
}

impl From<&PresetSource> for SourceView {
    fn from(source: &PresetSource) -> Self {
        Self {
            url: source.url.clone(),
            read: source.read.clone(),
            shows: source.shows.clone(),
        }
    }
}

impl From<&Preset> for PresetView {
    fn from(preset: &Preset) -> Self {
        Self {
            id: preset.id.clone(),
            title: preset.title.clone(),
            names: preset.names.clone(),
            category: preset.category.as_str().to_owned(),
            country: preset.country.clone(),
            documentation: preset.documentation.clone(),
            verified: preset.verified.as_str().to_owned(),
            sources: preset.sources.iter().map(SourceView::from).collect(),
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

/// Two letters.
fn country_code(text: String) -> Result<String, Problem> {
    let is_code = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_alphabetic());
    let why = "must be two letters of ISO 3166-1, such as CN";
    is_code
        .then_some(text)
        .ok_or_else(|| Problem::invalid_parameter("country", why))
}

#[OpenApi(tag = "Group::Realm")]
impl Presets {
    /// List the realms that ship with the server
    ///
    /// Documents for well-known providers, each tested against what its provider documents.
    #[oai(path = "/api/preset", method = "get", operation_id = "listPresets")]
    async fn list(
        &self,
        _key: Key<RealmRead>,
        paging: Paging,
        /// Words of the id, the title or another name, such as `azure` or `微信`.
        keyword: Query<Option<String>>,
        /// What the provider is for.
        category: Query<Option<String>>,
        /// Where the provider is: two letters of ISO 3166-1, such as `CN`.
        country: Query<Option<String>>,
    ) -> Result<Json<Data<PageOf<PresetView>>>, Problem> {
        let filter = PresetFilter {
            keyword: keyword.0,
            category: one_of("category", category.0, Category::ALL, Category::as_str)?,
            country: country.0.map(country_code).transpose()?,
        };
        let found = preset::found(&filter);
        Ok(Json(list(paging.0.of(found).map(PresetView::from))))
    }

    /// Show a preset
    ///
    /// With its realm document, and where its facts stand.
    #[oai(path = "/api/preset/:id", method = "get", operation_id = "getPreset")]
    async fn show(
        &self,
        _key: Key<RealmRead>,
        id: Path<String>,
    ) -> Result<Json<Data<PresetView>>, Problem> {
        let preset = preset::all().get(&id.0);
        let preset = preset.ok_or_else(|| Refusal::UnknownPreset(id.0.clone()))?;
        Ok(Json(data(PresetView::from(preset))))
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
        key: Key<RealmWrite>,
        app: State<&App>,
        id: Path<String>,
        body: JsonBody<RegistrationBody>,
        /// Answer what would change, and change nothing.
        dry_run: Query<Option<bool>>,
        /// Save although secrets come to lack parameters that the realm requires.
        confirm: Query<Option<String>>,
    ) -> Result<Json<Data<RealmView>>, Problem> {
        let Registration { id: name, replace } = body.0;
        // A preset's name is a realm's.
        let name = name.unwrap_or_else(|| RealmId::stored(id.0.clone()));
        key.must_cover_realm(&name)?;
        let how = RealmSave::read(dry_run.0, confirm.0)?;
        let patch = app.registry.patch_of_preset(&id.0, name, replace).await?;
        how.of(&key, &app.registry, patch).await
    }
}
