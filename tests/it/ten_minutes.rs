//! `docs/a-realm-in-ten-minutes.md` is true: its commands are run in its order and on its
//! documents, against providers that behave as it says, and what it shows is answered.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};
use token_server::foundation::clock::{Clock, EpochMs, ManualClock, Ms};

use crate::kit::documented::with_keys;
use crate::kit::internet::{Arrived, Internet, Response};
use crate::kit::server::{Client, Options};
use crate::kit::{Reply, Server, TestDatabase, eventually, on_every_database};

on_every_database! {
    every_command_of_the_page_is_answered_as_the_page_shows,
    the_plain_realm_sends_a_scope_where_a_secret_has_one_and_needs_no_error_codes,
    the_signed_realm_signs_each_request_anew_and_its_codes_have_their_classes,
    the_keyed_realm_uses_each_refresh_token_once_and_signs_again_where_one_is_refused,
    the_derived_token_comes_from_the_instance_and_a_refused_parent_is_replaced,
    every_line_of_the_table_is_a_realm_that_makes_a_request,
}

/// 2026-01-02T03:04:05.678Z, when the page was written.
const NOW_MS: i64 = 1_767_323_045_678;
/// Stands on the page for what is left out or differs.
const LEFT_OUT: &str = "…";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn page_file() -> PathBuf {
    root().join("docs/a-realm-in-ten-minutes.md")
}

/// What the page holds beside prose. Info strings, which no reader sees, say what a block is.
#[derive(Default)]
struct Page {
    /// Blocks `json file=NAME`.
    files: BTreeMap<String, Value>,
    /// Blocks `sh run`, each with the block `json answer` after it.
    runs: Vec<Run>,
    /// Second cells of the last table.
    written: Vec<String>,
    text: String,
}

struct Run {
    commands: Vec<String>,
    /// Of the last command.
    answer: Option<Value>,
}

impl Page {
    fn read() -> Self {
        let text = fs::read_to_string(page_file()).expect("the page is there");
        let mut page = Self::default();
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            if let Some(info) = line.strip_prefix("```") {
                let block: Vec<_> = lines.by_ref().take_while(|line| *line != "```").collect();
                page.block(info, &block);
            } else if let Some(row) = line.strip_prefix("| ") {
                let row = row.replace("\\|", "\0");
                let (_, written) = row.split_once(" | ").expect("a row has two cells");
                if row.starts_with("your provider") {
                    page.written.clear();
                }
                page.written.push(written.replace('\0', "|"));
            }
        }
        page.text = text;
        page
    }

    fn block(&mut self, info: &str, lines: &[&str]) {
        let json = || {
            serde_json::from_str(&lines.join("\n"))
                .unwrap_or_else(|error| panic!("{info}: {error}: {}", lines.join("\n")))
        };
        match info {
            "sh run" => self.runs.push(Run {
                commands: lines.iter().map(|line| (*line).to_owned()).collect(),
                answer: None,
            }),
            "json answer" => {
                let run = self.runs.last_mut().expect("an answer follows a command");
                assert!(run.answer.is_none(), "a command has one answer");
                run.answer = Some(json());
            }
            // The functions that the commands are made of: `Scene::command` stands for them.
            "sh" => {}
            _ => {
                let name = info.strip_prefix("json file=");
                let name = name.unwrap_or_else(|| panic!("what is a block {info:?}?"));
                let mut document = json();
                with_private_key(&mut document);
                self.files.insert(name.to_owned(), document);
            }
        }
    }

    fn file(&self, name: &str) -> Value {
        let file = self.files.get(name);
        file.unwrap_or_else(|| panic!("the page has no {name}"))
            .clone()
    }

    /// A secret's parameters, with some of another value.
    fn params(&self, realm: &str, other: &Value) -> Value {
        let secret = self.file(&format!("{realm}.secret.json"));
        merged(secret["params"].clone(), other)
    }
}

/// The page shows only how a key begins.
fn with_private_key(document: &mut Value) {
    let Some(key) = document.pointer_mut("/params/private_key") else {
        return;
    };
    let begins = key.as_str().is_some_and(|key| key.ends_with(LEFT_OUT));
    assert!(begins, "a key of a page is nobody's key");
    *key = json!(with_keys("{{rsa_private_key}}"));
}

