//! Judges a history: what the provider saw, what was stored, what callers were given. It
//! knows nothing of processes, so that any load can be judged by it.

use std::collections::{BTreeMap, HashMap, HashSet};

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
    Token {
        token: String,
        generation: i64,
    },
    /// With this status, and why.
    Refused(u16, String),
}

/// A newly stored token in the history of attempts, in the order stored.
#[derive(Clone, Debug)]
pub struct Stored {
    pub key: String,
    pub attempt: String,
    pub generation: i64,
}

/// An attempt that a process was making when it was killed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Killed {
    pub key: String,
    pub attempt: String,
}

#[derive(Clone, Debug, Default)]
pub struct History {
    pub provider: Vec<Exchange>,
    pub stored: Vec<Stored>,
    pub samples: Vec<Sample>,
    /// Secrets that need a human in the end.
    pub parked: Vec<String>,
    pub killed: HashSet<Killed>,
    pub lifetime: Ms,
    /// Two replicas that send the same refresh token do so that far apart, at least.
    pub apart: Ms,
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
    let refused = history.samples.iter().filter_map(|sample| {
        let Given::Refused(status, why) = &sample.given else {
            return None;
        };
        let held = known.get(sample.key.as_str())?;
        let (asked_at, answered_at) = (sample.asked_at, sample.answered_at.0);
        held.iter()
            .any(|(given_at, end)| *given_at < asked_at && answered_at < *end)
            .then(|| {
                let took = answered_at - asked_at.0;
                format!(
                    "{}: asked at {}, answered {status} after {took} ms while a valid token was \
                     stored: {why}",
                    sample.key, asked_at.0
                )
            })
    });
    refused.collect()
}

/// Whether the process that made the attempt was killed while it did.
fn was_killed(history: &History, exchange: &Exchange) -> bool {
    history.killed.contains(&Killed {
        key: exchange.client.clone(),
        attempt: exchange.attempt.clone(),
    })
}

/// The same refresh token sent again too soon, unless the first to send it was killed:
/// its successor may begin at once where it is the same replica. A provider may work on a
/// request long after it came; that it came too soon is ours.
fn doubled_renewals(history: &History) -> Vec<String> {
    let mut found = Vec::new();
    let mut last: HashMap<(&str, u64), &Exchange> = HashMap::new();
    let mut provider: Vec<_> = history.provider.iter().collect();
    provider.sort_by_key(|exchange| exchange.received);
    for exchange in provider {
        if !matches!(exchange.outcome, Outcome::Rotated(_)) {
            continue;
        }
        let used = (exchange.client.as_str(), exchange.presented);
        if let Some(before) = last.insert(used, exchange) {
            let apart = exchange.received.0 - before.received.0;
            if apart < history.apart.0 && !was_killed(history, before) {
                found.push(format!(
                    "{}: renewed twice within {apart} ms",
                    exchange.client
                ));
            }
        }
    }
    found
}

/// The exact exception: a refresh token is lost only if the provider rotated it, the process
/// that had asked was killed during that attempt, and nothing of it was stored.
fn lost_tokens(history: &History) -> Vec<String> {
    let stored: HashSet<_> = history
        .stored
        .iter()
        .map(|stored| (&stored.key, &stored.attempt))
        .collect();
    let excused = |key: &&String| {
        let rotated = history.provider.iter().filter(|exchange| {
            exchange.client == **key && matches!(exchange.outcome, Outcome::Rotated(_))
        });
        // The last rotation is the one whose answer nobody has.
        rotated
            .max_by_key(|exchange| exchange.at)
            .is_some_and(|last| {
                was_killed(history, last) && !stored.contains(&(&last.client, &last.attempt))
            })
    };
    let lost = history.parked.iter().filter(|key| !excused(key));
    lost.map(|key| format!("{key}: its refresh token was lost, and whoever had it lives"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rotation(at: i64, presented: u64) -> Exchange {
        Exchange {
            received: EpochMs(at),
            at: EpochMs(at),
            client: "k".to_owned(),
            attempt: format!("a{at}"),
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
            given: Given::Refused(503, String::new()),
            ..given(at, 0, 0)
        }
    }

    /// Two renewals of tokens of 1,000 ms, well apart.
    fn good() -> History {
        let stored = |generation| Stored {
            key: "k".to_owned(),
            attempt: "a0".to_owned(),
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
            killed: HashSet::new(),
            lifetime: Ms(1000),
            apart: Ms(100),
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
        assert!(
            words.contains("asked at 850, answered 503 after"),
            "{words}"
        );
    }

    fn killed(at: i64) -> Killed {
        Killed {
            key: "k".to_owned(),
            attempt: format!("a{at}"),
        }
    }

    #[test]
    fn a_renewal_doubled_too_soon_is_found_unless_the_first_was_killed() {
        let double = |history: &mut History| history.provider.push(rotation(790, 1));
        assert!(found(double).contains("within 90 ms"));
        for (kill, excused) in [(700, true), (790, false)] {
            let mut history = good();
            double(&mut history);
            history.killed.insert(killed(kill));
            assert_eq!(violations(&history).is_empty(), excused, "{kill}");
        }
    }

    #[test]
    fn a_lost_refresh_token_is_found_unless_its_receiver_was_killed_before_it_stored_it() {
        let park = |history: &mut History| history.parked.push("k".to_owned());
        assert!(found(park).contains("was lost"));
        for (kill, excused) in [(0, false), (700, true)] {
            let mut history = good();
            park(&mut history);
            history.killed.insert(killed(kill));
            assert_eq!(violations(&history).is_empty(), excused, "{kill}");
            history.stored.push(Stored {
                key: "k".to_owned(),
                attempt: "a700".to_owned(),
                generation: 3,
            });
            assert_eq!(violations(&history).len(), 1);
        }
    }
}
