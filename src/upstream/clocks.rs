//! Two clocks: a point of time is read by the clock of whoever wrote it, as far as that is known.

use reqwest::header::{DATE, HeaderMap};

use super::lifetimes::http_date;
use crate::foundation::clock::{EpochMs, Ms, Timeline};

/// A `Date` that is farther from this server's clock says nothing.
const BELIEVED_WITHIN: Ms = Ms::from_secs(86_400);
/// `Date` holds whole seconds: the end of its second counts.
const SECOND: Ms = Ms(999);
/// A JWT that was issued longer ago may have been waiting at the provider.
const NEW_WITHIN: Ms = Ms::from_secs(60);
/// A difference that is worth telling.
const SKEW_TOLD: Ms = Ms::from_secs(10);

/// This server's clock when a request was sent, and the provider's when it answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clocks {
    pub sent_at: EpochMs,
    /// As the answer's `Date` says it; none where there is none, or one that is not believed.
    pub date: Option<EpochMs>,
}

impl Clocks {
    pub fn of(headers: &HeaderMap, sent_at: EpochMs) -> Self {
        let date = headers.get(DATE).and_then(|date| date.to_str().ok());
        let date = date.and_then(|date| http_date(date.trim()));
        let believed = |date: &EpochMs| date.since(sent_at).0.abs() <= BELIEVED_WITHIN.0;
        Self {
            sent_at,
            date: date.filter(believed),
        }
    }

    /// This server's clock alone.
    pub fn own(sent_at: EpochMs) -> Self {
        Self {
            sent_at,
            date: None,
        }
    }

    /// How long it is until a point of time that the provider named: by its clock and by ours,
    /// the shorter unless that is none. A JWT says when it was issued.
    pub fn life_of(&self, end: EpochMs, issued_at: Option<EpochMs>) -> Ms {
        let own = end.since(self.sent_at);
        let is_new = |issued: &EpochMs| {
            let age = self.sent_at.since(*issued).0;
            (-BELIEVED_WITHIN.0..=NEW_WITHIN.0).contains(&age)
        };
        let by_date = self.date.map(|date| end.since(date.plus(SECOND)));
        let by_writer = by_date.or_else(|| Some(end.since(issued_at.filter(is_new)?)));
        match by_writer {
            Some(by_writer) if own > Ms::ZERO && by_writer > Ms::ZERO => own.min(by_writer),
            Some(by_writer) => own.max(by_writer),
            None => own,
        }
    }

    /// What is to be said of a difference between the clocks.
    pub fn skew(&self) -> Option<String> {
        let ahead = self.date?.since(self.sent_at);
        let seconds = ahead.0.abs() / 1000;
        let side = if ahead > Ms::ZERO {
            "ahead of"
        } else {
            "behind"
        };
        (ahead.0.abs() > SKEW_TOLD.0)
            .then(|| format!("the provider's clock is {seconds} s {side} this server's"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: EpochMs = EpochMs(1_767_323_045_000);

    /// In seconds: how far the provider's clock is ahead, and the end of life by our clock.
    fn life(date: Option<i64>, end: i64, issued: Option<i64>) -> i64 {
        let at = |secs: i64| NOW.plus(Ms::from_secs(secs));
        let clocks = Clocks {
            sent_at: NOW,
            date: date.map(at),
        };
        clocks.life_of(at(end), issued.map(at)).0
    }

    #[test]
    fn the_shorter_life_by_two_clocks_counts_unless_it_is_none() {
        assert_eq!(life(None, 420, None), 420_000);
        assert_eq!(life(None, -5, None), -5000);
        // The provider's clock is ahead: its token lives 120 s.
        assert_eq!(life(Some(300), 420, None), 119_001);
        // It is behind: by our clock the token has ended before it was issued.
        assert_eq!(life(Some(-300), -180, None), 119_001);
        assert_eq!(life(Some(-300), 60, None), 60_000);
        // By both it has ended.
        assert_eq!(life(Some(300), 100, None), 100_000);
        assert_eq!(life(Some(10), -100, None), -100_000);
        // A JWT says when it was issued, where no date came with it.
        assert_eq!(life(None, 420, Some(300)), 120_000);
        assert_eq!(life(None, -20, Some(-50)), 30_000);
        assert_eq!(
            life(None, -20, Some(-3600)),
            -20_000,
            "it was issued long ago"
        );
        assert_eq!(life(None, 900, Some(-3600)), 900_000);
    }

    #[test]
    fn a_date_far_from_our_clock_is_not_believed_and_a_difference_above_ten_seconds_is_told() {
        let clocks = |date: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(DATE, date.parse().expect("a header"));
            Clocks::of(&headers, NOW)
        };
        for (date, skew) in [
            ("Fri, 02 Jan 2026 03:04:15 GMT", None),
            ("Fri, 02 Jan 2026 03:09:05 GMT", Some("300 s ahead of")),
            ("Fri, 02 Jan 2026 03:03:05 GMT", Some("60 s behind")),
            ("Sun, 04 Jan 2026 03:04:05 GMT", None),
            ("yesterday", None),
        ] {
            let told = clocks(date).skew();
            assert_eq!(told.is_some(), skew.is_some(), "{date}: {told:?}");
            let told = told.unwrap_or_default();
            assert!(told.contains(skew.unwrap_or_default()), "{told}");
        }
    }
}
