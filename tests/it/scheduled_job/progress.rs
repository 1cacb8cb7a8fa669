//! What a job shows while it goes on.

use crate::cli::{LONG_AGO, obtain};
use crate::kit::process::command;
use crate::kit::terminal::{self, has_bar};
use crate::kit::{Provider, TestDatabase, on_every_database};

on_every_database! {
    a_job_shows_its_progress_on_a_terminal_and_nowhere_else,
}

async fn a_job_shows_its_progress_on_a_terminal_and_nowhere_else(database: TestDatabase) {
    let provider = Provider::start().await;
    obtain(&database, &provider, LONG_AGO).await;
    let renew = |realm: &str| {
        let mut command = command(&database, &[]);
        command
            .args(["renew", "--realm", realm])
            .env("TERM", "xterm");
        command
    };
    let shown = tokio::task::block_in_place(|| terminal::run(renew("a")));
    assert!(shown.status.success(), "{}", shown.on_terminal);
    assert!(has_bar(&shown.on_terminal), "{}", shown.on_terminal);
    let summary = serde_json::from_slice::<serde_json::Value>(&shown.stdout);
    assert_eq!(summary.expect("a summary")["renewed"], 2);
    let said = tokio::task::block_in_place(|| renew("b").output());
    let said = said.expect("the binary starts");
    let stderr = String::from_utf8_lossy(&said.stderr);
    assert!(!has_bar(&stderr), "{stderr}");
}
