//! Where in a row each part of a token is sealed.

use secrecy::{ExposeSecret, SecretString};

use crate::foundation::ids::SecretId;
use crate::foundation::sealing::{KeyRing, Place, Sealed};

/// What of a token is sealed, each part for its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column {
    Token,
    Served,
    Extra,
    RefreshToken,
}

impl Column {
    fn name(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Served => "served",
            Self::Extra => "extra",
            Self::RefreshToken => "refresh_token",
        }
    }
}

/// Seals a part of a token for the row of its secret.
pub fn seal(secret: SecretId, column: Column, plain: &SecretString, ring: &KeyRing) -> Sealed {
    let row = secret.to_string();
    ring.seal(&place(&row, column), plain.expose_secret().as_bytes())
}

pub(super) fn place(row: &str, column: Column) -> Place<'_> {
    Place {
        table: "ts_token",
        row,
        column: column.name(),
    }
}
