//! What an author is told of an expression that is refused: what is wrong, where, and what to
//! write instead for what other languages have.

use std::ops::Range;

use minijinja::{Environment, Error, ErrorKind};

use crate::foundation::alike::nearest;

/// The functions that expressions may call: their names are always in scope.
pub const FUNCTIONS: [&str; 3] = ["now", "uuid", "nonce"];
/// What can stand behind `|`. A test compares this with what is added to the environment.
pub const FILTERS: [&str; 37] = [
    "base64",
    "base64url",
    "default",
    "first",
    "float",
    "formdecode",
    "fromjson",
    "hmac_md5",
    "hmac_sha1",
    "hmac_sha256",
    "hmac_sha512",
    "int",
    "items",
    "join",
    "keys",
    "last",
    "length",
    "list",
    "lower",
    "map",
    "md5",
    "replace",
    "rsa_sha256",
    "sha1",
    "sha256",
    "sha512",
    "sort",
    "spki_sha256",
    "split",
    "string",
    "times",
    "tojson",
    "trim",
    "upper",
    "urlencode",
    "values",
    "xmlescape",
];
/// What can stand behind `is`.
const TESTS: [&str; 10] = [
    "defined",
    "endingwith",
    "in",
    "mapping",
    "none",
    "number",
    "sequence",
    "startingwith",
    "string",
    "undefined",
];
/// Signs of more than one character, the longest first.
const SIGNS: [&str; 17] = [
    "===", "!==", "&&", "||", "??", "?.", "=>", "==", "!=", "<=", ">=", "//", "**", "${", "++",
    "--", ":=",
];
/// What other languages call a filter or a test.
const ELSEWHERE: [(&str, &str); 24] = [
    ("b64encode", "base64"),
    ("base64_encode", "base64"),
    ("base64encode", "base64"),
    ("btoa", "base64"),
    ("encodeuricomponent", "urlencode"),
    ("quote", "urlencode"),
    ("url_encode", "urlencode"),
    ("escape", "xmlescape"),
    ("e", "xmlescape"),
    ("json_encode", "tojson"),
    ("to_json", "tojson"),
    ("stringify", "tojson"),
    ("json_decode", "fromjson"),
    ("from_json", "fromjson"),
    ("parse", "fromjson"),
    ("tolowercase", "lower"),
    ("touppercase", "upper"),
    ("strip", "trim"),
    ("size", "length"),
    ("count", "length"),
    ("len", "length"),
    ("str", "string"),
    ("tostring", "string"),
    ("d", "default"),
];
/// What other languages call a test.
const TESTS_ELSEWHERE: [(&str, &str); 6] = [
    ("startswith", "startingwith"),
    ("endswith", "endingwith"),
    ("null", "none"),
    ("nil", "none"),
    ("includes", "in"),
    ("contains", "in"),
];

/// A name, number, text or sign of an expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    pub at: Range<usize>,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Word,
    Text,
    Sign,
}

impl Token {
    pub fn is_word(&self) -> bool {
        self.kind == Kind::Word
    }

    /// As it stands in the source; of a text, nothing.
    pub fn of<'a>(&self, source: &'a str) -> &'a str {
        match self.kind {
            Kind::Text => "",
            Kind::Word | Kind::Sign => &source[self.at.clone()],
        }
    }
}

/// Takes the part of a source apart that is one expression.
pub fn tokens(source: &str, within: Range<usize>) -> Vec<Token> {
    let mut found = Vec::new();
    let mut at = within.start;
    while let Some(c) = source[at..within.end].chars().next() {
        let rest = &source[at..within.end];
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let (length, kind) = if c.is_whitespace() {
            at += c.len_utf8();
            continue;
        } else if is_word(c) {
            let end = rest.find(|c: char| !is_word(c));
            (end.unwrap_or(rest.len()), Kind::Word)
        } else if matches!(c, '\'' | '"') {
            (text_length(rest, c), Kind::Text)
        } else {
            let sign = SIGNS.iter().find(|sign| rest.starts_with(**sign));
            (sign.map_or(c.len_utf8(), |sign| sign.len()), Kind::Sign)
        };
        found.push(Token {
            at: at..at + length,
            kind,
        });
        at += length;
    }
    found
}

fn text_length(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + c.len_utf8(),
            _ => {}
        }
    }
    text.len()
}

