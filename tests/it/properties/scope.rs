//! Nothing but what is in scope can be reached.

use std::collections::BTreeSet;
use std::io::Write as _;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use proptest::prelude::*;
use proptest::sample::select;
use secrecy::ExposeSecret;
use serde_json::json;
use token_server::realm::expression::Expressions;
use token_server::realm::expression::hints::FILTERS;

use super::holds;
use super::readers::percent_decoded;
use super::world::{World, read_realm, realm};
use crate::kit::source::{self, in_backticks, root};

const TESTS: &str = "\
    defined endingwith in mapping none number sequence startingwith string undefined";
const FUNCTIONS: &str = "\
    nonce now uuid";

/// Filters of MiniJinja 3.1 and its contributions, of Jinja2, and of some who extend it.
const KNOWN_FILTERS: &str = "\
    abs attr b64decode b64encode basename batch bool capitalize center chain count d date \
    datetimeformat dateformat default dictsort dirname e env escape expandvars expanduser \
    filesizeformat file fileglob first float forceescape format from_json from_yaml groupby \
    hash indent int items join keys last length lines list lookup lower map max min \
    password_hash pluralize pprint random read realpath regex_replace regex_search reject \
    rejectattr replace reverse round safe select selectattr shuffle slice sort split string \
    striptags sum timeformat title to_json to_yaml tojson trim truncate unique upper \
    urlencode urlize urlsplit values vault wordcount wordwrap xmlattr zip debug dump eval \
    exec include import open render system";
/// Tests of MiniJinja 3.1, and of Jinja2.
const KNOWN_TESTS: &str = "\
    boolean callable containing defined directory divisibleby endingwith eq equalto escaped \
    even exists false file filter float ge gt greaterthan in int integer iterable le \
    lessthan link lower lt mapping match ne none number odd safe sameas search sequence \
    startingwith string subset test true undefined upper";
/// Functions and names of both, and of the frameworks around Jinja2.
const KNOWN_NAMES: &str = "\
    __builtins__ __class__ __import__ app application caller config context cycler debug \
    dict env environ environment eval exec exit export file format g get_env \
    get_flashed_messages getenv globals handler import include joiner key kwargs lipsum \
    locals lookup loop macro module namespace now nonce open os params pycompat query range \
    read request secret secrets self server session settings state super sys url_for uuid \
    varargs vars";

