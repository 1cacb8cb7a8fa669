//! For how long a token that was verified is taken without looking at it again.

use serde_json::json;
use token_server::foundation::clock::{Clock, Ms};

use super::Scene;
use crate::kit::issuer::SigningKey;
use crate::kit::{TestDatabase, eventually, on_every_database};

on_every_database! {
    while_all_is_followed_a_verified_token_is_good_for_five_minutes_and_not_beyond_its_end,
    what_was_verified_while_its_issuer_was_deleted_is_not_remembered,
    a_token_that_was_good_counts_for_its_address_once_it_has_ended,
}

async fn while_all_is_followed_a_verified_token_is_good_for_five_minutes_and_not_beyond_its_end(
    database: TestDatabase,
) {
    // Keys are older than they may be long before a token is looked at again.
    let seconds = [
        ("TOKEN_SERVER__ISSUERS__FETCH_INTERVAL_S", "20"),
        ("TOKEN_SERVER__ISSUERS__REFRESH_AFTER_S", "40"),
        ("TOKEN_SERVER__ISSUERS__MAX_AGE_S", "40"),
        ("TOKEN_SERVER__ISSUERS__MAX_STALE_S", "40"),
    ];
    let scene = Scene::set_with(&database, &seconds).await;
    scene.register_cluster().await;
    // The registration has all callers forgotten, once.
    scene.server.follows().await;
    let mut claims = scene.account("prod", "checkout");
    let long = scene.caller(&scene.key.token(&claims));
    claims["exp"] = json!(scene.clock.now().0 / 1000 + 120);
    let short = scene.caller(&scene.key.token(&claims));
    for caller in [&long, &short] {
        caller.token("prod-mail", "k").await.expect(200);
    }
    scene
        .publisher
        .publish(&[&SigningKey::new("other", "RS256")]);
    // In steps that a follower of the feed keeps up with: nothing is forgotten.
    let step = Ms::from_secs(25);
    let mut passed = Ms::ZERO;
    while passed < Ms::from_secs(275) {
        scene.clock.advance(step);
        passed = Ms(passed.0 + step.0);
        scene.server.follows().await;
        long.token("prod-mail", "k").await.expect(200);
        if passed > Ms::from_secs(180) {
            short.token("prod-mail", "k").await.expect(401);
        } else if passed < Ms::from_secs(120) {
            short.token("prod-mail", "k").await.expect(200);
        }
    }
    // Its five minutes are over, also if it was verified again while the keys were young enough.
    for _ in 0..3 {
        scene.clock.advance(step);
        scene.server.follows().await;
    }
    long.token("prod-mail", "k").await.expect(401);
}

async fn what_was_verified_while_its_issuer_was_deleted_is_not_remembered(database: TestDatabase) {
    let scene = Scene::set(&database).await;
    scene.register_cluster().await;
    scene.publisher.hold();
    let caller = scene.caller(&scene.token("prod", "checkout"));
    let early = {
        let caller = caller.clone();
        tokio::spawn(async move { caller.token("prod-mail", "k").await.status.as_u16() })
    };
    eventually("the issuer is asked", async || {
        (!scene.publisher.asked().is_empty()).then_some(())
    })
    .await;
    scene.admin().delete("/api/issuer/k8s").await.expect(200);
    scene.server.follows().await;
    scene.publisher.release();
    // It was let in by what was so when it came.
    assert_eq!(early.await.expect("it calls to the end"), 200);
    caller.token("prod-mail", "k").await.expect(401);
}

async fn a_token_that_was_good_counts_for_its_address_once_it_has_ended(database: TestDatabase) {
    let few = [
        ("TOKEN_SERVER__ACCESS__ADDRESS_RATE", "10"),
        ("TOKEN_SERVER__ACCESS__ADDRESS_BURST", "3"),
    ];
    let scene = Scene::set_with(&database, &few).await;
    scene.register_cluster().await;
    let caller = scene.caller(&scene.token("prod", "checkout"));
    caller.token("prod-mail", "k").await.expect(200);
    scene.clock.advance(Ms::from_secs(3700));
    scene.server.follows().await;
    for _ in 0..3 {
        caller.token("prod-mail", "k").await.expect(401);
    }
    caller.token("prod-mail", "k").await.expect(429);
}
