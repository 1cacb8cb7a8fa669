//! Issuers of JWTs over HTTP: list, show, register, delete.

use std::sync::Arc;

use poem::web::Data as State;
use poem_openapi::param::Path;
use poem_openapi::payload::Json;
use poem_openapi::types::Any;
use poem_openapi::{Object, OpenApi};
use serde_json::{Value, json};

use super::auth::{Key, KeyWrite};
use super::body::{Document, JsonBody};
use super::extract::Paging;
use super::group::Group;
use super::lists::{Data, PageOf, Success, data, list, success};
use super::named_models::JWT_ALGORITHM;
use super::problem::Problem;
use crate::access::issuer::{IssuerName, IssuerRegistration, JwtAlgorithm, KeySource, Rule, read};
use crate::app::App;
use crate::foundation::clock::Timeline;
use crate::foundation::fields::Fields;
use crate::foundation::pattern::Pattern;
use crate::foundation::words::words;
use crate::realm::expression::Expressions;
use crate::registry::ListedIssuer;

pub struct IssuerApi;

/// Whose JWTs are let in, and for what.
#[derive(Object)]
#[oai(rename = "NewIssuer")]
pub struct IssuerBody {
    /// What the claim `iss` of its tokens says, to the letter.
    issuer: String,
    /// One of these must be in the claim `aud` of a token.
    audiences: Vec<String>,
    /// How its tokens may be signed, of `RS256`, `RS384`, `RS512`, `PS256`, `PS384`, `PS512`,
    /// `ES256`, `ES384`, `EdDSA`. Absent: the first of these.
    algorithms: Option<Vec<String>>,
    /// Where its public keys are (RFC 7517). Absent: where its own document says, at
    /// `ISSUER/.well-known/openid-configuration`.
    jwks_url: Option<String>,
    /// Its public keys themselves, instead of a place.
    jwks: Option<Any<Value>>,
    /// Certificates of authorities in PEM, trusted beside the usual ones where its keys are
    /// fetched.
    ca: Option<String>,
    /// The proxy that its keys are fetched through, by its name in the server's configuration, or
    /// `direct`. Absent: the server's `upstream.proxy`, if it has one.
    proxy: Option<String>,
    /// What a token is good for: the first rule whose condition its claims meet decides, alone.
    /// None: nothing.
    rules: Option<Vec<RuleBody>>,
}

/// What claims are good for.
#[derive(Object)]
#[oai(rename = "NewIssuerRule")]
pub struct RuleBody {
    /// An expression over `claims` that is true, such as
    /// `claims.repository == 'acme/site' and claims.ref == 'refs/heads/main'`.
    when: String,
    /// As those of an API key.
    scopes: Vec<String>,
    /// Realms that it is limited to; `*` stands for any characters.
    realms: Option<Vec<String>>,
    /// Secret keys, likewise.
    keys: Option<Vec<String>>,
}

impl Document for IssuerBody {
    type Content = IssuerRegistration;

    fn read(fields: Fields<'_>) -> Option<IssuerRegistration> {
        fields.describe("algorithms", || {
            let items = JWT_ALGORITHM.reference();
            json!({"type": "array", "minItems": 1, "maxItems": JwtAlgorithm::ALL.len(), "items": items})
        });
        read(fields, &Arc::new(Expressions::new()))
    }
}

/// A registered issuer.
#[derive(Object)]
#[oai(rename = "Issuer")]
struct IssuerView {
    name: String,
    issuer: String,
    #[oai(nullable)]
    audiences: Option<Vec<String>>,
    #[oai(nullable)]
    algorithms: Option<Vec<String>>,
    #[oai(nullable)]
    jwks_url: Option<String>,
    #[oai(nullable)]
    jwks: Option<Any<Value>>,
    #[oai(nullable)]
    ca: Option<String>,
    #[oai(nullable)]
    proxy: Option<String>,
    #[oai(nullable)]
    rules: Option<Vec<RuleView>>,
    /// Rises by one with each change.
    version: i64,
    /// RFC 3339, UTC.
    created_at: String,
    /// RFC 3339, UTC.
    updated_at: String,
    /// Why it lets nobody in: it is one of a newer version, or the row was changed by other than a
    /// token server. Then what is registered is null.
    #[oai(skip_serializing_if_is_none)]
    unreadable: Option<String>,
}

/// A rule of an issuer.
#[derive(Object)]
#[oai(rename = "IssuerRule")]
struct RuleView {
    when: String,
    scopes: Vec<String>,
    #[oai(nullable)]
    realms: Option<Vec<String>>,
    #[oai(nullable)]
    keys: Option<Vec<String>>,
}

