//! What expressions see: the secret's parameters, and what the attempt knows beside them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use minijinja::Value;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value as Json;

use super::percent_encoded::without_encoded;
use crate::foundation::clock::EpochMs;
use crate::foundation::ids::AttemptId;
use crate::realm::document::{Let, ProviderDocument, REFRESH_TOKEN};
use crate::realm::expression::{AttemptValues, STORED, without_nulls};
use crate::realm::hosts::names_a_host;
use crate::secret::params::{Params, mask};

/// Shorter values are not looked for in messages: they would match by chance.
const MASKED_FROM_BYTES: usize = 4;
/// What stands for a value that is not shown.
pub const MASK: &str = "********";
/// Stands for one within a text.
pub const MASK_IN_TEXT: &str = "***";
/// Names that hold credentials, whatever a document says.
const ALWAYS_SECRET: [&str; 4] = ["token", REFRESH_TOKEN, "ticket", "assertion"];

/// The token that this one is derived from.
#[derive(Clone, Debug)]
pub struct ParentToken {
    pub token: SecretString,
    pub extra: Json,
}

/// What an attempt knows beside the secret's parameters.
#[derive(Clone, Debug, Default)]
pub struct Inputs {
    /// The stored token.
    pub token: Option<SecretString>,
    /// The extra fields stored with it: an object, or null.
    pub extra: Json,
    /// The stored refresh token, or the first one, if it can be used.
    pub refresh_token: Option<SecretString>,
    pub parent: Option<ParentToken>,
    pub ticket: Option<SecretString>,
    /// A refused token is being replaced.
    pub forced: bool,
    /// As it stands in the history.
    pub attempt: AttemptId,
}

/// The names in scope, and what of them must not be shown.
#[derive(Clone)]
pub struct ExpressionScope {
    values: BTreeMap<String, Value>,
    /// What the document names, evaluated where it is used.
    lets: Arc<[Let]>,
    secrets: Vec<SecretString>,
    /// What was made of them under a name, noted when it was first used.
    made_of_secrets: Arc<Mutex<Vec<SecretString>>>,
}

impl ExpressionScope {
    pub fn of(
        document: &ProviderDocument,
        params: &Params,
        inputs: &Inputs,
        values: &AttemptValues,
    ) -> Self {
        let shown = |_: &str, value: &SecretString| value.expose_secret().to_owned();
        Self::made(document, params, inputs, values, shown, Clone::clone)
    }

    /// The same with masks in place of what must not be shown.
    pub fn masked(
        document: &ProviderDocument,
        params: &Params,
        inputs: &Inputs,
        values: &AttemptValues,
    ) -> Self {
        let shown = |name: &str, value: &SecretString| {
            let is_secret = document.secret_names().any(|secret| secret == name);
            if ALWAYS_SECRET.contains(&name) {
                MASK.to_owned()
            } else if is_secret {
                mask(value)
            } else {
                value.expose_secret().to_owned()
            }
        };
        Self::made(document, params, inputs, values, shown, masked_extra)
    }

    fn made(
        document: &ProviderDocument,
        params: &Params,
        inputs: &Inputs,
        values: &AttemptValues,
        shown: impl Fn(&str, &SecretString) -> String,
        shown_extra: impl Fn(&Json) -> Json,
    ) -> Self {
        let mut scope = Self {
            values: BTreeMap::new(),
            lets: document.lets.clone(),
            secrets: Vec::new(),
            made_of_secrets: Arc::default(),
        };
        for rule in &document.params {
            let default = || rule.default.clone().map(SecretString::from);
            if let Some(value) = params.get(&rule.name).cloned().or_else(default) {
                scope.hide(&rule.name, &value, &shown);
                // Short values and public ones are looked for, too: a message is no place for them.
                scope.secrets.push(value);
            }
        }
        let inputs_by_name = [
            ("token", &inputs.token),
            (REFRESH_TOKEN, &inputs.refresh_token),
            ("ticket", &inputs.ticket),
        ];
        for (name, value) in inputs_by_name {
            match value {
                Some(value) => {
                    scope.hide(name, value, &shown);
                    scope.secrets.push(value.clone());
                }
                None => {
                    scope.values.remove(name);
                }
            }
        }
        if let Some(parent) = &inputs.parent {
            let token = shown("token", &parent.token);
            let extra = extra_fields(&shown_extra(&parent.extra));
            let fields = [("token", Value::from(token)), ("extra", extra)];
            scope
                .values
                .insert("parent".to_owned(), Value::from_pairs(fields));
            scope.secrets.push(parent.token.clone());
        }
        let extra = extra_fields(&shown_extra(&inputs.extra));
        scope.set(STORED, Value::from_pairs([("extra", extra)]));
        scope.set("forced", inputs.forced.into());
        scope.set("attempt", inputs.attempt.0.clone().into());
        for (name, function) in values.scope() {
            scope.set(name, function);
        }
        scope
    }

