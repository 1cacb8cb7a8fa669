//! Where chains end is recorded each minute by the servers that run, on a clock of the test's own.

use token_server::foundation::clock::Ms;
use token_server::jobs::job::PassOutcome;

use super::{expect_whole, save};
use crate::kit::server::Options;
use crate::kit::{Server, TestDatabase, eventually, on_every_database};

on_every_database! {
    running_servers_record_each_minute_where_the_chains_of_others_end,
}

const RECORDS: &str = "SELECT COUNT(*) FROM ts_audit WHERE action = 'audit.heads'";
const SECOND: Ms = Ms::from_secs(1);

/// Waits until the last pass of the job had nothing to do, on each server.
async fn idle(servers: &[Server]) {
    for server in servers {
        eventually("a pass of the job", async || {
            let jobs = server.jobs();
            let of_heads = jobs.iter().find(|(name, _)| *name == "audit_heads");
            let (_, last) = of_heads.expect("the job is started");
            (*last == PassOutcome::Idle).then_some(())
        })
        .await;
    }
}

/// Waits for sweeps, which the scheduler wakes as often as the job.
async fn sweep(servers: &[Server]) {
    for server in servers {
        for _ in 0..2 {
            server.sweeps().await;
        }
    }
}

async fn recorded(database: &TestDatabase, count: i64) {
    eventually(&format!("{count} records"), async || {
        (database.number(RECORDS).await == count).then_some(())
    })
    .await;
}

async fn running_servers_record_each_minute_where_the_chains_of_others_end(database: TestDatabase) {
    let (server, clock) = Server::on_manual_clock(&database).await;
    let options = Options {
        clock: Some(clock.clone()),
        ..Options::default()
    };
    let servers = [server, Server::start_with(&database, options).await];
    save(&servers[0], "a").await;
    save(&servers[1], "b").await;
    // A minute has not passed, however often the scheduler wakes the job.
    clock.advance(Ms::from_secs(59));
    sweep(&servers).await;
    assert_eq!(database.number(RECORDS).await, 0);
    // Each records the chain of the other.
    clock.advance(SECOND);
    recorded(&database, 2).await;
    idle(&servers).await;
    // What the first has written since is recorded by the second, and nothing else is worth it.
    save(&servers[0], "c").await;
    clock.advance(Ms::from_secs(60));
    recorded(&database, 3).await;
    idle(&servers).await;
    clock.advance(Ms::from_secs(60));
    sweep(&servers).await;
    for server in servers {
        server.stop().await;
    }
    assert_eq!(database.number(RECORDS).await, 3);
    expect_whole(&database);
}
