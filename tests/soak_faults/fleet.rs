//! The replicas, each of which may be away at any moment.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use sea_orm::{ConnectionTrait, Statement};

use crate::LOOK_EVERY;
use crate::checker::Killed;
use crate::kit::TestDatabase;
use crate::kit::process::ServerProcess;
use crate::kit::server::Client;
use crate::scene::{PARKED, held_by, name_of, spooled};

pub const REPLICAS: usize = 5;
pub struct Fleet {
    pub database: TestDatabase,
    replicas: Mutex<Vec<Option<ServerProcess>>>,
    killed: Mutex<HashSet<Killed>>,
}

impl Fleet {
    pub fn start(database: TestDatabase) -> Self {
        let replicas = (0..REPLICAS).map(|number| Some(launch(&database, number)));
        Self {
            replicas: Mutex::new(replicas.collect()),
            killed: Mutex::default(),
            database,
        }
    }

    /// Of a replica that runs.
    pub fn client(&self, number: usize) -> Option<Client> {
        let replicas = self.replicas();
        replicas[number]
            .as_ref()
            .map(|replica| replica.client.clone())
    }

    /// `kill -9`; the replica stays away.
    pub fn kill(&self, number: usize) {
        let replica = self.replicas()[number].take();
        replica.expect("it runs").kill();
    }

    /// Notes what a killed replica was doing, and starts it again.
    pub async fn restart(&self, number: usize) {
        let held = held_by(&self.database, &directory(&self.database, number)).await;
        self.killed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(held);
        let replica = launch(&self.database, number);
        self.replicas()[number] = Some(replica);
    }

    pub fn stand_still(&self, number: usize) {
        let replicas = self.replicas();
        replicas[number].as_ref().expect("it runs").stand_still();
    }

    pub fn go_on(&self, number: usize) {
        let replicas = self.replicas();
        replicas[number].as_ref().expect("it runs").go_on();
    }

    pub fn killed(&self) -> HashSet<Killed> {
        self.killed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Pairs that lie in a replica's spool.
    pub fn spooled(&self, number: usize) -> usize {
        spooled(&directory(&self.database, number))
    }

    /// The replica that makes an attempt; none: it has ended.
    pub async fn replica_of(&self, key: &str, attempt: &str) -> Option<usize> {
        let connection = self.database.connect().await;
        let question = Statement::from_sql_and_values(
            connection.get_database_backend(),
            "SELECT lease_owner FROM ts_token \
             WHERE key_name = ? AND claim_id = ? AND lease_owner IS NOT NULL",
            [key.into(), attempt.into()],
        );
        let row = connection.query_one_raw(question).await;
        connection.close().await.expect("the connection closes");
        let owner: String = row.expect("the query is good")?.try_get_by_index(0).ok()?;
        (0..REPLICAS).find(|number| name_of(&directory(&self.database, *number)) == owner)
    }

    /// Waits until no token is so.
    pub async fn wait_for_no(&self, condition: &str) {
        let condition = condition.replace("parked", PARKED);
        let query = format!("SELECT COUNT(*) FROM ts_token WHERE {condition}");
        let mut pace = tokio::time::interval(LOOK_EVERY);
        while self.database.number(&query).await > 0 {
            pace.tick().await;
        }
    }

    /// How many are renewed in vain.
    pub async fn troubled(&self) -> i64 {
        let query = format!("SELECT COUNT(*) FROM ts_token WHERE failures > 0 AND NOT {PARKED}");
        self.database.number(&query).await
    }

    pub async fn all_due(&self) {
        let connection = self.database.connect().await;
        let due = format!("UPDATE ts_token SET renew_at = 0 WHERE NOT {PARKED}");
        let done = connection.execute_unprepared(&due).await;
        done.expect("the statement is good");
        connection.close().await.expect("the connection closes");
    }

    fn replicas(&self) -> MutexGuard<'_, Vec<Option<ServerProcess>>> {
        self.replicas.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn directory(database: &TestDatabase, number: usize) -> PathBuf {
    database.directory.path().join(format!("replica-{number}"))
}

fn launch(database: &TestDatabase, number: usize) -> ServerProcess {
    let directory = directory(database, number).display().to_string();
    ServerProcess::start(database, &[("TOKEN_SERVER__DATA_DIR", directory)])
}
