//! Why an answer could not be read as its realm says: what the realm looks for and is not there,
//! and what is there instead.

use serde_json::Value;

use super::absence::{Absence, contents};
use super::answer::AnswerReader;
use super::lookup::look_up;
use crate::realm::document::{AnswerRule, Extraction};
use crate::realm::expression::Expression;

impl AnswerReader<'_> {
    /// Why nothing in the answer says how long its token lives.
    pub fn no_expiry(&self, rule: &AnswerRule) -> String {
        let stated = rule.expiry.stated.as_ref();
        match stated.and_then(|stated| self.absence(stated.extraction())) {
            Some(absence) => format!("{absence}; and the token itself does not say it"),
            None if stated.is_some() => {
                "neither the document's place for it nor the token says it".to_owned()
            }
            None => {
                let has = self.scope.mask(&contents(self.parsed.body()));
                let place = "the document has no expires_in_path and no expires_at_path";
                match self.parsed.body {
                    Some(_) => format!("{place}; the answer {has}"),
                    None => place.to_owned(),
                }
            }
        }
    }

    /// What there is where an extraction finds nothing; none where it does not say where it
    /// looks, or finds something there.
    pub fn absence(&self, extraction: &Extraction) -> Option<Absence> {
        match extraction {
            Extraction::Path(path) => {
                let body = self.parsed.body();
                let absent = look_up(body, path).is_none();
                absent.then(|| self.absence_at(path, body))
            }
            Extraction::Expression(expression) => self.absence_in(expression),
        }
    }

    /// The first place that an expression reads and that is not there.
    pub fn absence_in(&self, expression: &Expression) -> Option<Absence> {
        let whole = self.parsed.as_json();
        let paths = self.expressions.paths(expression);
        let of_answer = |path: &&String| {
            let root = path.split('.').next().unwrap_or_default();
            matches!(root, "body" | "headers" | "cookies")
        };
        let mut read = paths.iter().filter(of_answer);
        let absent = read.find(|path| look_up(&whole, path).is_none())?;
        Some(self.absence_at(absent, &whole))
    }

    fn absence_at(&self, path: &str, within: &Value) -> Absence {
        let root = path.split('.').next();
        let in_text = within.is_null() || root == Some("body");
        let Absence { what, has } = match self.parsed.body {
            None if in_text => Absence {
                what: format!("nothing at {path}"),
                has: "the answer is read as a text, which has no fields".to_owned(),
            },
            _ => Absence::at(path, within, "the answer"),
        };
        Absence {
            has: self.scope.mask(&has),
            what,
        }
    }

    /// What to say of a refusal for which the answer gives no reason: the document may look for
    /// it, or for its success, where it is not.
    pub fn unexplained(&self) -> String {
        let mut said = String::new();
        if self.parsed.body.is_none() {
            return said;
        }
        if let Some(success) = self.success.filter(|_| self.parsed.status.is_success()) {
            said.push_str(", and the condition success is not met");
            if let Some(absence) = self.absence_in(success) {
                said.push_str(&format!(": {absence}"));
            }
        }
        for (name, expression) in [
            ("error.code", &self.error.code),
            ("error.message", &self.error.message),
        ] {
            let expression = expression.as_ref();
            if let Some(absence) = expression.and_then(|it| self.absence_in(it)) {
                said.push_str(&format!("; {name}: {absence}"));
            }
        }
        said
    }
}
