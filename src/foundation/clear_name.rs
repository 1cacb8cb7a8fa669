//! New names that nobody mistakes for others: nothing in them is invisible, and what looks alike is
//! written in one way. Names that are stored already go on working.

use std::ops::RangeInclusive;

use unicode_normalization::is_nfkc;
use unicode_properties::{GeneralCategory, UnicodeGeneralCategory};
use unicode_security::skeleton;

/// Why a new name is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnclearName {
    #[error(
        "must not contain U+{:04X}: nobody sees it, or it changes how the rest is shown",
        u32::from(*.0)
    )]
    Invisible(char),
    #[error(
        "must be in Unicode's form NFKC: it holds characters that look like others, such as letters \
         of full width, ligatures or accents by themselves"
    )]
    NotNormalised,
}

/// Characters that nobody sees although their category does not say so: those of the property
/// `Default_Ignorable_Code_Point`, and a blank of Braille.
const ALSO_INVISIBLE: [RangeInclusive<char>; 9] = [
    '\u{34f}'..='\u{34f}',
    '\u{115f}'..='\u{1160}',
    '\u{17b4}'..='\u{17b5}',
    '\u{180b}'..='\u{180f}',
    '\u{2800}'..='\u{2800}',
    '\u{3164}'..='\u{3164}',
    '\u{fe00}'..='\u{fe0f}',
    '\u{ffa0}'..='\u{ffa0}',
    '\u{e0100}'..='\u{e01ef}',
];

fn is_invisible(c: char) -> bool {
    let by_category = matches!(
        c.general_category(),
        GeneralCategory::Control
            | GeneralCategory::Format
            | GeneralCategory::LineSeparator
            | GeneralCategory::ParagraphSeparator
            | GeneralCategory::PrivateUse
    );
    by_category || ALSO_INVISIBLE.iter().any(|range| range.contains(&c))
}

/// Refuses what nobody sees: control characters, those of no width, and those that turn the
/// direction of a text around.
///
/// # Errors
/// The first such character.
pub fn check_visible(name: &str) -> Result<(), UnclearName> {
    match name.chars().find(|c| is_invisible(*c)) {
        None => Ok(()),
        Some(c) => Err(UnclearName::Invisible(c)),
    }
}

/// The same, and refuses what is not written as Unicode writes what looks alike (UAX 15, form
/// NFKC).
///
/// # Errors
/// What is wrong with it.
pub fn check_clear(name: &str) -> Result<(), UnclearName> {
    check_visible(name)?;
    match is_nfkc(name) {
        true => Ok(()),
        false => Err(UnclearName::NotNormalised),
    }
}

/// Whether a name looks like another, or begins so, whatever scripts its letters are of (UTS 39,
/// section 4) and whatever blanks are among them.
pub fn looks_like(name: &str, other: &str, begins: bool) -> bool {
    let other = seen(&other.to_lowercase());
    // A capital may look like a letter that its small one does not look like.
    [seen(&name.to_lowercase()), seen(name).to_lowercase()]
        .iter()
        .any(|name| match begins {
            true => name.starts_with(&other),
            false => *name == other,
        })
}

fn seen(name: &str) -> String {
    let is_seen = |c: &char| c.is_alphanumeric() || *c == ':';
    skeleton(name).filter(is_seen).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_sees_is_refused_by_its_number() {
        for invisible in [
            '\0',
            '\n',
            '\u{85}',
            '\u{ad}',
            '\u{34f}',
            '\u{61c}',
            '\u{200b}',
            '\u{200d}',
            '\u{200e}',
            '\u{202e}',
            '\u{2028}',
            '\u{2060}',
            '\u{2066}',
            '\u{2800}',
            '\u{3164}',
            '\u{e000}',
            '\u{fe0f}',
            '\u{feff}',
            '\u{e0041}',
            '\u{e0100}',
        ] {
            let name = format!("a{invisible}b");
            let refused = check_visible(&name);
            assert_eq!(refused, Err(UnclearName::Invisible(invisible)), "{name:?}");
            assert_eq!(check_clear(&name), refused);
        }
        let told = UnclearName::Invisible('\u{ad}').to_string();
        assert!(told.contains("U+00AD"), "{told}");
    }

    #[test]
    fn what_looks_alike_is_taken_in_one_way_of_writing() {
        for good in [
            "the shop",
            "名前",
            "公众号-测试",
            "Žluťoučký",
            "شركة",
            "a_b.c:d/e",
            "😀",
        ] {
            assert_eq!(check_clear(good), Ok(()), "{good}");
        }
        for other in [
            "\u{ff41}dmin",
            "of\u{fb01}ce",
            "e\u{301}",
            "a\u{a0}b",
            "①",
            "（）",
        ] {
            assert_eq!(
                check_clear(other),
                Err(UnclearName::NotNormalised),
                "{other}"
            );
            assert_eq!(check_visible(other), Ok(()), "{other}");
        }
    }

    #[test]
    fn a_name_looks_like_another_in_letters_of_any_script_and_case() {
        for alike in [
            "command line",
            "Command-Line",
            "commandline",
            "c\u{43e}mmand line",
        ] {
            assert!(looks_like(alike, "command line", false), "{alike}");
        }
        for other in ["command", "command lines", "my command line", ""] {
            assert!(!looks_like(other, "command line", false), "{other}");
        }
        assert!(looks_like("command lines", "command line", true));
    }
}
