//! The parameters that a secret of a realm may or must have.

use std::sync::LazyLock;

use regex_lite::Regex;

/// The parameters a secret has where its realm declares none.
pub const DEFAULT_PARAMS: [&str; 5] = ["key_1", "key_2", "key_3", "key_4", "key_5"];

/// A parameter that a secret may or must have.
#[derive(Clone, Debug)]
pub struct ParamRule {
    pub name: String,
    pub title: Option<String>,
    /// Whether a console hides it; it is masked in answers either way.
    pub secret: bool,
    pub optional: bool,
    pub default: Option<String>,
    /// What the whole of a value must match.
    pub pattern: Option<Regex>,
    /// The values it may have. They are not secret, whatever the value is.
    pub choices: Option<Vec<String>>,
    /// Whether a document declares it.
    pub declared: bool,
}

impl ParamRule {
    fn plain(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            title: None,
            secret: true,
            optional: true,
            default: None,
            pattern: None,
            choices: None,
            declared: false,
        }
    }

    /// Whether a secret must give it.
    pub fn is_required(&self) -> bool {
        !self.optional && self.default.is_none()
    }
}

/// `key_1` to `key_5`, each optional.
pub fn default_params() -> &'static [ParamRule] {
    static RULES: LazyLock<Vec<ParamRule>> =
        LazyLock::new(|| DEFAULT_PARAMS.map(ParamRule::plain).to_vec());
    &RULES
}
