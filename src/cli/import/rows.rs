//! The predecessor's rows as they are registered here, or why they cannot be.

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDateTime;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use crate::cli::predecessor::{RealmRow, SecretRow};
use crate::foundation::clock::{EpochMs, Ms, Timeline};
use crate::foundation::ids::{KeyName, RealmId};
use crate::moving::TokenFate;
use crate::registry::{FieldChange, RealmPatch, SecretPatch, SentParam, SentToken, TokenOrigin};
use crate::secret::params::ParamChange;

/// A provider's token that ends later than that has no life that can be believed.
const LIFE_MAX: Ms = Ms::from_secs(10 * 366 * 86_400);

/// A secret that can be registered.
pub(super) struct Readable {
    pub patch: SecretPatch,
    pub token: TokenFate,
    /// The name that it has for its realm, where that is another spelling.
    pub spelled: Option<String>,
}

/// What is known of the realms when secrets are read.
#[derive(Default)]
pub(super) struct KnownRealms {
    /// Whether they are of fixed tokens.
    pub usable: BTreeMap<String, bool>,
    pub refused: BTreeSet<String>,
}

pub(super) fn realm(row: RealmRow) -> Result<RealmPatch, String> {
    let id = RealmId::new(row.id).map_err(|error| format!("its id {error}"))?;
    let config = match row.config.as_deref().map(serde_json::from_str::<Value>) {
        None | Some(Ok(Value::Null)) => FieldChange::Clear,
        Some(Ok(config)) => FieldChange::Set(config),
        Some(Err(error)) => {
            let (line, column) = (error.line(), error.column());
            return Err(format!(
                "its config is not JSON: line {line}, column {column}"
            ));
        }
    };
    let set = |text: Option<String>| text.map_or(FieldChange::Clear, FieldChange::Set);
    Ok(RealmPatch {
        id,
        comment: set(row.comment),
        config,
        logic_code: set(row.logic_code),
    })
}

pub(super) fn is_fixed(patch: &RealmPatch) -> bool {
    patch.config == FieldChange::Clear && patch.logic_code == FieldChange::Clear
}

pub(super) fn secret(
    row: SecretRow,
    spelled: &BTreeMap<String, Vec<String>>,
    realms: &KnownRealms,
    now: EpochMs,
) -> Result<Readable, String> {
    let key = KeyName::new(row.key).map_err(|error| format!("its key {error}"))?;
    let found = spelled.get(&row.realm).map_or(&[][..], Vec::as_slice);
    let id = match found {
        _ if found.contains(&row.realm) => row.realm.as_str(),
        [] => return Err("there is no such realm".to_owned()),
        [one] => one.as_str(),
        several => {
            let several = several.join(", ");
            return Err(format!("its realm may be any of {several}"));
        }
    };
    let Some(is_fixed) = realms.usable.get(id) else {
        return Err(match realms.refused.contains(id) {
            true => "its realm is refused".to_owned(),
            false => "there is no such realm".to_owned(),
        });
    };
    let realm = RealmId::new(id).map_err(|error| format!("its realm {error}"))?;
    let end = row.expires_at.as_deref().map(end).transpose()?;
    let token = row.token.filter(|token| !token.expose_secret().is_empty());
    let fate = match (&token, end) {
        (None, _) => TokenFate::None,
        (Some(_), Some(end)) if end <= now => TokenFate::Expired,
        (Some(_), Some(end)) if !is_fixed && end.since(now) > LIFE_MAX => TokenFate::Implausible,
        (Some(_), None) if !is_fixed => TokenFate::NoExpiry,
        (Some(_), end) => TokenFate::Kept(end),
    };
    let sent = |(name, value): (&'static str, Option<SecretString>)| {
        Some(SentParam::named(name, ParamChange::Set(value?)))
    };
    let kept = token.filter(|_| matches!(fate, TokenFate::Kept(_)));
    Ok(Readable {
        spelled: (realm.as_str() != row.realm).then_some(row.realm),
        patch: SecretPatch {
            realm,
            key,
            params: row.params.into_iter().filter_map(sent).collect(),
            token: kept.map(|token| SentToken {
                token,
                expires_at: end,
                origin: TokenOrigin::Imported,
            }),
        },
        token: fate,
    })
}

/// Milliseconds since the epoch, or a date of MySQL, whose connection speaks UTC.
fn end(text: &str) -> Result<EpochMs, String> {
    if let Ok(number) = text.parse() {
        return Ok(EpochMs(number));
    }
    NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f")
        .map(|date| EpochMs(date.and_utc().timestamp_millis()))
        .map_err(|_| "its expires_at is neither milliseconds since the epoch nor a date".to_owned())
}
