//! The one expression language of realm documents. Templates are text with `${ … }`;
//! conditions are the same expressions without the braces. MiniJinja evaluates them,
//! with only the filters named here, bounded by fuel, and one pass: what a parameter
//! contains is never expanded again.

use std::collections::BTreeSet;
use std::fmt;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::ValueKind;
use minijinja::{
    AutoEscape, Environment, Error, ErrorKind, Output, State, UndefinedBehavior, Value,
};
use minijinja::{filters, tests};

/// Instructions one evaluation may take.
const FUEL: u64 = 50_000;

/// The longest expression or template, in bytes.
const SOURCE_MAX_BYTES: usize = 16 * 1024;

/// Names the server itself puts in scope; no parameter may be called so.
pub const RESERVED: [&str; 17] = [
    "parent",
    "refresh_token",
    "token",
    "assertion",
    "ticket",
    "forced",
    "args",
    "steps",
    "body",
    "headers",
    "cookies",
    "status",
    "text",
    "now",
    "uuid",
    "nonce",
    "realm",
];

/// What an answer puts in scope.
pub const ANSWER_SCOPE: [&str; 4] = ["body", "headers", "status", "text"];

/// Why an expression is refused or failed. Says where, never what a value was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ExpressionError(String);

impl ExpressionError {
    fn new(detail: impl Into<String>) -> Self {
        Self(detail.into())
    }

    /// MiniJinja's message, without the values its details may name.
    fn of_evaluation(error: &Error) -> Self {
        Self::new(error.kind().to_string())
    }
}

/// A value that is rendered for each request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Template {
    /// Exactly `$name` or `${…}`: one expression, which keeps its type.
    Whole(String),
    /// Text around `${…}`.
    Mixed(String),
    /// Text without expressions.
    Literal(String),
}

/// A condition, or an extraction from an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expression(String);

/// The evaluator.
pub struct Expressions {
    templates: Environment<'static>,
    conditions: Environment<'static>,
}

impl fmt::Debug for Expressions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Expressions")
    }
}

impl Default for Expressions {
    fn default() -> Self {
        Self::new()
    }
}

impl Expressions {
    pub fn new() -> Self {
        Self {
            // `hostname or 'x'` may ask for an unset parameter; printing one may not.
            templates: environment(UndefinedBehavior::SemiStrict),
            // `body.data.errcode is undefined` may ask through what is not there.
            conditions: environment(UndefinedBehavior::Chainable),
        }
    }

    /// Reads a template. Answers it with the names it uses.
    pub fn template(&self, source: &str) -> Result<(Template, BTreeSet<String>), ExpressionError> {
        check_source(source)?;
        if let Some(name) = source.strip_prefix('$').filter(|name| is_name(name)) {
            return Ok((
                Template::Whole(name.to_owned()),
                BTreeSet::from([name.to_owned()]),
            ));
        }
        if !source.contains("${") {
            return Ok((Template::Literal(source.to_owned()), BTreeSet::new()));
        }
        let inner = source
            .strip_prefix("${")
            .and_then(|rest| rest.strip_suffix('}'));
        if let Some(Ok(whole)) = inner.map(|inner| self.templates.compile_expression(inner)) {
            let names = whole.undeclared_variables(false).into_iter().collect();
            known_only(&names, |scope| whole.eval(scope).map(|_| ()))?;
            let inner = inner.unwrap_or_default().trim().to_owned();
            return Ok((Template::Whole(inner), names));
        }
        let template = self
            .templates
            .template_from_str(source)
            .map_err(|error| ExpressionError::new(refusal(&error)))?;
        let names = template.undeclared_variables(false).into_iter().collect();
        known_only(&names, |scope| template.render(scope).map(|_| ()))?;
        Ok((Template::Mixed(source.to_owned()), names))
    }

