//! What follows where a provider refuses: a status alone is no verdict, and what is refused
//! right after a save is tried again before a human is asked for.

use std::sync::Arc;

use sea_orm::ConnectionTrait;
use serde_json::{Value, json};
use token_server::foundation::clock::{Clock, ManualClock, Ms};
use token_server::realm::date_form::DateForm;

use crate::kit::server::Options;
use crate::kit::{Answer, Provider, Server, TestDatabase, eventually, on_every_database};

on_every_database! {
    a_refusal_without_an_oauth_code_is_tried_again_within_seconds,
    a_status_that_refuses_is_no_success_whatever_the_condition_says,
    a_refusal_without_a_reason_that_repeats_needs_attention_and_not_before_ten_minutes,
    an_outage_between_refusals_without_a_reason_begins_their_count_anew,
    what_is_refused_right_after_a_save_is_tried_again_before_it_needs_attention,
    what_is_refused_after_a_token_was_obtained_needs_attention_at_once,
    a_change_of_the_realm_begins_the_quick_tries_anew,
    what_needs_attention_is_probed_after_1_5_15_and_60_minutes_and_then_hourly,
    a_provider_that_was_away_is_asked_again_within_a_quarter_of_the_last_life,
    a_pattern_over_code_and_message_decides_before_the_code,
    a_refused_refresh_token_without_a_code_is_kept_and_needs_attention_once_it_repeats,
    a_reader_is_told_which_side_failed,
    a_class_stored_by_an_earlier_version_reads_as_internal,
    a_pattern_that_is_no_regular_expression_is_refused_with_its_own_error,
}

struct Scene {
    server: Server,
    clock: Arc<ManualClock>,
    provider: Provider,
}

impl Scene {
    async fn new(database: &TestDatabase) -> Self {
        let clock = Arc::new(ManualClock::at(token_server::foundation::clock::EpochMs(
            1_700_000_000_000,
        )));
        let options = Options {
            env: vec![(
                "TOKEN_SERVER__RENEWAL__TRIES_AFTER_SAVE_S",
                "2, 5, 15, 45".to_owned(),
            )],
            clock: Some(clock.clone()),
            ..Options::default()
        };
        Self {
            server: Server::start_with(database, options).await,
            clock,
            provider: Provider::start().await,
        }
    }

    async fn save_realm(&self, more: Value) {
        let mut config = json!({
            "url": self.provider.url("/token"), "method": "GET",
            "token_path": "access_token", "expires_in_path": "expires_in",
        });
        for (field, value) in more.as_object().expect("fields") {
            config[field] = value.clone();
        }
        self.server.client.save_realm("r", config).await;
    }

    async fn begin(&self, more: Value) {
        self.save_realm(more).await;
        let secret = json!({"realm": "r", "key": "k"});
        self.server
            .client
            .post("/api/secret", &secret)
            .await
            .expect(200);
    }

    /// Waits for the n-th failure in a row, or since the last save.
    async fn failed(&self, failures: i64) -> Value {
        let failed = eventually(&format!("failure {failures}"), async || {
            let secret = self.server.client.secret("r", "k").await;
            (secret["last_error"]["failures"].as_i64() == Some(failures)).then_some(secret)
        })
        .await;
        self.server.settled().await;
        failed
    }

    /// How long after now the next attempt is due, in ms.
    async fn next_in(&self) -> i64 {
        let due = self.renew_at().await;
        due - self.clock.now().0
    }

    async fn renew_at(&self) -> i64 {
        let secret = self.server.client.secret("r", "k").await;
        let date = secret["renew_at"].as_str().expect("a date");
        let date = chrono_ms(date);
        assert!(date > 0);
        date
    }

    /// Moves the clock to the next attempt.
    async fn go_to_next(&self) {
        let wait = self.next_in().await;
        self.advance(Ms(wait.max(0)));
    }

