//! What an admin is warned of in a document: allowed, and most likely not meant.

use std::ops::Range;
use std::sync::LazyLock;

use regex_lite::Regex;

use super::reader::DocumentReader;
use crate::foundation::fields::{Fields, escape};
use crate::realm::document::{
    ArgumentPlace, Declared, ErrorRule, Method, NamedArgument, ParamRule, RequestRule,
};
use crate::realm::expression::hints::{FILTERS, FUNCTIONS, Token, tokens};
use crate::realm::expression::{Names, expressions_in};

/// How others write what is `${name}` here.
static WRITTEN_OTHERWISE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r"\$([A-Za-z_]\w*)|\{\{\s*([A-Za-z_]\w*)[^{}]*\}\}|\{\s*([A-Za-z_]\w*)\s*\}|%\(([A-Za-z_]\w*)\)s",
    )
    .expect("the expression is a constant")
});

impl DocumentReader<'_> {
    /// Warns of what stands in a template that was read.
    pub(super) fn remark_template(
        &self,
        source: &str,
        fields: &Fields<'_>,
        at: &str,
        beside: &Names,
    ) {
        if !self.is_new {
            return;
        }
        if let Some(name) = source
            .strip_prefix('$')
            .filter(|name| FUNCTIONS.contains(name))
        {
            fields.fault_at(at, format!("{name} is a function: write ${{{name}()}}"));
            return;
        }
        let expressions = expressions_in(source).unwrap_or_default();
        let is_whole_name = source.starts_with('$') && !source.starts_with("${");
        if !(is_whole_name && self.knows(&source[1..], beside)) {
            for text in texts(source, &expressions) {
                self.remark_text(text, fields, at, beside);
            }
        }
        for expression in expressions {
            let inner = expression.start + 2..expression.end - 1;
            let tokens = tokens(source, inner);
            let single = match tokens.as_slice() {
                [single] => FUNCTIONS.iter().find(|name| **name == single.of(source)),
                _ => None,
            };
            match single {
                // It would fail each time: a function is no text.
                Some(name) => {
                    fields.fault_at(at, format!("{name} is a function: write ${{{name}()}}"));
                }
                None => self.remark_tokens(source, &tokens, fields, at),
            }
        }
    }

    /// Warns of what stands in an expression that was read.
    pub(super) fn remark_expression(&self, source: &str, fields: &Fields<'_>, at: &str) {
        if !self.is_new {
            return;
        }
        let tokens = tokens(source, 0..source.len());
        self.remark_tokens(source, &tokens, fields, at);
    }

    fn knows(&self, name: &str, beside: &Names) -> bool {
        self.known.contains(name) || beside.contains(name)
    }

    fn remark_text(&self, text: &str, fields: &Fields<'_>, at: &str, beside: &Names) {
        let mut told: Vec<&str> = Vec::new();
        for found in WRITTEN_OTHERWISE.captures_iter(text) {
            let name = found.iter().skip(1).flatten().next();
            let (Some(whole), Some(name)) = (found.get(0), name) else {
                continue;
            };
            let name = name.as_str();
            if !self.knows(name, beside) || told.contains(&whole.as_str()) {
                continue;
            }
            told.push(whole.as_str());
            let call = if FUNCTIONS.contains(&name) { "()" } else { "" };
            fields.warn_at(
                at,
                format!(
                    "holds {} within a longer text, where it stays text; for the value of {name} \
                     write ${{{name}{call}}}",
                    whole.as_str()
                ),
            );
        }
    }

    fn remark_tokens(&self, source: &str, tokens: &[Token], fields: &Fields<'_>, at: &str) {
        let of = |index: usize| tokens.get(index).map_or("", |token| token.of(source));
        for (index, token) in tokens.iter().enumerate() {
            let before = index.checked_sub(1).map_or("", of);
            let (name, next) = (of(index), of(index + 1));
            if before != "." && FUNCTIONS.contains(&name) && !matches!(next, "(" | "=") {
                let detail =
                    format!("{name} is a function, which is not called here: write {name}()");
                fields.warn_at(at, detail);
            }
            if before == "|" && token.is_word() && !FILTERS.contains(&name) {
                // The trial on empty values does not come to every branch.
                fields.warn_at(at, format!("uses the filter {name}, which there is not"));
            }
            let position = of(index + 2).parse::<usize>();
            if before != "."
                && (name, next, of(index + 3)) == ("steps", "[", "]")
                && let Ok(position) = position
                && position >= self.earlier.get()
            {
                fields.warn_at(at, too_far(position, self.earlier.get()));
            }
        }
    }

    /// Warns of values with a name, and of declared parameters, that nothing names.
    pub(super) fn remark_unused(&self, fields: &Fields<'_>, params: &[ParamRule]) {
        let used = self.used.borrow();
        for named in self.lets.iter().filter(|named| !used.contains(&named.name)) {
            fields.warn_at(
                &format!("let/{}", escape(&named.name)),
                "has a value, and nothing in the document uses it",
            );
        }
        if !fields.has("params") {
            return;
        }
        for rule in params.iter().filter(|rule| !used.contains(&rule.name)) {
            fields.warn_at(
                &format!("params/{}", escape(&rule.name)),
                "is declared, and nothing in the document uses it",
            );
        }
    }
}

