//! Regular expressions of a document, and why one is none.

use regex_lite::Regex;
use regex_syntax::ast::ErrorKind;
use regex_syntax::ast::parse::Parser;

/// The longest regular expression, in bytes.
const PATTERN_MAX_BYTES: usize = 1000;

/// A pattern for the whole of a value.
pub(super) fn whole_match(pattern: &str) -> Result<Regex, String> {
    read_pattern(pattern)?;
    read_pattern(&format!("^(?:{pattern})$"))
}

/// A regular expression that is searched for.
pub(super) fn read_pattern(pattern: &str) -> Result<Regex, String> {
    if pattern.len() > PATTERN_MAX_BYTES {
        return Err(format!("must not be longer than {PATTERN_MAX_BYTES} bytes"));
    }
    Regex::new(pattern).map_err(|error| why_none(pattern, &error.to_string()))
}

/// What the evaluator says, or the larger parser, which knows the place.
fn why_none(pattern: &str, evaluator: &str) -> String {
    // The evaluator's parser does not know these at all, and takes them for a mistake.
    for (sign, what) in [("(?>", "an atomic group"), ("(?P=", "a back-reference")] {
        if let Some(at) = pattern.find(sign) {
            return unsupported(what, pattern[..at].chars().count() + 1);
        }
    }
    let Err(error) = Parser::new().parse(pattern) else {
        return format!("is not a regular expression: {evaluator}");
    };
    let start = error.span().start;
    match error.kind() {
        ErrorKind::UnsupportedLookAround => {
            let behind = pattern[start.offset..].starts_with("(?<");
            let what = match behind {
                true => "a look-behind",
                false => "a look-ahead",
            };
            unsupported(what, start.column)
        }
        ErrorKind::UnsupportedBackreference => unsupported("a back-reference", start.column),
        kind => format!(
            "is not a regular expression: {kind} (column {})",
            start.column
        ),
    }
}

fn unsupported(what: &str, column: usize) -> String {
    format!("has {what} (column {column}), which these regular expressions do not have")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_that_is_none_is_refused_with_what_is_wrong_and_where() {
        for (pattern, told) in [
            ("[a-z", "unclosed character class (column 1)"),
            ("a(b", "unclosed group (column 2)"),
            ("a)b", "unopened group (column 2)"),
            ("*a", "repetition operator missing expression (column 1)"),
            ("ab{3,1}", "(column 3)"),
            ("\u{e9}[z-a]", "(column 3)"),
            (r"\y", "unrecognized escape sequence (column 1)"),
            ("(?=x)", "has a look-ahead (column 1)"),
            ("a(?!b)", "has a look-ahead (column 2)"),
            ("ab(?<=b)", "has a look-behind (column 3)"),
            ("(?<!b)a", "has a look-behind (column 1)"),
            (r"(a)\1", "has a back-reference (column 4)"),
            (r"(?P<q>['])a(?P=q)", "has a back-reference (column 12)"),
            ("(?>a+)b", "has an atomic group (column 1)"),
            (r"\p{L}+", "is not a regular expression: "),
        ] {
            let why = whole_match(pattern).unwrap_err();
            assert!(why.contains(told), "{pattern}: {why}");
        }
        assert!(whole_match(&"a".repeat(PATTERN_MAX_BYTES + 1)).is_err());
    }

    #[test]
    fn a_pattern_is_for_the_whole_of_a_value() {
        let pattern = whole_match("a|b").unwrap();
        assert!(pattern.is_match("a") && pattern.is_match("b"));
        assert!(!pattern.is_match("ab") && !pattern.is_match("a\n"));
    }
}
