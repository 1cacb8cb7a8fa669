//! What fuel does not bound. Repeating and joining lists is lazy in MiniJinja: it costs
//! nothing until somebody walks through them, and comparing or searching is not charged.

use std::ops::Range;

use minijinja::value::ValueKind;
use minijinja::{Error, ErrorKind, Value};

use super::error::ExpressionError;

/// Lists that one expression may join; each may be as long as an answer.
const PLUS_MAX: usize = 50;
/// The evaluator recurses for each link of a chain, and much deeper for each bracket: more
/// would use up the stack of a thread.
const TOKENS_MAX: usize = 500;
const NESTING_MAX: usize = 30;
/// Digits of the step of a slice: the evaluator negates it, which the least number cannot bear.
const STEP_DIGITS_MAX: usize = 9;
/// What an expression may give: a value counts for its text, and for its place in a list.
const RESULT_MAX_BYTES: usize = 3_200_000;
const PLACE_BYTES: usize = 32;
pub const TOO_MUCH: &str = "gives more than an expression may";
const RESULT_MAX_DEPTH: usize = 64;

/// Checks an expression before anything compiles it.
pub fn check(source: &str) -> Result<(), ExpressionError> {
    let mut scan = Scan::default();
    for c in source.chars() {
        scan.take(c);
    }
    scan.check()
}

/// Where the expressions of a template stand, braces included; each is checked.
pub fn expressions_in(source: &str) -> Result<Vec<Range<usize>>, ExpressionError> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(start) = source[from..].find("${").map(|at| from + at) {
        let mut scan = Scan::default();
        let mut end = None;
        for (at, c) in source[start + 2..].char_indices() {
            if c == '}' && scan.nesting.is_empty() && scan.quote.is_none() {
                end = Some(start + 2 + at + 1);
                break;
            }
            scan.take(c);
        }
        let end = end.ok_or_else(|| ExpressionError::new("has an expression that does not end"))?;
        scan.check()?;
        found.push(start..end);
        from = end;
    }
    Ok(found)
}

/// An expression, read as far as brackets, texts and operators go.
#[derive(Default)]
struct Scan {
    quote: Option<char>,
    escaped: bool,
    in_word: bool,
    tokens: usize,
    pluses: usize,
    multiplies: bool,
    nesting: Vec<Bracket>,
    deepest: usize,
    steps_freely: bool,
}

/// A bracket that is open, read as far as what may be the step of a slice.
struct Bracket {
    is_square: bool,
    colons: usize,
    step_digits: usize,
}

impl Bracket {
    fn new(c: char) -> Self {
        let is_square = c == '[';
        Self {
            is_square,
            colons: 0,
            step_digits: 0,
        }
    }

    /// Reads what stands in it. Says whether that may be: a step is a written number.
    fn take(&mut self, c: char) -> bool {
        let is_step = self.is_square && self.colons >= 2;
        self.colons += usize::from(c == ':');
        if !is_step || c == '-' || c.is_whitespace() {
            return true;
        }
        self.step_digits += 1;
        c.is_ascii_digit() && self.step_digits <= STEP_DIGITS_MAX
    }
}

impl Scan {
    fn take(&mut self, c: char) {
        if let Some(end) = self.quote {
            match c {
                _ if self.escaped => self.escaped = false,
                '\\' => self.escaped = true,
                c if c == end => self.quote = None,
                _ => {}
            }
            return;
        }
        let is_word = c.is_alphanumeric() || c == '_';
        let goes_on = c.is_whitespace() || (is_word && self.in_word);
        if !goes_on {
            self.tokens += 1;
        }
        self.in_word = is_word;
        if !matches!(c, ')' | ']' | '}')
            && let Some(within) = self.nesting.last_mut()
            && !within.take(c)
        {
            self.steps_freely = true;
        }
        match c {
            '\'' | '"' => self.quote = Some(c),
            '+' => self.pluses += 1,
            '*' => self.multiplies = true,
            '(' | '[' | '{' => {
                self.nesting.push(Bracket::new(c));
                self.deepest = self.deepest.max(self.nesting.len());
            }
            ')' | ']' | '}' => {
                self.nesting.pop();
            }
            _ => {}
        }
    }

    fn check(&self) -> Result<(), ExpressionError> {
        let refused = |why: String| Err(ExpressionError(why));
        if self.multiplies {
            // It would repeat texts and lists, too.
            refused("does not have the operator *: write a|times(b), for numbers".to_owned())
        } else if self.pluses > PLUS_MAX {
            refused(format!("has more than {PLUS_MAX} of the operator +"))
        } else if self.tokens > TOKENS_MAX {
            refused(format!(
                "has more than {TOKENS_MAX} names, numbers and signs"
            ))
        } else if self.deepest > NESTING_MAX {
            refused(format!("nests brackets deeper than {NESTING_MAX}"))
        } else if self.steps_freely {
            refused(format!(
                "has a slice whose step is not a written number of up to {STEP_DIGITS_MAX} digits, as in x[::2]"
            ))
        } else {
            Ok(())
        }
    }
}

