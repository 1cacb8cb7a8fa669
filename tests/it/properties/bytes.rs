//! Byte for byte: what a parameter contains arrives as it is, or is refused.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};
use token_server::realm::expression::Expressions;
use token_server::realm::target::Target;
use token_server::realm::{Realm, Source};

use super::holds;
use super::readers::{at, basic, form, jwt, percent_decoded, query, same, same_all, xml};
use super::scope::words;
use super::values::{
    fits_header, fits_xml, header_values, path_values, unfit_for_xml, values, with_one,
};
use super::world::{World, realm, realm_of};

/// One document with a value in every place that can hold any text.
fn everywhere(world: &World) -> Realm {
    let argument = |name: &str, place: &str, value: Value| json!({"name": name, "place": place, "value": value});
    realm(json!({
        "assertion": {
            "alg": "HS256", "key": "$v", "key_encoding": "utf8", "header": {"kid": "$v"},
            "claims": {
                "whole": "$v", "mixed": "<${v}|${ v }>", "list": ["$v", {"deep": "${ v }"}],
            },
        },
        "steps": [
            {
                "url": world.url("/json/${v}/a-${v}-z?t=${v}&m=a${ v }z"), "method": "POST",
                "client_auth": {
                    "method": "client_secret_basic", "client_id": "$v",
                    "client_secret": "${v}", "encoding": "raw",
                },
                "arguments": [
                    argument("q", "url", json!("$v")),
                    argument("&=+ %", "url", json!("<${v}|${v}>")),
                    argument("ql", "url", json!(["$v", "a${v}z"])),
                    argument("top", "body", json!("$v")),
                    argument("mixed", "body", json!("<${v}|${ v }>")),
                    argument("nested/by/slash", "body", json!("${v}")),
                    argument("nested/of~1name", "body", json!("$v")),
                    argument(
                        "object",
                        "body",
                        json!({"list": ["$v", {"deep": "${ v }"}], "mixed": "a${v}z"}),
                    ),
                    argument("map", "body", json!("${ {'k': [v]} }")),
                    argument("again", "body", json!("${args.top}")),
                    argument("assertion", "body", json!("$assertion")),
                ],
            },
            {
                "url": world.url("/form"), "method": "POST", "content_type": "form",
                "client_auth": {
                    "method": "client_secret_basic", "client_id": "$v", "client_secret": "$v",
                },
                "arguments": [
                    argument("whole", "body", json!("$v")),
                    argument("mixed", "body", json!("<${v}|${ v }>")),
                    argument("list", "body", json!(["$v", "a${v}z"])),
                    argument("again", "body", json!("$v")),
                    argument("again", "body", json!("${v}")),
                    argument("a/b&=", "body", json!("$v")),
                ],
            },
            {
                "url": world.url("/get"), "method": "GET",
                "arguments": [
                    argument("b", "body", json!("$v")),
                    argument("u", "url", json!("a${v}z")),
                ],
            },
            {
                "url": world.url("/text"), "method": "PUT", "content_type": "text",
                "arguments": [argument("a/b", "body", json!(["$v", "<${v}>"]))],
            },
            {
                "url": world.url("/template"), "method": "POST",
                "arguments": [argument("x", "url", json!("$v"))],
                "body": "{\"j\":${v|tojson},\"b\":\"${v|base64}\",\"bu\":\"${v|base64url}\",\
                         \"u\":\"${v|urlencode}\",\"x\":${ args.x|tojson },\
                         \"l\":${ [v, {'k': v}]|tojson },\
                         \"f\":${ [v]|tojson|fromjson|first|tojson }}",
            },
            {
                "url": world.url("/written-form"), "method": "POST", "content_type": "form",
                "body": "a=${v|urlencode}&b=${ ('x' ~ v ~ 'z')|urlencode }",
            },
            {
                "url": world.url("/raw"), "method": "POST", "content_type": "text",
                "body": "$v",
            },
            {
                "url": world.url("/mixed"), "method": "POST", "content_type": "text",
                "body": "<${v}|${ v }>",
            },
            {
                "url": world.url("/post"), "method": "POST", "content_type": "form",
                "client_auth": {
                    "method": "client_secret_post", "client_id": "$v",
                    "client_secret": "a${v}z",
                },
            },
        ],
        "url": world.url("/jwt/${v}"), "method": "POST",
        "client_auth": {"method": "client_secret_jwt", "client_id": "$v"},
    }))
}

