//! Denied calls, added up: by caller, reason and method, for the minute under way.

use std::collections::HashMap;
use std::fmt;
use std::num::NonZeroU32;

use crate::access::audit::{AuditEntry, AuditOutcome, Change};
use crate::access::scope::Scope;
use crate::access::sign_in_problem::SignInProblem;
use crate::foundation::clock::EpochMs;

/// Kinds that are added up apart in a minute; the calls of all others are one sum. Each is worth
/// two entries, its first call and the sum of the rest, so a minute adds fewer than 100.
pub const KINDS_MAX: usize = 48;
/// Longer paths are cut.
const TARGET_MAX_CHARS: usize = 1000;
const MINUTE_MS: i64 = 60_000;

const SEVERAL_METHODS: &str = "(several methods)";
const SEVERAL_PATHS: &str = "(several paths)";
const OTHERS: &str = "more callers and reasons than are added up apart in a minute";

/// Why a call is denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DenialReason {
    /// No API key was sent, or none that is good.
    Unauthorized,
    /// The key lacks this scope.
    Lacks(Scope),
    /// The key's patterns do not cover the secret.
    NotCovered,
    /// The call concerns all secrets, and the key is limited to some.
    Limited,
    /// The key has the scope, and no right to all that the change concerns.
    NoRight,
    /// A page of another site sent it; no key was looked at.
    CrossSite,
    /// A session would change something and does not show what only its own page knows.
    Csrf,
    /// The key makes more calls than its rate allows.
    KeyRate,
    /// The address makes more calls without a good key than its rate allows.
    AddressRate,
    /// A sign-in by OpenID Connect came to nothing.
    SignIn(SignInProblem),
}

impl fmt::Display for DenialReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unauthorized => f.write_str("no good API key"),
            Self::Lacks(scope) => write!(f, "lacks the scope {scope}"),
            Self::NotCovered => f.write_str("does not cover that realm or key"),
            Self::Limited => f.write_str("is limited to some realms or keys"),
            Self::NoRight => f.write_str("has no right to all that the change concerns"),
            Self::CrossSite => f.write_str("sent by a page of another site"),
            Self::Csrf => f.write_str("a change by a session without its X-CSRF-Token"),
            Self::KeyRate => f.write_str("more calls than the rate of the key allows"),
            Self::AddressRate => {
                f.write_str("more calls without a good key than the rate of an address allows")
            }
            Self::SignIn(problem) => write!(f, "sign-in by OpenID Connect: {problem}"),
        }
    }
}

/// A call that is denied.
#[derive(Clone, Debug)]
pub struct Denial {
    /// The caller's key by name; none where no key was recognised.
    pub actor: Option<String>,
    pub reason: DenialReason,
    pub method: String,
    pub path: String,
    pub request_id: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Kind {
    actor: Option<String>,
    reason: DenialReason,
    method: String,
}

/// Calls of one kind after its first.
#[derive(Debug)]
struct Sum {
    count: NonZeroU32,
    /// Their path; none where they are several.
    path: Option<String>,
    last_at: EpochMs,
    last_request_id: String,
}

impl Sum {
    fn add(sum: &mut Option<Self>, path: String, request_id: String, at: EpochMs) {
        match sum {
            Some(sum) => {
                sum.count = sum.count.saturating_add(1);
                sum.path.take_if(|known| *known != path);
                sum.last_at = at;
                sum.last_request_id = request_id;
            }
            None => {
                *sum = Some(Self {
                    count: NonZeroU32::MIN,
                    path: Some(path),
                    last_at: at,
                    last_request_id: request_id,
                });
            }
        }
    }

    fn into_entry(self, actor: Option<String>, action: String, detail: String) -> AuditEntry {
        AuditEntry {
            at: self.last_at,
            actor,
            action,
            target: self.path.unwrap_or_else(|| SEVERAL_PATHS.to_owned()),
            outcome: AuditOutcome::Denied,
            detail: Some(detail),
            request_id: Some(self.last_request_id),
            count: self.count,
            change: Change::default(),
        }
    }
}

/// The minute under way.
#[derive(Debug, Default)]
pub struct Tally {
    /// Since the epoch.
    minute: i64,
    /// Of each kind the calls after its first, which has an entry of its own.
    sums: HashMap<Kind, Option<Sum>>,
    others: Option<Sum>,
}

impl Tally {
    /// Counts a call. Answers the entries that are due by that: those of a minute that has ended,
    /// and the first of its kind.
    pub fn note(&mut self, denial: Denial, now: EpochMs) -> Vec<AuditEntry> {
        let mut due = self.look(now);
        self.minute = minute_of(now);
        let Denial {
            actor,
            reason,
            method,
            mut path,
            request_id,
        } = denial;
        if let Some((cut, _)) = path.char_indices().nth(TARGET_MAX_CHARS) {
            path.truncate(cut);
        }
        let kind = Kind {
            actor,
            reason,
            method,
        };
        if let Some(sum) = self.sums.get_mut(&kind) {
            Sum::add(sum, path, request_id, now);
        } else if self.sums.len() >= KINDS_MAX {
            Sum::add(&mut self.others, path, request_id, now);
        } else {
            due.push(AuditEntry {
                at: now,
                actor: kind.actor.clone(),
                action: kind.method.clone(),
                target: path,
                outcome: AuditOutcome::Denied,
                detail: Some(reason.to_string()),
                request_id: Some(request_id),
                count: NonZeroU32::MIN,
                change: Change::default(),
            });
            self.sums.insert(kind, None);
        }
        due
    }

