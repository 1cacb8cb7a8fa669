//! Errors as RFC 9457 problem documents, the framework's own included. No secret, no
//! token, no provider's answer and no SQL ever stands in one.

mod of_errors;

use std::sync::Arc;

use poem::error::ResponseError;
use poem::http::{StatusCode, header};
use poem::{IntoResponse, Response};
use poem_openapi::registry::{MetaMediaType, MetaResponse, MetaResponses, Registry};
use poem_openapi::types::Type;
use poem_openapi::{ApiResponse, Object};
use serde::Serialize;

use crate::foundation::clock::Ms;
use crate::foundation::database::DbError;
use crate::foundation::fields::Fault;

pub const MEDIA_TYPE: &str = "application/problem+json";

/// An error, as RFC 9457 describes it.
#[derive(Clone, Debug, Object, Serialize)]
#[oai(rename = "Problem")]
struct Document {
    /// Identifies the kind of problem: `urn:token-server:problem:` and the code.
    r#type: String,
    /// The kind of problem, for humans.
    title: String,
    /// The HTTP status.
    status: u16,
    /// What went wrong this time, and what to do.
    detail: String,
    /// The kind of problem, for programs: stable snake_case.
    code: String,
    /// Stands in the log, too.
    request_id: String,
    /// Where a document is not valid.
    #[oai(skip_serializing_if_is_none)]
    #[serde(skip_serializing_if = "Option::is_none")]
    errors: Option<Vec<DocumentFault>>,
    /// The class of a provider's failure: `transient`, `rate_limited`, `permanent`,
    /// `invalid_token`, `internal`.
    #[oai(skip_serializing_if_is_none)]
    #[serde(skip_serializing_if = "Option::is_none")]
    class: Option<String>,
}

/// One fault of a document.
#[derive(Clone, Debug, Object, Serialize)]
#[oai(rename = "Fault")]
struct DocumentFault {
    /// JSON pointer (RFC 6901) into the request body.
    pointer: String,
    detail: String,
}

/// An error on its way to the caller.
#[derive(Clone, Debug)]
pub struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: String,
    errors: Vec<Fault>,
    class: Option<&'static str>,
    retry_after: Option<Ms>,
    is_held_back: bool,
    /// For the log, never for the caller.
    database: Option<Arc<DbError>>,
}

