//! Mark 14: renewals and readers while ten million old attempts are deleted.

use std::time::Instant;

use sea_orm::{ConnectionTrait, DatabaseConnection};
use token_server::foundation::clock::{Clock, Ms, SystemClock, Timeline};

use crate::Size;
use crate::kit::TestDatabase;
use crate::kit::database_server::DatabaseServer;
use crate::kit::process::ServerProcess;
use crate::report::{Mark, Report, Runs};
use crate::traffic::{Side, Traffic};
use crate::world;

/// So many tokens become due at once, and so often: 500 a second.
const DUE_AT_ONCE: i64 = 50;
/// Rows of one statement.
const ROWS: usize = 100_000;
/// Attempts are kept for 30 days.
const OLD: Ms = Ms::from_secs(60 * 86_400);

const NEVER: &str = "0 0 0 1 1 *";
const EACH_SECOND: &str = "* * * * * *";

struct World {
    database: TestDatabase,
    traffic: Traffic,
}

/// The server, which looks for old attempts then.
fn launch(database: &TestDatabase, schedule: &str) -> ServerProcess {
    let schedule = schedule.to_owned();
    world::server(
        database,
        "a",
        &[("TOKEN_SERVER__MAINTENANCE__SCHEDULE", schedule)],
    )
}

impl World {
    async fn start(size: &Size, database: TestDatabase) -> Self {
        let server = launch(&database, NEVER);
        let traffic = Traffic::of(&server, &database, size, DUE_AT_ONCE).await;
        server.kill();
        add_old(&database, size.attempts).await;
        Self { database, traffic }
    }

    /// Beside a server that looks for old attempts then.
    async fn measure(&mut self, schedule: &str, side: &mut Side) {
        let server = launch(&self.database, schedule);
        self.traffic.measure(&server, &self.database, side).await;
        server.kill();
    }

    /// The first of the old attempts that are left.
    async fn first(&self) -> i64 {
        self.database.number("SELECT MIN(id) FROM ts_renewal").await
    }
}

/// Adds so many attempts that are older than they are kept: those that were made, again and again.
async fn add_old(database: &TestDatabase, attempts: usize) {
    let connection = database.connect().await;
    let columns = "realm_id, key_name, attempt_id, cause, outcome, class, detail, generation, \
                   duration_ms, replica";
    let old = SystemClock.now().minus(OLD).0;
    let mut added = 0;
    while added < attempts {
        let rows = ROWS.min(attempts - added);
        let insert = format!(
            "INSERT INTO ts_renewal ({columns}, started_at) \
             SELECT {columns}, {old} + {added} FROM ts_renewal ORDER BY id LIMIT {rows}"
        );
        let done = connection.execute_unprepared(&insert).await;
        added += usize::try_from(done.expect("the statement is good").rows_affected())
            .expect("a small number");
    }
    // The attempts that were there are recent, and first; they are old now, too.
    let aged =
        format!("UPDATE ts_renewal SET started_at = {old} WHERE started_at > {old} + {attempts}");
    run(&connection, &aged).await;
    connection.close().await.expect("the connection closes");
}

async fn run(connection: &DatabaseConnection, sql: &str) {
    let done = connection.execute_unprepared(sql).await;
    done.expect("the statement is good");
}

pub async fn measure(size: &Size, report: &mut Report) {
    on(size, report, "SQLite", TestDatabase::sqlite()).await;
    let mariadb = DatabaseServer::start();
    mariadb.answers().await;
    let database = TestDatabase::on_server(mariadb.url()).await;
    on(size, report, "MariaDB", database).await;
}

async fn on(size: &Size, report: &mut Report, name: &str, database: TestDatabase) {
    let mut world = World::start(size, database).await;
    let [mut calm, mut again, mut deleting] = [Side::default(), Side::default(), Side::default()];
    let mut rates = Runs::default();
    for _ in 0..size.runs {
        world.measure(NEVER, &mut calm).await;
        let (before, begun) = (world.first().await, Instant::now());
        world.measure(EACH_SECOND, &mut deleting).await;
        let deleted = world.first().await - before;
        rates.push(deleted as f64 / begun.elapsed().as_secs_f64());
        world.measure(NEVER, &mut again).await;
    }
    let what = format!("renewals a second while old attempts are deleted, over calm, {name}");
    report.compare(
        14,
        &what,
        deleting.renewals.over(&calm.renewals),
        again.renewals.over(&calm.renewals),
        Mark::AtLeast(0.9),
    );
    let what = format!("readers' p99 meanwhile, over calm, {name}");
    report.compare(
        14,
        &what,
        deleting.p99.over(&calm.p99),
        again.p99.over(&calm.p99),
        Mark::AtMost(1.1),
    );
    for (what, figures) in [
        ("renewals a second meanwhile", deleting.renewals),
        ("readers' p99 while it is calm, ms", calm.p99),
        ("readers' p99 meanwhile, ms", deleting.p99),
        ("old attempts deleted a second", rates),
    ] {
        report.add(14, &format!("{what}, {name}"), figures, Mark::Shown);
    }
    let errors = calm.errors + again.errors + deleting.errors;
    let what = format!("errors of readers, {name}");
    report.one(14, &what, errors as f64, Mark::AtMost(0.0));
}
