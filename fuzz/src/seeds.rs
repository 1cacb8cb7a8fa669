//! Where the fuzzer starts beside the committed corpus: the presets, and the answers that
//! tests/presets knows for them. `run.sh` asks for them; they are not committed.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use token_server::realm::preset;

use super::answers::{self, Choice, Documents, input};
use super::held::MARK;
use super::pushes::{PushRequest, PushingApp};
use super::sealed_values;
use super::targets::Target;

/// Where to write seeds; then nothing is fuzzed.
const TO: &str = "FUZZ_SEEDS_TO";
/// The folder tests/presets, seen from the root of the project and from fuzz/.
const EXAMPLES: [&str; 2] = ["tests/presets", "../tests/presets"];

pub const PUSHED_AT_S: i64 = 1_700_000_000;

pub fn pushing_app() -> PushingApp {
    let key = "jWmYm7qr5nMoAUwZRjGtBxmz3KA1tkAj3ykkR6q2B2C";
    PushingApp::new("an-app-id", "a-token", Some(key))
}

/// Writes a target's seeds and ends, where that is asked for.
#[allow(clippy::disallowed_methods)] // libFuzzer would go on.
pub fn if_asked(target: Target) {
    let Some(folder) = std::env::var_os(TO).map(PathBuf::from) else {
        return;
    };
    for (index, seed) in (target.seeds)().iter().enumerate() {
        let path = folder.join(format!("seed-{index}"));
        fs::write(path, seed).expect("a seed can be written");
    }
    std::process::exit(0);
}

/// Every preset, every document of this folder; and some with a mark in place of a text.
pub fn realm_documents() -> Vec<Vec<u8>> {
    let presets = preset::all().values().map(|preset| preset.config.clone());
    let own = own_documents();
    let marked = own.iter().flat_map(|config| {
        let texts = count_texts(config);
        (0..texts).map(|index| {
            let mut marked = config.clone();
            mark(&mut marked, &mut index.clone());
            marked
        })
    });
    let presets = presets.chain(marked);
    let all = presets.chain(own.iter().cloned()).chain(other_documents());
    all.map(|config| config.to_string().into_bytes()).collect()
}

fn own_documents() -> Vec<Value> {
    let files = [
        include_str!("../documents/json.json"),
        include_str!("../documents/xml.json"),
        include_str!("../documents/text_headers.json"),
    ];
    let lists = files.map(serde_json::from_str::<Vec<Value>>);
    lists
        .into_iter()
        .flat_map(|list| list.expect("the documents are JSON"))
        .collect()
}

/// What neither presets nor the others have.
fn other_documents() -> Vec<Value> {
    vec![
        json!({"token": "now('ms') ~ uuid() ~ nonce(8)", "default_expires_in_s": 60, "assertion": {"alg": "ES256", "key": "$key_1", "header": {"kid": "${key_2}"}, "claims": {"aud": "x", "iat": null}, "lifetime_s": 60, "iat_skew_s": 5}}),
        json!({"url": "https://${key_1}/t?x=${key_2}", "method": "PUT", "content_type": "xml", "body": "<r>${args.a | xmlescape}</r>", "arguments": [{"name": "x-a", "place": "header", "value": {"a": ["$key_3", 1, true]}, "optional": true}], "tls": {"ca": "$key_4", "client_cert": "$key_1", "client_key": "$key_2"}, "token_path": "t"}),
        json!({"params": {"refresh_token": {"title": "T", "pattern": "[a-z]{3,}", "default": "abc", "secret": false, "optional": true}}, "url": "https://h.example/t", "method": "POST", "token_path": "t", "refresh_token_path": "r", "refresh": {"url": "https://h.example/r", "method": "POST", "retry": "never", "token_path": "u", "expires_in": "body.e"}, "policy": {"renew_before_s": 60, "window_s": 600, "repeat": "extends", "grace_s": 5, "min_flush_interval_s": 5, "quota": [{"limit": 5, "window_s": 60, "scope": "realm", "forced": true}], "concurrency": 2, "timeout_s": 5}}),
        json!({"url": "https://h.example/t", "method": "GET", "steps": [{"url": "https://h.example/s", "method": "GET", "success": "status == 200"}], "arguments": [{"name": "a", "place": "url", "value": "${steps[0].body.x}"}], "token_path": "t", "parent": {"realm": "r", "key": "${key_1}"}, "ticket": {"format": "wechat_xml", "app_id": "$key_1", "token": "$key_2", "aes_key": "$key_3", "valid_s": 600, "resend": {"url": "https://h.example/q", "method": "POST"}}}),
    ]
}

