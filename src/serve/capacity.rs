//! How many connections are accepted: so many that enough descriptors are left for what renews
//! tokens, however many callers there are; and how many of one address.

use crate::config::Settings;

/// Descriptors of an attempt: two sockets where both kinds of addresses are tried, and one that
/// looks for its name.
const PER_ATTEMPT: u64 = 3;
/// Beside each attempt, one may wait for its late answer.
const PER_LATE_ANSWER: u64 = 1;
/// A connection to SQLite has three files, one to MySQL a socket; in a cluster there are twice as
/// many of those.
const PER_DATABASE_CONNECTION: u64 = 3;
/// Beside `database.max_connections`: the writer of SQLite, causal reads in a cluster.
const OTHER_DATABASE_CONNECTIONS: u64 = 5;
/// The listener, the log, the runtime, the spool, the webhook, dry runs.
const OTHERS: u64 = 64;
/// Where none are configured: each takes some memory, whatever the limit of open files is.
const USUAL_MAX: u64 = 10_000;
/// Below, the limit of open files is worth a warning.
const ENOUGH: u64 = 1000;
/// However low that limit is: an operator must get in.
const LEAST: u64 = 16;

/// The most connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Places {
    pub max: usize,
    /// Of them, those of one address; none: as many as there are.
    pub of_address: Option<usize>,
}

impl Places {
    /// # Errors
    /// Where `http.max_connections` is more than fits, when so many files may be open.
    pub fn new(settings: &Settings, limit: u64) -> Result<Self, TooManyConnections> {
        let max = max_connections(settings, limit)?;
        let percent = settings.http.address_connections_percent;
        let of_address = percent.map(|percent| (max.saturating_mul(percent.into()) / 100).max(1));
        Ok(Self { max, of_address })
    }
}

/// `http.max_connections` does not fit this process.
#[derive(Debug, thiserror::Error)]
#[error(
    "http.max_connections is {wanted}, but this process may open {limit} files and needs {reserve} of them for providers, the database and its own files: set it to {fits} or less (0: as many as fit), or raise the limit (ulimit -n, LimitNOFILE=)"
)]
pub struct TooManyConnections {
    wanted: u64,
    limit: u64,
    reserve: u64,
    fits: u64,
}

/// Descriptors that are kept for everything but callers.
fn reserve(settings: &Settings) -> u64 {
    let attempts = settings.renewal.concurrency as u64;
    let connections = u64::from(settings.database.max_connections) + OTHER_DATABASE_CONNECTIONS;
    attempts
        .saturating_mul(PER_ATTEMPT + PER_LATE_ANSWER)
        .saturating_add(connections * PER_DATABASE_CONNECTION + OTHERS)
}

/// The most connections, where so many files may be open.
fn max_connections(settings: &Settings, limit: u64) -> Result<usize, TooManyConnections> {
    let reserve = reserve(settings);
    let fits = limit.saturating_sub(reserve);
    let max = match settings.http.max_connections.map(u64::from) {
        Some(wanted) if wanted > fits => {
            return Err(TooManyConnections {
                wanted,
                limit,
                reserve,
                fits,
            });
        }
        Some(wanted) => wanted,
        None => fits.clamp(LEAST, USUAL_MAX),
    };
    if fits < ENOUGH {
        tracing::warn!(
            name: "server.open_files_low",
            limit,
            reserve,
            max_connections = max,
            "the limit of open files is low, so few connections are accepted: raise it (ulimit -Hn, LimitNOFILE= of systemd, --ulimit nofile= of Docker), or lower renewal.concurrency"
        );
    }
    Ok(usize::try_from(max).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Env;

    /// 128 attempts and ten connections to the database.
    const RESERVE: u64 = 128 * 4 + 15 * 3 + 64;

    fn settings(variables: &[(&str, u32)]) -> Settings {
        let variable = |(name, value): &(&str, u32)| {
            let name = format!("TOKEN_SERVER__{name}");
            (name, value.to_string())
        };
        let env: Env = variables.iter().map(variable).collect();
        Settings::load(None, &env).unwrap()
    }

    fn max(configured: u32, limit: u64) -> Result<usize, String> {
        let settings = settings(&[("HTTP__MAX_CONNECTIONS", configured)]);
        max_connections(&settings, limit).map_err(|error| error.to_string())
    }

    #[test]
    fn as_many_are_accepted_as_the_limit_leaves_beside_the_reserve() {
        assert_eq!(max(0, 1024), Ok(usize::try_from(1024 - RESERVE).unwrap()));
        assert_eq!(max(0, RESERVE + 20), Ok(20));
        for limit in [0, RESERVE, RESERVE + 15] {
            assert_eq!(max(0, limit), Ok(16), "{limit}");
        }
        for limit in [10_000 + RESERVE, 1 << 20, u64::MAX] {
            assert_eq!(max(0, limit), Ok(10_000), "{limit}");
        }
    }

    #[test]
    fn a_configured_number_is_taken_where_it_fits_and_refused_where_not() {
        assert_eq!(max(7, RESERVE + 7), Ok(7));
        assert_eq!(max(50_000, 1 << 20), Ok(50_000));
        for limit in [0, RESERVE, RESERVE + 6] {
            let error = max(7, limit).unwrap_err();
            assert!(error.starts_with("http.max_connections is 7"), "{error}");
            assert!(error.contains(&format!("open {limit} files")), "{error}");
        }
    }

    #[test]
    fn an_address_has_its_part_of_the_places_and_at_least_one() {
        for (max, percent, expected) in [
            (0, 50, Some(5000)),
            (1000, 7, Some(70)),
            (3, 50, Some(1)),
            (16, 1, Some(1)),
            (16, 100, Some(16)),
            (16, 0, None),
        ] {
            let settings = settings(&[
                ("HTTP__MAX_CONNECTIONS", max),
                ("HTTP__ADDRESS_CONNECTIONS_PERCENT", percent),
            ]);
            let places = Places::new(&settings, 1 << 20).unwrap();
            assert_eq!(places.of_address, expected, "{percent} % of {max}");
        }
        // As it is built in: however many places there are, no address has all of them.
        let places = Places::new(&settings(&[]), RESERVE + 400).unwrap();
        let expected = Places {
            max: 400,
            of_address: Some(200),
        };
        assert_eq!(places, expected);
    }

    #[test]
    fn the_largest_concurrency_overflows_nothing() {
        let settings = settings(&[("RENEWAL__CONCURRENCY", u32::MAX)]);
        assert_eq!(max_connections(&settings, 1024).ok(), Some(16));
    }
}
