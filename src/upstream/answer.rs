//! Reads a provider's answer: whether it is a success, the token, how long it lives.

use reqwest::StatusCode;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use secrecy::SecretString;
use serde_json::Value;

use super::lifetimes::{http_date, jwt_expiry, length_of, moment_of};
use super::parsed::{Parsed, is_harmed};
use super::scope::Scope;
use crate::foundation::clock::{EpochMs, Ms, Timeline};
use crate::realm::document::{AnswerRule, ErrorRule, ExpiryUnit, Extraction, StatedExpiry};
use crate::realm::expression::{Expression, Expressions, to_json};
use crate::realm::failure::{Failure, FailureClass};

/// Longer codes and messages of providers are cut.
const CODE_MAX_CHARS: usize = 100;
const MESSAGE_MAX_CHARS: usize = 300;
/// RFC 6749, section 5.2: the refresh token is invalid, expired, revoked or spent.
const INVALID_GRANT: &str = "invalid_grant";
/// RFC 6749, section 5.2: codes that the same request will meet again.
const OAUTH_PERMANENT: [&str; 6] = [
    "invalid_request",
    "invalid_client",
    INVALID_GRANT,
    "unauthorized_client",
    "unsupported_grant_type",
    "invalid_scope",
];

/// How long a token lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    For(Ms),
    Until(EpochMs),
    Endless,
}

/// A refresh token as an answer gave it.
#[derive(Debug)]
pub(super) struct Renewed {
    pub token: SecretString,
    pub life: Option<Ms>,
}

/// A token as an answer gave it.
#[derive(Debug)]
pub(super) struct Issued {
    pub token: SecretString,
    pub token_type: Option<String>,
    pub life: Life,
    pub refresh: Option<Renewed>,
    /// Null where the realm takes nothing beside the token.
    pub extra: Value,
}

/// Reads one answer by a document's rules.
pub(super) struct Reader<'a> {
    pub parsed: &'a Parsed,
    pub success: Option<&'a Expression>,
    pub error: &'a ErrorRule,
    pub scope: &'a Scope,
    pub expressions: &'a Expressions,
    context: minijinja::Value,
}

impl<'a> Reader<'a> {
    pub fn new(
        parsed: &'a Parsed,
        success: Option<&'a Expression>,
        error: &'a ErrorRule,
        scope: &'a Scope,
        expressions: &'a Expressions,
    ) -> Self {
        Self {
            context: scope.with(parsed.scope()),
            parsed,
            success,
            error,
            scope,
            expressions,
        }
    }

