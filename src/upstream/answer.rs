//! Reads a provider's answer: whether it is a success, the token, how long it lives.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::DateTime;
use reqwest::StatusCode;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use secrecy::SecretString;
use serde_json::Value;

use super::client::Answer;
use super::request::Scope;
use crate::foundation::clock::{EpochMs, Ms};
use crate::realm::document::{ExpiryRule, ExpiryUnit, LIFETIME_MAX_S, ProviderDocument};
use crate::realm::expression::{Expression, Expressions};
use crate::realm::failure::{Failure, FailureClass};

/// A number this large is milliseconds since the epoch, a smaller one seconds.
const EPOCH_MS_FROM: f64 = 100_000_000_000.0;
/// Longer codes and messages of providers are cut.
const CODE_MAX_CHARS: usize = 100;
const MESSAGE_MAX_CHARS: usize = 300;
/// RFC 6749, section 5.2: codes that the same request will meet again.
const OAUTH_PERMANENT: [&str; 6] = [
    "invalid_request",
    "invalid_client",
    "invalid_grant",
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

/// A token as an answer gave it.
#[derive(Debug)]
pub(super) struct Issued {
    pub token: SecretString,
    pub token_type: Option<String>,
    pub life: Life,
}

pub(super) fn read(
    document: &ProviderDocument,
    answer: &Answer,
    scope: &Scope,
    expressions: &Expressions,
) -> Result<Issued, Failure> {
    let body = serde_json::from_slice::<Value>(&answer.body).ok();
    let reader = Reader {
        document,
        answer,
        body: body.as_ref().unwrap_or(&Value::Null),
        context: answer_scope(answer, body.as_ref(), scope),
        scope,
        expressions,
    };
    if !reader.is_success()? {
        return Err(reader.refusal());
    }
    if body.is_none() {
        return Err(Failure::transient("the answer is not JSON"));
    }
    let token = reader.token()?;
    let life = reader.life(&token)?;
    Ok(Issued {
        token_type: text_at(reader.body, "token_type"),
        life,
        token: SecretString::from(token),
    })
}

struct Reader<'a> {
    document: &'a ProviderDocument,
    answer: &'a Answer,
    body: &'a Value,
    context: minijinja::Value,
    scope: &'a Scope,
    expressions: &'a Expressions,
}

