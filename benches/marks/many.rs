//! Marks 5, 7 and 8: what many tokens cost while nothing is due.

use std::time::{Duration, Instant};

use crate::Size;
use crate::cost::resident_kib;
use crate::kit::TestDatabase;
use crate::kit::database_server::DatabaseServer;
use crate::kit::server::{Options, Server};
use crate::load::{Connecting, Connection, token_request};
use crate::report::{Mark, Report, Runs};
use crate::stock;
use crate::world::{self, Provider, key_name, realm_name};

const FEW: usize = 1000;

/// Longer than between two sweeps at least.
const PAUSE: Duration = Duration::from_millis(25);

/// So many tokens in a database, none due.
async fn stock(database: &TestDatabase, tokens: usize) {
    let provider = Provider::start(Duration::ZERO, 86_400).await;
    let server = world::server(database, "a", &[]);
    world::register(database, &server.client, &provider.url(), 1, 1).await;
    server.kill();
    stock::add(database, 1..tokens + 1).await;
}

pub async fn idle_sweeps(size: &Size, report: &mut Report) {
    let (few, many) = (TestDatabase::sqlite(), TestDatabase::sqlite());
    compare_idle_sweeps(size, report, "SQLite", [few, many]).await;
    let mariadb = DatabaseServer::start();
    mariadb.answers().await;
    let few = TestDatabase::on_server(mariadb.url()).await;
    let many = TestDatabase::on_server(mariadb.url()).await;
    compare_idle_sweeps(size, report, "MariaDB", [few, many]).await;
    report.one(5, "many", size.idle as f64, Mark::Shown);
}

async fn compare_idle_sweeps(
    size: &Size,
    report: &mut Report,
    on: &str,
    [few, many]: [TestDatabase; 2],
) {
    let mut sides = Vec::new();
    for (database, tokens) in [(few, FEW), (many, size.idle)] {
        stock(&database, tokens).await;
        let server = Server::start_with(&database, Options::default()).await;
        sides.push((database, server, Runs::default()));
    }
    for _ in 0..size.runs {
        for (_, server, cost) in &mut sides {
            let mut took = Duration::ZERO;
            for _ in 0..size.sweeps {
                tokio::time::sleep(PAUSE).await;
                took += one_sweep(server).await;
            }
            cost.push(took.as_secs_f64() * 1e6 / size.sweeps as f64);
        }
    }
    let (few, many) = (&sides[0].2, &sides[1].2);
    let ratio = format!("an idle sweep with many tokens, over one with 1,000, {on}");
    report.add(5, &ratio, many.over(few), Mark::AtMost(1.5));
    let cost = format!("an idle sweep with 1,000 tokens, {on}, µs");
    report.add(5, &cost, few.clone(), Mark::Shown);
}

async fn one_sweep(server: &Server) -> Duration {
    let sweeps = || server.app().metrics.sweeps.get();
    let (before, begun) = (sweeps(), Instant::now());
    server.app().wake.notify_one();
    while sweeps() == before {
        tokio::task::yield_now().await;
    }
    begun.elapsed()
}

pub async fn held(size: &Size, report: &mut Report) {
    let database = TestDatabase::sqlite();
    stock(&database, FEW + size.held).await;
    let begun = Instant::now();
    let server = world::server(&database, "a", &[]);
    let ready = begun.elapsed().as_secs_f64();
    report.one(8, "seconds from start to ready", ready, Mark::AtMost(0.1));
    let key = world::reading_key(&server.client).await;
    let mut connection = Connection::new(server.address, Connecting::Plain);
    let mut read_all = async |numbers: std::ops::Range<usize>| {
        for number in numbers {
            let request = token_request(&realm_name(0), &key_name(number), &key);
            connection.ask(&request).await.expect("it answers");
        }
    };
    read_all(1..FEW + 1).await;
    let few = resident_kib(server.pid());
    report.one(
        7,
        "MiB resident with 1,000 tokens",
        few / 1024.0,
        Mark::AtMost(40.0),
    );
    read_all(FEW + 1..FEW + size.held + 1).await;
    let many = resident_kib(server.pid());
    let each = (many - few) / size.held as f64;
    report.one(7, "KiB for each token more", each, Mark::AtMost(1.0));
    report.one(7, "tokens more", size.held as f64, Mark::Shown);
    server.kill();
    cold_starts(size, report, "SQLite", (&database, &key), 0.15).await;
    let mariadb = DatabaseServer::start();
    mariadb.answers().await;
    let database = TestDatabase::on_server(mariadb.url()).await;
    stock(&database, FEW + size.held).await;
    let server = world::server(&database, "a", &[]);
    let key = world::reading_key(&server.client).await;
    server.kill();
    cold_starts(size, report, "MariaDB", (&database, &key), 0.4).await;
}

/// How long the first caller waits for whom the server is started, as on a serverless platform.
async fn cold_starts(
    size: &Size,
    report: &mut Report,
    on: &str,
    (database, key): (&TestDatabase, &str),
    seconds: f64,
) {
    let mut took = Runs::default();
    for number in 1..size.runs + 1 {
        let begun = Instant::now();
        let server = world::server(database, "a", &[]);
        let mut connection = Connection::new(server.address, Connecting::Plain);
        let request = token_request(&realm_name(0), &key_name(number), key);
        let body = connection.ask(&request).await.expect("it answers");
        assert!(String::from_utf8_lossy(body).contains("\"token\""));
        took.push(begun.elapsed().as_secs_f64());
        server.kill();
    }
    let what = format!("seconds from a cold start to the first answered read, {on}");
    report.add(8, &what, took, Mark::AtMost(seconds));
}
