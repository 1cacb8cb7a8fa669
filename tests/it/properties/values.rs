//! The values that are generated.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::scope::words;

/// What means something to some place, language or reader.
const SPECIAL: &str = r##"
    " ' ` ${ } ${v} $v $w ${w} $ {% %} {{ }} {# #} & &amp; &#10; % %41 %2e %00 + = ; : / ? # @
    \ \u0041 \n \" < > ]]> <![CDATA[ <!-- <? </x> true null 1e3 0 . .. ~ ~1 , | é
    🙂 👩‍👩‍👧 🇩🇪 שלום مرحبا
"##;
/// The same, of blanks, controls, and what no eye sees.
const UNSEEN: &str = " _   _\n_\r_\r\n_\t_\0_\x7f_\x1b[0m_\u{85}_\u{a0}_\u{301}_e\u{301}_\u{200d}_\
    \u{2028}_\u{202e}_\u{feff}_\u{fffd}_\u{fffe}_\u{ffff}_\u{e000}_\u{10ffff}_${ v }_{{ w }}";

/// Up to 200 characters, many of them special.
pub(super) fn values() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        3 => select(words(SPECIAL)),
        2 => select(UNSEEN.split('_').collect::<Vec<_>>()).prop_map(str::to_owned),
        2 => any::<char>().prop_map(String::from),
        2 => "[a-zA-Z0-9]{1,8}",
    ];
    let joined = |pieces: Vec<String>| pieces.concat().chars().take(200).collect::<String>();
    vec(piece, 1..48).prop_map(joined)
}

/// What a step of a path can be.
pub(super) fn path_values() -> impl Strategy<Value = String> {
    values().prop_filter("leads to another path", |value| {
        value != "." && value != ".."
    })
}

/// XML 1.0, section 2.2.
pub(super) fn fits_xml(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

pub(super) fn unfit_for_xml() -> impl Strategy<Value = char> {
    let unfit = ('\0'..='\u{ffff}').filter(|c| !fits_xml(*c));
    select(unfit.collect::<Vec<_>>())
}

/// RFC 9110, section 5.5: visible characters, blanks, and what lies above ASCII.
pub(super) fn fits_header(c: char) -> bool {
    c == '\t' || !c.is_ascii_control()
}

pub(super) fn header_values() -> impl Strategy<Value = String> {
    let kept = |value: String| {
        let kept: String = value.chars().filter(|c| fits_header(*c)).collect();
        kept.trim_matches([' ', '\t']).to_owned()
    };
    values()
        .prop_map(kept)
        .prop_filter("is empty", |value| !value.is_empty())
}

/// A value with one character more, anywhere.
pub(super) fn with_one(
    values: impl Strategy<Value = String>,
    more: impl Strategy<Value = char>,
) -> impl Strategy<Value = String> {
    (values, more, any::<prop::sample::Index>()).prop_map(|(value, c, at)| {
        let mut chars: Vec<char> = value.chars().collect();
        chars.insert(at.index(chars.len() + 1), c);
        chars.into_iter().collect()
    })
}
