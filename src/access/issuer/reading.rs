//! Reads what is registered of an issuer, and refuses what would let in too many.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};
use url::Url;

use super::algorithm::JwtAlgorithm;
use super::key_set::KeySet;
use super::registration::{IssuerRegistration, KeySource};
use super::rule::{self, Rule};
use crate::access::scope::Scope;
use crate::foundation::fields::Fields;
use crate::foundation::pattern::{Coverage, Pattern};
use crate::foundation::words::words;
use crate::realm::document::ProxyChoice;
use crate::realm::expression::Expressions;
use crate::realm::target::check_url;

/// The longest `iss`, audience or pattern, in characters: what a column of a name holds.
const TEXT_MAX_CHARS: usize = 255;
const AUDIENCES_MAX: usize = 20;
const RULES_MAX: usize = 100;
const PATTERNS_MAX: usize = 100;
/// The longest condition, in characters.
const WHEN_MAX_CHARS: usize = 2000;
const CA_MAX_CHARS: usize = 65_536;

/// Reads a registration, or notes faults and answers none.
pub fn read(fields: Fields<'_>, expressions: &Arc<Expressions>) -> Option<IssuerRegistration> {
    fields.describe("issuer", || text_schema(TEXT_MAX_CHARS));
    let issuer = fields.required("issuer", |fields, field| {
        text(fields, field, TEXT_MAX_CHARS)
    });
    fields.describe("audiences", || {
        list_schema(&text_schema(TEXT_MAX_CHARS), 1, AUDIENCES_MAX)
    });
    let audiences = fields.required("audiences", |fields, field| {
        let list = bounded(fields, field, 1, AUDIENCES_MAX)?;
        each_text(fields, field, list, TEXT_MAX_CHARS)
    });
    let algorithms = algorithms(&fields);
    let keys = key_source(&fields, issuer.as_deref());
    let ca = authorities(&fields);
    let proxy = proxy(&fields);
    let rules = fields.each("rules", RULES_MAX, |fields| read_rule(fields, expressions));
    fields.finish();
    Some(IssuerRegistration {
        issuer: issuer?,
        audiences: audiences?,
        algorithms: algorithms?,
        keys: keys?,
        ca: ca?,
        proxy: proxy?,
        rules,
        expressions: expressions.clone(),
    })
}

fn algorithms(fields: &Fields<'_>) -> Option<Vec<JwtAlgorithm>> {
    let known = words(JwtAlgorithm::ALL, JwtAlgorithm::as_str);
    fields.describe("algorithms", || {
        let mut schema = list_schema(&json!({"enum": known}), 1, JwtAlgorithm::ALL.len());
        schema["default"] = json!([JwtAlgorithm::DEFAULT.as_str()]);
        schema
    });
    if !fields.has("algorithms") {
        fields.list("algorithms");
        return Some(vec![JwtAlgorithm::DEFAULT]);
    }
    let list = bounded(fields, "algorithms", 1, JwtAlgorithm::ALL.len())?;
    each(fields, "algorithms", list, |value| {
        let named = value.as_str().and_then(JwtAlgorithm::parse);
        named.ok_or_else(|| format!("must be one of {}", known.join(", ")))
    })
}

/// Keys by a URL, registered ones, or else by discovery.
fn key_source(fields: &Fields<'_>, issuer: Option<&str>) -> Option<KeySource> {
    fields.describe("jwks_url", || text_schema(2048));
    let url = fields.text("jwks_url");
    fields.describe(
        "jwks",
        || json!({"type": "object", "additionalProperties": true}),
    );
    let jwks = fields.get("jwks");
    match (url, jwks) {
        (Some(_), Some(_)) => {
            fields.fault(
                "jwks",
                "must not stand beside jwks_url: keys come from one place",
            );
            None
        }
        (Some(url), None) => match fetched_from(url) {
            Ok(()) => Some(KeySource::Url(url.to_owned())),
            Err(why) => {
                fields.fault("jwks_url", why);
                None
            }
        },
        (None, Some(jwks)) => match KeySet::registered(jwks) {
            Ok(keys) => Some(KeySource::Registered(jwks.clone(), Arc::new(keys))),
            Err(error) => {
                fields.fault("jwks", error.to_string());
                None
            }
        },
        (None, None) => {
            if let Err(why) = fetched_from(issuer?) {
                let why =
                    format!("{why}, for its keys are found below it; or give jwks_url or jwks");
                fields.fault("issuer", why);
                return None;
            }
            Some(KeySource::Discovery)
        }
    }
}

fn fetched_from(text: &str) -> Result<(), String> {
    let url = Url::parse(text).map_err(|_| "must be a URL, such as https://…".to_owned())?;
    check_url(&url)
}

