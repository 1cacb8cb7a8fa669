//! Strings within a text that may be tokens, whoever they belong to. A provider's message may
//! repeat one that this server does not know: that of another client, or one that came with it.

use super::percent_encoded::{decodings, escape_length};
use super::scope::MASK_IN_TEXT;

/// Shorter strings are codes and names.
const FROM_CHARS: usize = 20;

/// Takes what may be a token out of a text. Words, addresses, dates and UUIDs, by which a provider
/// finds a request, stay.
pub(super) fn without_tokens(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = run_begins(rest) {
        let (before, from_run) = rest.split_at(start);
        let (run, after) = from_run.split_at(run_length(from_run));
        shown.push_str(before);
        if run.contains('%') {
            push_encoded(&mut shown, run);
        } else {
            push_run(&mut shown, run);
        }
        rest = after;
    }
    shown.push_str(rest);
    shown
}

fn run_begins(text: &str) -> Option<usize> {
    let mut places = text.char_indices();
    places.find_map(|(at, c)| (is_of_token(c) || escape_length(&text[at..]) > 0).then_some(at))
}

/// The length of what a text begins with that consists of the characters of a token, as they are or
/// percent-encoded (RFC 3986, section 2.1).
fn run_length(text: &str) -> usize {
    let mut end = 0;
    while let Some(c) = text[end..].chars().next() {
        end += match is_of_token(c) {
            true => c.len_utf8(),
            false => match escape_length(&text[end..]) {
                0 => break,
                length => length,
            },
        };
    }
    end
}

/// What is encoded stays where nothing of what it says may be a token.
fn push_encoded(shown: &mut String, run: &str) {
    let has_token = decodings(run).iter().any(|said| holds_token(said));
    shown.push_str(if has_token { MASK_IN_TEXT } else { run });
}

fn holds_token(text: &str) -> bool {
    let mut runs = text.split(|c| !is_of_token(c));
    runs.any(|run| {
        let mut shown = String::new();
        push_run(&mut shown, run);
        shown != run
    })
}

/// What a bearer token consists of (RFC 6750, section 2.1).
fn is_of_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-._~+/=".contains(c)
}

/// Of an address only the part that may be a token is taken out; of anything else the whole.
fn push_run(shown: &mut String, run: &str) {
    let is_address = run.starts_with("//");
    let has_token = parts(run).any(is_token_like);
    if has_token && is_address {
        for part in run.split_inclusive(is_separator) {
            let bare = part.trim_end_matches(is_separator);
            shown.push_str(if is_token_like(bare) {
                MASK_IN_TEXT
            } else {
                bare
            });
            shown.push_str(&part[bare.len()..]);
        }
    } else if has_token || !is_address && is_base64(run) {
        shown.push_str(MASK_IN_TEXT);
    } else {
        shown.push_str(run);
    }
}

fn is_separator(c: char) -> bool {
    "./=~".contains(c)
}

fn parts(run: &str) -> impl Iterator<Item = &str> {
    run.split(is_separator)
}

/// Base64 has separators of its own, so that none of its parts may be long.
fn is_base64(run: &str) -> bool {
    // It may end a sentence.
    let run = run.trim_end_matches('.');
    let has = |what: fn(&u8) -> bool| run.bytes().any(|byte| what(&byte));
    run.len() >= FROM_CHARS
        && has(|byte| byte.is_ascii_digit())
        && has(u8::is_ascii_lowercase)
        && has(u8::is_ascii_uppercase)
        && (run.contains(['+', '/']) && !run.contains('.') || run.ends_with('='))
        && !parts(run)
            .flat_map(|part| part.split(['-', '_']))
            .all(is_word)
}

fn is_token_like(part: &str) -> bool {
    part.len() >= FROM_CHARS && !is_uuid_like(part) && !part.split(['-', '_', '+']).all(is_word)
}