/// As `*` of jq: objects are merged, all else is replaced.
fn merged(base: Value, over: &Value) -> Value {
    match (base, over) {
        (Value::Object(mut base), Value::Object(over)) => {
            for (name, value) in over {
                let below = base.remove(name).unwrap_or_default();
                base.insert(name.clone(), merged(below, value));
            }
            Value::Object(base)
        }
        (_, over) => over.clone(),
    }
}

/// Every difference between what is shown and what was answered.
fn compare(at: &str, shown: &Value, real: &Value, differences: &mut Vec<String>) {
    match (shown, real) {
        (Value::String(text), _) if text == LEFT_OUT => {}
        (Value::Object(shown), Value::Object(real)) => {
            for (name, value) in shown.iter().filter(|(name, _)| *name != LEFT_OUT) {
                match real.get(name) {
                    Some(real) => compare(&format!("{at}.{name}"), value, real, differences),
                    None => differences.push(format!("{at}.{name} is not answered")),
                }
            }
            let open = shown.contains_key(LEFT_OUT);
            for name in real
                .keys()
                .filter(|name| !open && !shown.contains_key(*name))
            {
                differences.push(format!("{at}.{name} is not shown"));
            }
        }
        (Value::Array(shown), Value::Array(real)) => {
            let gap = shown.iter().position(|item| item == LEFT_OUT);
            let (before, after) = match gap {
                Some(gap) => (&shown[..gap], &shown[gap + 1..]),
                None => (&shown[..], &[][..]),
            };
            let fits = before.len() + after.len();
            if real.len() < fits || gap.is_none() && real.len() > fits {
                differences.push(format!("{at} has {} items", real.len()));
                return;
            }
            let last = real.len() - after.len();
            let pairs = before
                .iter()
                .zip(real)
                .chain(after.iter().zip(&real[last..]));
            for (index, (shown, real)) in pairs.enumerate() {
                compare(&format!("{at}[{index}]"), shown, real, differences);
            }
        }
        _ if shown == real => {}
        _ => differences.push(format!("{at}: shown {shown}, answered {real}")),
    }
}

/// The providers of the page, as it describes them.
#[derive(Clone)]
struct Providers {
    clock: Arc<ManualClock>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    arrived: Vec<Arrived>,
    issued: BTreeMap<&'static str, usize>,
    /// What the gateway answers next instead of a token.
    code: Option<String>,
    nonces: BTreeSet<String>,
    assertions: BTreeSet<String>,
    refresh_token: Option<String>,
    /// The token that the instance takes.
    session: Option<String>,
}

impl State {
    fn next(&mut self, name: &'static str) -> String {
        let issued = self.issued.entry(name).or_default();
        *issued += 1;
        format!("{name}-{issued}")
    }
}

fn answer(status: u16, body: &Value) -> Response {
    Response {
        status,
        headers: vec![("content-type".to_owned(), "application/json".to_owned())],
        body: body.to_string().into_bytes(),
    }
}

fn refused(error: &str) -> Response {
    let status = if error == "invalid_client" { 401 } else { 400 };
    answer(status, &json!({"error": error}))
}

fn form(arrived: &Arrived) -> BTreeMap<String, String> {
    let form = url::form_urlencoded::parse(&arrived.body);
    form.into_owned().collect()
}