/// A result as JSON, if it is not larger than its fuel could pay for.
pub fn to_json(value: &Value) -> Result<serde_json::Value, ExpressionError> {
    let mut left = RESULT_MAX_BYTES;
    json(value, &mut left, 0)
}

fn json(
    value: &Value,
    left: &mut usize,
    depth: usize,
) -> Result<serde_json::Value, ExpressionError> {
    use serde_json::Value as Json;
    let size = PLACE_BYTES + value.as_str().map_or(0, str::len);
    *left = left
        .checked_sub(size)
        .filter(|_| depth <= RESULT_MAX_DEPTH)
        .ok_or_else(|| ExpressionError::new(TOO_MUCH))?;
    let no_json = || ExpressionError::new("is not a JSON value");
    Ok(match value.kind() {
        ValueKind::Undefined | ValueKind::None => Json::Null,
        ValueKind::Bool => value.is_true().into(),
        ValueKind::String => value.as_str().unwrap_or_default().into(),
        ValueKind::Number => serde_json::to_value(value).map_err(|_| no_json())?,
        ValueKind::Seq | ValueKind::Iterable => {
            let items = value.try_iter().map_err(|_| no_json())?;
            let items = items.map(|item| json(&item, left, depth + 1));
            Json::Array(items.collect::<Result<_, _>>()?)
        }
        ValueKind::Map => {
            let mut fields = serde_json::Map::new();
            for key in value.try_iter().map_err(|_| no_json())? {
                let field = value.get_item(&key).map_err(|_| no_json())?;
                let name = key.as_str().ok_or_else(no_json)?.to_owned();
                *left = left.saturating_sub(name.len());
                fields.insert(name, json(&field, left, depth + 1)?);
            }
            Json::Object(fields)
        }
        _ => return Err(no_json()),
    })
}

/// A value as text; lists and objects are none.
pub(super) fn scalar(value: &Value) -> Result<String, Error> {
    match value.kind() {
        ValueKind::String => Ok(value.as_str().unwrap_or_default().to_owned()),
        ValueKind::Bool => Ok(if value.is_true() { "true" } else { "false" }.to_owned()),
        ValueKind::Number => Ok(value.to_string()),
        ValueKind::Undefined | ValueKind::None => Err(ErrorKind::UndefinedError.into()),
        _ => Err(ErrorKind::BadSerialization.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operator_within_a_text_is_text() {
        for source in ["'a*b' ~ \"*\"", r"'it\'s *' ~ x", "now('s') + 60"] {
            assert_eq!(check(source), Ok(()), "{source}");
        }
        for source in ["[1] * 5", "'a' ~ ('b' * 2)", "x ** 2", r"'\\' * 9"] {
            let refused = check(source).unwrap_err();
            assert!(refused.to_string().contains("times"), "{source}");
        }
    }

    #[test]
    fn what_is_too_long_or_too_deep_is_refused_before_it_is_compiled() {
        for source in [
            vec!["x"; 52].join("+"),
            "-".repeat(8000),
            format!("x{}", "()".repeat(8000)),
            format!("{}x{}", "x(".repeat(31), ")".repeat(31)),
            format!("x{}", ".a".repeat(300)),
        ] {
            assert!(check(&source).is_err(), "{source:.40}");
            assert!(expressions_in(&format!("a${{{source}}}")).is_err());
        }
    }

    #[test]
    fn the_step_of_a_slice_is_a_written_number_of_a_few_digits() {
        for source in [
            "x[::-1]",
            "x[1:9:2]",
            "x[ : : - 999999999 ]",
            "x[-9223372036854775808:9223372036854775807]",
            "[{'a': y, 'b': {'c': 12345678901}}]",
            "{'a': x[::2], 'b': y[0], 'c': 12345678901}",
        ] {
            assert_eq!(check(source), Ok(()), "{source}");
        }
        for source in [
            "x[::-9223372036854775808]",
            "x[::y]",
            "x[0:1:'5'|int]",
            "x[::1234567890]",
            "x[{'a': 1}['a']:2:(5)]",
            "x[::-(2)]",
        ] {
            let refused = check(source).unwrap_err();
            assert!(refused.to_string().contains("step"), "{source}");
            assert!(expressions_in(&format!("a${{{source}}}")).is_err());
        }
    }

    #[test]
    fn expressions_end_at_their_own_brace() {
        let source = "a${ {'k': '}'}['k'] }b}${x}${ \"}\" ~ '\\'}' }";
        let found = expressions_in(source).unwrap();
        let texts: Vec<_> = found.into_iter().map(|at| &source[at]).collect();
        assert_eq!(
            texts,
            ["${ {'k': '}'}['k'] }", "${x}", "${ \"}\" ~ '\\'}' }"]
        );
        assert!(expressions_in("a${ 'x' ").is_err());
    }

    #[test]
    fn a_result_that_is_too_large_or_too_deep_is_refused() {
        let text = Value::from("x".repeat(100_000));
        let list = |times: usize| Value::from(vec![text.clone(); times]);
        assert!(to_json(&list(30)).is_ok());
        assert!(to_json(&list(33)).is_err());
        let deep = (0..100).fold(Value::from(1), |inner, _| Value::from(vec![inner]));
        assert!(to_json(&deep).is_err());
    }
}
