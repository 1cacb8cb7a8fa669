//! Callers report that the provider refused a token.

use std::sync::Arc;

use serde_json::{Value, json};
use token_server::foundation::clock::{ManualClock, Ms};

use crate::kit::server::{Options, Reply};
use crate::kit::{Answer, Provider, Server, TestDatabase, on_every_database};

on_every_database! {
    a_thousand_reports_of_one_dead_token_cause_one_renewal_and_all_are_answered,
    a_report_of_an_earlier_token_answers_the_current_one_and_sends_nothing,
    a_token_is_reported_by_its_value_and_a_wrong_one_renews_nothing,
    a_report_forces_the_provider_within_a_budget_of_its_own,
    the_current_token_is_replaced_however_recent_it_is_where_it_is_reported,
    a_token_that_its_successor_ends_is_replaced_at_once_too,
    who_reports_each_token_at_once_spends_the_budget_and_is_told_when_to_come_again,
    a_report_is_told_where_the_provider_gives_the_refused_token_again,
    a_token_typed_in_ends_the_replacement_of_a_refused_one,
    a_report_names_a_generation_or_a_token,
    a_reported_token_is_in_no_log_answer_or_history,
}

struct Scene {
    server: Server,
    clock: Arc<ManualClock>,
    provider: Provider,
}

impl Scene {
    async fn set(database: &TestDatabase, policy: Value) -> Self {
        let provider = Provider::start().await;
        let (server, clock) = Server::on_manual_clock_with(database, Options::patient()).await;
        let config = json!({
            "url": provider.url("/token"), "method": "GET",
            "arguments": [{"name": "force_refresh", "place": "url", "value": "${forced}"}],
            "token_path": "access_token", "expires_in_path": "expires_in", "policy": policy,
        });
        server.client.save_realm("r", config).await;
        server.client.save_secret("r", "k").await;
        server.client.generation("r", "k", 1).await;
        // The minimum flush interval is over.
        clock.advance(Ms::from_secs(10));
        Self {
            server,
            clock,
            provider,
        }
    }

    async fn report(&self, refused: Value) -> Reply {
        let mut body = json!({"realm": "r", "key": "k"});
        for (field, value) in refused.as_object().expect("fields") {
            body[field] = value.clone();
        }
        self.server.client.post("/api/token/report", &body).await
    }

    fn forced(&self, index: usize) -> String {
        let query = &self.provider.requests()[index].query;
        query
            .iter()
            .find(|(name, _)| name == "force_refresh")
            .expect("the argument is sent")
            .1
            .clone()
    }
}

async fn a_thousand_reports_of_one_dead_token_cause_one_renewal_and_all_are_answered(
    database: TestDatabase,
) {
    let scene = Arc::new(Scene::set(&database, json!({})).await);
    scene.provider.hold();
    let callers: Vec<_> = (0..1000)
        .map(|_| {
            let scene = scene.clone();
            tokio::spawn(async move { scene.report(json!({"generation": 1})).await })
        })
        .collect();
    scene.server.readers_waiting(1000).await;
    scene.provider.release();
    for caller in callers {
        let answer = caller.await.expect("the caller ends").expect(200).json();
        assert_eq!(answer["generation"], 2, "{answer}");
        assert_eq!(answer["token"], "token-2");
        // Who has not joined finds it in the database.
        assert_eq!(answer["source"], "upstream");
    }
    assert_eq!(scene.provider.request_count(), 2);
}

async fn a_report_of_an_earlier_token_answers_the_current_one_and_sends_nothing(
    database: TestDatabase,
) {
    let scene = Scene::set(&database, json!({})).await;
    let answer = scene
        .report(json!({"generation": 0}))
        .await
        .expect(200)
        .json();
    assert_eq!(answer["flushed"], false);
    assert_eq!(answer["token"], "token-1");
    assert_eq!(scene.provider.request_count(), 1);
}

