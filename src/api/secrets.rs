//! Secrets over HTTP, always masked: list, show, save, delete, pause, resume.

use std::collections::BTreeMap;

use poem::web::Data as State;
use poem_openapi::param::Query;
use poem_openapi::payload::Json;
use poem_openapi::{Object, OpenApi};
use secrecy::SecretString;
use serde_json::{Value, json};

use super::auth::{Key, SecretRead, SecretWrite};
use super::body::{Document, JsonBody, secret_name};
use super::changes::{Deleted, SecretChanges};
use super::extract::{Paging, SecretPath, one_of};
use super::group::Group;
use super::lists::{Data, PageOf, data, list};
use super::named_models::PARAM_CHANGES;
use super::problem::Problem;
use super::warnings::{WarningView, views};
use crate::app::App;
use crate::foundation::clock::{EpochMs, Timeline};
use crate::foundation::fields::Fields;
use crate::realm::DEFAULT_PARAMS;
use crate::registry::{
    ListedSecret, Refusal, RegistryError, SecretPatch, SentParam, SentToken, TokenOrigin,
};
use crate::secret::params::{ParamChange, VALUE_MAX_BYTES};
use crate::token::Trouble;
use crate::token::listing::SecretFilter;
use crate::token::state::State as TokenState;

pub struct Secrets;

/// A secret to be made or merged: an absent parameter keeps its value, null clears it, a
/// value equal to its own mask means unchanged.
#[derive(Object)]
#[oai(rename = "SecretPatch")]
pub struct SecretBody {
    realm: String,
    /// The secret's name within its realm: exact, 255 characters at most.
    key: String,
    key_1: Option<String>,
    key_2: Option<String>,
    key_3: Option<String>,
    key_4: Option<String>,
    key_5: Option<String>,
    /// Parameters by name, for realms that declare theirs.
    params: Option<BTreeMap<String, String>>,
    /// A token to be served as it is; for realms of fixed tokens only.
    token: Option<String>,
    /// When that token expires, in milliseconds since the epoch; absent: never. Without a token a
    /// text is passed over: answers have a date here, and may be sent back.
    expires_at: Option<i64>,
}

impl Document for SecretBody {
    type Content = SecretPatch;

    /// Unknown fields at this level are ignored, as the predecessor did, but for misspelled ones.
    fn read(fields: Fields<'_>) -> Option<SecretPatch> {
        let (realm, key) = secret_name(&fields);
        let mut params = Vec::new();
        let value = || json!({"type": "string", "maxLength": VALUE_MAX_BYTES});
        fields.describe("params", || PARAM_CHANGES.reference());
        for name in DEFAULT_PARAMS {
            fields.describe(name, value);
            let change = fields.change(name, |fields, field| fields.text(field));
            params.extend(change.map(|value| SentParam {
                name: name.to_owned(),
                change: param(value),
                pointer: fields.pointer(name),
            }));
        }
        if fields.get("params").is_some() {
            for (name, value) in fields.entries("params").into_iter().flatten() {
                match (value.is_null(), value.as_str()) {
                    (true, _) => params.push(SentParam::named(name, ParamChange::Clear)),
                    (_, Some(text)) => params.push(SentParam::named(name, param(Some(text)))),
                    (false, None) => {
                        fields.fault_at(&format!("params/{name}"), "must be a string or null");
                    }
                }
            }
        }
        let token = fields.text("token").filter(|token| !token.is_empty());
        fields.describe("expires_at", || {
            json!({"anyOf": [{"type": "integer", "format": "int64", "minimum": 0}, {"type": "string"}]})
        });
        // An answer that is sent back has the expiry of its token as a date, and no token.
        let is_sent_back = || fields.get("expires_at").is_some_and(Value::is_string);
        let expires_at = match token {
            None if is_sent_back() => None,
            _ => fields.number("expires_at", 0, i64::MAX),
        };
        fields.finish_leniently();
        Some(SecretPatch {
            realm: realm?,
            key: key?,
            params,
            token: token.map(|token| SentToken {
                token: token.into(),
                expires_at: expires_at.map(EpochMs),
                origin: TokenOrigin::TypedIn,
            }),
        })
    }
}

fn param(value: Option<&str>) -> ParamChange {
    match value {
        Some(text) => ParamChange::Set(SecretString::from(text)),
        None => ParamChange::Clear,
    }
}

