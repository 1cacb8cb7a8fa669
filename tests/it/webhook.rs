//! What a webhook hears, and that nothing waits for it.

use std::collections::BTreeSet;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use token_server::foundation::clock::{EpochMs, ManualClock, Ms};

use crate::kit::provider::RecordedRequest;
use crate::kit::server::Options;
use crate::kit::{Answer, Provider, Server, TestDatabase, eventually, on_every_database};

on_every_database! {
    a_webhook_hears_of_failing_then_of_attention_needed_then_of_recovery,
    passing_trouble_is_no_event,
    an_event_that_is_not_taken_is_sent_again_under_its_id,
    an_event_that_nobody_takes_is_dropped_at_its_age,
    a_receiver_that_hangs_delays_no_renewal,
    each_event_is_sent_once_however_many_replicas_there_are,
}

const KEY: &[u8] = b"a key of the tests, thirty-two b";
const HOUR: Ms = Ms::from_secs(3600);

struct Scene {
    provider: Provider,
    receiver: Provider,
    clock: Arc<ManualClock>,
    server: Server,
}

impl Scene {
    /// A token that is stored, and a webhook that is told after two failures.
    async fn set(database: &TestDatabase) -> Self {
        let (provider, receiver) = (Provider::start().await, Provider::start().await);
        let clock = Arc::new(ManualClock::at(EpochMs(1_700_000_000_000)));
        let server = Server::start_with(database, options(&clock, &receiver)).await;
        receiver.answer_with(Answer::status(204));
        server.client.register(&provider.url("/token")).await;
        Self {
            provider,
            receiver,
            clock,
            server,
        }
    }

    /// Makes the next attempt fail so, and waits for it.
    async fn fail(&self, answer: Answer) {
        let client = &self.server.client;
        let before = client.secret("r", "k").await["last_error"]["failures"].as_i64();
        self.provider.answer_with(answer);
        self.clock.advance(HOUR);
        self.clock.advance(HOUR);
        eventually("another failure", async || {
            let failures = client.secret("r", "k").await["last_error"]["failures"].as_i64();
            (failures > before).then_some(())
        })
        .await;
    }

    async fn recover(&self) {
        self.provider.answer_with(Answer::token("well", 7200));
        self.clock.advance(HOUR);
        self.clock.advance(HOUR);
        self.server.client.state("r", "k", "active").await;
    }

    async fn heard(&self, count: usize) -> Vec<Value> {
        self.receiver.wait_for_requests(count).await;
        let requests = self.receiver.requests();
        requests.iter().map(verified).collect()
    }
}

fn options(clock: &Arc<ManualClock>, receiver: &Provider) -> Options {
    let secret = format!("whsec_{}", STANDARD.encode(KEY));
    Options {
        env: vec![
            ("TOKEN_SERVER__WEBHOOK__URL", receiver.url("/hook")),
            ("TOKEN_SERVER__WEBHOOK__SECRET", secret),
            ("TOKEN_SERVER__WEBHOOK__FAILING_AFTER", "2".to_owned()),
            ("TOKEN_SERVER__WEBHOOK__MAX_AGE_S", "864000".to_owned()),
        ],
        clock: Some(clock.clone()),
        ..Options::default()
    }
}

/// The body, once its signature was checked as a receiver does.
fn verified(request: &RecordedRequest) -> Value {
    let header = |name: &str| request.headers[name].clone();
    let (id, timestamp) = (header("webhook-id"), header("webhook-timestamp"));
    let mut mac = Hmac::<Sha256>::new_from_slice(KEY).expect("any key");
    mac.update(format!("{id}.{timestamp}.{}", request.body).as_bytes());
    let signature = STANDARD.encode(mac.finalize().into_bytes());
    assert_eq!(header("webhook-signature"), format!("v1,{signature}"));
    assert_eq!(header("content-type"), "application/json");
    serde_json::from_str(&request.body).expect("JSON")
}

fn refusal() -> Answer {
    Answer::status(401).with_json(&json!({"error": "invalid_client"}))
}

