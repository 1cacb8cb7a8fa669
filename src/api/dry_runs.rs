//! Dry runs over HTTP: a document with parameters of the call, and a preview for a stored secret.

use poem::web::Data as State;
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::types::Any;
use poem_openapi::{Object, OpenApi};
use secrecy::SecretString;
use serde_json::Value;

use super::auth::{Key, RealmWrite, SecretRead};
use super::body::{Document, JsonBody};
use super::extract::names;
use super::group::Group;
use super::lists::{Data, data};
use super::named_models::{PARAMS, REALM_DOCUMENT};
use super::problem::Problem;
use super::warnings::{WarningView, views};
use crate::app::App;
use crate::foundation::fields::{Fields, escape};
use crate::realm::failure::Failure;
use crate::registry::dry_run::Trial;
use crate::upstream::{
    Inspected, InspectedExchange, ParentToken, Reading, ShownAnswer, ShownRequest,
};

pub struct DryRuns;

/// What was shown by a dry run. Credentials are masked.
#[derive(Object)]
#[oai(rename = "DryRun")]
struct DryRunView {
    /// In the order they are sent.
    exchanges: Vec<ExchangeView>,
    /// Where the token is made here, without a request.
    #[oai(skip_serializing_if_is_none)]
    minted: Option<ReadingView>,
    /// What is most likely not meant in the document and the parameters that were
    /// sent; absent where there is nothing.
    #[oai(skip_serializing_if_is_none)]
    warnings: Option<Vec<WarningView>>,
}

/// One request, and what came back.
#[derive(Object)]
#[oai(rename = "DryRunExchange")]
struct ExchangeView {
    /// `steps[0]`, `main` or `refresh`.
    name: String,
    #[oai(nullable)]
    request: Option<RequestView>,
    #[oai(skip_serializing_if_is_none)]
    answer: Option<AnswerView>,
    #[oai(skip_serializing_if_is_none)]
    reading: Option<ReadingView>,
    /// Why it goes no further.
    #[oai(skip_serializing_if_is_none)]
    failure: Option<FailureView>,
}

/// The request. What is made of a credential, a signature for instance, is made of its mask
/// here.
#[derive(Object)]
#[oai(rename = "DryRunRequest")]
struct RequestView {
    method: String,
    /// With its query, not percent-encoded.
    url: String,
    headers: Vec<HeaderView>,
    /// JSON, form fields, or text.
    #[oai(nullable)]
    body: Option<Any<Value>>,
    #[oai(skip_serializing_if_is_none)]
    assertion: Option<AssertionView>,
    /// The proxy that it goes through, by its name in the configuration; absent where it goes
    /// directly.
    #[oai(skip_serializing_if_is_none)]
    proxy: Option<String>,
}

#[derive(Object)]
#[oai(rename = "DryRunHeader")]
struct HeaderView {
    name: String,
    value: String,
}

/// An assertion before it is signed.
#[derive(Object)]
#[oai(rename = "DryRunAssertion")]
struct AssertionView {
    header: Any<Value>,
    claims: Any<Value>,
}

#[derive(Object)]
#[oai(rename = "DryRunResponse")]
struct AnswerView {
    status: u16,
    headers: Vec<HeaderView>,
    body: Any<Value>,
}

/// How an answer was read, field by field.
#[derive(Object)]
#[oai(rename = "DryRunReading")]
struct ReadingView {
    fields: Vec<FieldView>,
    /// Why no token would be stored; absent: one would be.
    #[oai(skip_serializing_if_is_none)]
    failure: Option<FailureView>,
}

#[derive(Object)]
#[oai(rename = "DryRunField")]
struct FieldView {
    /// The field of the realm document.
    field: String,
    /// The path or the expression it was read by.
    #[oai(nullable)]
    by: Option<String>,
    #[oai(nullable)]
    found: Option<Any<Value>>,
    /// What is to be known about it; the reason where nothing was found.
    #[oai(nullable)]
    detail: Option<String>,
}

#[derive(Object)]
#[oai(rename = "DryRunFailure")]
struct FailureView {
    /// `transient`, `rate_limited`, `permanent`, `invalid_token` or `internal`.
    class: String,
    detail: String,
    /// The provider's own code.
    #[oai(nullable)]
    code: Option<String>,
}

impl From<Failure> for FailureView {
    fn from(failure: Failure) -> Self {
        Self {
            class: failure.class.as_str().to_owned(),
            detail: failure.detail,
            code: failure.code,
        }
    }
}

impl From<Inspected> for DryRunView {
    fn from(inspected: Inspected) -> Self {
        Self {
            exchanges: inspected.exchanges.into_iter().map(Into::into).collect(),
            minted: inspected.minted.map(Into::into),
            warnings: None,
        }
    }
}

impl From<InspectedExchange> for ExchangeView {
    fn from(exchange: InspectedExchange) -> Self {
        Self {
            name: exchange.name,
            request: exchange.request.map(Into::into),
            answer: exchange.answer.map(Into::into),
            reading: exchange.reading.map(Into::into),
            failure: exchange.failure.map(Into::into),
        }
    }
}

