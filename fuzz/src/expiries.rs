//! Lengths of life and points of time in every form, through everything they are put to.

use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use token_server::foundation::clock::{EpochMs, Ms, Timeline};
use token_server::foundation::randomness::Randomness;
use token_server::realm::date_form::DateForm;
use token_server::realm::document::{ExpiryUnit, LIFETIME_MAX_S, ProviderDocument};
use token_server::realm::policy::Policy;
use token_server::secret::params::Params;
use token_server::token::expiry::{attempt_floor, lead_band, schedule};
use token_server::upstream::HttpAnswer;
use token_server::upstream::lifetimes::{JwtDates, http_date, length_of, moment_of};

use super::{NOW, document, held};

/// The most a realm's policy may say, in seconds: thirty days.
const LEAD_MAX_S: i64 = 30 * 86_400;
/// 2000 to 2100: no other moment is believed.
const YEARS: std::ops::Range<i64> = 946_684_800_000..4_102_444_800_000;

static RANDOMNESS: LazyLock<Randomness> = LazyLock::new(|| Randomness::seeded(1));

/// What an answer says, read as each of these.
static DOCUMENTS: LazyLock<Vec<ProviderDocument>> = LazyLock::new(|| {
    let stated = [
        json!({"expires_in_path": "e"}),
        json!({"expires_in_path": "e", "expires_in_unit": "ms"}),
        json!({"expires_in": "body.e", "default_expires_in_s": 0}),
        json!({"expires_at_path": "e"}),
        json!({"expires_at": "body.e | int", "default_expires_in_s": 60}),
        json!({"expires_in_path": "e", "refresh_token_path": "r", "refresh_expires_in_path": "r_e"}),
        json!({}),
    ];
    let documents = stated.into_iter().map(|mut config| {
        config["url"] = "https://p.example/t".into();
        config["method"] = "POST".into();
        config["token_path"] = "t".into();
        document(&config)
    });
    documents.collect()
});

/// The first bytes choose the policy, the document and where it stands; the rest is the
/// value: JSON, or else a text.
pub fn fuzz(input: &[u8]) {
    let Some((chosen, value)) = input.split_first_chunk::<6>() else {
        return;
    };
    let text = String::from_utf8_lossy(value);
    let value = serde_json::from_str(&text).unwrap_or_else(|_| Value::String(text.to_string()));
    let jwt = format!(
        "h.{}.s",
        URL_SAFE_NO_PAD.encode(json!({"exp": value}).to_string())
    );
    let policy = policy(chosen);

    for unit in [
        ExpiryUnit::Seconds,
        ExpiryUnit::Milliseconds,
        ExpiryUnit::DaysClock,
        ExpiryUnit::HoursClock,
    ] {
        if let Ok(length) = length_of(&value, unit) {
            let longest = Ms::from_secs(LIFETIME_MAX_S);
            assert!(length <= longest && length >= Ms(-longest.0), "{length:?}");
            due(NOW.plus(length), &policy);
        }
    }
    let jwt_end = |token: &str| JwtDates::of(token).map(|dates| dates.expires_at);
    let known = [
        moment_of(&value, &DateForm::default()).ok(),
        jwt_end(&jwt),
        jwt_end(&text),
    ];
    for moment in known.into_iter().flatten() {
        assert!(YEARS.contains(&moment.0), "{moment:?}");
    }
    let moments = known.into_iter().chain([http_date(&text)]);
    for moment in moments.flatten() {
        assert!(!moment.to_rfc3339().is_empty());
        due(moment, &policy);
    }
    let document = &DOCUMENTS[usize::from(chosen[4]) % DOCUMENTS.len()];
    let token = if chosen[5] % 2 == 0 { "t" } else { &jwt };
    let body = json!({"t": token, "e": value, "r": "r", "r_e": value});
    let answer = HttpAnswer {
        status: StatusCode::OK,
        headers: HeaderMap::new(),
        body: Ok(body.to_string().into_bytes()),
    };
    held::read(document, &Params::default(), &answer);
}

/// A policy as a realm document may have it.
fn policy(chosen: &[u8; 6]) -> Policy {
    let seconds = |high: u8, low: u8| {
        let chosen = i64::from(u16::from_be_bytes([high, low]));
        // Spread over what is allowed.
        (chosen > 0).then(|| Ms::from_secs((chosen * 40).clamp(1, LEAD_MAX_S)))
    };
    let window = seconds(chosen[0], chosen[1]);
    let renew_before = seconds(chosen[2], chosen[3]);
    Policy {
        // What is not before the window is refused.
        renew_before: renew_before.filter(|before| window.is_none_or(|window| *before < window)),
        window,
        ..Policy::default()
    }
}

/// When a token that ends there is due.
fn due(end: EpochMs, policy: &Policy) {
    let lifetime = end.since(NOW);
    for first in [true, false] {
        let band = lead_band(lifetime, policy, first);
        assert!(band.near >= Ms::ZERO && band.near <= band.far, "{band:?}");
        assert!(band.far <= lifetime.max(Ms::ZERO), "{band:?}");
        let due = schedule(NOW, end, policy, first, &RANDOMNESS);
        assert!(due.lead >= band.near && due.lead <= band.far, "{due:?}");
        assert!(attempt_floor(due.lead) >= Ms::from_secs(1));
        assert!(due.renew_at.since(NOW) >= Ms::from_secs(1), "{due:?}");
        assert!(
            due.renew_at <= end.max(NOW.plus(Ms::from_secs(5))),
            "{due:?}"
        );
    }
}
