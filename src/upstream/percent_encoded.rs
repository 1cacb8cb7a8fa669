//! What a text says where parts of it are percent-encoded (RFC 3986, section 2.1): a provider may
//! repeat a URL or a form that it was sent.

use percent_encoding::percent_decode_str;

/// How often a text may have been encoded, as a URL is within a URL within a form.
const TIMES_MAX: usize = 3;

/// The length of the encoded byte that a text begins with, or 0.
pub(super) fn escape_length(text: &str) -> usize {
    match text.as_bytes() {
        [b'%', high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => 3,
        _ => 0,
    }
}

/// What a text says once it is decoded, and decoded again; nothing where nothing is encoded.
pub(super) fn decodings(text: &str) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for _ in 0..TIMES_MAX {
        let before = all.last().map_or(text, String::as_str);
        let said = percent_decode_str(before).decode_utf8_lossy().into_owned();
        if said == before {
            break;
        }
        all.push(said);
    }
    all
}

/// Puts a mask in place of each word that says a secret once it is decoded.
pub(super) fn without_encoded(text: &str, mask: &str, is_secret: impl Fn(&str) -> bool) -> String {
    if !text.contains('%') {
        return text.to_owned();
    }
    let says_secret = |word: &str| {
        let decoded = decodings(word);
        // A form writes a blank so.
        let mut said = decoded.iter();
        said.any(|said| is_secret(said) || is_secret(&said.replace('+', " ")))
    };
    let is_around = |c: char| c.is_whitespace() || "\"'<>&".contains(c);
    let mut shown = String::with_capacity(text.len());
    for part in text.split_inclusive(is_around) {
        let word = part.trim_end_matches(is_around);
        shown.push_str(if says_secret(word) { mask } else { word });
        shown.push_str(&part[word.len()..]);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_decoded_as_often_as_it_was_encoded() {
        assert_eq!(decodings("plain"), Vec::<String>::new());
        assert_eq!(decodings("a%2Bb"), ["a+b"]);
        assert_eq!(decodings("a%252fb"), ["a%2fb", "a/b"]);
        assert_eq!(decodings("a%25252fb").last().unwrap(), "a/b");
        assert_eq!(decodings("100%"), Vec::<String>::new());
        assert!(decodings(&"%25".repeat(1000)).len() <= TIMES_MAX);
    }

    #[test]
    fn a_word_that_says_a_secret_is_taken_out_however_it_is_encoded() {
        let is_secret = |said: &str| said.contains("p@ss/w rd=");
        for encoded in [
            "p%40ss%2Fw%20rd%3D",
            "p%40ss%2fw+rd%3d",
            "p@ss/w%20rd=",
            "%70%40%73%73%2F%77%20%72%64%3D",
            "p%2540ss%252Fw%2520rd%253D",
        ] {
            let text = format!("no client has \"{encoded}\" & x=1");
            let shown = without_encoded(&text, "***", is_secret);
            assert_eq!(shown, "no client has \"***\" & x=1", "{encoded}");
        }
        for other in ["50% of p%20ss", "p@ss", "", "%", "a%20b\u{e9}%zz"] {
            assert_eq!(without_encoded(other, "***", is_secret), other);
        }
    }
}