fn count_texts(value: &Value) -> usize {
    match value {
        Value::String(_) => 1,
        Value::Array(items) => items.iter().map(count_texts).sum(),
        Value::Object(fields) => fields.values().map(count_texts).sum(),
        _ => 0,
    }
}

/// Puts the mark into the text of this number.
fn mark(value: &mut Value, left: &mut usize) {
    match value {
        Value::String(text) => {
            if *left == 0 {
                *text = format!("{text} {MARK}");
            }
            *left = left.wrapping_sub(1);
        }
        Value::Array(items) => items.iter_mut().for_each(|item| mark(item, left)),
        Value::Object(fields) => fields.values_mut().for_each(|item| mark(item, left)),
        _ => {}
    }
}

/// The answers of tests/presets by their presets, and some for the documents of this folder.
pub fn json() -> Vec<Vec<u8>> {
    let mut inputs = by_examples(&answers::JSON);
    let bodies = [
        json!({"access_token": "t", "token_type": "bearer", "expires_in": 7200, "refresh_token": "r", "refresh_expires_in": "30d", "scope": "a b", "who": "A"}),
        json!({"access_token": "h.eyJleHAiOjE3NjczMzAyNDV9.s", "expires_at": "2026-01-02T04:04:05Z", "exp": 1_767_330_245, "end": 60, "begin": 1, "ok": true}),
        json!({"code": 0, "data": {"token": "t", "ttl": "24h", "host": "h", "expires": 60000, "list": [{"token": "t"}]}, "list": ["2", 1, null]}),
        json!({"code": 429, "msg": "slow down", "hint": "s3cret/of/key_1", "errors": [{"code": "x", "text": "y"}]}),
        json!({"errcode": 40001, "errmsg": "invalid credential s3cret/of/key_1"}),
        json!({"error": "invalid_grant", "error_description": "s3cret/of/key_2"}),
        json!({"tokens": [" a ", "b"], "ttl": "60", "scope": "a b", "text": "xx", "from": "x", "to": "yy"}),
        json!({"a": "h", "b": "p", "c": "s", "key": "00ff", "pem": "-----BEGIN CERTIFICATE-----"}),
    ];
    for (choice, id) in answers::JSON.choices() {
        for body in bodies.iter().filter(|_| id.is_none()) {
            inputs.push(input(choice, 200, &[], &body.to_string()));
        }
    }
    let headers = [("retry-after", "120"), ("x-expires", "1767330245")];
    inputs.push(input([0, 4], 429, &headers, &bodies[1].to_string()));
    inputs
}

/// What tests/presets says that providers answer.
fn by_examples(documents: &Documents) -> Vec<Vec<u8>> {
    let folder = EXAMPLES
        .map(Path::new)
        .into_iter()
        .find(|path| path.is_dir());
    let folder = folder.expect("tests/presets is there");
    let mut inputs = Vec::new();
    for (choice, id) in documents.choices() {
        let file = id.map(|id| folder.join(format!("{id}.json")));
        let Some(text) = file.and_then(|file| fs::read_to_string(file).ok()) else {
            continue;
        };
        let example: Value = serde_json::from_str(&text).expect("the examples are JSON");
        let exchanges = ["exchanges", "refresh_exchanges"].map(|field| example[field].as_array());
        let exchanges = exchanges.into_iter().flatten().flatten();
        let answers = exchanges.map(|exchange| &exchange["answer"]);
        for answer in answers.chain([&example["failure"]]) {
            if !answer["body"].is_null() {
                inputs.push(example_input(choice, answer));
            }
        }
    }
    inputs
}

