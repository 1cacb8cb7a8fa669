//! JSON as providers send it: half of a surrogate pair harms only the text it stands in.

use std::borrow::Cow;

use serde_json::Value;

/// What stands for a character that cannot be represented.
pub const REPLACEMENT: char = '\u{fffd}';

/// Reads JSON. Half of a surrogate pair, as servers send it that cut texts (`"\ud83d"`), is no
/// character; what other readers make of it is [`REPLACEMENT`], and so does this one.
pub fn parse(text: &str) -> Result<Value, serde_json::Error> {
    serde_json::from_str(&without_halves(text))
}

/// Replaces the escapes that are half of a pair (RFC 8259, section 8.2).
fn without_halves(text: &str) -> Cow<'_, str> {
    // Of almost every text.
    if !text.contains("\\ud") && !text.contains("\\uD") {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    // Outside of texts a backslash is refused by whoever reads on, so it need not be known
    // where texts begin and end.
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        out.push_str(before);
        let length = match (unit(escape), escape.get(6..).and_then(unit)) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => 12,
            (Some(0xd800..=0xdfff), _) => {
                out.push(REPLACEMENT);
                rest = &escape[6..];
                continue;
            }
            (Some(_), _) => 6,
            // Another escape, or none.
            (None, _) => 1 + escape[1..].chars().next().map_or(0, char::len_utf8),
        };
        out.push_str(&escape[..length]);
        rest = &escape[length..];
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// The code unit of an escape `\uXXXX` that a text begins with.
fn unit(text: &str) -> Option<u16> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    let hexadecimal = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    hexadecimal
        .then(|| u16::from_str_radix(digits, 16).ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn half_of_a_pair_harms_only_the_text_it_stands_in() {
        for (text, expected) in [
            (
                r#"{"t":"good","m":"a\ud800b"}"#,
                json!({"t": "good", "m": "a\u{fffd}b"}),
            ),
            (
                r#"["\uDC00","\uDFFF\uD800"]"#,
                json!(["\u{fffd}", "\u{fffd}\u{fffd}"]),
            ),
            (r#"["\ud83d\ude00","\uD83D\uDE00"]"#, json!(["😀", "😀"])),
            (r#"["\ud83d\ud83d\ude00"]"#, json!(["\u{fffd}😀"])),
            (
                r#"["\ud83d\n","\ud83d\\ude00"]"#,
                json!(["\u{fffd}\n", "\u{fffd}\\ude00"]),
            ),
            (
                r#"["\\ud800","\\\ud800","\"\ud800\""]"#,
                json!(["\\ud800", "\\\u{fffd}", "\"\u{fffd}\""]),
            ),
            (r#"["\ud83d","\ude00"]"#, json!(["\u{fffd}", "\u{fffd}"])),
            (r#"{"\ud800":1}"#, json!({"\u{fffd}": 1})),
            (r#"["é\ud800店"]"#, json!(["é\u{fffd}店"])),
        ] {
            assert_eq!(parse(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_json_stays_none() {
        for text in [
            r#"["\ud80"]"#,
            r#"["\ud80z"]"#,
            r#"["\ud800]"#,
            r"\ud800",
            "[\"\\ud800\\",
            r#"["\ud8é"]"#,
            r#"["\ud800\x"]"#,
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_as_it_was_written(text in any::<String>(), tail in "[\\\\\"udD8C0z😀]{0,30}") {
            let value = json!([format!("{text}{tail}"), tail]);
            prop_assert_eq!(&parse(&value.to_string()).unwrap(), &value);
            // Whatever it is, nothing breaks.
            let _ = parse(&format!("\"{tail}\""));
        }
    }
}
