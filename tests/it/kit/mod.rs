//! Real parts for tests: databases, servers, providers.

pub mod browser;
pub mod client;
pub mod collector;
pub mod contract;
pub mod database;
pub mod database_server;
pub mod documented;
pub mod events;
pub mod internet;
pub mod issuer;
pub mod line;
pub mod log_events;
pub mod oidc;
pub mod process;
pub mod prometheus;
pub mod promtool;
pub mod provider;
pub mod proxies;
pub mod push;
pub mod python;
pub mod raw;
pub mod server;
pub mod source;
pub mod strict_json;
pub mod terminal;
pub mod tls;
pub mod wechat;

use std::time::Duration;

use tempfile::TempDir;
use tokio::sync::RwLock;
use tokio::time::{sleep, timeout};

pub use client::Reply;
pub use database::TestDatabase;
pub use provider::{Answer, Provider};
pub use server::Server;

/// The longest a test waits for what must happen.
pub const PATIENCE: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// How many rows a test of many has: all of them where TEST_ROWS says so (`make test-large`).
#[allow(dead_code)] // For integration tests.
pub fn rows(all: usize, usually: usize) -> usize {
    let wanted = std::env::vars().any(|(name, value)| name == "TEST_ROWS" && value == "all");
    if wanted { all } else { usually }
}

/// Waits until `look` sees something; fails the test where it never does.
pub async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let seen = timeout(PATIENCE, async {
        loop {
            match look().await {
                Some(seen) => return seen,
                None => sleep(LOOK_EVERY).await,
            }
        }
    });
    match seen.await {
        Ok(seen) => seen,
        Err(_) => panic!("never seen: {what}"),
    }
}

/// Waits until a count that only grows has reached what is wanted, however slow the machine is;
/// fails the test where it stands still for as long as a test waits.
#[allow(dead_code)] // For the fault tests.
pub async fn counted(what: &str, wanted: usize, mut count: impl AsyncFnMut() -> usize) {
    let mut seen = count().await;
    while seen < wanted {
        let what = format!("{what}: more than {seen} of {wanted}");
        seen = eventually(&what, async || {
            Some(count().await).filter(|now| *now > seen)
        })
        .await;
    }
    assert_eq!(seen, wanted, "{what}");
}

/// A place on a disk, wherever temporary files are: one in memory may be readable, as those of
/// containers are.
#[allow(dead_code)] // For tests of files.
pub fn on_disk() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary directory can be made")
}

/// Read by each test on a database, written by those that measure: nothing runs beside them.
pub static MACHINE: RwLock<()> = RwLock::const_new(());

/// Runs behaviours on every database, which has the schema of this version: each is a test on
/// SQLite and one on MySQL or MariaDB. With `alone` each has the machine to itself, for what it
/// measures would otherwise be the other tests' load.
macro_rules! on_every_database {
    (alone: $($behaviours:tt)+) => { crate::kit::on_every_database! { @ write: $($behaviours)+ } };
    (@ $share:ident: $($behaviour:ident,)+) => {
        $(
            mod $behaviour {
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn on_sqlite() {
                    let _machine = crate::kit::MACHINE.$share().await;
                    super::$behaviour(crate::kit::TestDatabase::migrated_sqlite()).await;
                }

                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn on_mysql() {
                    let _machine = crate::kit::MACHINE.$share().await;
                    let database = crate::kit::TestDatabase::migrated_mysql().await;
                    super::$behaviour(database).await;
                }
            }
        )+
    };
    ($($behaviour:ident,)+) => {
        crate::kit::on_every_database! { @ read: $($behaviour,)+ }
    };
}
pub(crate) use on_every_database;
