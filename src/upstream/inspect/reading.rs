//! How an answer is read in a dry run: field by field, so that all that is wrong is seen at once.

use secrecy::SecretString;
use serde_json::Value;

use crate::foundation::clock::Timeline;
use crate::realm::document::{AnswerRule, Extraction, StatedExpiry};
use crate::realm::expression::Expression;
use crate::realm::failure::Failure;
use crate::secret::params::mask;
use crate::token::expiry::Expiry;
use crate::upstream::absence::Absence;
use crate::upstream::answer::{AnswerReader, Issued, Unusable};
use crate::upstream::obtained::refuse_expired;
use crate::upstream::parsed::Parsed;
use crate::upstream::shown::masked_value;
use crate::upstream::token_request::{TokenRequest, served};

/// How one field of an answer was read.
#[derive(Clone, Debug)]
pub struct ReadingStep {
    /// The field of the realm document.
    pub field: String,
    /// The path or the expression it was read by; absent where none is given.
    pub by: Option<String>,
    /// What was found, masked where it is a credential.
    pub found: Option<Value>,
    /// What is to be known about it; the reason where nothing was found.
    pub detail: Option<String>,
}

/// How an answer was read.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    pub steps: Vec<ReadingStep>,
    /// None: a token would be stored.
    pub failure: Option<Failure>,
}

impl Reading {
    fn note(
        &mut self,
        field: &str,
        by: Option<String>,
        found: Option<Value>,
        detail: Option<String>,
    ) {
        self.steps.push(ReadingStep {
            field: field.to_owned(),
            by,
            found,
            detail,
        });
    }
}

/// Reads the answers of one attempt.
pub(super) struct Readings<'a> {
    pub request: &'a TokenRequest<'a>,
}