/// Why a source is refused, where, and what to write instead. `expressions` are the parts of
/// it that are expressions, without their braces.
pub fn refusal(
    environment: &Environment<'_>,
    error: &Error,
    source: &str,
    expressions: &[Range<usize>],
) -> String {
    let refused = |within: &&Range<usize>| {
        let inner = &source[(*within).clone()];
        environment.compile_expression(inner).is_err()
    };
    if matches!(error.kind(), ErrorKind::SyntaxError | ErrorKind::BadEscape) {
        let within = expressions.iter().find(refused);
        return syntax(environment, error, source, within);
    }
    let tokens = expressions
        .iter()
        .flat_map(|within| tokens(source, within.clone()));
    unknown(error, source, &tokens.collect::<Vec<_>>())
}

fn syntax(
    environment: &Environment<'_>,
    error: &Error,
    source: &str,
    within: Option<&Range<usize>>,
) -> String {
    let detail = error.detail().unwrap_or("it cannot be read");
    let Some(within) = within else {
        return format!("{}: {detail}", error.kind());
    };
    let tokens = tokens(source, within.clone());
    let foreign = tokens.iter().enumerate();
    let foreign = foreign
        .filter_map(|(index, token)| Some((token.at.start, foreign_sign(source, &tokens, index)?)))
        .next();
    let (at, hint) = match foreign {
        Some((at, hint)) => (at, format!("; {hint}")),
        None => (
            offending(environment, source, within, &tokens),
            String::new(),
        ),
    };
    format!("{}{}: {detail}{hint}", error.kind(), place(source, at))
}

/// What to write instead of a sign that expressions do not have.
fn foreign_sign(source: &str, tokens: &[Token], index: usize) -> Option<&'static str> {
    let of = |index: usize| tokens.get(index).map_or("", |token| token.of(source));
    let next = tokens.get(index + 1);
    Some(match of(index) {
        "?" => "for CONDITION ? A : B write A if CONDITION else B",
        "??" => "for a ?? b write a|default(b)",
        "?." => "for a?.b write a.b: what is not there is undefined",
        "&&" | "&" => "for && write and",
        "||" => "for || write or",
        "!" => "for ! write not",
        "===" => "for === write ==",
        "!==" => "for !== write !=",
        "${" => "this is within an expression already: write it without ${ and }",
        "{" if of(index + 1) == "{" => "write it without {{ and }}",
        "$" if next.is_some_and(Token::is_word) => "within an expression write a name without $",
        "=>" => "there are no functions of your own",
        "++" | "--" => "write ~ to join texts, and + or - once",
        ":=" => "names cannot be set here",
        "`" | "\u{2018}" | "\u{2019}" | "\u{201c}" | "\u{201d}" => {
            "put texts between ' and ', or \" and \""
        }
        "=" if !in_call(source, &tokens[..index]) => "for = write ==, to compare",
        ";" => "leave the semicolon out",
        _ => return None,
    })
}

/// Whether what follows these tokens stands between the brackets of a call.
fn in_call(source: &str, before: &[Token]) -> bool {
    let depth = before
        .iter()
        .fold(0_usize, |depth, token| match token.of(source) {
            "(" => depth + 1,
            ")" => depth.saturating_sub(1),
            _ => depth,
        });
    depth > 0
}

/// Where the first token stands that cannot follow those before it. The evaluator tells the
/// line only. It reads from left to right, so the shortest beginning that fails for another
/// reason than its end is looked for.
fn offending(
    environment: &Environment<'_>,
    source: &str,
    within: &Range<usize>,
    tokens: &[Token],
) -> usize {
    let fails = |token: &Token| {
        let beginning = &source[within.start..token.at.end];
        let error = environment.compile_expression(beginning).err();
        error.is_some_and(|error| {
            let ends = |detail: &str| detail.contains("end of input");
            !error.detail().is_some_and(ends)
        })
    };
    let good = tokens.partition_point(|token| !fails(token));
    // Where every beginning can go on, something is missing at the end.
    tokens.get(good).map_or(within.end, |token| token.at.start)
}

/// Where something stands: its line if there are more than one, and its column.
fn place(source: &str, at: usize) -> String {
    let before = &source[..at];
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
    match source.contains('\n') {
        true => format!(" (line {line}, column {column})"),
        false => format!(" (column {column})"),
    }
}

