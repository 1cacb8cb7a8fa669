//! What a request of an instance that may be frozen after it waits for: all that goes on there.

use std::sync::Arc;
use std::time::Duration;

use token_server::foundation::clock::{Clock, Deadline, ManualClock, Ms, SystemClock};
use token_server::foundation::ids::RealmId;
use token_server::renewal::{RunBy, RunScope};

use super::{FROZEN, START};
use crate::kit::server::Options;
use crate::kit::{Provider, Server, TestDatabase, on_every_database};

on_every_database! {
    a_run_in_time_waits_for_what_another_has_begun,
    a_read_of_a_frozen_instance_waits_for_the_token_beyond_the_wait_of_readers,
}

async fn a_run_in_time_waits_for_what_another_has_begun(database: TestDatabase) {
    const TIME: Ms = Ms(500);
    let provider = Provider::start().await;
    let clock = Arc::new(ManualClock::at(START));
    let options = Options {
        clock: Some(clock.clone()),
        ..Options::patient()
    };
    let server = Server::start_with(&database, options.clone()).await;
    server.client.register(&provider.url("/token")).await;
    let other = provider.url("/other");
    server.client.register_realm("other", &other).await;
    server.stop().await;
    // Nothing sweeps beside it.
    let app = Server::opened(&database, options).await;
    clock.advance(Ms::from_secs(7200));
    provider.hold();
    let first = tokio::spawn({
        let renewals = app.renewals.clone();
        async move { renewals.run(&RunScope::default(), &()).await }
    });
    provider.wait_for_requests(2).await;
    // In a realm without anything to renew.
    let scope = RunScope {
        realm: Some(RealmId::stored("other".to_owned())),
        by: RunBy::TimedCall {
            ends: Deadline::after(clock.machine(), TIME),
        },
        ..RunScope::default()
    };
    let begun = SystemClock.boot();
    let ended = app.renewals.run(&scope, &()).await;
    ended.expect("the database answers");
    // All of its time: the attempt of the first was under way.
    let took = SystemClock.boot().since(begun);
    assert!(took.0 + 1 >= TIME.0, "{took:?}");
    provider.release();
    let first = first.await.expect("it ends").expect("the database answers");
    assert_eq!(first.renewed, 1);
    app.close().await;
}

async fn a_read_of_a_frozen_instance_waits_for_the_token_beyond_the_wait_of_readers(
    database: TestDatabase,
) {
    let provider = Provider::start().await;
    let patient = ("TOKEN_SERVER__UPSTREAM__TIMEOUT_S", "600");
    let a_second = ("TOKEN_SERVER__READ__MAX_WAIT_S", "1");
    let options = Options::default().with(&[FROZEN, patient, a_second]);
    let (server, _clock) = Server::on_manual_clock_with(&database, options).await;
    let client = server.client.clone();
    client.register_realm("r", &provider.url("/token")).await;
    client.save_secret("r", "k").await;
    provider.hold();
    let read = tokio::spawn(async move { client.token("r", "k").await });
    provider.wait_for_requests(1).await;
    // Readers of another server would be answered by then.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    provider.release();
    let served = read.await.expect("it is answered").expect(200).json();
    assert_eq!(served["generation"], 1);
    server.stop().await;
}
