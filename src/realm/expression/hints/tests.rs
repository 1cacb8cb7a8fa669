//! What is told of expressions that are refused, each with its place.

use std::collections::BTreeSet;

use super::*;
use crate::realm::expression::Expressions;

fn refused(source: &str) -> String {
    let refused = Expressions::new().condition(source);
    refused.map_or_else(|error| error.to_string(), |_| String::new())
}

#[test]
fn the_known_filters_and_tests_are_those_of_the_environment() {
    let sources = [
        include_str!("../environment.rs"),
        include_str!("../digests.rs"),
    ]
    .concat();
    let words: String = sources.split_whitespace().collect();
    let added = |call: &str| {
        let parts = words.split(call).skip(1);
        let name = |part: &str| part.split('"').next().unwrap().to_owned();
        parts.map(name).collect::<BTreeSet<_>>()
    };
    assert_eq!(
        added("env.add_filter(\""),
        FILTERS.map(str::to_owned).into()
    );
    assert_eq!(added("env.add_test(\""), TESTS.map(str::to_owned).into());
}

#[test]
fn signs_of_other_languages_are_answered_with_what_to_write() {
    for (source, column, hint) in [
        (
            "status == 200 ? 'a' : 'b'",
            15,
            "write A if CONDITION else B",
        ),
        ("(x ? 1 : 2)", 4, "write A if CONDITION else B"),
        (
            "'is it?' if y else (a ? b : c)",
            23,
            "write A if CONDITION else B",
        ),
        ("status == 200 && body.ok", 15, "write and"),
        ("'a&&b' == x && y", 13, "write and"),
        ("x&&y", 2, "write and"),
        ("a || b", 3, "write or"),
        ("body.a || body.b", 8, "write or"),
        ("('||') || x", 8, "write or"),
        ("!body.error", 1, "write not"),
        ("a and !b", 7, "write not"),
        ("not a or !(b)", 10, "write not"),
        ("status === 200", 8, "write =="),
        ("a === b", 3, "write =="),
        ("x['==='] === 1", 10, "write =="),
        ("status !== 200", 8, "write !="),
        ("a ?? b", 3, "a|default(b)"),
        ("body?.error", 5, "write a.b"),
        ("status = 200", 8, "write =="),
        ("x == $key_1", 6, "without $"),
        ("a == `b`", 6, "put texts between"),
        ("a == \u{201c}b\u{201d}", 6, "put texts between"),
    ] {
        let refused = refused(source);
        let place = format!("(column {column})");
        assert!(refused.contains(&place), "{source}: {refused}");
        assert!(refused.contains(hint), "{source}: {refused}");
    }
}

#[test]
fn what_cannot_be_read_is_answered_with_its_place() {
    for (source, place) in [
        ("a b", "(column 3)"),
        ("a ~ ~ b", "(column 5)"),
        ("f(a,,b)", "(column 5)"),
        ("(a", "(column 3)"),
        ("a ==", "(column 5)"),
        ("a\n  and )", "(line 2, column 7)"),
        ("'\u{e9}' == 1 2", "(column 10)"),
        ("\u{e9} == 1", "(column 1)"),
        ("'\u{1f600}' ~ x y", "(column 9)"),
    ] {
        let refused = refused(source);
        assert!(refused.contains(place), "{source}: {refused}");
    }
}

#[test]
fn a_place_within_a_template_counts_from_its_beginning() {
    let expressions = Expressions::new();
    for (source, place) in [
        ("Bearer ${a && b}", "(column 12)"),
        ("${ a ? b : c }", "(column 6)"),
        ("x ${ a }\ny ${ b|nope } z", "(line 2, column 8)"),
        ("${ 'x' ~ ${ y } }", "(column 10)"),
        ("a ${ x } ${ y ${ z } }", "(column 15)"),
        ("${ upper(${x}) }", "(column 10)"),
    ] {
        let refused = expressions.template(source).unwrap_err().to_string();
        assert!(refused.contains(place), "{source}: {refused}");
    }
}

#[test]
fn an_unknown_filter_test_or_method_is_answered_with_the_known_ones() {
    for (source, told) in [
        ("x|foo", "unknown filter foo (column 3): known are base64, "),
        (
            "x|lowr",
            "unknown filter lowr (column 3): did you mean lower? ",
        ),
        (
            "x|trim|b64encode",
            "unknown filter b64encode (column 8): did you mean base64? ",
        ),
        ("x|sha_256", "did you mean sha256? "),
        ("x | now", "it is a function, write now()"),
        (
            "x is empty",
            "unknown test empty (column 6): known are defined, ",
        ),
        ("x is not startswith('a')", "did you mean startingwith? "),
        ("x is define", "did you mean defined? "),
        (
            "x.upper()",
            "unknown method upper (column 3): values have none; write x|upper",
        ),
        ("x.strip()", "write x|trim"),
        ("x.startswith('a')", "write x is startingwith(\u{2026})"),
        ("x.toLowerCase()", "write x|lower"),
        ("x.includes('a')", "write part in whole"),
        ("x.frobnicate()", "filters are base64, "),
    ] {
        let refused = refused(source);
        assert!(refused.contains(told), "{source}: {refused}");
    }
}

#[test]
fn a_name_that_is_not_declared_is_answered_with_what_may_be_meant() {
    let known = ["client_id", "scope", "now", "uuid", "nonce"];
    for (name, told) in [
        ("base64", "write x|base64"),
        ("btoa", "write x|base64"),
        ("length", "write x|length"),
        ("clientid", "(did you mean client_id?)"),
        ("scopes", "(did you mean scope?)"),
        (
            "debug",
            "known are client_id, scope, and the functions now(), uuid(), nonce()",
        ),
    ] {
        let text = undeclared(name, known.into_iter());
        assert!(text.contains(told), "{name}: {text}");
    }
}
