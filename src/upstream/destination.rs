//! The URL of a request, and whether what the last answer said of it may be followed.

use minijinja::Value as ScopeValue;
use serde_json::Value as Json;
use url::Url;

use super::render::Renderer;
use super::scope::extra_fields;
use crate::realm::document::{ProviderDocument, RequestRule};
use crate::realm::expression::STORED;
use crate::realm::failure::Failure;
use crate::realm::hosts::belong_together;

/// The URL of a request, without the arguments in its query.
///
/// One that is made of `stored.extra` must stay within the registered domain of the URL that is
/// made without it, or lead to one of the document's `allowed_hosts`, and never from https to
/// http: whoever wrote an answer does not say where the next credentials go.
pub(super) fn destination(
    document: &ProviderDocument,
    rule: &RequestRule,
    render: &Renderer<'_>,
) -> Result<Url, Failure> {
    let url = rendered(rule, render)?;
    if !rule.target.names().contains(STORED) {
        return Ok(url);
    }
    let nothing = ScopeValue::from_pairs([("extra", extra_fields(&Json::Null))]);
    let own = rendered(rule, &render.with(STORED, nothing))
        .map_err(|failure| failure.and("without stored.extra, that is: give it a default()"))?;
    let stays = belong_together(&own, &url)
        || document
            .allowed_hosts
            .iter()
            .any(|allowed| allowed.covers(&url));
    if own.scheme() == "https" && url.scheme() != "https" {
        return Err(Failure::internal(format!(
            "url: stored.extra leads from https:// to {}://",
            url.scheme()
        )));
    }
    if !stays {
        return Err(Failure::internal(format!(
            "url: stored.extra leads to {}, which is not of the domain of {}; name it in \
             allowed_hosts if it is meant",
            url.host_str().unwrap_or_default(),
            own.host_str().unwrap_or_default()
        )));
    }
    Ok(url)
}

fn rendered(rule: &RequestRule, render: &Renderer<'_>) -> Result<Url, Failure> {
    rule.target
        .render(|template| render.in_url(template))
        .map_err(|fault| Failure::internal(fault.0))
}
