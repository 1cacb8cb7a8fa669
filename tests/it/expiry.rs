//! How long a token is served, as its provider's answer says it: in every form, by two clocks,
//! and refused where it is ambiguous or implausible.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::DateTime;
use serde_json::{Value, json};
use token_server::foundation::clock::{Clock, EpochMs, ManualClock, Ms, Timeline};

use crate::kit::{Answer, Provider, Server, TestDatabase, eventually, on_every_database};

on_every_database! {
    an_absolute_expiry_is_read_by_the_clock_of_whoever_wrote_it,
    a_jwt_that_ends_before_the_stated_expiry_is_served_until_it_ends,
    a_length_or_a_date_is_served_for_as_long_as_it_says,
    what_is_ambiguous_or_implausible_is_refused_by_name_and_never_cut,
    a_document_says_the_format_and_the_zone_of_its_dates,
    retry_after_is_obeyed_as_a_decimal_and_as_a_date_with_a_date_or_without,
    a_secret_may_say_the_expiry_where_the_answer_says_nothing,
    a_difference_of_the_clocks_is_named_where_a_token_is_refused,
    a_format_that_says_no_day_and_an_offset_that_is_none_are_refused,
}

const NOW: EpochMs = EpochMs(1_700_000_000_000);

struct Scene {
    server: Server,
    provider: Provider,
    clock: std::sync::Arc<ManualClock>,
}

impl Scene {
    async fn new(database: &TestDatabase) -> Self {
        let (server, clock) = Server::on_manual_clock(database).await;
        assert_eq!(clock.now(), NOW);
        Self {
            server,
            provider: Provider::start().await,
            clock,
        }
    }

    /// Registers a realm whose document says where the expiry stands, and a secret in it.
    async fn begin(&self, name: &str, more: Value, params: Value) {
        let mut config = json!({
            "url": self.provider.url("/token"), "method": "GET", "token_path": "access_token",
        });
        for (field, value) in more.as_object().expect("fields") {
            config[field] = value.clone();
        }
        self.server.client.save_realm(name, config).await;
        let secret = json!({"realm": name, "key": "k", "params": params});
        self.server
            .client
            .post("/api/secret", &secret)
            .await
            .expect(200);
    }

    /// For how many milliseconds the token is served that such an answer brings.
    async fn life(&self, name: &str, more: Value, answer: Answer) -> i64 {
        self.provider.answer_next(answer);
        self.begin(name, more, json!({})).await;
        self.server.client.generation(name, "k", 1).await;
        let served = self.server.client.token(name, "k").await.expect(200).json();
        served["expires_in"].as_i64().expect("a number")
    }

    async fn failed(&self, name: &str) -> String {
        let secret = eventually("a failure", async || {
            let secret = self.server.client.secret(name, "k").await;
            secret["last_error"].is_object().then_some(secret)
        })
        .await;
        assert_eq!(secret["generation"], 0);
        let detail = secret["last_error"]["detail"].as_str();
        detail.expect("a text").to_owned()
    }
}

fn date(at: EpochMs, format: &str) -> String {
    let date = DateTime::from_timestamp_millis(at.0).expect("a date");
    date.format(format).to_string()
}

fn http_date(at: EpochMs) -> String {
    date(at, "%a, %d %b %Y %H:%M:%S GMT")
}

fn in_seconds(secs: i64) -> EpochMs {
    NOW.plus(Ms::from_secs(secs))
}

fn answer(body: &Value) -> Answer {
    Answer::status(200).with_json(body)
}

fn jwt(claims: &Value) -> String {
    format!("h.{}.s", URL_SAFE_NO_PAD.encode(claims.to_string()))
}

async fn an_absolute_expiry_is_read_by_the_clock_of_whoever_wrote_it(database: TestDatabase) {
    let scene = Scene::new(&database).await;
    let at = json!({"expires_at_path": "exp"});
    for (name, skew, ends, served) in [
        ("fast", 300, 420, 119_001..=120_000),
        ("slow", -300, -180, 119_001..=120_000),
        ("slow-long", -300, 3600, 3_600_000..=3_600_000),
        ("agrees", 0, 120, 119_001..=120_000),
        // A day off and more, and nobody believes it.
        ("far", 90_000, 420, 420_000..=420_000),
    ] {
        let body = json!({"access_token": "t", "exp": date(in_seconds(ends), "%+")});
        let dated = answer(&body).with_header("date", &http_date(in_seconds(skew)));
        let life = scene.life(name, at.clone(), dated).await;
        assert!(served.contains(&life), "{name}: {life}");
    }
}