    fn hide(
        &mut self,
        name: &str,
        value: &SecretString,
        shown: impl Fn(&str, &SecretString) -> String,
    ) {
        self.values
            .insert(name.to_owned(), shown(name, value).into());
    }

    pub fn lets(&self) -> Arc<[Let]> {
        self.lets.clone()
    }

    /// Takes the texts of a value out of messages from now on.
    pub fn also_mask(&self, value: &Json) {
        match value {
            Json::String(text) => {
                let made = self.made_of_secrets.lock();
                let mut made = made.unwrap_or_else(PoisonError::into_inner);
                if !made.iter().any(|known| known.expose_secret() == text) {
                    made.push(text.as_str().into());
                }
            }
            Json::Array(items) => items.iter().for_each(|item| self.also_mask(item)),
            Json::Object(fields) => fields.values().for_each(|item| self.also_mask(item)),
            Json::Null | Json::Bool(_) | Json::Number(_) => {}
        }
    }

    pub fn set(&mut self, name: &str, value: Value) {
        self.values.insert(name.to_owned(), value);
    }

    /// Everything in scope, and some values beside it.
    pub fn with<const N: usize>(&self, beside: [(&str, Value); N]) -> Value {
        let own = self
            .values
            .iter()
            .map(|(name, value)| (name.clone(), value.clone()));
        let beside = beside
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value));
        Value::from_pairs(own.chain(beside))
    }

    /// A provider's message may repeat what it was sent: credentials are taken out, the
    /// longest first, because one may begin another.
    pub fn mask(&self, text: &str) -> String {
        let made = self.made_of_secrets.lock();
        let made = made.unwrap_or_else(PoisonError::into_inner);
        let secrets = self.secrets.iter().chain(made.iter());
        let secrets = secrets.map(ExposeSecret::expose_secret);
        // A text may have lost what is not printed, such as the line ends of a key.
        let printable = |value: &str| value.chars().filter(|c| !c.is_control()).collect();
        let mut values: Vec<String> = secrets
            .flat_map(|value| [value.to_owned(), printable(value)])
            .filter(|value| value.len() >= MASKED_FROM_BYTES)
            .collect();
        values.sort_by_key(|value| std::cmp::Reverse(value.len()));
        let shown = values.iter().fold(text.to_owned(), |text, value| {
            text.replace(value, MASK_IN_TEXT)
        });
        without_encoded(&shown, MASK_IN_TEXT, |said| {
            values.iter().any(|value| said.contains(value))
        })
    }
}

/// Extra fields as expressions see them. Where there are none, each of them is unset, and asking
/// for one is no error.
pub(super) fn extra_fields(extra: &Json) -> Value {
    match extra {
        Json::Null => Value::from_pairs::<_, String, Value>([]),
        extra => without_nulls(extra),
    }
}

/// Extra fields may hold credentials: of their texts only the names of hosts are shown.
fn masked_extra(extra: &Json) -> Json {
    match extra {
        Json::String(text) if !names_a_host(text) => MASK.into(),
        Json::Array(items) => items.iter().map(masked_extra).collect(),
        Json::Object(fields) => {
            let masked = fields.iter();
            let masked = masked.map(|(name, value)| (name.clone(), masked_extra(value)));
            Json::Object(masked.collect())
        }
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => extra.clone(),
    }
}

/// The token that is being replaced, and what the attempt knows beside the secret.
#[derive(Clone, Debug, Default)]
pub struct Previous {
    pub inputs: Inputs,
    pub expires_at: Option<EpochMs>,
}
