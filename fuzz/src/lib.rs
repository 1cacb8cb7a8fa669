//! What is fuzzed, and what must hold for everything that is made of an input.
//!
//! `run.sh` gives the targets to libFuzzer; `tests/it/corpus.rs` includes this file, and goes
//! through the committed inputs.

pub mod answers;
pub mod api_keys;
pub mod configurations;
pub mod expiries;
pub mod expressions;
pub mod held;
pub mod jwts;
#[path = "../../tests/it/kit/push.rs"]
#[allow(dead_code, clippy::duplicate_mod)] // The integration tests' kit has it, too.
pub mod pushes;
pub mod realm_documents;
pub mod sealed_values;
pub mod seeds;
pub mod targets;
pub mod ticket_pushes;

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use secrecy::SecretString;
use serde_json::Value;
use token_server::foundation::clock::{EpochMs, ManualClock};
use token_server::foundation::randomness::Randomness;
use token_server::realm::document::ProviderDocument;
use token_server::realm::expression::Expressions;
use token_server::secret::params::{ParamChange, Params};
use token_server::upstream::egress::{Egress, SystemResolver};
use token_server::upstream::proxy::Proxies;
use token_server::upstream::{Upstream, UpstreamSettings};

/// Every run stands still here: 2026-01-02T03:04:05.678Z, the time of tests/presets.
pub const NOW: EpochMs = EpochMs(1_767_323_045_678);

/// As large as answers may be where nothing else is configured.
pub const ANSWER_MAX_BYTES: usize = 1 << 20;

pub static EXPRESSIONS: LazyLock<Expressions> = LazyLock::new(Expressions::new);

/// A server's way to the providers. Nothing is ever sent.
pub static UPSTREAM: LazyLock<Upstream> = LazyLock::new(|| {
    let settings = UpstreamSettings {
        egress: Egress::default(),
        names: Arc::new(SystemResolver),
        proxies: Proxies::default(),
        authorities: Vec::new(),
        timeout: Duration::from_secs(30),
        connect_timeout: Duration::from_secs(5),
        late_answer: Duration::ZERO,
        max_answer_bytes: ANSWER_MAX_BYTES,
    };
    let clock = Arc::new(ManualClock::at(NOW));
    Upstream::new(&settings, clock, Randomness::seeded(1)).expect("a client can be made")
});

/// A document of this folder or a preset: it must be readable.
pub fn document(config: &Value) -> ProviderDocument {
    ProviderDocument::read(config, &EXPRESSIONS).unwrap_or_else(|faults| {
        let faults: Vec<_> = faults.iter().map(ToString::to_string).collect();
        panic!("a document of the fuzzer is broken: {}", faults.join("; "))
    })
}

/// A value for each parameter of a document.
pub fn params(document: &ProviderDocument) -> Params {
    let mut params = Params::default();
    params.merge(document.params.iter().map(|rule| {
        let value = SecretString::from(format!("s3cret/of/{}", rule.name));
        (rule.name.clone(), ParamChange::Set(value))
    }));
    params
}
