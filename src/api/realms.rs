//! Realms over HTTP: list, show, save, delete.

use poem::web::Data as State;
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::types::Any;
use poem_openapi::{Object, OpenApi};
use serde_json::Value;

use super::auth::{Key, RealmRead, RealmWrite};
use super::body::{Document, JsonBody, name};
use super::extract::{Paging, realm_id};
use super::group::Group;
use super::http::note_realm;
use super::lists::{Data, PageOf, Success, data, list, success};
use super::named_models::REALM_DOCUMENT;
use super::problem::Problem;
use super::warnings::{WarningView, views};
use crate::app::App;
use crate::foundation::clock::Timeline;
use crate::foundation::fields::Fields;
use crate::foundation::ids::RealmId;
use crate::realm::Realm;
use crate::registry::{FieldChange, LeftAlone, RealmPatch, Registry};

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
        }
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
    /// a change of what is sent needs `secret:write` for all of them, too.
    #[oai(path = "/api/realm", method = "post", operation_id = "saveRealm")]
    async fn save(
        &self,
        key: Key<RealmWrite>,
        app: State<&App>,
        body: JsonBody<RealmBody>,
    ) -> Result<Json<Data<RealmView>>, Problem> {
        key.must_cover_realm(&body.0.id)?;
        let saved = app.registry.save_realm(body.0, &key.actor()).await;
        let realm = saved.map_err(|error| key.refused(error))?;
        Ok(Json(data(RealmView::warned(realm, &app.registry))))
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
    /// for all of them.
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
    ) -> Result<Json<Success>, Problem> {
        let cascade = cascade.0.unwrap_or(false);
        let id = realm_id(id.0)?;
        key.must_cover_realm(&id)?;
        let deleted = app.registry.delete_realm(&id, cascade, &key.actor()).await;
        deleted.map_err(|error| key.refused(error))?;
        Ok(Json(success()))
    }
}
