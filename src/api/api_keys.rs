//! API keys over HTTP: list, make, revoke.

use std::num::NonZeroU32;

use poem::http::StatusCode;
use poem::web::Data as State;
use poem_openapi::param::Path;
use poem_openapi::payload::Json;
use poem_openapi::{Object, OpenApi};
use secrecy::ExposeSecret;
use serde_json::json;

use super::auth::{Key, KeyWrite};
use super::body::{Document, JsonBody};
use super::extract::Paging;
use super::group::Group;
use super::lists::{Data, PageOf, Success, data, list, success};
use super::named_models::SCOPE;
use super::problem::Problem;
use crate::access::key_name::check_key_name;
use crate::access::scope::Scope;
use crate::access::store::{Creation, ListedKey, NewKey};
use crate::app::App;
use crate::foundation::clock::{EpochMs, Timeline};
use crate::foundation::fields::Fields;
use crate::foundation::ids::NAME_MAX_CHARS;
use crate::foundation::pattern::{Coverage, Pattern};
use crate::foundation::rate::RATE_MAX;
use crate::foundation::words::words;

pub struct ApiKeys;

/// A key to be made.
#[derive(Object)]
#[oai(rename = "NewApiKey")]
pub struct KeyBody {
    /// Names the key in lists and in the audit; unique.
    name: String,
    /// Of `token:read`, `token:flush`, `realm:read`, `realm:write`, `secret:read`, `secret:write`,
    /// `key:write`, `audit:read`, `metrics`, `admin`; the last stands for all but the first two.
    scopes: Vec<String>,
    /// Realms that it is limited to; `*` stands for any characters. Not with `key:write`,
    /// `audit:read`, `metrics` and `admin`, which concern all.
    realms: Option<Vec<String>>,
    /// Secret keys, likewise.
    keys: Option<Vec<String>>,
    /// In milliseconds since the epoch; absent: never.
    expires_at: Option<i64>,
    /// Calls a second that it may make of each replica; as many may come at once. Absent: as many as
    /// `access.key_rate` allows.
    rate: Option<u32>,
}

impl Document for KeyBody {
    type Content = NewKey;

    fn read(fields: Fields<'_>) -> Option<NewKey> {
        fields.describe(
            "name",
            || json!({"type": "string", "minLength": 1, "maxLength": NAME_MAX_CHARS}),
        );
        fields.describe(
            "scopes",
            || json!({"type": "array", "minItems": 1, "items": SCOPE.reference()}),
        );
        let name = fields.required("name", |fields, field| {
            let name = fields.text(field)?;
            if let Err(error) = check_key_name(name) {
                fields.fault(field, error.to_string());
            }
            Some(name)
        });
        let scopes = fields.required("scopes", |fields, field| {
            let list = fields.list(field)?;
            if list.is_empty() {
                fields.fault(field, "must name a scope");
            }
            let scope = |(index, value): (usize, &serde_json::Value)| {
                let scope = value.as_str().and_then(Scope::parse);
                if scope.is_none() {
                    let known = words(Scope::ALL, Scope::as_str).join(", ");
                    fields.fault_at(
                        &format!("{field}/{index}"),
                        format!("must be one of {known}"),
                    );
                }
                scope
            };
            let named = list
                .iter()
                .enumerate()
                .map(scope)
                .collect::<Option<Vec<_>>>()?;
            // The column holds each once.
            let mut scopes = Vec::new();
            for scope in named {
                if !scopes.contains(&scope) {
                    scopes.push(scope);
                }
            }
            Some(scopes)
        });
        let patterns = |field| {
            let list = fields.list(field)?;
            let pattern = |(index, value): (usize, &serde_json::Value)| {
                let text = value.as_str();
                if text.is_none() {
                    fields.fault_at(&format!("{field}/{index}"), "must be a string");
                }
                text.map(Pattern::new)
            };
            list.iter()
                .enumerate()
                .map(pattern)
                .collect::<Option<Vec<_>>>()
        };
        let (realms, secret_keys) = (patterns("realms"), patterns("keys"));
        let expires_at = fields.number("expires_at", 0, i64::MAX).map(EpochMs);
        let rate = fields.number("rate", 1, RATE_MAX.into());
        fields.finish();
        Some(NewKey {
            name: name?.to_owned(),
            scopes: scopes?,
            coverage: Coverage {
                realms,
                keys: secret_keys,
            },
            expires_at,
            rate: rate.and_then(|rate| NonZeroU32::new(u32::try_from(rate).ok()?)),
        })
    }
}