impl From<Rule> for RuleView {
    fn from(rule: Rule) -> Self {
        let texts = |patterns: Vec<Pattern>| {
            let texts = patterns.iter().map(|pattern| pattern.as_str().to_owned());
            texts.collect()
        };
        Self {
            when: rule.when.source().to_owned(),
            scopes: rule.scopes.iter().map(ToString::to_string).collect(),
            realms: rule.coverage.realms.map(texts),
            keys: rule.coverage.keys.map(texts),
        }
    }
}

impl From<ListedIssuer> for IssuerView {
    fn from(listed: ListedIssuer) -> Self {
        let ListedIssuer { row, read } = listed;
        let unreadable = read.as_ref().err().map(ToString::to_string);
        let read = read.ok();
        let (jwks_url, jwks) = match read.as_ref().map(|read| &read.keys) {
            Some(KeySource::Url(url)) => (Some(url.clone()), None),
            Some(KeySource::Registered(jwks, _)) => (None, Some(Any(jwks.clone()))),
            Some(KeySource::Discovery) | None => (None, None),
        };
        let algorithms = |read: &IssuerRegistration| {
            let names = words(&read.algorithms, JwtAlgorithm::as_str);
            names.into_iter().map(str::to_owned).collect()
        };
        let proxy = |read: &IssuerRegistration| read.proxy.as_str().map(str::to_owned);
        Self {
            name: row.name,
            issuer: row.issuer,
            audiences: read.as_ref().map(|read| read.audiences.clone()),
            algorithms: read.as_ref().map(algorithms),
            jwks_url,
            jwks,
            ca: read.as_ref().and_then(|read| read.ca.clone()),
            proxy: read.as_ref().and_then(proxy),
            rules: read.map(|read| read.rules.into_iter().map(RuleView::from).collect()),
            version: row.version,
            created_at: row.created_at.to_rfc3339(),
            updated_at: row.updated_at.to_rfc3339(),
            unreadable,
        }
    }
}

fn name(text: String) -> Result<IssuerName, Problem> {
    IssuerName::new(text).map_err(|error| Problem::invalid_parameter("name", error))
}

#[OpenApi(tag = "Group::Access")]
impl IssuerApi {
    /// List issuers of JWTs, by name
    ///
    /// Whose tokens are let in beside API keys, and for what.
    #[oai(path = "/api/issuer", method = "get", operation_id = "listIssuers")]
    async fn list(
        &self,
        _key: Key<KeyWrite>,
        app: State<&App>,
        paging: Paging,
    ) -> Result<Json<Data<PageOf<IssuerView>>>, Problem> {
        let issuers = app.registry.list_issuers(paging.0).await?;
        Ok(Json(list(issuers.map(IssuerView::from))))
    }

    /// Show an issuer of JWTs
    ///
    /// What is registered of it; its keys only where they are registered, too.
    #[oai(path = "/api/issuer/:name", method = "get", operation_id = "getIssuer")]
    async fn show(
        &self,
        _key: Key<KeyWrite>,
        app: State<&App>,
        name: Path<String>,
    ) -> Result<Json<Data<IssuerView>>, Problem> {
        let issuer = app.registry.issuer(&self::name(name.0)?).await?;
        Ok(Json(data(issuer.into())))
    }

    /// Register an issuer of JWTs, or replace its registration
    ///
    /// Its tokens are verified with its public keys, which are fetched when the first one comes. A
    /// rule gives no scope that the key which registers it lacks. All callers of the issuer are
    /// recognised anew, by the new rules.
    #[oai(
        path = "/api/issuer/:name",
        method = "put",
        operation_id = "saveIssuer"
    )]
    async fn save(
        &self,
        key: Key<KeyWrite>,
        app: State<&App>,
        name: Path<String>,
        body: JsonBody<IssuerBody>,
    ) -> Result<Json<Data<IssuerView>>, Problem> {
        let name = self::name(name.0)?;
        let saved = app.registry.save_issuer(&name, &body.0, &key.actor()).await;
        let issuer = saved.map_err(|error| key.refused(error))?;
        Ok(Json(data(issuer.into())))
    }

    /// Delete an issuer of JWTs, at once
    ///
    /// Its tokens let nobody in any more. Other replicas follow within a second; where the database
    /// is away, within `access.trust_s`.
    #[oai(
        path = "/api/issuer/:name",
        method = "delete",
        operation_id = "deleteIssuer"
    )]
    async fn delete(
        &self,
        key: Key<KeyWrite>,
        app: State<&App>,
        name: Path<String>,
    ) -> Result<Json<Success>, Problem> {
        let name = self::name(name.0)?;
        app.registry.delete_issuer(&name, &key.actor()).await?;
        Ok(Json(success()))
    }
}
