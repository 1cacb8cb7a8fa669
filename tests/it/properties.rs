//! What holds for every value and every expression: they are generated, not chosen. Where a
//! property fails, proptest prints the smallest input it found.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hmac::{KeyInit, Mac};
use percent_encoding::percent_decode_str;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestCaseResult, TestRunner};
use quick_xml::XmlVersion;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::Event;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use token_server::foundation::clock::{EpochMs, ManualClock, Ms};
use token_server::foundation::ids::{KeyName, RealmId, SecretId, Version};
use token_server::foundation::randomness::Randomness;
use token_server::realm::document::ProviderDocument;
use token_server::realm::expression::Expressions;
use token_server::realm::failure::{Failure, FailureClass};
use token_server::realm::target::Target;
use token_server::realm::{Realm, Source};
use token_server::secret::Secret;
use token_server::secret::params::{ParamChange, Params, VALUE_MAX_BYTES};
use token_server::upstream::egress::{Egress, SystemNames};
use token_server::upstream::{Obtained, Previous, Upstream, UpstreamSettings};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};

/// Generated inputs of one property.
const CASES: u32 = 96;
/// Fuel of one evaluation, times the bytes that one fuel pays for.
const RESULT_MAX_BYTES: usize = 50_000 * 64;
const OUT_OF_FUEL: &str = "takes more steps than an expression may";
/// The same answer to a provider's realm and to custom logic.
const ANSWER: &str = r#"{"access_token":"issued","token":"issued","expires_in":7200}"#;

fn holds<S: Strategy>(inputs: S, property: impl Fn(S::Value) -> TestCaseResult) {
    let config = Config {
        cases: CASES,
        failure_persistence: None,
        ..Config::default()
    };
    if let Err(failure) = TestRunner::new(config).run(&inputs, property) {
        panic!("{failure}");
    }
}

// ---- A provider that keeps the bytes it was sent ----

#[derive(Debug, Default)]
struct Recorded {
    target: String,
    /// Names in lower case; values without the blanks around them (RFC 9112, section 5).
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
}

impl Recorded {
    fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    fn query(&self) -> &str {
        self.target.split_once('?').map_or("", |(_, query)| query)
    }

    fn header(&self, name: &str) -> &[u8] {
        let mut found = self.headers.iter().filter(|(known, _)| known == name);
        found.next().map_or(b"", |(_, value)| value)
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("the body is JSON")
    }

    fn text(&self) -> &str {
        str::from_utf8(&self.body).expect("the body is UTF-8")
    }

    async fn read(stream: &mut BufReader<TcpStream>) -> Option<Self> {
        let mut recorded = Self::default();
        let mut length = 0;
        loop {
            let mut line = Vec::new();
            stream.read_until(b'\n', &mut line).await.ok()?;
            let line = line.strip_suffix(b"\r\n")?;
            if recorded.target.is_empty() {
                let line = str::from_utf8(line).ok()?;
                recorded.target = line.split(' ').nth(1)?.to_owned();
            } else if line.is_empty() {
                break;
            } else {
                let colon = line.iter().position(|byte| *byte == b':')?;
                let name = str::from_utf8(&line[..colon]).ok()?.to_ascii_lowercase();
                let value = line[colon + 1..].trim_ascii();
                if name == "content-length" {
                    length = str::from_utf8(value).ok()?.parse().ok()?;
                }
                recorded.headers.push((name, value.to_vec()));
            }
        }
        recorded.body.resize(length, 0);
        stream.read_exact(&mut recorded.body).await.ok()?;
        Some(recorded)
    }
}