impl Providers {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics with the lock")
    }

    fn now_s(&self) -> i64 {
        self.clock.now().0 / 1000
    }

    /// Requests to a host, in the order they came.
    fn arrived(&self, host: &str) -> Vec<Arrived> {
        let start = format!("https://{host}.provider.example/");
        let state = self.state();
        let of_host = state
            .arrived
            .iter()
            .filter(|arrived| arrived.url.starts_with(&start));
        of_host.cloned().collect()
    }

    fn answer(&self, arrived: Arrived) -> Response {
        self.state().arrived.push(arrived.clone());
        match (arrived.method.as_str(), arrived.url.as_str()) {
            ("POST", "https://auth.provider.example/oauth2/token") => self.plain(&arrived),
            ("POST", "https://open.provider.example/gateway/token") => self.gateway(&arrived),
            ("POST", "https://login.provider.example/oauth2/token") => self.login(&arrived),
            ("GET", "https://eu7.provider.example/api/upload-token") => self.instance(&arrived),
            _ => answer(404, &json!({})),
        }
    }

    fn plain(&self, arrived: &Arrived) -> Response {
        let credentials = STANDARD.encode("shop-app:8d1f6c0a93b24e57");
        if arrived.headers.get("authorization") != Some(&format!("Basic {credentials}")) {
            return refused("invalid_client");
        }
        let form = form(arrived);
        if form.get("grant_type").map(String::as_str) != Some("client_credentials") {
            return refused("unsupported_grant_type");
        }
        let token = self.state().next("plain-access-token");
        answer(
            200,
            &json!({"access_token": token, "token_type": "Bearer", "expires_in": 3600}),
        )
    }

    fn gateway(&self, arrived: &Arrived) -> Response {
        let refused =
            |code: &str, message: &str| answer(200, &json!({"code": code, "message": message}));
        if let Some(code) = self.state().code.take() {
            return refused(&code, "as the test says");
        }
        let mut sent: BTreeMap<String, String> =
            serde_json::from_slice(&arrived.body).unwrap_or_default();
        let sign = sent.remove("sign").unwrap_or_default();
        if sent.get("app_id").map(String::as_str) != Some("1001") {
            return refused("10001", "no such app");
        }
        let pairs: Vec<_> = sent
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, b"b7e29c4415f04a0d");
        let tag = aws_lc_rs::hmac::sign(&key, pairs.join("&").as_bytes());
        let wanted: String = tag
            .as_ref()
            .iter()
            .map(|byte| format!("{byte:02X}"))
            .collect();
        if sign != wanted {
            return refused("10002", "wrong signature");
        }
        let written = sent.get("timestamp").map_or("", String::as_str);
        let local = chrono::NaiveDateTime::parse_from_str(written, "%Y-%m-%d %H:%M:%S");
        let sent_s = local.map(|local| local.and_utc().timestamp() - 8 * 3600);
        let nonce = sent.get("nonce").cloned().unwrap_or_default();
        let fresh = sent_s.is_ok_and(|sent_s| (sent_s - self.now_s()).abs() <= 300);
        let mut state = self.state();
        if !fresh || nonce.is_empty() || !state.nonces.insert(nonce) {
            return refused("10003", "stale");
        }
        let token = state.next("signed-access-token");
        let end = (self.clock.now().0 + 7_200_000).to_string();
        answer(
            200,
            &json!({"code": "0", "message": "ok", "data": {"token": token, "expireTime": end}}),
        )
    }

    fn login(&self, arrived: &Arrived) -> Response {
        let form = form(arrived);
        let field = |name: &str| form.get(name).map_or("", String::as_str);
        if field("client_id") != "crm-app" {
            return refused("invalid_client");
        }
        let good = match field("grant_type") {
            "urn:ietf:params:oauth:grant-type:jwt-bearer" => self.takes(field("assertion")),
            "refresh_token" => {
                let spent = self.state().refresh_token.take();
                spent.as_deref() == Some(field("refresh_token"))
            }
            _ => return refused("unsupported_grant_type"),
        };
        if !good {
            return refused("invalid_grant");
        }
        let mut state = self.state();
        let token = state.next("keyed-access-token");
        let refresh_token = state.next("keyed-refresh-token");
        state.session = Some(token.clone());
        state.refresh_token = Some(refresh_token.clone());
        answer(
            200,
            &json!({
                "access_token": token, "token_type": "Bearer", "expires_in": 1800,
                "instance_url": "https://eu7.provider.example",
                "refresh_token": refresh_token, "refresh_expires_in": 86_400,
            }),
        )
    }

    /// RFC 7523, section 3, as this provider has it.
    fn takes(&self, assertion: &str) -> bool {
        let parts: Vec<_> = assertion.split('.').collect();
        let [header, claims, signature] = parts.as_slice() else {
            return false;
        };
        let decoded = |part: &str| URL_SAFE_NO_PAD.decode(part).unwrap_or_default();
        let pem = include_str!("../keys/rsa_public_key.pem");
        let key = SubjectPublicKeyInfoDer::from_pem_slice(pem.as_bytes()).expect("it is PEM");
        let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &key);
        let signed = format!("{header}.{claims}");
        if key.verify(signed.as_bytes(), &decoded(signature)).is_err() {
            return false;
        }
        let json = |part: &str| serde_json::from_slice::<Value>(&decoded(part)).unwrap_or_default();
        let (header, claims) = (json(header), json(claims));
        let left_s = claims["exp"].as_i64().unwrap_or_default() - self.now_s();
        let id = claims["jti"].as_str().unwrap_or_default().to_owned();
        header == json!({"alg": "RS256", "typ": "JWT", "kid": "key-1"})
            && claims["iss"] == "crm-app"
            && claims["sub"] == "robot@shop.example"
            && claims["aud"] == "https://login.provider.example"
            && claims["iat"].as_i64() <= Some(self.now_s())
            && (1..=180).contains(&left_s)
            && !id.is_empty()
            && self.state().assertions.insert(id)
    }

    fn instance(&self, arrived: &Arrived) -> Response {
        let mut state = self.state();
        let sent = arrived
            .headers
            .get("authorization")
            .and_then(|sent| sent.strip_prefix("Bearer "));
        if sent.is_none() || sent != state.session.as_deref() {
            return answer(401, &json!({"error": {"code": "SESSION_INVALID"}}));
        }
        let token = state.next("upload-token");
        answer(200, &json!({"upload": {"token": token, "ttl": "15m"}}))
    }
}