    /// Whether it is a good answer; otherwise what went wrong.
    pub fn check(&self) -> Result<(), Failure> {
        if self.is_success()? {
            // What is not of its form is no success, whatever the status says.
            let fault = self.parsed.fault.as_ref();
            fault.map_or(Ok(()), |fault| Err(self.masked(fault)))
        } else {
            Err(self.refusal())
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
            Some(condition) => self
                .expressions
                .evaluate(condition, &self.context)
                .map(|value| value.is_true())
                .map_err(|error| Failure::internal(format!("success: {error}"))),
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

    pub fn issued(&self, rule: &AnswerRule) -> Result<Issued, Failure> {
        self.check()?;
        let token = match self.token(&rule.token) {
            // By default no token is no success either: the provider may say why.
            Err(_) if self.success.is_none() && self.code().is_some() => {
                return Err(self.refusal());
            }
            token => token?,
        };
        let life = self.life(rule, &token)?;
        Ok(Issued {
            token_type: text_at(self.parsed.body(), "token_type"),
            life,
            token: SecretString::from(token),
            refresh: self.refresh(rule)?,
            extra: self.extra(rule)?,
        })
    }

    /// A value that the answer holds; none where it does not.
    fn value(&self, name: &str, extraction: &Extraction) -> Result<Option<Value>, Failure> {
        match extraction {
            Extraction::Path(path) => Ok(look_up(self.parsed.body(), path).cloned()),
            Extraction::Expression(expression) => self.evaluated(name, expression),
        }
    }

    fn evaluated(&self, name: &str, expression: &Expression) -> Result<Option<Value>, Failure> {
        let value = self
            .expressions
            .evaluate(expression, &self.context)
            .map_err(|error| Failure::internal(format!("{name}: {error}")))?;
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
            None => Err(Failure::transient(format!(
                "the answer holds no token {place}"
            ))),
        }
    }

    pub fn life(&self, rule: &AnswerRule, token: &str) -> Result<Life, Failure> {
        if let Some(life) = self.stated_life(rule)? {
            return Ok(life);
        }
        if let Some(end) = jwt_expiry(token) {
            return Ok(Life::Until(end));
        }
        match rule.expiry.default_s {
            Some(0) => Ok(Life::Endless),
            Some(secs) => Ok(Life::For(Ms::from_secs(secs))),
            None => Err(Failure::internal(
                "expiry_unknown: the answer does not say when the token expires; set default_expires_in_s",
            )),
        }
    }

    /// What the answer itself says; none where it says nothing.
    fn stated_life(&self, rule: &AnswerRule) -> Result<Option<Life>, Failure> {
        match &rule.expiry.stated {
            None => Ok(None),
            Some(StatedExpiry::In(extraction, unit)) => {
                let Some(value) = self.value("expires_in", extraction)? else {
                    return Ok(None);
                };
                let length = length_of(&value, *unit).ok_or_else(|| unreadable(extraction))?;
                Ok(Some(Life::For(length)))
            }
            Some(StatedExpiry::At(extraction)) => {
                let Some(value) = self.value("expires_at", extraction)? else {
                    return Ok(None);
                };
                let end = moment_of(&value).ok_or_else(|| unreadable(extraction))?;
                Ok(Some(Life::Until(end)))
            }
        }
    }

    pub fn refresh(&self, rule: &AnswerRule) -> Result<Option<Renewed>, Failure> {
        let Some(extraction) = &rule.refresh_token else {
            return Ok(None);
        };
        let token = match self.value("refresh_token_from", extraction)? {
            // What has lost a character can never be sent.
            Some(Value::String(token)) if !token.is_empty() && !is_harmed(&token) => token,
            _ => return Ok(None),
        };
        let path = rule.refresh_expires_in_path.as_deref();
        let life = path
            .and_then(|path| look_up(self.parsed.body(), path))
            .and_then(|value| length_of(value, ExpiryUnit::Seconds))
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

    /// The provider's own error code, where the answer holds one.
    fn code(&self) -> Option<String> {
        let body = self.parsed.body();
        self.stated(&self.error.code)
            .or_else(|| errcode(body))
            .or_else(|| text_at(body, "error"))
    }

    /// What an expression gives as text; none where it gives none.
    fn stated(&self, expression: &Option<Expression>) -> Option<String> {
        let value = self
            .expressions
            .evaluate(expression.as_ref()?, &self.context)
            .ok()?;
        let printable = value
            .as_str()
            .map(str::to_owned)
            .or_else(|| value.is_number().then(|| value.to_string()));
        printable.filter(|text| !text.is_empty())
    }

    /// Printable, without credentials, and short. In this order: what is not printed must
    /// not keep a credential from being found.
    fn shown(&self, text: &str, max_chars: usize) -> String {
        let printable: String = text.chars().filter(|c| !c.is_control()).collect();
        self.scope
            .mask(&printable)
            .chars()
            .take(max_chars)
            .collect()
    }

    /// Why the provider refused, and what follows.
    pub fn refusal(&self) -> Failure {
        let (status, body) = (self.parsed.status, self.parsed.body());
        let rule = self.error;
        let code = self.code();
        let message = self
            .stated(&rule.message)
            .or_else(|| text_at(body, "errmsg"))
            .or_else(|| text_at(body, "error_description"));
        let declared = code.as_ref().and_then(|code| {
            let named = rule.classes.iter().find(|(name, _)| name == code);
            named.map(|(_, class)| *class)
        });
        let grant_refused = code
            .as_ref()
            .is_some_and(|code| code == INVALID_GRANT || rule.invalid_grant.contains(code));
        let class = declared.unwrap_or_else(|| class_of(status, code.as_deref()));
        let code = code.map(|code| self.shown(&code, CODE_MAX_CHARS));
        let mut detail = format!("the provider answered {}", status.as_u16());
        if let Some(code) = &code {
            detail = format!("{detail}, code {code}");
        }
        if let Some(message) = message {
            detail = format!("{detail}: {}", self.shown(&message, MESSAGE_MAX_CHARS));
        }
        if let Some(fault) = self.parsed.unreadable() {
            detail = format!("{detail}; {}", self.masked(fault).detail);
        }
        Failure {
            code,
            grant_refused,
            retry_after: retry_after(&self.parsed.headers),
            secret_scoped: declared.is_some(),
            ..Failure::new(class, detail)
        }
    }
}

fn class_of(status: StatusCode, code: Option<&str>) -> FailureClass {
    match status {
        StatusCode::TOO_MANY_REQUESTS => FailureClass::RateLimited,
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => FailureClass::Permanent,
        _ if status.is_redirection() => FailureClass::Permanent,
        _ if status.is_server_error() => FailureClass::Transient,
        _ if code.is_some_and(|code| OAUTH_PERMANENT.contains(&code)) => FailureClass::Permanent,
        _ => FailureClass::Transient,
    }
}

/// A WeChat-style error code other than zero.
fn errcode(body: &Value) -> Option<String> {
    let code = match body.get("errcode")? {
        Value::Number(code) => code.to_string(),
        Value::String(code) => code.clone(),
        _ => return None,
    };
    (code != "0").then_some(code)
}

/// A literal key wins over the dotted path; numbers step into lists.
pub(super) fn look_up<'a>(body: &'a Value, path: &str) -> Option<&'a Value> {
    if let Some(literal) = body.get(path) {
        return Some(literal).filter(|value| !value.is_null());
    }
    path.split('.')
        .try_fold(body, |value, step| match value {
            Value::Array(items) => items.get(step.parse::<usize>().ok()?),
            other => other.get(step),
        })
        .filter(|value| !value.is_null())
}

fn text_at(body: &Value, path: &str) -> Option<String> {
    look_up(body, path)?.as_str().map(str::to_owned)
}

fn unreadable(extraction: &Extraction) -> Failure {
    Failure::transient(match extraction {
        Extraction::Path(path) => format!("the expiry at {path} cannot be read"),
        Extraction::Expression(_) => "the expiry by its expression cannot be read".to_owned(),
    })
}

/// Seconds, or a date; the date is read against the answer's own `Date` header, so that no
/// clock of ours matters.
fn retry_after(headers: &HeaderMap) -> Option<Ms> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(secs) = text.parse::<i64>() {
        return Some(Ms::from_secs(secs.max(0)));
    }
    let until = http_date(text)?;
    let sent = http_date(headers.get(reqwest::header::DATE)?.to_str().ok()?)?;
    Some(until.since(sent).max(Ms::ZERO))
}
