//! The one expression language of realm documents. Templates are text with `${ … }`;
//! conditions are the same expressions without the braces. MiniJinja evaluates them,
//! with only the filters named here, bounded by fuel, and one pass: what a parameter
//! contains is never expanded again.

mod attempt_values;
mod bounds;
mod digests;
mod environment;
mod error;
pub mod hints;
mod lazy;

use std::collections::BTreeSet;
use std::fmt;

use minijinja::value::merge_maps;
use minijinja::{Environment, Error, ErrorKind, UndefinedBehavior, Value};

pub use attempt_values::AttemptValues;
pub use bounds::{expressions_in, to_json};
use environment::environment;
pub use environment::{UNRESERVED, without_nulls, xml_text};
pub use error::ExpressionError;
pub use hints::FUNCTIONS as ALWAYS;

/// The longest expression or template, in bytes.
const SOURCE_MAX_BYTES: usize = 16 * 1024;

/// Names the server itself puts in scope; no parameter may be called so. One exception:
/// the parameter `refresh_token` is the first refresh token.
pub const RESERVED: [&str; 19] = [
    "parent",
    "refresh_token",
    "token",
    "assertion",
    "ticket",
    "forced",
    "attempt",
    "args",
    "steps",
    "body",
    "headers",
    "cookies",
    "status",
    "text",
    "extra",
    "now",
    "uuid",
    "nonce",
    "realm",
];

/// What an answer puts in scope.
pub const ANSWER_SCOPE: [&str; 5] = ["body", "headers", "cookies", "status", "text"];

/// The names an expression uses.
pub type Names = BTreeSet<String>;

/// A value that is rendered for each request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    source: Source,
    /// Those that stand in it.
    own_names: Names,
    /// Those, and what values named by `let` use.
    names: Names,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Source {
    /// Exactly `$name` or `${…}`: one expression, which keeps its type.
    Whole(String),
    /// Text around `${…}`.
    Mixed(String),
    /// Text without expressions.
    Literal(String),
}

impl Template {
    fn of(source: Source, names: Names) -> Self {
        Self {
            source,
            own_names: names.clone(),
            names,
        }
    }

    /// The same, which uses some names through others.
    #[must_use]
    pub fn using(mut self, names: &Names) -> Self {
        self.names.extend(names.iter().cloned());
        self
    }

    pub fn names(&self) -> &Names {
        &self.names
    }

    /// The text of a template without expressions.
    pub fn as_literal(&self) -> Option<&str> {
        match &self.source {
            Source::Literal(text) => Some(text),
            Source::Whole(_) | Source::Mixed(_) => None,
        }
    }

    /// The name, where the template is exactly one.
    pub fn as_name(&self) -> Option<&str> {
        match &self.source {
            Source::Whole(source) if is_name(source) => Some(source),
            Source::Whole(_) | Source::Mixed(_) | Source::Literal(_) => None,
        }
    }
}

/// What a template gives.
#[derive(Clone, Debug)]
pub enum Rendered {
    Value(Value),
    /// It cannot do without a name that has no value.
    Unset(ExpressionError),
}

/// A part of a template: text, or an expression within it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    Text(String),
    Expression(Template),
}

/// A condition, or an extraction from an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expression {
    source: String,
    /// As it is evaluated.
    evaluated: String,
    names: Names,
}

impl Expression {
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// The same, which uses some names through others.
    #[must_use]
    pub fn using(mut self, names: &Names) -> Self {
        self.names.extend(names.iter().cloned());
        self
    }

