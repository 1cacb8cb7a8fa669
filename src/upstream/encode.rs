//! Encodings of a request's body.

use serde_json::{Map, Value};

use super::render::plain_text;
use crate::realm::document::Encoding;
use crate::realm::expression::xml_text;
use crate::realm::failure::Failure;

/// What an XML body without a root of its own is put into.
const XML_ROOT: &str = "xml";
/// How the name of an attribute begins, and what the text beside attributes is called.
const ATTRIBUTE: char = '@';
const TEXT: &str = "#text";

/// Adds a value to the body. `/` in a name nests, `~1` is a slash and `~0` a tilde within
/// one step (RFC 6901); names merge into one tree.
pub(super) fn insert(
    body: &mut Map<String, Value>,
    name: &str,
    value: Value,
    nests: bool,
) -> Result<(), Failure> {
    if !nests {
        // A repeated name makes a list.
        match body.get_mut(name) {
            None => {
                body.insert(name.to_owned(), value);
            }
            Some(Value::Array(items)) => items.push(value),
            Some(single) => *single = Value::Array(vec![single.take(), value]),
        }
        return Ok(());
    }
    let mut steps = name
        .split('/')
        .map(|step| step.replace("~1", "/").replace("~0", "~"));
    let last = steps.next_back().unwrap_or_default();
    let mut place = body;
    for step in steps {
        let below = place
            .entry(step)
            .or_insert_with(|| Value::Object(Map::new()));
        place = below.as_object_mut().ok_or_else(|| {
            Failure::internal(format!(
                "argument {name} stands below one that is no object"
            ))
        })?;
    }
    match (place.get_mut(&last), value) {
        (Some(Value::Object(present)), Value::Object(more)) => present.extend(more),
        (_, value) => {
            place.insert(last, value);
        }
    }
    Ok(())
}

/// None: there is no body.
pub(super) fn encode(
    encoding: Encoding,
    body: &Map<String, Value>,
) -> Result<Option<Vec<u8>>, Failure> {
    match encoding {
        Encoding::Json | Encoding::Text => serde_json::to_vec(body)
            .map(Some)
            .map_err(|_| Failure::internal("the body cannot be written as JSON")),
        Encoding::Form => form(body).map(Some),
        Encoding::Xml => xml(body).map(Some),
        Encoding::None => Ok(None),
    }
}

fn form(body: &Map<String, Value>) -> Result<Vec<u8>, Failure> {
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    for (name, value) in body {
        let at = format!("argument {name}");
        match value {
            Value::Array(items) => {
                for item in items {
                    form.append_pair(name, &plain_text(&at, item)?);
                }
            }
            single => {
                form.append_pair(name, &plain_text(&at, single)?);
            }
        }
    }
    Ok(form.finish().into_bytes())
}

/// Elements as the reader of answers names them: `@name` is an attribute, `#text` the text of an
/// element that has attributes or children.
fn xml(body: &Map<String, Value>) -> Result<Vec<u8>, Failure> {
    let mut text = String::new();
    let mut single = body.iter();
    match (single.next(), single.next()) {
        (Some((root, value @ Value::Object(_))), None) => element(&mut text, root, value)?,
        _ => element(&mut text, XML_ROOT, &Value::Object(body.clone()))?,
    }
    Ok(text.into_bytes())
}

fn element(text: &mut String, name: &str, value: &Value) -> Result<(), Failure> {
    if !is_xml_name(name) {
        return Err(Failure::internal(format!(
            "{name} cannot be the name of an XML element"
        )));
    }
    if let Value::Array(items) = value {
        return items.iter().try_for_each(|item| element(text, name, item));
    }
    text.push_str(&format!("<{name}"));
    for (attribute, value) in children(value) {
        if let Some(attribute) = attribute.strip_prefix(ATTRIBUTE) {
            add_attribute(text, attribute, value)?;
        }
    }
    text.push('>');
    match value {
        Value::Object(children) => {
            for (child, value) in children {
                if child == TEXT {
                    text.push_str(&written(TEXT, value)?);
                } else if !child.starts_with(ATTRIBUTE) {
                    element(text, child, value)?;
                }
            }
        }
        Value::Null => {}
        scalar => text.push_str(&written(name, scalar)?),
    }
    text.push_str(&format!("</{name}>"));
    Ok(())
}