#[test]
fn what_a_parameter_contains_arrives_byte_for_byte_wherever_it_stands() {
    let world = World::new();
    let realm = everywhere(&world);
    let logic = world.url("/logic").parse().expect("a URL");
    let logic = realm_of(Source::CustomLogic(logic));
    holds(path_values(), |v| {
        let seen = world.fetched(&realm, &v);
        prop_assert_eq!(seen.len(), 10);
        let mixed = format!("<{v}|{v}>");
        let within = format!("a{v}z");

        let json = &seen[0];
        let steps: Vec<_> = json.path().split('/').map(percent_decoded).collect();
        prop_assert_eq!(steps.len(), 4, "the path has other steps");
        same("path, whole", &steps[2], &v)?;
        same("path, mixed", &steps[3], format!("a-{v}-z"))?;
        let pairs = query(json);
        same_all("query of the URL", &pairs, "t", &[&v])?;
        same_all("query of the URL", &pairs, "m", &[&within])?;
        same_all("query argument", &pairs, "q", &[&v])?;
        same_all("query argument", &pairs, "&=+ %", &[&mixed])?;
        same_all("query argument", &pairs, "ql", &[&v, &within])?;
        prop_assert_eq!(pairs.len(), 6, "the query has other pairs");
        same("client_secret_basic, raw", basic(json), format!("{v}:{v}"))?;
        let body = json.json();
        for (pointer, wanted) in [
            ("/top", &v),
            ("/mixed", &mixed),
            ("/nested/by/slash", &v),
            ("/nested/of~1name", &v),
            ("/object/list/0", &v),
            ("/object/list/1/deep", &v),
            ("/object/mixed", &within),
            ("/map/k/0", &v),
            ("/again", &v),
        ] {
            let found = body.pointer(pointer).and_then(Value::as_str);
            prop_assert_eq!(found, Some(wanted.as_str()), "JSON: {}", pointer);
        }
        let (header, claims) = jwt(body["assertion"].as_str().unwrap_or_default(), &v);
        prop_assert_eq!(header["kid"].as_str(), Some(v.as_str()));
        prop_assert_eq!(&claims["whole"], &json!(v));
        prop_assert_eq!(&claims["mixed"], &json!(mixed));
        prop_assert_eq!(&claims["list"], &json!([v, {"deep": v}]));

        let pairs = form(seen[1].text());
        same_all("form", &pairs, "whole", &[&v])?;
        same_all("form", &pairs, "mixed", &[&mixed])?;
        same_all("form", &pairs, "list", &[&v, &within])?;
        same_all("form", &pairs, "again", &[&v, &v])?;
        same_all("form", &pairs, "a/b&=", &[&v])?;
        prop_assert_eq!(pairs.len(), 7, "the form has other pairs");
        // RFC 6749, section 2.3.1 and appendix B.
        let basic = basic(&seen[1]);
        let (id, password) = basic.split_once(':').unwrap_or_default();
        for part in [id, password] {
            let decoded = percent_decoded(&part.replace('+', " "));
            same("client_secret_basic", decoded, &v)?;
        }

        let pairs = query(&seen[2]);
        same_all("GET", &pairs, "b", &[&v])?;
        same_all("GET", &pairs, "u", &[&within])?;
        prop_assert_eq!(seen[3].json(), json!({"a": {"b": [v, format!("<{v}>")]}}));

        let body = seen[4].json();
        for (name, wanted) in [("j", &v), ("x", &v), ("f", &v)] {
            prop_assert_eq!(&body[name], &json!(wanted), "template: {}", name);
        }
        prop_assert_eq!(&body["l"], &json!([v, {"k": v}]));
        let field = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
        same(
            "base64",
            STANDARD.decode(field("b")).unwrap_or_default(),
            &v,
        )?;
        let decoded = URL_SAFE_NO_PAD.decode(field("bu")).unwrap_or_default();
        same("base64url", decoded, &v)?;
        same("urlencode", percent_decoded(&field("u")), &v)?;
        let pairs = form(seen[5].text());
        same_all("written form", &pairs, "a", &[&v])?;
        same_all("written form", &pairs, "b", &[&format!("x{v}z")])?;
        same("body, whole", &seen[6].body, &v)?;
        same("body, mixed", &seen[7].body, &mixed)?;

        let pairs = form(seen[8].text());
        same_all("client_secret_post", &pairs, "client_id", &[&v])?;
        same_all("client_secret_post", &pairs, "client_secret", &[&within])?;
        let body = seen[9].json();
        prop_assert_eq!(&body["client_id"], &json!(v));
        let (_, claims) = jwt(body["client_assertion"].as_str().unwrap_or_default(), &v);
        prop_assert_eq!(&claims["iss"], &json!(v));
        prop_assert_eq!(&claims["sub"], &json!(v));
        let audience = claims["aud"].as_str().unwrap_or_default();
        let named = audience.rsplit('/').next().unwrap_or_default();
        same("audience", percent_decoded(named), &v)?;

        let seen = world.fetched(&logic, &v);
        prop_assert_eq!(&seen[0].json()["v"], &json!(v), "custom logic");
        Ok(())
    });
}

