//! XML as the same kind of value that JSON is: `root.child`, attributes
//! as `@name`, text beside children as `#text`, repeated elements as lists.
//!
//! No document type is read, so there are no entities but the five that XML itself has.

use quick_xml::Reader;
use quick_xml::XmlVersion;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesStart, Event};
use serde_json::{Map, Value};

/// Elements within elements.
const DEPTH_MAX: usize = 64;

/// Why a document is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XmlFault {
    /// A document type could bring entities, and expand without end.
    Doctype,
    TooDeep,
    Malformed,
}

struct Element {
    name: String,
    children: Map<String, Value>,
    text: String,
}

impl Element {
    fn open(start: &BytesStart<'_>) -> Result<Self, XmlFault> {
        let mut children = Map::new();
        for attribute in start.attributes() {
            let attribute = attribute.map_err(|_| XmlFault::Malformed)?;
            let value = attribute
                .normalized_value(XmlVersion::Implicit1_0)
                .map_err(|_| XmlFault::Malformed)?;
            let name = format!("@{}", attribute.key.as_ref());
            children.insert(name, Value::String(value.into_owned()));
        }
        Ok(Self {
            name: start.name().as_ref().to_owned(),
            children,
            text: String::new(),
        })
    }

    fn value(mut self) -> Value {
        if self.children.is_empty() {
            return Value::String(self.text);
        }
        let text = self.text.trim();
        if !text.is_empty() {
            self.children
                .insert("#text".to_owned(), Value::String(text.to_owned()));
        }
        Value::Object(self.children)
    }
}

pub fn parse(text: &str) -> Result<Value, XmlFault> {
    let mut reader = Reader::from_str(text.trim_start_matches('\u{feff}'));
    let mut open: Vec<Element> = Vec::new();
    let mut root = None;
    loop {
        match reader.read_event().map_err(|_| XmlFault::Malformed)? {
            Event::Start(start) => {
                if open.len() == DEPTH_MAX {
                    return Err(XmlFault::TooDeep);
                }
                open.push(Element::open(&start)?);
            }
            Event::Empty(start) => close(&mut open, &mut root, Element::open(&start)?)?,
            Event::End(_) => {
                let element = open.pop().ok_or(XmlFault::Malformed)?;
                close(&mut open, &mut root, element)?;
            }
            Event::Text(text) => add_text(&mut open, &text.xml10_content())?,
            Event::CData(text) => add_text(&mut open, &text.xml10_content())?,
            Event::GeneralRef(reference) => {
                let character = reference
                    .resolve_char_ref()
                    .map_err(|_| XmlFault::Malformed)?
                    .map(String::from);
                let known = || resolve_predefined_entity(&reference).map(str::to_owned);
                let text = character.or_else(known).ok_or(XmlFault::Malformed)?;
                add_text(&mut open, &text)?;
            }
            Event::DocType(_) => return Err(XmlFault::Doctype),
            Event::Eof if open.is_empty() => {
                return root.map(Value::Object).ok_or(XmlFault::Malformed);
            }
            Event::Eof => return Err(XmlFault::Malformed),
            // Instructions are for other programs than this.
            Event::PI(_) => return Err(XmlFault::Malformed),
            Event::Decl(_) | Event::Comment(_) => {}
        }
    }
}

fn close(
    open: &mut [Element],
    root: &mut Option<Map<String, Value>>,
    element: Element,
) -> Result<(), XmlFault> {
    let name = element.name.clone();
    let value = element.value();
    let Some(parent) = open.last_mut() else {
        if root.is_some() {
            return Err(XmlFault::Malformed);
        }
        *root = Some(Map::from_iter([(name, value)]));
        return Ok(());
    };
    match parent.children.get_mut(&name) {
        None => {
            parent.children.insert(name, value);
        }
        Some(Value::Array(items)) => items.push(value),
        Some(single) => *single = Value::Array(vec![single.take(), value]),
    }
    Ok(())
}

fn add_text(open: &mut [Element], text: &str) -> Result<(), XmlFault> {
    match open.last_mut() {
        Some(element) => {
            element.text.push_str(text);
            Ok(())
        }
        None if text.trim().is_empty() => Ok(()),
        None => Err(XmlFault::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn elements_attributes_and_lists_become_one_tree() {
        let text = r#"<?xml version="1.0"?><!-- x --><r a="1&amp;2"><t>A<![CDATA[<B>]]>&lt;&#67;</t>
            <i>1</i><i n="2"/><e/></r>"#;
        assert_eq!(
            parse(text),
            Ok(json!({"r": {"@a": "1&2", "t": "A<B><C", "i": ["1", {"@n": "2"}], "e": ""}}))
        );
    }

    #[test]
    fn a_document_type_is_refused_and_so_is_what_is_no_document() {
        let bomb = r#"<!DOCTYPE r [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><r>&b;</r>"#;
        assert_eq!(parse(bomb), Err(XmlFault::Doctype));
        for text in [
            "",
            "text",
            "<r>",
            "<r></s>",
            "<r/><r/>",
            "<r>&b;</r>",
            "<r/>x",
        ] {
            assert_eq!(parse(text), Err(XmlFault::Malformed), "{text}");
        }
        let deep = format!("{}{}", "<r>".repeat(10_000), "</r>".repeat(10_000));
        assert_eq!(parse(&deep), Err(XmlFault::TooDeep));
    }
}