async fn a_token_is_reported_by_its_value_and_a_wrong_one_renews_nothing(database: TestDatabase) {
    let scene = Scene::set(&database, json!({})).await;
    let wrong = scene
        .report(json!({"token": "token-0"}))
        .await
        .expect(200)
        .json();
    assert_eq!(
        (&wrong["flushed"], &wrong["token"]),
        (&json!(false), &json!("token-1"))
    );
    assert_eq!(scene.provider.request_count(), 1);
    let right = json!({"token": "token-1", "code": "40001"});
    let right = scene.report(right).await.expect(200).json();
    assert_eq!(
        (&right["flushed"], &right["token"]),
        (&json!(true), &json!("token-2"))
    );
    let history = scene.server.client.list("/api/renewal?realm=r").await;
    assert_eq!(history[0]["cause"], "report");
}

async fn a_report_forces_the_provider_within_a_budget_of_its_own(database: TestDatabase) {
    let quota = json!([
        {"limit": 2, "window_s": 3600, "forced": true},
        {"limit": 100, "window_s": 3600},
    ]);
    let policy = json!({"quota": quota, "min_flush_interval_s": 0});
    let scene = Scene::set(&database, policy).await;
    assert_eq!(scene.forced(0), "false");
    for generation in [1, 2] {
        let refused = json!({"generation": generation});
        let answer = scene.report(refused).await.expect(200).json();
        assert_eq!(answer["flushed"], true);
        assert_eq!(scene.forced(generation), "true");
    }
    let refused = json!({"generation": 3});
    let denied = scene.report(refused).await.expect(200).json();
    assert_eq!(denied["flushed"], false, "{denied}");
    assert_eq!(denied["flush_denied_code"], "forced_quota_spent");
    assert_eq!(scene.provider.request_count(), 3);
    // A flush that forces nothing has a budget of its own; so has the schedule.
    let body = json!({"realm": "r", "key": "k"});
    let flushed = scene.server.client.post("/api/token/flush", &body).await;
    assert_eq!(flushed.expect(200).json()["flushed"], true);
    assert_eq!(scene.forced(3), "false");
    scene.clock.advance(Ms::from_secs(7100));
    scene.server.client.generation("r", "k", 5).await;
    assert_eq!(scene.forced(4), "false");
}

async fn the_current_token_is_replaced_however_recent_it_is_where_it_is_reported(
    database: TestDatabase,
) {
    let policy = json!({"min_flush_interval_s": 600, "grace_s": 600});
    let scene = Scene::set(&database, policy).await;
    // The clock stands still meanwhile: no time at all lies between the attempts.
    for (number, refused) in (1..).zip([
        json!({"generation": 1}),
        json!({"token": "token-2"}),
        json!({"generation": 3}),
    ]) {
        let answer = scene.report(refused).await.expect(200).json();
        let next = number + 1;
        assert_eq!(
            (&answer["token"], &answer["flushed"], &answer["source"]),
            (
                &json!(format!("token-{next}")),
                &json!(true),
                &json!("upstream")
            ),
            "{answer}"
        );
        assert_eq!(scene.provider.request_count(), next);
        assert_eq!(scene.forced(number), "true");
    }
    // A wish is held back, and so is word of an earlier token.
    for (path, body, code) in [
        ("flush", json!({"realm": "r", "key": "k"}), "within_grace"),
        (
            "flush",
            json!({"realm": "r", "key": "k", "generation": 4}),
            "min_interval",
        ),
        (
            "report",
            json!({"realm": "r", "key": "k", "generation": 3}),
            "earlier_generation",
        ),
        (
            "report",
            json!({"realm": "r", "key": "k", "token": "token-3"}),
            "earlier_generation",
        ),
    ] {
        let path = format!("/api/token/{path}");
        let denied = scene.server.client.post(&path, &body).await.expect(200);
        let denied = denied.json();
        assert_eq!(denied["flush_denied_code"], code, "{denied}");
        assert_eq!(denied["token"], "token-4");
    }
    assert_eq!(scene.provider.request_count(), 4);
}

async fn a_token_that_its_successor_ends_is_replaced_at_once_too(database: TestDatabase) {
    let policy = json!({"revokes_previous": true, "min_flush_interval_s": 600});
    let scene = Scene::set(&database, policy).await;
    for generation in 1..4 {
        let refused = json!({"generation": generation});
        let answer = scene.report(refused).await.expect(200).json();
        assert_eq!(answer["flushed"], true, "{answer}");
        assert_eq!(answer["generation"], generation + 1);
    }
}