fn authorities(fields: &Fields<'_>) -> Option<Option<String>> {
    fields.describe("ca", || text_schema(CA_MAX_CHARS));
    if !fields.has("ca") {
        fields.text("ca");
        return Some(None);
    }
    let pem = text(fields, "ca", CA_MAX_CHARS)?;
    let mut certificates = CertificateDer::pem_slice_iter(pem.as_bytes());
    if !matches!(certificates.next(), Some(Ok(_))) || certificates.any(|one| one.is_err()) {
        fields.fault("ca", "must hold certificates in PEM");
        return None;
    }
    Some(Some(pem))
}

fn proxy(fields: &Fields<'_>) -> Option<ProxyChoice> {
    let Some(name) = fields.text("proxy") else {
        return Some(ProxyChoice::Unsaid);
    };
    let named = ProxyChoice::named(name);
    named.map_err(|why| fields.fault("proxy", why)).ok()
}

fn read_rule(fields: Fields<'_>, expressions: &Expressions) -> Option<Rule> {
    describe_rule(&fields);
    let when = fields.required("when", |fields, field| {
        let source = text(fields, field, WHEN_MAX_CHARS)?;
        let read = rule::condition(&source, expressions);
        read.map_err(|why| fields.fault(field, why)).ok()
    });
    let scopes = fields.required("scopes", |fields, field| {
        let list = bounded(fields, field, 1, Scope::ALL.len())?;
        each(fields, field, list, |value| {
            let known = || words(Scope::ALL, Scope::as_str).join(", ");
            let named = value.as_str().and_then(Scope::parse);
            named.ok_or_else(|| format!("must be one of {}", known()))
        })
    });
    let patterns = |field| {
        if !fields.has(field) {
            fields.list(field);
            return Some(None);
        }
        let list = bounded(&fields, field, 0, PATTERNS_MAX)?;
        let texts = each_text(&fields, field, list, TEXT_MAX_CHARS)?;
        Some(Some(texts.into_iter().map(Pattern::new).collect()))
    };
    let (realms, keys) = (patterns("realms"), patterns("keys"));
    let coverage = Coverage {
        realms: realms?,
        keys: keys?,
    };
    if let Some(scopes) = &scopes
        && !coverage.is_everything()
    {
        for (index, scope) in scopes.iter().enumerate() {
            if scope.concerns_all() {
                let why = format!(
                    "must not be {scope}: it concerns all realms and secrets, and this rule is \
                     limited to some"
                );
                fields.fault_at(&format!("scopes/{index}"), why);
            }
        }
    }
    fields.finish();
    Some(Rule {
        when: when?,
        scopes: scopes?,
        coverage,
    })
}

fn describe_rule(fields: &Fields<'_>) {
    fields.describe("when", || text_schema(WHEN_MAX_CHARS));
    fields.describe("scopes", || {
        let known = words(Scope::ALL, Scope::as_str);
        list_schema(&json!({"enum": known}), 1, Scope::ALL.len())
    });
    for field in ["realms", "keys"] {
        fields.describe(field, || {
            list_schema(&text_schema(TEXT_MAX_CHARS), 0, PATTERNS_MAX)
        });
    }
}

fn text_schema(max: usize) -> Value {
    json!({"type": "string", "minLength": 1, "maxLength": max})
}

fn list_schema(items: &Value, min: usize, max: usize) -> Value {
    json!({"type": "array", "minItems": min, "maxItems": max, "items": items})
}

fn text(fields: &Fields<'_>, field: &'static str, max: usize) -> Option<String> {
    let text = fields.text(field)?;
    match is_bounded(text, max) {
        true => Some(text.to_owned()),
        false => {
            fields.fault(field, format!("must have 1 to {max} characters"));
            None
        }
    }
}

fn is_bounded(text: &str, max: usize) -> bool {
    !text.is_empty() && text.chars().count() <= max
}

fn bounded<'a>(
    fields: &Fields<'a>,
    field: &'static str,
    min: usize,
    max: usize,
) -> Option<&'a [Value]> {
    let list = fields.list(field)?;
    match (min..=max).contains(&list.len()) {
        true => Some(list),
        false => {
            fields.fault(field, format!("must hold {min} to {max} entries"));
            None
        }
    }
}

/// Each once, in their order.
fn each<T: PartialEq>(
    fields: &Fields<'_>,
    field: &str,
    list: &[Value],
    read: impl Fn(&Value) -> Result<T, String>,
) -> Option<Vec<T>> {
    let (mut all, mut good) = (Vec::new(), true);
    for (index, value) in list.iter().enumerate() {
        match read(value) {
            Ok(one) if all.contains(&one) => {}
            Ok(one) => all.push(one),
            Err(why) => {
                fields.fault_at(&format!("{field}/{index}"), why);
                good = false;
            }
        }
    }
    good.then_some(all)
}

fn each_text(fields: &Fields<'_>, field: &str, list: &[Value], max: usize) -> Option<Vec<String>> {
    each(fields, field, list, |value| {
        let text = value.as_str().filter(|text| is_bounded(text, max));
        text.map(str::to_owned)
            .ok_or_else(|| format!("must be a text of 1 to {max} characters"))
    })
}
