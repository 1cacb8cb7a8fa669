//! What an expression may take is bounded.

use std::io::Write as _;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;
use token_server::realm::expression::Expressions;
use token_server::realm::failure::FailureClass;
use token_server::secret::params::VALUE_MAX_BYTES;

use super::holds;
use super::world::{World, read_realm};

/// Fuel of one evaluation, times the bytes that one fuel pays for.
const RESULT_MAX_BYTES: usize = 50_000 * 64;
const OUT_OF_FUEL: &str = "takes more steps than an expression may";

/// What `source` gives over `big`: as a condition, as a template, as a part of one.
fn evaluation(source: &str, form: usize, big: &str) -> Result<minijinja::Value, String> {
    let expressions = Expressions::new();
    let scope = minijinja::Value::from_pairs([("big", big)]);
    let evaluated = match form {
        0 => expressions
            .condition(source)
            .and_then(|condition| expressions.evaluate(&condition, &scope)),
        _ => expressions
            .template(&match form {
                1 => format!("${{ {source} }}"),
                _ => format!("<${{ {source} }}>"),
            })
            .and_then(|template| expressions.render(&template, &scope)),
    };
    evaluated.map_err(|error| error.to_string())
}

fn evaluations(source: &str, big: &str) -> [Result<minijinja::Value, String>; 3] {
    [0, 1, 2].map(|form| evaluation(source, form, big))
}