fn example_input(choice: Choice, answer: &Value) -> Vec<u8> {
    let status = answer["status"]
        .as_u64()
        .and_then(|status| status.try_into().ok());
    let headers = answer["headers"].as_object().into_iter().flatten();
    let headers: Vec<_> = headers
        .filter_map(|(name, value)| Some((name.as_str(), value.as_str()?)))
        .collect();
    input(
        choice,
        status.unwrap_or(200),
        &headers,
        &answer["body"].to_string(),
    )
}

pub fn xml() -> Vec<Vec<u8>> {
    let bodies = [
        "<answer until=\"2026-01-02T04:04:05Z\" ttl=\"60\"><token>t</token><expires>24h</expires><item id=\"1\"/><item id=\"2\">x</item></answer>",
        "<?xml version=\"1.0\"?><!-- c --><answer><token n=\"1\">a</token><token>b</token><![CDATA[<x>]]>&lt;&#65;</answer>",
        "<answer><code>2</code><message>busy s3cret/of/key_1</message></answer>",
        "<soap:Envelope xmlns:soap=\"s\"><soap:Body><r><token>t</token><end>1767330245</end></r></soap:Body></soap:Envelope>",
        "<soap:Envelope><soap:Body><fault><code>x</code></fault></soap:Body></soap:Envelope>",
        "<xml><access_token><![CDATA[t]]></access_token><errcode>0</errcode></xml>",
        "<!DOCTYPE r [<!ENTITY a \"aa\">]><r>&a;</r>",
    ];
    for_own(&answers::XML, &[], &bodies)
}

pub fn text_headers() -> Vec<Vec<u8>> {
    let headers = [
        ("content-type", "text/plain"),
        ("x-subject-token", "t"),
        ("x-ttl", "3600"),
        ("expires", "Fri, 02 Jan 2026 04:04:05 GMT"),
        ("set-cookie", "session=\"s\"; Path=/; HttpOnly"),
        ("set-cookie", "refresh=r"),
        ("authorization", "Bearer t"),
        ("retry-after", "Fri, 02 Jan 2026 04:04:05 GMT"),
        ("date", "Fri, 02 Jan 2026 03:04:05 GMT"),
        ("x-error", "x"),
        ("content-encoding", "identity"),
    ];
    let bodies = [
        " token ",
        "token=t&expires=60",
        "busy s3cret/of/key_1",
        "{\"t\":\"t\",\"e\":\"1d 12h\",\"token\":{\"expires_at\":\"2026-01-02T04:04:05Z\"}}",
        "{\"error\":{\"code\":401,\"message\":\"no\"}}",
    ];
    for_own(&answers::TEXT_HEADERS, &headers, &bodies)
}

fn for_own(documents: &Documents, headers: &[(&str, &str)], bodies: &[&str]) -> Vec<Vec<u8>> {
    let mut inputs = Vec::new();
    for (choice, _) in documents.choices() {
        for (index, body) in bodies.iter().enumerate() {
            let status = if index == 2 { 403 } else { 200 };
            inputs.push(input(choice, status, headers, body));
        }
    }
    inputs
}

pub fn expiries() -> Vec<Vec<u8>> {
    let values = [
        "7200",
        "\"7200\"",
        "-1",
        "0",
        "1.5",
        "1e300",
        "-1e300",
        "9223372036854775807",
        "18446744073709551615",
        "1767330245",
        "1767330245000",
        "253402300799",
        "24h",
        "1d 12h",
        "30 minutes",
        "500ms",
        "1:02:03",
        "4294967295:4294967295:4294967295",
        "2026-01-02T04:04:05Z",
        "2026-01-02T12:04:05.678+0800",
        "2026-01-02 04:04:05",
        "2026-01-02T04:04",
        "9999-12-31T23:59:59Z",
        "+262142-12-31T23:59:59Z",
        "0001-01-01T00:00:00Z",
        "Fri, 02 Jan 2026 04:04:05 GMT",
        "Friday, 02-Jan-26 04:04:05 GMT",
        "Fri Jan  2 04:04:05 2026",
        "NaN",
        "inf",
        "null",
        "[1]",
        "h.eyJleHAiOjE3NjczMzAyNDV9.s",
    ];
    let policies = [
        [0, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 1, 0],
        [0, 45, 0, 0, 2, 0],
        [0, 0, 0, 15, 3, 0],
        [0, 0, 0, 0, 4, 0],
        [0xff, 0xff, 1, 0, 5, 0],
        [0, 45, 0, 15, 6, 1],
    ];
    let inputs = values
        .iter()
        .flat_map(|value| policies.map(|policy| [&policy[..], value.as_bytes()].concat()));
    inputs.collect()
}