/// Answers 400 below `/refuse`, and a token elsewhere.
async fn serve(stream: TcpStream, seen: Arc<Mutex<Vec<Recorded>>>) {
    let mut stream = BufReader::new(stream);
    while let Some(recorded) = Recorded::read(&mut stream).await {
        let status = match recorded.path().starts_with("/refuse") {
            true => "400 Bad Request",
            false => "200 OK",
        };
        seen.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(recorded);
        let length = ANSWER.len();
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{ANSWER}");
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// The way to a provider, and the provider.
struct World {
    runtime: Runtime,
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Recorded>>>,
    upstream: Upstream,
}

impl World {
    fn new() -> Self {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let seen = Arc::<Mutex<Vec<Recorded>>>::default();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"));
        let listener = listener.expect("a port");
        let address = listener.local_addr().expect("an address");
        let kept = Arc::clone(&seen);
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&kept)));
            }
        });
        let settings = UpstreamSettings {
            egress: Egress::new(["127.0.0.0/8".parse().expect("a network")]),
            names: Arc::new(SystemNames),
            authorities: Vec::new(),
            timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(10),
            late_answer: Duration::ZERO,
            max_answer_bytes: 64 * 1024,
        };
        let clock = Arc::new(ManualClock::at(EpochMs(1_800_000_000_000)));
        Self {
            upstream: Upstream::new(&settings, clock, Randomness::seeded(1)).expect("a client"),
            runtime,
            address,
            seen,
        }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// What the provider was sent since the last time.
    fn seen(&self) -> Vec<Recorded> {
        std::mem::take(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Obtains a token, and says what was sent for it.
    fn fetch(
        &self,
        realm: &Realm,
        params: &[(&str, &str)],
    ) -> (Result<Obtained, Failure>, Vec<Recorded>) {
        let (secret, previous) = (secret(params), Previous::default());
        let limit = self.upstream.time_limit(Ms::from_secs(30));
        let fetching = self.upstream.fetch(realm, &secret, &previous, limit);
        (self.runtime.block_on(fetching), self.seen())
    }

    fn fetched(&self, realm: &Realm, value: &str) -> Vec<Recorded> {
        let (obtained, seen) = self.fetch(realm, &[("v", value), ("w", "expanded")]);
        assert!(obtained.is_ok(), "{:?}", obtained.map(|_| ()));
        seen
    }

    /// Nothing was sent, and the reason is this server's own and does not repeat the value.
    fn refuses(&self, realm: &Realm, value: &str) -> TestCaseResult {
        let (obtained, seen) = self.fetch(realm, &[("v", value)]);
        prop_assert_eq!(seen.len(), 0, "something was sent");
        let failure = obtained.map(|_| ()).expect_err("nothing was sent");
        prop_assert_eq!(failure.class, FailureClass::Ours, "{}", failure.detail);
        prop_assert!(!failure.sent, "{}", failure.detail);
        let telling = value.chars().count() >= 8;
        prop_assert!(!(telling && failure.detail.contains(value)));
        Ok(())
    }
}

fn realm_of(source: Source) -> Realm {
    Realm {
        id: RealmId::new("r").expect("a name"),
        comment: None,
        config: None,
        logic_code: None,
        source,
        version: Version(1),
        blocked_until: None,
        created_at: EpochMs(0),
        updated_at: EpochMs(0),
    }
}

/// A realm of one parameter `v`, where the document does not say otherwise.
fn read_realm(mut config: Value) -> Result<Realm, Vec<String>> {
    let fields = config.as_object_mut().expect("a document is an object");
    let own = json!({"v": {}, "w": {"optional": true}});
    fields.entry("params").or_insert(own);
    fields.entry("token_path").or_insert(json!("access_token"));
    fields
        .entry("expires_in_path")
        .or_insert(json!("expires_in"));
    let document = ProviderDocument::read(&config, &Expressions::new());
    match document {
        Ok(document) => Ok(realm_of(Source::Provider(Box::new(document)))),
        Err(faults) => Err(faults.iter().map(ToString::to_string).collect()),
    }
}

fn realm(config: Value) -> Realm {
    read_realm(config).unwrap_or_else(|faults| panic!("{faults:?}"))
}

fn secret(params: &[(&str, &str)]) -> Secret {
    let mut open = Params::default();
    let set = |(name, value): &(&str, &str)| {
        let change = ParamChange::Set(SecretString::from(*value));
        ((*name).to_owned(), change)
    };
    open.merge(params.iter().map(set));
    Secret {
        id: SecretId(1),
        realm: RealmId::new("r").expect("a name"),
        key: KeyName::new("k").expect("a name"),
        params: open,
        version: Version(1),
        created_at: EpochMs(0),
        updated_at: EpochMs(0),
    }
}

// ---- Values ----

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
fn values() -> impl Strategy<Value = String> {
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
fn path_values() -> impl Strategy<Value = String> {
    values().prop_filter("leads to another path", |value| {
        value != "." && value != ".."
    })
}

/// XML 1.0, section 2.2.
fn fits_xml(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

fn unfit_for_xml() -> impl Strategy<Value = char> {
    let unfit = ('\0'..='\u{ffff}').filter(|c| !fits_xml(*c));
    select(unfit.collect::<Vec<_>>())
}

/// RFC 9110, section 5.5: visible characters, blanks, and what lies above ASCII.
fn fits_header(c: char) -> bool {
    c == '\t' || !c.is_ascii_control()
}

fn header_values() -> impl Strategy<Value = String> {
    let kept = |value: String| {
        let kept: String = value.chars().filter(|c| fits_header(*c)).collect();
        kept.trim_matches([' ', '\t']).to_owned()
    };
    values()
        .prop_map(kept)
        .prop_filter("is empty", |value| !value.is_empty())
}

/// A value with one character more, anywhere.
fn with_one(
    values: impl Strategy<Value = String>,
    more: impl Strategy<Value = char>,
) -> impl Strategy<Value = String> {
    (values, more, any::<prop::sample::Index>()).prop_map(|(value, c, at)| {
        let mut chars: Vec<char> = value.chars().collect();
        chars.insert(at.index(chars.len() + 1), c);
        chars.into_iter().collect()
    })
}

// ---- Readers of what was sent, which share nothing with what wrote it ----

fn same(place: &str, found: impl AsRef<[u8]>, wanted: impl AsRef<[u8]>) -> TestCaseResult {
    let (found, wanted) = (found.as_ref(), wanted.as_ref());
    prop_assert_eq!(
        String::from_utf8_lossy(found),
        String::from_utf8_lossy(wanted),
        "{}",
        place
    );
    prop_assert_eq!(found, wanted, "{}", place);
    Ok(())
}

fn percent_decoded(text: &str) -> Vec<u8> {
    percent_decode_str(text).collect()
}

/// Names and values of a form, as a browser would write it: `+` is a blank.
fn form(text: &str) -> Vec<(String, Vec<u8>)> {
    let decode = |text: &str| percent_decoded(&text.replace('+', " "));
    let pairs = text.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = String::from_utf8(decode(name)).expect("names are text");
            (name, decode(value))
        })
        .collect()
}

/// The only value of a name, or all of them.
fn all_of<'a>(pairs: &'a [(String, Vec<u8>)], name: &str) -> Vec<&'a [u8]> {
    let named = pairs.iter().filter(|(known, _)| known == name);
    named.map(|(_, value)| value.as_slice()).collect()
}

