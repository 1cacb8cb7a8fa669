//! The query and the path of a request, compared with what the specification says of its
//! operation: what the framework would pass over in silence is refused by name.

use std::num::{IntErrorKind, ParseIntError};

use percent_encoding::percent_decode_str;
use poem::http::Uri;
use serde_json::Value;

use super::problem::Problem;
use crate::foundation::alike::nearest;

/// Paths that take any query. Providers sign what they push and add parameters of their own
/// (`msg_signature`, `encrypt_type`, `echostr`, `openid`, …); `api/tickets.rs` reads the query
/// itself, and what it does not know is none of its business.
const ANY_QUERY: [&str; 1] = ["/api/ticket/{realm}"];
/// The longest name of a parameter that an answer repeats.
const NAME_MAX_BYTES: usize = 64;

/// What an operation takes.
pub struct Parameters {
    /// None: anything.
    query: Option<Vec<Parameter>>,
    /// With the part of the path that each is, counted from 0.
    path: Vec<(usize, Parameter)>,
}

struct Parameter {
    name: String,
    required: bool,
    kind: Kind,
}

#[derive(Clone, Copy)]
enum Kind {
    Text,
    Flag,
    /// May be negative.
    Integer,
    Count,
}

impl Parameters {
    /// Those that the specification lists for an operation of a path.
    pub fn of(pattern: &str, operation: &Value) -> Self {
        let all = || operation["parameters"].as_array().into_iter().flatten();
        let within = |place: &'static str| all().filter(move |listed| listed["in"] == place);
        let query = within("query").map(Parameter::of).collect();
        let path = within("path").map(Parameter::of).filter_map(|parameter| {
            let part = format!("{{{}}}", parameter.name);
            let index = pattern.split('/').position(|wanted| wanted == part)?;
            Some((index, parameter))
        });
        Self {
            path: path.collect(),
            query: (!ANY_QUERY.contains(&pattern)).then_some(query),
        }
    }

    /// Refuses what the operation does not take.
    pub fn check(&self, uri: &Uri) -> Result<(), Problem> {
        self.check_path(uri.path())?;
        match &self.query {
            Some(known) => check_query(known, uri.query().unwrap_or_default()),
            None => Ok(()),
        }
    }

    fn check_path(&self, path: &str) -> Result<(), Problem> {
        for (index, parameter) in &self.path {
            let part = path.split('/').nth(*index).unwrap_or_default();
            let part = percent_decode_str(part).decode_utf8_lossy();
            if let Some(fault) = parameter.kind.fault(&part) {
                return Err(refused(format!(
                    "The part {} of the path {fault}.",
                    parameter.name
                )));
            }
        }
        Ok(())
    }
}

fn refused(detail: String) -> Problem {
    Problem::bad_request("invalid_parameter", detail)
}

fn check_query(known: &[Parameter], query: &str) -> Result<(), Problem> {
    let mut given: Vec<&str> = Vec::new();
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    for (position, pair) in (1..).zip(pairs) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let name = decoded(name).map_err(|fault| {
            refused(format!(
                "The name of parameter {position} of the query {fault}."
            ))
        })?;
        let Some(parameter) = known.iter().find(|parameter| parameter.name == name) else {
            return Err(unknown(known, &name, position));
        };
        let name = parameter.name.as_str();
        let value = decoded(value).map_err(|fault| Problem::invalid_parameter(name, fault))?;
        if given.contains(&name) {
            let why = "is given more than once; give it once";
            return Err(Problem::invalid_parameter(name, why));
        }
        given.push(name);
        if let Some(fault) = parameter.kind.fault(&value) {
            return Err(Problem::invalid_parameter(name, fault));
        }
    }
    let missing =
        |parameter: &&Parameter| parameter.required && !given.contains(&parameter.name.as_str());
    match known.iter().find(missing) {
        Some(parameter) => Err(Problem::invalid_parameter(&parameter.name, "is required")),
        None => Ok(()),
    }
}

/// What is said of a parameter that the operation does not take. Its name is the caller's
/// input: it is shown where it is a plain word, else its place is told.
fn unknown(known: &[Parameter], name: &str, position: usize) -> Problem {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    let is_plain = (1..=NAME_MAX_BYTES).contains(&name.len()) && name.bytes().all(plain);
    let subject = match is_plain {
        true => format!("The parameter {name} does not exist"),
        false => format!("Parameter {position} of the query does not exist"),
    };
    let names: Vec<_> = known
        .iter()
        .map(|parameter| parameter.name.as_str())
        .collect();
    let meant = nearest(&name.to_lowercase(), names.iter().copied());
    let meant = meant.map_or(String::from("."), |meant| {
        format!("; did you mean {meant}?")
    });
    let takes = match names.is_empty() {
        true => "This call takes no parameters in its query.".to_owned(),
        false => format!("This call takes {}.", names.join(", ")),
    };
    Problem::bad_request("unknown_parameter", format!("{subject}{meant} {takes}"))
}

/// A name or a value as it was meant. `+` is a blank (application/x-www-form-urlencoded).
fn decoded(text: &str) -> Result<String, &'static str> {
    let mut escapes = text.split('%').skip(1).map(str::as_bytes);
    let whole = |escape: &[u8]| {
        escape
            .iter()
            .take(2)
            .filter(|b| b.is_ascii_hexdigit())
            .count()
            == 2
    };
    if !escapes.all(whole) {
        return Err("holds a broken percent-escape: two hexadecimal digits must follow each %");
    }
    let blanks = text.replace('+', " ");
    let text = percent_decode_str(&blanks).decode_utf8();
    let text = text.map_err(|_invalid| "is not UTF-8 once its percent-escapes are undone")?;
    Ok(text.into_owned())
}

