//! Whether anything of a stored row was made with a key that this server has under its id.

use token_server_entity::{candidate, token};

use super::TokenRecord;
use super::sealing::{SealedPart, candidate_parts, place, sealed_parts};
use crate::foundation::sealing::{KeyRing, Sealed, key_id};

/// Whether a value of a row that was made with a key of that id opens.
pub fn opens(mut row: token::Model, id: &str, ring: &KeyRing) -> bool {
    let name = row.secret_id.to_string();
    let is_authenticated = row.mac.as_ref().and_then(key_id) == Some(id);
    part_opens(sealed_parts(&mut row), (&name, id), ring)
        || (is_authenticated && TokenRecord::from_row(row).verify(ring).is_ok())
}

/// The same of a candidate.
pub fn candidate_opens(mut row: candidate::Model, id: &str, ring: &KeyRing) -> bool {
    let name = row.secret_id.to_string();
    part_opens(candidate_parts(&mut row), (&name, id), ring)
}

fn part_opens(
    parts: [(SealedPart, Option<&mut Sealed>); 4],
    (row, id): (&str, &str),
    ring: &KeyRing,
) -> bool {
    parts.into_iter().any(|(part, value)| {
        value.is_some_and(|value| {
            key_id(value) == Some(id) && ring.open(&place(row, part), value).is_ok()
        })
    })
}
