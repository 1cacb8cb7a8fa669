//! What attempts brought is stored together, and what is in the way of one holds up no other.

use std::sync::Arc;

use sea_orm::{ConnectionTrait, DatabaseConnection};
use token_server::foundation::clock::{EpochMs, ManualClock};

use crate::kit::database::Kind;
use crate::kit::database_server::DatabaseServer;
use crate::kit::line::Line;
use crate::kit::server::Options;
use crate::kit::{Answer, Provider, Server, TestDatabase, eventually, on_every_database};

on_every_database! {
    failures_at_once_are_stored_in_two_transactions,
    failures_and_tokens_at_once_are_stored_in_two_transactions,
}

/// Less than one transaction takes.
const RESULTS: usize = 40;

/// A server that waits for locks, and a provider that holds as many requests.
async fn scene(database: &TestDatabase) -> (Server, Provider) {
    scene_on(database, &database.url).await
}

async fn scene_on(database: &TestDatabase, url: &str) -> (Server, Provider) {
    let provider = Provider::start().await;
    let clock = Arc::new(ManualClock::at(EpochMs(1_700_000_000_000)));
    let more = [
        ("DATABASE_URL", url),
        ("TOKEN_SERVER__RENEWAL__REALM_CONCURRENCY", "100"),
    ];
    let options = Options {
        clock: Some(clock),
        ..Options::patient().with(&more)
    };
    let server = Server::start_with(database, options).await;
    server
        .client
        .register_realm("r", &provider.url("/token"))
        .await;
    provider.hold();
    (server, provider)
}

async fn save(server: &Server, realm: &str, keys: impl Iterator<Item = usize>) {
    for number in keys {
        server
            .client
            .save_secret(realm, &format!("k{number}"))
            .await;
    }
}

/// A transaction of somebody else, which has run these statements and stands still.
async fn somebody(database: &TestDatabase, statements: &[&str]) -> DatabaseConnection {
    let connection = database.connect().await;
    for statement in statements {
        let done = connection.execute_unprepared(statement).await;
        done.expect("the statement is good");
    }
    connection
}

/// In whose way every transaction is that writes the history.
async fn in_the_way_of_all(database: &TestDatabase) -> DatabaseConnection {
    let statements: &[&str] = match database.kind() {
        Kind::Sqlite => &["BEGIN IMMEDIATE"],
        // The gap after the last entry, too.
        Kind::MySql => &[
            "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
            "START TRANSACTION",
            "SELECT * FROM ts_renewal FOR UPDATE",
        ],
    };
    somebody(database, statements).await
}

async fn ends(somebody: DatabaseConnection) {
    let done = somebody.execute_unprepared("ROLLBACK").await;
    done.expect("the transaction ends");
    somebody.close().await.expect("the connection closes");
}

async fn counted(database: &TestDatabase, rows: &str, count: usize) {
    let query = format!("SELECT COUNT(*) FROM {rows}");
    eventually(rows, async || {
        let now = database.number(&query).await;
        (usize::try_from(now) == Ok(count)).then_some(())
    })
    .await;
}

/// Waits until all results wait to be stored, and then for that.
async fn all_at_once(server: &Server, provider: &Provider, somebody: DatabaseConnection) {
    let metrics = &server.app().metrics;
    provider.release();
    eventually("all wait to be stored", async || {
        (metrics.results_waiting.get() == RESULTS as i64).then_some(())
    })
    .await;
    assert_eq!(metrics.result_transactions.get(), 0);
    ends(somebody).await;
    server.settled().await;
    // The first took what was there by then.
    let transactions = metrics.result_transactions.get();
    assert!(transactions <= 2, "{transactions} transactions");
}

async fn failures_at_once_are_stored_in_two_transactions(database: TestDatabase) {
    let (server, provider) = scene(&database).await;
    provider.answer_with(Answer::status(500));
    save(&server, "r", 0..RESULTS).await;
    provider.wait_for_requests(RESULTS).await;
    let somebody = in_the_way_of_all(&database).await;
    all_at_once(&server, &provider, somebody).await;
    counted(&database, "ts_token WHERE failures = 1", RESULTS).await;
    counted(&database, "ts_token WHERE lease_owner IS NOT NULL", 0).await;
    let failed = "ts_renewal WHERE outcome = 'failed' AND class = 'transient'";
    counted(&database, failed, RESULTS).await;
}

async fn half_failed_and_half_stored(database: &TestDatabase) {
    for (failures, generation) in [(1, 0), (0, 1)] {
        let rows = format!("ts_token WHERE failures = {failures} AND generation = {generation}");
        counted(database, &rows, RESULTS / 2).await;
    }
}