    /// Moves the clock, and wakes the sweep as its schedule would within a second.
    fn advance(&self, by: Ms) {
        self.clock.advance(by);
        self.server.app().wake.notify_one();
    }
}

/// RFC 3339 in UTC with milliseconds, as the server writes it.
fn chrono_ms(date: &str) -> i64 {
    let value = json!(date);
    token_server::upstream::lifetimes::moment_of(&value, &DateForm::default())
        .expect("a date")
        .0
}

fn refused(status: u16, body: &Value) -> Answer {
    Answer::status(status).with_json(body)
}

fn invalid_client() -> Answer {
    refused(401, &json!({"error": "invalid_client"}))
}

async fn a_refusal_without_an_oauth_code_is_tried_again_within_seconds(database: TestDatabase) {
    let html = |status| {
        Answer::status(status)
            .with_header("content-type", "text/html")
            .with_bytes("<html>Request blocked</html>")
    };
    let redirect = Answer::status(302).with_header("location", "/sign-in");
    for answer in [
        html(403),
        html(404),
        html(451),
        Answer::status(401),
        Answer::status(400),
        redirect,
        refused(401, &json!({"message": "Unauthorized"})),
        refused(403, &json!({"error": "blocked_by_policy"})),
        refused(400, &json!({"error": {"code": 7}})),
        refused(200, &json!({"error": "try_again", "access_token": null})),
    ] {
        let database = match database.kind() {
            crate::kit::database::Kind::Sqlite => TestDatabase::sqlite(),
            crate::kit::database::Kind::MySql => TestDatabase::mysql().await,
        };
        let scene = Scene::new(&database).await;
        scene.provider.answer_next(answer.clone());
        scene.begin(json!({})).await;
        let secret = scene.failed(1).await;
        assert_eq!(secret["last_error"]["class"], "transient", "{answer:?}");
        assert_eq!(secret["state"], "pending", "{answer:?}");
        assert!(scene.next_in().await <= 2000, "{answer:?}");
        scene.go_to_next().await;
        scene.server.client.generation("r", "k", 1).await;
    }
}

async fn a_status_that_refuses_is_no_success_whatever_the_condition_says(database: TestDatabase) {
    for success in ["body.error_response is undefined", "status != 500", "true"] {
        for (answer, class, said) in [
            (Answer::status(429), "rate_limited", "answered 429"),
            (
                refused(429, &json!({"message": "slow down"})),
                "rate_limited",
                "slow down",
            ),
            (
                Answer::status(429).with_bytes("<html>"),
                "rate_limited",
                "answered 429",
            ),
            (
                refused(403, &json!({"message": "blocked"})),
                "transient",
                "answered 403: blocked",
            ),
            (invalid_client(), "permanent", "invalid_client"),
        ] {
            let scene = Scene::new(&database).await;
            scene.provider.answer_with(answer);
            scene.begin(json!({"success": success})).await;
            let secret = scene.failed(1).await;
            let error = &secret["last_error"];
            assert_eq!(error["class"], class, "{success}: {error}");
            let detail = error["detail"].as_str().expect("a text");
            assert!(detail.contains(said), "{success}: {detail}");
            let client = &scene.server.client;
            client.delete("/api/realm/r?cascade=true").await.expect(200);
        }
    }
}

async fn a_refusal_without_a_reason_that_repeats_needs_attention_and_not_before_ten_minutes(
    database: TestDatabase,
) {
    let scene = Scene::new(&database).await;
    scene.provider.answer_with(Answer::status(400));
    let begun = scene.clock.now();
    scene.begin(json!({})).await;
    for failures in 1..200 {
        let secret = scene.failed(failures).await;
        let lasted = Ms(scene.clock.now().0 - begun.0);
        let believed = failures >= 5 && lasted >= Ms::from_secs(600);
        assert_eq!(secret["state"] == "needs_attention", believed, "{lasted:?}");
        if believed {
            assert_eq!(secret["last_error"]["class"], "permanent");
            let wait = scene.next_in().await;
            assert!((60_000..=66_000).contains(&wait), "{wait}");
            return;
        }
        assert_eq!(secret["last_error"]["class"], "transient");
        scene.go_to_next().await;
    }
    panic!("it never needed attention");
}

