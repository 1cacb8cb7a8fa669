//! JSON bodies. They are read field by field, so that all faults are told at once, with
//! their pointers, and nothing that was sent is repeated.

use poem::http::StatusCode;
use poem::http::header::CONTENT_TYPE;
use poem::{Request, RequestBody};
use poem_openapi::registry::{MetaMediaType, MetaRequest, Registry};
use poem_openapi::types::Type;
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};
use serde_json::Value;

use super::http::note_secret;
use super::problem::Problem;
use crate::foundation::fields::{Faults, Fields};
use crate::foundation::ids::{KeyName, NameError, RealmId, name_schema};

/// A document that a handler takes. The type itself is its schema in the specification.
pub trait Document: Type {
    type Content: Send;

    /// Reads the content, or notes faults and answers none.
    fn read(fields: Fields<'_>) -> Option<Self::Content>;
}

/// The content of a request's body.
pub struct JsonBody<D: Document>(pub D::Content);

impl<'a, D: Document> ApiExtractor<'a> for JsonBody<D> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        D::register(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        Some(MetaRequest {
            description: None,
            content: vec![MetaMediaType {
                content_type: "application/json",
                schema: D::schema_ref(),
            }],
            required: true,
        })
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _: ExtractParamOptions<Self::ParamType>,
    ) -> poem::Result<Self> {
        if !is_json(request) {
            return Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported_media_type",
                "Send the body as application/json.",
            )
            .into());
        }
        let bytes = body.take()?.into_bytes().await?;
        let value: Value = serde_json::from_slice(&bytes).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            Problem::bad_request(
                "malformed_json",
                format!("The body is not JSON: line {line}, column {column}. Nothing was stored."),
            )
        })?;
        let faults = Faults::default();
        let content = Fields::of(&value, "", &faults).and_then(D::read);
        let read = faults.judge(content);
        read.map(|(content, _)| Self(content))
            .map_err(|faults| Problem::invalid(faults).into())
    }
}

fn is_json(request: &Request) -> bool {
    let sent = request
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let essence = sent.map(|sent| sent.split(';').next().unwrap_or_default().trim());
    essence.is_some_and(|essence| {
        essence.eq_ignore_ascii_case("application/json")
            || essence.to_ascii_lowercase().ends_with("+json")
    })
}

/// A required name.
pub fn name<T>(
    fields: &Fields<'_>,
    field: &'static str,
    make: fn(String) -> Result<T, NameError>,
) -> Option<T> {
    fields.describe(field, name_schema);
    fields.required(field, |fields, field| {
        let text = fields.text(field)?;
        make(text.to_owned())
            .map_err(|error| fields.fault(field, error.to_string()))
            .ok()
    })
}

/// `realm` and `key`.
pub fn secret_name(fields: &Fields<'_>) -> (Option<RealmId>, Option<KeyName>) {
    let realm = name(fields, "realm", RealmId::new);
    let key = name(fields, "key", KeyName::new);
    if let (Some(realm), Some(key)) = (&realm, &key) {
        note_secret(realm, key);
    }
    (realm, key)
}
