//! Reads a provider's answer: whether it is a success, the token, how long it lives.

mod refusal;

use secrecy::SecretString;
use serde_json::Value;

use super::clocks::Clocks;
use super::context::Context;
use super::life::{Life, default_life, life_of_jwt, read_life};
use super::lifetimes::length_of;
use super::lookup::{credential, errcode, look_up, text_at};
use super::parsed::{Parsed, is_harmed};
use super::render::Renderer;
use super::scope::ExpressionScope;
use crate::foundation::clock::{EpochMs, Ms};
use crate::realm::document::{
    AnswerRule, ErrorRule, ExpiryUnit, Extraction, REFRESH_TOKEN, StatedExpiry,
};
use crate::realm::expression::{Expression, Expressions, to_json};
use crate::realm::failure::Failure;
use crate::token::TokenPayload;

/// A refresh token as an answer gave it.
#[derive(Debug)]
pub(super) struct Renewed {
    pub token: SecretString,
    pub life: Option<Ms>,
}

/// An exchange that brought no token which can be used.
#[derive(Debug)]
pub(super) struct Unusable {
    pub failure: Failure,
    /// The refresh token that the answer holds nevertheless: the one before it may be used up.
    pub refresh: Option<Renewed>,
    /// Steps before it were answered.
    pub asked_before: bool,
}

impl From<Failure> for Unusable {
    fn from(failure: Failure) -> Self {
        Self {
            failure,
            refresh: None,
            asked_before: false,
        }
    }
}

/// A token as an answer gave it.
#[derive(Debug)]
pub(super) struct Issued {
    pub payload: TokenPayload,
    pub refresh: Option<Renewed>,
    /// What is to be said of a difference between the provider's clock and ours.
    pub skew: Option<String>,
}

/// Reads one answer by a document's rules.
pub(super) struct AnswerReader<'a> {
    pub parsed: &'a Parsed,
    pub success: Option<&'a Expression>,
    pub error: &'a ErrorRule,
    pub scope: &'a ExpressionScope,
    pub expressions: &'a Expressions,
    pub clocks: Clocks,
    context: Context<'a>,
}

impl<'a> AnswerReader<'a> {
    pub fn new(
        parsed: &'a Parsed,
        success: Option<&'a Expression>,
        error: &'a ErrorRule,
        scope: &'a ExpressionScope,
        expressions: &'a Expressions,
        sent_at: EpochMs,
    ) -> Self {
        Self {
            clocks: Clocks::of(&parsed.headers, sent_at),
            context: Context::new(expressions, scope, parsed.scope(), false),
            parsed,
            success,
            error,
            scope,
            expressions,
        }
    }

    /// Whether it is a good answer; otherwise what went wrong.
    pub fn check(&self) -> Result<(), Failure> {
        // What is not of its form is no success, whatever the status or the condition says.
        match (self.is_success()?, &self.parsed.fault) {
            (true, None) => Ok(()),
            (true, Some(fault)) if self.parsed.status.is_success() => Err(self.masked(fault)),
            (_, _) => Err(self.refusal()),
        }
    }

    pub fn is_success(&self) -> Result<bool, Failure> {
        if let Some(fault) = self.parsed.unreadable() {
            // A condition would judge what is not there.
            let good = self.parsed.status.is_success();
            return if good {
                Err(self.masked(fault))
            } else {
                Ok(false)
            };
        }
        match self.success {
            Some(condition) => {
                let value = self.context.evaluate("success", condition)?;
                Ok(value.is_true())
            }
            None => Ok(self.parsed.status.is_success() && errcode(self.parsed.body()).is_none()),
        }
    }

    /// A fault may repeat a name that the provider gave.
    fn masked(&self, fault: &Failure) -> Failure {
        Failure {
            detail: self.scope.mask(&fault.detail),
            ..fault.clone()
        }
    }

    /// Reads each part of the answer by itself: whatever is wrong with one of them, the refresh
    /// token that a successful exchange brought is not lost.
    pub fn issued(&self, rule: &AnswerRule) -> Result<Issued, Unusable> {
        let (refresh, refresh_fault) = match self.refresh(rule) {
            Ok(refresh) => (refresh, None),
            Err(fault) => (None, Some(fault)),
        };
        if let Err(failure) = self.check() {
            let exchanged = self.parsed.status.is_success();
            let refresh = refresh.filter(|_| exchanged);
            return Err(Unusable {
                refresh,
                ..failure.into()
            });
        }
        let token = self.token(&rule.token).map_err(|fault| {
            // No token is no success either where the status refuses, and by default: the
            // provider may say why.
            let refused = !self.parsed.status.is_success();
            let says_why = self.success.is_none() && self.code().is_some();
            match refused || says_why {
                true => self.refusal(),
                false => fault,
            }
        });
        let life = match &token {
            Ok(token) => self.life(rule, token).map(Some),
            // Of a missing token only what the answer says.
            Err(_) => self.stated_life(rule),
        };
        match (token, life, self.extra(rule), refresh_fault) {
            (Ok(token), Ok(Some(life)), Ok(extra), None) => Ok(Issued {
                payload: TokenPayload {
                    token: SecretString::from(token),
                    token_type: text_at(self.parsed.body(), "token_type"),
                    extra,
                    expiry: life.expiry(self.clocks.sent_at),
                },
                refresh,
                skew: self.clocks.skew(),
            }),
            (token, life, extra, refresh_fault) => {
                let faults = [token.err(), life.err(), extra.err(), refresh_fault];
                let failure = together(faults.into_iter().flatten())
                    .unwrap_or_else(|| Failure::transient("the answer holds no token"));
                Err(Unusable {
                    refresh,
                    ..failure.into()
                })
            }
        }
    }