impl From<ShownRequest> for RequestView {
    fn from(request: ShownRequest) -> Self {
        Self {
            method: request.method.to_owned(),
            url: request.url,
            headers: headers(request.headers),
            body: request.body.map(Any),
            assertion: request.assertion.map(|assertion| AssertionView {
                header: Any(assertion.header),
                claims: Any(assertion.claims),
            }),
            proxy: request.proxy,
        }
    }
}

impl From<ShownAnswer> for AnswerView {
    fn from(answer: ShownAnswer) -> Self {
        Self {
            status: answer.status,
            headers: headers(answer.headers),
            body: Any(answer.body),
        }
    }
}

impl From<Reading> for ReadingView {
    fn from(reading: Reading) -> Self {
        let fields = reading.steps.into_iter().map(|step| FieldView {
            field: step.field,
            by: step.by,
            found: step.found.map(Any),
            detail: step.detail,
        });
        Self {
            fields: fields.collect(),
            failure: reading.failure.map(Into::into),
        }
    }
}

fn headers(headers: Vec<(String, String)>) -> Vec<HeaderView> {
    let view = |(name, value)| HeaderView { name, value };
    headers.into_iter().map(view).collect()
}

/// A realm document to be tried, with everything it needs.
#[derive(Object)]
#[oai(rename = "RealmTest")]
pub struct TrialBody {
    /// The realm document.
    config: Any<Value>,
    /// Parameters of a secret, by name.
    params: Option<Any<Value>>,
    /// Where the token is derived from another.
    parent: Option<TrialParent>,
    /// Where the provider pushes tickets.
    ticket: Option<String>,
    /// As if it were the stored token.
    token: Option<String>,
    /// As if these were the extra fields stored with it, in scope as `stored.extra`.
    extra: Option<Any<Value>>,
    /// As if a refused token were being replaced.
    forced: Option<bool>,
    /// Send the requests, and show how the answers were read.
    send: Option<bool>,
    /// `consumes_refresh_token`: needed to send where that may use a refresh token up.
    confirm: Option<String>,
}

/// The token that another is derived from.
#[derive(Object)]
#[oai(rename = "RealmTestParent")]
struct TrialParent {
    token: String,
    extra: Option<Any<Value>>,
}

impl Document for TrialBody {
    type Content = Trial;

    fn read(fields: Fields<'_>) -> Option<Trial> {
        fields.describe("config", || REALM_DOCUMENT.reference());
        fields.describe("params", || PARAMS.reference());
        let config = fields.required("config", |fields, field| fields.get(field));
        let params = fields.entries("params").into_iter().flatten();
        let params = params.filter_map(|(name, value)| match value.as_str() {
            Some(text) => Some((name.clone(), SecretString::from(text))),
            None => {
                let at = format!("params/{}", escape(name));
                fields.fault_at(&at, "must be a string");
                None
            }
        });
        let params = params.collect();
        let parent = fields.object("parent").and_then(|parent| {
            let token = parent.required("token", |parent, field| parent.text(field));
            let extra = parent.get("extra").cloned().unwrap_or_default();
            parent.finish();
            Some(ParentToken {
                token: token?.into(),
                extra,
            })
        });
        let text = |field| fields.text(field).map(SecretString::from);
        let (ticket, token) = (text("ticket"), text("token"));
        let extra = fields.get("extra").cloned().unwrap_or_default();
        let forced = fields.flag("forced").unwrap_or(false);
        let send = fields.flag("send").unwrap_or(false);
        let confirm = fields.text("confirm").map(str::to_owned);
        fields.finish();
        Some(Trial {
            config: config?.clone(),
            params,
            parent,
            ticket,
            token,
            extra,
            forced,
            send,
            confirm,
        })
    }
}

#[OpenApi(tag = "Group::Realm")]
impl DryRuns {
    /// Show the requests that would be sent for a secret, masked
    ///
    /// Nothing is sent and nothing is stored. What is made of a credential is made of its mask
    /// here.
    #[oai(
        path = "/api/realm/:id/preview",
        method = "get",
        operation_id = "previewRealm"
    )]
    async fn preview(
        &self,
        api_key: Key<SecretRead>,
        app: State<&App>,
        id: Path<String>,
        /// The secret's key.
        key: Query<String>,
    ) -> Result<Json<Data<DryRunView>>, Problem> {
        let (realm, key) = names(id.0, key.0)?;
        api_key.must_cover(&realm, &key)?;
        let inspected = app.registry.preview(&realm, &key).await?;
        Ok(Json(data(inspected.into())))
    }

    /// Try a realm document with parameters given here
    ///
    /// Shows the requests, masked; with `send` makes them, and shows how the answers were
    /// read. Stores nothing, and never uses a stored secret.
    #[oai(path = "/api/realm/test", method = "post", operation_id = "testRealm")]
    async fn test(
        &self,
        _key: Key<RealmWrite>,
        app: State<&App>,
        body: JsonBody<TrialBody>,
    ) -> Result<Json<Data<DryRunView>>, Problem> {
        let (inspected, warnings) = app.registry.try_realm(&body.0).await?;
        Ok(Json(data(DryRunView {
            warnings: views(warnings),
            ..inspected.into()
        })))
    }
}