    /// As it was written.
    pub fn source(&self) -> &str {
        &self.source
    }
}

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

    /// Reads a template.
    pub fn template(&self, source: &str) -> Result<Template, ExpressionError> {
        check_source(source)?;
        if let Some(name) = source.strip_prefix('$').filter(|name| is_name(name)) {
            let names = Names::from([name.to_owned()]);
            return Ok(Template::of(Source::Whole(name.to_owned()), names));
        }
        if !source.contains("${") {
            let text = Source::Literal(source.to_owned());
            return Ok(Template::of(text, Names::new()));
        }
        let expressions = bounds::expressions_in(source)?;
        let inner: Vec<_> = expressions
            .iter()
            .map(|at| at.start + 2..at.end - 1)
            .collect();
        let refused =
            |error: &Error| ExpressionError(hints::refusal(&self.templates, error, source, &inner));
        if let [single] = expressions.as_slice()
            && *single == (0..source.len())
        {
            let inner = source[2..source.len() - 1].trim();
            let whole = self
                .templates
                .compile_expression(inner)
                .map_err(|error| refused(&error))?;
            let names = whole.undeclared_variables(false).into_iter().collect();
            known_only(&names, |scope| whole.eval(scope).map(|_| ()))
                .map_err(|error| refused(&error))?;
            let whole = Source::Whole(lazily(&self.templates, inner));
            return Ok(Template::of(whole, names));
        }
        let template = self
            .templates
            .template_from_str(source)
            .map_err(|error| refused(&error))?;
        let names = template.undeclared_variables(false).into_iter().collect();
        known_only(&names, |scope| template.render(scope).map(|_| ()))
            .map_err(|error| refused(&error))?;
        let mut evaluated = source.to_owned();
        for at in inner.into_iter().rev() {
            let written = lazily(&self.templates, &source[at.clone()]);
            evaluated.replace_range(at, &written);
        }
        Ok(Template::of(Source::Mixed(evaluated), names))
    }

    /// Takes a template apart, for values that are written by their place in it.
    pub fn pieces(&self, source: &str) -> Result<Vec<Piece>, ExpressionError> {
        // What is refused as a whole is refused with a better message.
        let whole = self.template(source)?;
        if whole.as_name().is_some() {
            return Ok(vec![Piece::Expression(whole)]);
        }
        let mut pieces = Vec::new();
        let mut from = 0;
        for at in bounds::expressions_in(source)? {
            if at.start > from {
                pieces.push(Piece::Text(source[from..at.start].to_owned()));
            }
            pieces.push(Piece::Expression(self.template(&source[at.clone()])?));
            from = at.end;
        }
        if from < source.len() {
            pieces.push(Piece::Text(source[from..].to_owned()));
        }
        Ok(pieces)
    }

    /// Reads a condition.
    pub fn condition(&self, source: &str) -> Result<Expression, ExpressionError> {
        check_source(source)?;
        if source.contains("${") {
            return Err(ExpressionError::new(
                "is an expression already: write it without ${ and }",
            ));
        }
        bounds::check(source)?;
        let whole = std::iter::once(0..source.len()).collect::<Vec<_>>();
        let refused = |error: &Error| {
            ExpressionError(hints::refusal(&self.conditions, error, source, &whole))
        };
        let compiled = self
            .conditions
            .compile_expression(source)
            .map_err(|error| refused(&error))?;
        let names = compiled.undeclared_variables(false).into_iter().collect();
        known_only(&names, |scope| compiled.eval(scope).map(|_| ()))
            .map_err(|error| refused(&error))?;
        Ok(Expression {
            source: source.to_owned(),
            evaluated: lazily(&self.conditions, source),
            names,
        })
    }

    /// The dotted paths that an expression reads, as `body.data.token`.
    pub fn paths(&self, expression: &Expression) -> Vec<String> {
        let compiled = self.conditions.compile_expression(&expression.source);
        let paths = compiled.map(|compiled| compiled.undeclared_variables(true));
        let mut paths: Vec<_> = paths.unwrap_or_default().into_iter().collect();
        paths.sort();
        paths
    }

    /// Renders a template; undefined where the whole of it is one unset value.
    pub fn render(&self, template: &Template, scope: &Value) -> Result<Value, ExpressionError> {
        match self.render_if_set(template, scope)? {
            Rendered::Value(value) => Ok(value),
            Rendered::Unset(why) => Err(why),
        }
    }

    /// Renders a template that may use what has no value.
    pub fn render_if_set(
        &self,
        template: &Template,
        scope: &Value,
    ) -> Result<Rendered, ExpressionError> {
        let error = match self.evaluated(template, scope.clone()) {
            Ok(value) => return Ok(Rendered::Value(value)),
            Err(error) => error,
        };
        let is_unset = |name: &&String| {
            let value = scope.get_attr(name);
            value.is_ok_and(|value| value.is_undefined() || value.is_none())
        };
        let unset: Vec<_> = template.own_names.iter().filter(is_unset).collect();
        let is_cause = match error.kind() {
            ErrorKind::UndefinedError => !unset.is_empty(),
            // Not every operation says that it failed because a value is undefined: the same
            // fails otherwise, or not at all, with a text or a number.
            ErrorKind::InvalidOperation if !unset.is_empty() => {
                let same = |instead: Value| {
                    let instead = unset.iter().map(|name| ((*name).clone(), instead.clone()));
                    let values = merge_maps([Value::from_pairs(instead), scope.clone()]);
                    let again = self.evaluated(template, values).err();
                    again.is_some_and(|again| {
                        (again.kind(), again.detail()) == (error.kind(), error.detail())
                    })
                };
                !same("0".into()) || !same(0.into())
            }
            _ => false,
        };
        if is_cause {
            Ok(Rendered::Unset(self.unset(template)))
        } else if error.kind() == ErrorKind::UndefinedError {
            Err(self.unset(template))
        } else {
            Err(ExpressionError::of_evaluation(&error))
        }
    }

    fn evaluated(&self, template: &Template, scope: Value) -> Result<Value, Error> {
        match &template.source {
            Source::Literal(text) => Ok(Value::from(text.as_str())),
            Source::Whole(source) => self.templates.compile_expression(source)?.eval(scope),
            Source::Mixed(source) => {
                let text = self.templates.template_from_str(source)?.render(scope)?;
                Ok(text.into())
            }
        }
    }

    /// Names what a template uses, one of which has no value.
    fn unset(&self, template: &Template) -> ExpressionError {
        let names = match &template.source {
            Source::Literal(_) => return ExpressionError::new("a value is not set"),
            Source::Whole(source) => self
                .templates
                .compile_expression(source)
                .map(|expression| expression.undeclared_variables(true)),
            Source::Mixed(source) => self
                .templates
                .template_from_str(source)
                .map(|template| template.undeclared_variables(true)),
        };
        let mut names: Vec<_> = names.unwrap_or_default().into_iter().collect();
        names.sort();
        ExpressionError(format!(
            "a value that it uses is not set (it uses {})",
            names.join(", ")
        ))
    }

    pub fn evaluate(
        &self,
        expression: &Expression,
        scope: &Value,
    ) -> Result<Value, ExpressionError> {
        self.conditions
            .compile_expression(&expression.evaluated)
            .and_then(|compiled| compiled.eval(scope.clone()))
            .map_err(|error| ExpressionError::of_evaluation(&error))
    }
}

