//! A secret as a file declares it: its names, its parameters, and where their values are.

use secrecy::SecretString;
use serde_json::{Map, Value};

use crate::foundation::clock::EpochMs;
use crate::foundation::fields::{Fault, Faults, Fields, escape};
use crate::foundation::ids::{KeyName, RealmId};

/// What a list of a command may hold.
const WORDS_MAX: usize = 100;

/// All of a secret, but for the values that are elsewhere.
pub(super) struct DeclaredSecret {
    pub realm: RealmId,
    pub key: KeyName,
    /// By their names, each with the pointer to it.
    pub params: Vec<(String, String, ValueSource)>,
    pub token: Option<DeclaredToken>,
}

/// The token of a realm of fixed tokens.
pub(super) struct DeclaredToken {
    pub value: ValueSource,
    pub expires_at: Option<EpochMs>,
}

/// Makes a source of its text.
type MakesSource = fn(String) -> ValueSource;

/// Where a value is.
pub(super) enum ValueSource {
    Literal(SecretString),
    /// A path, from the folder of the file that names it.
    File(String),
    /// A variable of the environment.
    Env(String),
    Command {
        program: String,
        arguments: Vec<String>,
    },
    /// Here, sealed by `token-server export`.
    Sealed(String),
}

impl DeclaredSecret {
    /// # Errors
    ///
    /// All that is wrong with it, never with a value.
    pub fn read(document: &Value) -> Result<Self, Vec<Fault>> {
        let faults = Faults::default();
        let read = Fields::of(document, "", &faults).and_then(read);
        faults.judge(read).map(|(secret, _)| secret)
    }

    /// The values that are in the file itself, by their pointers: parameters with their names, and
    /// the token without one.
    pub fn literals(&self) -> Vec<(Option<String>, String)> {
        let is_literal = |source: &ValueSource| matches!(source, ValueSource::Literal(_));
        let params = self
            .params
            .iter()
            .filter(|(_, _, source)| is_literal(source));
        let params = params.map(|(name, pointer, _)| (Some(name.clone()), pointer.clone()));
        let token = self.token.iter().filter(|token| is_literal(&token.value));
        params
            .chain(token.map(|_| (None, "/token".to_owned())))
            .collect()
    }
}

fn read(fields: Fields<'_>) -> Option<DeclaredSecret> {
    let realm = fields.required("realm", |fields, field| {
        RealmId::new(fields.text(field)?)
            .map_err(|error| fields.fault(field, error.to_string()))
            .ok()
    });
    let key = fields.required("key", |fields, field| {
        KeyName::new(fields.text(field)?)
            .map_err(|error| fields.fault(field, error.to_string()))
            .ok()
    });
    let params = params(&fields);
    let token = fields.get("token").and_then(|value| {
        let pointer = fields.pointer("token");
        source(
            value,
            &pointer,
            |detail| fields.fault("token", detail),
            fields.faults(),
        )
    });
    let expires_at = fields.number("expires_at", 0, i64::MAX).map(EpochMs);
    if expires_at.is_some() && !fields.has("token") {
        fields.fault("expires_at", "is of a token, and there is none");
    }
    fields.finish();
    Some(DeclaredSecret {
        realm: realm?,
        key: key?,
        params,
        token: token.map(|value| DeclaredToken { value, expires_at }),
    })
}

fn params(fields: &Fields<'_>) -> Vec<(String, String, ValueSource)> {
    let none = Map::new();
    let entries = fields.entries("params").unwrap_or(&none);
    let mut params = Vec::new();
    for (name, value) in entries.iter().filter(|(_, value)| !value.is_null()) {
        let path = format!("params/{}", escape(name));
        let pointer = format!("{}/{path}", fields.pointer_here());
        let fault = |detail: &str| fields.fault_at(&path, detail);
        if let Some(source) = source(value, &pointer, fault, fields.faults()) {
            params.push((name.clone(), pointer, source));
        }
    }
    params
}

fn source(
    value: &Value,
    pointer: &str,
    fault: impl Fn(&str),
    faults: &Faults,
) -> Option<ValueSource> {
    const EXPECTED: &str = "must be a string, or an object that says where the value is: \
        {\"file\": …}, {\"env\": …}, {\"command\": […]} or {\"sealed\": …}";
    match value {
        Value::String(text) => Some(ValueSource::Literal(text.as_str().into())),
        Value::Object(_) => {
            let reference = Fields::of(value, pointer, faults)?;
            let mut sources: Vec<ValueSource> = Vec::new();
            let texts: [(&str, MakesSource); 3] = [
                ("file", ValueSource::File),
                ("env", ValueSource::Env),
                ("sealed", ValueSource::Sealed),
            ];
            let mut is_broken = false;
            for (field, made) in texts {
                match reference.text(field) {
                    Some("") => {
                        reference.fault(field, "must not be empty");
                        is_broken = true;
                    }
                    Some(text) => sources.push(made(text.to_owned())),
                    None => is_broken |= reference.has(field),
                }
            }
            match command(&reference) {
                Some(Ok(command)) => sources.push(command),
                Some(Err(())) => is_broken = true,
                None => {}
            }
            reference.finish();
            match (sources.pop(), sources.is_empty()) {
                (Some(one), true) if !is_broken => Some(one),
                _ if is_broken => None,
                _ => {
                    fault(EXPECTED);
                    None
                }
            }
        }
        _ => {
            fault(EXPECTED);
            None
        }
    }
}

/// A command, if there is any; an error is noted.
fn command(reference: &Fields<'_>) -> Option<Result<ValueSource, ()>> {
    if !reference.has("command") {
        reference.get("command");
        return None;
    }
    let words = reference
        .list("command")
        .filter(|list| list.len() <= WORDS_MAX);
    let words = words.and_then(|list| {
        let texts = list.iter().map(|word| Some(word.as_str()?.to_owned()));
        texts.collect::<Option<Vec<String>>>()
    });
    let mut words = words.unwrap_or_default().into_iter();
    Some(match words.next().filter(|program| !program.is_empty()) {
        Some(program) => Ok(ValueSource::Command {
            program,
            arguments: words.collect(),
        }),
        None => {
            let why = "must be a list of texts that begins with a program; no shell reads it";
            reference.fault("command", why);
            Err(())
        }
    })
}