async fn a_jwt_that_ends_before_the_stated_expiry_is_served_until_it_ends(database: TestDatabase) {
    let scene = Scene::new(&database).await;
    let stated = json!({"expires_in_path": "expires_in"});
    let seconds = |at: EpochMs| at.0 / 1000;
    for (name, claims, expires_in, served) in [
        (
            "sooner",
            json!({"exp": seconds(in_seconds(14))}),
            Some(15),
            13_001..=14_000,
        ),
        (
            "later",
            json!({"exp": seconds(in_seconds(99))}),
            Some(15),
            15_000..=15_000,
        ),
        (
            "alone",
            json!({"exp": seconds(in_seconds(50))}),
            None,
            49_001..=50_000,
        ),
        (
            "fast-clock",
            json!({"exp": seconds(in_seconds(400)), "iat": seconds(in_seconds(300))}),
            Some(3600),
            100_000..=100_000,
        ),
    ] {
        let mut body = json!({"access_token": jwt(&claims)});
        if let Some(expires_in) = expires_in {
            body["expires_in"] = json!(expires_in);
        }
        // Without a date of the provider's, as the test's clock is not the machine's.
        let life = scene.life(name, stated.clone(), answer(&body)).await;
        assert!(served.contains(&life), "{name}: {life}");
    }
}

async fn a_length_or_a_date_is_served_for_as_long_as_it_says(database: TestDatabase) {
    let scene = Scene::new(&database).await;
    let two_hours = in_seconds(7200);
    let ns = i128::from(two_hours.0) * 1_000_000;
    let ticks = i128::from(two_hours.0) * 10_000 + 621_355_968_000_000_000;
    let lengths = [
        json!("02:00:00"),
        json!("PT2H"),
        json!("120 mins"),
        json!("0.02:00:00"),
        json!("7200.0"),
    ];
    let dates = [
        json!(date(two_hours, "%-m/%-d/%Y %-I:%M:%S %p +00:00")),
        json!(date(two_hours, "%Y-%m-%d %H:%M:%S +0000")),
        json!(date(two_hours, "%Y/%m/%d %H:%M:%S")),
        json!(date(two_hours, "%Y%m%d%H%M%S")),
        json!(format!("/Date({})/", two_hours.0)),
        json!(ns.to_string()),
        json!(ticks.to_string()),
        serde_json::from_str(&ns.to_string()).expect("a number"),
    ];
    let lengths = lengths.map(|value| (json!({"expires_in_path": "exp"}), value));
    let dates = dates.map(|value| (json!({"expires_at_path": "exp"}), value));
    for (index, (more, value)) in lengths.into_iter().chain(dates).enumerate() {
        let body = json!({"access_token": "t", "exp": value});
        let life = scene.life(&format!("r{index}"), more, answer(&body)).await;
        assert_eq!(life, 7_200_000, "{value}");
    }
}

async fn what_is_ambiguous_or_implausible_is_refused_by_name_and_never_cut(database: TestDatabase) {
    let scene = Scene::new(&database).await;
    let (within, at) = (
        json!({"expires_in_path": "exp"}),
        json!({"expires_at_path": "exp"}),
    );
    for (index, (more, value, said)) in [
        (
            &within,
            json!(1e12),
            "is implausible: it is longer than ten years",
        ),
        (&within, json!("600w"), "is implausible"),
        (&within, json!(1_700_007_200), "is implausible"),
        (&within, json!("7:00:00"), "is ambiguous"),
        (&within, json!("P1M"), "is ambiguous"),
        (&within, json!("soon"), "cannot be read"),
        (
            &at,
            json!(7200),
            "is implausible: it is not between 2000 and 2100",
        ),
        (&at, json!("9999-12-31T23:59:59Z"), "is implausible"),
        (
            &at,
            json!("2040-01-01T00:00:00Z"),
            "is implausible: it is more than ten years ahead",
        ),
        (
            &at,
            json!("03/04/2026 10:00:00"),
            "is ambiguous: day and month",
        ),
        (&at, json!("tomorrow"), "cannot be read"),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("r{index}");
        scene
            .provider
            .answer_next(answer(&json!({"access_token": "t", "exp": value})));
        scene.begin(&name, more.clone(), json!({})).await;
        let detail = scene.failed(&name).await;
        let expected = format!("the expiry at exp {said}");
        assert!(detail.starts_with(&expected), "{value}: {detail}");
    }
}

async fn a_document_says_the_format_and_the_zone_of_its_dates(database: TestDatabase) {
    let scene = Scene::new(&database).await;
    let beijing = in_seconds(8 * 3600 + 600);
    for (name, more, value) in [
        (
            "format",
            json!({"expires_at_path": "exp", "expires_at_format": "%d.%m.%Y %H:%M"}),
            date(in_seconds(600), "%d.%m.%Y %H:%M"),
        ),
        (
            "zone",
            json!({"expires_at_path": "exp", "expires_at_offset": "+08:00"}),
            date(beijing, "%Y-%m-%d %H:%M:%S"),
        ),
        (
            "both",
            json!({
                "expires_at": "body.exp", "expires_at_format": "%d/%m/%Y %H:%M:%S",
                "expires_at_offset": "+08",
            }),
            date(beijing, "%d/%m/%Y %H:%M:%S"),
        ),
    ] {
        let body = json!({"access_token": "t", "exp": value});
        let life = scene.life(name, more, answer(&body)).await;
        assert!((540_001..=600_000).contains(&life), "{name}: {life}");
    }
}