/// A filter, test or method that does not exist.
fn unknown(error: &Error, source: &str, tokens: &[Token]) -> String {
    let of = |index: usize| tokens.get(index).map_or("", |token| token.of(source));
    let after = |sign: &'static str, exists: &dyn Fn(&str) -> bool| {
        (1..tokens.len()).find(|&index| {
            let negated = of(index - 1) == "not" && index > 1 && of(index - 2) == sign;
            (of(index - 1) == sign || negated) && of(index) != "not" && !exists(of(index))
        })
    };
    let is_filter = |name: &str| FILTERS.contains(&name);
    let is_test = |name: &str| TESTS.contains(&name);
    let called = |index: &usize| of(index - 1) == "." && of(index + 1) == "(";
    let (what, index) = match error.kind() {
        ErrorKind::UnknownFilter => ("filter", after("|", &is_filter)),
        ErrorKind::UnknownTest => ("test", after("is", &is_test)),
        ErrorKind::UnknownMethod => ("method", (1..tokens.len()).find(called)),
        kind => return format!("{kind}: {}", error.detail().unwrap_or_default()),
    };
    let name = index.map_or("", of);
    let hint = match what {
        "filter" => filter_hint(name),
        "test" => {
            let hint = suggestion(name, &TESTS, &TESTS_ELSEWHERE);
            format!("{hint}known are {}", TESTS.join(", "))
        }
        _ => method_hint(name),
    };
    match index {
        Some(index) => {
            let place = place(source, tokens[index].at.start);
            format!("unknown {what} {name}{place}: {hint}")
        }
        // A name within a text, as in map('name').
        None => format!("unknown {what}: {hint}"),
    }
}

fn filter_hint(name: &str) -> String {
    if FUNCTIONS.contains(&name) {
        return format!("it is a function, write {name}()");
    }
    let hint = suggestion(name, &FILTERS, &ELSEWHERE);
    format!("{hint}known are {}", FILTERS.join(", "))
}

fn method_hint(name: &str) -> String {
    let test = nearest_of(name, &TESTS, &TESTS_ELSEWHERE);
    match nearest_of(name, &FILTERS, &ELSEWHERE) {
        _ if name == "get" => "write a.name".to_owned(),
        _ if matches!(name, "includes" | "contains") => "write part in whole".to_owned(),
        _ if TESTS_ELSEWHERE.iter().any(|(other, _)| *other == name) => {
            let test = test.unwrap_or_default();
            format!("values have none; write x is {test}(…)")
        }
        Some(filter) => format!("values have none; write x|{filter}"),
        None => format!(
            "values have none; filters are {}, written x|filter",
            FILTERS.join(", ")
        ),
    }
}

/// The name that was meant, most likely, to begin a sentence with.
fn suggestion(name: &str, known: &[&'static str], elsewhere: &[(&str, &'static str)]) -> String {
    nearest_of(name, known, elsewhere)
        .map_or(String::new(), |nearest| format!("did you mean {nearest}? "))
}

fn nearest_of<'a>(name: &str, known: &[&'a str], elsewhere: &[(&str, &'a str)]) -> Option<&'a str> {
    let lower = name.to_lowercase();
    let other = elsewhere.iter().find(|(other, _)| *other == lower);
    other
        .map(|(_, ours)| *ours)
        .or_else(|| nearest(&lower, known.iter().copied()))
}

/// What to say of a name that is not declared.
pub fn undeclared<'a>(name: &str, known: impl Iterator<Item = &'a str> + Clone) -> String {
    let filter = FILTERS.contains(&name).then_some(name);
    let filter = filter.or_else(|| {
        let other = ELSEWHERE
            .iter()
            .find(|(other, _)| *other == name.to_lowercase());
        other.map(|(_, ours)| *ours)
    });
    if let Some(filter) = filter {
        return format!("uses {name} as a name or function: it is a filter here, write x|{filter}");
    }
    let close = nearest(&name.to_lowercase(), known.clone());
    let close = close.map_or(String::new(), |close| format!(" (did you mean {close}?)"));
    let known: Vec<_> = known.filter(|name| !FUNCTIONS.contains(name)).collect();
    format!(
        "uses the name {name}, which is not declared{close}; known are {}, and the functions {}",
        known.join(", "),
        FUNCTIONS.map(|name| format!("{name}()")).join(", ")
    )
}

#[cfg(test)]
mod tests;
