//! What authenticates a chain: HMAC-SHA256, over each entry with the code of the one before it, and
//! over the row that says where the chain begins and ends. The key of a chain is random, and sealed
//! in its row, so that it outlives the rotation of sealing keys.

use aws_lc_rs::hmac;
use token_server_entity::{audit, audit_chain};
use zeroize::Zeroizing;

use crate::foundation::clock::EpochMs;
use crate::foundation::ids::ReplicaId;
use crate::foundation::randomness::Randomness;
use crate::foundation::sealing::{KeyRing, OpenError, RowValues, Sealed, SealedPlace};

const KEY_BYTES: usize = 32;
/// What is authenticated is one or the other.
const ENTRY: &str = "entry";
const HEAD: &str = "head";

/// Authenticates one chain.
pub(super) struct ChainKey(hmac::Key);

fn place(chain: &str) -> SealedPlace<'_> {
    SealedPlace {
        table: "ts_audit_chain",
        row: chain,
        column: "sealed_key",
    }
}

impl ChainKey {
    pub(super) fn open(row: &audit_chain::Model, ring: &KeyRing) -> Result<Self, OpenError> {
        let plain = ring.open(&place(&row.chain), &row.sealed_key)?;
        Ok(Self::of(&plain))
    }

    fn of(bytes: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, bytes))
    }

    fn code(&self, values: RowValues) -> Vec<u8> {
        hmac::sign(&self.0, &values.into_bytes()).as_ref().to_vec()
    }

    /// The code of an entry that follows another.
    pub(super) fn of_entry(&self, row: &audit::Model, before: &[u8]) -> Vec<u8> {
        self.code(entry_values(row, before))
    }

    pub(super) fn is_of_entry(&self, row: &audit::Model, before: &[u8]) -> bool {
        let code = row.mac.as_deref().unwrap_or_default();
        hmac::verify(&self.0, &entry_values(row, before).into_bytes(), code).is_ok()
    }

    pub(super) fn of_head(&self, row: &audit_chain::Model) -> Vec<u8> {
        self.code(head_values(row))
    }

    pub(super) fn is_of_head(&self, row: &audit_chain::Model) -> bool {
        hmac::verify(&self.0, &head_values(row).into_bytes(), &row.head_mac).is_ok()
    }
}

/// All that an entry says, and the code of the one before it.
pub(super) fn entry_values(row: &audit::Model, before: &[u8]) -> RowValues {
    RowValues::default()
        .text(ENTRY)
        .bytes(before)
        .optional(row.chain.as_deref())
        .number(row.seq)
        .number(Some(row.at.0))
        .optional(row.actor.as_deref())
        .text(&row.action)
        .text(&row.target)
        .text(&row.outcome)
        .optional(row.detail.as_deref())
        .optional(row.request_id.as_deref())
        .number(row.count)
        .optional(row.before_value.as_deref())
        .optional(row.after_value.as_deref())
}

fn head_values(row: &audit_chain::Model) -> RowValues {
    RowValues::default()
        .text(HEAD)
        .text(&row.chain)
        .text(&row.replica)
        .number(Some(row.number))
        .number(Some(row.opened_at.0))
        .number(Some(row.updated_at.0))
        .number(Some(row.seq))
        .bytes(&row.mac)
        .number(Some(row.said_seq))
        .number(Some(row.pruned_seq))
        .bytes(&row.pruned_mac)
}

/// A chain without an entry, and what authenticates it.
pub(super) fn new_chain(
    ring: &KeyRing,
    (replica, number): (&ReplicaId, i64),
    randomness: &Randomness,
    now: EpochMs,
) -> (audit_chain::Model, ChainKey) {
    let chain = randomness.id();
    let bytes = Zeroizing::new(randomness.bytes::<KEY_BYTES>());
    let key = ChainKey::of(bytes.as_slice());
    let mut row = audit_chain::Model {
        id: 0,
        sealed_key: ring.seal(&place(&chain), bytes.as_slice()),
        chain,
        replica: replica.0.clone(),
        number,
        opened_at: now,
        updated_at: now,
        seq: 0,
        mac: Vec::new(),
        said_seq: 0,
        pruned_seq: 0,
        pruned_mac: Vec::new(),
        head_mac: Vec::new(),
    };
    row.head_mac = key.of_head(&row);
    (row, key)
}

/// Whether the key of a chain opens.
pub fn opens(row: &audit_chain::Model, ring: &KeyRing) -> bool {
    ChainKey::open(row, ring).is_ok()
}

/// The key of a chain under the key that seals; none where it is under that already.
pub(super) fn resealed(
    row: &audit_chain::Model,
    ring: &KeyRing,
) -> Result<Option<Sealed>, OpenError> {
    ring.resealed(&place(&row.chain), &row.sealed_key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring() -> KeyRing {
        let keys = format!("a:{}=", "A".repeat(43));
        KeyRing::parse(&keys.as_str().into(), Randomness::seeded(1)).unwrap()
    }

    fn entry(chain: &str) -> audit::Model {
        audit::Model {
            id: 7,
            at: EpochMs(1),
            actor: Some("a".to_owned()),
            action: "realm.save".to_owned(),
            target: "r".to_owned(),
            outcome: "done".to_owned(),
            detail: None,
            request_id: Some("q".to_owned()),
            count: Some(1),
            chain: Some(chain.to_owned()),
            seq: Some(1),
            mac: None,
            before_value: None,
            after_value: Some("{}".to_owned()),
        }
    }

    #[test]
    fn an_entry_is_authentic_where_nothing_of_it_and_nothing_before_it_was_changed() {
        let replica = ReplicaId("one".to_owned());
        let (row, key) = new_chain(&ring(), (&replica, 1), &Randomness::seeded(2), EpochMs(1));
        assert!(key.is_of_head(&row));
        let mut good = entry(&row.chain);
        good.mac = Some(key.of_entry(&good, b"before"));
        assert!(key.is_of_entry(&good, b"before"));
        assert!(!key.is_of_entry(&good, b"other"));
        let changes: [fn(&mut audit::Model); 12] = [
            |row| row.at = EpochMs(2),
            |row| row.actor = None,
            |row| row.action = "realm.delete".to_owned(),
            |row| row.target = "s".to_owned(),
            |row| row.outcome = "denied".to_owned(),
            |row| row.detail = Some(String::new()),
            |row| row.request_id = None,
            |row| row.count = Some(2),
            |row| row.chain = Some("other".to_owned()),
            |row| row.seq = Some(2),
            |row| row.before_value = Some("{}".to_owned()),
            |row| row.after_value = None,
        ];
        for (number, change) in changes.into_iter().enumerate() {
            let mut changed = good.clone();
            change(&mut changed);
            assert!(!key.is_of_entry(&changed, b"before"), "{number}");
        }
        // The key is sealed for its chain.
        let opened = ChainKey::open(&row, &ring()).unwrap();
        assert!(opened.is_of_entry(&good, b"before"));
        let moved = audit_chain::Model {
            chain: "other".to_owned(),
            ..row.clone()
        };
        assert!(ChainKey::open(&moved, &ring()).is_err());
        let set_back = audit_chain::Model { seq: 3, ..row };
        assert!(!key.is_of_head(&set_back));
    }
}