#[test]
fn the_reference_and_the_fuzzers_dictionary_name_each_filter() {
    let read = |path: &str| source::read(&root().join(path));
    let page = read("docs/src/reference/realm-document.md");
    let row = page.lines().find(|line| line.starts_with("| filters |"));
    let codes = in_backticks(row.expect("it has a row of filters"));
    let names = codes.filter_map(|code| {
        let name = code.split('(').next()?;
        let is_name = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        (is_name && !name.is_empty()).then_some(name)
    });
    assert_eq!(names.collect::<BTreeSet<_>>(), FILTERS.into());

    let dictionary = read("fuzz/dictionaries/expression.dict");
    let missing = FILTERS.map(|name| format!("\"{name}\""));
    let missing: Vec<_> = missing
        .iter()
        .filter(|entry| !dictionary.contains(*entry))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn the_filters_tests_and_functions_are_the_documented_ones_and_no_others() {
    let expressions = Expressions::new();
    let scope = minijinja::Value::from_pairs([("a", vec!["1"])]);
    let unknown = |source: &str| {
        let refused = expressions.condition(source).map(|_| ());
        let template = expressions.template(&format!("x${{ {source} }}"));
        assert_eq!(refused.is_err(), template.is_err(), "{source}");
        refused.is_err_and(|error| error.to_string().starts_with("unknown "))
    };
    let set = |text| BTreeSet::from_iter(words(text));
    let known = |known: BTreeSet<String>, ours: BTreeSet<String>, form: &str| {
        let all = known.union(&ours).cloned();
        let accepted = all.filter(|name| !unknown(&form.replace("NAME", name)));
        assert_eq!(accepted.collect::<BTreeSet<_>>(), ours, "{form}");
    };
    let filters: BTreeSet<_> = FILTERS.map(str::to_owned).into();
    known(set(KNOWN_FILTERS), filters.clone(), "a|NAME");
    known(set(KNOWN_TESTS), set(TESTS), "a is NAME");
    // The name of a filter may be a text, which is looked up when it is used.
    for name in set(KNOWN_FILTERS).difference(&filters) {
        for source in [format!("a|map('{name}')"), format!("a|map(a and '{name}')")] {
            let evaluated = expressions
                .condition(&source)
                .and_then(|condition| expressions.evaluate(&condition, &scope));
            let refused = evaluated.expect_err("no such filter").to_string();
            assert!(refused.starts_with("unknown filter"), "{source}: {refused}");
        }
    }

    let document = |value: String| {
        read_realm(json!({
            "url": "https://h.example/", "method": "POST",
            "arguments": [{"name": "x", "place": "body", "value": value}],
        }))
    };
    for form in ["${ NAME }", "${ NAME() }", "x${ NAME('a') }", "$NAME"] {
        let (known, ours) = (set(KNOWN_NAMES), set(FUNCTIONS));
        let all = known.union(&ours);
        let accepted = all.filter(|name| document(form.replace("NAME", name)).is_ok());
        assert_eq!(accepted.cloned().collect::<BTreeSet<_>>(), ours, "{form}");
    }
    // MiniJinja's own globals, should it bring others one day.
    let minijinja = minijinja::Environment::new();
    for (name, _) in minijinja.globals() {
        assert!(document(format!("${{ {name} }}")).is_err(), "{name}");
    }
    for block in [
        "{% include 'x' %}",
        "{% import 'x' as y %}",
        "{% extends 'x' %}",
        "{% set x = v %}",
        "{{ v }}",
        "{# v #}",
    ] {
        let template = expressions.template(block).expect("is text");
        assert_eq!(template.as_literal(), Some(block));
    }
}

/// Expressions as somebody writes them who looks for a way out.
fn expressions_of_a_thief(file: &str) -> impl Strategy<Value = String> {
    let texts: Vec<String> = [
        "PATH",
        "HOME",
        "/proc/self/environ",
        "secret-2",
        "v",
        "%s",
        "",
    ]
    .into_iter()
    .chain([file])
    .map(|text| format!("'{text}'"))
    .collect();
    let attributes = words(
        "__class__ __mro__ __subclasses__ __globals__ __init__ __builtins__ environ env \
         PATH get getenv read open popen name state config params secrets values items \
         format render token extra 0 -1",
    );
    let named = words(KNOWN_NAMES);
    let leaf = prop_oneof![
        3 => select(words("v token forced now() uuid() nonce(8) now 1")),
        2 => select(texts),
        2 => select(named.clone()),
    ];
    let ours = FILTERS.map(str::to_owned).to_vec();
    let filters = [words(KNOWN_FILTERS), ours.clone()].concat();
    let tests = [words(KNOWN_TESTS), words(TESTS)].concat();
    leaf.prop_recursive(5, 24, 2, move |inner| {
        let two = (inner.clone(), inner.clone());
        let attribute = (inner.clone(), select(attributes.clone()));
        let any_filter = prop_oneof![3 => select(ours.clone()), 1 => select(filters.clone())];
        let filter = (inner.clone(), any_filter);
        prop_oneof![
            attribute
                .clone()
                .prop_map(|(of, name)| format!("{of}.{name}")),
            attribute
                .clone()
                .prop_map(|(of, name)| format!("{of}['{name}']")),
            attribute
                .clone()
                .prop_map(|(of, name)| format!("{of}.{name}()")),
            attribute.prop_map(|(of, name)| format!("[{of}]|map(attribute='{name}')|list")),
            two.clone().prop_map(|(of, with)| format!("{of}({with})")),
            (select(named.clone()), inner.clone()).prop_map(|(of, with)| format!("{of}({with})")),
            filter.clone().prop_map(|(of, name)| format!("{of}|{name}")),
            filter
                .clone()
                .prop_map(|(of, name)| format!("[{of}, v]|map('{name}')|join(',')")),
            (filter, inner.clone()).prop_map(|((of, name), with)| format!("{of}|{name}({with})")),
            two.clone()
                .prop_map(|(one, other)| format!("({one} ~ {other})")),
            two.clone()
                .prop_map(|(one, other)| format!("({one} or {other})")),
            two.clone()
                .prop_map(|(one, other)| format!("({one} if {other} else {one})")),
            two.prop_map(|(one, other)| format!("[{one}, {other}]")),
            (inner, select(tests.clone())).prop_map(|(of, test)| format!("({of} is {test})")),
        ]
    })
}

pub(super) fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn no_expression_reads_the_environment_a_file_or_another_secret() {
    // The canary is in the environment of this process already.
    #[allow(clippy::disallowed_methods)]
    let path = std::env::var("PATH").expect("PATH is set");
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(b"canary-in-a-file").expect("it is written");
    let canaries: Vec<String> = [
        path.as_str(),
        "canary-in-a-file",
        "canary-of-another-secret",
    ]
    .into_iter()
    .flat_map(|canary| {
        [
            canary.to_owned(),
            canary.to_uppercase(),
            STANDARD.encode(canary),
            URL_SAFE_NO_PAD.encode(canary),
            serde_json::to_string(canary)
                .expect("JSON")
                .trim_matches('"')
                .to_owned(),
        ]
    })
    .collect();
    let world = World::new();
    let same_place = realm(json!({
        "url": world.url("/"), "method": "POST",
        "arguments": [{"name": "x", "place": "body", "value": "$v"}],
    }));
    let expressions = Expressions::new();
    let (accepted, refused) = (std::cell::Cell::new(0), std::cell::Cell::new(0));
    let file = file.path().to_str().expect("a path").to_owned();
    holds(expressions_of_a_thief(&file), |source| {
        let (obtained, seen) = world.fetch(&same_place, &[("v", "canary-of-another-secret")]);
        prop_assert!(obtained.is_ok() && seen.len() == 1);
        let mut shown = Vec::new();
        // Without the check of names: what is not in scope is unset.
        let scope = minijinja::Value::from_pairs([("v", "own"), ("token", "issued")]);
        if let Ok(condition) = expressions.condition(&source) {
            match expressions.evaluate(&condition, &scope) {
                Ok(value) => shown.push(value.to_string()),
                Err(error) => shown.push(error.to_string()),
            }
        }
        for form in [format!("${{ {source} }}"), format!("x${{ {source} }}")] {
            if let Ok(template) = expressions.template(&form) {
                match expressions.render(&template, &scope) {
                    Ok(value) => shown.push(value.to_string()),
                    Err(error) => shown.push(error.to_string()),
                }
            }
        }
        let in_braces = format!("${{ {source} }}");
        for (path, field, value) in [
            (
                "/",
                "arguments",
                json!([{"name": "x", "place": "body", "value": in_braces}]),
            ),
            ("/", "body", json!(format!("<${{ {source} }}>"))),
            ("/", "extra", json!({"x": source})),
            ("/", "token_template", json!(in_braces)),
            ("/refuse", "error", json!({"message": source})),
        ] {
            let mut config = json!({"url": world.url(path), "method": "POST"});
            config[field] = value;
            let realm = match read_realm(config) {
                Ok(realm) => realm,
                Err(faults) => {
                    refused.set(refused.get() + 1);
                    shown.extend(faults);
                    continue;
                }
            };
            accepted.set(accepted.get() + 1);
            let (obtained, seen) = world.fetch(&realm, &[("v", "own")]);
            for recorded in seen {
                shown.push(String::from_utf8_lossy(&recorded.body).into_owned());
                shown.push(String::from_utf8_lossy(&percent_decoded(&recorded.target)).into());
            }
            match obtained {
                Ok(obtained) => {
                    shown.push(obtained.payload.extra.to_string());
                    shown.extend(
                        obtained
                            .served
                            .map(|served| served.expose_secret().to_owned()),
                    );
                }
                Err(failure) => shown.push(failure.detail),
            }
        }
        for canary in &canaries {
            let sung = shown.iter().any(|text| text.contains(canary.as_str()));
            prop_assert!(!sung, "it shows what is not in scope");
        }
        Ok(())
    });
    let (accepted, refused) = (accepted.get(), refused.get());
    assert!(accepted > 40 && refused > 40, "{accepted} and {refused}");
}
