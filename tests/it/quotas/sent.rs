//! A quota counts what was sent, and nothing of what was not, however an attempt ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::json;
use token_server::foundation::clock::{
    BootMs, Clock, EpochMs, ManualClock, Moment, Ms, SystemClock,
};
use token_server::renewal::RunScope;

use super::{flush, register, reserved};
use crate::kit::server::Options;
use crate::kit::{Answer, Provider, Server, TestDatabase, eventually, on_every_database};

on_every_database! {
    a_quota_counts_what_was_sent_whenever_the_clocks_are_set_and_an_attempt_is_discarded,
    a_quota_counts_nothing_of_requests_that_another_quota_or_the_network_refuses,
    a_quota_counts_a_refused_refresh_token_although_its_attempt_is_overtaken,
}

/// The clocks of a machine that are set once limits of time were looked at so often.
#[derive(Debug)]
struct SetClock {
    clock: ManualClock,
    looks_left: AtomicU32,
    is_paused: bool,
}

impl Clock for SetClock {
    fn now(&self) -> EpochMs {
        self.clock.now()
    }

    fn boot(&self) -> BootMs {
        self.clock.boot()
    }

    fn machine(&self) -> Moment {
        let one_less = |left: u32| left.checked_sub(1);
        let left = self
            .looks_left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less);
        // More than any lease.
        match (left, self.is_paused) {
            (Ok(1), true) => self.clock.step_wall(Ms::from_secs(60)),
            (Ok(1), false) => self.clock.advance(Ms::from_secs(60)),
            _ => {}
        }
        self.moment()
    }
}

/// Looks at limits of time in one run that attempts one token, and a few more.
const LOOKS: u32 = 12;

async fn a_quota_counts_what_was_sent_whenever_the_clocks_are_set_and_an_attempt_is_discarded(
    database: TestDatabase,
) {
    let provider = Provider::start().await;
    let server = Server::start(&database).await;
    let quota = json!([{"limit": 100, "window_s": 604_800}]);
    register(&server, &provider, json!({"quota": quota})).await;
    server.client.save_secret("r", "k").await;
    server.client.generation("r", "k", 1).await;
    server.stop().await;
    let (mut now, mut discarded) = (SystemClock.now(), 0);
    for is_paused in [false, true] {
        for look in 1..=LOOKS {
            let clock = Arc::new(SetClock {
                clock: ManualClock::at(now),
                looks_left: AtomicU32::new(0),
                is_paused,
            });
            let options = Options {
                clock: Some(clock.clone()),
                ..Options::default()
            };
            // Nothing sweeps beside it.
            let app = Server::opened(&database, options).await;
            database.run("UPDATE ts_token SET renew_at = 0").await;
            clock.looks_left.store(look, Ordering::SeqCst);
            let run = app.renewals.run(&RunScope::default(), &()).await;
            discarded += run.expect("the database answers").discarded;
            clock.looks_left.store(0, Ordering::SeqCst);
            let sent = i64::try_from(provider.request_count()).expect("few");
            assert_eq!(reserved(&database).await, [sent], "set at look {look}");
            now = EpochMs(clock.now().0 + 60_000);
            app.close().await;
        }
    }
    // Before a place was reserved, and after it.
    assert!(discarded >= 4, "{discarded}");
}

async fn a_quota_counts_nothing_of_requests_that_another_quota_or_the_network_refuses(
    database: TestDatabase,
) {
    let provider = Provider::start().await;
    let (server, _) = Server::on_manual_clock(&database).await;
    let quota = json!([{"limit": 100, "window_s": 86_400}, {"limit": 1, "window_s": 3600}]);
    register(
        &server,
        &provider,
        json!({"quota": quota, "min_flush_interval_s": 0}),
    )
    .await;
    server.client.save_secret("r", "k").await;
    server.client.generation("r", "k", 1).await;
    assert_eq!(reserved(&database).await, [1, 1]);
    assert_eq!(flush(&server).await["flush_denied_code"], "quota_spent");
    assert_eq!(reserved(&database).await, [1, 1]);
    let nobody = json!({
        "url": "http://127.0.0.1:1/nobody", "method": "GET",
        "token_path": "access_token", "expires_in_path": "expires_in",
        "policy": {"quota": [{"limit": 50, "window_s": 7200}]},
    });
    server.client.save_realm("broken", nobody).await;
    server.client.save_secret("broken", "k").await;
    eventually("it has failed", async || {
        let secret = server.client.secret("broken", "k").await;
        (!secret["last_error"].is_null()).then_some(())
    })
    .await;
    eventually("its place is given back", async || {
        let mut counts = reserved(&database).await;
        counts.sort_unstable();
        (counts == [0, 1, 1]).then_some(())
    })
    .await;
    server.stop().await;
}

async fn a_quota_counts_a_refused_refresh_token_although_its_attempt_is_overtaken(
    database: TestDatabase,
) {
    let provider = Provider::start().await;
    let server = Server::start(&database).await;
    let policy = json!({"quota": [{"limit": 100, "window_s": 86_400}]});
    let url = provider.url("/token");
    server.client.register_rotating("r", &url, policy).await;
    let params = json!({"refresh_token": "first"});
    let secret = json!({"realm": "r", "key": "k", "params": params});
    server.client.post("/api/secret", &secret).await.expect(200);
    server.client.generation("r", "k", 1).await;
    server.stop().await;
    // Nothing sweeps beside it.
    let app = Server::opened(&database, Options::default()).await;
    database.run("UPDATE ts_token SET renew_at = 0").await;
    let refused = Answer::status(400).with_json(&json!({"error": "invalid_grant"}));
    provider.answer_next(refused);
    provider.hold();
    let run = tokio::spawn({
        let renewals = app.renewals.clone();
        async move { renewals.run(&RunScope::default(), &()).await }
    });
    provider.wait_for_requests(2).await;
    let newer = "UPDATE ts_token SET generation = generation + 1";
    database.run(newer).await;
    provider.release();
    let summary = run.await.expect("it ends").expect("the database answers");
    assert_eq!((summary.discarded, summary.failed), (1, 0));
    assert_eq!(reserved(&database).await, [2]);
    app.close().await;
}