/// Every text of every document, as a template and as a condition.
pub fn expressions() -> Vec<Vec<u8>> {
    let mut texts = Vec::new();
    for preset in preset::all().values() {
        collect_texts(&preset.config, &mut texts);
    }
    for config in own_documents().iter().chain(&other_documents()) {
        collect_texts(config, &mut texts);
    }
    texts.extend(
        [
            "${a}-${b}",
            "a${-1}",
            "${ {'x': [1, 2.5, true, none]} | tojson }",
            "list | map('string') | sort(reverse=true) | join('-')",
            "nested[1].x[0].y ~ long[2:5] ~ list[::-1] | last",
            "a if b > 1 and not d else e is defined",
            "now('%Y-%m-%dT%H:%M:%S', offset_s=60, tz='+08:00')",
            "uuid() ~ nonce(8) ~ now(format='ms')",
            "body | items | list | length",
            "'aaaa' | replace('a', 'bb') | upper",
            "list + list + [0] | join('x')",
            "(b | times(2.5) // 3 % 7 - 1) / 2",
            "text | fromjson | keys | first",
            "a | md5 ~ (a | hmac_sha256('k', encoding='base64url'))",
        ]
        .map(str::to_owned),
    );
    texts.sort();
    texts.dedup();
    let inputs = texts.iter().flat_map(|text| {
        let kinds: &[u8] = if text.contains("${") { &[1] } else { &[0, 1] };
        kinds
            .iter()
            .map(|kind| [&[*kind], text.as_bytes()].concat())
    });
    inputs.collect()
}

fn collect_texts(value: &Value, into: &mut Vec<String>) {
    match value {
        Value::String(text) if text.contains(['$', '.', '|', '[', ' ']) => into.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| collect_texts(item, into)),
        Value::Object(fields) => fields.values().for_each(|item| collect_texts(item, into)),
        _ => {}
    }
}

pub fn pushes() -> Vec<Vec<u8>> {
    let app = pushing_app();
    let at = PUSHED_AT_S;
    let plain = PushingApp::new(&app.app_id, &app.token, None);
    let raw = [
        (0, 0, app.wechat_ticket("ticket@@@one", at)),
        (0, 0, app.wechat_event("authorized", "<Code>c</Code>", at)),
        (0, 0, app.wechat_url_check("12345", at)),
        (1, 0, app.wecom_ticket("ticket", at)),
        (1, 0, app.wecom_url_check("corp", "12345", at)),
        (2, 0, app.feishu_ticket("ticket", at)),
        (2, 0x81, plain.feishu_ticket("ticket", at)),
        (2, 0x81, plain.feishu_url_check("challenge")),
    ];
    let raw = raw.into_iter().map(|(format, way, push)| {
        // Of three ways, 0x81 is the first with the key left out.
        [&[format, way][..], &written(&push)].concat()
    });
    let sealed: [(u8, &str); 5] = [
        (
            0,
            "<xml><AppId>an-app-id</AppId><CreateTime>1700000000</CreateTime><InfoType>component_verify_ticket</InfoType><ComponentVerifyTicket>ticket@@@one</ComponentVerifyTicket></xml>",
        ),
        (
            1,
            "<xml><SuiteId><![CDATA[an-app-id]]></SuiteId><InfoType> <![CDATA[suite_ticket]]></InfoType><TimeStamp>1700000000</TimeStamp><SuiteTicket><![CDATA[t]]></SuiteTicket></xml>",
        ),
        (
            2,
            r#"{"ts":"1700000000.7171419","uuid":"u","token":"a-token","type":"event_callback","event":{"app_id":"an-app-id","app_ticket":"t","type":"app_ticket"}}"#,
        ),
        (
            2,
            r#"{"challenge":"c","token":"a-token","type":"url_verification"}"#,
        ),
        (
            2,
            r#"{"schema":"2.0","header":{"event_type":"app_ticket","token":"a-token","app_id":"an-app-id","create_time":"1700000000000"},"event":{"app_ticket":"t"}}"#,
        ),
    ];
    let sealed = sealed.map(|(format, text)| [&[format, 1], text.as_bytes()].concat());
    let checks = [0, 1, 2].map(|format| [&[format, 2], &b"12345"[..]].concat());
    raw.chain(sealed).chain(checks).collect()
}

