//! Bodies of requests about tokens: flush, report, a fixed token.

use poem_openapi::Object;
use serde_json::json;

use crate::api::body::{Document, secret_name};
use crate::foundation::clock::{EpochMs, Ms};
use crate::foundation::fields::Fields;
use crate::foundation::ids::Generation;
use crate::reads::{Ask, Flush, RefusedToken};
use crate::registry::{SecretPatch, SentToken, TokenOrigin};

/// A request to renew a token now.
#[derive(Object)]
#[oai(rename = "FlushRequest")]
pub struct FlushBody {
    realm: String,
    key: String,
    /// Renew only if this is still the current generation.
    generation: Option<i64>,
}

impl Document for FlushBody {
    type Content = Ask;

    fn read(fields: Fields<'_>) -> Option<Ask> {
        let (realm, key) = secret_name(&fields);
        let generation = fields.number("generation", 0, i64::MAX).map(Generation);
        fields.finish();
        Some(Ask {
            realm: realm?,
            key: key?,
            min_ttl: Ms::ZERO,
            flush: Some(Flush::Wished(generation)),
        })
    }
}

/// Word that a provider refused a token.
#[derive(Object)]
#[oai(rename = "ReportRequest")]
pub struct ReportBody {
    realm: String,
    key: String,
    /// Of the token that was refused. This, or the token itself.
    generation: Option<i64>,
    /// The token that was refused.
    token: Option<String>,
    /// The provider's error code, for the log.
    code: Option<String>,
}

/// The longest error code of a report, in characters.
const CODE_MAX_CHARS: usize = 100;

impl Document for ReportBody {
    type Content = Ask;

    fn read(fields: Fields<'_>) -> Option<Ask> {
        let (realm, key) = secret_name(&fields);
        let generation = fields.number("generation", 0, i64::MAX).map(Generation);
        let token = fields.text("token");
        fields.describe(
            "code",
            || json!({"type": "string", "maxLength": CODE_MAX_CHARS}),
        );
        let code = fields.text("code");
        if code
            .as_ref()
            .is_some_and(|code| code.chars().count() > CODE_MAX_CHARS)
        {
            fields.fault(
                "code",
                format!("must not be longer than {CODE_MAX_CHARS} characters"),
            );
        }
        let refused = match (generation, token) {
            (Some(generation), None) => Some(RefusedToken::Generation(generation)),
            (None, Some(token)) => Some(RefusedToken::Token(token.into())),
            (Some(_), Some(_)) => {
                fields.fault("token", "must not stand beside generation");
                None
            }
            (None, None) => {
                fields.fault("generation", "is required, or token");
                None
            }
        };
        fields.finish();
        Some(Ask {
            realm: realm?,
            key: key?,
            min_ttl: Ms::ZERO,
            flush: Some(Flush::Refused {
                refused: refused?,
                code: code.map(str::to_owned),
            }),
        })
    }
}

/// A token that an admin types in.
#[derive(Object)]
#[oai(rename = "FixedToken")]
pub struct FixedBody {
    realm: String,
    key: String,
    token: String,
    /// In milliseconds since the epoch; absent: never.
    expires_at: Option<i64>,
}

impl Document for FixedBody {
    type Content = SecretPatch;

    fn read(fields: Fields<'_>) -> Option<SecretPatch> {
        let (realm, key) = secret_name(&fields);
        fields.describe("token", || json!({"type": "string", "minLength": 1}));
        let token = fields.required("token", |fields, field| {
            let token = fields.text(field)?;
            if token.is_empty() {
                fields.fault(field, "must not be empty");
            }
            Some(token)
        });
        let expires_at = fields.number("expires_at", 0, i64::MAX).map(EpochMs);
        fields.finish();
        Some(SecretPatch {
            realm: realm?,
            key: key?,
            params: Vec::new(),
            token: Some(SentToken {
                token: token?.into(),
                expires_at,
                origin: TokenOrigin::TypedIn,
            }),
        })
    }
}
