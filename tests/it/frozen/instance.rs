//! An instance whose threads stand still: a server on a runtime of its own, which is not run while
//! it is frozen. Nothing of it goes on then: no job, no connection, no timer.

use std::sync::Arc;
use std::thread::JoinHandle;

use sea_orm::{ConnectionTrait, Statement};
use tokio::sync::{mpsc, oneshot};

use crate::kit::database::Kind;
use crate::kit::server::{Client, Options};
use crate::kit::{Server, TestDatabase, eventually};

enum Turn {
    Freeze,
    Thaw,
    Stop,
}

pub struct Instance {
    turns: mpsc::UnboundedSender<(Turn, oneshot::Sender<()>)>,
    url: String,
    thread: JoinHandle<()>,
}

impl Instance {
    pub async fn start(database: &Arc<TestDatabase>, options: Options) -> Self {
        let (turns, told) = mpsc::unbounded_channel();
        let (started, address) = oneshot::channel();
        let database = database.clone();
        let thread = std::thread::spawn(move || run(&database, options, started, told));
        let address: String = address.await.expect("it starts");
        Self {
            turns,
            url: address,
            thread,
        }
    }

    /// With connections of its own.
    pub fn client(&self) -> Client {
        Client::new(self.url.clone())
    }

    async fn take(&self, turn: Turn) {
        let (done, taken) = oneshot::channel();
        self.turns.send((turn, done)).expect("its thread is there");
        taken.await.expect("its thread goes on");
    }

    /// Outside of a transaction: those of an instance that stands still lock others out, and a
    /// platform freezes who has answered.
    pub async fn freeze(&mut self, database: &TestDatabase) {
        eventually("it stands still outside of a transaction", async || {
            self.take(Turn::Freeze).await;
            if nobody_writes(database).await {
                return Some(());
            }
            self.take(Turn::Thaw).await;
            None
        })
        .await;
    }

    pub async fn thaw(&self) {
        self.take(Turn::Thaw).await;
    }

    pub async fn stop(self) {
        self.take(Turn::Stop).await;
        self.thread.join().expect("its thread ends");
    }
}

fn run(
    database: &TestDatabase,
    options: Options,
    started: oneshot::Sender<String>,
    mut told: mpsc::UnboundedReceiver<(Turn, oneshot::Sender<()>)>,
) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime can be made");
    let server = runtime.block_on(Server::start_with(database, options));
    let url = format!("http://{}", server.address());
    started.send(url).expect("the test waits");
    // Only here does anything of the server run.
    while let Some((turn, done)) = runtime.block_on(told.recv()) {
        match turn {
            Turn::Thaw => {}
            Turn::Stop => {
                runtime.block_on(server.stop());
                let _ = done.send(());
                return;
            }
            Turn::Freeze => {
                let _ = done.send(());
                let next = told.blocking_recv();
                let Some((Turn::Thaw, done)) = next else {
                    return;
                };
                let _ = done.send(());
                continue;
            }
        }
        let _ = done.send(());
    }
}

/// Whether no other connection has a transaction open that writes.
pub async fn nobody_writes(database: &TestDatabase) -> bool {
    let connection = database.connect().await;
    let free = match database.kind() {
        Kind::Sqlite => {
            let now = connection
                .execute_unprepared("PRAGMA busy_timeout = 0")
                .await;
            now.expect("the pragma is known");
            let begun = connection.execute_unprepared("BEGIN IMMEDIATE").await;
            if begun.is_ok() {
                let ended = connection.execute_unprepared("ROLLBACK").await;
                ended.expect("it ends");
            }
            begun.is_ok()
        }
        Kind::MySql => {
            // The table of transactions is made anew a tenth of a second after it was last read.
            let open = "SELECT COUNT(*), SLEEP(0.2) FROM information_schema.processlist WHERE id IN \
                (SELECT trx_mysql_thread_id FROM information_schema.innodb_trx) AND db = DATABASE() \
                AND id <> CONNECTION_ID()";
            let mut free = true;
            for _ in 0..2 {
                let question = Statement::from_string(connection.get_database_backend(), open);
                let row = connection.query_one_raw(question).await;
                let row = row.expect("the query is good").expect("a row");
                let count: i64 = row.try_get_by_index(0).expect("a number");
                free &= count == 0;
            }
            free
        }
    };
    connection.close().await.expect("the connection closes");
    free
}

/// A database server closes connections that were idle for long, and so do networks in between.
pub async fn close_connections(database: &TestDatabase) {
    if database.kind() == Kind::Sqlite {
        return;
    }
    let connection = database.connect().await;
    let others = "SELECT id FROM information_schema.processlist \
        WHERE db = DATABASE() AND id <> CONNECTION_ID()";
    let question = Statement::from_string(connection.get_database_backend(), others);
    let rows = connection.query_all_raw(question).await;
    for row in rows.expect("the query is good") {
        let id: i64 = row.try_get_by_index(0).expect("a number");
        let _ = connection.execute_unprepared(&format!("KILL {id}")).await;
    }
    connection.close().await.expect("the connection closes");
}