impl Readings<'_> {
    pub fn answer(
        &self,
        parsed: &Parsed,
        success: Option<&Expression>,
        rule: Option<&AnswerRule>,
    ) -> Reading {
        let (document, scope) = (self.request.document, &self.request.scope);
        let expressions = &self.request.upstream.expressions;
        let reader = AnswerReader::new(
            parsed,
            success,
            &document.error,
            scope,
            expressions,
            self.request.requested_at,
        );
        let mut reading = Reading::default();
        let by = success.map(|condition| condition.source().to_owned());
        match reader.is_success() {
            Ok(good) => {
                let unmet = success.filter(|_| !good);
                let detail = unmet.and_then(|condition| said(reader.absence_in(condition)));
                reading.note("success", by, Some(good.into()), detail);
            }
            Err(failure) => reading.note("success", by, None, Some(failure.detail)),
        }
        if let Err(failure) = reader.check() {
            match (&failure.code, &document.error.code) {
                (None, Some(code)) => {
                    let by = Some(code.source().to_owned());
                    reading.note("error.code", by, None, said(reader.absence_in(code)));
                }
                _ => self.note_code(&failure, &mut reading),
            }
            reading.failure = Some(failure);
            return reading;
        }
        if let Some(skew) = reader.clocks.skew() {
            reading.note("headers.date", None, None, Some(skew));
        }
        if let Some(rule) = rule {
            self.read_token(&reader, rule, &mut reading);
        }
        reading
    }

    /// Field by field, so that all that is wrong is seen at once.
    fn read_token(&self, reader: &AnswerReader<'_>, rule: &AnswerRule, reading: &mut Reading) {
        let (field, by) = named(&rule.token, "token_path", "token");
        let token = reader.token(&rule.token);
        match &token {
            Ok(token) => {
                let shown = mask(&SecretString::from(token.as_str()));
                reading.note(field, Some(by), Some(shown.into()), None);
            }
            Err(failure) => {
                reading.note(field, Some(by), None, Some(failure.detail.clone()));
            }
        }
        let life = reader.life(rule, token.as_deref().unwrap_or_default());
        let (field, by) = match &rule.expiry.stated {
            Some(StatedExpiry::In(extraction, _)) => {
                let (field, by) = named(extraction, "expires_in_path", "expires_in");
                (field, Some(by))
            }
            Some(StatedExpiry::At(extraction, _)) => {
                let (field, by) = named(extraction, "expires_at_path", "expires_at");
                (field, Some(by))
            }
            None => ("default_expires_in_s", None),
        };
        match &life {
            Ok(life) => {
                let (found, mut detail) = self.shown_expiry(life.expiry(self.request.requested_at));
                let stated = rule.expiry.stated.as_ref();
                let absence = stated.and_then(|stated| reader.absence(stated.extraction()));
                if let Some(absence) = absence {
                    let otherwise = format!("by default, or by the token itself: {absence}");
                    detail = Some(
                        detail.map_or(otherwise.clone(), |known| format!("{known}, {otherwise}")),
                    );
                }
                reading.note(field, by, Some(found), detail);
            }
            Err(failure) => reading.note(field, by, None, Some(failure.detail.clone())),
        }
        if rule.refresh_token.is_some() {
            self.read_refresh(reader, rule, reading);
        }
        if !rule.extra.is_empty() {
            let (found, detail) = match reader.extra(rule) {
                Ok(extra) => {
                    let left_out = rule
                        .extra
                        .iter()
                        .filter(|(name, _)| extra.get(name).is_none());
                    let why = left_out.filter_map(|(name, expression)| {
                        let absence = reader.absence_in(expression)?;
                        Some(format!("{name}: {absence}"))
                    });
                    let why = why.reduce(|all, one| format!("{all}. {one}"));
                    (Some(masked_value("", &extra, &self.request.scope)), why)
                }
                Err(failure) => (None, Some(failure.detail)),
            };
            reading.note("extra", None, found, detail);
        }
        match reader.issued(rule) {
            Ok(issued) => {
                let expiry = issued.payload.expiry;
                reading.failure = refuse_expired(expiry, self.request.requested_at).err();
                self.read_served(&issued, reading);
            }
            Err(Unusable { failure, .. }) => {
                self.note_code(&failure, reading);
                reading.failure = Some(failure);
            }
        }
    }

    fn read_refresh(&self, reader: &AnswerReader<'_>, rule: &AnswerRule, reading: &mut Reading) {
        let Some(extraction) = &rule.refresh_token else {
            return;
        };
        let (field, by) = named(extraction, "refresh_token_path", "refresh_token_from");
        let renewed = reader.refresh(rule);
        let (found, detail) = match &renewed {
            Ok(Some(renewed)) => (Some(mask(&renewed.token).into()), None),
            Ok(None) if reader.is_harmed(extraction) => (
                None,
                Some("holds a character that cannot be represented: it is not used".to_owned()),
            ),
            Ok(None) => {
                let none = match self.request.can_refresh {
                    true => "the answer holds none: the old one is kept",
                    false => "the answer holds none",
                };
                let absence = said(reader.absence(extraction));
                let detail =
                    absence.map_or(none.to_owned(), |absence| format!("{none}; {absence}"));
                (None, Some(detail))
            }
            Err(failure) => (None, Some(failure.detail.clone())),
        };
        reading.note(field, Some(by), found, detail);
        let Some(path) = &rule.refresh_expires_in_path else {
            return;
        };
        let life = renewed.ok().flatten().and_then(|renewed| renewed.life);
        let (found, detail) = match life {
            Some(life) => (Some((life.0 / 1000).into()), Some("seconds".to_owned())),
            None => {
                let none = "the answer holds none that can be read: it is taken not to end";
                let absence = said(reader.absence(&Extraction::Path(path.clone())));
                let detail =
                    absence.map_or(none.to_owned(), |absence| format!("{none}; {absence}"));
                (None, Some(detail))
            }
        };
        reading.note("refresh_expires_in_path", Some(path.clone()), found, detail);
    }

    /// How the token would be served.
    fn read_served(&self, issued: &Issued, reading: &mut Reading) {
        let document = self.request.document;
        if document.serving.is_none() {
            return;
        }
        let (expressions, scope) = (&self.request.upstream.expressions, &self.request.scope);
        let payload = &issued.payload;
        match served(document, expressions, scope, &payload.token, &payload.extra) {
            Ok(served) => {
                reading.note("token_template", None, Some(mask(&served).into()), None);
            }
            Err(failure) => {
                let why = Some(failure.detail.clone());
                reading.note("token_template", None, None, why);
                reading.failure = Some(failure);
            }
        }
    }

    /// The code that the class of a failure comes from.
    fn note_code(&self, failure: &Failure, reading: &mut Reading) {
        let Some(code) = &failure.code else { return };
        let by = self.request.document.error.code.as_ref();
        let by = by.map(|code| code.source().to_owned());
        let class = format!("class {}", failure.class.as_str());
        reading.note("error.code", by, Some(code.as_str().into()), Some(class));
    }

    fn shown_expiry(&self, expiry: Expiry) -> (Value, Option<String>) {
        match expiry {
            Expiry::Never => ("never".into(), None),
            Expiry::At(end) => {
                let left = end.since(self.request.requested_at);
                let detail = match left.0 {
                    ..=0 => "has passed already: the token would be refused".to_owned(),
                    ms => format!("{} s from now", ms / 1000),
                };
                (end.to_rfc3339().into(), Some(detail))
            }
        }
    }

    /// How a token that was made here would be read and served.
    pub fn minted(&self, rule: &AnswerRule, made: Result<Issued, Failure>) -> Reading {
        let (field, by) = named(&rule.token, "token_path", "token");
        let mut reading = Reading::default();
        match made {
            Ok(issued) => {
                reading.note(
                    field,
                    Some(by),
                    Some(mask(&issued.payload.token).into()),
                    None,
                );
                let (found, detail) = self.shown_expiry(issued.payload.expiry);
                reading.note("expiry", None, Some(found), detail);
                self.read_served(&issued, &mut reading);
            }
            Err(failure) => {
                reading.note(field, Some(by), None, Some(failure.detail.clone()));
                reading.failure = Some(failure);
            }
        }
        reading
    }
}

fn said(absence: Option<Absence>) -> Option<String> {
    absence.map(|absence| absence.to_string())
}

fn named<'a>(extraction: &Extraction, path: &'a str, expression: &'a str) -> (&'a str, String) {
    match extraction {
        Extraction::Path(at) => (path, at.clone()),
        Extraction::Expression(by) => (expression, by.source().to_owned()),
    }
}
