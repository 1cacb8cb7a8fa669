//! The characters of an answer: by its byte order mark, else by the charset that its header
//! declares, else by the encoding that its XML prolog declares (RFC 7303, section 3; Encoding
//! Standard, section 6), else UTF-8. What is not valid is refused, never replaced.

mod charset;

use encoding_rs::{Encoding, UTF_8};
use reqwest::header::HeaderMap;

use crate::realm::document::ResponseFormat;
use crate::realm::failure::Failure;
use charset::{charset, known, prolog, undeclared};

/// A name that is longer is no charset's, and no coding's.
const NAME_MAX_BYTES: usize = 30;

/// The bytes of an answer, and how they become characters.
pub(super) struct Characters<'a> {
    /// Without the mark.
    bytes: &'a [u8],
    encoding: &'static Encoding,
    declared: Declared,
}

/// What an answer says of its charset.
enum Declared {
    Nothing,
    Known,
    Unknown(String),
}

impl<'a> Characters<'a> {
    pub fn of(bytes: &'a [u8], headers: &HeaderMap, format: ResponseFormat) -> Self {
        if let Some((encoding, mark)) = Encoding::for_bom(bytes) {
            return Self {
                bytes: bytes.get(mark..).unwrap_or_default(),
                encoding,
                declared: Declared::Known,
            };
        }
        let of_prolog = || (format == ResponseFormat::Xml).then(|| prolog(bytes));
        let labels = [charset(headers), of_prolog().flatten()];
        let mut labels = labels.into_iter().flatten();
        let known = labels.clone().find_map(|label| known(&label, bytes));
        let (encoding, declared) = match (known, labels.next()) {
            (Some(encoding), _) => (encoding, Declared::Known),
            (None, Some(label)) => (UTF_8, Declared::Unknown(label)),
            (None, None) => (undeclared(bytes, format), Declared::Nothing),
        };
        Self {
            bytes,
            encoding,
            declared,
        }
    }

    /// The whole text.
    pub fn text(&self) -> Result<String, Failure> {
        self.decode(self.bytes).ok_or_else(|| self.fault())
    }

    /// Decodes other bytes of the answer.
    pub fn decode(&self, bytes: &[u8]) -> Option<String> {
        self.encoding
            .decode_without_bom_handling_and_without_replacement(bytes)
            .map(String::from)
    }

    /// The bytes themselves, where what is ASCII in them can be told without decoding.
    pub fn as_ascii(&self) -> Option<&'a [u8]> {
        self.encoding.is_ascii_compatible().then_some(self.bytes)
    }

    /// What is said of bytes that are not valid.
    pub fn fault(&self) -> Failure {
        Failure::transient(match &self.declared {
            Declared::Nothing if self.encoding == UTF_8 => {
                "the answer is neither UTF-8 nor says its charset".to_owned()
            }
            Declared::Unknown(label) => {
                let named = named(label);
                format!("the answer's charset{named} is not known, and it is not UTF-8")
            }
            Declared::Nothing | Declared::Known => {
                format!("the answer is not valid {}", self.encoding.name())
            }
        })
    }
}

/// What is said of a name that an answer gives and nobody knows: nothing, where it may be
/// anything. Whole or not at all, so that a credential in it is found and masked.
pub(super) fn named(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:+".contains(&byte);
    if name.len() <= NAME_MAX_BYTES && name.bytes().all(plain) {
        format!(", {name},")
    } else {
        String::new()
    }
}

#[cfg(test)]
mod tests {
    use encoding_rs::{BIG5, EUC_KR, GB18030, GBK, ISO_8859_2, SHIFT_JIS, WINDOWS_1252};
    use proptest::prelude::*;
    use reqwest::header::CONTENT_TYPE;

    use super::*;

    const JSON: ResponseFormat = ResponseFormat::Json;
    const XML: ResponseFormat = ResponseFormat::Xml;
    const TEXT: ResponseFormat = ResponseFormat::Text;

