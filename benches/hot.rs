//! The functions that a read goes through, one by one.

use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use secrecy::SecretString;
use token_server::access::key::KeyHash;
use token_server::app::App;
use token_server::config::{Env, Settings};
use token_server::foundation::clock::{Ms, SystemClock};
use token_server::foundation::ids::{KeyName, RealmId};
use token_server::foundation::randomness::Randomness;
use token_server::foundation::sealing::{KeyRing, SealedPlace, SealingKeys};
use token_server::jobs::follow::Follow;
use token_server::jobs::job::{self, LastOutcome};
use token_server::memory::follower::Follower;
use token_server::reads::Ask;
use token_server::registry::{Actor, FieldChange, RealmPatch, SecretPatch, SentToken, TokenOrigin};
use tokio_util::sync::CancellationToken;

const TOKEN_BYTES: usize = 512;
const ADMIN_KEY: &str = "an-administrator-of-benchmarks-0123456789";

/// A server with one token, which was read.
async fn app(directory: &std::path::Path) -> App {
    let env: Env = [
        ("TOKEN_SERVER__DATA_DIR", directory.display().to_string()),
        ("TOKEN_SERVER__ADMIN_KEY", ADMIN_KEY.to_owned()),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect();
    let settings = Settings::load(None, &env).expect("the configuration is good");
    let randomness = Randomness::from_system().expect("the system has randomness");
    let opening = Box::pin(App::open(settings, Arc::new(SystemClock), randomness));
    let app = opening.await.expect("it opens");
    app.ensure_admin_key().await.expect("the key is stored");
    let (realm, key) = names();
    let by = Actor::command_line();
    let fixed = RealmPatch {
        id: realm.clone(),
        comment: FieldChange::Keep,
        config: FieldChange::Keep,
        logic_code: FieldChange::Keep,
    };
    app.registry
        .save_realm(fixed, None, &by)
        .await
        .expect("a good realm");
    let secret = SecretPatch {
        realm: realm.clone(),
        key: key.clone(),
        params: Vec::new(),
        token: Some(SentToken {
            token: "t".repeat(TOKEN_BYTES).into(),
            expires_at: None,
            origin: TokenOrigin::TypedIn,
        }),
    };
    app.registry
        .save_secret(secret, &by)
        .await
        .expect("a good secret");
    // What nobody follows is doubted after a second.
    let follow = Follow::new(Follower::new(app.memory.clone()), app.database.clone());
    tokio::spawn(job::run(
        Arc::new(follow),
        LastOutcome::default(),
        CancellationToken::new(),
    ));
    while app.metrics.followed.get() == 0 {
        tokio::task::yield_now().await;
    }
    let ask = Ask {
        realm,
        key,
        min_ttl: Ms::ZERO,
        flush: None,
    };
    app.reads.read(&ask).await.expect("a token");
    let key = SecretString::from(ADMIN_KEY);
    app.memory
        .recognise(&KeyHash::of(&key))
        .await
        .expect("the database answers");
    app
}

fn names() -> (RealmId, KeyName) {
    let realm = RealmId::new("realm").expect("a name");
    (realm, KeyName::new("key").expect("a name"))
}

fn hot(criterion: &mut Criterion) {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime can be made");
    let app = runtime.block_on(app(directory.path()));
    let key = SecretString::from(ADMIN_KEY);
    criterion.bench_function("hash an API key", |bencher| {
        bencher.iter(|| KeyHash::of(&key));
    });
    let hash = KeyHash::of(&key);
    criterion.bench_function("recognise a caller", |bencher| {
        bencher.iter(|| app.memory.sure_caller(&hash, app.clock.moment()));
    });
    criterion.bench_function("find a token in memory", |bencher| {
        bencher.iter(|| app.reads.read_at_once("realm", "key", app.clock.moment()));
    });
    let randomness = Randomness::from_system().expect("the system has randomness");
    let ring = KeyRing::parse(&SealingKeys::generate(&randomness), randomness.clone());
    let ring = ring.expect("a generated key is good");
    let place = SealedPlace {
        table: "ts_token",
        row: "1",
        column: "token",
    };
    let plain = [b't'; TOKEN_BYTES];
    criterion.bench_function("seal a token", |bencher| {
        bencher.iter(|| ring.seal(&place, &plain));
    });
    let sealed = ring.seal(&place, &plain);
    criterion.bench_function("open a token", |bencher| {
        bencher.iter(|| ring.open(&place, &sealed));
    });
    criterion.bench_function("make a request id", |bencher| {
        bencher.iter(|| randomness.id());
    });
}

criterion_group!(benches, hot);
criterion_main!(benches);
