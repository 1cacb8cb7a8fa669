//! What is stored sealed, as somebody may have changed it, and the keys it is sealed with.

use std::sync::LazyLock;

use secrecy::SecretString;
use token_server::foundation::randomness::Randomness;
use token_server::foundation::sealing::{
    KeyRing, RowValues, Sealed, SealedPlace, SealingKeys, key_id, prefix,
};

const KEYS: &str = "k1:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=,\
                    k2:AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=";
const PLACE: SealedPlace<'static> = SealedPlace {
    table: "ts_token",
    row: "1",
    column: "token",
};

static RING: LazyLock<KeyRing> = LazyLock::new(|| {
    let ring = KeyRing::parse(&KEYS.into(), Randomness::seeded(1));
    ring.expect("the keys of the fuzzer are good")
});
static SEALED: LazyLock<Sealed> = LazyLock::new(|| RING.seal(&PLACE, b"a token of the fuzzer"));
static MAC: LazyLock<Sealed> = LazyLock::new(|| RING.authenticate(&PLACE, &values()));

fn values() -> RowValues {
    RowValues::default().text("r").number(Some(1))
}

/// A value that a server sealed, for seeds.
pub fn sealed() -> Vec<u8> {
    SEALED.0.clone()
}

pub fn keys() -> &'static str {
    KEYS
}

/// Takes an input for a stored value, for a change of one, and for the text of a ring.
pub fn fuzz(input: &[u8]) {
    let [way, rest @ ..] = input else { return };
    match way % 3 {
        0 => stays_closed(&Sealed(rest.to_vec())),
        1 => changed(rest),
        _ => ring(rest),
    }
}

/// Nobody has the key: it opens nowhere, unless it is what was sealed.
fn stays_closed(value: &Sealed) {
    if let Some(id) = key_id(value) {
        assert!(value.0.starts_with(&prefix(id)), "another key id");
    }
    if *value == *SEALED || *value == *MAC {
        return;
    }
    let place = &PLACE;
    assert!(RING.open(place, value).is_err(), "it opens");
    assert!(RING.open_text(place, value).is_err(), "it opens");
    assert!(
        RING.verify(place, &values(), Some(value)).is_err(),
        "it is authentic"
    );
    let named = key_id(value) == Some(RING.sealing_id());
    assert_eq!(RING.resealed(place, value).is_ok(), named);
}

/// A place and what is changed there, of a value and of a code.
fn changed(rest: &[u8]) {
    for good in [&*SEALED, &*MAC] {
        let mut bytes = good.0.clone();
        for change in rest.chunks_exact(2) {
            let place = usize::from(change[0]) % (bytes.len() + 1);
            match bytes.get_mut(place) {
                Some(byte) => *byte ^= change[1],
                None => bytes.push(change[1]),
            }
        }
        if let [cut] = rest.chunks_exact(2).remainder() {
            bytes.truncate(usize::from(*cut));
        }
        stays_closed(&Sealed(bytes));
    }
}

fn ring(rest: &[u8]) {
    let text = String::from_utf8_lossy(rest);
    match SealingKeys::parse(&SecretString::from(&*text)) {
        Ok(keys) => {
            let ring = KeyRing::of(keys.into(), Randomness::seeded(1));
            let ids: Vec<_> = ring.key_ids().collect();
            assert!(ids.iter().all(|id| (1..=64).contains(&id.len())), "{ids:?}");
            let sealed = ring.seal(&PLACE, b"token");
            assert_eq!(key_id(&sealed), ids.first().copied());
            assert!(ring.open(&PLACE, &sealed).is_ok(), "it does not open");
        }
        Err(refused) => assert!(refused.to_string().len() < 1000),
    }
}
