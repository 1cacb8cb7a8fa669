//! The parameters that a document declares.

use super::choices;
use super::pattern::whole_match;
use crate::foundation::fields::{Fields, escape};
use crate::realm::document::{ParamRule, REFRESH_TOKEN, default_params};
use crate::realm::expression::{RESERVED, is_name};

pub(super) fn read_params(fields: &Fields<'_>) -> Vec<ParamRule> {
    let read = fields.named("params", |name, rule| {
        let at = format!("params/{}", escape(name));
        if !is_name(name) {
            fields.fault_at(
                &at,
                "must be letters, digits and _, not beginning with a digit",
            );
        }
        if RESERVED.contains(&name) && name != REFRESH_TOKEN {
            fields.fault_at(&at, "is a name the server uses itself");
        }
        let read = ParamRule {
            name: name.to_owned(),
            title: rule.text("title").map(str::to_owned),
            secret: rule.flag("secret").unwrap_or(true),
            optional: rule.flag("optional").unwrap_or(false),
            default: rule.text("default").map(str::to_owned),
            pattern: rule.text("pattern").and_then(|pattern| {
                whole_match(pattern)
                    .map_err(|why| rule.fault("pattern", why))
                    .ok()
            }),
            choices: choices::read(&rule),
            declared: true,
        };
        if let (Some(pattern), Some(default)) = (&read.pattern, &read.default)
            && !pattern.is_match(default)
        {
            rule.fault("default", "does not match the pattern");
        }
        if let (Some(choices), Some(default)) = (&read.choices, &read.default)
            && !choices.contains(default)
        {
            rule.fault("default", "is none of the values in enum");
        }
        rule.finish();
        Some(read)
    });
    read.unwrap_or_else(|| default_params().to_vec())
}