fn same_all(
    place: &str,
    pairs: &[(String, Vec<u8>)],
    name: &str,
    wanted: &[&str],
) -> TestCaseResult {
    let found = all_of(pairs, name);
    prop_assert_eq!(found.len(), wanted.len(), "{}: {}", place, name);
    for (found, wanted) in found.iter().zip(wanted) {
        same(&format!("{place}: {name}"), found, wanted)?;
    }
    Ok(())
}

/// A query means the same to those who take `+` for a blank and those who do not.
fn query(recorded: &Recorded) -> Vec<(String, Vec<u8>)> {
    let query = recorded.query();
    assert!(!query.contains('+'), "a + in a query means two things");
    let pairs = form(query);
    let by_url = url::form_urlencoded::parse(query.as_bytes());
    let same = by_url.map(|(name, value)| (name.into_owned(), value.into_owned().into_bytes()));
    assert_eq!(pairs, same.collect::<Vec<_>>());
    pairs
}

/// Texts and attributes of a document by their place, as any reader of XML sees them.
fn xml(text: &str) -> Result<Vec<(String, String)>, quick_xml::Error> {
    let mut reader = quick_xml::Reader::from_str(text);
    let mut open: Vec<(String, String)> = Vec::new();
    let mut found = Vec::new();
    loop {
        match reader.read_event()? {
            Event::Start(start) => {
                let above = open.last().map_or("", |(path, _)| path.as_str());
                let path = format!("{above}/{}", start.name().as_ref());
                for attribute in start.attributes() {
                    let attribute = attribute?;
                    let value = attribute.normalized_value(XmlVersion::Implicit1_0)?;
                    let name = format!("{path}@{}", attribute.key.as_ref());
                    found.push((name, value.into_owned()));
                }
                open.push((path, String::new()));
            }
            Event::End(_) => found.extend(open.pop()),
            Event::Text(text) => add(&mut open, &text.xml10_content()),
            Event::CData(text) => add(&mut open, &text.xml10_content()),
            Event::GeneralRef(reference) => {
                let character = reference.resolve_char_ref()?.map(String::from);
                let named = || resolve_predefined_entity(&reference).map(str::to_owned);
                let text = character.or_else(named);
                add(&mut open, &text.expect("only entities of XML itself"));
            }
            Event::Eof => return Ok(found),
            _ => {}
        }
    }
}

