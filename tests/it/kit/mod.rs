//! Real parts for tests: databases, servers, providers.

pub mod database;
pub mod documented;
pub mod internet;
pub mod line;
pub mod oidc;
pub mod process;
pub mod promtool;
pub mod provider;
pub mod push;
pub mod python;
pub mod raw;
pub mod server;
pub mod strict_json;
pub mod wechat;

use std::time::Duration;

use tokio::time::{sleep, timeout};

pub use database::TestDatabase;
pub use provider::{Answer, Provider};
pub use server::{Reply, Server};

/// The longest a test waits for what must happen.
pub const PATIENCE: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(10);

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

/// Runs behaviours on every database: each is a test on SQLite and one on MySQL or
/// MariaDB.
macro_rules! on_every_database {
    ($($behaviour:ident,)+) => {
        $(
            mod $behaviour {
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn on_sqlite() {
                    super::$behaviour(crate::kit::TestDatabase::sqlite()).await;
                }

                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn on_mysql() {
                    super::$behaviour(crate::kit::TestDatabase::mysql().await).await;
                }
            }
        )+
    };
}
pub(crate) use on_every_database;
