//! Warnings beside what was stored or tried.

use poem_openapi::Object;

use crate::foundation::fields::Warning;

/// What is allowed, and most likely not meant. It refuses nothing.
#[derive(Object)]
#[oai(rename = "Warning")]
pub struct WarningView {
    /// JSON pointer (RFC 6901) into the request body.
    pointer: String,
    detail: String,
}

impl From<Warning> for WarningView {
    fn from(warning: Warning) -> Self {
        Self {
            pointer: warning.pointer,
            detail: warning.detail,
        }
    }
}

/// None where there is nothing to say.
pub fn views(warnings: Vec<Warning>) -> Option<Vec<WarningView>> {
    let views = warnings.into_iter().map(Into::into).collect::<Vec<_>>();
    (!views.is_empty()).then_some(views)
}
