//! What expressions may use: the filters and tests named here, and nothing else. None of
//! them reads the environment, a file, or anything that was not put in scope.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use minijinja::syntax::SyntaxConfig;
use minijinja::{
    AutoEscape, Environment, Error, ErrorKind, Output, State, UndefinedBehavior, Value,
};
use minijinja::{filters, tests};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::bounds::{self, scalar};
use super::{digests, lazy};
use crate::foundation::form;
use crate::foundation::json;

/// What one evaluation may take: an instruction costs one, 64 bytes of data another.
const FUEL: u64 = 50_000;

/// All but the unreserved characters of RFC 3986, section 2.3.
pub const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

pub fn environment(undefined: UndefinedBehavior) -> Environment<'static> {
    let mut env = Environment::empty();
    // Blocks and comments are moved out of reach: templates cannot contain NUL.
    let syntax = SyntaxConfig::builder()
        .variable_delimiters("${", "}")
        .block_delimiters("\0b", "b\0")
        .comment_delimiters("\0c", "c\0")
        .keep_trailing_newline(true)
        .build()
        .expect("the delimiters are distinct");
    env.set_syntax(syntax);
    env.set_undefined_behavior(undefined);
    env.set_auto_escape_callback(|_| AutoEscape::None);
    env.set_fuel(Some(FUEL));
    env.set_formatter(print_json_scalar);
    add_filters(&mut env);
    digests::add_to(&mut env);
    lazy::add_to(&mut env);
    env
}

fn add_filters(env: &mut Environment<'static>) {
    env.add_filter("default", filters::default);
    env.add_filter("int", filters::int);
    env.add_filter("float", filters::float);
    env.add_filter("times", times);
    env.add_filter("string", filters::string);
    env.add_filter("lower", filters::lower);
    env.add_filter("upper", filters::upper);
    env.add_filter("trim", filters::trim);
    env.add_filter("replace", filters::replace);
    env.add_filter("split", filters::split);
    env.add_filter("first", filters::first);
    env.add_filter("last", filters::last);
    env.add_filter("length", filters::length);
    env.add_filter("join", join);
    env.add_filter("sort", filters::sort);
    env.add_filter("map", filters::map);
    env.add_filter("list", filters::list);
    env.add_filter("items", filters::items);
    env.add_filter("keys", keys);
    env.add_filter("values", values);
    env.add_filter("base64", |value: &Value| {
        scalar(value).map(|text| STANDARD.encode(text))
    });
    env.add_filter("base64url", |value: &Value| {
        scalar(value).map(|text| URL_SAFE_NO_PAD.encode(text))
    });
    env.add_filter("urlencode", |value: &Value| {
        scalar(value).map(|text| utf8_percent_encode(&text, UNRESERVED).to_string())
    });
    env.add_filter("xmlescape", |value: &Value| {
        let text = scalar(value)?;
        xml_text(&text).ok_or_else(|| {
            let why = "filter xmlescape: a character that XML cannot hold";
            Error::new(ErrorKind::InvalidOperation, why)
        })
    });
    env.add_filter("fromjson", from_json);
    env.add_filter("tojson", to_json);
    env.add_filter("formdecode", form_decode);
    env.add_test("defined", tests::is_defined);
    env.add_test("undefined", tests::is_undefined);
    env.add_test("none", tests::is_none);
    env.add_test("string", tests::is_string);
    env.add_test("number", tests::is_number);
    env.add_test("mapping", tests::is_mapping);
    env.add_test("sequence", tests::is_sequence);
    env.add_test("in", tests::is_in);
    env.add_test("startingwith", tests::is_startingwith);
    env.add_test("endingwith", tests::is_endingwith);
}

/// Fuel pays for so many bytes.
const FUEL_BYTES: u64 = 64;

/// Like the usual filter, but scalars are written as in JSON.
fn join(state: &State<'_, '_>, items: &Value, joiner: Option<String>) -> Result<String, Error> {
    let joiner = joiner.unwrap_or_default();
    let mut joined = String::new();
    for (index, item) in items.try_iter()?.enumerate() {
        let item = scalar(&item)?;
        let bytes = (item.len() + joiner.len()) as u64;
        state.consume_fuel(1 + bytes / FUEL_BYTES)?;
        if index > 0 {
            joined.push_str(&joiner);
        }
        joined.push_str(&item);
    }
    Ok(joined)
}

