//! `default` gives its argument only where it is needed. MiniJinja evaluates what a filter is
//! given before the filter, but `or` only where its left side is false: `a|default(b)` is
//! evaluated as `(a|__defined or (b))|__given`. Each sub-expression is there once, as it was written.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use minijinja::value::{Object, ObjectRepr};
use minijinja::{Environment, Value};

use super::hints::tokens;

const DEFAULT: &str = "default";
/// Wraps what is defined, so that `or` takes it whatever it is; what is not becomes false.
const DEFINED: &str = "__defined";
/// The same for `default(b, true)`, which replaces what is false, too.
const TRUE: &str = "__true";
/// Takes out what one of them wrapped.
const GIVEN: &str = "__given";

pub fn add_to(env: &mut Environment<'static>) {
    let wrap = |value: &Value| match value.is_undefined() {
        true => Value::from(false),
        false => Value::from_object(Wrapped(value.clone())),
    };
    let wrap_true = |value: &Value| match value.is_true() {
        false => Value::from(false),
        true => Value::from_object(Wrapped(value.clone())),
    };
    env.add_filter(DEFINED, wrap);
    env.add_filter(TRUE, wrap_true);
    env.add_filter(GIVEN, |value: &Value| {
        let given = value.downcast_object_ref::<Wrapped>();
        given.map_or_else(|| value.clone(), |given| given.0.clone())
    });
}

struct Wrapped(Value);

impl fmt::Debug for Wrapped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Given")
    }
}

impl Object for Wrapped {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn is_true(self: &Arc<Self>) -> bool {
        true
    }
}

/// The expression in the form that is evaluated. It must be one that compiles; what this gives
/// for it may not, where numbers are written in a rare way.
pub fn with_lazy_defaults(source: &str) -> String {
    let mut written = source.to_owned();
    if !source.contains(DEFAULT) {
        return written;
    }
    let mut edits = edits(source);
    // From the end, so that the places of the others stay where they are.
    edits.sort_by_key(|edit| edit.at);
    for edit in edits.iter().rev() {
        written.replace_range(edit.at..edit.at + edit.length, &edit.text);
    }
    written
}

struct Edit {
    at: usize,
    length: usize,
    text: String,
}

/// Words after which an operand begins.
const OPERATORS: [&str; 6] = ["and", "or", "not", "in", "if", "else"];

/// What has been read within one pair of brackets.
#[derive(Default)]
struct Frame {
    /// Where the operand begins that filters are applied to.
    operand: Option<usize>,
    /// Whether it has more than its signs.
    complete: bool,
    /// Where these are the arguments of `default`.
    default: Option<Opened>,
}

impl Frame {
    /// Another operand begins with what follows.
    fn next_operand(&mut self) {
        self.operand = None;
        self.complete = false;
    }
}

/// A `default(…)` that is read.
struct Opened {
    operand: usize,
    name: usize,
    /// Where its arguments begin.
    arguments: usize,
    comma: Option<usize>,
    /// Its arguments have names, or are too many: it stays as it is.
    stays: bool,
}

fn edits(source: &str) -> Vec<Edit> {
    let tokens = tokens(source, 0..source.len());
    let of = |index: usize| tokens.get(index).map_or("", |token| token.of(source));
    // After a filter's or a test's name, which may have dots.
    let after_name = |index: usize| {
        let mut after = index + 1;
        while of(after) == "." {
            after += 2;
        }
        after
    };
    let mut edits = Vec::new();
    let mut frames = vec![Frame::default()];
    let mut index = 0;
    while let (Some(token), Some(frame)) = (tokens.get(index), frames.last_mut()) {
        index += 1;
        let start = token.at.start;
        match token.of(source) {
            "|" => {
                let name = index;
                index = after_name(name);
                if let (DEFAULT, "(", Some(operand)) = (of(name), of(index), frame.operand) {
                    frames.push(Frame {
                        default: Some(Opened {
                            operand,
                            name: tokens[name].at.start,
                            arguments: tokens[index].at.end,
                            comma: None,
                            stays: false,
                        }),
                        ..Frame::default()
                    });
                    index += 1;
                }
            }
            // A test is applied as filters are, and may take an operand without brackets.
            "is" if frame.complete => {
                if of(index) == "not" {
                    index += 1;
                }
                index = after_name(index);
                while of(index) == "-" {
                    index += 1;
                }
            }
            // What follows is a name, whatever it is called.
            "." => index += 1,
            "(" | "[" | "{" => {
                frame.operand.get_or_insert(start);
                frame.complete = true;
                frames.push(Frame::default());
            }
            ")" | "]" | "}" => {
                let closed = frames.pop().and_then(|frame| frame.default);
                let made = closed.and_then(|default| default.edits(source, &token.at));
                edits.extend(made.into_iter().flatten());
            }
            "-" | "--" if !frame.complete => {
                frame.operand.get_or_insert(start);
            }
            sign @ ("," | "=") => {
                if let Some(default) = &mut frame.default {
                    default.stays |= sign == "=" || default.comma.is_some();
                    default.comma = Some(start);
                }
                frame.next_operand();
            }
            word if token.is_word() && !OPERATORS.contains(&word) => {
                frame.operand.get_or_insert(start);
                frame.complete = true;
            }
            // A text.
            "" => {
                frame.operand.get_or_insert(start);
                frame.complete = true;
            }
            _ => frame.next_operand(),
        }
    }
    edits
}