async fn failures_and_tokens_at_once_are_stored_in_two_transactions(database: TestDatabase) {
    let (server, provider) = scene(&database).await;
    for _ in 0..RESULTS / 2 {
        provider.answer_next(Answer::status(500));
    }
    save(&server, "r", 0..RESULTS).await;
    provider.wait_for_requests(RESULTS).await;
    let somebody = in_the_way_of_all(&database).await;
    all_at_once(&server, &provider, somebody).await;
    half_failed_and_half_stored(&database).await;
    for outcome in ["failed", "stored"] {
        let rows = format!("ts_renewal WHERE outcome = '{outcome}'");
        counted(&database, &rows, RESULTS / 2).await;
    }
}

/// On SQLite nobody locks a row.
mod a_failure_whose_row_somebody_locks_holds_up_no_other {
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn on_mysql() {
        super::a_locked_row(crate::kit::TestDatabase::mysql().await).await;
    }
}

async fn a_locked_row(database: TestDatabase) {
    let (server, provider) = scene(&database).await;
    provider.answer_with(Answer::status(500));
    save(&server, "r", 0..RESULTS).await;
    provider.wait_for_requests(RESULTS).await;
    let lock = "SELECT * FROM ts_token WHERE key_name = 'k7' FOR UPDATE";
    let read_committed = "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED";
    let somebody = somebody(&database, &[read_committed, "START TRANSACTION", lock]).await;
    provider.release();
    counted(&database, "ts_token WHERE failures = 1", RESULTS - 1).await;
    counted(
        &database,
        "ts_renewal WHERE outcome = 'failed'",
        RESULTS - 1,
    )
    .await;
    ends(somebody).await;
    counted(&database, "ts_token WHERE failures = 1", RESULTS).await;
    counted(&database, "ts_renewal WHERE outcome = 'failed'", RESULTS).await;
}

/// On SQLite nobody locks a row.
mod a_rate_limit_of_a_realm_that_somebody_changes_holds_up_no_other_result {
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn on_mysql() {
        super::a_locked_realm(crate::kit::TestDatabase::mysql().await).await;
    }
}

async fn a_locked_realm(database: TestDatabase) {
    let (server, provider) = scene(&database).await;
    let limited = Provider::start().await;
    limited.hold();
    limited.answer_with(Answer::status(429).with_header("retry-after", "120"));
    let client = &server.client;
    client.register_realm("held", &limited.url("/token")).await;
    provider.answer_with(Answer::status(500));
    save(&server, "held", 0..3).await;
    save(&server, "r", 0..RESULTS - 3).await;
    limited.wait_for_requests(3).await;
    provider.wait_for_requests(RESULTS - 3).await;
    let lock = "SELECT * FROM ts_realm WHERE id = 'held' FOR UPDATE";
    let read_committed = "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED";
    let somebody = somebody(&database, &[read_committed, "START TRANSACTION", lock]).await;
    limited.release();
    let metrics = &server.app().metrics;
    eventually("they are stored alone", async || {
        let others_waiting = metrics.results_waiting.get();
        (metrics.result_transactions.get() > 0 && others_waiting == 0).then_some(())
    })
    .await;
    provider.release();
    counted(
        &database,
        "ts_token WHERE realm_id = 'r' AND failures = 1",
        RESULTS - 3,
    )
    .await;
    counted(
        &database,
        "ts_token WHERE realm_id = 'held' AND failures = 1",
        0,
    )
    .await;
    ends(somebody).await;
    counted(
        &database,
        "ts_token WHERE realm_id = 'held' AND failures = 1",
        3,
    )
    .await;
    counted(
        &database,
        "ts_realm WHERE id = 'held' AND blocked_until IS NOT NULL",
        1,
    )
    .await;
}

/// MariaDB's protocol shows what is a COMMIT.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_commit_stored_whose_answer_was_lost_is_stored_once() {
    let mariadb = DatabaseServer::start();
    mariadb.answers().await;
    let database = TestDatabase::on_server(mariadb.url()).await;
    let line = Line::to(&database.url).await;
    let (server, provider) = scene_on(&database, line.url()).await;
    for _ in 0..RESULTS / 2 {
        provider.answer_next(Answer::status(500));
    }
    save(&server, "r", 0..RESULTS).await;
    provider.wait_for_requests(RESULTS).await;
    let somebody = in_the_way_of_all(&database).await;
    provider.release();
    let waiting = &server.app().metrics.results_waiting;
    eventually("all wait to be stored", async || {
        (waiting.get() == RESULTS as i64).then_some(())
    })
    .await;
    line.lose_answers_to_commits(2);
    ends(somebody).await;
    server.settled().await;
    assert!(line.has_lost_them());
    for (outcome, count) in [
        ("failed", RESULTS / 2),
        ("stored", RESULTS / 2),
        ("discarded", 0),
    ] {
        let rows = format!("ts_renewal WHERE outcome = '{outcome}'");
        counted(&database, &rows, count).await;
    }
    half_failed_and_half_stored(&database).await;
    counted(&database, "ts_token WHERE lease_owner IS NOT NULL", 0).await;
}