/// Multiplies numbers; the operator would repeat texts and lists, too.
fn times(number: f64, by: f64) -> Result<Value, Error> {
    /// Beyond it a float no longer holds every whole number.
    const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;
    let product = number * by;
    if !product.is_finite() {
        return Err(Error::new(
            ErrorKind::InvalidOperation,
            "times: out of range",
        ));
    }
    if product.fract() == 0.0 && product.abs() <= WHOLE_MAX {
        // Whole, and within what the conversion holds exactly.
        #[allow(clippy::cast_possible_truncation)]
        return Ok((product as i64).into());
    }
    Ok(product.into())
}

fn keys(state: &State<'_, '_>, map: &Value) -> Result<Value, Error> {
    let keys = map.try_iter()?;
    let keys: Result<Vec<_>, Error> = keys
        .map(|key| state.consume_fuel(1).map(|()| key))
        .collect();
    keys.map(Value::from)
}

fn values(state: &State<'_, '_>, map: &Value) -> Result<Value, Error> {
    let keys = map.try_iter()?;
    let values: Result<Vec<_>, Error> = keys
        .map(|key| state.consume_fuel(1).and_then(|()| map.get_item(&key)))
        .collect();
    values.map(Value::from)
}

fn from_json(text: &str) -> Result<Value, Error> {
    json::parse(text)
        .map(|value| without_nulls(&value))
        .map_err(|_| Error::new(ErrorKind::BadSerialization, "fromjson: not JSON"))
}

/// A form as a map; names that are repeated have lists.
fn form_decode(state: &State<'_, '_>, text: &str) -> Result<Value, Error> {
    let pairs = 1 + text.bytes().filter(|byte| *byte == b'&').count() as u64;
    state.consume_fuel(pairs + text.len() as u64 / FUEL_BYTES)?;
    let form = form::parse_utf8(text).ok_or_else(|| {
        let why = "filter formdecode: a name or a value is not UTF-8";
        Error::new(ErrorKind::BadSerialization, why)
    })?;
    Ok(without_nulls(&form.into()))
}

/// Compact, and without the escapes that JSON inside HTML needs.
fn to_json(state: &State<'_, '_>, value: &Value) -> Result<String, Error> {
    let json = bounds::to_json(value).map_err(|error| match error.to_string().as_str() {
        bounds::TOO_MUCH => ErrorKind::OutOfFuel,
        _ => ErrorKind::BadSerialization,
    })?;
    let text = json.to_string();
    state.consume_fuel(text.len() as u64 / FUEL_BYTES)?;
    Ok(text)
}

/// A JSON value in scope: null is as good as absent.
pub fn without_nulls(value: &serde_json::Value) -> Value {
    use serde_json::Value as Json;
    match value {
        Json::Null => Value::UNDEFINED,
        Json::Array(items) => items.iter().map(without_nulls).collect(),
        Json::Object(fields) => Value::from_pairs(
            fields
                .iter()
                .map(|(name, value)| (name.clone(), without_nulls(value))),
        ),
        Json::Bool(flag) => (*flag).into(),
        Json::String(text) => text.as_str().into(),
        Json::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(whole), _) => whole.into(),
            (None, Some(whole)) => whole.into(),
            (None, None) => number.as_f64().into(),
        },
    }
}

/// Text as it stands in an element or an attribute. None: it has a character that XML
/// cannot hold, not even escaped (XML 1.0, section 2.2). Ends of lines and tabs become
/// references, which readers leave as they are (sections 2.11 and 3.3.3).
pub fn xml_text(text: &str) -> Option<String> {
    let allowed = |c: char| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{fffd}' | '\u{10000}'..);
    text.chars().all(allowed).then(|| {
        quick_xml::escape::escape(text)
            .replace('\t', "&#9;")
            .replace('\n', "&#10;")
            .replace('\r', "&#13;")
    })
}

/// Scalars print as in JSON (`true`, not `True`); what has no plain form is an error.
fn print_json_scalar(
    out: &mut Output<'_>,
    _: &mut State<'_, '_>,
    value: &Value,
) -> Result<(), Error> {
    out.write_str(&scalar(value)?)
        .map_err(|_| ErrorKind::WriteFailure.into())
}
