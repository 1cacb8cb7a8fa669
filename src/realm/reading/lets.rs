//! `let`: names for values that are used more than once.

use std::collections::BTreeMap;

use super::reader::{DocumentReader, STEPS_MAX};
use crate::foundation::fields::{Fields, escape};
use crate::realm::document::{Let, REFRESH_TOKEN};
use crate::realm::expression::{ANSWER_SCOPE, Names, RESERVED, Template, is_name};

/// Named values of one document: what a request uses of them is evaluated for each request.
const LETS_MAX: usize = 30;

impl DocumentReader<'_> {
    /// Reads what the document names, and makes the names known.
    pub(super) fn name_values(&mut self, fields: &Fields<'_>) {
        let mut read = self.read_lets(fields);
        self.lets = self.in_order(fields, &mut read);
    }

    fn read_lets(&mut self, fields: &Fields<'_>) -> BTreeMap<String, Template> {
        let Some(entries) = fields.entries("let") else {
            return BTreeMap::new();
        };
        if entries.len() > LETS_MAX {
            fields.fault("let", format!("must not hold more than {LETS_MAX}"));
        }
        let mut named = Vec::new();
        for (name, value) in entries {
            let at = format!("let/{}", escape(name));
            let refused = if !is_name(name) {
                "must be letters, digits and _, not beginning with a digit"
            } else if RESERVED.contains(&name.as_str()) || name == REFRESH_TOKEN {
                "is a name the server uses itself"
            } else if self.known.contains(name) {
                "is a parameter already"
            } else {
                ""
            };
            match value.as_str() {
                _ if !refused.is_empty() => fields.fault_at(&at, refused),
                None => fields.fault_at(&at, "must be a string: a template"),
                Some(source) => named.push((name, at, source)),
            }
        }
        self.known
            .extend(named.iter().map(|(name, ..)| (*name).clone()));
        // What is known somewhere: whether it is where the name is used, that use says.
        let beside = ["steps", "args", "extra"].into_iter().chain(ANSWER_SCOPE);
        let beside: Names = beside.map(str::to_owned).collect();
        self.earlier.set(STEPS_MAX);
        let read = named.into_iter().filter_map(|(name, at, source)| {
            let template = self.template_of(source, fields, &at, &beside)?;
            Some((name.clone(), template))
        });
        let read = read.collect();
        self.earlier.set(0);
        read
    }

    /// Each after those it uses, whatever the order in the document: an object has none.
    fn in_order(&self, fields: &Fields<'_>, left: &mut BTreeMap<String, Template>) -> Vec<Let> {
        let mut ordered: Vec<Let> = Vec::new();
        while let Some(name) = left.iter().find_map(|(name, template)| {
            let waits = template.names().iter().any(|used| left.contains_key(used));
            (!waits).then(|| name.clone())
        }) {
            if let Some(template) = left.remove(&name) {
                let more = through(&ordered, template.names());
                let template = template.using(&more);
                ordered.push(Let { name, template });
            }
        }
        for name in left.keys() {
            fields.fault_at(
                &format!("let/{}", escape(name)),
                "uses itself, or one that waits for it",
            );
        }
        ordered
    }

    /// What names stand for, where they are of `let`.
    pub(super) fn through_lets(&self, names: &Names) -> Names {
        through(&self.lets, names)
    }
}

fn through(lets: &[Let], names: &Names) -> Names {
    let used = lets.iter().filter(|named| names.contains(&named.name));
    used.flat_map(|named| named.template.names().iter().cloned())
        .collect()
}