/// A secret, masked, with the state of its token.
#[derive(Object)]
#[oai(rename = "Secret")]
struct SecretView {
    realm: String,
    key: String,
    /// Parameters by name, masked but for those that the realm declares not to be secret; null where this server lacks the sealing key, or where they
    /// are damaged.
    #[oai(nullable)]
    params: Option<BTreeMap<String, String>>,
    /// `pending`, `active`, `retrying`, `expired`, `needs_attention`, `paused` or `fixed`.
    state: String,
    generation: i64,
    /// RFC 3339, UTC; null: it never expires, or there is none.
    #[oai(nullable)]
    expires_at: Option<String>,
    /// When the next attempt is due.
    #[oai(nullable)]
    renew_at: Option<String>,
    #[oai(nullable)]
    last_attempt_at: Option<String>,
    #[oai(nullable)]
    last_error: Option<LastError>,
    /// What must come first: a parent's token, a pushed ticket.
    #[oai(nullable)]
    waiting: Option<String>,
    created_at: String,
    updated_at: String,
    /// What is most likely not meant; absent where there is nothing, and in lists.
    #[oai(skip_serializing_if_is_none)]
    warnings: Option<Vec<WarningView>>,
    /// What would change. With `dry_run` only: the other fields are as they would be.
    #[oai(skip_serializing_if_is_none)]
    changes: Option<SecretChanges>,
}

/// What went wrong since the last success.
#[derive(Object)]
pub struct LastError {
    /// `transient`, `rate_limited`, `permanent`, `invalid_token` or `internal`.
    class: String,
    detail: String,
    since: String,
    failures: i64,
}

impl From<Trouble> for LastError {
    fn from(trouble: Trouble) -> Self {
        Self {
            class: trouble.class.as_str().to_owned(),
            detail: trouble.detail,
            since: trouble.since.to_rfc3339(),
            failures: trouble.failures,
        }
    }
}

impl From<ListedSecret> for SecretView {
    fn from(secret: ListedSecret) -> Self {
        let record = secret.record;
        Self {
            realm: record.realm.to_string(),
            key: record.key.to_string(),
            params: secret.shown,
            state: secret.state.as_str().to_owned(),
            generation: record.generation.0,
            expires_at: record
                .held
                .and_then(|held| held.payload.expiry.at())
                .map(Timeline::to_rfc3339),
            renew_at: record.renew_at.map(Timeline::to_rfc3339),
            last_attempt_at: record.last_attempt_at.map(Timeline::to_rfc3339),
            last_error: record.trouble.map(LastError::from),
            waiting: record.waiting,
            created_at: secret.created_at.to_rfc3339(),
            updated_at: secret.updated_at.to_rfc3339(),
            warnings: views(secret.warnings),
            changes: None,
        }
    }
}

#[OpenApi(tag = "Group::Secret")]
impl Secrets {
    /// List secrets, newest first, always masked
    ///
    /// Those that the key's patterns cover. Of parameters only the ends are shown, of short ones
    /// nothing; those that the realm declares with `secret: false` are shown as they are.
    #[oai(path = "/api/secret", method = "get", operation_id = "listSecrets")]
    async fn list(
        &self,
        key: Key<SecretRead>,
        app: State<&App>,
        paging: Paging,
        realm: Query<Option<String>>,
        state: Query<Option<String>>,
        /// A part of the key.
        keyword: Query<Option<String>>,
    ) -> Result<Json<Data<PageOf<SecretView>>>, Problem> {
        let filter = SecretFilter {
            coverage: key.coverage().clone(),
            realm: realm.as_deref(),
            state: one_of("state", state.0, TokenState::ALL, TokenState::as_str)?,
            keyword: keyword.as_deref(),
        };
        let secrets = app.registry.list_secrets(paging.0, &filter).await?;
        let target = realm.as_deref().unwrap_or("(all realms)").to_owned();
        key.has_looked("secret.list", target, None);
        Ok(Json(list(secrets.map(SecretView::from))))
    }

