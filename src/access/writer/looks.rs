//! Looks at credentials and uses of them, added up: by caller, action, target and outcome, for the
//! minute under way; and who has read which token.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, Hasher};
use std::num::NonZeroU32;

use quick_cache::sync::Cache;

use crate::access::audit::{AuditEntry, AuditOutcome, Change};
use crate::foundation::clock::EpochMs;
use crate::foundation::randomness::Randomness;

/// Kinds that are added up in a minute for one caller. Beyond, what he looks at is one sum for each
/// action.
const KINDS_OF_ACTOR_MAX: usize = 200;
/// The same of all callers; but sums of a caller go on being made up to twice as many. What comes
/// beyond that is counted and dropped.
const KINDS_MAX: usize = 5000;
const SEVERAL: &str = "(several)";
/// Reads that are remembered. One that was forgotten is noted again.
const READS_MAX: usize = 50_000;
const MINUTE_MS: i64 = 60_000;

/// A look at a credential, or a use of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Look {
    /// The caller's key by name.
    pub actor: String,
    /// `secret.read`, `token.flush`, …
    pub action: &'static str,
    pub target: String,
    /// What came of it.
    pub detail: Option<String>,
}

impl Look {
    fn into_entry(self, sum: Sum) -> AuditEntry {
        AuditEntry {
            at: sum.last_at,
            actor: Some(self.actor),
            action: self.action.to_owned(),
            target: self.target,
            outcome: AuditOutcome::Done,
            detail: self.detail,
            request_id: sum.last_request_id,
            count: sum.count,
            change: Change::default(),
        }
    }
}

/// Looks of one kind.
#[derive(Debug)]
struct Sum {
    count: NonZeroU32,
    last_at: EpochMs,
    last_request_id: Option<String>,
}

/// What became of a look.
pub enum Noted {
    /// The first of its kind in a minute: it is written now.
    Now(Box<AuditEntry>),
    Summed,
    /// There are too many kinds.
    Dropped,
}

/// The minute under way: of each kind the looks after its first, which has an entry of its own.
#[derive(Debug, Default)]
pub struct Looks {
    /// Since the epoch.
    minute: i64,
    sums: HashMap<Look, Option<Sum>>,
    /// Kinds of each caller.
    of_actors: HashMap<String, usize>,
}

impl Looks {
    /// Counts a look, in the minute that was begun by [`Looks::due`].
    pub fn note(&mut self, look: Look, request_id: Option<String>, now: EpochMs) -> Noted {
        let first = Sum {
            count: NonZeroU32::MIN,
            last_at: now,
            last_request_id: request_id,
        };
        let kinds = self.sums.len();
        let of_actor = self.of_actors.get(&look.actor).copied().unwrap_or(0);
        let is_full = of_actor >= KINDS_OF_ACTOR_MAX || kinds >= KINDS_MAX;
        let look = match is_full && !self.sums.contains_key(&look) {
            true => Look {
                target: SEVERAL.to_owned(),
                detail: None,
                ..look
            },
            false => look,
        };
        match self.sums.get_mut(&look) {
            Some(Some(sum)) => {
                sum.count = sum.count.saturating_add(1);
                (sum.last_at, sum.last_request_id) = (now, first.last_request_id);
                Noted::Summed
            }
            Some(none) => {
                *none = Some(first);
                Noted::Summed
            }
            None if kinds >= 2 * KINDS_MAX => Noted::Dropped,
            None => {
                *self.of_actors.entry(look.actor.clone()).or_default() += 1;
                self.sums.insert(look.clone(), None);
                Noted::Now(Box::new(look.into_entry(first)))
            }
        }
    }

    /// The sums of the minute before, if that has ended.
    pub fn due(&mut self, now: EpochMs) -> Vec<AuditEntry> {
        let minute = now.0.div_euclid(MINUTE_MS);
        if minute == self.minute {
            return Vec::new();
        }
        self.minute = minute;
        self.end()
    }

    /// Ends the minute before its time.
    pub fn end(&mut self) -> Vec<AuditEntry> {
        self.of_actors.clear();
        let sums = self.sums.drain();
        let mut entries: Vec<_> = sums
            .filter_map(|(look, sum)| Some(look.into_entry(sum?)))
            .collect();
        entries.sort_by_key(|entry| entry.at.0);
        entries
    }

    /// Whether there is nothing to wait for the end of the minute for.
    pub fn is_empty(&self) -> bool {
        self.sums.is_empty()
    }
}

/// A token that is read by a caller.
#[derive(Clone, Copy, Debug, Hash)]
pub struct GivenToken<'a> {
    /// The caller's key by name.
    pub actor: &'a str,
    pub realm: &'a str,
    pub key: &'a str,
    pub generation: i64,
}