async fn an_outage_between_refusals_without_a_reason_begins_their_count_anew(
    database: TestDatabase,
) {
    let scene = Scene::new(&database).await;
    let statuses = [403, 403, 403, 403, 502, 403, 403, 403, 403];
    for status in statuses {
        scene.provider.answer_next(Answer::status(status));
    }
    scene.begin(json!({})).await;
    for failures in 1..=9 {
        let secret = scene.failed(failures).await;
        assert_eq!(secret["last_error"]["class"], "transient", "{failures}");
        scene.advance(Ms::from_secs(400));
    }
    scene.server.client.generation("r", "k", 1).await;
}

async fn what_is_refused_right_after_a_save_is_tried_again_before_it_needs_attention(
    database: TestDatabase,
) {
    let scene = Scene::new(&database).await;
    scene.provider.answer_with(invalid_client());
    scene.begin(json!({})).await;
    for (failures, wait) in [(1, 2000), (2, 5000), (3, 15_000), (4, 45_000)] {
        let secret = scene.failed(failures).await;
        assert_eq!(secret["state"], "pending");
        assert_eq!(secret["last_error"]["class"], "permanent");
        assert_eq!(scene.next_in().await, wait);
        scene.go_to_next().await;
    }
    let secret = scene.failed(5).await;
    assert_eq!(secret["state"], "needs_attention");
    let list = scene
        .server
        .client
        .list("/api/secret?state=needs_attention");
    assert_eq!(list.await.len(), 1);
    scene.provider.answer_with(Answer::default());
    scene.go_to_next().await;
    scene.server.client.generation("r", "k", 1).await;
}

async fn what_is_refused_after_a_token_was_obtained_needs_attention_at_once(
    database: TestDatabase,
) {
    let scene = Scene::new(&database).await;
    scene.advance(Ms(1));
    scene.begin(json!({})).await;
    // The save and the token share a moment of the clock that stands still.
    scene.server.client.generation("r", "k", 1).await;
    scene.provider.answer_with(invalid_client());
    scene.advance(Ms::from_secs(7000));
    let secret = scene.failed(1).await;
    assert_eq!(secret["state"], "needs_attention");
    let wait = scene.next_in().await;
    assert!((60_000..=66_000).contains(&wait), "{wait}");
}

async fn a_change_of_the_realm_begins_the_quick_tries_anew(database: TestDatabase) {
    let scene = Scene::new(&database).await;
    scene.begin(json!({})).await;
    scene.server.client.generation("r", "k", 1).await;
    scene.provider.answer_with(invalid_client());
    scene.advance(Ms::from_secs(7000));
    assert_eq!(scene.failed(1).await["state"], "needs_attention");
    scene.advance(Ms(1));
    scene.save_realm(json!({"policy": {"timeout_s": 9}})).await;
    let secret = eventually("the quick try", async || {
        let secret = scene.server.client.secret("r", "k").await;
        (secret["state"] == "retrying" && secret["last_error"].is_object()).then_some(secret)
    })
    .await;
    assert_eq!(secret["last_error"]["failures"], 1);
    assert_eq!(scene.next_in().await, 2000);
}