    /// Create a secret, or merge into the one that is there
    ///
    /// Changed parameters make renewal due now; the old token is served until it succeeds. A value
    /// that looks like a mask, and is not that of the stored value, is refused.
    #[oai(path = "/api/secret", method = "post", operation_id = "saveSecret")]
    async fn save(
        &self,
        key: Key<SecretWrite>,
        app: State<&App>,
        body: JsonBody<SecretBody>,
        /// Answer what would change, and change nothing.
        dry_run: Query<Option<bool>>,
    ) -> Result<Json<Data<SecretView>>, Problem> {
        key.must_cover(&body.0.realm, &body.0.key)?;
        let refused = |error| match error {
            // The predecessor's status.
            RegistryError::Refused(refusal @ Refusal::UnknownRealm(_)) => {
                Problem::bad_request("unknown_realm", format!("{refusal}."))
            }
            other => key.refused(other),
        };
        if dry_run.0.unwrap_or(false) {
            let preview = app.registry.preview_secret(&body.0, &key.actor()).await;
            let preview = preview.map_err(refused)?;
            let target = format!("{}/{}", body.0.realm, body.0.key);
            key.has_looked("secret.read", target, Some("by a dry run".to_owned()));
            let changes = SecretChanges::of(&preview);
            return Ok(Json(data(SecretView {
                changes: Some(changes),
                ..preview.secret.into()
            })));
        }
        let saved = app.registry.save_secret(body.0, &key.actor()).await;
        let secret = saved.map_err(refused)?;
        Ok(Json(data(secret.into())))
    }

    /// Show a secret, masked
    ///
    /// With the state of its token, and what went wrong since the last success.
    #[oai(
        path = "/api/secret/:realm/:key",
        method = "get",
        operation_id = "getSecret"
    )]
    async fn show(
        &self,
        api_key: Key<SecretRead>,
        app: State<&App>,
        secret: SecretPath,
    ) -> Result<Json<Data<SecretView>>, Problem> {
        let SecretPath { realm, key } = secret;
        api_key.must_cover(&realm, &key)?;
        let secret = app.registry.secret(&realm, &key).await?;
        api_key.has_looked("secret.read", format!("{realm}/{key}"), None);
        Ok(Json(data(secret.into())))
    }

    /// Delete a secret and its token
    ///
    /// At once, for all replicas. Nothing tells the provider. Answers what went with it.
    #[oai(
        path = "/api/secret/:realm/:key",
        method = "delete",
        operation_id = "deleteSecret"
    )]
    async fn delete(
        &self,
        api_key: Key<SecretWrite>,
        app: State<&App>,
        secret: SecretPath,
        /// Answer what would go with it, and delete nothing.
        dry_run: Query<Option<bool>>,
    ) -> Result<Json<Data<Deleted>>, Problem> {
        let SecretPath { realm, key } = secret;
        api_key.must_cover(&realm, &key)?;
        let (registry, by) = (&app.registry, api_key.actor());
        let deleted = match dry_run.0 {
            Some(true) => registry.preview_secret_deletion(&realm, &key).await?,
            Some(false) | None => registry.delete_secret(&realm, &key, &by).await?,
        };
        Ok(Json(data(deleted.into())))
    }

    /// Switch renewal off; the token is served while it is valid
    ///
    /// Flushes and reports renew nothing either, until it is resumed.
    #[oai(
        path = "/api/secret/:realm/:key/pause",
        method = "post",
        operation_id = "pauseSecret"
    )]
    async fn pause(
        &self,
        api_key: Key<SecretWrite>,
        app: State<&App>,
        secret: SecretPath,
    ) -> Result<Json<Data<SecretView>>, Problem> {
        let SecretPath { realm, key } = secret;
        api_key.must_cover(&realm, &key)?;
        let secret = app
            .registry
            .pause_secret(&realm, &key, &api_key.actor())
            .await?;
        Ok(Json(data(secret.into())))
    }

    /// Switch renewal on again; it is due now
    ///
    /// Answers at once; the state says what became of it.
    #[oai(
        path = "/api/secret/:realm/:key/resume",
        method = "post",
        operation_id = "resumeSecret"
    )]
    async fn resume(
        &self,
        api_key: Key<SecretWrite>,
        app: State<&App>,
        secret: SecretPath,
    ) -> Result<Json<Data<SecretView>>, Problem> {
        let SecretPath { realm, key } = secret;
        api_key.must_cover(&realm, &key)?;
        let secret = app
            .registry
            .resume_secret(&realm, &key, &api_key.actor())
            .await?;
        Ok(Json(data(secret.into())))
    }
}
