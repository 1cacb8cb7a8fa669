//! Judges a history: what the provider saw, what was stored, what callers were given. It
//! knows nothing of processes, so that any load can be judged by it.

use std::collections::{BTreeMap, HashMap};

use token_server::foundation::clock::{EpochMs, Ms};

use crate::provider::{Exchange, Outcome, serial_of};

/// What one caller was given.
#[derive(Clone, Debug)]
pub struct Sample {
    pub caller: usize,
    pub key: String,
    /// Before the request was sent, and after the answer came.
    pub asked_at: EpochMs,
    pub answered_at: EpochMs,
    pub given: Given,
}

#[derive(Clone, Debug)]
pub enum Given {
    Token { token: String, generation: i64 },
    Refused,
}

/// A newly stored token in the history of attempts, in the order stored.
#[derive(Clone, Debug)]
pub struct Stored {
    pub key: String,
    pub generation: i64,
}

/// A secret that needs a human in the end, and since when it fails.
#[derive(Clone, Debug)]
pub struct Parked {
    pub key: String,
    pub since: EpochMs,
}

#[derive(Clone, Debug, Default)]
pub struct History {
    pub provider: Vec<Exchange>,
    pub stored: Vec<Stored>,
    pub samples: Vec<Sample>,
    pub parked: Vec<Parked>,
    /// When processes were killed.
    pub kills: Vec<EpochMs>,
    pub lifetime: Ms,
    pub lease: Ms,
}

/// Everything that must not have happened.
pub fn violations(history: &History) -> Vec<String> {
    let mut found = Vec::new();
    found.extend(expired_tokens(history));
    found.extend(fallen_generations(history));
    found.extend(refused_reads(history));
    found.extend(doubled_renewals(history));
    found.extend(lost_tokens(history));
    found
}

/// When the provider issued each token.
fn issued(history: &History) -> HashMap<(String, u64), EpochMs> {
    let rotated = history.provider.iter().filter_map(|exchange| {
        let Outcome::Rotated(serial) = exchange.outcome else {
            return None;
        };
        Some(((exchange.client.clone(), serial), exchange.at))
    });
    rotated.collect()
}

fn expired_tokens(history: &History) -> Vec<String> {
    let issued = issued(history);
    let expired = history.samples.iter().filter_map(|sample| {
        let Given::Token { token, .. } = &sample.given else {
            return None;
        };
        let Some(at) = serial_of(token).and_then(|name| issued.get(&name).copied()) else {
            return Some(format!("{}: a token that was never issued", sample.key));
        };
        let end = at.0 + history.lifetime.0;
        (sample.asked_at.0 > end).then(|| {
            let late = sample.asked_at.0 - end;
            format!(
                "{}: a token was served {late} ms after it expired",
                sample.key
            )
        })
    });
    expired.collect()
}

/// A caller never sees an older generation after a newer one; storing never repeats one.
fn fallen_generations(history: &History) -> Vec<String> {
    let mut found = Vec::new();
    let mut seen = HashMap::new();
    let mut samples: Vec<_> = history.samples.iter().collect();
    samples.sort_by_key(|sample| sample.asked_at);
    for sample in samples {
        let Given::Token { generation, .. } = sample.given else {
            continue;
        };
        let last = seen
            .entry((sample.caller, &sample.key))
            .or_insert(generation);
        if generation < *last {
            found.push(format!(
                "{}: generation {generation} was served after {last}",
                sample.key
            ));
        }
        *last = generation;
    }
    let mut stored = BTreeMap::new();
    for entry in &history.stored {
        let last = stored.entry(&entry.key).or_insert(0);
        if entry.generation <= *last {
            found.push(format!(
                "{}: generation {} was stored after {last}",
                entry.key, entry.generation
            ));
        }
        *last = entry.generation;
    }
    found
}

/// A read is refused only where no valid token was stored: none that anybody was given
/// before, and that lived on past the answer.
fn refused_reads(history: &History) -> Vec<String> {
    let issued = issued(history);
    let mut known: HashMap<&str, Vec<(EpochMs, i64)>> = HashMap::new();
    for sample in &history.samples {
        if let Given::Token { token, .. } = &sample.given
            && let Some(at) = serial_of(token).and_then(|name| issued.get(&name))
        {
            let end = at.0 + history.lifetime.0;
            known
                .entry(&sample.key)
                .or_default()
                .push((sample.answered_at, end));
        }
    }
    let refused = history.samples.iter().filter(|sample| {
        let held = known
            .get(sample.key.as_str())
            .map_or(&[][..], Vec::as_slice);
        matches!(sample.given, Given::Refused)
            && held
                .iter()
                .any(|(given_at, end)| *given_at < sample.asked_at && sample.answered_at.0 < *end)
    });
    refused
        .map(|sample| {
            let at = sample.asked_at.0;
            format!(
                "{}: refused at {at} while a valid token was stored",
                sample.key
            )
        })
        .collect()
}

