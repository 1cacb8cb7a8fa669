//! Once a provider has rotated, the refresh token in its answer is kept, whatever is wrong with
//! the rest of that answer.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use poem::http::StatusCode;
use poem::{Endpoint, Request, Response};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use sea_orm::ConnectionTrait;
use serde_json::{Value, json};
use token_server::foundation::clock::{ManualClock, Ms};

use super::{Scene, only_refreshing};
use crate::kit::provider::LocalServer;
use crate::kit::{Answer, Server, TestDatabase, eventually, on_every_database};

on_every_database! {
    whatever_is_wrong_with_an_answer_after_a_rotation_the_next_request_sends_its_refresh_token,
    generated_answers_with_a_fault_each_never_cost_the_newest_refresh_token,
    a_refusal_that_names_a_refresh_token_rotates_nothing,
    bytes_that_are_no_characters_beside_it_do_not_cost_the_refresh_token,
    all_faults_of_an_answer_are_reported_together,
    the_refresh_token_of_a_faulty_answer_is_kept_where_the_lease_was_lost,
    the_refresh_token_of_a_faulty_answer_is_kept_where_the_realm_was_changed_meanwhile,
    the_refresh_token_of_a_faulty_answer_that_comes_late_is_kept,
    an_older_refresh_token_does_not_replace_one_that_a_faulty_answer_brought,
}

/// Longer than any backoff or probe.
const LATER: Ms = Ms::from_secs(3 * 3600);

/// A provider that ends an authorization where a used refresh token comes again (RFC 9700,
/// section 4.14.2). Each secret has a path of its own.
#[derive(Default)]
struct Strict(Mutex<BTreeMap<String, Authorization>>);

#[derive(Default)]
struct Authorization {
    /// What is changed in the answers to come, in their order.
    faults: Vec<Fault>,
    requests: usize,
    /// The refresh tokens that came and were not the newest.
    reused: Vec<String>,
}

impl Strict {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Authorization>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The refresh token that the n-th answer brings; the secret is given that of none.
fn refresh_token(answers: usize) -> String {
    format!("refresh-token-{answers}")
}

struct StrictEndpoint(Arc<Strict>);

impl Endpoint for StrictEndpoint {
    type Output = Response;

