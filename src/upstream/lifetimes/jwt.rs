//! The dates in a token that is a JWT (RFC 7519, section 4.1). Only they are taken from it, so
//! the signature does not matter here.

use base64::Engine;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::Value;

use super::moment_of;
use crate::foundation::clock::EpochMs;
use crate::realm::date_form::DateForm;

/// Some write the other alphabet, or padding, though RFC 7515, section 2, has neither.
const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);

/// When a JWT ends, and when it was issued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JwtDates {
    pub expires_at: EpochMs,
    pub issued_at: Option<EpochMs>,
}

impl JwtDates {
    /// None where the token is no JWT, or does not say when it ends.
    pub fn of(token: &str) -> Option<Self> {
        let mut parts = token.split('.');
        let (_, claims, _) = (parts.next()?, parts.next()?, parts.next()?);
        let decode = |alphabet| GeneralPurpose::new(alphabet, LENIENT).decode(claims).ok();
        let claims = decode(&URL_SAFE).or_else(|| decode(&STANDARD))?;
        let claims: Value = serde_json::from_slice(&claims).ok()?;
        let date = |name: &str| moment_of(claims.get(name)?, &DateForm::default()).ok();
        Some(Self {
            expires_at: date("exp")?,
            issued_at: date("iat"),
        })
    }
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::{STANDARD as PADDED, URL_SAFE_NO_PAD};
    use serde_json::json;

    use super::*;

    #[test]
    fn the_dates_of_a_jwt_are_read_however_it_is_encoded() {
        let claims = json!({"exp": 1_767_323_045, "iat": 1_767_319_445.5, "x": "?>é"}).to_string();
        let dates = Some(JwtDates {
            expires_at: EpochMs(1_767_323_045_000),
            issued_at: Some(EpochMs(1_767_319_445_500)),
        });
        for encoded in [URL_SAFE_NO_PAD.encode(&claims), PADDED.encode(&claims)] {
            assert_eq!(JwtDates::of(&format!("h.{encoded}.s")), dates);
        }
        for claims in [
            json!({}),
            json!({"exp": "soon"}),
            json!({"exp": 5}),
            json!([]),
        ] {
            let encoded = URL_SAFE_NO_PAD.encode(claims.to_string());
            assert_eq!(JwtDates::of(&format!("h.{encoded}.s")), None, "{claims}");
        }
        for token in ["", "opaque", "a.b", "a.é.c"] {
            assert_eq!(JwtDates::of(token), None, "{token}");
        }
    }
}
