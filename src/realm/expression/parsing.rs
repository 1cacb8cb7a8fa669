//! Reads templates and conditions, and refuses what can never be evaluated.

use minijinja::{Environment, Error, ErrorKind, Value};

use super::error::ExpressionError;
use super::template::{Expression, Piece, Template, TemplateSource};
use super::{Expressions, Names, bounds, hints, is_name, lazy};

/// The longest expression or template, in bytes.
const SOURCE_MAX_BYTES: usize = 16 * 1024;

impl Expressions {
    /// Reads a template.
    pub fn template(&self, source: &str) -> Result<Template, ExpressionError> {
        check_source(source)?;
        if let Some(name) = source.strip_prefix('$').filter(|name| is_name(name)) {
            let names = Names::from([name.to_owned()]);
            return Ok(Template::of(TemplateSource::Whole(name.to_owned()), names));
        }
        if !source.contains("${") {
            let text = TemplateSource::Literal(source.to_owned());
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
            let whole = TemplateSource::Whole(lazily(&self.templates, inner));
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
        Ok(Template::of(TemplateSource::Mixed(evaluated), names))
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
}

/// The form in which an expression is evaluated. What would nest too deep in that form stays as
/// it is written.
fn lazily(env: &Environment<'_>, source: &str) -> String {
    let written = lazy::with_lazy_defaults(source);
    let is_sound = bounds::check(&written).is_ok() && env.compile_expression(&written).is_ok();
    if is_sound { written } else { source.to_owned() }
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
mod tests {
    use super::*;

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
}