/// The same refresh token used twice within a lease, unless a process was killed between
/// the two: its successor may begin at once where it is the same replica.
fn doubled_renewals(history: &History) -> Vec<String> {
    let mut found = Vec::new();
    let mut last: HashMap<(&str, u64), EpochMs> = HashMap::new();
    let mut provider: Vec<_> = history.provider.iter().collect();
    provider.sort_by_key(|exchange| exchange.at);
    for exchange in provider {
        if !matches!(exchange.outcome, Outcome::Rotated(_)) {
            continue;
        }
        let used = (exchange.client.as_str(), exchange.presented);
        if let Some(before) = last.insert(used, exchange.at) {
            let apart = exchange.at.0 - before.0;
            let between = before.0 - history.lease.0..=exchange.at.0;
            let killed = history.kills.iter().any(|kill| between.contains(&kill.0));
            if apart < history.lease.0 && !killed {
                found.push(format!(
                    "{}: renewed twice within {apart} ms",
                    exchange.client
                ));
            }
        }
    }
    found
}

/// The exact exception: a refresh token is lost only if the provider rotated it and the
/// process that had asked was killed before it could have written anything.
fn lost_tokens(history: &History) -> Vec<String> {
    let excused = |parked: &&Parked| {
        let rotated = history.provider.iter().filter(|exchange| {
            exchange.client == parked.key && matches!(exchange.outcome, Outcome::Rotated(_))
        });
        // The last rotation is the one whose answer nobody has.
        let Some(last) = rotated.max_by_key(|exchange| exchange.at) else {
            return false;
        };
        let window = last.at.0..=last.at.0 + history.lease.0;
        history.kills.iter().any(|kill| window.contains(&kill.0)) && parked.since >= last.at
    };
    let lost = history.parked.iter().filter(|parked| !excused(parked));
    lost.map(|parked| {
        format!(
            "{}: its refresh token was lost, and nobody was killed",
            parked.key
        )
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rotation(at: i64, presented: u64) -> Exchange {
        Exchange {
            at: EpochMs(at),
            client: "k".to_owned(),
            presented,
            outcome: Outcome::Rotated(presented + 1),
        }
    }

    fn given(at: i64, serial: u64, generation: i64) -> Sample {
        Sample {
            caller: 0,
            key: "k".to_owned(),
            asked_at: EpochMs(at),
            answered_at: EpochMs(at + 1),
            given: Given::Token {
                token: format!("access.k.{serial}"),
                generation,
            },
        }
    }

    fn refused(at: i64) -> Sample {
        Sample {
            given: Given::Refused,
            ..given(at, 0, 0)
        }
    }

    /// Two renewals of tokens of 1,000 ms, well apart.
    fn good() -> History {
        let stored = |generation| Stored {
            key: "k".to_owned(),
            generation,
        };
        History {
            provider: vec![rotation(0, 0), rotation(700, 1)],
            stored: vec![stored(1), stored(2)],
            samples: vec![
                given(10, 1, 1),
                given(720, 1, 1),
                given(800, 2, 2),
                refused(1800),
            ],
            parked: Vec::new(),
            kills: Vec::new(),
            lifetime: Ms(1000),
            lease: Ms(100),
        }
    }

    #[track_caller]
    fn found(change: impl FnOnce(&mut History)) -> String {
        let mut history = good();
        assert_eq!(violations(&history), Vec::<String>::new());
        change(&mut history);
        let found = violations(&history);
        assert_eq!(found.len(), 1, "{found:?}");
        found.into_iter().next().unwrap()
    }

    #[test]
    fn a_token_served_after_its_end_is_found() {
        let words = found(|history| history.samples.push(given(1001, 1, 2)));
        assert!(words.contains("1 ms after it expired"), "{words}");
        let words = found(|history| history.samples.push(given(900, 7, 2)));
        assert!(words.contains("never issued"), "{words}");
    }

    #[test]
    fn a_generation_that_falls_or_is_stored_twice_is_found() {
        found(|history| history.samples.push(given(810, 2, 1)));
        found(|history| {
            let last = history.stored.last().unwrap().clone();
            history.stored.push(last);
        });
    }

    #[test]
    fn a_read_refused_beside_a_valid_token_is_found() {
        let words = found(|history| history.samples.push(refused(850)));
        assert!(words.contains("refused at 850"), "{words}");
    }

    #[test]
    fn a_renewal_doubled_within_a_lease_is_found_unless_a_process_was_killed() {
        let double = |history: &mut History| history.provider.push(rotation(790, 1));
        assert!(found(double).contains("within 90 ms"));
        let mut history = good();
        double(&mut history);
        history.kills.push(EpochMs(750));
        assert!(violations(&history).is_empty());
    }

    #[test]
    fn a_lost_refresh_token_is_found_unless_its_receiver_was_killed_after_the_rotation() {
        let park = |history: &mut History| {
            history.parked.push(Parked {
                key: "k".to_owned(),
                since: EpochMs(900),
            });
        };
        found(park);
        for (kill, excused) in [(699, false), (750, true), (801, false)] {
            let mut history = good();
            park(&mut history);
            history.kills.push(EpochMs(kill));
            assert_eq!(violations(&history).is_empty(), excused, "{kill}");
        }
    }
}
