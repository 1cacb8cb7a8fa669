//! Tokens, opened and ready to be served: one cell each, bounded in size.

use std::hash::Hash;
use std::mem::size_of;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use quick_cache::sync::Cache;
use quick_cache::{Equivalent, Weighter};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use zeroize::Zeroizing;

use crate::foundation::clock::{BootMs, EpochMs};
use crate::foundation::ids::{Generation, KeyName, RealmId, SecretId};
use crate::foundation::sealing::{KeyRing, OpenError};
use crate::token::{HeldToken, ServedTag, TokenPayload, TokenRecord};

/// What a cell costs beside what it holds: its places in two tables.
const OVERHEAD: usize = 200;
/// Around a text in JSON.
const QUOTES: usize = 2;
/// Cells there is room for from the beginning.
const USUAL: usize = 1000;

/// A token that is remembered.
#[derive(Debug)]
pub struct Remembered {
    pub id: SecretId,
    pub realm: RealmId,
    pub key: KeyName,
    /// As it is served.
    pub payload: TokenPayload<EscapedToken>,
    extra_bytes: usize,
    /// Of its expiry, as it is served.
    pub expires_at: Option<String>,
    pub generation: Generation,
    /// Tells it from others.
    pub tag: ServedTag,
    obtained_at: EpochMs,
    renew_at: Option<EpochMs>,
    /// When it was last compared with the database, by the boot clock.
    pub(super) checked: AtomicI64,
}

/// What is to be remembered of a token.
pub struct Remembering {
    pub id: SecretId,
    pub realm: RealmId,
    pub key: KeyName,
    /// As it is served.
    pub payload: TokenPayload,
    pub generation: Generation,
    pub obtained_at: EpochMs,
    pub renew_at: Option<EpochMs>,
    pub read_at: BootMs,
}

impl Remembered {
    pub fn new(what: Remembering) -> Self {
        Self {
            id: what.id,
            realm: what.realm,
            key: what.key,
            extra_bytes: match &what.payload.extra {
                Value::Null => 0,
                extra => extra.to_string().len(),
            },
            expires_at: what.payload.expires_at(),
            tag: ServedTag::of(
                what.id,
                what.generation,
                what.obtained_at,
                what.payload.expiry,
            ),
            payload: what
                .payload
                .with_token(EscapedToken::of(&what.payload.token)),
            generation: what.generation,
            obtained_at: what.obtained_at,
            renew_at: what.renew_at,
            checked: AtomicI64::new(what.read_at.0),
        }
    }

    /// None where there is nothing to be remembered: no token, or one that is rendered anew
    /// on each read.
    pub fn of(
        record: &TokenRecord,
        ring: &KeyRing,
        read_at: BootMs,
    ) -> Result<Option<Self>, OpenError> {
        let Some(held) = &record.held else {
            return Ok(None);
        };
        let Some(token) = record.open_served(held, ring)? else {
            return Ok(None);
        };
        Ok(Some(Self::new(Remembering {
            id: record.secret_id,
            realm: record.realm.clone(),
            key: record.key.clone(),
            payload: held.payload.opened(token, record.open_extra(held, ring)?),
            generation: record.generation,
            obtained_at: held.obtained_at,
            renew_at: record.renew_at,
            read_at,
        })))
    }

    /// Whether it is of this very renewal.
    pub fn is_of(&self, record: &TokenRecord) -> bool {
        let obtained = |held: &HeldToken| held.obtained_at == self.obtained_at;
        self.generation == record.generation
            && self.renew_at == record.renew_at
            && record.held.as_ref().is_some_and(obtained)
    }

    /// Its renewal is due: it will be another one soon.
    pub fn is_due(&self, now: EpochMs) -> bool {
        self.renew_at.is_some_and(|at| at <= now)
    }

    fn is_older_than(&self, other: &Self) -> bool {
        (self.generation, self.obtained_at) < (other.generation, other.obtained_at)
    }

    fn bytes(&self) -> usize {
        let names = self.realm.as_str().len() + self.key.as_str().len();
        // By name, so that none is forgotten; `extra` was measured when it was remembered.
        let TokenPayload {
            token,
            token_type,
            extra: _,
            expiry: _,
        } = &self.payload;
        let texts = token.as_str().len()
            + token_type.as_ref().map_or(0, String::len)
            + self.expires_at.as_ref().map_or(0, String::len);
        // Parsed JSON takes several times its text.
        size_of::<Self>() + 2 * names + texts + 4 * self.extra_bytes + OVERHEAD
    }
}

/// A token, escaped as within a text of JSON: readers are given it so. Where nothing is to be
/// escaped, it takes no more room than the token, also in steps of an allocator.
#[derive(Debug)]
pub struct EscapedToken(SecretString);

impl EscapedToken {
    fn of(token: &SecretString) -> Self {
        let token = token.expose_secret();
        let mut json = Zeroizing::new(Vec::with_capacity(token.len() + QUOTES));
        serde_json::to_writer(&mut *json, token).expect("a text can be written as JSON");
        let json = str::from_utf8(&json).expect("JSON is UTF-8");
        let escaped = json
            .strip_prefix('"')
            .and_then(|json| json.strip_suffix('"'));
        Self(escaped.expect("a text is quoted").into())
    }