impl Problem {
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            status,
            code,
            detail: detail.into(),
            errors: Vec::new(),
            class: None,
            retry_after: None,
            is_held_back: false,
            database: None,
        }
    }

    pub fn bad_request(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, detail)
    }

    pub fn not_found(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, detail)
    }

    /// A well-formed document whose content is refused.
    pub fn invalid(errors: Vec<Fault>) -> Self {
        Self {
            errors,
            ..Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "invalid_document",
                "The document is refused; errors says where and why. Nothing was stored.",
            )
        }
    }

    pub fn invalid_parameter(name: &str, why: impl std::fmt::Display) -> Self {
        Self::bad_request("invalid_parameter", format!("The parameter {name} {why}."))
    }

    pub fn unauthorized() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "unauthorized",
            "Send a valid API key: Authorization: Bearer KEY, or Basic with the key as password.",
        )
    }

    fn conflict(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, code, detail)
    }

    pub fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", detail)
    }

    pub fn cross_site() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "cross_site",
            "A page of another site sent this: its Origin is not the Host that was asked, or \
             Sec-Fetch-Site says so. A proxy in between must pass on the browser's Host header.",
        )
    }

    pub fn csrf() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "csrf",
            "A change by a session needs the header X-CSRF-Token, with what GET /api/session says.",
        )
    }

    pub fn too_many_streams() -> Self {
        Self::unavailable(
            "too_many_streams",
            "As many streams of events are open as there may be: of this caller, or of all \
             (console.event_streams_max). Close one.",
            Ms::from_secs(5),
        )
    }

    fn unavailable(code: &'static str, detail: impl Into<String>, retry_after: Ms) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code, detail).after(retry_after)
    }

    pub fn not_ready(detail: impl Into<String>) -> Self {
        Self::unavailable("not_ready", detail, Ms::from_secs(1))
    }

    fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "The server failed; its log says more under this request_id.",
        )
    }

    pub fn status(&self) -> StatusCode {
        self.status
    }

    pub fn code(&self) -> &'static str {
        self.code
    }

    /// Says when to come again.
    pub fn after(mut self, wait: Ms) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// Is told only after a while.
    pub fn held_back(mut self) -> Self {
        self.is_held_back = true;
        self
    }

    pub fn is_held_back(&self) -> bool {
        self.is_held_back
    }

    /// Has the log say what the database failed with.
    pub fn because(mut self, error: DbError) -> Self {
        self.database = Some(Arc::new(error));
        self
    }

    /// Why the database could not do what was asked for.
    pub fn database(&self) -> Option<&DbError> {
        self.database.as_deref()
    }

    #[cfg(test)]
    pub fn detail(&self) -> &str {
        &self.detail
    }

    pub fn into_response_for(self, request_id: &str) -> Response {
        let title = self.status.canonical_reason().unwrap_or("Error");
        let errors = self.errors.into_iter().map(|fault| DocumentFault {
            pointer: fault.pointer,
            detail: fault.detail,
        });
        let document = Document {
            r#type: format!("urn:token-server:problem:{}", self.code),
            title: title.to_owned(),
            status: self.status.as_u16(),
            detail: self.detail,
            code: self.code.to_owned(),
            request_id: request_id.to_owned(),
            errors: Some(errors.collect()).filter(|errors: &Vec<_>| !errors.is_empty()),
            class: self.class.map(str::to_owned),
        };
        let mut response = poem::web::Json(document)
            .with_content_type(MEDIA_TYPE)
            .into_response();
        response.set_status(self.status);
        if let Some(wait) = self.retry_after {
            let headers = response.headers_mut();
            headers.insert(header::RETRY_AFTER, wait.as_secs_ceil().max(1).into());
        }
        response
    }

    /// Any error of the framework. What it says may repeat the caller's input and is
    /// passed on nowhere.
    pub fn of(error: &poem::Error) -> Self {
        if let Some(problem) = error.downcast_ref::<Self>() {
            return problem.clone();
        }
        if let Some(parameter) = error.downcast_ref::<poem_openapi::error::ParseParamError>() {
            // What is known of it is said before (`Paths::check`).
            return Self::invalid_parameter(parameter.name, "is missing or not of its type");
        }
        if error
            .downcast_ref::<poem_openapi::error::ParsePathError>()
            .is_some()
        {
            return Self::bad_request(
                "invalid_parameter",
                "A part of the path is not of its type.",
            );
        }
        let (code, detail) = match error.status() {
            StatusCode::NOT_FOUND => (
                "not_found",
                "Nothing is served at this path; /docs shows what is.",
            ),
            StatusCode::METHOD_NOT_ALLOWED => (
                "method_not_allowed",
                "This path does not take this method; /docs shows which.",
            ),
            StatusCode::PAYLOAD_TOO_LARGE => (
                "body_too_large",
                "The body is larger than http.max_body_bytes.",
            ),
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => (
                "headers_too_large",
                "The request line and the headers are larger than http.max_header_bytes.",
            ),
            StatusCode::UNSUPPORTED_MEDIA_TYPE => (
                "unsupported_media_type",
                "Send the body as application/json.",
            ),
            StatusCode::REQUEST_TIMEOUT => (
                "request_timeout",
                "The body did not arrive within http.body_timeout_s.",
            ),
            status if status.is_client_error() => {
                return Self::new(status, "bad_request", "The request cannot be read.");
            }
            _ => return Self::internal(),
        };
        Self::new(error.status(), code, detail)
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.status.as_u16(), self.code)
    }
}

impl std::error::Error for Problem {}

impl ResponseError for Problem {
    fn status(&self) -> StatusCode {
        self.status
    }
}

impl ApiResponse for Problem {
    fn meta() -> MetaResponses {
        MetaResponses {
            responses: vec![MetaResponse {
                description: "Why the request was refused or failed",
                status: None,
                status_range: None,
                content: vec![MetaMediaType {
                    content_type: MEDIA_TYPE,
                    schema: Document::schema_ref(),
                }],
                headers: Vec::new(),
            }],
        }
    }

    fn register(registry: &mut Registry) {
        Document::register(registry);
    }
}