    fn read(content_type: &str, bytes: &[u8], format: ResponseFormat) -> Result<String, String> {
        let mut headers = HeaderMap::new();
        if !content_type.is_empty() {
            headers.insert(CONTENT_TYPE, content_type.parse().unwrap());
        }
        Characters::of(bytes, &headers, format)
            .text()
            .map_err(|failure| failure.detail)
    }

    fn encoded(encoding: &'static Encoding, text: &str) -> Vec<u8> {
        let (bytes, _, unmappable) = encoding.encode(text);
        assert!(!unmappable, "{text}");
        bytes.into_owned()
    }

    fn utf_16(text: &str, bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
        text.encode_utf16().flat_map(bytes).collect()
    }

    #[test]
    fn a_declared_charset_is_honoured_however_it_is_written() {
        for (content_type, encoding, text) in [
            ("application/json; charset=GBK", GBK, r#"{"shop":"店铺"}"#),
            ("application/json;charset=gb2312", GBK, r#"{"shop":"店铺"}"#),
            (
                "text/html; a=b; Charset=\"gb18030\"",
                GB18030,
                r#"{"shop":"店😀"}"#,
            ),
            (
                "text/plain; charset = Shift_JIS",
                SHIFT_JIS,
                r#"{"shop":"表示ソ"}"#,
            ),
            ("text/plain; charset='windows-31j'; x", SHIFT_JIS, "能"),
            (
                "application/json; CHARSET=Big5",
                BIG5,
                r#"{"shop":"功蓋許"}"#,
            ),
            ("application/json; charset=euc-kr", EUC_KR, "가게"),
            (
                "application/json; charset=windows-1252",
                WINDOWS_1252,
                "Café – €",
            ),
            ("application/json; charset=ISO-8859-1", WINDOWS_1252, "Café"),
            ("application/json; charset=latin2", ISO_8859_2, "łódź"),
            ("application/json; charset=utf8", UTF_8, "店"),
            ("application/json; charset=US-ASCII", UTF_8, "店"),
        ] {
            let bytes = encoded(encoding, text);
            for format in [JSON, XML, TEXT] {
                assert_eq!(read(content_type, &bytes, format).as_deref(), Ok(text));
            }
        }
    }

    #[test]
    fn a_mark_is_no_character_and_wins_over_what_is_declared() {
        let text = "<?xml version='1.0' encoding='GBK'?><a>店é</a>";
        for (mark, bytes) in [
            (&[0xef, 0xbb, 0xbf][..], text.as_bytes().to_vec()),
            (&[0xff, 0xfe], utf_16(text, u16::to_le_bytes)),
            (&[0xfe, 0xff], utf_16(text, u16::to_be_bytes)),
        ] {
            let bytes = [mark, &bytes].concat();
            for content_type in [
                "",
                "text/xml; charset=iso-8859-1",
                "text/xml; charset=utf-16",
            ] {
                for format in [JSON, XML, TEXT] {
                    assert_eq!(read(content_type, &bytes, format).as_deref(), Ok(text));
                }
            }
        }
    }

    #[test]
    fn utf_16_without_a_mark_is_read_where_it_is_declared_or_cannot_be_anything_else() {
        let text = r#"{"shop":"店"}"#;
        let (little, big) = (
            utf_16(text, u16::to_le_bytes),
            utf_16(text, u16::to_be_bytes),
        );
        for (content_type, bytes) in [
            ("a/b; charset=utf-16", &little),
            ("a/b; charset=utf-16", &big),
            ("a/b; charset=UTF-16LE", &little),
            ("a/b; charset=utf-16be", &big),
            ("", &little),
            ("", &big),
        ] {
            assert_eq!(
                read(content_type, bytes, JSON).as_deref(),
                Ok(text),
                "{content_type}"
            );
        }
        let odd = &little[..little.len() - 1];
        let refused = read("a/b; charset=utf-16", odd, JSON);
        assert_eq!(refused, Err("the answer is not valid UTF-16LE".to_owned()));
    }

    #[test]
    fn an_xml_prolog_is_honoured_where_no_header_declares_a_charset() {
        let of = |label: &str, text: &str| {
            format!("<?xml version=\"1.0\" encoding={label}?><a>{text}</a>")
        };
        for (label, encoding, text) in [
            ("\"GBK\"", GBK, "店铺"),
            ("'shift_jis' standalone='yes'", SHIFT_JIS, "表"),
            ("\"Big5\"", BIG5, "功"),
            (
                " = \"ISO-8859-1\"".trim_start_matches(" = "),
                WINDOWS_1252,
                "é",
            ),
            // What can be read as ASCII is not in UTF-16.
            ("\"UTF-16\"", UTF_8, "店"),
            ("\"nonsense\"", UTF_8, "店"),
        ] {
            let xml = of(label, text);
            let bytes = encoded(encoding, &xml);
            assert_eq!(read("text/xml", &bytes, XML), Ok(xml.clone()), "{label}");
            let unknown = read("text/xml; charset=nonsense", &bytes, XML);
            assert_eq!(unknown, Ok(xml), "{label}");
        }
        let xml = of("\"GBK\"", "店");
        let utf8 = read("text/xml; charset=utf-8", xml.as_bytes(), XML);
        assert_eq!(utf8, Ok(xml.clone()));
        // No other format has a prolog.
        assert!(read("", &encoded(GBK, &xml), TEXT).is_err());
    }

    #[test]
    fn bytes_that_are_not_valid_are_refused_by_name() {
        for (content_type, bytes, told) in [
            (
                "a/b; charset=gbk",
                &[b'"', 0xff, b'"'][..],
                "the answer is not valid GBK",
            ),
            (
                "a/b; charset=utf-8",
                &[0xb5, 0xea],
                "the answer is not valid UTF-8",
            ),
            (
                "a/b; charset=big5",
                b"\x81\x20",
                "the answer is not valid Big5",
            ),
            (
                "a/b; charset=sjis",
                b"\x81",
                "the answer is not valid Shift_JIS",
            ),
            (
                "a/b; charset=ascii",
                b"\xe9",
                "the answer is not valid UTF-8",
            ),
            ("", b"\xef\xbb\xbf\xb5\xea", "the answer is not valid UTF-8"),
            (
                "",
                &[0xb5, 0xea],
                "the answer is neither UTF-8 nor says its charset",
            ),
            (
                "a/b; charset=",
                &[0xb5, 0xea],
                "the answer is neither UTF-8 nor says its charset",
            ),
            (
                "a/b",
                b"\"\xed\xa0\x80\"",
                "the answer is neither UTF-8 nor says its charset",
            ),
            (
                "a/b; charset=x-own",
                &[0xb5, 0xea],
                "the answer's charset, x-own, is not known, and it is not UTF-8",
            ),
            (
                "a/b; charset=some words",
                &[0xb5, 0xea],
                "the answer's charset is not known, and it is not UTF-8",
            ),
            // This one has never had a safe decoder.
            (
                "a/b; charset=iso-2022-kr",
                &[0xb5, 0xea],
                "the answer's charset, iso-2022-kr, is not known, and it is not UTF-8",
            ),
        ] {
            for format in [JSON, XML, TEXT] {
                let refused = read(content_type, bytes, format);
                assert_eq!(refused, Err(told.to_owned()), "{content_type}");
            }
        }
    }

    proptest! {
        #[test]
        fn whatever_comes_nothing_breaks(
            bytes in prop::collection::vec(any::<u8>(), 0..300),
            label in prop::sample::select(vec!["", "utf-16", "gbk", "iso-2022-jp", "x", "big5"]),
            start in prop::sample::select(vec![&b""[..], b"\xef\xbb\xbf", b"\xff\xfe", b"<?xml encoding=\""]),
        ) {
            let bytes = [start, &bytes].concat();
            for format in [JSON, XML, TEXT, ResponseFormat::Form] {
                let _ = read(&format!("a/b; charset={label}"), &bytes, format);
            }
        }
    }
}