struct Scene {
    page: Page,
    server: Server,
    clock: Arc<ManualClock>,
    providers: Providers,
    _internet: Internet,
}

impl Scene {
    async fn set(database: &TestDatabase) -> Self {
        let clock = Arc::new(ManualClock::at(EpochMs(NOW_MS)));
        let providers = Providers {
            clock: clock.clone(),
            state: Arc::default(),
        };
        let (internet, answering) = (Internet::start().await, providers.clone());
        internet.answer(move |arrived| answering.answer(arrived));
        let options = Options {
            clock: Some(clock.clone()),
            internet: Some(internet.for_server()),
            ..Options::default()
        };
        Self {
            page: Page::read(),
            server: Server::start_with(database, options).await,
            clock,
            providers,
            _internet: internet,
        }
    }

    fn client(&self) -> &Client {
        &self.server.client
    }

    /// What the shell does with one line of the page.
    async fn command(&self, line: &str) -> Reply {
        let (verb, rest) = line.split_once(' ').expect("a command takes something");
        match verb {
            "get" => self.client().get(unquoted(rest)).await,
            "post" => {
                let (path, body) = rest.split_once(' ').expect("a body is posted");
                let body = match body.strip_prefix('@') {
                    Some(file) => self.page.file(file),
                    None => argument(body),
                };
                let reply = self.client().post(path, &body).await;
                if path == "/api/secret" {
                    let name = |field: &str| body[field].as_str().expect("a name");
                    let (realm, key) = (name("realm"), name("key"));
                    self.client().generation(realm, key, 1).await;
                    self.server.settled().await;
                }
                reply
            }
            "try" => {
                let (name, over) = rest.split_once(' ').expect("something is laid over it");
                self.dry_run(name, &argument(over)).await
            }
            _ => panic!("{verb} is no command of the page"),
        }
    }

    async fn dry_run(&self, name: &str, over: &Value) -> Reply {
        let realm = self.page.file(&format!("{name}.json"));
        let secret = self.page.file(&format!("{name}.secret.json"));
        let trial = json!({"config": realm["config"], "params": secret["params"]});
        let trial = merged(trial, over);
        self.client().post("/api/realm/test", &trial).await
    }

    /// How a dry run read the answer of the main request.
    async fn reading(&self, name: &str, over: &Value) -> Value {
        let reply = self.dry_run(name, over).await.expect(200);
        reply.json()["data"]["exchanges"][0]["reading"].clone()
    }

