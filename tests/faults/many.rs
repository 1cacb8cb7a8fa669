//! Row 2: many replicas, and many tokens due at once.

use crate::kit::{TestDatabase, counted, on_every_database};
use crate::provider::Reuse;
use crate::scene::{LIFETIME_S, Scene};

on_every_database! {
    five_replicas_renew_one_token_once,
    five_replicas_renew_many_tokens_once_each,
}

on_clusters! {
    five_replicas_renew_one_token_once,
    five_replicas_renew_many_tokens_once_each,
}

const REPLICAS: [&str; 5] = ["a", "b", "c", "d", "e"];
const TOKENS: usize = 1000;

async fn five_replicas_renew_one_token_once(database: TestDatabase) {
    let scene = Scene::set(database, Reuse::EndsFamily, LIFETIME_S).await;
    let replicas = REPLICAS.map(|name| scene.replica(name));
    scene.begin(&replicas[0].client).await;
    for round in 2..=6 {
        scene.due().await;
        replicas[round % 5]
            .client
            .generation("r", "k", i64::try_from(round).expect("small"))
            .await;
        assert_eq!(scene.provider.rotations(), round);
    }
}

async fn five_replicas_renew_many_tokens_once_each(database: TestDatabase) {
    let scene = Scene::set(database, Reuse::EndsFamily, LIFETIME_S).await;
    let replicas = REPLICAS.map(|name| scene.replica(name));
    let client = &replicas[0].client;
    scene.register_patient_realm(client).await;
    for number in 0..TOKENS {
        scene.register(client, &format!("k{number}")).await;
    }
    let generation = async |wanted: i64| {
        let stored = format!("SELECT COUNT(*) FROM ts_token WHERE generation = {wanted}");
        counted("renewed tokens", TOKENS, async || {
            let count = scene.database.number(&stored).await;
            usize::try_from(count).expect("a count")
        })
        .await;
    };
    generation(1).await;
    scene.due().await;
    generation(2).await;
    assert_eq!(scene.provider.received(), 2 * TOKENS);
    assert_eq!(scene.provider.rotations(), 2 * TOKENS);
}