async fn a_webhook_hears_of_failing_then_of_attention_needed_then_of_recovery(
    database: TestDatabase,
) {
    let scene = Scene::set(&database).await;
    scene.fail(Answer::status(500)).await;
    scene.fail(Answer::status(500)).await;
    scene.fail(Answer::status(500)).await;
    scene.fail(refusal()).await;
    scene.fail(refusal()).await;
    scene.recover().await;
    let heard = scene.heard(3).await;
    let kinds: Vec<&Value> = heard.iter().map(|event| &event["type"]).collect();
    assert_eq!(
        kinds,
        ["token.failing", "token.needs_attention", "token.recovered"]
    );
    let failing = &heard[0]["data"];
    assert_eq!(failing["realm"], "r");
    assert_eq!(failing["key"], "k");
    assert_eq!(failing["class"], "transient");
    assert_eq!(failing["failures"], 2);
    assert_eq!(failing["generation"], 1);
    assert!(failing["since"].is_string() && failing["next_attempt_at"].is_string());
    assert_eq!(heard[1]["data"]["class"], "permanent");
    assert_eq!(heard[2]["data"]["generation"], 2);
    assert!(
        !heard
            .iter()
            .any(|event| event.to_string().contains("the-secret"))
    );
    let left = "SELECT COUNT(*) FROM ts_event";
    eventually("the outbox is empty", async || {
        (database.number(left).await == 0).then_some(())
    })
    .await;
    assert_eq!(scene.receiver.request_count(), 3);
}

async fn passing_trouble_is_no_event(database: TestDatabase) {
    let scene = Scene::set(&database).await;
    scene.fail(Answer::status(500)).await;
    scene.recover().await;
    assert_eq!(database.number("SELECT COUNT(*) FROM ts_event").await, 0);
    assert_eq!(scene.receiver.request_count(), 0);
}

async fn an_event_that_is_not_taken_is_sent_again_under_its_id(database: TestDatabase) {
    let scene = Scene::set(&database).await;
    scene.receiver.answer_next(Answer::status(500));
    scene.receiver.answer_next(Answer::status(500));
    scene.fail(refusal()).await;
    for tries in 1..=2 {
        scene.receiver.wait_for_requests(tries).await;
        scene.clock.advance(HOUR);
    }
    scene.heard(3).await;
    let requests = scene.receiver.requests();
    let ids: BTreeSet<_> = requests.iter().map(|r| &r.headers["webhook-id"]).collect();
    let times: BTreeSet<_> = requests
        .iter()
        .map(|r| &r.headers["webhook-timestamp"])
        .collect();
    assert_eq!((ids.len(), times.len()), (1, 3));
    eventually("it is not sent again", async || {
        let left = database.number("SELECT COUNT(*) FROM ts_event").await;
        (left == 0).then_some(())
    })
    .await;
}

async fn an_event_that_nobody_takes_is_dropped_at_its_age(database: TestDatabase) {
    let scene = Scene::set(&database).await;
    scene.receiver.answer_with(Answer::status(500));
    scene.fail(refusal()).await;
    scene.receiver.wait_for_requests(1).await;
    scene.clock.advance(Ms(11 * 24 * HOUR.0));
    eventually("it is dropped", async || {
        let left = database.number("SELECT COUNT(*) FROM ts_event").await;
        (left == 0).then_some(())
    })
    .await;
    eventually("it is counted", async || {
        let metrics = scene.server.client.get("/metrics").await.expect(200).text;
        let counted = "token_server_webhook_deliveries_total{outcome=\"given_up\"} 1";
        metrics.contains(counted).then_some(())
    })
    .await;
}

async fn a_receiver_that_hangs_delays_no_renewal(database: TestDatabase) {
    let scene = Scene::set(&database).await;
    scene.receiver.hold();
    scene.fail(refusal()).await;
    scene.receiver.wait_for_requests(1).await;
    // Its answer is still awaited.
    scene.recover().await;
    let client = &scene.server.client;
    client.save_secret("r", "other").await;
    client.generation("r", "other", 1).await;
    assert_eq!(scene.receiver.request_count(), 1);
    scene.receiver.release();
    let heard = scene.heard(2).await;
    assert_eq!(heard[1]["type"], "token.recovered");
}

async fn each_event_is_sent_once_however_many_replicas_there_are(database: TestDatabase) {
    let scene = Scene::set(&database).await;
    let mut replicas = Vec::new();
    for _ in 0..2 {
        let options = options(&scene.clock, &scene.receiver);
        replicas.push(Server::start_with(&database, options).await);
    }
    let client = &scene.server.client;
    scene.provider.answer_with(refusal());
    for number in 0..20 {
        client.save_secret("r", &format!("k{number}")).await;
    }
    let heard = scene.heard(20).await;
    let keys: BTreeSet<_> = heard
        .iter()
        .map(|event| event["data"]["key"].to_string())
        .collect();
    eventually("the outbox is empty", async || {
        let left = database.number("SELECT COUNT(*) FROM ts_event").await;
        (left == 0).then_some(())
    })
    .await;
    assert_eq!((keys.len(), scene.receiver.request_count()), (20, 20));
}