    async fn call(&self, mut request: Request) -> poem::Result<Response> {
        let path = request.uri().path().to_owned();
        let body = request.take_body().into_string().await.unwrap_or_default();
        let form = url::form_urlencoded::parse(body.as_bytes());
        let sent = form.into_owned().find(|(name, _)| name == "refresh_token");
        let sent = sent.map(|(_, value)| value).unwrap_or_default();
        let mut authorizations = self.0.lock();
        let known = authorizations.get_mut(&path).expect("a path of the test");
        if sent != refresh_token(known.requests) {
            known.reused.push(sent);
            return Ok(Response::builder()
                .status(StatusCode::BAD_REQUEST)
                .body(json!({"error": "invalid_grant"}).to_string()));
        }
        known.requests += 1;
        let mut answer = json!({
            "access_token": format!("token-{}", known.requests), "expires_in": 3600,
            "refresh_token": refresh_token(known.requests), "n": 1,
        });
        if let Some(fault) = known.faults.get(known.requests - 1) {
            fault.change(&mut answer);
        }
        Ok(Response::builder()
            .content_type("application/json")
            .body(answer.to_string()))
    }
}

/// What is wrong with one answer.
#[derive(Clone, Debug)]
enum Fault {
    None,
    Lacks(&'static str),
    Holds(&'static str, Value),
}

impl Fault {
    fn change(&self, answer: &mut Value) {
        match self {
            Self::None => {}
            Self::Lacks(field) => {
                answer.as_object_mut().expect("an object").remove(*field);
            }
            Self::Holds(field, value) => answer[*field] = value.clone(),
        }
    }
}

/// A server, a strict provider, and a realm and a secret for each case.
struct World {
    server: Server,
    clock: Arc<ManualClock>,
    provider: Arc<Strict>,
    local: LocalServer,
}

impl World {
    async fn new(database: &TestDatabase) -> Self {
        let (server, clock) = Server::on_manual_clock(database).await;
        let provider = Arc::<Strict>::default();
        let local = LocalServer::start(StrictEndpoint(provider.clone())).await;
        Self {
            server,
            clock,
            provider,
            local,
        }
    }

    async fn register(&self, name: &str, more: &Value, faults: Vec<Fault>) {
        let path = format!("/{name}");
        let mut config = json!({
            "params": {"refresh_token": {"title": "The first refresh token"}},
            "url": self.local.url(&path), "method": "POST", "content_type": "form",
            "token_path": "access_token", "expires_in_path": "expires_in",
            "refresh_token_path": "refresh_token",
        });
        let fields = [&only_refreshing(), more].map(|fields| fields.as_object().cloned());
        for (field, value) in fields.into_iter().flatten().flatten() {
            config[field] = value;
        }
        // Null takes a field of the usual document away.
        let fields = config.as_object_mut().expect("an object");
        fields.retain(|_, value| !value.is_null());
        self.server.client.save_realm(name, config).await;
        let authorization = Authorization {
            faults,
            ..Authorization::default()
        };
        self.provider.lock().insert(path, authorization);
        let secret =
            json!({"realm": name, "key": "k", "params": {"refresh_token": refresh_token(0)}});
        self.server
            .client
            .post("/api/secret", &secret)
            .await
            .expect(200);
    }

    /// Waits until each secret has been asked for so often; makes them due until then, however
    /// long a token is said to live.
    async fn asked(&self, database: &TestDatabase, times: usize) {
        eventually("all are asked for", async || {
            let slowest = self
                .provider
                .lock()
                .values()
                .map(|known| known.requests)
                .min();
            let reused = self
                .provider
                .lock()
                .values()
                .any(|known| !known.reused.is_empty());
            if slowest >= Some(times) || reused {
                return Some(());
            }
            self.server.settled().await;
            self.clock.advance(LATER);
            run(
                database,
                "UPDATE ts_token SET renew_at = 0 WHERE lease_owner IS NULL",
            )
            .await;
            self.server.app().wake.notify_one();
            None
        })
        .await;
    }

    fn reused(&self) -> Vec<(String, Vec<String>)> {
        let known = self.provider.lock();
        let reused = known.iter().filter(|(_, known)| !known.reused.is_empty());
        reused
            .map(|(path, known)| (path.clone(), known.reused.clone()))
            .collect()
    }
}

/// Realms whose document has a fault, and answers that have one.
fn cases() -> Vec<(&'static str, Value, Fault)> {
    let lacks = |name, field| (name, json!({}), Fault::Lacks(field));
    let holds = |name, field, value| (name, json!({}), Fault::Holds(field, value));
    let document = |name, more| (name, more, Fault::None);
    vec![
        lacks("no-expiry", "expires_in"),
        holds("expiry-null", "expires_in", json!(null)),
        holds("expiry-0", "expires_in", json!(0)),
        holds("expired", "expires_in", json!(-1)),
        holds("expiry-words", "expires_in", json!("soon")),
        holds("expiry-list", "expires_in", json!([3600])),
        lacks("no-token", "access_token"),
        holds("token-null", "access_token", json!(null)),
        holds("token-empty", "access_token", json!("")),
        holds("token-number", "access_token", json!(5)),
        holds("token-object", "access_token", json!({"value": "t"})),
        holds("error-beside", "errcode", json!(40001)),
        holds(
            "error-beside-oauth",
            "error",
            json!("temporarily_unavailable"),
        ),
        document("token-path", json!({"token_path": "acess_token"})),
        document("expiry-path", json!({"expires_in_path": "expires"})),
        document(
            "refresh-path",
            json!({"refresh_token_path": "refreshtoken"}),
        ),
        document(
            "refresh-expression",
            json!({"refresh_token_path": null, "refresh_token_from": "body.n.a|first|upper"}),
        ),
        document("template", json!({"token_template": "T ${token|fromjson}"})),
        document("extra", json!({"extra": {"scope": "body.scope|fromjson"}})),
        document("condition", json!({"success": "body.n|fromjson == 1"})),
        document("never-a-success", json!({"success": "body.ok == 1"})),
        document(
            "refresh-expiry",
            json!({"refresh_expires_in_path": "access_token"}),
        ),
    ]
}

async fn whatever_is_wrong_with_an_answer_after_a_rotation_the_next_request_sends_its_refresh_token(
    database: TestDatabase,
) {
    let world = World::new(&database).await;
    for (name, document, fault) in cases() {
        let faults = vec![Fault::None, fault.clone(), fault, Fault::None];
        world.register(name, &document, faults).await;
    }
    world.asked(&database, 5).await;
    assert_eq!(world.reused(), []);
}

/// Any JSON, more often what providers might write.
fn any_json() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[ -~]{0,12}".prop_map(Value::from),
        "[0-9]{1,20}[a-z:. ]{0,3}".prop_map(Value::from),
        prop::collection::vec(any::<u8>(), 0..3).prop_map(Value::from),
        Just(json!({"a": {"b": 1}})),
    ]
}

fn any_fault() -> impl Strategy<Value = Fault> {
    let field = || prop::sample::select(vec!["access_token", "expires_in", "n", "errcode"]);
    prop_oneof![
        1 => Just(Fault::None),
        1 => field().prop_map(Fault::Lacks),
        4 => (field(), any_json()).prop_map(|(field, value)| Fault::Holds(field, value)),
    ]
}

/// Documents that fail on some of those answers.
fn any_document() -> impl Strategy<Value = Value> {
    prop::sample::select(vec![
        json!({}),
        json!({"extra": {"n": "body.n|int"}}),
        json!({"token_template": "T ${token ~ (extra.n|int)}", "extra": {"n": "body.n"}}),
        json!({"success": "body.n|int > 0"}),
        json!({"default_expires_in_s": 60}),
        json!({"expires_in_path": "n", "expires_in_unit": "ms"}),
    ])
}

async fn generated_answers_with_a_fault_each_never_cost_the_newest_refresh_token(
    database: TestDatabase,
) {
    const CASES: usize = 40;
    const ANSWERS: usize = 5;
    let world = World::new(&database).await;
    let mut runner = TestRunner::default();
    let cases = (any_document(), prop::collection::vec(any_fault(), ANSWERS));
    let mut generated = BTreeMap::new();
    for number in 0..CASES {
        let (document, faults) = cases.new_tree(&mut runner).expect("a case").current();
        let name = format!("generated-{number}");
        world.register(&name, &document, faults.clone()).await;
        generated.insert(format!("/{name}"), (document, faults));
    }
    world.asked(&database, ANSWERS).await;
    let reused = world.reused();
    let first = reused.first().map(|(path, _)| &generated[path]);
    assert_eq!(reused, [], "{first:?}");
}

async fn bytes_that_are_no_characters_beside_it_do_not_cost_the_refresh_token(
    database: TestDatabase,
) {
    let scene = Scene::set(&database, only_refreshing()).await;
    let answer = b"{\"access_token\":\"t\",\"expires_in\":60,\"shop\":\"\xff\xfe\",\"refresh_token\":\"second\"}";
    scene
        .provider
        .answer_next(Answer::status(200).with_bytes(answer.to_vec()));
    scene.save(Some("first")).await;
    scene.provider.wait_for_requests(1).await;
    scene.server.settled().await;
    scene.next(Some("third"));
    scene.clock.advance(LATER);
    scene.server.client.generation("r", "k", 1).await;
    assert_eq!(scene.sent_refresh_token(1).as_deref(), Some("second"));
}

async fn run(database: &TestDatabase, sql: &str) {
    let done = database.connect().await.execute_unprepared(sql).await;
    done.expect("the statement is good");
}

/// An answer that has rotated, and says nothing of its token's life.
fn without_expiry(refresh_token: &str) -> Answer {
    Answer::status(200)
        .with_json(&json!({"access_token": "of-no-use", "refresh_token": refresh_token}))
}

/// A secret with a token, whose next request has come and is not answered yet.
async fn asked_again(database: &TestDatabase) -> Scene {
    let scene = Scene::set(database, only_refreshing()).await;
    scene.next(Some("second"));
    scene.save(Some("first")).await;
    scene.server.client.generation("r", "k", 1).await;
    scene.provider.answer_next(without_expiry("third"));
    scene.provider.hold();
    scene.clock.advance(Ms::from_secs(3100));
    scene.provider.wait_for_requests(2).await;
    scene
}

const FREE: &str = "UPDATE ts_token SET claim_id = NULL, lease_owner = NULL, lease_until = NULL";

async fn a_refusal_that_names_a_refresh_token_rotates_nothing(database: TestDatabase) {
    let scene = Scene::set(&database, only_refreshing()).await;
    let refusal = json!({"error": "invalid_request", "refresh_token": "of-a-refusal"});
    scene
        .provider
        .answer_next(Answer::status(400).with_json(&refusal));
    scene.save(Some("first")).await;
    scene.provider.wait_for_requests(1).await;
    scene.server.settled().await;
    scene.next(Some("second"));
    scene.clock.advance(LATER);
    scene.server.client.generation("r", "k", 1).await;
    assert_eq!(scene.sent_refresh_token(1).as_deref(), Some("first"));
}

async fn all_faults_of_an_answer_are_reported_together(database: TestDatabase) {
    let mut config = only_refreshing();
    config["extra"] = json!({"scope": "body.access_token|fromjson"});
    let scene = Scene::set(&database, config).await;
    let answer = json!({"access_token": 5, "expires_in": "soon", "refresh_token": "second"});
    scene
        .provider
        .answer_next(Answer::status(200).with_json(&answer));
    scene.save(Some("first")).await;
    let secret = eventually("a failure", async || {
        let secret = scene.server.client.secret("r", "k").await;
        secret["last_error"].is_object().then_some(secret)
    })
    .await;
    let detail = secret["last_error"]["detail"].as_str().expect("a text");
    for part in [
        "what stands for the token at access_token is not a string",
        "the expiry at expires_in cannot be read",
        "extra.scope",
        "the refresh token in the answer is kept",
    ] {
        assert!(detail.contains(part), "{detail}");
    }
    assert!(!detail.contains("second"), "{detail}");
}

async fn the_refresh_token_of_a_faulty_answer_is_kept_where_the_lease_was_lost(
    database: TestDatabase,
) {
    let scene = asked_again(&database).await;
    run(
        &database,
        "UPDATE ts_token SET fence = fence + 1, claim_id = 'another', lease_owner = 'another'",
    )
    .await;
    scene.provider.release();
    scene.server.settled().await;
    run(&database, FREE).await;
    scene.next(Some("fourth"));
    scene.renewed(2).await;
    assert_eq!(scene.sent_refresh_token(2).as_deref(), Some("third"));
}

async fn the_refresh_token_of_a_faulty_answer_is_kept_where_the_realm_was_changed_meanwhile(
    database: TestDatabase,
) {
    let scene = asked_again(&database).await;
    let changed = json!({"id": "r", "comment": "changed meanwhile"});
    let client = &scene.server.client;
    client.post("/api/realm", &changed).await.expect(200);
    scene.provider.release();
    scene.next(Some("fourth"));
    scene.renewed(2).await;
    assert_eq!(scene.sent_refresh_token(2).as_deref(), Some("third"));
}

async fn the_refresh_token_of_a_faulty_answer_that_comes_late_is_kept(database: TestDatabase) {
    let mut config = only_refreshing();
    config["policy"] = json!({"timeout_s": 1});
    let scene = Scene::set(&database, config).await;
    scene.next(Some("second"));
    scene.save(Some("first")).await;
    scene.server.client.generation("r", "k", 1).await;
    scene.provider.answer_next(without_expiry("third"));
    scene.provider.hold();
    scene.clock.advance(Ms::from_secs(3100));
    scene.provider.wait_for_requests(2).await;
    // The attempt's second is over.
    scene.failed("retrying").await;
    scene.provider.release();
    scene.next(Some("fourth"));
    let awaited = "SELECT COUNT(*) FROM ts_token WHERE lost_attempt IS NOT NULL";
    eventually("the late answer is kept", async || {
        (database.number(awaited).await == 0).then_some(())
    })
    .await;
    scene.renewed(2).await;
    assert_eq!(scene.sent_refresh_token(2).as_deref(), Some("third"));
}

async fn an_older_refresh_token_does_not_replace_one_that_a_faulty_answer_brought(
    database: TestDatabase,
) {
    let scene = asked_again(&database).await;
    run(
        &database,
        "UPDATE ts_token SET fence = fence + 1, claim_id = 'another', lease_owner = 'another', \
         refresh_obtained_at = refresh_obtained_at + 4000000",
    )
    .await;
    scene.provider.release();
    let kept = "SELECT COUNT(*) FROM ts_candidate";
    eventually("it is kept beside", async || {
        (database.number(kept).await == 1).then_some(())
    })
    .await;
    run(&database, FREE).await;
    scene.next(Some("fourth"));
    scene.renewed(2).await;
    assert_eq!(scene.sent_refresh_token(2).as_deref(), Some("second"));
}
