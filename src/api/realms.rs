//! Realms over HTTP: list, show, save, delete.

use poem::web::Data as State;
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::types::Any;
use poem_openapi::{Object, OpenApi};
use serde_json::Value;

use super::auth::{Key, RealmRead, RealmWrite};
use super::body::{Document, JsonBody, name};
use super::changes::{Deleted, RealmChanges, confirmation};
use super::extract::{Paging, realm_id};
use super::group::Group;
use super::http::note_realm;
use super::lists::{Data, PageOf, data, list};
use super::named_models::REALM_DOCUMENT;
use super::problem::Problem;
use super::warnings::{WarningView, views};
use crate::app::App;
use crate::foundation::clock::Timeline;
use crate::foundation::fields::Fields;
use crate::foundation::ids::RealmId;
use crate::realm::Realm;
use crate::registry::{Confirmation, FieldChange, LeftAlone, RealmPatch, RealmPreview, Registry};

pub struct Realms;

/// A realm to be made or merged: an absent field keeps its value, null clears it.
#[derive(Object)]
#[oai(rename = "RealmPatch")]
pub struct RealmBody {
    /// The realm's name: exact, 255 characters at most.
    id: String,
    comment: Option<String>,
    /// How the provider is asked and its answer read. Replaced as a whole.
    config: Option<Any<Value>>,
    /// The URL of custom logic; `config` wins where both are set. Neither: a realm of
    /// fixed tokens.
    logic_code: Option<String>,
}

impl Document for RealmBody {
    type Content = RealmPatch;

    /// Unknown fields at this level are ignored, as the predecessor did, but for misspelled ones.
    fn read(fields: Fields<'_>) -> Option<RealmPatch> {
        let id = name(&fields, "id", RealmId::new);
        id.iter().for_each(note_realm);
        let comment = fields.change("comment", |fields, field| fields.text(field));
        fields.describe("config", || REALM_DOCUMENT.reference());
        let config = fields.change("config", |fields, field| fields.get(field));
        let logic_code = fields.change("logic_code", |fields, field| fields.text(field));
        fields.finish_leniently();
        Some(RealmPatch {
            id: id?,
            comment: change(comment, str::to_owned),
            config: change(config, Value::clone),
            logic_code: change(logic_code, str::to_owned),
        })
    }
}

/// Absent, null or a value.
fn change<T: ?Sized, U>(read: Option<Option<&T>>, own: impl FnOnce(&T) -> U) -> FieldChange<U> {
    match read {
        None => FieldChange::Keep,
        Some(None) => FieldChange::Clear,
        Some(Some(value)) => FieldChange::Set(own(value)),
    }
}

/// A registered realm.
#[derive(Object)]
#[oai(rename = "Realm")]
pub struct RealmView {
    id: String,
    #[oai(nullable)]
    comment: Option<String>,
    #[oai(nullable)]
    config: Option<Any<Value>>,
    #[oai(nullable)]
    logic_code: Option<String>,
    /// Rises by one with each change.
    version: i64,
    /// No request is sent to the provider before then.
    #[oai(nullable)]
    blocked_until: Option<String>,
    /// RFC 3339, UTC.
    created_at: String,
    /// RFC 3339, UTC.
    updated_at: String,
    /// Why the server does not use it: its document is one of a newer version, or the row was
    /// changed by other than a token server. Then `config` and `logic_code` are null.
    #[oai(skip_serializing_if_is_none)]
    unreadable: Option<String>,
    /// What is most likely not meant; absent where there is nothing, and in lists.
    #[oai(skip_serializing_if_is_none)]
    warnings: Option<Vec<WarningView>>,
    /// What would change. With `dry_run` only: the other fields are as they would be.
    #[oai(skip_serializing_if_is_none)]
    changes: Option<RealmChanges>,
}

impl RealmView {
    /// A realm with what an admin should know of it.
    pub(super) fn warned(realm: Realm, registry: &Registry) -> Self {
        let warnings = registry.warnings_of(&realm);
        Self {
            warnings: views(warnings),
            ..realm.into()
        }
    }

    /// A realm as it would be saved.
    fn previewed(preview: RealmPreview, registry: &Registry) -> Self {
        let view = Self::warned(preview.realm.clone(), registry);
        Self {
            changes: Some(preview.into()),
            ..view
        }
    }
}

impl From<Realm> for RealmView {
    fn from(realm: Realm) -> Self {
        Self {
            id: realm.id.to_string(),
            comment: realm.comment,
            config: realm.config.map(Any),
            logic_code: realm.logic_code,
            version: realm.version.0,
            blocked_until: realm.blocked_until.map(Timeline::to_rfc3339),
            created_at: realm.created_at.to_rfc3339(),
            updated_at: realm.updated_at.to_rfc3339(),
            unreadable: None,
            warnings: None,
            changes: None,
        }
    }
}

impl From<Box<LeftAlone>> for RealmView {
    fn from(left_alone: Box<LeftAlone>) -> Self {
        let LeftAlone { row, why } = *left_alone;
        Self {
            id: row.id,
            comment: row.comment,
            config: None,
            logic_code: None,
            version: row.version,
            blocked_until: row.blocked_until.map(Timeline::to_rfc3339),
            created_at: row.created_at.to_rfc3339(),
            updated_at: row.updated_at.to_rfc3339(),
            unreadable: Some(why.to_string()),
            warnings: None,
            changes: None,
        }
    }
}

