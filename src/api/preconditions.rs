//! `If-None-Match` (RFC 9110, section 13.1.2): whether a caller has what it would be answered.

use poem::http::header::IF_NONE_MATCH;
use poem::http::{HeaderMap, HeaderValue};

use crate::token::ServedTag;

/// As `ETag` says it.
pub fn tag_value(tag: &ServedTag) -> Option<HeaderValue> {
    HeaderValue::from_bytes(tag.as_bytes()).ok()
}

/// Whether a caller names the tag of what it would be answered, which is given without `W/`. Looked
/// at last of all: whoever may not read it, or would be told of something else, is told that.
pub fn is_known(headers: &HeaderMap, opaque: &[u8]) -> bool {
    let mut values = headers.get_all(IF_NONE_MATCH).iter();
    values.any(|value| match value.as_bytes().trim_ascii() {
        b"*" => true,
        list => lists(list, opaque),
    })
}

/// Whether a list of tags has one, compared as the section wants it: weak or not. What is no list
/// is ignored from where it is none.
fn lists(list: &[u8], wanted: &[u8]) -> bool {
    let mut rest = list;
    loop {
        rest = rest.trim_ascii_start();
        while let Some(after) = rest.strip_prefix(b",") {
            rest = after.trim_ascii_start();
        }
        let tag = rest.strip_prefix(b"W/").unwrap_or(rest);
        let Some(inner) = tag.strip_prefix(b"\"") else {
            return false;
        };
        let Some(length) = inner.iter().position(|byte| *byte == b'"') else {
            return false;
        };
        // Both quotes belong to it.
        let (tag, after) = tag.split_at(length + 2);
        rest = after.trim_ascii_start();
        if !rest.is_empty() && !rest.starts_with(b",") {
            return false;
        }
        if tag == wanted {
            return true;
        }
    }
}

#[cfg(test)]
mod tests {
    use poem::http::HeaderValue;

    use super::*;
    use crate::foundation::clock::EpochMs;
    use crate::foundation::ids::{Generation, SecretId};
    use crate::token::expiry::Expiry;

    #[test]
    fn a_tag_is_found_weak_or_not_alone_or_in_a_list_or_by_an_asterisk() {
        let tag = ServedTag::of(SecretId(1), Generation(1), EpochMs(1), Expiry::Never);
        let weak = std::str::from_utf8(tag.as_bytes()).unwrap();
        let strong = std::str::from_utf8(tag.opaque()).unwrap();
        let bare = strong.trim_matches('"');
        let known = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(IF_NONE_MATCH, HeaderValue::from_str(value).unwrap());
            }
            is_known(&headers, tag.opaque())
        };
        for values in [
            &[weak][..],
            &[strong],
            &["*"],
            &[" * "],
            &[&format!("\"a\", W/\"b\",{weak}")],
            &[&format!(",, {strong} ,\"a\"")],
            &["\"a,b\"", weak],
            &[&format!("\"\",{strong}")],
        ] {
            assert!(known(values), "{values:?}");
        }
        for values in [
            &[][..],
            &[""],
            &["\"a\""],
            &[bare],
            &[&format!("w/{strong}")],
            &[&format!("\"{weak}\"")],
            &[&format!("\"a\" {strong}")],
            &[&format!("a, {strong}")],
            &[&format!("\"a, {strong}")],
            &["*, *"],
            &["\"*\""],
            &[&strong[1..]],
            &[&strong[..strong.len() - 1]],
        ] {
            assert!(!known(values), "{values:?}");
        }
    }
}
