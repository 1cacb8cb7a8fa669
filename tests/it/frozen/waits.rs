//! How long a request of an instance that may be frozen after it waits.

use std::time::Duration;

use super::FROZEN;
use crate::kit::server::Options;
use crate::kit::{Provider, Server, TestDatabase, on_every_database};

on_every_database! {
    a_read_of_a_frozen_instance_waits_for_the_token_beyond_the_wait_of_readers,
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
