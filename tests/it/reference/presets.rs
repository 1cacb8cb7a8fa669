//! The catalogue of presets, from `presets/`.

use serde_json::Value;
use token_server::realm::preset::{self, Category, Preset};

use super::markdown::{code, sentence, table};

/// Presets by what their providers are for.
pub fn catalogue() -> String {
    let groups = Category::ALL.iter().map(|category| {
        let of_it = preset::all()
            .values()
            .filter(|preset| preset.category == *category);
        let presets: Vec<_> = of_it.map(described).collect();
        format!("## {}\n\n{}", heading(*category), presets.join("\n\n"))
    });
    groups.collect::<Vec<_>>().join("\n\n")
}

fn heading(category: Category) -> String {
    let word = category.as_str();
    // Ai, crm and hr are abbreviations.
    let capitals = if word.len() <= 3 { word.len() } else { 1 };
    word[..capitals].to_uppercase() + &word[capitals..]
}

fn described(preset: &Preset) -> String {
    let also = match preset.names.is_empty() {
        true => String::new(),
        false => format!(" Also found as: {}.", preset.names.join(", ")),
    };
    let mut lines = vec![
        format!("### {}", preset.id),
        format!(
            "{} Country: {}. [The provider's page]({}). Verified by {}.{also}",
            sentence(&preset.title),
            preset.country,
            preset.documentation,
            preset.verified.as_str(),
        ),
    ];
    let needs = needs(&preset.config);
    if !needs.is_empty() {
        lines.push(needs.trim_end().to_owned());
    }
    let facts = preset.facts.iter().map(|fact| format!("- {fact}"));
    lines.push(facts.collect::<Vec<_>>().join("\n"));
    let sources = preset.sources.iter();
    let sources: Vec<_> = sources
        .map(|source| format!("[{}]({})", source.shows, source.url))
        .collect();
    if !sources.is_empty() {
        lines.push(format!("Sources: {}.", sources.join("; ")));
    }
    lines.join("\n\n")
}

/// What a secret gives.
fn needs(config: &Value) -> String {
    let params = config["params"].as_object().into_iter().flatten();
    let rows: Vec<_> = params
        .map(|(name, rule)| {
            let optional = rule["optional"] == true || !rule["default"].is_null();
            let required = if optional { "no" } else { "yes" };
            let title = rule["title"].as_str().unwrap_or_default().to_owned();
            [code(name), required.to_owned(), title]
        })
        .collect();
    match rows.is_empty() {
        true => String::new(),
        false => table(["parameter", "required", "what it is"], rows),
    }
}