fn add(open: &mut [(String, String)], text: &str) {
    if let Some((_, all)) = open.last_mut() {
        all.push_str(text);
    }
}

fn at<'a>(found: &'a [(String, String)], path: &str) -> Vec<&'a str> {
    let there = found.iter().filter(|(known, _)| known == path);
    there.map(|(_, text)| text.as_str()).collect()
}

fn basic(recorded: &Recorded) -> String {
    let header = str::from_utf8(recorded.header("authorization")).expect("ASCII");
    let encoded = header.strip_prefix("Basic ").expect("Basic");
    let plain = STANDARD.decode(encoded).expect("Base64");
    String::from_utf8(plain).expect("UTF-8")
}

/// Header and claims of a JWT whose HMAC is right.
fn jwt(token: &str, key: &str) -> (Value, Value) {
    let parts: Vec<&str> = token.split('.').collect();
    let [header, claims, signature] = parts[..] else {
        panic!("a JWT has three parts");
    };
    let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).expect("Base64url");
    let mut mac = hmac::Hmac::<sha2::Sha256>::new_from_slice(key.as_bytes()).expect("any key");
    mac.update(format!("{header}.{claims}").as_bytes());
    mac.verify_slice(&decode(signature)).expect("the signature");
    let json = |part: &str| serde_json::from_slice(&decode(part)).expect("JSON");
    (json(header), json(claims))
}

// ---- 1. Byte for byte ----

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