    /// Reads a condition. Answers it with the names it uses.
    pub fn condition(
        &self,
        source: &str,
    ) -> Result<(Expression, BTreeSet<String>), ExpressionError> {
        check_source(source)?;
        if source.contains("${") {
            return Err(ExpressionError::new(
                "is an expression already: write it without ${ and }",
            ));
        }
        let compiled = self
            .conditions
            .compile_expression(source)
            .map_err(|error| ExpressionError::new(refusal(&error)))?;
        let names = compiled.undeclared_variables(false).into_iter().collect();
        known_only(&names, |scope| compiled.eval(scope).map(|_| ()))?;
        Ok((Expression(source.to_owned()), names))
    }

    /// Renders a template; undefined where the whole of it is one unset value.
    pub fn render(&self, template: &Template, scope: &Value) -> Result<Value, ExpressionError> {
        let rendered = match template {
            Template::Literal(text) => return Ok(Value::from(text.as_str())),
            Template::Whole(source) => self
                .templates
                .compile_expression(source)
                .and_then(|expression| expression.eval(scope.clone())),
            Template::Mixed(source) => self
                .templates
                .template_from_str(source)
                .and_then(|template| template.render(scope.clone()))
                .map(Value::from),
        };
        rendered.map_err(|error| ExpressionError::of_evaluation(&error))
    }

    pub fn evaluate(
        &self,
        expression: &Expression,
        scope: &Value,
    ) -> Result<Value, ExpressionError> {
        self.conditions
            .compile_expression(&expression.0)
            .and_then(|compiled| compiled.eval(scope.clone()))
            .map_err(|error| ExpressionError::of_evaluation(&error))
    }
}

/// Whether `name` can be a parameter's name.
pub fn is_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn check_source(source: &str) -> Result<(), ExpressionError> {
    if source.len() > SOURCE_MAX_BYTES {
        return Err(ExpressionError(format!(
            "must not be longer than {SOURCE_MAX_BYTES} bytes"
        )));
    }
    if source.contains('\0') {
        return Err(ExpressionError::new("must not contain NUL"));
    }
    Ok(())
}

/// Refuses filters, tests, functions and methods that do not exist: MiniJinja looks them up
/// when it meets them, so the expression is tried once, on empty values. What else fails
/// on those is no fault of the expression.
fn known_only(
    names: &BTreeSet<String>,
    attempt: impl FnOnce(Value) -> Result<(), Error>,
) -> Result<(), ExpressionError> {
    let empty = Value::from_pairs(names.iter().map(|name| (name.clone(), "")));
    match attempt(empty) {
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::UnknownFilter
                    | ErrorKind::UnknownTest
                    | ErrorKind::UnknownFunction
                    | ErrorKind::UnknownMethod
            ) =>
        {
            Err(ExpressionError::new(refusal(&error)))
        }
        _ => Ok(()),
    }
}

fn refusal(error: &Error) -> String {
    let place = error
        .line()
        .map_or(String::new(), |line| format!(" (line {line})"));
    let detail = error.detail().unwrap_or_default();
    format!("{}: {detail}{place}", error.kind())
}

fn environment(undefined: UndefinedBehavior) -> Environment<'static> {
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
    env.add_filter("default", filters::default);
    env.add_filter("int", filters::int);
    env.add_filter("string", filters::string);
    env.add_filter("lower", filters::lower);
    env.add_filter("upper", filters::upper);
    env.add_filter("trim", filters::trim);
    env.add_filter("replace", filters::replace);
    env.add_filter("first", filters::first);
    env.add_filter("last", filters::last);
    env.add_filter("length", filters::length);
    env.add_filter("join", filters::join);
    env.add_test("defined", tests::is_defined);
    env.add_test("undefined", tests::is_undefined);
    env.add_test("none", tests::is_none);
    env.add_test("string", tests::is_string);
    env.add_test("number", tests::is_number);
    env.add_test("startingwith", tests::is_startingwith);
    env
}

/// Scalars print as in JSON (`true`, not `True`); what has no plain form is an error.
fn print_json_scalar(
    out: &mut Output<'_>,
    _: &mut State<'_, '_>,
    value: &Value,
) -> Result<(), Error> {
    let printed = match value.kind() {
        ValueKind::String => out.write_str(value.as_str().unwrap_or_default()),
        ValueKind::Bool => out.write_str(if value.is_true() { "true" } else { "false" }),
        ValueKind::Number => out.write_str(&value.to_string()),
        ValueKind::Undefined | ValueKind::None => {
            return Err(ErrorKind::UndefinedError.into());
        }
        _ => return Err(ErrorKind::BadSerialization.into()),
    };
    printed.map_err(|_| ErrorKind::WriteFailure.into())
}

