//! How long tokens still live, as a histogram. Tokens leave it as well as enter it, which OpenMetrics
//! calls a histogram of gauges; the library does not write those.

use std::fmt::{self, Write};

/// The upper bounds of the buckets, in seconds: a minute to thirty days.
pub const REMAINING_S: [i64; 9] = [60, 300, 900, 3600, 7200, 43_200, 86_400, 604_800, 2_592_000];

/// How many tokens end within each of [`REMAINING_S`], and how many there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Remaining {
    pub within: [i64; REMAINING_S.len()],
    pub all: i64,
}

impl Remaining {
    /// The tokens of both.
    pub fn with(self, other: Self) -> Self {
        let mut within = self.within;
        for (count, more) in within.iter_mut().zip(other.within) {
            *count += more;
        }
        Self {
            within,
            all: self.all + other.all,
        }
    }

    /// Appends a gauge histogram without a sum: that of tokens without an end is not finite.
    pub(super) fn write_gauge_histogram(
        &self,
        page: &mut String,
        name: &str,
        help: &str,
    ) -> fmt::Result {
        writeln!(page, "# HELP {name} {help}.")?;
        writeln!(page, "# TYPE {name} gaugehistogram")?;
        writeln!(page, "# UNIT {name} seconds")?;
        for (bound, count) in REMAINING_S.iter().zip(self.within) {
            writeln!(page, "{name}_bucket{{le=\"{bound}.0\"}} {count}")?;
        }
        writeln!(page, "{name}_bucket{{le=\"+Inf\"}} {}", self.all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_cumulative_and_the_last_holds_all() {
        let one = Remaining {
            within: [0, 1, 1, 2, 2, 2, 2, 2, 2],
            all: 3,
        };
        let mut page = String::new();
        let both = one.with(one);
        both.write_gauge_histogram(&mut page, "left_seconds", "How long")
            .unwrap();
        for line in [
            "# TYPE left_seconds gaugehistogram\n",
            "left_seconds_bucket{le=\"60.0\"} 0\n",
            "left_seconds_bucket{le=\"300.0\"} 2\n",
            "left_seconds_bucket{le=\"2592000.0\"} 4\n",
            "left_seconds_bucket{le=\"+Inf\"} 6\n",
        ] {
            assert!(page.contains(line), "{line}{page}");
        }
    }
}
