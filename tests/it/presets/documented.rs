//! Every realm that ships is tried: the request that goes out is the documented one, the documented
//! answer gives a token, and documented failures give none and are classed.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use token_server::foundation::clock::{Clock, EpochMs, ManualClock, Ms};
use token_server::realm::document::REFRESH_TOKEN;
use token_server::realm::preset::{self, Preset};

use crate::kit::documented::{Comparison, Exchange, Failure, Sample, with_keys};
use crate::kit::internet::{Arrived, Internet, Response};
use crate::kit::push::{PushRequest, PushingApp};
use crate::kit::server::{Client, Options};
use crate::kit::source::{files_below, read, root};
use crate::kit::{Server, TestDatabase, eventually, on_every_database};

on_every_database! {
    every_preset_sends_the_documented_request_and_reads_the_documented_answers,
}

/// 2026-01-02T03:04:05.678Z
const NOW_MS: i64 = 1_767_323_045_678;
/// Between a first token and a refresh of it.
const LATER: Ms = Ms::from_secs(3600);

fn samples() -> BTreeMap<String, Sample> {
    let files = files_below(&root().join("tests/presets"), &["json"]);
    files
        .into_iter()
        .map(|path| {
            let id = path.file_stem().expect("a name").to_string_lossy();
            let text = read(&path);
            let sample = serde_json::from_str(&text)
                .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            (id.into_owned(), sample)
        })
        .collect()
}

/// Answers in order, and remembers what it was asked.
#[derive(Clone, Default)]
struct Script(Arc<Mutex<(VecDeque<Response>, Vec<Arrived>)>>);

impl Script {
    fn set(&self, responses: impl IntoIterator<Item = Response>) {
        let mut script = self.0.lock().expect("nobody panics with it");
        *script = (responses.into_iter().collect(), Vec::new());
    }

    fn arrived(&self) -> Vec<Arrived> {
        self.0.lock().expect("nobody panics with it").1.clone()
    }

    fn answer(&self, arrived: Arrived) -> Response {
        let mut script = self.0.lock().expect("nobody panics with it");
        script.1.push(arrived);
        script.0.pop_front().unwrap_or(Response {
            status: 599,
            headers: Vec::new(),
            body: Vec::new(),
        })
    }
}

struct Scene {
    server: Server,
    clock: Arc<ManualClock>,
    script: Script,
    _internet: Internet,
}

impl Scene {
    async fn set(database: &TestDatabase) -> Self {
        let (internet, script) = (Internet::start().await, Script::default());
        let answering = script.clone();
        internet.answer(move |arrived| answering.answer(arrived));
        let clock = Arc::new(ManualClock::at(EpochMs(NOW_MS)));
        let options = Options {
            clock: Some(clock.clone()),
            internet: Some(internet.for_server()),
            ..Options::default()
        };
        Self {
            server: Server::start_with(database, options).await,
            clock,
            script,
            _internet: internet,
        }
    }

    fn client(&self) -> &Client {
        &self.server.client
    }
}

/// What is wrong with one preset.
struct Trial<'a> {
    scene: &'a Scene,
    preset: &'a Preset,
    sample: &'a Sample,
    params: BTreeMap<String, String>,
    faults: Vec<String>,
}

async fn every_preset_sends_the_documented_request_and_reads_the_documented_answers(
    database: TestDatabase,
) {
    let (scene, samples) = (Scene::set(&database).await, samples());
    let mut faults = Vec::new();
    for id in samples.keys() {
        if !preset::all().contains_key(id) {
            faults.push(format!("{id}: there is no such preset"));
        }
    }
    for (id, preset) in preset::all() {
        let Some(sample) = samples.get(id) else {
            faults.push(format!("{id}: nothing is documented in tests/presets"));
            continue;
        };
        let params = sample.params.iter();
        let mut trial = Trial {
            scene: &scene,
            preset,
            sample,
            params: params.map(|(n, v)| (n.clone(), with_keys(v))).collect(),
            faults: Vec::new(),
        };
        trial.run().await;
        faults.extend(
            trial
                .faults
                .into_iter()
                .map(|fault| format!("{id}: {fault}")),
        );
    }
    assert!(
        faults.is_empty(),
        "faults ({}):\n{}",
        faults.len(),
        faults.join("\n")
    );
}

