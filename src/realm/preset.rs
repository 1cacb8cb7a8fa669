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

/// What a provider is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, VariantArray)]
#[serde(rename_all = "snake_case")]
pub enum Category {
    Advertising,
    Ai,
    /// Planning, purchasing, service management, analytics.
    Business,
    Cloud,
    Commerce,
    /// Messages, calls, push notifications.
    Communication,
    /// Files, documents, signatures, pictures.
    Content,
    /// Customers: sales, marketing, support.
    Crm,
    Developer,
    /// Banks and accounts.
    Finance,
    Games,
    Health,
    /// Staff and payroll.
    Hr,
    Identity,
    Logistics,
    Maps,
    /// Social networks, music, video.
    Media,
    Payments,
    Security,
    Travel,
}

impl Category {
    pub const ALL: &'static [Self] = Self::VARIANTS;

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Advertising => "advertising",
            Self::Ai => "ai",
            Self::Business => "business",
            Self::Cloud => "cloud",
            Self::Commerce => "commerce",
            Self::Communication => "communication",
            Self::Content => "content",
            Self::Crm => "crm",
            Self::Developer => "developer",
            Self::Finance => "finance",
            Self::Games => "games",
            Self::Health => "health",
            Self::Hr => "hr",
            Self::Identity => "identity",
            Self::Logistics => "logistics",
            Self::Maps => "maps",
            Self::Media => "media",
            Self::Payments => "payments",
            Self::Security => "security",
            Self::Travel => "travel",
        }
    }
}

/// A public page or file that was read for a preset.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PresetSource {
    pub url: String,
    /// The day on which it was read, such as 2026-11-28.
    pub read: String,
    /// What it shows.
    #[serde(rename = "for")]
    pub shows: String,
}

/// A realm that ships with the server.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preset {
    pub id: String,
    pub title: String,
    /// Other names by which people search for it, in any language.
    #[serde(default)]
    pub names: Vec<String>,
    pub category: Category,
    /// Where the provider is: two letters of ISO 3166-1.
    pub country: String,
    /// The provider's own page.
    pub documentation: String,
    pub verified: Verified,
    /// Where its facts stand.
    pub sources: Vec<PresetSource>,
    /// What shaped the document.
    pub facts: Vec<String>,
    /// The realm document.
    pub config: Value,
}

impl Preset {
    /// The fields of a preset that a realm does not have.
    pub const FOR_READERS: [&str; 8] = [
        "title",
        "names",
        "category",
        "country",
        "documentation",
        "verified",
        "sources",
        "facts",
    ];

    /// Whether a text that people search by is in its id, title or other names. Each word may be
    /// in another of them, in upper or lower case.
    fn is_named(&self, keyword: &str) -> bool {
        let names = [&self.id, &self.title].into_iter().chain(&self.names);
        let names: Vec<_> = names.map(|name| name.to_lowercase()).collect();
        let is_there = |word: &str| names.iter().any(|name| name.contains(word));
        keyword.to_lowercase().split_whitespace().all(is_there)
    }
}

/// Which presets are looked for; what is absent lets all pass.
#[derive(Clone, Debug, Default)]
pub struct PresetFilter {
    pub keyword: Option<String>,
    pub category: Option<Category>,
    /// Two letters, in upper or lower case.
    pub country: Option<String>,
}

impl PresetFilter {
    fn admits(&self, preset: &Preset) -> bool {
        let named = |keyword: &String| preset.is_named(keyword);
        let is_there = |country: &String| preset.country.eq_ignore_ascii_case(country);
        self.keyword.as_ref().is_none_or(named)
            && self.category.is_none_or(|one| preset.category == one)
            && self.country.as_ref().is_none_or(is_there)
    }
}

/// Those that a filter admits, by id.
pub fn found(filter: &PresetFilter) -> impl Iterator<Item = &'static Preset> {
    all().values().filter(|preset| filter.admits(preset))
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
                || preset.sources.is_empty()
                || preset.title.is_empty()
            {
                unsaid.push(id.clone());
            }
            for source in &preset.sources {
                let digits = source.read.bytes().filter(u8::is_ascii_digit).count();
                if !source.url.starts_with("https://")
                    || (digits, source.read.len()) != (8, 10)
                    || source.shows.is_empty()
                {
                    unsaid.push(format!("{id}: {}", source.url));
                }
            }
            for rule in document.params.iter().filter(|rule| rule.title.is_none()) {
                unsaid.push(format!("{id}: {}", rule.name));
            }
        }
        assert!(unsaid.is_empty(), "{}", unsaid.join("\n"));
    }

    fn ids(keyword: &str) -> Vec<&'static str> {
        let filter = PresetFilter {
            keyword: Some(keyword.to_owned()),
            ..PresetFilter::default()
        };
        found(&filter).map(|preset| preset.id.as_str()).collect()
    }

    #[test]
    fn a_preset_is_found_by_what_people_call_it() {
        for (keyword, id) in [
            ("azure", "msgraph"),
            ("Office 365", "msgraph_certificate"),
            ("gmail", "google_sa"),
            ("微信", "wechat_oa"),
            ("公众号", "wechat_stable"),
            ("飞书 ticket", "feishu_jsapi_ticket"),
            ("WeChat Work", "wecom"),
            ("salesforce JWT", "salesforce_jwt"),
        ] {
            assert!(ids(keyword).contains(&id), "{keyword}: {:?}", ids(keyword));
        }
        assert_eq!(ids("azure 微信"), Vec::<&str>::new());
        assert_eq!(ids(" ").len(), all().len());
    }

    #[test]
    fn every_preset_has_a_country_and_names_that_say_more_than_its_title() {
        for (id, preset) in all() {
            let is_code = preset.country.len() == 2
                && preset.country.bytes().all(|byte| byte.is_ascii_uppercase());
            assert!(is_code, "{id}: {}", preset.country);
            let title = preset.title.to_lowercase();
            for name in &preset.names {
                assert!(!name.trim().is_empty(), "{id}");
                assert!(!title.contains(&name.to_lowercase()), "{id}: {name}");
            }
        }
        for category in Category::ALL {
            let mut of_it = all().values().filter(|preset| preset.category == *category);
            assert!(of_it.next().is_some(), "{category:?}");
        }
    }

    #[test]
    fn what_most_users_need_ships() {
        assert!(all().len() >= 233, "{} presets", all().len());
    }
}
