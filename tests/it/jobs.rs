//! What is done in the background.

use token_server::jobs::job::PassOutcome;

use crate::kit::{Server, TestDatabase, eventually, on_every_database};

on_every_database! {
    each_job_has_a_name_and_says_how_its_last_pass_ended,
}

async fn each_job_has_a_name_and_says_how_its_last_pass_ended(database: TestDatabase) {
    let server = Server::start(&database).await;
    let expected = [
        ("sweep", PassOutcome::Done),
        ("follow", PassOutcome::Done),
        // Nobody follows the news.
        ("news", PassOutcome::Idle),
        // Once in a night.
        ("maintenance", PassOutcome::Never),
        // It looks each second whether it is due.
        ("sealed_check", PassOutcome::Idle),
        // The first is a minute after the start.
        ("audit_heads", PassOutcome::Idle),
    ];
    eventually("each job has made the passes that were due", async || {
        (server.jobs() == expected).then_some(())
    })
    .await;
    server.stop().await;
}
