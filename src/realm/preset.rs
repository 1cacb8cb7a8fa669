//! Realms that ship with the server: `presets/*.json`, compiled in.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use rust_embed::RustEmbed;
use serde::Deserialize;
use serde_json::Value;
use strum::VariantArray;

/// What the facts of a preset were taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, VariantArray)]
#[serde(rename_all = "snake_case")]
pub enum Verified {
    /// The provider's own documentation.
    Documentation,
    /// The provider's own, or a widely used, client library.
    Sdk,
    /// Other public code, or reports.
    Community,
}

impl Verified {
    pub const ALL: &'static [Self] = Self::VARIANTS;

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Documentation => "documentation",
            Self::Sdk => "sdk",
            Self::Community => "community",
        }
    }
}

/// A realm that ships with the server.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preset {
    pub id: String,
    pub title: String,
    /// The provider's own page.
    pub documentation: String,
    pub verified: Verified,
    /// What shaped the document.
    pub facts: Vec<String>,
    /// The realm document.
    pub config: Value,
}

#[derive(RustEmbed)]
#[folder = "presets/"]
struct Files;

/// All presets, by id.
pub fn all() -> &'static BTreeMap<String, Preset> {
    static PRESETS: LazyLock<BTreeMap<String, Preset>> = LazyLock::new(|| {
        Files::iter()
            .map(|name| {
                let file = Files::get(&name).expect("the name is one of the files");
                let preset: Preset = serde_json::from_slice(&file.data)
                    .unwrap_or_else(|error| unreachable!("presets/{name}: {error}"));
                (preset.id.clone(), preset)
            })
            .collect()
    });
    &PRESETS
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::realm::document::ProviderDocument;
    use crate::realm::expression::{Expressions, is_name};

    #[test]
    fn every_preset_is_a_valid_realm_document_under_its_own_name() {
        let expressions = Expressions::new();
        let mut broken = Vec::new();
        for name in Files::iter() {
            let file = Files::get(&name).unwrap();
            let preset: Preset = match serde_json::from_slice(&file.data) {
                Ok(preset) => preset,
                Err(error) => {
                    broken.push(format!("{name}: {error}"));
                    continue;
                }
            };
            assert_eq!(name, format!("{}.json", preset.id));
            if let Err(faults) = ProviderDocument::read(&preset.config, &expressions) {
                let faults: Vec<_> = faults.iter().map(ToString::to_string).collect();
                broken.push(format!("{name}: {}", faults.join("; ")));
            }
        }
        assert!(broken.is_empty(), "{}", broken.join("\n"));
    }

    #[test]
    fn every_preset_says_what_a_secret_must_give_and_where_its_facts_come_from() {
        let expressions = Expressions::new();
        let mut unsaid = Vec::new();
        for (id, preset) in all() {
            let document = ProviderDocument::read(&preset.config, &expressions).unwrap();
            assert!(is_name(id), "{id}");
            if !preset.documentation.starts_with("https://")
                || preset.facts.is_empty()
                || preset.title.is_empty()
            {
                unsaid.push(id.clone());
            }
            for rule in document.params.iter().filter(|rule| rule.title.is_none()) {
                unsaid.push(format!("{id}: {}", rule.name));
            }
        }
        assert!(unsaid.is_empty(), "{}", unsaid.join("\n"));
    }

    #[test]
    fn what_most_users_need_ships() {
        assert!(all().len() >= 180, "{} presets", all().len());
    }
}