    async fn save_realm(&self, name: &str) {
        let realm = self.page.file(&format!("{name}.json"));
        self.client().post("/api/realm", &realm).await.expect(200);
    }

    async fn save_secret(&self, realm: &str, key: &str, params: &Value) {
        let secret = json!({"realm": realm, "key": key, "params": params});
        self.client().post("/api/secret", &secret).await.expect(200);
    }

    /// The realm of the page, and its secret's first token.
    async fn first_token(&self, realm: &str) -> Value {
        self.save_realm(realm).await;
        let params = self.page.params(realm, &json!({}));
        self.save_secret(realm, "shop", &params).await;
        self.client().generation(realm, "shop", 1).await;
        self.served(realm).await
    }

    async fn served(&self, realm: &str) -> Value {
        self.client().token(realm, "shop").await.expect(200).json()
    }

    /// Lets the token come near its end, and waits for the next one.
    async fn renewed(&self, realm: &str, after_s: i64, generation: i64) -> Value {
        self.clock.advance(Ms::from_secs(after_s));
        self.client().generation(realm, "shop", generation).await;
        self.served(realm).await
    }

    async fn last_error(&self, realm: &str, key: &str) -> Value {
        eventually(&format!("a failure of {realm}/{key}"), async || {
            let secret = self.client().secret(realm, key).await;
            secret["last_error"].is_object().then_some(secret)
        })
        .await
    }
}

fn unquoted(text: &str) -> &str {
    let inner = text
        .strip_prefix('\'')
        .and_then(|rest| rest.strip_suffix('\''));
    inner.unwrap_or(text)
}

fn argument(text: &str) -> Value {
    serde_json::from_str(unquoted(text)).unwrap_or_else(|error| panic!("{text}: {error}"))
}