fn written(push: &PushRequest) -> Vec<u8> {
    let query = push
        .query
        .iter()
        .map(|(name, value)| format!("{name}={value}\n"));
    let headers = push
        .headers
        .iter()
        .map(|(name, value)| format!("{name}: {value}\n"));
    let lines: String = query.chain(headers).collect();
    [lines.as_bytes(), b"\n", &push.body].concat()
}

pub fn api_keys() -> Vec<Vec<u8>> {
    let texts = [
        "Bearer tsk_0123456789abcdefghijklmnopqrstuvwxyzABCDEFG",
        "bearer  a-key ",
        "Bearer",
        "Bearer ",
        "Basic bmFtZTprZXk=",
        "Basic a2V5Og==",
        "Basic Og==",
        "BASIC bmFtZTprOmV5",
        "Basic /w==",
        "Basic bmFtZQ",
        "Negotiate YII=",
        "name:key",
        "key:",
        ":",
        "n\u{e4}me:schl\u{fc}ssel",
    ];
    texts.map(|text| text.as_bytes().to_vec()).into()
}

pub fn sealed_values() -> Vec<Vec<u8>> {
    let sealed = sealed_values::sealed();
    let whole = [&[0][..], &sealed].concat();
    let cut = whole[..whole.len() - 1].to_vec();
    let changes = [&[1, 0, 1][..], &[1, 3, 1], &[1, 30, 128, 31, 7], &[1, 20]];
    let rings = [
        sealed_values::keys(),
        "k1:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\n",
        "k1:short",
        ":AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=",
        "no colon",
        " , \n",
    ];
    let rings = rings.map(|text| [&[2][..], text.as_bytes()].concat());
    let mut inputs = vec![whole, cut];
    inputs.extend(changes.map(<[u8]>::to_vec));
    inputs.extend(rings);
    inputs
}

/// The defaults, each line of them by itself, the keys that are commented out, and variables.
pub fn configurations() -> Vec<Vec<u8>> {
    let defaults = include_str!("../../config/default.toml");
    let of = |way: u8, text: &str| [&[way], text.as_bytes()].concat();
    let mut inputs = Vec::new();
    let mut section = "";
    for line in defaults.lines() {
        let line = line.strip_prefix("# ").unwrap_or(line);
        let name = line
            .strip_prefix('[')
            .and_then(|line| line.strip_suffix(']'));
        if let Some(name) = name {
            section = name;
        } else if let Some((key, value)) = line.split_once(" = ")
            && key.chars().all(|c| c.is_ascii_lowercase() || c == '_')
        {
            inputs.push(of(0, &format!("[{section}]\n{line}\n")));
            let value = value.trim_matches('"');
            let variable = format!("{section}__{key}={value}\n").to_uppercase();
            inputs.push(of(1, &variable));
        }
    }
    let texts = [
        "log = 1\n",
        "[log]\nformat = \"json\"\nfilter = \"info,a=debug\"\n",
        "[sealing]\ncommand = [\"vault\", \"read\"]\n",
        "[upstream]\nallowed_networks = \"10.0.0.0/8, ::1/128\"\n",
        "data_dir = \"\"\"a\nb\"\"\"\n",
    ];
    inputs.extend(texts.map(|text| of(0, text)));
    let values = [
        "",
        "0123456789abcdef0123456789abcdef",
        "k1:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=,",
        "[\"vault\", \"read\"]",
        "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz",
    ];
    inputs.extend(values.map(|text| of(2, text)));
    inputs
}