async fn retry_after_is_obeyed_as_a_decimal_and_as_a_date_with_a_date_or_without(
    database: TestDatabase,
) {
    let scene = Scene::new(&database).await;
    let limited = |wait: &str| Answer::status(429).with_header("retry-after", wait);
    for (name, answer) in [
        ("decimal", limited("120.0")),
        ("whole", limited(" 120 ")),
        ("date", limited(&http_date(in_seconds(120)))),
        (
            "date-of-another-clock",
            limited(&http_date(in_seconds(1020))).with_header("date", &http_date(in_seconds(900))),
        ),
    ] {
        scene.provider.answer_next(answer);
        scene.begin(name, json!({}), json!({})).await;
        scene.failed(name).await;
        let secret = scene.server.client.secret(name, "k").await;
        let due = secret["renew_at"].as_str().expect("a date");
        let due = DateTime::parse_from_rfc3339(due).expect("a date");
        let wait = due.timestamp_millis() - scene.clock.now().0;
        assert!((119_000..=121_000).contains(&wait), "{name}: {wait}");
    }
}

async fn a_secret_may_say_the_expiry_where_the_answer_says_nothing(database: TestDatabase) {
    let scene = Scene::new(&database).await;
    let more = json!({
        "params": {"life": {"title": "Seconds a token lives", "secret": false, "default": "600"}},
        "default_expires_in_s": "$life",
    });
    scene
        .provider
        .answer_with(answer(&json!({"access_token": "t"})));
    for (name, params, served) in [
        ("stated", json!({"life": "90"}), 90_000),
        ("default", json!({}), 600_000),
    ] {
        scene.begin(name, more.clone(), params).await;
        scene.server.client.generation(name, "k", 1).await;
        let token = scene
            .server
            .client
            .token(name, "k")
            .await
            .expect(200)
            .json();
        assert_eq!(token["expires_in"], served, "{name}");
    }
    for (name, life) in [
        ("words", "an hour"),
        ("negative", "-1"),
        ("too-long", "999999999999"),
    ] {
        scene.begin(name, more.clone(), json!({"life": life})).await;
        let detail = scene.failed(name).await;
        let expected = "default_expires_in_s is not a whole number from 0 to";
        assert!(detail.starts_with(expected), "{detail}");
        assert!(!detail.contains(life), "{detail}");
    }
}

async fn a_difference_of_the_clocks_is_named_where_a_token_is_refused(database: TestDatabase) {
    let scene = Scene::new(&database).await;
    let body = json!({"access_token": "t", "exp": date(in_seconds(-5), "%+")});
    let slow = answer(&body).with_header("date", &http_date(in_seconds(40)));
    scene.provider.answer_next(slow);
    scene
        .begin("expired", json!({"expires_at_path": "exp"}), json!({}))
        .await;
    let detail = scene.failed("expired").await;
    assert!(detail.contains("has expired already"), "{detail}");
    assert!(
        detail.contains("the provider's clock is 40 s ahead of this server's"),
        "{detail}"
    );
    let refusal = Answer::status(400).with_json(&json!({"error": "invalid_grant"}));
    let early = refusal.with_header("date", &http_date(in_seconds(-30)));
    scene.provider.answer_next(early);
    scene.begin("refused", json!({}), json!({})).await;
    let detail = scene.failed("refused").await;
    assert!(
        detail.ends_with("the provider's clock is 30 s behind this server's"),
        "{detail}"
    );
}

async fn a_format_that_says_no_day_and_an_offset_that_is_none_are_refused(database: TestDatabase) {
    let scene = Scene::new(&database).await;
    let config = json!({
        "url": scene.provider.url("/token"), "method": "GET", "token_path": "access_token",
        "expires_at_path": "exp", "expires_at_format": "%H:%M", "expires_at_offset": "Beijing",
        "default_expires_in_s": -1,
    });
    let body = json!({"id": "r", "config": config});
    let reply = scene.server.client.post("/api/realm", &body).await;
    let problem = reply.expect_problem(422, "invalid_document");
    let errors = problem["errors"].as_array().expect("errors").iter();
    let mut pointers: Vec<_> = errors.map(|error| error["pointer"].as_str()).collect();
    pointers.sort_unstable();
    let expected = [
        "/config/default_expires_in_s",
        "/config/expires_at_format",
        "/config/expires_at_offset",
    ];
    assert_eq!(pointers, expected.map(Some));
}