    /// Without the quotes around it.
    pub fn as_str(&self) -> &str {
        self.0.expose_secret()
    }

    pub fn token(&self) -> SecretString {
        let json = Zeroizing::new(format!("\"{}\"", self.as_str()));
        let text: String = serde_json::from_str(&json).expect("it was made of a text");
        text.into()
    }
}

/// The name of a secret.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Name(RealmId, KeyName);

/// The same, as it stands in a request.
#[derive(Hash)]
struct NameOf<'a>(&'a str, &'a str);

impl Equivalent<Name> for NameOf<'_> {
    fn equivalent(&self, name: &Name) -> bool {
        self.0 == name.0.as_str() && self.1 == name.1.as_str()
    }
}

#[derive(Clone)]
struct ByBytes;

impl Weighter<SecretId, Arc<Remembered>> for ByBytes {
    fn weight(&self, _: &SecretId, cell: &Arc<Remembered>) -> u64 {
        cell.bytes() as u64
    }
}

pub struct Cells {
    ids: Cache<Name, SecretId>,
    cells: Cache<SecretId, Arc<Remembered>, ByBytes>,
    /// Nothing is remembered.
    off: bool,
}

impl Cells {
    pub fn new(max_bytes: u64) -> Self {
        let most = usize::try_from(max_bytes).unwrap_or(usize::MAX) / size_of::<Remembered>();
        Self {
            ids: Cache::new(most.max(1)),
            cells: Cache::with_weighter(USUAL, max_bytes, ByBytes),
            off: max_bytes == 0,
        }
    }

    pub fn find(&self, realm: &str, key: &str) -> Option<Arc<Remembered>> {
        let id = self.ids.get(&NameOf(realm, key))?;
        let cell = self.cells.get(&id)?;
        // The name may be another secret's by now.
        (cell.key.as_str() == key && cell.realm.as_str() == realm).then_some(cell)
    }

    pub fn get(&self, id: SecretId) -> Option<Arc<Remembered>> {
        self.cells.peek(&id)
    }

    /// Unless a newer one is there.
    pub fn put(&self, cell: Remembered) {
        let newer = |there: &Arc<Remembered>| cell.is_older_than(there);
        if self.off || self.cells.peek(&cell.id).as_ref().is_some_and(newer) {
            return;
        }
        let name = Name(cell.realm.clone(), cell.key.clone());
        self.ids.insert(name, cell.id);
        self.cells.insert(cell.id, Arc::new(cell));
    }

    pub fn forget(&self, id: SecretId) {
        self.cells.remove(&id);
    }

    pub fn forget_all(&self) {
        self.cells.clear();
        self.ids.clear();
    }

    pub fn ids_in(&self, realm: &RealmId) -> Vec<SecretId> {
        let cells = self.cells.iter().filter(|(_, cell)| cell.realm == *realm);
        cells.map(|(id, _)| id).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::expiry::Expiry;

    fn cell(id: i64, key: &str, generation: i64) -> Remembered {
        Remembered::new(Remembering {
            id: SecretId(id),
            realm: RealmId::stored("r".to_owned()),
            key: KeyName::stored(key.to_owned()),
            payload: TokenPayload {
                token: "t".repeat(512).into(),
                token_type: None,
                extra: Value::Null,
                expiry: Expiry::Never,
            },
            generation: Generation(generation),
            obtained_at: EpochMs(generation),
            renew_at: None,
            read_at: BootMs(0),
        })
    }

    fn generation(cells: &Cells, key: &str) -> Option<i64> {
        cells.find("r", key).map(|cell| cell.generation.0)
    }

    #[test]
    fn an_older_token_never_takes_the_place_of_a_newer_one() {
        let cells = Cells::new(1 << 20);
        cells.put(cell(1, "k", 7));
        cells.put(cell(1, "k", 6));
        assert_eq!(generation(&cells, "k"), Some(7));
        cells.put(cell(1, "k", 8));
        assert_eq!(generation(&cells, "k"), Some(8));
        cells.forget(SecretId(1));
        assert_eq!(generation(&cells, "k"), None);
    }

    #[test]
    fn a_secret_that_was_made_again_under_the_same_name_is_another_one() {
        let cells = Cells::new(1 << 20);
        cells.put(cell(1, "k", 7));
        cells.put(cell(2, "k", 8));
        cells.forget(SecretId(1));
        assert_eq!(generation(&cells, "k"), Some(8));
        assert_eq!(generation(&cells, "another"), None);
    }

    #[test]
    fn no_more_is_remembered_than_there_is_room_for() {
        let cells = Cells::new(100_000);
        for id in 0..1000 {
            cells.put(cell(id, &format!("k{id}"), 1));
        }
        let held = (0..1000)
            .filter(|id| cells.get(SecretId(*id)).is_some())
            .count();
        assert!((1..150).contains(&held), "{held}");
        let none = Cells::new(0);
        none.put(cell(1, "k", 1));
        assert_eq!(generation(&none, "k"), None);
    }
}
