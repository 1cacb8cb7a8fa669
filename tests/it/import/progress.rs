//! What an import shows while it goes on.

use std::process::Command;

use token_server::foundation::clock::{Clock, SystemClock};

use super::moved::{self, Filled, KEYS, filled_source};
use super::rows::{insert, odd, source};
use super::{migrated, prepared, text};
use crate::kit::process::ServerProcess;
use crate::kit::terminal::{self, has_bar};
use crate::kit::{TestDatabase, on_every_database};

on_every_database! {
    an_import_shows_its_progress_on_a_terminal_and_nowhere_else,
}

async fn an_import_shows_its_progress_on_a_terminal_and_nowhere_else(database: TestDatabase) {
    let Filled { source: moved, .. } = filled_source(&database).await;
    let predecessor = source("https://provider.example/token").await;
    let now = SystemClock.now().0;
    let rows: Vec<_> = (0..40).map(|number| odd(number, now)).collect();
    insert(&predecessor, &rows).await;
    migrated(&database);
    // It seals nothing without a key of its own.
    drop(ServerProcess::start(&database, &[]));
    let ways: [&dyn Fn() -> Command; 2] = [&|| moved::prepared(&database, &moved, KEYS), &|| {
        prepared(&database, &predecessor)
    }];
    for way in ways {
        let dry = || {
            let mut command = way();
            command.arg("--dry-run").env("TERM", "xterm");
            command
        };
        let shown = terminal::run(dry());
        assert!(has_bar(&shown.on_terminal), "{}", shown.on_terminal);
        assert!(
            shown.on_terminal.contains(" secrets "),
            "{}",
            shown.on_terminal
        );
        let said = dry().output().expect("the binary starts");
        assert!(!has_bar(&text(&said.stderr)), "{}", text(&said.stderr));
        assert_eq!(text(&shown.stdout), text(&said.stdout));
        assert!(!has_bar(&text(&said.stdout)));
    }
}