/// How a realm is to be saved.
pub(super) enum RealmSave {
    DryRun,
    Save(Option<Confirmation>),
}

impl RealmSave {
    /// What the queries `dry_run` and `confirm` say.
    ///
    /// # Errors
    /// A problem that names the one which cannot be read.
    pub fn read(dry_run: Option<bool>, confirm: Option<String>) -> Result<Self, Problem> {
        let confirmed = confirmation(confirm)?;
        Ok(match dry_run {
            Some(true) => Self::DryRun,
            Some(false) | None => Self::Save(confirmed),
        })
    }

    /// Saves a realm, or says what that would change.
    ///
    /// # Errors
    /// A problem that says why it is refused.
    pub async fn of(
        self,
        key: &Key<RealmWrite>,
        registry: &Registry,
        patch: RealmPatch,
    ) -> Result<Json<Data<RealmView>>, Problem> {
        let by = key.actor();
        let view = match self {
            Self::DryRun => {
                let preview = registry.preview_realm(patch, &by).await;
                preview.map(|preview| RealmView::previewed(preview, registry))
            }
            Self::Save(confirmed) => {
                let saved = registry.save_realm(patch, confirmed, &by).await;
                saved.map(|realm| RealmView::warned(realm, registry))
            }
        };
        Ok(Json(data(view.map_err(|error| key.refused(error))?)))
    }
}

#[OpenApi(tag = "Group::Realm")]
impl Realms {
    /// List realms, newest change first
    ///
    /// Those that the key's patterns cover, with their documents, without warnings.
    #[oai(path = "/api/realm", method = "get", operation_id = "listRealms")]
    async fn list(
        &self,
        key: Key<RealmRead>,
        app: State<&App>,
        paging: Paging,
        /// A part of the id or the comment.
        keyword: Query<Option<String>>,
    ) -> Result<Json<Data<PageOf<RealmView>>>, Problem> {
        let realms = app
            .registry
            .list_realms(paging.0, keyword.as_deref(), key.coverage())
            .await?;
        let view = |read: Result<_, _>| read.map_or_else(RealmView::from, RealmView::from);
        Ok(Json(list(realms.map(view))))
    }

    /// Create a realm, or merge into the one that is there
    ///
    /// The whole is validated before anything is stored. What is allowed and most likely not meant
    /// is answered as `warnings`. Secrets that failed are tried again. Where the realm has secrets,
    /// a change of what is sent needs `secret:write` for all of them, too. One that leaves secrets
    /// without parameters which the realm comes to require is refused, unless that is confirmed. A
    /// default that is the mask of one is refused.
    #[oai(path = "/api/realm", method = "post", operation_id = "saveRealm")]
    async fn save(
        &self,
        key: Key<RealmWrite>,
        app: State<&App>,
        body: JsonBody<RealmBody>,
        /// Answer what would change, and change nothing.
        dry_run: Query<Option<bool>>,
        /// Save although secrets come to lack parameters that the realm requires.
        confirm: Query<Option<String>>,
    ) -> Result<Json<Data<RealmView>>, Problem> {
        key.must_cover_realm(&body.0.id)?;
        let how = RealmSave::read(dry_run.0, confirm.0)?;
        how.of(&key, &app.registry, body.0).await
    }

    /// Show a realm
    ///
    /// With `warnings`, where its document holds what is most likely not meant.
    #[oai(path = "/api/realm/:id", method = "get", operation_id = "getRealm")]
    async fn show(
        &self,
        key: Key<RealmRead>,
        app: State<&App>,
        id: Path<String>,
    ) -> Result<Json<Data<RealmView>>, Problem> {
        let id = realm_id(id.0)?;
        key.must_cover_realm(&id)?;
        let realm = app.registry.realm(&id).await?;
        Ok(Json(data(RealmView::warned(realm, &app.registry))))
    }

    /// Delete a realm
    ///
    /// Refused while it has secrets, unless `cascade` deletes them, too, which needs `secret:write`
    /// for all of them. Answers what went with it.
    #[oai(
        path = "/api/realm/:id",
        method = "delete",
        operation_id = "deleteRealm"
    )]
    async fn delete(
        &self,
        key: Key<RealmWrite>,
        app: State<&App>,
        id: Path<String>,
        /// Delete its secrets, too; without it a realm with secrets is refused.
        cascade: Query<Option<bool>>,
        /// Answer what would go with it, and delete nothing.
        dry_run: Query<Option<bool>>,
    ) -> Result<Json<Data<Deleted>>, Problem> {
        let cascade = cascade.0.unwrap_or(false);
        let id = realm_id(id.0)?;
        key.must_cover_realm(&id)?;
        let (registry, by) = (&app.registry, key.actor());
        let deleted = match dry_run.0 {
            Some(true) => registry.preview_realm_deletion(&id, cascade, &by).await,
            Some(false) | None => registry.delete_realm(&id, cascade, &by).await,
        };
        let deleted = deleted.map_err(|error| key.refused(error))?;
        Ok(Json(data(deleted.into())))
    }
}
