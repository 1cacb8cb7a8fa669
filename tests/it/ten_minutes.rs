//! `docs/src/tutorial/a-realm-in-ten-minutes.md` is true: its commands are run in its order and
//! on its documents, against providers that behave as it says, and what it shows is answered.

mod providers;
mod table;

use std::sync::Arc;

use serde_json::{Value, json};
use token_server::foundation::clock::{EpochMs, ManualClock, Ms};

use self::providers::{Providers, form};
use crate::commands::TEN_MINUTES;
use crate::commands::compare::{LEFT_OUT, compare};
use crate::commands::page::Page;
use crate::commands::reader::Reader;
use crate::kit::documented::with_keys;
use crate::kit::internet::Internet;
use crate::kit::server::{ADMIN_KEY, Client, Options};
use crate::kit::source::root;
use crate::kit::{Reply, Server, TestDatabase, eventually, on_every_database};

on_every_database! {
    every_command_of_the_page_is_answered_as_the_page_shows,
    the_plain_realm_sends_a_scope_where_a_secret_has_one_and_needs_no_error_codes,
    the_signed_realm_signs_each_request_anew_and_its_codes_have_their_classes,
    the_keyed_realm_uses_each_refresh_token_once_and_signs_again_where_one_is_refused,
    the_derived_token_comes_from_the_instance_and_a_refused_parent_is_replaced,
}

/// 2026-01-02T03:04:05.678Z, when the page was written.
const NOW_MS: i64 = 1_767_323_045_678;

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
        let providers = Providers::on(clock.clone());
        let (internet, answering) = (Internet::start().await, providers.clone());
        internet.answer(move |arrived| answering.answer(arrived));
        let options = Options {
            clock: Some(clock.clone()),
            internet: Some(internet.for_server()),
            ..Options::default()
        };
        Self {
            page: Page::read(TEN_MINUTES),
            server: Server::start_with(database, options).await,
            clock,
            providers,
            _internet: internet,
        }
    }

    fn client(&self) -> &Client {
        &self.server.client
    }

    /// A document of the page. It shows only how a private key begins.
    fn file(&self, name: &str) -> Value {
        let mut document = self.page.file(name);
        if let Some(key) = document.pointer_mut("/params/private_key") {
            let begins = key.as_str().is_some_and(|key| key.ends_with(LEFT_OUT));
            assert!(begins, "a key of a page is nobody's key");
            *key = json!(with_keys("{{rsa_private_key}}"));
        }
        document
    }

    /// A secret's parameters, with some of another value.
    fn params(&self, realm: &str, other: &Value) -> Value {
        let secret = self.file(&format!("{realm}.secret.json"));
        merged(secret["params"].clone(), other)
    }

    /// A reader takes a moment: what was registered has its token, and it is remembered.
    async fn settle(&self) {
        for secret in self.client().list("/api/secret").await {
            let name = |field: &str| secret[field].as_str().expect("a name");
            let (realm, key) = (name("realm"), name("key"));
            self.client().generation(realm, key, 1).await;
        }
        self.server.settled().await;
    }

    async fn dry_run(&self, name: &str, over: &Value) -> Reply {
        let realm = self.file(&format!("{name}.json"));
        let secret = self.file(&format!("{name}.secret.json"));
        let trial = json!({"config": realm["config"], "params": secret["params"]});
        let trial = merged(trial, over);
        self.client().dry_run(&trial).await
    }

    /// How a dry run read the answer of the main request.
    async fn reading(&self, name: &str, over: &Value) -> Value {
        let reply = self.dry_run(name, over).await.expect(200);
        reply.json()["data"]["exchanges"][0]["reading"].clone()
    }

    async fn save_realm(&self, name: &str) {
        let realm = self.file(&format!("{name}.json"));
        self.client().post("/api/realm", &realm).await.expect(200);
    }

    async fn save_secret(&self, realm: &str, key: &str, params: &Value) {
        let secret = json!({"realm": realm, "key": key, "params": params});
        self.client().post("/api/secret", &secret).await.expect(200);
    }

    /// The realm of the page, and its secret's first token.
    async fn first_token(&self, realm: &str) -> Value {
        self.save_realm(realm).await;
        let params = self.params(realm, &json!({}));
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

async fn every_command_of_the_page_is_answered_as_the_page_shows(database: TestDatabase) {
    let scene = Scene::set(&database).await;
    let mut reader = Reader::at(&scene.server.address().to_string());
    reader.save("data/admin.key", ADMIN_KEY);
    for (name, _) in &scene.page.files {
        reader.save(name, &scene.file(name).to_string());
    }
    let mut differences = Vec::new();
    let mut compared = 0;
    for commands in &scene.page.commands {
        let done = reader.run(&commands.text);
        let at = scene.page.at(commands);
        assert!(
            done.failed.is_empty(),
            "{at}: {}{}",
            done.printed,
            done.said
        );
        scene.settle().await;
        let Some(shown) = &commands.shown else {
            continue;
        };
        let found = compare(shown, &done.printed, &[]);
        differences.extend(found.iter().map(|found| format!("{at}: {found}")));
        compared += 1;
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    assert_eq!(compared, 10, "the answers are found");
    let links = ["openapi/realm.schema.json", "presets"];
    for link in links {
        assert!(scene.page.text.contains(&format!("(../../../{link})")));
        assert!(root().join(link).exists(), "{link}");
    }
    let schema = scene.client().get("/realm.schema.json").await.expect(200);
    let described = &schema.json()["properties"];
    for name in ["plain", "signed", "keyed", "upload"] {
        let config = scene.file(&format!("{name}.json"))["config"].clone();
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
    let scoped = scene.params("plain", &json!({"scope": "read write"}));
    scene.save_secret("plain", "scoped", &scoped).await;
    scene.client().generation("plain", "scoped", 1).await;
    let arrived = scene.providers.arrived("auth");
    let sent: Vec<_> = arrived.iter().skip(1).map(form).collect();
    let grant = ("grant_type".to_owned(), "client_credentials".to_owned());
    let scope = ("scope".to_owned(), "read write".to_owned());
    assert_eq!(sent, [[grant.clone()].into(), [grant, scope].into()]);
    let media_type = arrived[0].headers.get("content-type").map(String::as_str);
    assert_eq!(media_type, Some("application/x-www-form-urlencoded"));
    let wrong = scene.params("plain", &json!({"client_secret": "another-secret"}));
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
    let config = scene.file("signed.json")["config"].clone();
    let classes = config["error"]["classes"].as_object().expect("classes");
    let params = scene.params("signed", &json!({}));
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
    let config = scene.file("upload.json")["config"].clone();
    let extra = json!({"instance_url": "https://eu7.provider.example"});
    let trial = json!({
        "config": config, "params": params, "send": true,
        "parent": {"token": "keyed-access-token-1", "extra": extra},
    });
    let tried = scene.client().dry_run(&trial).await.expect(200);
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
