//! Marks 3, 4 and 6: renewals a second, and what one costs.

use std::time::{Duration, Instant};

use sea_orm::ConnectionTrait;

use crate::Size;
use crate::authenticated;
use crate::cost::cpu_seconds;
use crate::kit::TestDatabase;
use crate::kit::database_server::DatabaseServer;
use crate::report::{Mark, Report, Runs};
use crate::world::{self, Provider, none_left};

const PROVIDER_DELAY: Duration = Duration::from_millis(50);
const LIFETIME_S: i64 = 7200;
/// The default pace of a realm is 50 a second.
const REALMS: usize = 32;
const RESTARTED_REALMS: usize = 16;
/// The default bound of a realm.
const IN_REALM_MAX: usize = 8;

/// Makes all tokens due.
async fn all_due(database: &TestDatabase) {
    let connection = database.connect().await;
    let done = connection
        .execute_unprepared("UPDATE ts_token SET renew_at = 0")
        .await;
    done.expect("the statement is good");
    connection.close().await.expect("the connection closes");
}

pub async fn on_mariadb(size: &Size, report: &mut Report) {
    let mariadb = DatabaseServer::start();
    mariadb.answers().await;
    let database = TestDatabase::on_server(mariadb.url()).await;
    let (rate, cost) = renew_all(size, &database, Some(mariadb.pid())).await;
    report.add(3, "renewals a second, MariaDB", rate, Mark::AtLeast(1400.0));
    report.add(
        3,
        "CPU of a renewal, server and database, ms",
        cost.clone(),
        Mark::AtMost(0.5),
    );
    authenticated::measure(3, size, &cost, report);
}

pub async fn on_sqlite(size: &Size, report: &mut Report) {
    let database = TestDatabase::sqlite();
    let (rate, cost) = renew_all(size, &database, None).await;
    report.add(4, "renewals a second, SQLite", rate, Mark::AtLeast(1600.0));
    report.add(4, "CPU of a renewal, ms", cost.clone(), Mark::AtMost(0.4));
    authenticated::measure(4, size, &cost, report);
}

async fn renew_all(size: &Size, database: &TestDatabase, beside: Option<u32>) -> (Runs, Runs) {
    let provider = Provider::start(PROVIDER_DELAY, LIFETIME_S).await;
    let server = world::server(database, "a", &[]);
    world::register(
        database,
        &server.client,
        &provider.url(),
        REALMS,
        size.renewals,
    )
    .await;
    let cpu = || cpu_seconds(server.pid()) + beside.map_or(0.0, cpu_seconds);
    let (mut rate, mut cost) = (Runs::default(), Runs::default());
    for _ in 0..size.runs {
        let (before, begun) = (cpu(), Instant::now());
        let answered = provider.answered() + size.renewals as u64;
        all_due(database).await;
        provider.has_answered(answered).await;
        none_left(database, "renew_at = 0").await;
        let renewals = size.renewals as f64;
        rate.push(renewals / begun.elapsed().as_secs_f64());
        cost.push((cpu() - before) * 1000.0 / renewals);
    }
    (rate, cost)
}

pub async fn after_a_restart(size: &Size, report: &mut Report) {
    let database = TestDatabase::sqlite();
    let provider = Provider::start(PROVIDER_DELAY, LIFETIME_S).await;
    let server = world::server(&database, "a", &[]);
    let (realms, secrets) = (RESTARTED_REALMS, size.restarted);
    world::register(&database, &server.client, &provider.url(), realms, secrets).await;
    server.kill();
    all_due(&database).await;
    let begun = Instant::now();
    let _server = world::server(&database, "a", &[]);
    none_left(&database, "renew_at = 0").await;
    let seconds = begun.elapsed().as_secs_f64();
    report.one(
        6,
        "seconds until what was due at a restart is renewed",
        seconds,
        Mark::AtMost(15.0),
    );
    let most = (RESTARTED_REALMS * IN_REALM_MAX) as f64;
    report.one(
        6,
        "requests at once",
        provider.peak() as f64,
        Mark::AtMost(most),
    );
}
