//! How a line looks on a terminal, and elsewhere.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

use crate::kit::process::command;
use crate::kit::{TestDatabase, terminal};

/// A database whose file others may read, so that whatever opens it warns of that.
fn open_to_others() -> TestDatabase {
    let database = TestDatabase::sqlite();
    let migrated = command(&database, &[]).arg("migrate").output();
    assert!(migrated.expect("the command ends").status.success());
    let file = database.directory.path().join("token-server.db");
    let all_read = Permissions::from_mode(0o644);
    std::fs::set_permissions(file, all_read).expect("the file is ours");
    database
}

/// Runs a command that logs to a terminal, and answers what the terminal was sent.
fn on_terminal(env: &[(&str, &str)]) -> String {
    let database = open_to_others();
    let mut command = command(&database, &[]);
    command.args(["api-key", "list"]).envs(env.iter().copied());
    let ended = terminal::run(command);
    assert!(ended.status.success());
    let sent = ended.on_terminal;
    assert!(sent.contains("other users could use this"), "{sent}");
    sent
}

#[test]
fn a_terminal_has_colours_unless_it_is_asked_to_do_without() {
    let coloured = on_terminal(&[("TERM", "xterm-256color")]);
    assert!(coloured.contains("\u{1b}[33m WARN\u{1b}[0m"), "{coloured}");
    let coloured = on_terminal(&[("TERM", "xterm"), ("NO_COLOR", "")]);
    assert!(coloured.contains('\u{1b}'), "{coloured}");
    for env in [
        [("TERM", "xterm"), ("NO_COLOR", "1")],
        [("TERM", "xterm"), ("NO_COLOR", "false")],
        [("TERM", "dumb"), ("NO_COLOR", "")],
    ] {
        let plain = on_terminal(&env);
        assert!(!plain.contains('\u{1b}'), "{env:?}: {plain:?}");
        assert!(
            plain.contains(" WARN token_server::foundation::private: "),
            "{plain}"
        );
    }
}

#[test]
fn what_is_no_terminal_has_no_colours() {
    let database = open_to_others();
    let ended = command(&database, &[])
        .arg("renew")
        .envs([("TERM", "xterm"), ("TOKEN_SERVER__LOG__FORMAT", "pretty")])
        .output()
        .expect("the command ends");
    let said = String::from_utf8(ended.stderr).expect("a text");
    assert!(
        said.contains(" WARN token_server::foundation::private: "),
        "{said}"
    );
    assert!(!said.contains('\u{1b}'), "{said:?}");
}