    /// The sums of the minute, if that has ended.
    pub fn look(&mut self, now: EpochMs) -> Vec<AuditEntry> {
        if minute_of(now) == self.minute {
            return Vec::new();
        }
        self.end()
    }

    /// Ends the minute before its time.
    pub fn end(&mut self) -> Vec<AuditEntry> {
        let mut entries = Vec::new();
        for (kind, sum) in self.sums.drain() {
            let detail = kind.reason.to_string();
            entries.extend(sum.map(|sum| sum.into_entry(kind.actor, kind.method, detail)));
        }
        let others = self.others.take();
        let others =
            others.map(|sum| sum.into_entry(None, SEVERAL_METHODS.to_owned(), OTHERS.to_owned()));
        entries.extend(others);
        entries.sort_by_key(|entry| entry.at.0);
        entries
    }

    /// Whether there is nothing to wait for the end of the minute for.
    pub fn is_empty(&self) -> bool {
        self.sums.is_empty()
    }
}

fn minute_of(at: EpochMs) -> i64 {
    at.0.div_euclid(MINUTE_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn denial(actor: Option<&str>, reason: DenialReason, path: &str) -> Denial {
        Denial {
            actor: actor.map(str::to_owned),
            reason,
            method: "GET".to_owned(),
            path: path.to_owned(),
            request_id: path.len().to_string(),
        }
    }

    /// Actor, target, count and time of each.
    fn told(entries: &[AuditEntry]) -> Vec<(Option<&str>, &str, u32, i64)> {
        let told = |entry: &AuditEntry| (entry.count.get(), entry.at.0);
        let told = entries.iter().map(|entry| {
            let (count, at) = told(entry);
            (entry.actor.as_deref(), entry.target.as_str(), count, at)
        });
        told.collect()
    }

    const AT: EpochMs = EpochMs(1_700_000_040_000);

    fn after(ms: i64) -> EpochMs {
        EpochMs(AT.0 + ms)
    }

    #[test]
    fn the_first_of_a_kind_is_told_at_once_and_the_rest_when_the_minute_ends() {
        let mut tally = Tally::default();
        let lacks = DenialReason::Lacks(Scope::Admin);
        let first = tally.note(denial(None, DenialReason::Unauthorized, "/a"), AT);
        assert_eq!(told(&first), [(None, "/a", 1, AT.0)]);
        let other = tally.note(denial(Some("n"), lacks, "/a"), after(1));
        assert_eq!(told(&other), [(Some("n"), "/a", 1, AT.0 + 1)]);
        assert_eq!(other[0].detail.as_deref(), Some("lacks the scope admin"));
        for ms in 2..7 {
            let path = if ms < 5 { "/b" } else { "/b/c" };
            let denied = denial(None, DenialReason::Unauthorized, path);
            assert!(tally.note(denied, after(ms)).is_empty());
            assert!(
                tally
                    .note(denial(Some("n"), lacks, "/d"), after(ms))
                    .is_empty()
            );
        }
        assert!(tally.look(after(59_999)).is_empty());
        let mut ended = tally.look(after(60_000));
        ended.sort_by_key(|entry| entry.actor.clone());
        let at = AT.0 + 6;
        assert_eq!(
            told(&ended),
            [(None, "(several paths)", 5, at), (Some("n"), "/d", 5, at)]
        );
        assert_eq!(ended[0].request_id.as_deref(), Some("4"));
        assert!(tally.is_empty() && tally.end().is_empty());
    }

    #[test]
    fn a_call_of_the_next_minute_ends_the_one_before_whichever_way_the_clock_goes() {
        for next in [60_000, -60_000] {
            let mut tally = Tally::default();
            let denied = || denial(None, DenialReason::NotCovered, "/a");
            assert_eq!(tally.note(denied(), AT).len(), 1);
            assert_eq!(tally.note(denied(), AT).len(), 0);
            let due = tally.note(denied(), after(next));
            assert_eq!(
                told(&due),
                [(None, "/a", 1, AT.0), (None, "/a", 1, AT.0 + next)]
            );
        }
    }

    #[test]
    fn no_number_of_callers_takes_more_than_a_hundred_entries_a_minute() {
        let mut tally = Tally::default();
        let mut entries = Vec::new();
        for _ in 0..3 {
            for caller in 0..1000 {
                let name = caller.to_string();
                let denied = denial(Some(&name), DenialReason::Limited, &"p".repeat(5000));
                entries.extend(tally.note(denied, AT));
            }
        }
        entries.extend(tally.end());
        assert!(entries.len() < 100, "{}", entries.len());
        let calls = entries.iter().map(|entry| entry.count.get()).sum::<u32>();
        assert_eq!(calls, 3000);
        let others = entries.iter().find(|entry| entry.action == SEVERAL_METHODS);
        let others = others.expect("there are others");
        assert_eq!(others.count.get() as usize, 3 * (1000 - KINDS_MAX));
        let longest = entries.iter().map(|entry| entry.target.len()).max();
        assert_eq!(longest, Some(TARGET_MAX_CHARS));
    }
}