fn children(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

/// One that is null is left out: an attribute is there, or it is not.
fn add_attribute(text: &mut String, name: &str, value: &Value) -> Result<(), Failure> {
    if !is_xml_name(name) {
        return Err(Failure::internal(format!(
            "@{name} cannot be the name of an XML attribute"
        )));
    }
    if !value.is_null() {
        let value = written(&format!("@{name}"), value)?;
        text.push_str(&format!(" {name}=\"{value}\""));
    }
    Ok(())
}

fn written(name: &str, value: &Value) -> Result<String, Failure> {
    let plain = match value {
        Value::Array(_) | Value::Object(_) => {
            return Err(Failure::internal(format!(
                "{name} is a list or an object, where XML takes text only"
            )));
        }
        Value::Null => String::new(),
        scalar => plain_text(name, scalar)?,
    };
    xml_text(&plain)
        .ok_or_else(|| Failure::internal("a value has a character that XML cannot hold"))
}

fn is_xml_name(name: &str) -> bool {
    let start = |c: char| c.is_alphabetic() || c == '_';
    name.starts_with(start)
        && name
            .chars()
            .all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | ':'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn tree(names: &[(&str, Value)]) -> Map<String, Value> {
        let mut body = Map::new();
        for (name, value) in names {
            insert(&mut body, name, value.clone(), true).unwrap();
        }
        body
    }

    #[test]
    fn names_with_slashes_merge_into_one_tree() {
        let body = tree(&[
            ("auth/identity/methods", json!(["password"])),
            ("auth/identity/id", json!(1)),
            ("auth/a~1b", json!({"x": 1})),
            ("auth/a~1b", json!({"y": 2})),
        ]);
        assert_eq!(
            Value::Object(body),
            json!({"auth": {"identity": {"methods": ["password"], "id": 1}, "a/b": {"x": 1, "y": 2}}})
        );
        let mut body = tree(&[("a", json!("text"))]);
        assert!(insert(&mut body, "a/b", json!(1), true).is_err());
    }

    #[test]
    fn a_form_repeats_names_for_lists_and_writes_scalars_as_json_does() {
        let mut body = Map::new();
        for (name, value) in [
            ("scope", json!("a")),
            ("scope", json!("b c")),
            ("yes", json!(true)),
            ("n", json!(1.5)),
            ("x/y", json!("&=%+")),
        ] {
            insert(&mut body, name, value, false).unwrap();
        }
        let written = encode(Encoding::Form, &body).unwrap().unwrap();
        assert_eq!(
            String::from_utf8(written).unwrap(),
            "scope=a&scope=b+c&yes=true&n=1.5&x%2Fy=%26%3D%25%2B"
        );
    }

    #[test]
    fn an_xml_body_has_one_root_and_escapes_what_it_holds() {
        let written = |body: Value| {
            let body = body.as_object().unwrap().clone();
            String::from_utf8(encode(Encoding::Xml, &body).unwrap().unwrap()).unwrap()
        };
        assert_eq!(
            written(json!({"a": "<&>", "b": [1, 2]})),
            "<xml><a>&lt;&amp;&gt;</a><b>1</b><b>2</b></xml>"
        );
        assert_eq!(
            written(json!({"root": {"a": true}})),
            "<root><a>true</a></root>"
        );
        let bad = json!({"a b": 1});
        assert!(encode(Encoding::Xml, bad.as_object().unwrap()).is_err());
        let bad = json!({"a": "\u{0}"});
        assert!(encode(Encoding::Xml, bad.as_object().unwrap()).is_err());
    }

    /// A body as text, from arguments.
    fn written_as_xml(names: &[(&str, Value)]) -> Result<String, String> {
        let body = encode(Encoding::Xml, &tree(names)).map_err(|failure| failure.detail)?;
        Ok(String::from_utf8(body.unwrap()).unwrap())
    }

    #[test]
    fn an_xml_body_has_attributes_that_are_read_back_as_they_were_written() {
        let hostile = "\"' <b c=\"d\"> & é\n\t";
        for (names, expected) in [
            (
                vec![("a/@id", json!("1")), ("a/#text", json!("x"))],
                r#"<a id="1">x</a>"#.to_owned(),
            ),
            // Attributes stand in the tag, wherever they stand among the arguments.
            (
                vec![
                    ("a/b", json!(1)),
                    ("a/@n", json!(true)),
                    ("a/c/@x", json!(1.5)),
                ],
                r#"<a n="true"><b>1</b><c x="1.5"></c></a>"#.to_owned(),
            ),
            (
                vec![(
                    "s:a",
                    json!({"@xmlns:s": "urn:x", "s:b": [{"@i": 1}, {"@i": 2}]}),
                )],
                r#"<s:a xmlns:s="urn:x"><s:b i="1"></s:b><s:b i="2"></s:b></s:a>"#.to_owned(),
            ),
            (
                vec![("@id", json!("r")), ("a", json!("x"))],
                r#"<xml id="r"><a>x</a></xml>"#.to_owned(),
            ),
            (
                vec![("a/@n", json!(null)), ("a/#text", json!(null))],
                "<a></a>".to_owned(),
            ),
            (
                vec![("a/@x", json!(hostile)), ("a/#text", json!(hostile.trim()))],
                "<a x=\"&quot;&apos; &lt;b c=&quot;d&quot;&gt; &amp; é&#10;&#9;\">\
                 &quot;&apos; &lt;b c=&quot;d&quot;&gt; &amp; é</a>"
                    .to_owned(),
            ),
        ] {
            let written = written_as_xml(&names).unwrap();
            assert_eq!(written, expected);
            let read = crate::foundation::xml::parse(&written).unwrap();
            if let Some(value) = read.pointer("/a/@x") {
                assert_eq!(value, hostile);
                assert_eq!(read["a"]["#text"], hostile.trim());
            }
        }
        for names in [
            vec![("a/@b/c", json!(1))],
            vec![("a/@b", json!([1]))],
            vec![("a/@", json!(1))],
            vec![("a/@b c", json!(1))],
            vec![("a/#text/b", json!(1))],
            vec![("a/#other", json!(1))],
            vec![("a/@b", json!("\u{0}"))],
        ] {
            let refused = written_as_xml(&names).unwrap_err();
            assert!(refused.contains("XML"), "{refused}");
        }
    }
}