impl Trial<'_> {
    async fn run(&mut self) {
        let client = self.scene.client();
        let registered = client
            .post(&format!("/api/preset/{}", self.preset.id), &json!({}))
            .await;
        if registered.status != 200 {
            self.faults.push(format!("is refused: {}", registered.text));
            return;
        }
        self.register_parent().await;
        self.success().await;
        self.preview().await;
        self.refresh().await;
        self.rotation().await;
        self.failures().await;
        let parent = self.sample.parent.as_ref().map(|parent| &parent.realm);
        for realm in [&self.preset.id].into_iter().chain(parent) {
            client
                .delete(&format!("/api/realm/{realm}?cascade=true"))
                .await;
        }
    }

    async fn register_parent(&self) {
        let Some(parent) = &self.sample.parent else {
            return;
        };
        assert!(parent.extra.is_empty(), "a fixed token has no extra fields");
        let client = self.scene.client();
        let realm = json!({"id": parent.realm});
        client.post("/api/realm", &realm).await.expect(200);
        let token = json!({
            "realm": parent.realm, "key": parent.key, "token": parent.token,
        });
        client.put("/api/token", &token).await.expect(200);
    }

    async fn save_secret(&self, key: &str) -> u16 {
        let secret = json!({"realm": self.preset.id, "key": key, "params": self.params});
        let saved = self.scene.client().post("/api/secret", &secret).await;
        saved.status.as_u16()
    }

    /// Registers a secret whose request gets these answers.
    async fn register(&mut self, key: &str, exchanges: &[Exchange], last: Option<Response>) {
        let mut responses: Vec<_> = exchanges.iter().map(|e| e.answer.response()).collect();
        if let Some(last) = last {
            responses.pop();
            responses.push(last);
        }
        let ticket = self.sample.ticket.clone();
        if ticket.is_some() && key == "good" {
            // Without a ticket another is asked for, where the realm says how.
            let taken = Response {
                status: 200,
                headers: Vec::new(),
                body: br#"{"errcode":0,"code":0}"#.to_vec(),
            };
            self.scene.script.set([taken]);
        } else {
            self.scene.script.set(responses.clone());
        }
        let status = self.save_secret(key).await;
        if status != 200 {
            self.faults.push(format!("its secret is refused: {status}"));
            return;
        }
        if let Some(ticket) = ticket.filter(|_| key == "good") {
            eventually("the secret waits for its ticket", async || {
                let secret = self.scene.client().secret(&self.preset.id, key).await;
                secret["waiting"].is_string().then_some(())
            })
            .await;
            self.scene.script.set(responses);
            self.push(&ticket).await;
        }
    }

    async fn push(&mut self, ticket: &str) {
        let rule = &self.preset.config["ticket"];
        let param = |field: &str| {
            let name = rule[field].as_str()?.strip_prefix('$')?;
            self.params.get(name).cloned()
        };
        let app = PushingApp::new(
            &param("app_id").expect("an id"),
            &param("token").expect("a token"),
            param("aes_key").as_deref(),
        );
        let at_s = NOW_MS / 1000;
        let push: PushRequest = match rule["format"].as_str() {
            Some("wechat_xml") => app.wechat_ticket(ticket, at_s),
            Some("wecom_xml") => app.wecom_ticket(ticket, at_s),
            _ => app.feishu_ticket(ticket, at_s),
        };
        let client = self.scene.client().without_key();
        let url = push.url("http://x/");
        let path = format!(
            "/api/ticket/{}?{}",
            self.preset.id,
            url.query().unwrap_or_default()
        );
        let mut request = client.request(reqwest::Method::POST, &path).body(push.body);
        for (name, value) in push.headers {
            request = request.header(name, value);
        }
        let reply = client.send(request).await;
        if reply.status != 200 {
            self.faults
                .push(format!("its push is refused: {}", reply.text));
        }
    }

    async fn success(&mut self) {
        let sample = self.sample;
        self.register("good", &sample.exchanges, None).await;
        let secret = eventually("an attempt", async || {
            let secret = self.scene.client().secret(&self.preset.id, "good").await;
            let attempted = secret["generation"] != 0 || secret["last_error"].is_object();
            attempted.then_some(secret)
        })
        .await;
        if secret["generation"] == 0 {
            self.faults
                .push(format!("no token: {}", secret["last_error"]));
        }
        self.compare_requests(&sample.exchanges);
        if secret["generation"] != 0 {
            self.compare_token().await;
        }
    }

    fn compare_requests(&mut self, exchanges: &[Exchange]) {
        let arrived = self.scene.script.arrived();
        let mut comparison = Comparison {
            now_ms: self.scene.clock.now().0,
            assertion: self.sample.assertion.as_ref(),
            params: &self.params,
            differences: Vec::new(),
        };
        if arrived.len() != exchanges.len() {
            let urls: Vec<_> = arrived.iter().map(|arrived| arrived.url.as_str()).collect();
            comparison.differences.push(format!(
                "{} requests are documented, {} came: {}",
                exchanges.len(),
                arrived.len(),
                urls.join(", ")
            ));
        }
        for (exchange, arrived) in exchanges.iter().zip(&arrived) {
            comparison.request(&exchange.request, arrived);
        }
        self.faults.extend(comparison.differences);
        let wants_certificate = self.preset.config["tls"]["client_cert"].is_string();
        if wants_certificate && !arrived.iter().all(|arrived| arrived.certificate) {
            self.faults
                .push("no client certificate was shown".to_owned());
        }
    }

    async fn compare_token(&mut self) {
        let token = self.scene.client().token(&self.preset.id, "good").await;
        let served = token.expect(200).json();
        let mut comparison = Comparison {
            now_ms: self.scene.clock.now().0,
            assertion: self.sample.assertion.as_ref(),
            params: &self.params,
            differences: Vec::new(),
        };
        let text = served["token"].as_str().unwrap_or_default();
        comparison.text("token", &self.sample.token, text);
        self.faults.extend(comparison.differences);
        let mut equal = |what: &str, expected: Value, found: &Value| {
            if expected != *found {
                self.faults
                    .push(format!("{what}: documented {expected}, served {found}"));
            }
        };
        equal(
            "token_type",
            json!(self.sample.token_type),
            &served["token_type"],
        );
        equal(
            "extra",
            self.sample.extra.clone().unwrap_or_default(),
            &served["extra"],
        );
        let left_s = served["expires_in"].as_f64().unwrap_or_default() / 1000.0;
        match self.sample.expires_in_s {
            None => equal("expires_at", Value::Null, &served["expires_at"]),
            // What a token says of itself is in whole seconds.
            Some(expected) if (expected - left_s).abs() <= 1.0 => {}
            Some(expected) => equal("expires_in_s", json!(expected), &json!(left_s)),
        }
    }

    /// The preview shows the request, and nothing that is secret.
    async fn preview(&mut self) {
        let path = format!("/api/realm/{}/preview?key=good", self.preset.id);
        let reply = self.scene.client().get(&path).await;
        if reply.status != 200 {
            self.faults.push(format!("no preview: {}", reply.text));
            return;
        }
        let shown = reply.json()["data"].clone();
        let exchanges = shown["exchanges"].as_array().map_or(0, Vec::len);
        if exchanges == 0 && shown["minted"].is_null() {
            self.faults.push("its preview shows nothing".to_owned());
        }
        for exchange in shown["exchanges"].as_array().into_iter().flatten() {
            if exchange["request"].is_null() || !exchange["failure"].is_null() {
                self.faults
                    .push(format!("its preview fails: {}", exchange["failure"]));
            }
        }
        for (name, value) in &self.params {
            let secret = self.preset.config["params"][name]["secret"] != json!(false);
            let pem = value.lines().nth(1).unwrap_or(value);
            if secret && value.len() >= 8 && reply.text.contains(pem) {
                self.faults
                    .push(format!("its preview shows the parameter {name}"));
            }
        }
    }

    /// What is renewed with the refresh token that came.
    async fn refresh(&mut self) {
        let sample = self.sample;
        let Some(exchanges) = &sample.refresh_exchanges else {
            return;
        };
        self.scene
            .script
            .set(exchanges.iter().map(|e| e.answer.response()));
        self.scene.clock.advance(LATER);
        let flush = json!({"realm": self.preset.id, "key": "good"});
        let client = self.scene.client();
        let flushed = client.post("/api/token/flush", &flush).await;
        if flushed.status != 200 || flushed.json()["flushed"] == json!(false) {
            self.faults
                .push(format!("is not refreshed: {}", flushed.text));
        }
        self.compare_requests(exchanges);
        if let Some(before) = &sample.refresh_token_before {
            self.uses(before);
        }
        self.scene.clock.advance(Ms(-LATER.0));
    }

    /// What an answer rotated to is what the next request sends.
    async fn rotation(&mut self) {
        let sample = self.sample;
        let Some(next) = &sample.refresh_token else {
            return;
        };
        self.scene.script.set([]);
        self.scene.clock.advance(Ms(LATER.0 * 2));
        let flush = json!({"realm": self.preset.id, "key": "good"});
        self.scene.client().post("/api/token/flush", &flush).await;
        self.uses(next);
        self.scene.clock.advance(Ms(-LATER.0 * 2));
    }

    fn uses(&mut self, token: &str) {
        let arrived = self.scene.script.arrived();
        let holds = |arrived: &Arrived| {
            let form = url::form_urlencoded::parse(&arrived.body);
            String::from_utf8_lossy(&arrived.body).contains(token)
                || arrived.query.iter().any(|(_, value)| value == token)
                || form.into_iter().any(|(_, value)| value == token)
        };
        if !arrived.iter().any(holds) {
            self.faults
                .push("the rotated refresh token is not used next".to_owned());
        }
    }

    async fn failures(&mut self) {
        let sample = self.sample;
        if sample.exchanges.is_empty() {
            return;
        }
        // The request for a derived token may hold nothing but the parent's token.
        let refused: &[_] = match self.preset.config["parent"].is_object() {
            true => &["permanent", "invalid_token"],
            false => &["permanent"],
        };
        let too_many = Failure::too_many_requests();
        let limited = sample.rate_limited.as_ref().unwrap_or(&too_many);
        let dead = sample.dead_refresh_token.as_ref();
        let mut documented = vec![("bad", sample.failure.as_ref(), refused)];
        if self.takes_a_refresh_token() || dead.is_some() {
            documented.push(("dead", dead, &["permanent"]));
        }
        // It may hold the whole realm back.
        documented.push(("limited", Some(limited), &["rate_limited"]));
        for (key, failure, classes) in documented {
            let Some(failure) = failure else {
                self.faults
                    .push(format!("no failure ({key}) is documented"));
                continue;
            };
            if !classes.contains(&failure.class.as_str()) {
                self.faults.push(format!("{key} is {}", failure.class));
            }
            self.failure(key, failure).await;
        }
    }

    fn takes_a_refresh_token(&self) -> bool {
        let config = &self.preset.config;
        config["params"][REFRESH_TOKEN].is_object() || config["refresh"].is_object()
    }

    async fn failure(&mut self, key: &str, failure: &Failure) {
        let sample = self.sample;
        let response = failure.response();
        self.register(key, &sample.exchanges, Some(response)).await;
        let secret = eventually("a failed attempt", async || {
            let secret = self.scene.client().secret(&self.preset.id, key).await;
            let attempted = secret["generation"] != 0 || secret["last_error"].is_object();
            attempted.then_some(secret)
        })
        .await;
        if failure.class == "permanent" && secret["state"] != "needs_attention" {
            self.faults.push(format!(
                "{key} is {}, and no human is told",
                secret["state"]
            ));
        }
        let error = &secret["last_error"];
        if secret["generation"] != 0 || error["class"] != json!(failure.class) {
            self.faults.push(format!(
                "the failure ({key}) is documented as {}, and was taken as {error}",
                failure.class
            ));
        }
        let detail = error["detail"].as_str().unwrap_or_default();
        if let Some(code) = &failure.code
            && !detail.contains(&format!("code {code}"))
        {
            self.faults
                .push(format!("the code {code} is not told: {detail}"));
        }
        let read = self.scene.client().token(&self.preset.id, key).await;
        if read.status != 503 {
            self.faults
                .push(format!("a failure is answered {}", read.status));
        }
    }
}
