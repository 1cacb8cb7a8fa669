//! Which charset an answer is in: what its header and its XML prolog say, and what its first bytes
//! tell.

use std::sync::LazyLock;

use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE};
use regex_lite::Regex;
use reqwest::header::{CONTENT_TYPE, HeaderMap};

use crate::realm::document::ResponseFormat;

/// An XML declaration is read so far (XML 1.0, section 2.8).
const PROLOG_MAX_BYTES: usize = 256;
/// ASCII has no byte above 127. Where such bytes come nevertheless, they are UTF-8 or an
/// error; the Encoding Standard would take them for windows-1252.
const ASCII: [&str; 5] = ["us-ascii", "ascii", "iso646-us", "ansi_x3.4-1968", "us"];

/// The parameter of Content-Type (RFC 9110, section 8.3.1).
pub(super) fn charset(headers: &HeaderMap) -> Option<String> {
    let media_type = headers.get(CONTENT_TYPE)?.as_bytes();
    let media_type = String::from_utf8_lossy(media_type);
    media_type.split(';').skip(1).find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        let is_charset = name.trim().eq_ignore_ascii_case("charset");
        is_charset.then(|| label(value)).flatten()
    })
}

/// The encoding that an XML declaration names. Whoever reads it without knowing the encoding
/// cannot be reading UTF-16 (HTML does the same with its `meta`).
pub(super) fn prolog(bytes: &[u8]) -> Option<String> {
    static DECLARATION: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r#"^\s*<\?xml\s[^>]*?\sencoding\s*=\s*["']([^"'>]+)["']"#)
            .expect("the pattern is constant")
    });
    let start = &bytes[..bytes.len().min(PROLOG_MAX_BYTES)];
    let start = String::from_utf8_lossy(start);
    let declared = DECLARATION.captures(&start)?.get(1)?;
    label(declared.as_str()).filter(|label| !is_utf_16(label))
}

/// A name of a charset, without quotes and blanks; none where it is empty.
fn label(value: &str) -> Option<String> {
    let quotes = |c: char| c.is_ascii_whitespace() || c == '"' || c == '\'';
    let label = value.trim_matches(quotes);
    (!label.is_empty()).then(|| label.to_owned())
}

fn is_utf_16(label: &str) -> bool {
    let encoding = Encoding::for_label(label.as_bytes());
    encoding == Some(UTF_16LE) || encoding == Some(UTF_16BE)
}

/// The encoding of a name (Encoding Standard, section 4.2).
pub(super) fn known(label: &str, bytes: &[u8]) -> Option<&'static Encoding> {
    let label = label.to_ascii_lowercase();
    if ASCII.contains(&label.as_str()) {
        return Some(UTF_8);
    }
    let encoding = Encoding::for_label_no_replacement(label.as_bytes())?;
    // A name that leaves the order of bytes open: whatever is meant for machines begins with
    // ASCII (RFC 2781, section 4.3, trusts a mark that is not there).
    if encoding == UTF_16LE && label != "utf-16le" {
        return Some(without_mark(bytes).unwrap_or(encoding));
    }
    Some(encoding)
}

/// UTF-16 by the NULs beside its first characters, which are ASCII (RFC 4627, section 3; XML
/// 1.0, appendix F.1).
fn without_mark(bytes: &[u8]) -> Option<&'static Encoding> {
    match bytes {
        [0, first, 0, _, ..] if *first != 0 => Some(UTF_16BE),
        [first, 0, second, 0, ..] if *first != 0 && *second != 0 => Some(UTF_16LE),
        _ => None,
    }
}

/// The encoding of an answer that says nothing of it.
pub(super) fn undeclared(bytes: &[u8], format: ResponseFormat) -> &'static Encoding {
    match format {
        // Neither can begin with a NUL, or hold one.
        ResponseFormat::Json | ResponseFormat::Xml => without_mark(bytes).unwrap_or(UTF_8),
        ResponseFormat::Form | ResponseFormat::Text => UTF_8,
    }
}