impl GivenToken<'_> {
    /// The entry of the first read of a generation by a caller.
    pub fn entry(&self, request_id: &str, now: EpochMs) -> AuditEntry {
        AuditEntry {
            at: now,
            actor: Some(self.actor.to_owned()),
            action: "token.read".to_owned(),
            target: format!("{}/{}", self.realm, self.key),
            outcome: AuditOutcome::Done,
            detail: Some(format!("generation {}", self.generation)),
            request_id: Some(request_id.to_owned()),
            count: NonZeroU32::MIN,
            change: Change::default(),
        }
    }
}

/// Knows who has read which token, by digests of these.
#[derive(Debug)]
pub struct FirstReads {
    seen: Cache<u64, ()>,
    /// So that nobody can choose names whose digests are the same.
    seed: [u8; 16],
}

impl FirstReads {
    pub fn new(randomness: &Randomness) -> Self {
        Self {
            seen: Cache::new(READS_MAX),
            seed: randomness.bytes(),
        }
    }

    pub fn digest(&self, read: &GivenToken<'_>) -> u64 {
        let mut hasher =
            std::hash::BuildHasherDefault::<std::hash::DefaultHasher>::default().build_hasher();
        self.seed.hash(&mut hasher);
        read.hash(&mut hasher);
        hasher.finish()
    }

    pub fn is_known(&self, digest: u64) -> bool {
        self.seen.get(&digest).is_some()
    }

    pub fn remember(&self, digest: u64) {
        self.seen.insert(digest, ());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_looks_at_too_much_has_it_added_up_and_keeps_nobody_else_out() {
        let mut looks = Looks::default();
        looks.due(EpochMs(0));
        let many = KINDS_OF_ACTOR_MAX * 3;
        let written = (0..many).filter(|number| noted(&mut looks, &number.to_string(), 0));
        // One of each kind, and the first of those that are added up.
        assert_eq!(written.count(), KINDS_OF_ACTOR_MAX + 1);
        let other = Look {
            actor: "b".to_owned(),
            ..look("x")
        };
        assert!(matches!(looks.note(other, None, EpochMs(0)), Noted::Now(_)));
        let sums = looks.end();
        assert_eq!(sums.len(), 1);
        let sum = &sums[0];
        assert_eq!((sum.target.as_str(), sum.count.get()), (SEVERAL, 399));
    }

    fn look(target: &str) -> Look {
        Look {
            actor: "a".to_owned(),
            action: "secret.read",
            target: target.to_owned(),
            detail: None,
        }
    }

    fn noted(looks: &mut Looks, target: &str, now: i64) -> bool {
        let request = Some(now.to_string());
        matches!(
            looks.note(look(target), request, EpochMs(now)),
            Noted::Now(_)
        )
    }

    #[test]
    fn the_first_look_in_a_minute_is_written_at_once_and_the_others_are_one_sum() {
        let mut looks = Looks::default();
        assert!(looks.due(EpochMs(0)).is_empty());
        assert!(noted(&mut looks, "r/k", 1));
        assert!(noted(&mut looks, "r/l", 2));
        assert!(!noted(&mut looks, "r/k", 3));
        assert!(!noted(&mut looks, "r/k", 4));
        assert!(looks.due(EpochMs(59_999)).is_empty());
        let sums = looks.due(EpochMs(60_000));
        let told: Vec<_> = sums
            .iter()
            .map(|sum| {
                (
                    &*sum.target,
                    sum.count.get(),
                    sum.at.0,
                    sum.request_id.as_deref(),
                )
            })
            .collect();
        assert_eq!(told, [("r/k", 2, 4, Some("4"))]);
        assert!(looks.is_empty() && noted(&mut looks, "r/k", 60_001));
    }

    #[test]
    fn more_kinds_than_are_added_up_are_dropped() {
        let mut looks = Looks::default();
        let of = |number: usize| Look {
            actor: number.to_string(),
            ..look("r/k")
        };
        for number in 0..2 * KINDS_MAX {
            let noted = looks.note(of(number), None, EpochMs(1));
            let Noted::Now(entry) = noted else {
                panic!("{number} is not written");
            };
            assert_eq!(entry.target == SEVERAL, number >= KINDS_MAX);
        }
        let beyond = looks.note(of(2 * KINDS_MAX), None, EpochMs(1));
        assert!(matches!(beyond, Noted::Dropped));
        let known = looks.note(of(7), None, EpochMs(1));
        assert!(matches!(known, Noted::Summed));
    }

    #[test]
    fn a_read_is_the_first_of_its_caller_its_token_and_its_generation() {
        let reads = FirstReads::new(&Randomness::seeded(1));
        let read = |actor, realm, key, generation| {
            let digest = reads.digest(&GivenToken {
                actor,
                realm,
                key,
                generation,
            });
            let known = reads.is_known(digest);
            reads.remember(digest);
            known
        };
        assert!(!read("a", "r", "k", 1));
        assert!(read("a", "r", "k", 1));
        for (actor, realm, key, generation) in [
            ("b", "r", "k", 1),
            ("a", "s", "k", 1),
            ("a", "r", "l", 1),
            ("a", "rk", "", 1),
            ("a", "r", "k", 2),
        ] {
            assert!(!read(actor, realm, key, generation));
        }
    }
}