/// A step of an expression that grows.
#[derive(Clone, Copy, Debug)]
enum Growth {
    Repeated(usize),
    Doubled,
    Wrapped(usize),
    Filtered(&'static str),
    JoinedByBig,
}

fn growths() -> impl Strategy<Value = Growth> {
    let filters = "join  join(',')  list  sort  string  tojson  fromjson  formdecode  base64  urlencode  \
        xmlescape  md5  upper  split('a')  split('')  first  last  replace('a', big)  \
        replace('', big)  map('upper')  map('replace', 'a', 'bb')  map('replace', 'a', big)  \
        map('tojson')  map('string')  map('join')  keys  length  trim  hmac_sha256(big)";
    prop_oneof![
        2 => select(vec![2_usize, 10, 60, 1000]).prop_map(Growth::Repeated),
        1 => Just(Growth::Doubled),
        2 => select(vec![1_usize, 3, 60, 1000]).prop_map(Growth::Wrapped),
        6 => select(filters.split("  ").collect::<Vec<_>>()).prop_map(Growth::Filtered),
        1 => Just(Growth::JoinedByBig),
    ]
}

/// The expression of some growths, stopped before it would hold more than three times what
/// fuel pays for: even without fuel it would not use up the machine.
fn grown(growths: &[Growth]) -> String {
    let (mut source, mut bytes) = ("big".to_owned(), VALUE_MAX_BYTES);
    let mut items = bytes;
    for growth in growths {
        let (more, bytes_then) = match growth {
            Growth::Repeated(n) => (format!("({source} * {n})"), bytes * n),
            Growth::Doubled => (format!("({source} ~ {source})"), bytes * 2),
            Growth::Wrapped(n) => (format!("([{source}] * {n})"), bytes * n),
            Growth::Filtered(filter) => (format!("{source}|{filter}"), bytes * 2),
            Growth::JoinedByBig => {
                let joined = bytes + items * VALUE_MAX_BYTES;
                (format!("{source}|join(big)"), joined)
            }
        };
        if bytes_then > 3 * RESULT_MAX_BYTES || more.len() > 2000 {
            break;
        }
        (source, bytes) = (more, bytes_then);
        items = match growth {
            Growth::Wrapped(n) => *n,
            Growth::Repeated(n) => items * n,
            _ => bytes,
        };
    }
    source
}

#[test]
fn no_expression_gives_a_text_larger_than_its_fuel_pays_for() {
    let big = "a".repeat(VALUE_MAX_BYTES);
    holds((vec(growths(), 1..6), 0_usize..3), |(growths, form)| {
        let source = grown(&growths);
        match evaluation(&source, form, &big) {
            Ok(value) => {
                let text = value.as_str().map_or(0, str::len);
                prop_assert!(text <= RESULT_MAX_BYTES, "{} gives {} bytes", source, text);
            }
            // A message never holds a piece of what was evaluated.
            Err(why) => prop_assert!(why.len() < 200 && !why.contains("aaaa"), "{}", source),
        }
        Ok(())
    });
}

#[test]
fn what_takes_more_than_its_fuel_is_refused_as_such() {
    let big = "a".repeat(VALUE_MAX_BYTES);
    let list = format!("[{}]", vec!["big"; 60].join(", "));
    let chain = vec!["big"; 60].join(" ~ ");
    let forms = "LIST|join  LIST|join(',')  LIST|tojson  LIST|string  LIST ~ ''  LIST|upper  \
        LIST|map('tojson')|join  big|split('')|join(big[:60])  'a'|hmac_sha256(CHAIN)  \
        big|replace('a', big)  big|replace('', big)  \
        big|split('')|map('replace', 'a', big)|join  CHAIN  (CHAIN)|upper  \
        big|replace('a', '&')|formdecode";
    for (index, form) in forms.split("  ").enumerate() {
        let source = form.replace("LIST", &list).replace("CHAIN", &chain);
        let given = evaluation(&source, index % 3, &big);
        let length = given.map(|value| value.as_str().map_or(0, str::len));
        assert_eq!(length, Err(OUT_OF_FUEL.to_owned()), "{form}");
    }
}

#[test]
fn a_list_is_no_text_for_a_filter_that_takes_one() {
    for filter in [
        "base64",
        "base64url",
        "urlencode",
        "xmlescape",
        "md5",
        "sha1",
        "sha256",
        "sha512",
        "hmac_sha256('k')",
    ] {
        assert!(
            evaluation(&format!("['a']|{filter}"), 0, "").is_err(),
            "{filter}"
        );
        assert!(
            evaluation(&format!("'a'|{filter}"), 0, "").is_ok(),
            "{filter}"
        );
    }
}

/// Fuel pays for a look at some 100 000 items. Why more are refused does not matter.
#[test]
fn what_looks_at_more_items_than_its_fuel_pays_for_is_refused() {
    let forms = "LIST|last  LIST[-1]  LIST[3:]|last  LIST|sort|length  LIST|keys|length  \
        LIST|values|length  LIST|list|length  LIST|map('upper')|length  'b' is in(LIST)  \
        'b' in LIST  LIST == LIST  [LIST] == [LIST]  [LIST] < [LIST]  [LIST] in [[LIST]]  \
        [[LIST], [LIST]]|sort|length  {'k': LIST} == {'k': LIST}";
    let big = "a".repeat(VALUE_MAX_BYTES);
    let mut given = Vec::new();
    for form in forms.split("  ") {
        for list in ["(['a'] * 300000)", "(big|split('a') * 5)"] {
            let source = form.replace("LIST", list);
            if evaluation(&source, 0, &big).is_ok() {
                given.push(source);
            }
        }
    }
    assert!(given.is_empty(), "{given:#?}");
}

#[test]
fn no_request_is_larger_than_the_fuel_of_its_expressions_pays_for() {
    let world = World::new();
    let big = "a".repeat(VALUE_MAX_BYTES);
    for value in [
        "${ [v] * 60 }",
        "${ {'k': [v] * 60} }",
        "${ [[v] * 8] * 8 }",
        "${ [1] * 4000000 }",
    ] {
        let Ok(realm) = read_realm(json!({
            "url": world.url("/"), "method": "POST",
            "arguments": [{"name": "x", "place": "body", "value": value}],
        })) else {
            continue;
        };
        let (obtained, seen) = world.fetch(&realm, &[("v", &big)]);
        let sent: Vec<_> = seen.iter().map(|recorded| recorded.body.len()).collect();
        assert!(sent.is_empty(), "{value} was sent in {sent:?} bytes");
        let failure = obtained.map(|_| ()).expect_err("nothing was sent");
        assert_eq!(failure.class, FailureClass::Internal, "{value}");
    }
}

#[test]
fn a_chain_of_texts_is_the_whole_text_or_none_of_it() {
    let big = "b".repeat(VALUE_MAX_BYTES);
    let ends = (std::cell::Cell::new(0), std::cell::Cell::new(0));
    holds(
        (1_usize..40, 1_usize..=VALUE_MAX_BYTES),
        |(times, length)| {
            let value = &big[..length];
            let source = vec!["big"; times].join(" ~ ");
            for (index, result) in evaluations(&source, value).into_iter().enumerate() {
                match result {
                    Ok(text) => {
                        ends.0.set(ends.0.get() + 1);
                        let text = text.as_str().unwrap_or_default().to_owned();
                        let inner = match index {
                            2 => text
                                .strip_prefix('<')
                                .and_then(|text| text.strip_suffix('>')),
                            _ => Some(text.as_str()),
                        };
                        prop_assert!(inner == Some(value.repeat(times).as_str()), "{}", source);
                    }
                    Err(why) => {
                        ends.1.set(ends.1.get() + 1);
                        prop_assert_eq!(why, OUT_OF_FUEL);
                    }
                }
            }
            Ok(())
        },
    );
    assert!(ends.0.get() > 0 && ends.1.get() > 0);
}

/// Expressions within expressions, and long chains of them.
fn deep_and_long() -> Vec<String> {
    let repeated_before = [
        "(",
        "[",
        "{'k': ",
        "-",
        "not ",
        "big if big else ",
        "big[",
        "big(",
    ];
    let closed_by = [")", "]", "}", "", "", "", "]", ")"];
    let repeated_after = ".b  ['b']  [0]  [1:]  ()  .b()  |string   ~ big   + 1   * -1   ** 2   \
        is string   and big   or big   < 2   if big else big   == big   in big";
    let mut sources = Vec::new();
    for bytes in [300_usize, 2000, 16_000] {
        for (open, close) in repeated_before.into_iter().zip(closed_by) {
            let times = bytes / (open.len() + close.len());
            sources.push(format!("{}big{}", open.repeat(times), close.repeat(times)));
        }
        for filter in ["big|default(", "big.b("] {
            let times = bytes / (filter.len() + 1);
            sources.push(format!("{}1{}", filter.repeat(times), ")".repeat(times)));
        }
        for link in repeated_after.split("  ") {
            let times = bytes / link.len().max(1);
            sources.push(format!("big{}", link.repeat(times)));
        }
    }
    sources
}

/// What would use up the machine, were it begun.
const HUGE: [&str; 16] = [
    "big|join(big)",
    "big|split('')|join(big)",
    "big|map('join', big)|join(big)",
    "([big] * 100000000)|join",
    "([big] * 100000000)|tojson",
    "([big] * 100000000)|string|length",
    "([big] * 100000000) ~ ''",
    "([['a'] * 100000000] * 100000000)|md5",
    "([['a'] * 100000000] * 100000000)|upper",
    "(['a'] * 100000000)|last",
    "[big] * 100000000",
    "[[big] * 100000000] * 100000000",
    "[[[1] * 100000000] * 100000000] == [[[1] * 100000000] * 100000000]",
    "[[big] * 100000000] == [[big] * 100000000]",
    "(big * 1000000000)",
    "(big|base64|urlencode|tojson|xmlescape * 100)|base64",
];

/// Where a process of its own finds what it is to evaluate: a file with a JSON list.
const TO_EVALUATE: &str = "TOKEN_SERVER_TEST_TO_EVALUATE";
const EVALUATED: &str = "evaluated: ";

/// Evaluates within 2 GiB and 10 s of processor, on the 2 MiB of stack that a thread of the
/// server has, too.
fn evaluate_within_limits(file: &str) {
    let limit = |resource, most: u64| {
        let maximum = getrlimit(resource).maximum;
        let current = Some(maximum.map_or(most, |maximum| most.min(maximum)));
        setrlimit(resource, Rlimit { current, maximum }).expect("a limit can be lowered");
    };
    limit(Resource::As, 2 << 30);
    limit(Resource::Core, 0);
    let sources = std::fs::read(file).expect("the file is readable");
    let sources: Vec<String> = serde_json::from_slice(&sources).expect("the file is JSON");
    let big = "a".repeat(VALUE_MAX_BYTES);
    let (world, mut out) = (World::new(), std::io::stdout());
    for source in sources {
        let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        let used = u64::try_from(used.tv_sec).expect("time goes forward");
        limit(Resource::Cpu, used + 10);
        drop(evaluations(&source, &big));
        let value = format!("${{ {source} }}");
        let realm = read_realm(json!({
            "url": world.url("/"), "method": "POST", "params": {"big": {}},
            "arguments": [{"name": "x", "place": "body", "value": value}],
            "extra": {"x": source},
        }));
        if let Ok(realm) = realm {
            drop(world.fetch(&realm, &[("big", &big)]));
        }
        writeln!(out, "{EVALUATED}").expect("the output is read");
    }
}

#[test]
fn no_expression_uses_up_the_stack_the_memory_or_the_processor() {
    const THIS: &str =
        "properties::fuel::no_expression_uses_up_the_stack_the_memory_or_the_processor";
    if let Some(file) = std::env::var_os(TO_EVALUATE) {
        return evaluate_within_limits(file.to_str().expect("a path"));
    }
    let mut rest = deep_and_long();
    rest.extend(HUGE.map(str::to_owned));
    let mut fatal = Vec::new();
    while !rest.is_empty() {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        let list = serde_json::to_vec(&rest).expect("texts are JSON");
        file.write_all(&list).expect("it is written");
        let itself = std::env::current_exe().expect("this program");
        let output = std::process::Command::new(itself)
            .args(["--exact", THIS, "--nocapture"])
            .env(TO_EVALUATE, file.path())
            .env("RUST_BACKTRACE", "0")
            .output()
            .expect("it runs again");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let evaluated = said.matches(EVALUATED).count();
        if output.status.success() {
            assert_eq!(evaluated, rest.len(), "{said}");
            break;
        }
        let (source, status) = (&rest[evaluated], output.status);
        fatal.push(format!("{status}, {} bytes: {source:.80}", source.len()));
        rest.drain(..=evaluated);
    }
    assert!(fatal.is_empty(), "{fatal:#?}");
}