#[cfg(test)]
mod tests_of_expressions {
    use super::*;
    use minijinja::context;

    fn rendered(source: &str, scope: Value) -> Result<Value, ExpressionError> {
        let expressions = Expressions::new();
        let (template, _) = expressions.template(source)?;
        expressions.render(&template, &scope)
    }

    #[test]
    fn a_parameters_content_arrives_unchanged_and_is_never_expanded_again() {
        for content in [
            "a\"b'c",
            "${ key_2 }",
            "$key_2",
            "{% raw %}",
            "<&>",
            "line\n",
            "\0",
            "é🙂%&+ ",
        ] {
            let scope = context! { key_1 => content, key_2 => "other" };
            for (source, expected) in [
                ("$key_1", content.to_owned()),
                ("${ key_1 }", content.to_owned()),
                ("Bearer ${ key_1 }", format!("Bearer {content}")),
            ] {
                assert_eq!(
                    rendered(source, scope.clone()).unwrap().as_str(),
                    Some(&*expected)
                );
            }
        }
    }

    #[test]
    fn a_dollar_name_inside_other_text_stays_text() {
        let scope = context! { key_1 => "x" };
        assert_eq!(
            rendered("Bearer $key_1", scope).unwrap().as_str(),
            Some("Bearer $key_1")
        );
    }

    #[test]
    fn json_scalars_print_as_in_json_and_lists_do_not_print() {
        let scope = context! { yes => true, number => 5, list => vec![1] };
        assert_eq!(
            rendered("a=${ yes },${ number }", scope.clone())
                .unwrap()
                .as_str(),
            Some("a=true,5")
        );
        assert!(rendered("a=${ list }", scope.clone()).is_err());
        assert!(rendered("a=${ missing }", scope).is_err());
    }

    #[test]
    fn a_condition_may_ask_through_what_is_not_there() {
        let expressions = Expressions::new();
        let (condition, names) = expressions
            .condition("body.data.errcode is undefined")
            .unwrap();
        assert_eq!(names, BTreeSet::from(["body".to_owned()]));
        let scope = context! { body => context! {} };
        assert!(expressions.evaluate(&condition, &scope).unwrap().is_true());
    }

    #[test]
    fn a_condition_with_braces_is_refused_with_a_hint() {
        let refused = Expressions::new()
            .condition("${ status == 200 }")
            .unwrap_err();
        assert!(refused.to_string().contains("without ${ and }"));
    }

    #[test]
    fn a_filter_or_a_test_that_does_not_exist_is_refused_and_a_function_counts_as_a_name() {
        let expressions = Expressions::new();
        for source in ["key_1|nothing", "key_1 is nothing"] {
            assert!(expressions.condition(source).is_err(), "{source}");
            assert!(
                expressions.template(&format!("${{ {source} }}")).is_err(),
                "{source}"
            );
            assert!(
                expressions.template(&format!("x${{ {source} }}")).is_err(),
                "{source}"
            );
        }
        let (_, names) = expressions.condition("debug(key_1)").unwrap();
        assert!(names.contains("debug"));
        for source in [
            "key_1|default('x')|upper",
            "body.a.b|first is defined",
            "headers.x == '1'",
        ] {
            assert!(expressions.condition(source).is_ok(), "{source}");
        }
    }

    #[test]
    fn an_expression_that_is_too_long_or_too_deep_is_refused() {
        let expressions = Expressions::new();
        let deep = "(1 + ".repeat(1000) + "1" + &")".repeat(1000);
        let long = vec!["1"; SOURCE_MAX_BYTES].join("+");
        for source in [deep, long] {
            assert!(expressions.condition(&source).is_err());
            assert!(expressions.template(&format!("${{ {source} }}")).is_err());
        }
    }
}