/// The form in which an expression is evaluated. What would nest too deep in that form stays as
/// it is written.
fn lazily(env: &Environment<'_>, source: &str) -> String {
    let written = lazy::with_lazy_defaults(source);
    let is_sound = bounds::check(&written).is_ok() && env.compile_expression(&written).is_ok();
    if is_sound { written } else { source.to_owned() }
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
    names: &Names,
    attempt: impl FnOnce(Value) -> Result<(), Error>,
) -> Result<(), Error> {
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
            Err(error)
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests_of_expressions {
    use super::*;
    use minijinja::context;

    fn rendered(source: &str, scope: Value) -> Result<Value, ExpressionError> {
        let expressions = Expressions::new();
        let template = expressions.template(source)?;
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
        let condition = expressions
            .condition("body.data.errcode is undefined")
            .unwrap();
        assert_eq!(condition.names(), &Names::from(["body".to_owned()]));
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
        let condition = expressions.condition("debug(key_1)").unwrap();
        assert!(condition.names().contains("debug"));
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

    #[test]
    fn a_value_that_is_made_of_an_unset_one_is_unset_and_other_faults_are_faults() {
        let expressions = Expressions::new();
        let scope = context! { set => "s", list => vec![1] };
        let rendered = |source: &str| {
            let template = expressions.template(source).unwrap();
            expressions.render_if_set(&template, &scope)
        };
        for source in [
            "${ unset|upper }",
            "a${ unset }",
            "${ unset|int }",
            "${ unset + 1 }",
            "${ 1 - unset }",
            "${ -unset }",
            "${ set ~ unset }",
            "${ unset.a }",
            "${ unset['a']|upper }",
            "${ unset|split(',')|first|upper }",
            "${ unset|map('upper')|list }",
            "${ unset|sort }",
            "${ unset|fromjson }",
            "${ unset|times(2) }",
            "${ 2|times(unset) }",
            "${ unset|sha256 }",
            "${ set|replace(unset, 'b') }",
            "${ set|hmac_sha256(unset) }",
            "${ set|hmac_sha256(key=unset) }",
            "${ set|rsa_sha256(unset) }",
            "${ now(unset) if 0 else unset|lower }",
        ] {
            let given = rendered(source);
            let is_unset = match &given {
                Ok(Rendered::Unset(_)) => true,
                Ok(Rendered::Value(value)) => value.is_undefined(),
                Err(_) => false,
            };
            assert!(is_unset, "{source}: {given:?}");
        }
        for source in [
            "${ set|fromjson }",
            "${ set + 1 }",
            "${ -set }",
            "${ list|int ~ (unset or '') }",
            "${ (set or unset)|fromjson }",
            "${ (unset or 1)|rsa_sha256(set) }",
        ] {
            assert!(rendered(source).is_err(), "{source}");
        }
    }
}