/// Warns of a class that says which token was refused, where no token is sent.
pub(super) fn remark_invalid_token(fields: &Fields<'_>, rule: &ErrorRule) {
    let detail = "means that the parent's token is refused, and the realm has no parent: it is tried \
                  again without end; use permanent where a human must change something, \
                  invalid_grant where the refresh token is refused";
    let mut classes = rule.classes.iter().map(|(_, declared)| declared);
    if classes.any(|declared| *declared == Declared::InvalidToken) {
        fields.warn_at("error/classes/invalid_token", detail);
    }
    for (index, (_, declared)) in rule.patterns.iter().enumerate() {
        if *declared == Declared::InvalidToken {
            fields.warn_at(&format!("error/patterns/{index}/class"), detail);
        }
    }
}

fn too_far(position: usize, earlier: usize) -> String {
    let there = match earlier {
        0 => "no step comes before".to_owned(),
        1 => "only steps[0] comes before".to_owned(),
        more => format!("only steps[0] to steps[{}] come before", more - 1),
    };
    format!("uses steps[{position}], but {there}")
}

/// What stands around the expressions of a template.
fn texts<'a>(source: &'a str, expressions: &[Range<usize>]) -> Vec<&'a str> {
    let starts = [0].into_iter().chain(expressions.iter().map(|at| at.end));
    let ends = expressions.iter().map(|at| at.start);
    starts
        .zip(ends.chain([source.len()]))
        .map(|(start, end)| &source[start..end])
        .collect()
}

/// Warns of arguments of one request that meet.
pub(super) fn remark_arguments(fields: &Fields<'_>, request: &RequestRule) {
    if !fields.has("arguments") {
        return;
    }
    let nests = request.method != Method::Get && request.content.encoding().nests();
    for (index, argument) in request.arguments.iter().enumerate() {
        let at = format!("arguments/{index}/name");
        if argument.name.contains("${") || argument.name.contains("{{") {
            fields.warn_at(&at, "is not a template: it is sent as it stands here");
        }
        let earlier = &request.arguments[..index];
        let meets = |place: ArgumentPlace, same: fn(&str, &str) -> bool| {
            let other = |other: &&NamedArgument| {
                other.place == place
                    && same(&other.name, &argument.name)
                    // Of two that may be left out, one is meant.
                    && !(other.optional && argument.optional)
            };
            argument.place == place && earlier.iter().any(|one| other(&one))
        };
        if meets(ArgumentPlace::Header, |one, other| {
            one.eq_ignore_ascii_case(other)
        }) {
            fields.warn_at(
                &at,
                "is the name of an earlier header, whatever the case: both are sent",
            );
        }
        if nests && meets(ArgumentPlace::Body, |one, other| one == other) {
            fields.warn_at(
                &at,
                "is the name of an earlier argument of the body, whose value it replaces; a list \
                 is written as one value: [\"a\", \"b\"]",
            );
        }
    }
}

/// Warns of a path in a notation of others.
pub(super) fn remark_path(fields: &Fields<'_>, field: &str, path: &str) {
    let ours = match path.strip_prefix("$.") {
        Some(rest) => Some(rest.to_owned()),
        None => path.strip_prefix('/').map(|rest| rest.replace('/', ".")),
    };
    if let Some(ours) = ours.filter(|ours| !ours.is_empty()) {
        fields.warn_at(
            field,
            format!("is a dotted path, not a JSON path or pointer: write {ours}"),
        );
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::realm::document::ProviderDocument;
    use crate::realm::expression::Expressions;

    #[test]
    fn a_stored_document_stays_readable_that_is_refused_when_it_is_registered_anew() {
        let expressions = Expressions::new();
        for value in ["$now", "${now}", "a ${ uuid } b"] {
            let config = json!({
                "url": "https://api.example.com/", "method": "GET", "token_path": "t",
                "arguments": [{"name": "a", "place": "url", "value": value}],
            });
            assert!(
                ProviderDocument::read(&config, &expressions).is_ok(),
                "{value}"
            );
            let faults = ProviderDocument::read_new(&config, &expressions).unwrap_err();
            assert_eq!(faults[0].pointer, "/config/arguments/0/value");
        }
    }
}