impl Opened {
    /// None: it stays as it is.
    fn edits(&self, source: &str, close: &Range<usize>) -> Option<[Edit; 3]> {
        let end = self.comma.unwrap_or(close.start);
        let lax = self
            .comma
            .map(|comma| source[comma + 1..close.start].trim());
        let wrap = match lax {
            None | Some("false" | "False") => DEFINED,
            Some("true" | "True") => TRUE,
            Some(_) => return None,
        };
        if self.stays || source[self.arguments..end].trim().is_empty() {
            return None;
        }
        let edit = |from: usize, to: usize, text: String| Edit {
            at: from,
            length: to - from,
            text,
        };
        Some([
            edit(self.operand, self.operand, "(".to_owned()),
            edit(self.name, self.arguments, format!("{wrap} or (")),
            edit(end, close.end, format!("))|{GIVEN}")),
        ])
    }
}

#[cfg(test)]
mod tests {
    use minijinja::context;

    use super::*;
    use crate::realm::expression::Expressions;

    #[test]
    fn each_default_is_wrapped_around_its_own_operand() {
        for (source, expected) in [
            ("a|default('x')", "(a|__defined or ('x'))|__given"),
            (
                "a.b[0]|trim|default(c)|upper",
                "(a.b[0]|trim|__defined or (c))|__given|upper",
            ),
            (
                "x ~ a | default( b , true) ~ y",
                "x ~ (a | __true or ( b ))|__given ~ y",
            ),
            (
                "a|default(b|default(c))",
                "(a|__defined or ((b|__defined or (c))|__given))|__given",
            ),
            (
                "a|default(b)|default(c)",
                "((a|__defined or (b))|__given|__defined or (c))|__given",
            ),
            ("-a|default(1) - b", "(-a|__defined or (1))|__given - b"),
            ("not a|default(1)", "not (a|__defined or (1))|__given"),
            (
                "f(x, k=a|default(1))[b|default(2)]",
                "f(x, k=(a|__defined or (1))|__given)[(b|__defined or (2))|__given]",
            ),
            (
                "{'k': a|default([1, 2])}",
                "{'k': (a|__defined or ([1, 2]))|__given}",
            ),
            (
                "a if b is defined else c|default(1)",
                "a if b is defined else (c|__defined or (1))|__given",
            ),
            (
                "a is not startingwith 'x'|default(1)",
                "(a is not startingwith 'x'|__defined or (1))|__given",
            ),
            (
                "a.default|default(1)",
                "(a.default|__defined or (1))|__given",
            ),
            (
                "a == b|default(')') or c",
                "a == (b|__defined or (')'))|__given or c",
            ),
            ("(a ~ b)|default(1)", "((a ~ b)|__defined or (1))|__given"),
            ("a|default(f(1, 2))", "(a|__defined or (f(1, 2)))|__given"),
        ] {
            assert_eq!(with_lazy_defaults(source), expected);
        }
        for source in [
            "a|default",
            "a|default()",
            "a|default('x', b)",
            "a|default('x', boolean=true)",
            "'a|default(b)'",
            "a|map('default', b)",
            "default(b)",
        ] {
            assert_eq!(with_lazy_defaults(source), source);
        }
    }

    #[test]
    fn what_is_not_needed_is_not_evaluated_and_what_is_given_keeps_its_type() {
        let expressions = Expressions::new();
        let scope = context! { a => "x", zero => 0, empty => "", list => vec![1], no => false };
        let rendered = |source: &str| {
            let template = expressions.template(source).unwrap();
            let value = expressions.render(&template, &scope);
            value
                .map(|value| value.to_string())
                .map_err(|error| error.to_string())
        };
        for (source, expected) in [
            ("${ a|default('' ~ unset) }", "x"),
            ("${ a|default(unset|upper) }", "x"),
            ("<${ a|default('no json'|fromjson) }>${ a }", "<x>x"),
            ("${ unset|default(a|upper) }", "X"),
            ("${ zero|default(unset|upper) }", "0"),
            ("${ empty|default(unset|upper) }", ""),
            ("<${ no|default(unset|upper) }>", "<false>"),
            ("${ empty|default(a, true) }", "x"),
            (
                "${ zero|default('y', true) ~ a|default(unset|upper, true) }",
                "yx",
            ),
            ("${ (list|default(unset|upper))[0] + 1 }", "2"),
            (
                "${ unset|default(missing)|default(a|default(unset|upper)) }",
                "x",
            ),
            ("${ -zero|default(1) - 2 }", "-2"),
        ] {
            assert_eq!(rendered(source).as_deref(), Ok(expected), "{source}");
        }
        for source in [
            "${ unset|default(unset|upper) }",
            "${ unset|upper|default('x') }",
        ] {
            assert!(
                rendered(source).unwrap_err().contains("not set"),
                "{source}"
            );
        }
        let condition = expressions
            .condition("a|default(a|fromjson) == 'x'")
            .unwrap();
        assert!(expressions.evaluate(&condition, &scope).unwrap().is_true());
        assert_eq!(condition.source(), "a|default(a|fromjson) == 'x'");
    }
}
