//! Reads what is encoded as `application/x-www-form-urlencoded` (URL Standard, section 5.1).

use percent_encoding::percent_decode;
use serde_json::{Map, Value};

/// The pairs of a form; names that are repeated have lists. None: `decode` cannot read the
/// bytes of a name or a value.
pub fn parse(form: &[u8], decode: impl Fn(&[u8]) -> Option<String>) -> Option<Map<String, Value>> {
    let mut read = Map::new();
    let text = |part: &[u8]| {
        let blanks: Vec<u8> = part
            .iter()
            .map(|byte| if *byte == b'+' { b' ' } else { *byte })
            .collect();
        decode(&percent_decode(&blanks).collect::<Vec<u8>>())
    };
    let pairs = form.split(|byte| *byte == b'&');
    for pair in pairs.filter(|pair| !pair.is_empty()) {
        let mut parts = pair.splitn(2, |byte| *byte == b'=');
        let name = text(parts.next().unwrap_or_default())?;
        let value = Value::String(text(parts.next().unwrap_or_default())?);
        match read.get_mut(&name) {
            None => {
                read.insert(name, value);
            }
            Some(Value::Array(values)) => values.push(value),
            Some(single) => *single = Value::Array(vec![single.take(), value]),
        }
    }
    Some(read)
}

/// The pairs of a form in UTF-8, as it is unless a charset is declared.
pub fn parse_utf8(form: &str) -> Option<Map<String, Value>> {
    parse(form.as_bytes(), |bytes| {
        String::from_utf8(bytes.to_vec()).ok()
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn pairs_are_decoded_and_repeated_names_have_lists() {
        for (form, expected) in [
            (
                "access_token=a%2Bb%7Cc&expires_in=3600",
                json!({"access_token": "a+b|c", "expires_in": "3600"}),
            ),
            ("a=1&b=2&a=3&a=", json!({"a": ["1", "3", ""], "b": "2"})),
            ("a+b=c+d%20e&%61=%2b", json!({"a b": "c d e", "a": "+"})),
            ("a=b=c==&&x&=y&", json!({"a": "b=c==", "x": "", "": "y"})),
            ("a=%E5%BA%97&b=店", json!({"a": "店", "b": "店"})),
            ("a=%&b=%4&c=%zz", json!({"a": "%", "b": "%4", "c": "%zz"})),
            ("", json!({})),
        ] {
            assert_eq!(
                parse_utf8(form).map(Value::Object),
                Some(expected),
                "{form}"
            );
        }
        assert_eq!(parse_utf8("a=b&c=%B5%EA"), None);
    }
}