async fn who_reports_each_token_at_once_spends_the_budget_and_is_told_when_to_come_again(
    database: TestDatabase,
) {
    let provider = Provider::start().await;
    let env = &[("TOKEN_SERVER__RENEWAL__FORCED_PER_DAY", "3")];
    let options = Options::default().with(env);
    let (server, clock) = Server::on_manual_clock_with(&database, options).await;
    server.client.register(&provider.url("/token")).await;
    let report = async |answer: &Value| {
        let body = json!({"realm": "r", "key": "k", "token": answer["token"]});
        let reply = server.client.post("/api/token/report", &body).await;
        reply.expect(200)
    };
    let mut answer = server.client.token("r", "k").await.expect(200).json();
    for generation in 2..5 {
        answer = report(&answer).await.json();
        assert_eq!(
            (&answer["generation"], &answer["flushed"]),
            (&json!(generation), &json!(true))
        );
    }
    for _ in 0..20 {
        let reply = report(&answer).await;
        let wait = reply.header("retry-after").expect("when to come again");
        let wait: i64 = wait.parse().expect("seconds");
        assert!((86_400 - 3600..=2 * 86_400).contains(&wait), "{wait}");
        let denied = reply.json();
        assert_eq!(
            (&denied["token"], &denied["flushed"]),
            (&answer["token"], &json!(false))
        );
        assert_eq!(denied["flush_denied_code"], "forced_quota_spent");
    }
    assert_eq!(provider.request_count(), 4);
    // Nothing else is held back by that: a flush is answered.
    clock.advance(Ms::from_secs(10));
    let body = json!({"realm": "r", "key": "k"});
    let flushed = server.client.post("/api/token/flush", &body).await;
    assert_eq!(flushed.expect(200).json()["flushed"], true);
}

async fn a_report_is_told_where_the_provider_gives_the_refused_token_again(database: TestDatabase) {
    let scene = Scene::set(&database, json!({})).await;
    scene.provider.answer_with(Answer::token("token-1", 7200));
    let refused = json!({"generation": 1});
    let answer = scene.report(refused).await.expect(200).json();
    assert_eq!(
        (&answer["token"], &answer["flushed"]),
        (&json!("token-1"), &json!(false))
    );
    assert_eq!(answer["flush_denied_code"], "token_repeated");
    assert_eq!(scene.forced(1), "true");
}

async fn a_token_typed_in_ends_the_replacement_of_a_refused_one(database: TestDatabase) {
    let scene = Scene::set(&database, json!({})).await;
    let client = &scene.server.client;
    let forced = "SELECT COUNT(*) FROM ts_token WHERE forced = 1";
    scene.provider.answer_with(Answer::status(503));
    scene.report(json!({"generation": 1})).await.expect(200);
    assert_eq!(database.number(forced).await, 1);
    let fixed = json!({"id": "r", "config": null});
    client.post("/api/realm", &fixed).await.expect(200);
    let typed = json!({"realm": "r", "key": "k", "token": "typed in"});
    client.put("/api/token", &typed).await.expect(200);
    assert_eq!(database.number(forced).await, 0);
    let token = client.token("r", "k").await.expect(200).json();
    assert_eq!(
        (&token["token"], &token["generation"]),
        (&json!("typed in"), &json!(2))
    );
}

async fn a_report_names_a_generation_or_a_token(database: TestDatabase) {
    let scene = Scene::set(&database, json!({})).await;
    for refused in [json!({}), json!({"generation": 1, "token": "t"})] {
        scene
            .report(refused)
            .await
            .expect_problem(422, "invalid_document");
    }
    assert_eq!(scene.provider.request_count(), 1);
}

async fn a_reported_token_is_in_no_log_answer_or_history(database: TestDatabase) {
    let scene = Scene::set(&database, json!({})).await;
    let canary = "reported-token-canary";
    scene.provider.answer_with(Answer::token("another", 7200));
    let answer = scene.report(json!({"token": canary})).await.expect(200);
    assert!(!answer.text.contains(canary));
    for path in ["/api/renewal", "/api/audit", "/metrics", "/api/secret/r/k"] {
        let reply = scene.server.client.get(path).await.expect(200);
        assert!(!reply.text.contains(canary), "{path}");
    }
    assert!(!database.contains(canary).await);
}
