//! Who reads tokens all the time, from whichever replica answers.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Method;
use token_server::foundation::clock::{BootMs, Clock, SystemClock};
use token_server::foundation::randomness::Randomness;

use crate::chaos::below;
use crate::checker::Sample;
use crate::fleet::{Fleet, REPLICAS};
use crate::kit::server::Client;
use crate::scene::given;

/// Between two reads of a caller.
const EVERY: Duration = Duration::from_millis(500);
/// A caller goes to another replica when one does not answer by then.
const PATIENCE: Duration = Duration::from_secs(20);

/// Reads random tokens until the end.
pub async fn call(
    fleet: Arc<Fleet>,
    keys: Arc<[String]>,
    caller: usize,
    randomness: Randomness,
    end: BootMs,
) -> Vec<Sample> {
    let mut samples = Vec::new();
    let mut pace = tokio::time::interval(EVERY);
    while SystemClock.boot() < end {
        pace.tick().await;
        let key = &keys[below(keys.len(), &randomness)];
        let Some(client) = fleet.client(below(REPLICAS, &randomness)) else {
            continue;
        };
        let asked_at = SystemClock.now();
        let request = client
            .request(Method::GET, &format!("/api/token?realm=r&key={key}"))
            .timeout(PATIENCE);
        // One that is killed or stopped gives no answer.
        let Ok(reply) = Client::try_send(request).await else {
            continue;
        };
        samples.push(Sample {
            caller,
            key: key.clone(),
            asked_at,
            answered_at: SystemClock.now(),
            given: given(&reply),
        });
    }
    samples
}