impl Reader<'_> {
    fn is_success(&self) -> Result<bool, Failure> {
        match &self.document.success {
            Some(condition) => self
                .expressions
                .evaluate(condition, &self.context)
                .map(|value| value.is_true())
                .map_err(|error| Failure::ours(format!("success: {error}"))),
            None => Ok(self.answer.status.is_success() && errcode(self.body).is_none()),
        }
    }

    fn token(&self) -> Result<String, Failure> {
        let path = &self.document.token_path;
        match look_up(self.body, path) {
            Some(Value::String(token)) if !token.is_empty() => Ok(token.clone()),
            Some(Value::String(_)) => Err(Failure::transient(format!(
                "the answer's token, at {path}, is empty"
            ))),
            Some(_) => Err(Failure::transient(format!(
                "what stands at {path} is not a string"
            ))),
            None => Err(Failure::transient(format!(
                "the answer holds no token at {path}"
            ))),
        }
    }

    fn life(&self, token: &str) -> Result<Life, Failure> {
        let rule = &self.document.expiry;
        if let Some(life) = stated_life(rule, self.body)? {
            return Ok(life);
        }
        if let Some(end) = jwt_expiry(token) {
            return Ok(Life::Until(end));
        }
        match rule.default_s {
            Some(0) => Ok(Life::Endless),
            Some(secs) => Ok(Life::For(Ms::from_secs(secs))),
            None => Err(Failure::ours(
                "expiry_unknown: the answer does not say when the token expires; set default_expires_in_s",
            )),
        }
    }

    /// Why the provider refused, and what follows.
    fn refusal(&self) -> Failure {
        let status = self.answer.status;
        let rule = &self.document.error;
        let stated = |expression: &Option<Expression>| {
            let value = self
                .expressions
                .evaluate(expression.as_ref()?, &self.context)
                .ok()?;
            let printable = value
                .as_str()
                .map(str::to_owned)
                .or_else(|| value.is_number().then(|| value.to_string()));
            printable.filter(|text| !text.is_empty())
        };
        let code = stated(&rule.code)
            .or_else(|| errcode(self.body))
            .or_else(|| text_at(self.body, "error"));
        let message = stated(&rule.message)
            .or_else(|| text_at(self.body, "errmsg"))
            .or_else(|| text_at(self.body, "error_description"));
        let declared = code.as_ref().and_then(|code| {
            let named = rule.classes.iter().find(|(name, _)| name == code);
            named.map(|(_, class)| *class)
        });
        let class = declared.unwrap_or_else(|| class_of(status, code.as_deref()));
        let mut detail = format!("the provider answered {}", status.as_u16());
        if let Some(code) = code {
            detail = format!(
                "{detail}, code {}",
                clean(&self.scope.mask(&code), CODE_MAX_CHARS)
            );
        }
        if let Some(message) = message {
            detail = format!(
                "{detail}: {}",
                clean(&self.scope.mask(&message), MESSAGE_MAX_CHARS)
            );
        }
        Failure {
            class,
            detail,
            retry_after: retry_after(&self.answer.headers),
            secret_scoped: declared.is_some(),
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

fn answer_scope(answer: &Answer, body: Option<&Value>, scope: &Scope) -> minijinja::Value {
    let headers = answer.headers.iter().filter_map(|(name, value)| {
        Some((
            name.as_str().to_owned(),
            minijinja::Value::from(value.to_str().ok()?),
        ))
    });
    let text = String::from_utf8_lossy(&answer.body);
    let body = body.map_or(minijinja::Value::UNDEFINED, without_nulls);
    scope.with(
        [
            ("body", body),
            ("headers", minijinja::Value::from_pairs(headers)),
            ("status", minijinja::Value::from(answer.status.as_u16())),
            ("text", minijinja::Value::from(text.as_ref())),
        ]
        .into_iter(),
    )
}

/// Null in an answer is as good as absent.
fn without_nulls(value: &Value) -> minijinja::Value {
    match value {
        Value::Null => minijinja::Value::UNDEFINED,
        Value::Array(items) => items.iter().map(without_nulls).collect(),
        Value::Object(fields) => minijinja::Value::from_pairs(
            fields
                .iter()
                .map(|(name, value)| (name.clone(), without_nulls(value))),
        ),
        Value::Bool(flag) => (*flag).into(),
        Value::String(text) => text.as_str().into(),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(whole), _) => whole.into(),
            (None, Some(whole)) => whole.into(),
            (None, None) => number.as_f64().into(),
        },
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
fn look_up<'a>(body: &'a Value, path: &str) -> Option<&'a Value> {
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

/// What the answer itself says; none where it says nothing.
fn stated_life(rule: &ExpiryRule, body: &Value) -> Result<Option<Life>, Failure> {
    if let Some(path) = &rule.in_path
        && let Some(value) = look_up(body, path)
    {
        let length = number_of(value)
            .and_then(|number| length_of(number, rule.in_unit))
            .ok_or_else(|| unreadable(path))?;
        return Ok(Some(Life::For(length)));
    }
    if let Some(path) = &rule.at_path
        && let Some(value) = look_up(body, path)
    {
        let end = moment_of(value).ok_or_else(|| unreadable(path))?;
        return Ok(Some(Life::Until(end)));
    }
    Ok(None)
}

fn unreadable(path: &str) -> Failure {
    Failure::transient(format!("the expiry at {path} cannot be read"))
}

/// A number, or a string that is one.
fn number_of(value: &Value) -> Option<f64> {
    let number = match value {
        Value::Number(number) => number.as_f64()?,
        Value::String(text) => text.trim().parse().ok()?,
        _ => return None,
    };
    number.is_finite().then_some(number)
}

/// A length of life, cut at ten years: a token that long is renewed in time anyway.
fn length_of(number: f64, unit: ExpiryUnit) -> Option<Ms> {
    let ms = match unit {
        ExpiryUnit::Seconds => number * 1000.0,
        ExpiryUnit::Milliseconds => number,
    };
    whole(ms).map(|ms| Ms(ms).min(Ms::from_secs(LIFETIME_MAX_S)))
}

/// The whole part of a number that fits far within 64 bits; larger ones are cut.
fn whole(number: f64) -> Option<i64> {
    const LIMIT: f64 = 9_000_000_000_000_000.0;
    // Within ±2^53 the conversion is exact.
    #[allow(clippy::cast_possible_truncation)]
    number
        .is_finite()
        .then(|| number.clamp(-LIMIT, LIMIT).trunc() as i64)
}

/// Epoch seconds or milliseconds (number or string), RFC 3339, or an HTTP date.
fn moment_of(value: &Value) -> Option<EpochMs> {
    if let Some(number) = number_of(value) {
        let ms = if number >= EPOCH_MS_FROM {
            number
        } else {
            number * 1000.0
        };
        return whole(ms).map(EpochMs);
    }
    let text = value.as_str()?.trim();
    if let Ok(moment) = DateTime::parse_from_rfc3339(text) {
        return Some(EpochMs(moment.timestamp_millis()));
    }
    http_date(text)
}

fn http_date(text: &str) -> Option<EpochMs> {
    let date = httpdate::parse_http_date(text).ok()?;
    let since = date.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(EpochMs(Ms::from(since).0))
}

/// The `exp` claim of a token that is a JWT (RFC 7519, section 4.1.4). Only the date is
/// taken from it, so the signature does not matter here.
fn jwt_expiry(token: &str) -> Option<EpochMs> {
    let mut parts = token.split('.');
    let (_, claims, _) = (parts.next()?, parts.next()?, parts.next()?);
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()?;
    let seconds = claims.get("exp")?.as_f64()?;
    whole(seconds * 1000.0).map(EpochMs)
}

/// Seconds only here; a date needs a clock and is read as seconds from the answer's own
/// `Date` header.
fn retry_after(headers: &HeaderMap) -> Option<Ms> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(secs) = text.parse::<i64>() {
        return Some(Ms::from_secs(secs.max(0)));
    }
    let until = http_date(text)?;
    let sent = http_date(headers.get(reqwest::header::DATE)?.to_str().ok()?)?;
    Some(Ms((until.0 - sent.0).max(0)))
}

/// Printable and short.
fn clean(text: &str, max_chars: usize) -> String {
    text.chars()
        .filter(|c| !c.is_control())
        .take(max_chars)
        .collect()
}