async fn what_needs_attention_is_probed_after_1_5_15_and_60_minutes_and_then_hourly(
    database: TestDatabase,
) {
    let scene = Scene::new(&database).await;
    scene.begin(json!({})).await;
    scene.server.client.generation("r", "k", 1).await;
    scene.provider.answer_with(invalid_client());
    scene.advance(Ms::from_secs(7000));
    for (failures, minutes) in [(1, 1), (2, 5), (3, 15), (4, 60), (5, 60), (6, 60)] {
        assert_eq!(scene.failed(failures).await["state"], "needs_attention");
        let wait = scene.next_in().await;
        let expected = minutes * 60_000..=minutes * 66_000;
        assert!(expected.contains(&wait), "{wait} after {failures}");
        scene.go_to_next().await;
    }
    scene.failed(7).await;
    // An allow-list mended at the provider is noticed by the next probe.
    scene.provider.answer_with(Answer::default());
    scene.go_to_next().await;
    let secret = scene.server.client.generation("r", "k", 2).await;
    assert_eq!(secret["state"], "active");
}

async fn a_provider_that_was_away_is_asked_again_within_a_quarter_of_the_last_life(
    database: TestDatabase,
) {
    let scene = Scene::new(&database).await;
    scene.provider.answer_next(Answer::token("short", 16));
    scene.provider.answer_with(Answer::status(502));
    scene.begin(json!({})).await;
    scene.server.client.generation("r", "k", 1).await;
    scene.advance(Ms::from_secs(16));
    for failures in 1..12 {
        scene.failed(failures).await;
        assert!(scene.next_in().await <= 4000, "{failures}");
        scene.go_to_next().await;
    }
}

async fn a_pattern_over_code_and_message_decides_before_the_code(database: TestDatabase) {
    let scene = Scene::new(&database).await;
    let patterns = json!([
        {"match": "already being processed", "class": "transient"},
        {"match": "(?i)quota", "class": "rate_limited"},
        {"match": "^AADSTS7000222", "class": "permanent"},
    ]);
    let describe =
        |error: &str, text: &str| refused(400, &json!({"error": error, "error_description": text}));
    let answers = [
        describe("invalid_grant", "token request is already being processed"),
        describe("unknown", "Daily QUOTA exceeded"),
        describe("unknown", "AADSTS7000222: the secret has expired"),
    ];
    for (answer, class) in answers
        .into_iter()
        .zip(["transient", "rate_limited", "permanent"])
    {
        scene.provider.answer_next(answer);
        scene.provider.answer_with(Answer::status(502));
        let name = format!("r-{class}");
        let config = json!({
            "url": scene.provider.url("/token"), "method": "GET", "error": {"patterns": patterns},
            "token_path": "access_token", "expires_in_path": "expires_in",
        });
        let client = &scene.server.client;
        client.save_realm(&name, config).await;
        let secret = json!({"realm": name, "key": "k"});
        client.post("/api/secret", &secret).await.expect(200);
        let secret = eventually("a failure", async || {
            let secret = client.secret(&name, "k").await;
            secret["last_error"].is_object().then_some(secret)
        })
        .await;
        assert_eq!(secret["last_error"]["class"], class);
        client
            .delete(&format!("/api/realm/{name}?cascade=true"))
            .await
            .expect(200);
    }
}

async fn a_refused_refresh_token_without_a_code_is_kept_and_needs_attention_once_it_repeats(
    database: TestDatabase,
) {
    let scene = Scene::new(&database).await;
    scene.provider.answer_with(Answer::status(400));
    let config = json!({
        "params": {"refresh_token": {"title": "First refresh token"}}, "method": "POST",
        "content_type": "form",
        "arguments": [
            {"name": "refresh_token", "place": "body", "value": "$refresh_token"},
        ],
        "refresh_token_path": "refresh_token",
    });
    scene.save_realm(config).await;
    let secret = json!({"realm": "r", "key": "k", "params": {"refresh_token": "first"}});
    let client = &scene.server.client;
    client.post("/api/secret", &secret).await.expect(200);
    for failures in 1..=5 {
        let secret = scene.failed(failures).await;
        let last = failures == 5;
        assert_eq!(secret["state"] == "needs_attention", last, "{secret}");
        scene
            .clock
            .advance(Ms::from_secs(if last { 70 } else { 310 }));
    }
    // What was answered used nothing up: nobody waits for what a lost attempt may bring.
    scene.failed(6).await;
    let lost = "SELECT COUNT(*) FROM ts_token WHERE lost_attempt IS NOT NULL";
    assert_eq!(database.number(lost).await, 0);
    let requests = scene.provider.requests();
    assert!(
        requests
            .iter()
            .all(|request| request.body == "refresh_token=first")
    );
}

