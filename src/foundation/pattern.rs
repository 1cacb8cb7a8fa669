//! Names in which `*` stands for any run of characters, and what lists of them cover: as a question
//! about a name, and as a condition on rows.

use sea_orm::sea_query::{BinOper, Expr, ExprTrait, LikeExpr, SimpleExpr};
use sea_orm::{ColumnTrait, Condition, DbBackend};

/// Marks what is meant literally in a pattern of `LIKE`.
const ESCAPE: char = '!';

/// A name, in which `*` stands for any run of characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(String);

impl Pattern {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn matches(&self, name: &str) -> bool {
        let mut parts = self.0.split('*');
        let head = parts.next().unwrap_or_default();
        let Some(mut rest) = name.strip_prefix(head) else {
            return false;
        };
        let Some(tail) = parts.next_back() else {
            return rest.is_empty();
        };
        for part in parts {
            match rest.split_once(part) {
                Some((_, after)) => rest = after,
                None => return false,
            }
        }
        rest.ends_with(tail)
    }

    /// [`Self::matches`] as a condition on rows. Letters of either case differ.
    fn matches_column(&self, column: impl ColumnTrait, backend: DbBackend) -> SimpleExpr {
        let column = Expr::col(column.as_column_ref());
        match backend {
            // There LIKE takes `A` for `a`.
            DbBackend::Sqlite => {
                let glob = self.each(|other| match other {
                    '?' | '[' => format!("[{other}]"),
                    other => other.to_string(),
                });
                column.binary(BinOper::Custom("GLOB"), Expr::val(glob))
            }
            _ => {
                let like = self.each(|other| match other {
                    '*' => "%".to_owned(),
                    '%' | '_' | ESCAPE => format!("{ESCAPE}{other}"),
                    other => other.to_string(),
                });
                column.like(LikeExpr::new(like).escape(ESCAPE))
            }
        }
    }

    fn each(&self, written: impl Fn(char) -> String) -> String {
        self.0.chars().map(written).collect()
    }
}

/// A list of patterns as it is stored.
pub fn patterns_to_text(patterns: &[Pattern]) -> String {
    let texts: Vec<_> = patterns.iter().map(Pattern::as_str).collect();
    serde_json::json!(texts).to_string()
}

/// A list that cannot be read covers nothing.
pub fn patterns_of(text: &str) -> Vec<Pattern> {
    let texts: Vec<String> = serde_json::from_str(text).unwrap_or_default();
    texts.into_iter().map(Pattern::new).collect()
}

/// What patterns cover; without patterns everything, with an empty list nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    pub realms: Option<Vec<Pattern>>,
    pub keys: Option<Vec<Pattern>>,
}

impl Coverage {
    pub fn is_everything(&self) -> bool {
        self.realms.is_none() && self.keys.is_none()
    }

    pub fn realm(&self, realm: &str) -> bool {
        matches(self.realms.as_deref(), realm)
    }

    pub fn secret(&self, realm: &str, key: &str) -> bool {
        self.realm(realm) && matches(self.keys.as_deref(), key)
    }

    /// Every secret that the realm has or will have.
    pub fn all_of(&self, realm: &str) -> bool {
        self.realm(realm) && self.keys.is_none()
    }

    /// [`Self::realm`] as a condition on rows.
    pub fn realms_in(&self, realm: impl ColumnTrait, backend: DbBackend) -> Condition {
        condition(self.realms.as_deref(), realm, backend)
    }

    /// [`Self::secret`] as a condition on rows.
    pub fn secrets_in(
        &self,
        realm: impl ColumnTrait,
        key: impl ColumnTrait,
        backend: DbBackend,
    ) -> Condition {
        self.realms_in(realm, backend)
            .add(condition(self.keys.as_deref(), key, backend))
    }
}

fn matches(patterns: Option<&[Pattern]>, name: &str) -> bool {
    patterns.is_none_or(|patterns| patterns.iter().any(|pattern| pattern.matches(name)))
}

fn condition(
    patterns: Option<&[Pattern]>,
    column: impl ColumnTrait,
    backend: DbBackend,
) -> Condition {
    let Some(patterns) = patterns else {
        return Condition::all();
    };
    // Nothing is covered where there is none.
    let none = Condition::any().add(Expr::val(1).eq(0));
    let any = patterns.iter().fold(none, |any, pattern| {
        any.add(pattern.matches_column(column, backend))
    });
    Condition::all().add(any)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_run_of_characters() {
        for (pattern, name, matches) in [
            ("wechat", "wechat", true),
            ("wechat", "wechat2", false),
            ("wechat*", "wechat2", true),
            ("*", "", true),
            ("*", "anything", true),
            ("a*c", "abc", true),
            ("a*c", "ac", true),
            ("a*c", "acb", false),
            ("a*b*c", "a-b-c", true),
            ("a*b*c", "a-c", false),
            ("aa*aa", "aaa", false),
            ("A*", "abc", false),
        ] {
            assert_eq!(
                Pattern::new(pattern).matches(name),
                matches,
                "{pattern} {name}"
            );
        }
    }

    #[test]
    fn what_is_covered_of_a_realm_is_what_its_patterns_cover() {
        let patterns = |texts: &[&str]| Some(texts.iter().copied().map(Pattern::new).collect());
        let everything = Coverage::default();
        assert!(everything.is_everything() && everything.all_of("r"));
        let realms = Coverage {
            realms: patterns(&["a*", "r"]),
            keys: None,
        };
        assert!(realms.all_of("ab") && realms.secret("r", "k") && !realms.realm("b"));
        let keys = Coverage {
            realms: None,
            keys: patterns(&["a*"]),
        };
        assert!(keys.realm("r") && keys.secret("r", "ab") && !keys.secret("r", "b"));
        assert!(!keys.all_of("r") && !keys.is_everything());
        let nothing = Coverage {
            realms: patterns(&[]),
            keys: None,
        };
        assert!(!nothing.realm("r"));
    }
}
