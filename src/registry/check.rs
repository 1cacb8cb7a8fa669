//! What is to be said of a realm before it is stored: its faults, and what is allowed in it
//! and most likely not meant.

use serde_json::Value;
use url::Url;

use crate::foundation::fields::Warning;
use crate::realm::document::{ProviderDocument, Way};
use crate::realm::expression::Expressions;
use crate::realm::target::Target;
use crate::realm::{Fault, Source};
use crate::upstream::egress::Egress;
use crate::upstream::proxy::Proxies;
use crate::upstream::{Upstream, UpstreamSettings};

/// Where requests may go, and through what.
#[derive(Clone, Copy)]
pub struct Outbound<'a> {
    pub egress: &'a Egress,
    pub proxies: &'a Proxies,
}

impl<'a> From<&'a Upstream> for Outbound<'a> {
    fn from(upstream: &'a Upstream) -> Self {
        Self {
            egress: upstream.egress(),
            proxies: upstream.proxies(),
        }
    }
}

impl<'a> From<&'a UpstreamSettings> for Outbound<'a> {
    fn from(settings: &'a UpstreamSettings) -> Self {
        Self {
            egress: &settings.egress,
            proxies: &settings.proxies,
        }
    }
}

/// Reads a realm, and says what an admin should know of it.
pub fn check(
    config: Option<&Value>,
    logic_code: Option<&str>,
    expressions: &Expressions,
    outbound: Outbound<'_>,
) -> Result<(Source, Vec<Warning>), Vec<Fault>> {
    let (source, mut warnings) = Source::read_new(config, logic_code, expressions)?;
    if let Source::Provider(document) = &source
        && let Err(unknown) = outbound.proxies.chosen(&document.proxy)
    {
        return Err(vec![Fault::new("/config/proxy", unknown.to_string())]);
    }
    let mut refused = |pointer: String, url: &Url| {
        let denied = outbound.egress.foresee(url);
        warnings.extend(denied.map(|why| Warning::new(pointer, why)));
    };
    match (&source, config) {
        (Source::Provider(document), Some(config)) => {
            for (pointer, target) in targets(document, config) {
                if let Some(url) = target.sample() {
                    refused(format!("/config{pointer}/url"), &url);
                }
            }
            if logic_code.is_some() {
                let detail = "is not used: config is set, too, and wins";
                warnings.push(Warning::new("/logic_code", detail));
            }
        }
        (Source::CustomLogic(url), _) => refused("/logic_code".to_owned(), url),
        _ => {}
    }
    Ok((source, warnings))
}

/// The URLs that a document gives, by where their requests stand in it.
fn targets<'a>(document: &'a ProviderDocument, config: &Value) -> Vec<(String, &'a Target)> {
    let mut all = Vec::new();
    if let Way::Asked { steps, main } = &document.way {
        let steps = steps.iter().enumerate();
        all.extend(steps.map(|(index, step)| (format!("/steps/{index}"), &step.request.target)));
        all.push((String::new(), &main.request.target));
    }
    let refresh = document.refresh.iter();
    all.extend(refresh.map(|refresh| ("/refresh".to_owned(), &refresh.exchange.request.target)));
    let resend = document
        .ticket
        .iter()
        .filter_map(|rule| rule.resend.as_ref());
    all.extend(resend.map(|resend| ("/ticket/resend".to_owned(), &resend.request.target)));
    // A refresh may inherit its URL.
    all.retain(|(pointer, _)| config.pointer(&format!("{pointer}/url")).is_some());
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::realm::preset;

    #[test]
    fn no_preset_is_warned_of() {
        let expressions = Expressions::new();
        let (egress, proxies) = (Egress::default(), Proxies::default());
        let outbound = Outbound {
            egress: &egress,
            proxies: &proxies,
        };
        for (id, preset) in preset::all() {
            let checked = check(Some(&preset.config), None, &expressions, outbound);
            let (_, warnings) = checked.unwrap();
            assert_eq!(warnings, [], "{id}");
        }
    }
}