async fn a_reader_is_told_which_side_failed(database: TestDatabase) {
    let scene = Scene::new(&database).await;
    for (answer, more, class, said) in [
        (
            Answer::status(200).with_json(&json!({"access_token": "t"})),
            json!({}),
            "internal",
            "the realm's document failed (expiry_unknown",
        ),
        (
            invalid_client(),
            json!({}),
            "permanent",
            "the provider refused (the provider answered 401, code invalid_client)",
        ),
        (
            Answer::status(502),
            json!({}),
            "transient",
            "the provider did not issue a token (the provider answered 502)",
        ),
        (
            Answer::default(),
            json!({"token_template": "T ${token|fromjson}"}),
            "internal",
            "the realm's document failed (token_template: ",
        ),
    ] {
        scene.provider.answer_with(answer);
        scene.begin(more).await;
        scene.failed(1).await;
        let client = &scene.server.client;
        let problem = client
            .token("r", "k")
            .await
            .expect_problem(503, "token_unavailable");
        assert_eq!(problem["class"], class);
        let detail = problem["detail"].as_str().expect("a text");
        assert!(detail.starts_with(said), "{detail}");
        client.delete("/api/realm/r?cascade=true").await.expect(200);
    }
}

async fn a_class_stored_by_an_earlier_version_reads_as_internal(database: TestDatabase) {
    let scene = Scene::new(&database).await;
    scene
        .provider
        .answer_with(Answer::status(200).with_json(&json!({"access_token": "t"})));
    scene.begin(json!({})).await;
    assert_eq!(scene.failed(1).await["last_error"]["class"], "internal");
    let earlier = "UPDATE ts_token SET failure_class = 'ours'";
    let connection = database.connect().await;
    connection
        .execute_unprepared(earlier)
        .await
        .expect("the statement is good");
    let client = &scene.server.client;
    let secret = client.secret("r", "k").await;
    assert_eq!(secret["last_error"]["class"], "internal");
    assert_eq!(secret["state"], "needs_attention");
    assert_eq!(
        client.list("/api/secret?state=needs_attention").await.len(),
        1
    );
}

async fn a_pattern_that_is_no_regular_expression_is_refused_with_its_own_error(
    database: TestDatabase,
) {
    let scene = Scene::new(&database).await;
    let patterns = json!([
        {"match": "(", "class": "transient"},
        {"match": "a(?!b)", "class": "transient"},
        {"match": "a", "class": "passing"},
        {"match": "a"},
    ]);
    let config = json!({
        "url": scene.provider.url("/token"), "method": "GET", "error": {"patterns": patterns},
        "token_path": "access_token",
    });
    let body = json!({"id": "r", "config": config});
    let reply = scene.server.client.post("/api/realm", &body).await;
    let problem = reply.expect_problem(422, "invalid_document");
    let errors: Vec<_> = problem["errors"]
        .as_array()
        .expect("errors")
        .iter()
        .collect();
    let pointer = |index: usize| errors[index]["pointer"].as_str().expect("a text");
    let detail = |index: usize| errors[index]["detail"].as_str().expect("a text");
    assert_eq!(pointer(0), "/config/error/patterns/0/match");
    assert!(
        detail(0).contains("is not a regular expression: "),
        "{}",
        detail(0)
    );
    assert!(detail(1).contains("has a look-ahead"), "{}", detail(1));
    assert_eq!(pointer(2), "/config/error/patterns/2/class");
    assert_eq!(pointer(3), "/config/error/patterns/3/class");
}
