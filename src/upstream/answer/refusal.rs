//! Why a provider refused, and what follows: its code, its message, the class of the failure.

use reqwest::StatusCode;
use reqwest::header::RETRY_AFTER;

use super::AnswerReader;
use crate::foundation::clock::Ms;
use crate::realm::document::Declared;
use crate::realm::expression::Expression;
use crate::realm::failure::{Failure, FailureClass, ProviderRefusal};
use crate::upstream::lifetimes::retry_after;
use crate::upstream::lookup::{errcode, text_at};
use crate::upstream::token_like::without_tokens;

/// Longer codes and messages of providers are cut.
const CODE_MAX_CHARS: usize = 100;
const MESSAGE_MAX_CHARS: usize = 300;
/// RFC 6749, section 5.2: the refresh token is invalid, expired, revoked or spent.
const INVALID_GRANT: &str = "invalid_grant";
/// Codes that the same request will meet again: RFC 6749, sections 5.2 and 4.1.2.1 (the last two
/// of it), RFC 8707, section 2, and RFC 8628, section 3.5.
const OAUTH_PERMANENT: [&str; 10] = [
    "invalid_request",
    "invalid_client",
    INVALID_GRANT,
    "unauthorized_client",
    "unsupported_grant_type",
    "invalid_scope",
    "access_denied",
    "unsupported_response_type",
    "invalid_target",
    "expired_token",
];
/// Codes that say the request may be made again: RFC 6749, section 4.1.2.1, and RFC 8628, section
/// 3.5.
const OAUTH_TRANSIENT: [&str; 4] = [
    "temporarily_unavailable",
    "server_error",
    "slow_down",
    "authorization_pending",
];
/// Where providers write a message, and the document does not say where.
const MESSAGES: [&str; 5] = [
    "errmsg",
    "error_description",
    "error.message",
    "message",
    "error_message",
];

impl AnswerReader<'_> {
    /// The provider's own error code, where the answer holds one.
    pub(super) fn code(&self) -> Option<String> {
        let body = self.parsed.body();
        self.stated(&self.error.code)
            .or_else(|| errcode(body))
            .or_else(|| text_at(body, "error"))
    }

    /// What an expression gives as text; none where it gives none.
    fn stated(&self, expression: &Option<Expression>) -> Option<String> {
        let value = self.context.evaluate("error", expression.as_ref()?).ok()?;
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
        let masked = without_tokens(&self.scope.mask(&printable));
        masked.chars().take(max_chars).collect()
    }

    fn retry_after(&self) -> Option<Ms> {
        let text = self.parsed.headers.get(RETRY_AFTER)?.to_str().ok()?;
        retry_after(text, self.clocks.date, self.clocks.sent_at)
    }

    /// Why the provider refused, and what follows.
    pub fn refusal(&self) -> Failure {
        let (status, body) = (self.parsed.status, self.parsed.body());
        let rule = self.error;
        let code = self.code();
        let message = self
            .stated(&rule.message)
            .or_else(|| MESSAGES.iter().find_map(|place| text_at(body, place)));
        let declared = rule.declared(code.as_deref(), message.as_deref());
        let (class, refusal) = match declared {
            Some(declared) => (declared.class(), ProviderRefusal::Reasoned),
            None => class_of(status, code.as_deref()),
        };
        let grant_refused = match declared {
            Some(declared) => declared == Declared::InvalidGrant,
            None => code.as_deref() == Some(INVALID_GRANT),
        };
        let code = code.map(|code| self.shown(&code, CODE_MAX_CHARS));
        let mut detail = format!("the provider answered {}", status.as_u16());
        if let Some(code) = &code {
            detail = format!("{detail}, code {code}");
        }
        let unexplained = code.is_none() && message.is_none();
        if let Some(message) = message {
            detail = format!("{detail}: {}", self.shown(&message, MESSAGE_MAX_CHARS));
        }
        if unexplained {
            detail.push_str(&self.unexplained());
        }
        if let Some(skew) = self.clocks.skew() {
            detail = format!("{detail}; {skew}");
        }
        if let Some(fault) = self.parsed.unreadable() {
            detail = format!("{detail}; {}", self.masked(fault).detail);
        }
        Failure {
            code,
            grant_refused,
            refusal,
            retry_after: self.retry_after(),
            secret_scoped: declared.is_some(),
            ..Failure::new(class, detail)
        }
    }
}

/// A status is no verdict: only a code that says so is believed at once.
fn class_of(status: StatusCode, code: Option<&str>) -> (FailureClass, ProviderRefusal) {
    let says = |codes: &[&str]| code.is_some_and(|code| codes.contains(&code));
    match status {
        StatusCode::TOO_MANY_REQUESTS => (FailureClass::RateLimited, ProviderRefusal::Reasoned),
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY => {
            (FailureClass::Transient, ProviderRefusal::No)
        }
        _ if status.is_server_error() => (FailureClass::Transient, ProviderRefusal::No),
        _ if says(&OAUTH_PERMANENT) => (FailureClass::Permanent, ProviderRefusal::Reasoned),
        _ if says(&OAUTH_TRANSIENT) => (FailureClass::Transient, ProviderRefusal::Reasoned),
        _ => (FailureClass::Transient, ProviderRefusal::Unreasoned),
    }
}