fn in_headers(world: &World) -> Realm {
    let argument =
        |name: &str, value: &str| json!({"name": name, "place": "header", "value": value});
    realm(json!({
        "url": world.url("/"), "method": "POST", "content_type": "none",
        "arguments": [
            argument("X-Whole", "$v"),
            argument("X-Mixed", "a ${v} z"),
            argument("Authorization", "Bearer ${ v }"),
        ],
    }))
}

#[test]
fn a_header_holds_a_parameter_byte_for_byte() {
    let world = World::new();
    let realm = in_headers(&world);
    holds(header_values(), |v| {
        let seen = world.fetched(&realm, &v);
        same("header, whole", seen[0].header("x-whole"), &v)?;
        same(
            "header, mixed",
            seen[0].header("x-mixed"),
            format!("a {v} z"),
        )?;
        let bearer = format!("Bearer {v}");
        same("authorization", seen[0].header("authorization"), bearer)
    });
}

#[test]
fn what_a_header_cannot_hold_is_refused_and_nothing_is_sent() {
    let world = World::new();
    let realm = in_headers(&world);
    let control = ('\0'..='\u{7f}').filter(|c| !fits_header(*c));
    let control = select(control.collect::<Vec<_>>());
    holds(with_one(header_values(), control), |v| {
        world.refuses(&realm, &v)
    });
}

/// RFC 9110, section 5.5: blanks around a value are no part of it, so a server drops them.
#[test]
fn what_a_header_would_lose_is_refused_and_nothing_is_sent() {
    let world = World::new();
    let realm = in_headers(&world);
    let blanks = || "[ \t]{0,2}";
    let around = (blanks(), header_values(), blanks())
        .prop_map(|(before, value, after)| format!("{before}{value}{after}"))
        .prop_filter("has no blanks around it", |value| {
            value.trim_matches([' ', '\t']) != value
        });
    holds(around, |v| world.refuses(&realm, &v));
}

fn in_xml(world: &World) -> Realm {
    let argument =
        |name: &str, value: Value| json!({"name": name, "place": "body", "value": value});
    realm(json!({
        "url": world.url("/"), "method": "POST", "content_type": "xml",
        "arguments": [
            argument("r/whole", json!("$v")),
            argument("r/mixed", json!("<${v}|${ v }>")),
            argument("r/list", json!(["$v", "a${v}z"])),
            argument("r/object", json!({"deep": {"er": "$v"}})),
        ],
    }))
}

#[test]
fn an_xml_body_holds_a_parameter_character_for_character() {
    let world = World::new();
    let realm = in_xml(&world);
    let kept = |value: String| value.chars().filter(|c| fits_xml(*c)).collect::<String>();
    holds(values().prop_map(kept), |v| {
        let seen = world.fetched(&realm, &v);
        let found = xml(seen[0].text()).expect("the body is XML");
        let (mixed, within) = (format!("<{v}|{v}>"), format!("a{v}z"));
        prop_assert_eq!(at(&found, "/r/whole"), vec![v.as_str()]);
        prop_assert_eq!(at(&found, "/r/mixed"), vec![mixed.as_str()]);
        prop_assert_eq!(at(&found, "/r/list"), vec![v.as_str(), within.as_str()]);
        prop_assert_eq!(at(&found, "/r/object/deep/er"), vec![v.as_str()]);
        Ok(())
    });
}

#[test]
fn what_xml_cannot_hold_is_refused_and_nothing_is_sent() {
    let world = World::new();
    let realm = in_xml(&world);
    holds(with_one(values(), unfit_for_xml()), |v| {
        world.refuses(&realm, &v)
    });
}

fn in_xmlescape(world: &World) -> Realm {
    realm(json!({
        "url": world.url("/"), "method": "POST", "content_type": "xml",
        "body": "<r a=\"${v|xmlescape}\" b='&lt;${v|xmlescape}'><e>a${v|xmlescape}z</e></r>",
    }))
}

