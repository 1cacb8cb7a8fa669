//! The flat XML of WeChat and WeCom: `<xml>` around elements that hold text.

use serde_json::Value;
use zeroize::Zeroizing;

use crate::foundation::xml;

/// The document cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotFlatXml;

/// A text may be a ticket, so it is wiped.
pub type Text = Zeroizing<String>;

/// The texts of these children of `<xml>`, without the blanks around them: the providers'
/// own examples have some. What stands deeper belongs to events that nobody reads here.
pub fn texts<const N: usize>(
    document: &[u8],
    names: [&str; N],
) -> Result<[Option<Text>; N], NotFlatXml> {
    let document = std::str::from_utf8(document).map_err(|_| NotFlatXml)?;
    let read = xml::parse(document).map_err(|_| NotFlatXml)?;
    let children = read.get("xml").and_then(Value::as_object);
    let children = children.ok_or(NotFlatXml)?;
    let mut found: [Option<Text>; N] = std::array::from_fn(|_| None);
    for (name, place) in names.iter().zip(&mut found) {
        *place = children.get(*name).map(text).transpose()?;
    }
    Ok(found)
}

/// One that stands there twice, or has elements in it, could be read in two ways.
fn text(value: &Value) -> Result<Text, NotFlatXml> {
    let text = match value {
        Value::String(text) => text,
        Value::Object(parts) if parts.keys().all(|name| name.starts_with(['@', '#'])) => parts
            .get("#text")
            .and_then(Value::as_str)
            .unwrap_or_default(),
        _ => return Err(NotFlatXml),
    };
    Ok(Text::new(text.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(document: &str) -> Result<[Option<String>; 2], NotFlatXml> {
        texts(document.as_bytes(), ["A", "B"])
            .map(|found| found.map(|text| text.map(|text| text.as_str().to_owned())))
    }

    fn some(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn texts_are_read_whether_in_cdata_or_not_and_without_blanks_around_them() {
        let document = "<?xml version=\"1.0\"?>\n<xml>\n <A> <![CDATA[x<y]]></A><!-- c -->\
                        <B a=\"1\">\n1 &lt;&#50; </B>\n</xml>\n";
        assert_eq!(read(document), Ok([some("x<y"), some("1 <2")]));
    }

    #[test]
    fn what_is_not_asked_for_or_stands_deeper_is_passed_over() {
        let document = "<xml><C><A>1</A><A>2</A></C><D/><B/></xml>";
        assert_eq!(read(document), Ok([None, some("")]));
    }

    #[test]
    fn a_document_type_is_refused() {
        for document in [
            "<!DOCTYPE xml><xml><A>1</A></xml>",
            "<!DOCTYPE xml [<!ENTITY a \"b\">]><xml><A>&a;</A></xml>",
            "<!DOCTYPE xml SYSTEM \"http://127.0.0.1/\"><xml/>",
            "<xml><!DOCTYPE xml><A>1</A></xml>",
        ] {
            assert_eq!(read(document), Err(NotFlatXml), "{document}");
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        for document in [
            "",
            "text",
            "<xml>",
            "<xml/>",
            "</xml>",
            "<xml><A>1</B></xml>",
            "<xml><A>1</A></xml><xml><A>2</A></xml>",
            "<xml><A>1</A></xml>text",
            "<xml><A>1</A><A>2</A></xml>",
            "<xml><A/><A>2</A></xml>",
            "<xml><A>1<C>2</C></A></xml>",
            "<other><A>1</A></other>",
            "<xml><A>&unknown;</A></xml>",
            "<xml><A>&#0;</A></xml>",
            "<xml><?php ?><A>1</A></xml>",
        ] {
            assert_eq!(read(document), Err(NotFlatXml), "{document}");
        }
        assert_eq!(texts(b"<xml><A>\xff</A></xml>", ["A"]), Err(NotFlatXml));
    }
}