    /// A value that the answer holds; none where it does not.
    fn value(&self, name: &str, extraction: &Extraction) -> Result<Option<Value>, Failure> {
        match extraction {
            Extraction::Path(path) => Ok(look_up(self.parsed.body(), path).cloned()),
            Extraction::Expression(expression) => self.evaluated(name, expression),
        }
    }

    fn evaluated(&self, name: &str, expression: &Expression) -> Result<Option<Value>, Failure> {
        let value = self.context.evaluate(name, expression)?;
        if value.is_undefined() || value.is_none() {
            return Ok(None);
        }
        to_json(&value)
            .map(Some)
            .map_err(|error| Failure::internal(format!("{name} {error}")))
    }

    pub fn token(&self, extraction: &Extraction) -> Result<String, Failure> {
        let place = match extraction {
            Extraction::Path(path) => format!("at {path}"),
            Extraction::Expression(_) => "by the expression token".to_owned(),
        };
        match self.value("token", extraction)? {
            Some(Value::String(token)) if is_harmed(&token) => Err(Failure::transient(format!(
                "the token {place} holds a character that cannot be represented"
            ))),
            Some(Value::String(token)) if !token.is_empty() => Ok(token),
            Some(Value::String(_)) => Err(Failure::transient(format!(
                "the answer's token, {place}, is empty"
            ))),
            Some(_) => Err(Failure::transient(format!(
                "what stands for the token {place} is not a string"
            ))),
            None => {
                let has = self.absence(extraction).map(|absence| absence.has);
                let has = has.map_or_else(String::new, |has| format!("; {has}"));
                Err(Failure::transient(format!(
                    "the answer holds no token {place}{has}"
                )))
            }
        }
    }

    /// How long the token lives: what the answer says, or the token itself if it is a JWT; the
    /// shorter of them, where both say something.
    pub fn life(&self, rule: &AnswerRule, token: &str) -> Result<Life, Failure> {
        let by_token = life_of_jwt(token, &self.clocks);
        match (self.stated_life(rule)?, by_token) {
            (Some(Life::For(stated)), Ok(Some(by_token))) => Ok(Life::For(stated.min(by_token))),
            (Some(stated), _) => Ok(stated),
            (None, Err(implausible)) => Err(implausible),
            (None, Ok(Some(by_token))) => Ok(Life::For(by_token)),
            (None, Ok(None)) => {
                let render = Renderer::new(self.expressions, self.scope, false);
                default_life(&rule.expiry, &render, || self.no_expiry(rule))
            }
        }
    }

    /// What the answer itself says; none where it says nothing.
    fn stated_life(&self, rule: &AnswerRule) -> Result<Option<Life>, Failure> {
        let Some(stated) = &rule.expiry.stated else {
            return Ok(None);
        };
        let name = match stated {
            StatedExpiry::In(..) => "expires_in",
            StatedExpiry::At(..) => "expires_at",
        };
        let value = self.value(name, stated.extraction())?;
        value
            .map(|value| read_life(stated, &value, &self.clocks))
            .transpose()
    }

    /// Where the document's place for it holds none, the name of RFC 6749, section 5.1, does:
    /// a typo must not cost an authorization.
    pub fn refresh(&self, rule: &AnswerRule) -> Result<Option<Renewed>, Failure> {
        let Some(extraction) = &rule.refresh_token else {
            return Ok(None);
        };
        let stated = self.value("refresh_token_from", extraction);
        let by_rule = stated
            .as_ref()
            .ok()
            .and_then(|value| credential(value.as_ref()?));
        let by_name = || credential(look_up(self.parsed.body(), REFRESH_TOKEN)?);
        let salvaged = || {
            let path = match extraction {
                Extraction::Path(path) => path,
                Extraction::Expression(_) => REFRESH_TOKEN,
            };
            credential(look_up(self.parsed.salvaged.as_ref()?, path)?)
        };
        let Some(token) = by_rule.or_else(by_name).or_else(salvaged) else {
            return stated.map(|_| None);
        };
        let path = rule.refresh_expires_in_path.as_deref();
        let life = path
            .and_then(|path| look_up(self.parsed.body(), path))
            .and_then(|value| length_of(value, ExpiryUnit::Seconds).ok())
            .filter(|life| *life > Ms::ZERO);
        Ok(Some(Renewed {
            token: token.into(),
            life,
        }))
    }

    /// Whether a value has lost a character on its way.
    pub fn is_harmed(&self, extraction: &Extraction) -> bool {
        let value = self.value("refresh_token_from", extraction);
        matches!(value, Ok(Some(Value::String(text))) if is_harmed(&text))
    }

    pub fn extra(&self, rule: &AnswerRule) -> Result<Value, Failure> {
        if rule.extra.is_empty() {
            return Ok(Value::Null);
        }
        let mut extra = serde_json::Map::new();
        for (name, expression) in &rule.extra {
            if let Some(value) = self.evaluated(&format!("extra.{name}"), expression)? {
                extra.insert(name.clone(), value);
            }
        }
        Ok(Value::Object(extra))
    }
}

/// All faults of one answer as one; the first decides what follows.
pub(super) fn together(faults: impl Iterator<Item = Failure>) -> Option<Failure> {
    faults.reduce(|first, other| first.and(&other.detail))
}