/// Hexadecimal groups, as in the numbers of requests.
fn is_uuid_like(part: &str) -> bool {
    let is_group = |group: &str| {
        (1..=12).contains(&group.len()) && group.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    part.contains('-') && part.split('-').all(is_group)
}

/// A number, or letters as names have them, with a version or a year behind them: OAuth2, TLS13.
fn is_word(word: &str) -> bool {
    let digits = word.bytes().filter(u8::is_ascii_digit).count();
    if digits == word.len() {
        return digits < FROM_CHARS;
    }
    let trailing = word.bytes().rev().take_while(u8::is_ascii_digit).count();
    digits == trailing && digits <= 4 && has_case_of_a_name(word)
}

/// Names begin their words with capitals, and hold an abbreviation or two; what is drawn at random
/// has capitals beside each other, or changes all the time.
fn has_case_of_a_name(word: &str) -> bool {
    let is_upper: Vec<bool> = word.bytes().map(|byte| byte.is_ascii_uppercase()).collect();
    let runs = is_upper.chunk_by(|one, next| one == next);
    let (mut changes, mut abbreviations) = (0, 0);
    for run in runs {
        changes += 1;
        abbreviations += usize::from(run.len() > 1 && run.contains(&true));
    }
    changes <= 2 + word.len() * 2 / 3 && abbreviations <= 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_a_token_is_taken_out_of_a_text() {
        for token in [
            "gho_16C7e42F292c6912E7710c838347Ae178B4a",
            "eyJhbGciOiJSUzI1NiIsImtpZCI6IjEifQ.eyJzdWIiOiIxMjM0NTY3ODkwIn0.c2lnbmF0dXJl",
            "ya29.a0AfH6SMBx4nQ7T9pZ-1kLmWc_dE2rYuVqGhJs8",
            "5f0f2c1b9a8e4d7c6b5a49382716050f",
            "xoxb-17653672481-19874698323-pdFZKVeTuE8sk7oOcHrzqqgy",
            "MTIzNDU2Nzg5MGFi+Y2RlZg==",
            "aG9/bGE+cXVl/dGFs9Zm9v+bGFy4Yg==",
            "QwErTyUiOpAsDfGhJkLzXcVbNm",
            "k7Tz9Qw/3mXv8Lp2Rb/5nGh1Ys4Dc",
            "abCDefGHijKLmnOPqrSTuvWXyz",
            "72_Vb1xG9Hq0RrTn2oYkP3sLw8uDfE5jZaCiMt7",
        ] {
            for text in [
                format!("token {token} is revoked"),
                format!("\"{token}\""),
                format!("access_token={token}&x=1"),
                format!("token:{token}."),
            ] {
                let shown = without_tokens(&text);
                assert!(!shown.contains(token), "{text} became {shown}");
                assert!(shown.contains(MASK_IN_TEXT), "{text} became {shown}");
            }
        }
    }

    #[test]
    fn what_may_be_a_token_is_taken_out_where_it_is_percent_encoded() {
        for token in [
            "NDU2Nzg5MGFiY2Rl%2BY2RlZg%3D%3D",
            "k7Tz9Qw%2F3mXv8Lp2Rb%2F5nGh1Ys4Dc",
            "k7Tz9Qw%2f3mXv8Lp2Rb%2f5nGh1Ys4Dc",
            "k7Tz9Qw%252F3mXv8Lp2Rb%252F5nGh1Ys4Dc",
            "5f0f2c1b9a%38e4d7c6b5a493%3827160%35f",
            "%35%66%30%66%32%63%31%62%39%61%38%65%34%64%37%63%36%62%35%61%34%39%33%38",
        ] {
            for text in [
                format!("token {token} is revoked"),
                format!("https%3A%2F%2Fapi.example%2Fcb%3Faccess_token%3D{token}%26x%3D1"),
                format!("state={token}&x=1"),
            ] {
                let shown = without_tokens(&text);
                assert!(!shown.contains(&token[..7]), "{text} became {shown}");
                assert!(shown.contains(MASK_IN_TEXT), "{text} became {shown}");
            }
        }
    }

    #[test]
    fn words_addresses_dates_and_numbers_of_requests_stay() {
        for text in [
            "AADSTS7000215: Invalid client secret provided. Trace ID: 0b6f2a1c-13d4-4c1e-9a53-6f1d7a1b2c3d",
            "Correlation ID: 6D2BAD19-0F3B-4C8E-A7F1-1234567890AB Timestamp: 2026-11-29 10:11:12Z",
            "invalid credential, access_token is invalid or not latest, rid: 61a1c2d4-1a2b3c4d-5e6f7a8b",
            "see https://developer.example.com/docs/oauth2/client-credentials-2024/errors.html",
            "unsupported_grant_type: urn:ietf:params:oauth:grant-type:jwt-bearer",
            "POST /api/OAuth2/accessToken/issue2 failed",
            "code Forbidden.AccessDenied.QpsLimitForAppkeyAndApi",
            "OAuthClientAuthenticationFailedException in application/x-www-form-urlencoded",
            "dop.token-generate-failed:no-authorization at 2026-11-29T10:11:12.123456Z",
            "appid=wx1234 is not on the list of 203.0.113.7, errcode 40164",
            "the client 12345678901234 has no right to https://api.example.com/v2/token",
            "密钥错误 (code 40001)",
            "%E5%AF%86%E9%92%A5%E9%94%99%E8%AF%AF%20(code%2040001)",
            "redirect_uri https%3A%2F%2Fapp.example.com%2Foauth2%2Fcallback is not registered",
            "used 100% of 50%",
            "",
        ] {
            assert_eq!(without_tokens(text), text);
        }
    }

    #[test]
    fn of_an_address_only_the_token_is_taken_out() {
        let text = "https://api.example.com/v1/5f0f2c1b9a8e4d7c6b5a49382716050f/token is gone";
        let shown = "https://api.example.com/v1/***/token is gone";
        assert_eq!(without_tokens(text), shown);
    }
}
