//! What the models leave unsaid of their fields, although a name, a type or a description tells it.

use serde_json::Value;

use super::draft::{Draft, reference};

/// A closed list of words, by the name of its model.
type Closed = (String, Vec<String>);

/// Notes what the models of answers, and the descriptions of all models, leave unsaid.
pub fn note(draft: &mut Draft, is_answer: impl Fn(&str) -> bool) {
    let models = draft.models().clone();
    let words = |model: &Value| -> Option<Vec<String>> {
        serde_json::from_value(model.get("enum")?.clone()).ok()
    };
    let closed: Vec<Closed> = models
        .iter()
        .filter_map(|(name, model)| Some((name.clone(), words(model)?)))
        .collect();
    let fields = models.iter().flat_map(|(model, of)| {
        let fields = of["properties"].as_object().into_iter().flatten();
        fields.map(move |(name, schema)| (model, name, schema))
    });
    let fields: Vec<_> = fields.collect();
    for (model, name, schema) in &fields {
        let told = told_words(schema, &closed);
        let of_answer = is_answer(model).then(|| {
            let elsewhere = || fields.iter().filter(|(_, other, _)| other == name);
            let elsewhere = || elsewhere().find_map(|(_, _, other)| list_of(other, &closed));
            date(name, schema)
                .or_else(|| number(schema))
                .or_else(|| word(schema, elsewhere))
        });
        for unsaid in told.into_iter().chain(of_answer.flatten()) {
            draft.note(true, || format!("{name} of {model}: {unsaid}"));
        }
    }
}

fn date(name: &str, schema: &Value) -> Option<String> {
    let moments = ["at", "since", "until"];
    let last = name.rsplit('_').next().unwrap_or(name);
    (moments.contains(&last) && schema["format"] != "date-time")
        .then(|| "a date by its name".to_owned())
}

fn number(schema: &Value) -> Option<String> {
    let is_number = ["integer", "number"].iter().any(|of| schema["type"] == *of);
    (is_number && schema.get("minimum").is_none()).then(|| "a number without its least".to_owned())
}

/// A text of the same name as a field of a closed list.
fn word<'a>(schema: &Value, elsewhere: impl Fn() -> Option<&'a Closed>) -> Option<String> {
    let is_text = schema["type"] == "string" || schema["items"]["type"] == "string";
    let (list, _) = elsewhere().filter(|_| is_text)?;
    Some(format!("elsewhere one of {list}"))
}

/// Where a description has words of the closed list that its field is of, it has all of them, and
/// no other. A field that is of none does not have all words of one.
fn told_words(schema: &Value, closed: &[Closed]) -> Option<String> {
    let description = schema["description"].as_str()?;
    let told: Vec<_> = description.split('`').skip(1).step_by(2).collect();
    let has = |word: &String| told.contains(&word.as_str());
    match list_of(schema, closed) {
        Some((list, words)) => {
            let all = words.iter().all(has) && told.len() == words.len();
            (!told.is_empty() && !all).then(|| format!("other words than those of {list}"))
        }
        None => {
            let mut several = closed.iter().filter(|(_, words)| words.len() > 1);
            let (list, _) = several.find(|(_, words)| words.iter().all(has))?;
            Some(format!("one of {list} by its description"))
        }
    }
}

/// The closed list that a field, or each item of it, is of.
fn list_of<'a>(schema: &Value, closed: &'a [Closed]) -> Option<&'a Closed> {
    let name = reference(schema).or_else(|| reference(schema.get("items")?))?;
    closed.iter().find(|(list, _)| *list == name)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_date_a_number_and_a_word_that_no_table_knows_are_named() {
        let state = json!({"$ref": "#/components/schemas/State"});
        let told = |description: &str, reference: bool| {
            let mut field = json!({"type": "string", "description": description});
            if reference {
                field = json!({"description": description, "allOf": [state]});
            }
            field
        };
        let text = json!({"type": "string"});
        let document = json!({"components": {"schemas": {
            "State": {"type": "string", "enum": ["good", "bad"]},
            "Listed": {"properties": {
                "state": told("`good` or `bad`.", true),
                "made_at": {"type": "string", "format": "date-time"},
                "rows": {"type": "integer", "minimum": 0},
                "great": text,
            }},
            "Forgotten": {"properties": {
                "state": text,
                "how": told("`bad`, `good` or `odd`.", false),
                "was": told("`good`, `bad` or `odd`.", true),
                "made_at": text,
                "blocked_until": text,
                "since": text,
                "rows": {"type": "integer"},
            }},
            "Body": {"properties": {"made_at": {"type": "integer"}}},
        }}});
        let mut draft = Draft::new(&document.to_string());
        note(&mut draft, |model| model != "Body");
        draft.missing.sort();
        assert_eq!(
            draft.missing,
            [
                "blocked_until of Forgotten: a date by its name",
                "how of Forgotten: one of State by its description",
                "made_at of Forgotten: a date by its name",
                "rows of Forgotten: a number without its least",
                "since of Forgotten: a date by its name",
                "state of Forgotten: elsewhere one of State",
                "was of Forgotten: other words than those of State",
            ]
        );
    }
}
