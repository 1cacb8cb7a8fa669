//! The check value of a sealing key: that the key is the one of its id, and what of the rows was
//! authenticated by the version that wrote it.

use sea_orm::ActiveValue::{NotSet, Set};
use token_server_entity::sealing_key;

use crate::foundation::clock::EpochMs;
use crate::foundation::sealing::{KeyRing, Mark, SealedPlace, is_marked};

/// What a key's check value held before rows were authenticated.
const CHECK_BEFORE: &[u8] = b"token-server";
/// What it held while tokens were not.
const CHECK_BEFORE_TOKENS: &[u8] = b"token-server, rows are authenticated";
/// What it holds since they are.
const CHECK: &[u8] = b"token-server, rows and tokens are authenticated";
/// What its nonce begins with since the secrets that are sealed with the key are authenticated, too.
/// An earlier version starts with such a value, which holds what it knows; and nobody who lacks the
/// key makes one without from it.
const SECRETS_ARE_AUTHENTICATED: Mark = *b"secrets\x01";

fn place(key_id: &str) -> SealedPlace<'_> {
    SealedPlace {
        table: "ts_sealing_key",
        row: key_id,
        column: "check_value",
    }
}

/// What a version authenticated of what it stored; the check value says so, beside that the key
/// is the one of its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum StoredBy {
    BeforeRows,
    BeforeTokens,
    BeforeSecrets,
    Now,
}

pub(super) fn checked(ring: &KeyRing, row: &sealing_key::Model) -> Option<StoredBy> {
    let opened = ring.open(&place(&row.key_id), &row.check_value);
    match opened.ok()?.as_slice() {
        CHECK if is_marked(&row.check_value, &SECRETS_ARE_AUTHENTICATED) => Some(StoredBy::Now),
        CHECK => Some(StoredBy::BeforeSecrets),
        CHECK_BEFORE_TOKENS => Some(StoredBy::BeforeTokens),
        CHECK_BEFORE => Some(StoredBy::BeforeRows),
        _ => None,
    }
}

pub(super) fn check_row(
    ring: &KeyRing,
    key_id: &str,
    now: EpochMs,
) -> Option<sealing_key::ActiveModel> {
    let mark = &SECRETS_ARE_AUTHENTICATED;
    let check_value = ring.seal_marked(key_id, &place(key_id), CHECK, mark)?;
    Some(sealing_key::ActiveModel {
        key_id: Set(key_id.to_owned()),
        check_value: Set(check_value),
        created_at: Set(now),
        seals_since: NotSet,
        seals_mac: NotSet,
    })
}
