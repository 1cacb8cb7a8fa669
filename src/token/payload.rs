//! A token and what is served with it: the one value that is obtained, stored, remembered and
//! served.

use secrecy::SecretString;
use serde_json::Value;

use super::expiry::Expiry;
use super::sealing::{SealedPart, seal};
use crate::foundation::clock::Timeline;
use crate::foundation::ids::SecretId;
use crate::foundation::sealing::{KeyRing, Sealed};

/// A token and its attributes, open; `T` and `E` are other types where it is kept in another
/// form. An attribute that is served with every token is a field here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenPayload<T = SecretString, E = Value> {
    pub token: T,
    /// RFC 6749, section 5.1; none where the answer held none.
    pub token_type: Option<String>,
    /// Served with it: a JSON object; null where the realm takes nothing beside the token.
    pub extra: E,
    pub expiry: Expiry,
}

/// As it is stored. No `extra` stands for null.
pub type SealedPayload = TokenPayload<Sealed, Option<Sealed>>;

impl<T, E> TokenPayload<T, E> {
    /// The same in another form.
    fn with<U, F>(&self, token: U, extra: F) -> TokenPayload<U, F> {
        TokenPayload {
            token,
            token_type: self.token_type.clone(),
            extra,
            expiry: self.expiry,
        }
    }

    /// RFC 3339; none where it never expires.
    pub fn expires_at(&self) -> Option<String> {
        self.expiry.at().map(Timeline::to_rfc3339)
    }
}

impl<T> TokenPayload<T> {
    /// The same with the token in another form.
    pub fn with_token<U>(&self, token: U) -> TokenPayload<U> {
        self.with(token, self.extra.clone())
    }
}

impl TokenPayload {
    /// Seals it for the row of its secret.
    pub fn seal(&self, secret: SecretId, ring: &KeyRing) -> SealedPayload {
        let extra = (!self.extra.is_null()).then(|| {
            seal(
                secret,
                SealedPart::Extra,
                &self.extra.to_string().into(),
                ring,
            )
        });
        self.with(seal(secret, SealedPart::Token, &self.token, ring), extra)
    }
}

impl SealedPayload {
    /// The same with what was sealed opened, the token in the form that it is served in.
    pub fn opened(&self, token: SecretString, extra: Value) -> TokenPayload {
        self.with(token, extra)
    }
}
