//! The flat XML of WeChat and WeCom: `<xml>` around elements that hold text. A document
//! type is refused, so there is nothing to expand and nowhere to be led.

use quick_xml::Reader;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesRef, Event};
use zeroize::Zeroizing;

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
    let mut reader = Reader::from_str(document);
    let mut found: [Option<Text>; N] = std::array::from_fn(|_| None);
    let mut depth = 0_usize;
    let mut has_root = false;
    let mut reading: Option<usize> = None;
    loop {
        match reader.read_event().map_err(|_| NotFlatXml)? {
            Event::Start(start) => {
                let name = start.name();
                match depth {
                    0 if !has_root && name.as_ref() == "xml" => has_root = true,
                    0 => return Err(NotFlatXml),
                    1 => reading = claim(&mut found, &names, name.as_ref())?,
                    _ => {}
                }
                depth += 1;
            }
            Event::Empty(empty) => match depth {
                0 => return Err(NotFlatXml),
                1 => drop(claim(&mut found, &names, empty.name().as_ref())?),
                _ => {}
            },
            Event::End(_) => {
                depth = depth.checked_sub(1).ok_or(NotFlatXml)?;
                if depth == 1 {
                    reading = None;
                }
            }
            Event::Text(text) => write(&mut found, reading, depth, &text)?,
            Event::CData(text) => write(&mut found, reading, depth, &text)?,
            Event::GeneralRef(reference) => match resolve(&reference) {
                Some(character) => write(
                    &mut found,
                    reading,
                    depth,
                    character.encode_utf8(&mut [0; 4]),
                )?,
                None => return Err(NotFlatXml),
            },
            Event::Decl(_) | Event::Comment(_) => {}
            Event::DocType(_) | Event::PI(_) => return Err(NotFlatXml),
            Event::Eof if depth == 0 && has_root => break,
            Event::Eof => return Err(NotFlatXml),
        }
    }
    Ok(found.map(|text| text.map(|text| Text::new(text.trim().to_owned()))))
}

/// The place of a text that begins. One that stands there twice could be read in two ways.
fn claim<const N: usize>(
    found: &mut [Option<Text>; N],
    names: &[&str; N],
    name: &str,
) -> Result<Option<usize>, NotFlatXml> {
    let Some(index) = names.iter().position(|wanted| *wanted == name) else {
        return Ok(None);
    };
    match found[index].replace(Text::default()) {
        None => Ok(Some(index)),
        Some(_) => Err(NotFlatXml),
    }
}

fn write<const N: usize>(
    found: &mut [Option<Text>; N],
    reading: Option<usize>,
    depth: usize,
    text: &str,
) -> Result<(), NotFlatXml> {
    match reading.and_then(|index| found[index].as_mut()) {
        Some(into) if depth == 2 => into.push_str(text),
        // A text that is asked for has no elements in it.
        Some(_) => return Err(NotFlatXml),
        None if depth == 0 && !text.trim().is_empty() => return Err(NotFlatXml),
        None => {}
    }
    Ok(())
}

/// Without a document type there are no other entities than these.
fn resolve(reference: &BytesRef<'_>) -> Option<char> {
    match reference.resolve_char_ref() {
        Ok(Some(character)) => Some(character),
        Ok(None) => resolve_predefined_entity(reference)?.chars().next(),
        Err(_) => None,
    }
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
