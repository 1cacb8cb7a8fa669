//! How long an issued token lives: what was stated, by whose clock, or what the document says
//! where nothing was.

use serde_json::Value;

use super::clocks::Clocks;
use super::lifetimes::{JwtDates, TimeFault, length_of, moment_of};
use super::render::Renderer;
use crate::foundation::clock::{EpochMs, Ms, Timeline};
use crate::realm::document::{DefaultExpiry, ExpiryRule, Extraction, LIFETIME_MAX_S, StatedExpiry};
use crate::realm::failure::Failure;
use crate::token::expiry::Expiry;

/// How long a token lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    /// Counted from the moment the request was sent; zero and less: it has ended.
    For(Ms),
    Endless,
}

impl Life {
    pub fn expiry(self, requested_at: EpochMs) -> Expiry {
        match self {
            Self::For(length) => Expiry::At(requested_at.plus(length)),
            Self::Endless => Expiry::Never,
        }
    }
}

/// A length of life, or a point of time by the clocks.
pub(super) fn read_life(
    stated: &StatedExpiry,
    value: &Value,
    clocks: &Clocks,
) -> Result<Life, Failure> {
    let life = match stated {
        StatedExpiry::In(_, unit) => length_of(value, *unit),
        StatedExpiry::At(_, form) => {
            let end = moment_of(value, form);
            end.and_then(|end| believed(clocks.life_of(end, None)))
        }
    };
    life.map(Life::For).map_err(|fault| {
        Failure::transient(match stated.extraction() {
            Extraction::Path(path) => format!("the expiry at {path} {fault}"),
            Extraction::Expression(_) => format!("the expiry by its expression {fault}"),
        })
    })
}

/// How long a JWT lives by its own dates; none where the token is no JWT.
pub(super) fn life_of_jwt(token: &str, clocks: &Clocks) -> Result<Option<Ms>, Failure> {
    let Some(dates) = JwtDates::of(token) else {
        return Ok(None);
    };
    let life = believed(clocks.life_of(dates.expires_at, dates.issued_at));
    life.map(Some)
        .map_err(|fault| Failure::transient(format!("the exp of the token {fault}")))
}

/// No life is longer than ten years, but one that a realm calls endless on purpose.
fn believed(life: Ms) -> Result<Ms, TimeFault> {
    if life > Ms::from_secs(LIFETIME_MAX_S) {
        return Err(TimeFault::Implausible("it is more than ten years ahead"));
    }
    Ok(life)
}

/// Where nothing says how long the token lives.
pub(super) fn default_life(
    rule: &ExpiryRule,
    render: &Renderer<'_>,
    why_needed: impl FnOnce() -> String,
) -> Result<Life, Failure> {
    let seconds = match &rule.default {
        Some(DefaultExpiry::Seconds(seconds)) => *seconds,
        Some(DefaultExpiry::Template(template)) => {
            let text = render.text("default_expires_in_s", template)?;
            let seconds = text.trim().parse().ok();
            let known = seconds.filter(|seconds| (0..=LIFETIME_MAX_S).contains(seconds));
            known.ok_or_else(|| {
                Failure::internal(format!(
                    "default_expires_in_s is not a whole number from 0 to {LIFETIME_MAX_S}, \
                     once it is rendered"
                ))
            })?
        }
        None => {
            return Err(Failure::internal(format!(
                "expiry_unknown: {}; mend that, or set default_expires_in_s",
                why_needed()
            )));
        }
    };
    Ok(match seconds {
        0 => Life::Endless,
        seconds => Life::For(Ms::from_secs(seconds)),
    })
}