async fn every_command_of_the_page_is_answered_as_the_page_shows(database: TestDatabase) {
    let scene = Scene::set(&database).await;
    let mut differences = Vec::new();
    let mut compared = 0;
    for run in &scene.page.runs {
        let mut replies = Vec::new();
        for command in &run.commands {
            let reply = scene.command(command).await;
            replies.push(reply.expect(200));
        }
        let Some(shown) = &run.answer else {
            continue;
        };
        let command = run.commands.last().expect("a command");
        let real = replies.last().expect("an answer").json();
        compare(&format!("{command}: "), shown, &real, &mut differences);
        compared += 1;
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    assert_eq!(compared, 10, "the answers are found");
    let links = ["openapi/realm.schema.json", "presets"];
    for link in links {
        assert!(scene.page.text.contains(&format!("(../{link})")));
        assert!(root().join(link).exists(), "{link}");
    }
    let schema = scene.client().get("/realm.schema.json").await.expect(200);
    let described = &schema.json()["properties"];
    for name in ["plain", "signed", "keyed", "upload"] {
        let config = scene.page.file(&format!("{name}.json"))["config"].clone();
        for field in config.as_object().expect("an object").keys() {
            assert!(
                described[field]["description"].is_string(),
                "{name}: {field}"
            );
        }
    }
}

async fn the_plain_realm_sends_a_scope_where_a_secret_has_one_and_needs_no_error_codes(
    database: TestDatabase,
) {
    let scene = Scene::set(&database).await;
    // Without the mistake there is no failure.
    let reading = scene.reading("plain", &json!({"send": true})).await;
    assert!(
        reading["fields"].is_array() && reading.get("failure").is_none(),
        "{reading}"
    );
    let served = scene.first_token("plain").await;
    assert_eq!(served["token"], "plain-access-token-2");
    assert!(served.get("extra").is_none(), "{served}");
    let scoped = scene.page.params("plain", &json!({"scope": "read write"}));
    scene.save_secret("plain", "scoped", &scoped).await;
    scene.client().generation("plain", "scoped", 1).await;
    let arrived = scene.providers.arrived("auth");
    let sent: Vec<_> = arrived.iter().skip(1).map(form).collect();
    let grant = ("grant_type".to_owned(), "client_credentials".to_owned());
    let scope = ("scope".to_owned(), "read write".to_owned());
    assert_eq!(sent, [[grant.clone()].into(), [grant, scope].into()]);
    let media_type = arrived[0].headers.get("content-type").map(String::as_str);
    assert_eq!(media_type, Some("application/x-www-form-urlencoded"));
    let wrong = scene
        .page
        .params("plain", &json!({"client_secret": "another-secret"}));
    scene.save_secret("plain", "wrong", &wrong).await;
    let failed = scene.last_error("plain", "wrong").await;
    assert_eq!(failed["last_error"]["class"], "permanent");
    assert_eq!(failed["state"], "needs_attention");
}

async fn the_signed_realm_signs_each_request_anew_and_its_codes_have_their_classes(
    database: TestDatabase,
) {
    let scene = Scene::set(&database).await;
    let served = scene.first_token("signed").await;
    assert_eq!(
        served["token"],
        "Gateway app=1001,token=signed-access-token-1"
    );
    let served = scene.renewed("signed", 6200, 2).await;
    assert_eq!(
        served["token"],
        "Gateway app=1001,token=signed-access-token-2"
    );
    assert_eq!(served["expires_in"], 7_200_000);
    let config = scene.page.file("signed.json")["config"].clone();
    let classes = config["error"]["classes"].as_object().expect("classes");
    let params = scene.page.params("signed", &json!({}));
    for (class, codes) in classes {
        for code in codes.as_array().expect("codes") {
            let code = code.as_str().expect("a code");
            scene.providers.state().code = Some(code.to_owned());
            scene.save_secret("signed", code, &params).await;
            let failed = scene.last_error("signed", code).await;
            assert_eq!(failed["last_error"]["class"], *class, "{code}");
            let attention = failed["state"] == "needs_attention";
            assert_eq!(attention, class == "permanent", "{failed}");
        }
    }
}

async fn the_keyed_realm_uses_each_refresh_token_once_and_signs_again_where_one_is_refused(
    database: TestDatabase,
) {
    let scene = Scene::set(&database).await;
    let unconfirmed = scene.dry_run("keyed", &json!({"send": true})).await;
    let problem = unconfirmed.expect_problem(422, "invalid_document");
    assert_eq!(problem["errors"][0]["pointer"], "/confirm", "{problem}");
    let mut served = vec![scene.first_token("keyed").await];
    served.push(scene.renewed("keyed", 1600, 2).await);
    served.push(scene.renewed("keyed", 1600, 3).await);
    // Somebody revokes it.
    scene.providers.state().refresh_token = None;
    served.push(scene.renewed("keyed", 1600, 4).await);
    for (number, served) in (1..).zip(&served) {
        assert_eq!(served["token"], format!("keyed-access-token-{number}"));
        assert_eq!(
            served["extra"],
            json!({"instance_url": "https://eu7.provider.example"})
        );
        assert_eq!(served["token_type"], "Bearer");
    }
    let arrived = scene.providers.arrived("login");
    let sent: Vec<_> = arrived.iter().map(form).collect();
    let refreshed: Vec<_> = sent
        .iter()
        .map(|sent| sent.get("refresh_token").cloned())
        .collect();
    let refresh_token = |number: usize| Some(format!("keyed-refresh-token-{number}"));
    assert_eq!(
        refreshed,
        [
            None,
            refresh_token(1),
            refresh_token(2),
            refresh_token(3),
            None
        ]
    );
    assert_eq!(scene.providers.state().assertions.len(), 2);
}

async fn the_derived_token_comes_from_the_instance_and_a_refused_parent_is_replaced(
    database: TestDatabase,
) {
    let scene = Scene::set(&database).await;
    scene.first_token("keyed").await;
    scene.save_realm("upload").await;
    let params = json!({"parent_key": "shop"});
    let config = scene.page.file("upload.json")["config"].clone();
    let extra = json!({"instance_url": "https://eu7.provider.example"});
    let trial = json!({
        "config": config, "params": params, "send": true,
        "parent": {"token": "keyed-access-token-1", "extra": extra},
    });
    let tried = scene
        .client()
        .post("/api/realm/test", &trial)
        .await
        .expect(200);
    assert!(
        !tried.text.contains("keyed-access-token-1"),
        "{}",
        tried.text
    );
    let exchange = tried.json()["data"]["exchanges"][0].clone();
    assert_eq!(
        exchange["request"]["url"],
        "https://eu7.provider.example/api/upload-token"
    );
    assert!(exchange["reading"].get("failure").is_none(), "{exchange}");
    scene.save_secret("upload", "shop", &params).await;
    scene.client().generation("upload", "shop", 1).await;
    let served = scene.served("upload").await;
    assert_eq!(served["token"], "upload-token-2");
    assert_eq!(served["expires_in"], 900_000);
    // The instance forgets the parent's token, before either is due.
    scene.providers.state().session = None;
    scene.clock.advance(Ms::from_secs(60));
    let flush = json!({"realm": "upload", "key": "shop"});
    scene
        .client()
        .post("/api/token/flush", &flush)
        .await
        .expect(200);
    scene.client().generation("upload", "shop", 2).await;
    let served = scene.served("upload").await;
    assert_eq!(served["token"], "upload-token-3");
    let sent: Vec<_> = scene.providers.arrived("eu7");
    let sent: Vec<_> = sent
        .iter()
        .map(|arrived| arrived.headers["authorization"].as_str())
        .collect();
    let bearer = |number: usize| format!("Bearer keyed-access-token-{number}");
    assert_eq!(sent, [bearer(1), bearer(1), bearer(1), bearer(2)]);
    assert_eq!(scene.served("keyed").await["token"], "keyed-access-token-2");
}

/// Pieces of a document stand between backticks: fields, or an argument.
fn pieces(cell: &str) -> impl Iterator<Item = Value> {
    let quoted = cell.split('`').skip(1).step_by(2);
    quoted.filter_map(|piece| {
        let fields = match piece.chars().next()? {
            '"' => format!("{{{piece}}}"),
            '{' => format!("{{\"arguments\": [{piece}]}}"),
            _ => return None,
        };
        Some(serde_json::from_str(&fields).unwrap_or_else(|error| panic!("{piece}: {error}")))
    })
}

async fn every_line_of_the_table_is_a_realm_that_makes_a_request(database: TestDatabase) {
    let scene = Scene::set(&database).await;
    let params = json!({
        "app_id": "1001", "app_secret": "s", "host": "auth.provider.example",
        "private_key": with_keys("{{ec_private_key}}"),
        "certificate": with_keys("{{certificate}}"), "authority": with_keys("{{certificate}}"),
        "push_token": "t", "push_key": "k",
    });
    let names = params.as_object().expect("an object").keys();
    let declared: serde_json::Map<_, _> = names.map(|name| (name.clone(), json!({}))).collect();
    assert!(scene.page.written.len() > 20, "the table is read");
    let mut tried = 0;
    for piece in scene.page.written.iter().flat_map(|cell| pieces(cell)) {
        let mut config = json!({
            "params": declared, "url": "https://auth.provider.example/token", "method": "POST",
            "token_path": "access_token",
        });
        let leaves_out: &[&str] = match piece["token"].as_str() {
            Some("assertion") => &["url", "method", "token_path"],
            Some(_) => &["token_path"],
            None => &[],
        };
        for field in leaves_out {
            config[field] = Value::Null;
        }
        let trial = json!({"config": merged(config, &piece), "params": params, "ticket": "t"});
        let reply = scene.client().post("/api/realm/test", &trial).await;
        assert_eq!(reply.status, 200, "{piece}: {}", reply.text);
        let shown = reply.json()["data"].clone();
        let made = shown["exchanges"].as_array().map_or(0, Vec::len);
        assert!(made > 0 || shown["minted"].is_object(), "{piece}: {shown}");
        for part in shown["exchanges"]
            .as_array()
            .into_iter()
            .flatten()
            .chain([&shown["minted"]])
        {
            assert!(part.get("failure").is_none(), "{piece}: {part}");
        }
        tried += 1;
    }
    assert!(tried > 25, "{tried} pieces are read");
}
