//! `enum`: the values that a parameter may have.

use crate::foundation::fields::Fields;

/// Values that one parameter may choose from.
const CHOICES_MAX: usize = 100;

pub(super) fn read(rule: &Fields<'_>) -> Option<Vec<String>> {
    let list = rule.list("enum")?;
    if rule.has("pattern") {
        rule.fault("enum", "says all that pattern could: give one of them");
    }
    if list.is_empty() || list.len() > CHOICES_MAX {
        rule.fault("enum", format!("must hold from 1 to {CHOICES_MAX} values"));
    }
    let mut choices = Vec::new();
    for (index, value) in list.iter().enumerate() {
        let at = format!("enum/{index}");
        match value.as_str() {
            None => rule.fault_at(&at, "must be a string, as values of parameters are"),
            Some(choice) if choices.iter().any(|known| known == choice) => {
                rule.fault_at(&at, "is there twice");
            }
            Some(choice) => choices.push(choice.to_owned()),
        }
    }
    Some(choices)
}
