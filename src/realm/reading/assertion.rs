//! The assertion: a JWT that is signed anew for each attempt.

use super::reader::DocumentReader;
use crate::foundation::fields::{Fields, escape};
use crate::foundation::signing::{Algorithm, KeyEncoding};
use crate::realm::document::{Argument, Assertion};
use crate::realm::expression::{Names, Template};

/// The longest life of an assertion, in seconds: a year, for tokens that are made here.
const ASSERTION_MAX_S: i64 = 366 * 86_400;
const ASSERTION_DEFAULT_S: i64 = 300;
const SKEW_MAX_S: i64 = 3600;

impl DocumentReader<'_> {
    pub(super) fn assertion(&self, assertion: Fields<'_>) -> Option<Assertion> {
        let algorithm = assertion.required("alg", |fields, field| {
            fields.one_of(field, &Algorithm::CHOICES)
        });
        let key = assertion.required("key", |fields, field| {
            let key = self.text(fields, field)?;
            self.not_of_itself(fields, field, &key);
            Some(key)
        });
        let key_encoding = assertion.one_of("key_encoding", &KeyEncoding::CHOICES);
        let (header, claims) = (
            self.jose_part(&assertion, "header"),
            self.jose_part(&assertion, "claims"),
        );
        let lifetime_s = assertion.number("lifetime_s", 1, ASSERTION_MAX_S);
        let iat_skew_s = assertion.number("iat_skew_s", 0, SKEW_MAX_S);
        let shared = |encoding| {
            matches!(
                encoding,
                KeyEncoding::Hex | KeyEncoding::Base64 | KeyEncoding::Utf8
            )
        };
        // A shared key is text unless the document says otherwise, a private key PEM.
        let takes_shared = algorithm.map(Algorithm::is_shared);
        let key_encoding = key_encoding.unwrap_or(match takes_shared {
            Some(true) => KeyEncoding::Utf8,
            Some(false) | None => KeyEncoding::Pem,
        });
        let is_pem = matches!(key_encoding, KeyEncoding::Pem | KeyEncoding::Base64Pem);
        match takes_shared {
            Some(true) if is_pem => assertion.fault(
                "key_encoding",
                "HS256 takes a shared key: utf8, base64, hex or jwk",
            ),
            Some(false) if shared(key_encoding) => assertion.fault(
                "key_encoding",
                "this alg takes a private key: pem, base64_pem or jwk",
            ),
            _ => {}
        }
        assertion.finish();
        Some(Assertion {
            algorithm: algorithm?,
            key: key?,
            key_encoding,
            header,
            claims,
            lifetime_s: lifetime_s.unwrap_or(ASSERTION_DEFAULT_S),
            iat_skew_s: iat_skew_s.unwrap_or(0),
        })
    }

    fn jose_part(&self, assertion: &Fields<'_>, field: &'static str) -> Vec<(String, Argument)> {
        let entries = assertion.entries(field).into_iter().flatten();
        entries
            .filter_map(|(name, value)| {
                let at = format!("{field}/{}", escape(name));
                let value = self.argument(value, assertion, &at, &Names::new())?;
                if value.names().contains("assertion") {
                    assertion.fault_at(&at, "cannot use the assertion it is part of");
                }
                Some((name.clone(), value))
            })
            .collect()
    }

    fn not_of_itself(&self, fields: &Fields<'_>, field: &str, template: &Template) {
        if template.names().contains("assertion") {
            fields.fault(field, "cannot use the assertion it signs");
        }
    }
}
