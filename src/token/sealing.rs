//! Where in a row each part of a token is sealed.

use secrecy::{ExposeSecret, SecretString};

use token_server_entity::{candidate, token};

use crate::foundation::ids::SecretId;
use crate::foundation::sealing::{KeyRing, Sealed, SealedPlace};

/// What of a token is sealed, each part for its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SealedPart {
    Token,
    Served,
    Extra,
    RefreshToken,
}

impl SealedPart {
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
pub fn seal(secret: SecretId, part: SealedPart, plain: &SecretString, ring: &KeyRing) -> Sealed {
    let row = secret.to_string();
    ring.seal(&place(&row, part), plain.expose_secret().as_bytes())
}

pub(super) fn place(row: &str, part: SealedPart) -> SealedPlace<'_> {
    SealedPlace {
        table: "ts_token",
        row,
        column: part.name(),
    }
}

/// Every sealed column of a row, but for the code that authenticates it.
pub(super) fn sealed_parts(row: &mut token::Model) -> [(SealedPart, Option<&mut Sealed>); 4] {
    [
        (SealedPart::Token, row.token.as_mut()),
        (SealedPart::Served, row.served.as_mut()),
        (SealedPart::Extra, row.extra.as_mut()),
        (SealedPart::RefreshToken, row.refresh_token.as_mut()),
    ]
}

/// The same of a candidate, which is sealed for the same row.
pub(super) fn candidate_parts(
    row: &mut candidate::Model,
) -> [(SealedPart, Option<&mut Sealed>); 4] {
    [
        (SealedPart::Token, Some(&mut row.token)),
        (SealedPart::Served, row.served.as_mut()),
        (SealedPart::Extra, row.extra.as_mut()),
        (SealedPart::RefreshToken, Some(&mut row.refresh_token)),
    ]
}
