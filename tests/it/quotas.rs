//! Quotas that providers set, shared by all replicas; and the pace.

mod given_back;
mod sent;

use std::collections::BTreeMap;
use std::sync::Arc;

use sea_orm::{ConnectionTrait, QueryResult, Statement};
use serde_json::{Value, json};
use token_server::foundation::clock::{EpochMs, ManualClock, Ms};

use crate::kit::server::Options;
use crate::kit::{Provider, Server, TestDatabase, eventually, on_every_database};

on_every_database! {
    a_spent_quota_sends_nothing_answers_the_current_token_and_says_when_it_frees,
    without_a_valid_token_a_spent_quota_is_a_503_that_says_when_to_come_again,
    a_day_is_never_exceeded_and_schedules_never_starve_while_callers_flush_on_three_replicas,
    a_realms_quota_is_shared_by_its_secrets,
    a_server_that_stops_gives_back_what_it_reserved_and_did_not_send,
    requests_to_one_realm_start_no_faster_than_its_rate,
}

const DAY: i64 = 86_400_000;
/// What a provider grants in a day.
const DAILY: usize = 400;

async fn replica(database: &TestDatabase, clock: &Arc<ManualClock>) -> Server {
    let options = Options {
        clock: Some(clock.clone()),
        ..Options::default()
    };
    Server::start_with(database, options).await
}

async fn register(server: &Server, provider: &Provider, policy: Value) {
    let config = json!({
        "url": provider.url("/token"), "method": "GET",
        "token_path": "access_token", "expires_in_path": "expires_in", "policy": policy,
    });
    server.client.save_realm("r", config).await;
}

async fn flush(server: &Server) -> Value {
    let body = json!({"realm": "r", "key": "k"});
    let reply = server.client.post("/api/token/flush", &body).await;
    let reply = reply.expect(200);
    let mut answer = reply.json();
    answer["retry_after"] = json!(reply.header("retry-after"));
    answer
}

/// How many requests each quota counts.
async fn reserved(database: &TestDatabase) -> Vec<i64> {
    let connection = database.connect().await;
    let rows = connection
        .query_all_raw(Statement::from_string(
            connection.get_database_backend(),
            "SELECT reserved FROM ts_quota",
        ))
        .await;
    let count = |row: &QueryResult| {
        let reserved: String = row.try_get_by_index(0).expect("a text");
        let parts: Vec<(i64, i64)> = serde_json::from_str(&reserved).expect("parts of the window");
        parts.iter().map(|(_, count)| count).sum()
    };
    let counts = rows.expect("the query is good").iter().map(count).collect();
    connection.close().await.expect("the connection closes");
    counts
}

async fn a_spent_quota_sends_nothing_answers_the_current_token_and_says_when_it_frees(
    database: TestDatabase,
) {
    let provider = Provider::start().await;
    let (server, clock) = Server::on_manual_clock(&database).await;
    let quota = json!([{"limit": 4, "window_s": 240}]);
    let policy = json!({"quota": quota, "min_flush_interval_s": 0});
    register(&server, &provider, policy).await;
    server.client.save_secret("r", "k").await;
    server.client.generation("r", "k", 1).await;
    // Of four, the schedule owns two; the first token was one.
    let mut flushed = 0;
    let denied = loop {
        let answer = flush(&server).await;
        if answer["flushed"] == false {
            break answer;
        }
        flushed += 1;
    };
    assert_eq!(flushed, 1);
    let sent = provider.request_count();
    assert_eq!(denied["flush_denied"], "the provider's quota is used up");
    assert_eq!(denied["flush_denied_code"], "quota_spent");
    assert_eq!(denied["token"], format!("token-{sent}"));
    let wait: i64 = denied["retry_after"]
        .as_str()
        .expect("when to come again")
        .parse()
        .expect("seconds");
    assert!((200..=262).contains(&wait), "{wait}");
    clock.advance(Ms::from_secs(wait - 2));
    assert_eq!(flush(&server).await["flushed"], false);
    clock.advance(Ms::from_secs(2));
    assert_eq!(flush(&server).await["flushed"], true);
    assert_eq!(provider.request_count(), sent + 1);
}

async fn without_a_valid_token_a_spent_quota_is_a_503_that_says_when_to_come_again(
    database: TestDatabase,
) {
    let provider = Provider::start().await;
    provider.answer_with(crate::kit::Answer::numbered_token(60));
    let (server, clock) = Server::on_manual_clock(&database).await;
    register(
        &server,
        &provider,
        json!({"quota": [{"limit": 1, "window_s": 3600}]}),
    )
    .await;
    server.client.save_secret("r", "k").await;
    server.client.generation("r", "k", 1).await;
    clock.advance(Ms::from_secs(59));
    let secret = eventually("it waits for the quota", async || {
        let secret = server.client.secret("r", "k").await;
        secret["waiting"].is_string().then_some(secret)
    })
    .await;
    assert_eq!(secret["waiting"], "the provider's quota is used up");
    assert_eq!(secret["state"], "active");
    clock.advance(Ms::from_secs(1));
    let refused = server.client.token("r", "k").await;
    let wait = refused.header("retry-after").map(str::to_owned);
    let problem = refused.expect_problem(503, "token_unavailable");
    assert_eq!(problem["class"], "rate_limited", "{problem}");
    let wait: i64 = wait.expect("when").parse().expect("seconds");
    assert!((3000..=4000).contains(&wait), "{wait}");
    assert_eq!(provider.request_count(), 1);
    clock.advance(Ms::from_secs(wait));
    server.client.generation("r", "k", 2).await;
}