/// In an element and in an attribute, whose ends of lines and tabs readers of XML change
/// unless they are written as references (XML 1.0, sections 2.11 and 3.3.3).
#[test]
fn what_xmlescape_writes_into_a_body_is_read_back_unchanged() {
    let world = World::new();
    let realm = in_xmlescape(&world);
    let kept = |value: String| value.chars().filter(|c| fits_xml(*c)).collect::<String>();
    holds(values().prop_map(kept), |v| {
        let seen = world.fetched(&realm, &v);
        let found = xml(seen[0].text()).expect("the body is XML");
        let (within, after) = (format!("a{v}z"), format!("<{v}"));
        prop_assert_eq!(at(&found, "/r/e"), vec![within.as_str()]);
        prop_assert_eq!(at(&found, "/r@a"), vec![v.as_str()]);
        prop_assert_eq!(at(&found, "/r@b"), vec![after.as_str()]);
        Ok(())
    });
}

#[test]
fn what_xmlescape_cannot_write_is_refused_and_nothing_is_sent() {
    let world = World::new();
    let realm = in_xmlescape(&world);
    holds(with_one(values(), unfit_for_xml()), |v| {
        world.refuses(&realm, &v)
    });
}

/// Values that would change a URL around them, were they let.
fn url_values() -> impl Strategy<Value = String> {
    let mut pieces =
        words(r". .. %2e %2E / // \ ? # @ : a b A - _ evil [ ] ::1 80 xn-- é 。 ％ 1 0x7f");
    pieces.extend(["\t", "\n", " "].map(str::to_owned));
    vec(select(pieces), 0..6).prop_map(|pieces| pieces.concat())
}

pub(super) fn target(source: &str, v: &str, w: &str) -> Result<url::Url, String> {
    let expressions = Expressions::new();
    let target = Target::read(source, &expressions).expect("the document's URL");
    let scope = minijinja::Value::from_pairs([("v", v), ("w", w)]);
    target.render(|template| {
        let rendered = expressions.render(template, &scope);
        rendered.map_err(|error| error.to_string())
    })
}

#[test]
fn no_value_in_a_path_changes_the_path_around_it() {
    for (source, step) in [
        ("https://h.example/a/${v}/t?q=1", "v"),
        ("https://h.example/a/${v}${w}/t?q=1", "vw"),
        ("https://h.example/a/.${v}/t?q=1", ".v"),
        ("https://h.example/a/${v}./t?q=1", "v."),
        ("https://h.example/a/%2e${v}/t?q=1", ".v"),
        ("https://h.example/a/x${v}/t?q=1", "xv"),
    ] {
        holds((url_values(), url_values()), |(v, w)| {
            let Ok(url) = target(source, &v, &w) else {
                return Ok(());
            };
            let wanted: String = step
                .chars()
                .map(|c| match c {
                    'v' => v.clone(),
                    'w' => w.clone(),
                    c => c.to_string(),
                })
                .collect();
            prop_assert_eq!(url.host_str(), Some("h.example"));
            prop_assert_eq!(url.query(), Some("q=1"));
            prop_assert_eq!(url.fragment(), None);
            let steps: Vec<_> = url.path().split('/').collect();
            prop_assert_eq!(steps.len(), 4, "{} became {}", source, url.path());
            prop_assert_eq!((steps[1], steps[3]), ("a", "t"));
            same(source, percent_decoded(steps[2]), wanted)
        });
    }
}

#[test]
fn no_value_in_a_host_leads_to_another_domain_or_path() {
    for (source, domain) in [
        ("https://${v}.h.example/t?q=1", ".h.example"),
        ("https://a-${v}.h.example/t?q=1", ".h.example"),
        ("https://${v}${w}.h.example/t?q=1", ".h.example"),
        ("https://h.${v}/t?q=1", ""),
    ] {
        holds((url_values(), url_values()), |(v, w)| {
            let Ok(url) = target(source, &v, &w) else {
                return Ok(());
            };
            let host = url.host_str().unwrap_or_default();
            prop_assert!(host.ends_with(domain), "{}", host);
            prop_assert!(!url.as_str().contains('@'));
            prop_assert_eq!((url.path(), url.query()), ("/t", Some("q=1")));
            prop_assert_eq!(url.port(), None);
            Ok(())
        });
    }
}