impl Parameter {
    fn of(listed: &Value) -> Self {
        Self {
            name: listed["name"].as_str().unwrap_or_default().to_owned(),
            required: listed["required"] == true,
            kind: Kind::of(&listed["schema"]),
        }
    }
}

impl Kind {
    fn of(schema: &Value) -> Self {
        match (schema["type"].as_str(), schema["format"].as_str()) {
            (Some("boolean"), _) => Self::Flag,
            (Some("integer"), Some("uint64")) => Self::Count,
            (Some("integer"), _) => Self::Integer,
            _ => Self::Text,
        }
    }

    /// What is wrong with a value, and what is expected; the framework reads it the same way.
    fn fault(self, value: &str) -> Option<&'static str> {
        let integer = |error: ParseIntError| match error.kind() {
            IntErrorKind::PosOverflow => "is too large a number",
            IntErrorKind::NegOverflow => "is too small a number",
            _ => "must be a whole number",
        };
        match self {
            Self::Text => None,
            Self::Flag => {
                let is_flag = value.parse::<bool>().is_ok();
                (!is_flag).then_some("must be true or false")
            }
            Self::Integer => value.parse::<i64>().err().map(integer),
            Self::Count if value.parse::<i64>().is_ok_and(i64::is_negative) => {
                Some("must be a whole number that is not negative")
            }
            Self::Count => value.parse::<u64>().err().map(integer),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn said(query: &str) -> String {
        let operation = json!({"parameters": [
            {"name": "id", "in": "path", "required": true,
             "schema": {"type": "integer", "format": "int64"}},
            {"name": "realm", "in": "query", "required": true, "schema": {"type": "string"}},
            {"name": "min_ttl_s", "in": "query", "schema": {"type": "integer", "format": "int64"}},
            {"name": "page", "in": "query", "schema": {"type": "integer", "format": "uint64"}},
            {"name": "cascade", "in": "query", "schema": {"type": "boolean"}},
        ]});
        let parameters = Parameters::of("/api/x/{id}", &operation);
        let uri: Uri = format!("/api/x/{query}").parse().unwrap();
        match parameters.check(&uri) {
            Ok(()) => String::new(),
            Err(problem) => problem.detail().to_owned(),
        }
    }

    #[test]
    fn what_an_operation_takes_is_let_through() {
        for query in [
            "1?realm=r",
            "-1?realm=",
            "%31?&&realm=a+b%20%C3%BC&",
            "1?r%65alm=r&min_ttl_s=-5&page=18446744073709551615&cascade=true",
        ] {
            assert_eq!(said(query), "", "{query}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_by_name_with_what_is_expected() {
        for (query, detail) in [
            ("1", "The parameter realm is required."),
            (
                "x?realm=r",
                "The part id of the path must be a whole number.",
            ),
            (
                "1?realm=r&min_ttl_s=5s",
                "The parameter min_ttl_s must be a whole number.",
            ),
            (
                "1?realm=r&min_ttl_s=",
                "The parameter min_ttl_s must be a whole number.",
            ),
            (
                "1?realm=r&min_ttl_s=9223372036854775808",
                "The parameter min_ttl_s is too large a number.",
            ),
            (
                "1?realm=r&page=-1",
                "The parameter page must be a whole number that is not negative.",
            ),
            (
                "1?realm=r&page=1.5",
                "The parameter page must be a whole number.",
            ),
            (
                "1?realm=r&cascade=yes",
                "The parameter cascade must be true or false.",
            ),
            (
                "1?realm=r&realm=r",
                "The parameter realm is given more than once; give it once.",
            ),
            (
                "1?realm=r&r%65alm=s",
                "The parameter realm is given more than once; give it once.",
            ),
            (
                "1?realm=100%",
                "The parameter realm holds a broken percent-escape: two hexadecimal digits must \
                 follow each %.",
            ),
            (
                "1?realm=%C3",
                "The parameter realm is not UTF-8 once its percent-escapes are undone.",
            ),
            (
                "1?realm=r&%zz=1",
                "The name of parameter 2 of the query holds a broken percent-escape: two \
                 hexadecimal digits must follow each %.",
            ),
        ] {
            assert_eq!(said(query), detail, "{query}");
        }
    }

    #[test]
    fn an_unknown_name_is_shown_only_where_it_is_a_plain_word() {
        let takes = "This call takes realm, min_ttl_s, page, cascade.";
        for (query, begin) in [
            (
                "1?minttl=1",
                "The parameter minttl does not exist; did you mean min_ttl_s?",
            ),
            (
                "1?Realm=r",
                "The parameter Realm does not exist; did you mean realm?",
            ),
            ("1?x.y-z_1", "The parameter x.y-z_1 does not exist."),
            ("1?realm=r&=x", "Parameter 2 of the query does not exist."),
            ("1?a%20b=x", "Parameter 1 of the query does not exist."),
            ("1?%C3%BC=x", "Parameter 1 of the query does not exist."),
        ] {
            assert_eq!(said(query), format!("{begin} {takes}"), "{query}");
        }
        let long = "x".repeat(NAME_MAX_BYTES);
        assert!(said(&format!("1?{long}")).contains(&long));
        assert!(!said(&format!("1?{long}x")).contains(&long));
    }
}