async fn a_day_is_never_exceeded_and_schedules_never_starve_while_callers_flush_on_three_replicas(
    database: TestDatabase,
) {
    let provider = Provider::start().await;
    // Two hours before the provider's midnight, in UTC.
    let begin = EpochMs(20_000 * DAY - 7_200_000);
    let clock = Arc::new(ManualClock::at(begin));
    let mut replicas = Vec::new();
    for _ in 0..3 {
        replicas.push(replica(&database, &clock).await);
    }
    let quota = json!([{"limit": DAILY, "window_s": 86_400}]);
    let policy = json!({"quota": quota, "min_flush_interval_s": 0});
    register(&replicas[0], &provider, policy).await;
    replicas[0].client.save_secret("r", "k").await;
    replicas[0].client.generation("r", "k", 1).await;
    let mut days = BTreeMap::new();
    let (mut now, mut counted, mut scheduled) = (begin.0, 0, 0);
    let mut last_generation = 1;
    // Through the day that follows and its midnight, in steps of half an hour.
    while now < begin.0 + DAY + 3 * 3_600_000 {
        let before = replicas[0].client.secret("r", "k").await;
        let generation = before["generation"].as_i64().expect("a number");
        // What no flush brought, the schedule has.
        scheduled += generation - last_generation;
        let mut denied = 0;
        while denied < replicas.len() {
            denied = 0;
            for replica in &replicas {
                let answer = flush(replica).await;
                assert!(answer["expires_in"].as_i64() > Some(0));
                denied += usize::from(answer["flushed"] == false);
            }
        }
        let secret = replicas[0].client.secret("r", "k").await;
        last_generation = secret["generation"].as_i64().expect("a number");
        let sent = provider.request_count();
        *days.entry(now / DAY).or_insert(0) += sent - counted;
        counted = sent;
        clock.advance(Ms::from_secs(1800));
        now += 1_800_000;
        // What is due now is renewed, whatever the callers have used.
        let due = eventually("the schedule has its renewal", async || {
            replicas[0].app().wake.notify_one();
            let secret = replicas[0].client.secret("r", "k").await;
            let renew_at = secret["renew_at"].as_str()?.to_owned();
            let renew_at = chrono::DateTime::parse_from_rfc3339(&renew_at).ok()?;
            (renew_at.timestamp_millis() > now).then_some(secret)
        })
        .await;
        assert!(due["waiting"].is_null(), "{due}");
    }
    assert!(days.values().all(|count| *count <= DAILY), "{days:?}");
    assert!(
        days.values().any(|count| *count > DAILY / 10 * 9),
        "{days:?}"
    );
    assert!(
        scheduled >= 10,
        "{scheduled} scheduled renewals of two-hour tokens in a day"
    );
}

async fn a_realms_quota_is_shared_by_its_secrets(database: TestDatabase) {
    let provider = Provider::start().await;
    let (server, _) = Server::on_manual_clock(&database).await;
    let quota = json!([{"limit": 3, "window_s": 86_400, "scope": "realm"}]);
    register(&server, &provider, json!({"quota": quota})).await;
    for key in ["a", "b", "c", "d", "e"] {
        server.client.save_secret("r", key).await;
    }
    eventually("three are obtained, and two wait", async || {
        let secrets = server.client.list("/api/secret?realm=r").await;
        let obtained = secrets.iter().filter(|secret| secret["generation"] == 1);
        let waiting = secrets
            .iter()
            .filter(|secret| secret["waiting"].is_string());
        (obtained.count() == 3 && waiting.count() == 2).then_some(())
    })
    .await;
    assert_eq!(provider.request_count(), 3);
}

async fn a_server_that_stops_gives_back_what_it_reserved_and_did_not_send(database: TestDatabase) {
    let provider = Provider::start().await;
    let server = Server::start(&database).await;
    // Large enough to be reserved by twos and threes.
    let quota = json!([{"limit": 600, "window_s": 86_400}]);
    let policy = json!({"quota": quota, "min_flush_interval_s": 0});
    register(&server, &provider, policy).await;
    server.client.save_secret("r", "k").await;
    server.client.generation("r", "k", 1).await;
    while provider.request_count() < 5 {
        assert_eq!(flush(&server).await["flushed"], true);
    }
    server.stop().await;
    assert_eq!(reserved(&database).await, [5]);
}

async fn requests_to_one_realm_start_no_faster_than_its_rate(database: TestDatabase) {
    let provider = Provider::start().await;
    let options = Options::default().with(&[("TOKEN_SERVER__RENEWAL__REALM_RATE", "20")]);
    let (server, clock) = Server::on_manual_clock_with(&database, options).await;
    register(&server, &provider, json!({})).await;
    for number in 0..10 {
        server.client.save_secret("r", &format!("k{number}")).await;
    }
    let started = async |count: usize| {
        eventually("as many as may start have", async || {
            server.app().wake.notify_one();
            let due = "SELECT COUNT(*) FROM ts_token WHERE generation > 0";
            let obtained = usize::try_from(database.number(due).await).expect("a count");
            (obtained == count).then_some(())
        })
        .await;
        assert_eq!(provider.request_count(), count);
    };
    // A tenth of a second's requests may start at once; then one each 50 ms.
    started(2).await;
    clock.advance(Ms(50));
    started(3).await;
    clock.advance(Ms(100));
    started(5).await;
    clock.advance(Ms::from_secs(10));
    started(7).await;
}
