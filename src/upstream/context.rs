//! What one template or expression sees: the scope, and what of the document's `let` it uses.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use minijinja::Value;
use minijinja::value::merge_maps;

use super::scope::{ExpressionScope, MASK};
use crate::realm::document::Let;
use crate::realm::expression::{
    ALWAYS, Expression, Expressions, Names, Rendered, Template, to_json, without_nulls,
};
use crate::realm::failure::Failure;

/// What a template gives.
pub(super) enum RenderedValue {
    Value(Value),
    /// It is not set, or made of what is not; why, where that is not plain.
    Unset(Option<String>),
}

pub(super) struct Context<'a> {
    expressions: &'a Expressions,
    scope: &'a ExpressionScope,
    values: Value,
    lets: Arc<[Let]>,
    /// What has been evaluated of `let`: each once, when it is first used.
    named: RefCell<BTreeMap<String, Value>>,
    /// Why the first of them that is unset is so.
    unset: RefCell<Option<String>>,
    /// Values are masked: what cannot be made of a mask is one.
    masks: bool,
}

impl<'a> Context<'a> {
    /// Everything in scope, and some values beside it.
    pub fn new<const N: usize>(
        expressions: &'a Expressions,
        scope: &'a ExpressionScope,
        beside: [(&str, Value); N],
        masks: bool,
    ) -> Self {
        Self {
            expressions,
            scope,
            values: scope.with(beside),
            lets: scope.lets(),
            named: RefCell::default(),
            unset: RefCell::default(),
            masks,
        }
    }

    /// Takes the texts of a value out of messages from now on.
    pub fn also_mask(&self, made: &serde_json::Value) {
        self.scope.also_mask(made);
    }

    /// The same with one more value in scope.
    pub fn with(&self, name: &str, value: Value) -> Self {
        Self::new(self.expressions, self.scope, [(name, value)], self.masks)
    }

    /// What `template` gives.
    pub fn render(&self, name: &str, template: &Template) -> Result<RenderedValue, Failure> {
        let values = self.values_for(template.names())?;
        let rendered = self.expressions.render_if_set(template, &values);
        let rendered = rendered.map_err(|error| Failure::internal(format!("{name}: {error}")))?;
        let because = || {
            let is_unset = |named: &Let| {
                let uses = template.names().contains(&named.name);
                uses && values
                    .get_attr(&named.name)
                    .is_ok_and(|value| value.is_undefined())
            };
            let by_let = self.lets.iter().any(is_unset);
            self.unset.borrow().clone().filter(|_| by_let)
        };
        Ok(match rendered {
            Rendered::Value(value) if value.is_undefined() || value.is_none() => {
                RenderedValue::Unset(because())
            }
            Rendered::Value(value) => RenderedValue::Value(value),
            Rendered::Unset(why) => {
                let why = because().unwrap_or_else(|| why.to_string());
                RenderedValue::Unset(Some(format!("{name}: {why}")))
            }
        })
    }

    /// What `expression` gives.
    pub fn evaluate(&self, name: &str, expression: &Expression) -> Result<Value, Failure> {
        let values = self.values_for(expression.names())?;
        let evaluated = self.expressions.evaluate(expression, &values);
        evaluated.map_err(|error| Failure::internal(format!("{name}: {error}")))
    }

    pub fn knows(&self, name: &str) -> bool {
        let value = self.values.get_attr(name);
        value.is_ok_and(|value| !value.is_undefined())
    }

    /// The values in scope, among them those of `let` that are in `names`.
    fn values_for(&self, names: &Names) -> Result<Value, Failure> {
        let used = |named: &&Let| names.contains(&named.name);
        // Each comes after those it uses, and `names` has those, too.
        for named in self.lets.iter().filter(used) {
            if !self.named.borrow().contains_key(&named.name) {
                let value = self.value_of(named)?;
                self.named.borrow_mut().insert(named.name.clone(), value);
            }
        }
        Ok(self.with_named())
    }

    fn with_named(&self) -> Value {
        let named = self.named.borrow();
        if named.is_empty() {
            return self.values.clone();
        }
        merge_maps([Value::from_pairs(named.clone()), self.values.clone()])
    }

    /// The value of one name; undefined where it is made of what is not set.
    fn value_of(&self, named: &Let) -> Result<Value, Failure> {
        let at = format!("let/{}", named.name);
        let masked = || self.masks.then(|| Value::from(MASK));
        let rendered = self
            .expressions
            .render_if_set(&named.template, &self.with_named());
        let value = match rendered {
            Ok(Rendered::Value(value)) => value,
            Ok(Rendered::Unset(_)) if self.masks && named.template.names().contains("steps") => {
                Value::from(MASK)
            }
            Ok(Rendered::Unset(why)) => {
                let why = format!("{at}: {why}");
                self.unset.borrow_mut().get_or_insert(why);
                Value::UNDEFINED
            }
            Err(error) => {
                return masked().ok_or_else(|| Failure::internal(format!("{at}: {error}")));
            }
        };
        // As a whole: a list may be longer than whoever uses it could pay for.
        let json = match to_json(&value) {
            Ok(json) => json,
            Err(error) => {
                return masked().ok_or_else(|| Failure::internal(format!("{at} {error}")));
            }
        };
        let is_public = |name: &String| {
            ALWAYS.contains(&name.as_str())
                || matches!(name.as_str(), "forced" | "attempt")
                || self.lets.iter().any(|named| named.name == *name)
        };
        if !named.template.names().iter().all(is_public) {
            self.scope.also_mask(&json);
        }
        Ok(without_nulls(&json))
    }
}