fn target(source: &str, v: &str, w: &str) -> Result<url::Url, String> {
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

// ---- 2. Nothing but what is in scope ----

/// The filters that are documented.
const FILTERS: &str = "\
    base64 base64url default first float fromjson hmac_md5 hmac_sha1 hmac_sha256 int items \
    join keys last length list lower map md5 replace rsa_sha256 sha1 sha256 sort \
    spki_sha256 split string tojson trim upper urlencode values xmlescape";
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
    known(set(KNOWN_FILTERS), set(FILTERS), "a|NAME");
    known(set(KNOWN_TESTS), set(TESTS), "a is NAME");
    // The name of a filter may be a text, which is looked up when it is used.
    for name in set(KNOWN_FILTERS).difference(&set(FILTERS)) {
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
    let filters = [words(KNOWN_FILTERS), words(FILTERS)].concat();
    let ours = words(FILTERS);
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

fn words(text: &str) -> Vec<String> {
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
                    shown.push(obtained.extra.to_string());
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

// ---- 3. Fuel ----

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
    let filters = "join  join(',')  list  sort  string  tojson  fromjson  base64  urlencode  \
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
        big|split('')|map('replace', 'a', big)|join  CHAIN  (CHAIN)|upper";
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
        assert_eq!(failure.class, FailureClass::Ours, "{value}");
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
    const THIS: &str = "properties::no_expression_uses_up_the_stack_the_memory_or_the_processor";
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

// ---- 4. One pass ----

/// A value that is a template of all other parameters.
fn templates_of_others(names: &'static [&'static str]) -> impl Strategy<Value = String> {
    let forms = "$NAME  ${NAME}  ${ NAME }  ${ NAME|upper }  <${NAME}>  {{ NAME }}  \
        {% if NAME %}x{% endif %}  ${ NAME ~ ' }  $${NAME}  \\${NAME}  ${${NAME}}  \
        %24%7BNAME%7D  &#36;{NAME}  \\u0024{NAME}  ${ args.NAME }  ${ 'NAME' }";
    let forms: Vec<_> = forms.split("  ").collect();
    let one =
        |name: &'static str| select(forms.clone()).prop_map(move |form| form.replace("NAME", name));
    let all: Vec<_> = names.iter().map(|name| one(name)).collect();
    let glue = select(vec!["", " ", "\n", "}", "${"]);
    (all, glue).prop_map(|(all, glue)| all.join(glue))
}

#[test]
fn a_parameter_that_is_itself_a_template_is_never_rendered_again() {
    const OTHERS: [&str; 8] = [
        "w",
        "x",
        "token",
        "args",
        "assertion",
        "now()",
        "uuid()",
        "body",
    ];
    let world = World::new();
    let realm = realm(json!({
        "params": {"v": {}, "w": {}, "x": {}},
        "steps": [{
            "url": world.url("/?q=${v}"), "method": "POST",
            "arguments": [
                {"name": "w", "place": "body", "value": "$w"},
                {"name": "once", "place": "body", "value": "$v"},
                {"name": "mixed", "place": "body", "value": "<${v}>"},
                {"name": "again", "place": "body", "value": "${args.once}"},
                {"name": "within", "place": "body", "value": "<${args.once}>"},
                {"name": "read", "place": "body", "value": "${ v|tojson|fromjson }"},
                {"name": "mapped", "place": "body", "value": "${ [v]|map('string')|join }"},
            ],
        }],
        "url": world.url("/"), "method": "POST", "content_type": "text",
        "arguments": [{"name": "once", "place": "url", "value": "$v"}],
        "body": "<${args.once}>",
        "extra": {"v": "v"},
        "token_template": "<${v}|${token}|${extra.v}>",
    }));
    let expressions = Expressions::new();
    holds(templates_of_others(&OTHERS), |v| {
        let scope = minijinja::Value::from_pairs([("v", v.as_str()), ("w", "expanded")]);
        for source in [
            "$v",
            "${ v }",
            "${v}",
            "${ v|string }",
            "${ [v]|join }",
            "${ v ~ '' }",
        ] {
            let template = expressions.template(source).expect("well-formed");
            let rendered = expressions
                .render(&template, &scope)
                .expect("it has a value");
            prop_assert_eq!(rendered.as_str(), Some(v.as_str()), "{}", source);
        }
        let params = [("v", v.as_str()), ("w", "expanded"), ("x", "expanded")];
        let (obtained, seen) = world.fetch(&realm, &params);
        let obtained = obtained.expect("a token");
        same_all("query", &query(&seen[0]), "q", &[&v])?;
        let (body, within) = (seen[0].json(), format!("<{v}>"));
        for (name, wanted) in [
            ("once", &v),
            ("again", &v),
            ("read", &v),
            ("mapped", &v),
            ("mixed", &within),
            ("within", &within),
        ] {
            prop_assert_eq!(body[name].as_str(), Some(wanted.as_str()), "{}", name);
        }
        same("body", &seen[1].body, &within)?;
        prop_assert_eq!(&obtained.extra["v"], &json!(v));
        let served = obtained
            .served
            .map(|served| served.expose_secret().to_owned());
        prop_assert_eq!(served, Some(format!("<{v}|issued|{v}>")));
        Ok(())
    });
}
