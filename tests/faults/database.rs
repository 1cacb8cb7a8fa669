//! Row 4: the database is away while pairs are in flight.

use token_server::foundation::clock::{Clock, SystemClock};

use crate::kills::{lock, unlock};
use crate::kit::{TestDatabase, eventually, on_every_database};
use crate::provider::{Held, Reuse};
use crate::scene::{LIFETIME_S, Scene};

on_every_database! {
    a_pair_that_the_database_does_not_take_before_the_lease_ends_is_kept_when_it_does,
}

async fn a_pair_that_the_database_does_not_take_before_the_lease_ends_is_kept_when_it_does(
    database: TestDatabase,
) {
    let mut scene = Scene::set(database, Reuse::EndsFamily, LIFETIME_S).await;
    let server = scene.replica("a");
    scene.begin(&server.client).await;
    scene.rotates_unanswered().await;
    let lock = lock(&scene.database).await;
    scene.provider.hold(Held::Nowhere);
    eventually("the pair is in the spool", async || {
        (scene.spooled("a") == 1).then_some(())
    })
    .await;
    // Meanwhile what is stored is served.
    assert_eq!(scene.read(&server.client, 0, "k").await, Some(1));
    eventually("the lease has run out", async || {
        let until = "SELECT COALESCE(MAX(lease_until), 0) FROM ts_token";
        (scene.database.number(until).await < SystemClock.now().0).then_some(())
    })
    .await;
    unlock(lock).await;
    server.client.generation("r", "k", 2).await;
    eventually("the spool is empty", async || {
        (scene.spooled("a") == 0).then_some(())
    })
    .await;
    assert_eq!(scene.provider.rotations(), 2);
    scene.renews_again(&server.client, "k").await;
    scene.judge(&server.client).await;
}