/// A key that was just made.
#[derive(Object)]
#[oai(rename = "MadeApiKey")]
struct MadeKey {
    id: i64,
    name: String,
    /// Shown this once.
    key: String,
}

/// A key, without itself.
#[derive(Object)]
#[oai(rename = "ApiKey")]
struct KeyView {
    id: i64,
    name: String,
    /// Its first characters.
    hint: String,
    scopes: Vec<String>,
    #[oai(nullable)]
    realms: Option<Vec<String>>,
    #[oai(nullable)]
    keys: Option<Vec<String>>,
    created_at: String,
    #[oai(nullable)]
    expires_at: Option<String>,
    #[oai(nullable)]
    revoked_at: Option<String>,
    /// Calls a second that it may make of each replica; null: as many as `access.key_rate` allows.
    #[oai(nullable)]
    rate: Option<u32>,
    /// Whether a token server wrote the row of the key as it is; otherwise nobody is let in by it.
    authentic: bool,
}

impl From<ListedKey> for KeyView {
    fn from(key: ListedKey) -> Self {
        let texts = |patterns: Vec<Pattern>| {
            let texts = patterns.iter().map(|pattern| pattern.as_str().to_owned());
            texts.collect()
        };
        Self {
            id: key.id,
            name: key.name,
            hint: key.hint,
            scopes: key.scopes.iter().map(ToString::to_string).collect(),
            realms: key.coverage.realms.map(texts),
            keys: key.coverage.keys.map(texts),
            created_at: key.created_at.to_rfc3339(),
            expires_at: key.expires_at.map(Timeline::to_rfc3339),
            revoked_at: key.revoked_at.map(Timeline::to_rfc3339),
            rate: key.rate.map(NonZeroU32::get),
            authentic: key.authentic,
        }
    }
}

#[OpenApi(tag = "Group::Access")]
impl ApiKeys {
    /// List API keys, newest first
    ///
    /// Without the keys themselves, revoked ones included.
    #[oai(path = "/api/api-key", method = "get", operation_id = "listApiKeys")]
    async fn list(
        &self,
        _key: Key<KeyWrite>,
        app: State<&App>,
        paging: Paging,
    ) -> Result<Json<Data<PageOf<KeyView>>>, Problem> {
        let keys = app.registry.list_api_keys(paging.0).await?;
        Ok(Json(list(keys.map(KeyView::from))))
    }

    /// Make an API key; it is shown once
    ///
    /// Only its hash is stored: the answer is the one place where the key can be read. A key gives no
    /// scope that it lacks, and makes none that expires later or has a higher rate than itself.
    #[oai(path = "/api/api-key", method = "post", operation_id = "createApiKey")]
    async fn create(
        &self,
        key: Key<KeyWrite>,
        app: State<&App>,
        body: JsonBody<KeyBody>,
    ) -> Result<Json<Data<MadeKey>>, Problem> {
        let created = app.registry.create_api_key(&body.0, &key.actor()).await;
        let (creation, made) = created.map_err(|error| key.refused(error))?;
        match creation {
            Creation::Created(id) => Ok(Json(data(MadeKey {
                id,
                name: body.0.name,
                key: made.expose_secret().to_owned(),
            }))),
            Creation::NameTaken => Err(Problem::new(
                StatusCode::CONFLICT,
                "name_taken",
                "There is an API key of that name; choose another.",
            )),
        }
    }

    /// Revoke an API key, at once and for good
    ///
    /// Other replicas follow within a second; where the database is away, within
    /// `access.trust_s`.
    #[oai(
        path = "/api/api-key/:id",
        method = "delete",
        operation_id = "revokeApiKey"
    )]
    async fn revoke(
        &self,
        key: Key<KeyWrite>,
        app: State<&App>,
        id: Path<i64>,
    ) -> Result<Json<Success>, Problem> {
        if app.registry.revoke_api_key(id.0, &key.actor()).await? {
            Ok(Json(success()))
        } else {
            Err(Problem::not_found(
                "unknown_api_key",
                "There is no such key that is not revoked.",
            ))
        }
    }
}
