//! Somebody who follows a page: a shell in a folder of its own, and another terminal in which
//! a server runs. What a reader has on a machine is there: the program, `cargo`, the Makefile.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;

use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;
use tokio::task::block_in_place;

use super::compare::{DIFFER, compare};
use super::page::{Commands, Shown};
use crate::kit::PATIENCE;
use crate::kit::database_server::free_port;
use crate::kit::process::BINARY;
use crate::kit::server::Client;
use crate::kit::source::root;

/// Where pages have servers listen.
const ADDRESS: &str = "127.0.0.1:8080";

/// Folders of a machine that pages name. The reader's folder has them below it.
const FOLDERS: [&str; 7] = [
    "/backup",
    "/drill",
    "/elsewhere",
    "/etc/prometheus",
    "/etc/token-server",
    "/var/lib/node-exporter",
    "/var/lib/token-server",
];

/// `cargo run … -- ARGUMENTS`, with what is compiled already.
const CARGO: &str = r#"#!/bin/sh
[ "$1" = run ] || exit 101
while [ "$1" != -- ]; do shift; done
shift
exec token-server "$@"
"#;

/// Programs that reach beyond a reader's folder.
const REFUSED: [&str; 5] = ["docker", "git", "kubectl", "sudo", "systemctl"];

const REFUSAL: &str = r#"#!/bin/sh
echo "$0 is not run by tests: give the reason in LISTED" >&2
exit 1
"#;

/// Runs files of commands, and keeps what they set. What fails is written down.
const SHELL: &str = r#"
set -E
trap 'echo "${BASH_COMMAND//$'\n'/ }" >>"$HOME/failed"' ERR
while read -r file; do . "$file" </dev/null >"$HOME/printed" 2>"$HOME/said"; echo "$?"; done
"#;

pub struct Reader {
    folder: TempDir,
    /// What is written on pages, and what takes its place.
    places: Vec<(String, String)>,
    shell: Child,
    stdin: ChildStdin,
    ended: Receiver<String>,
    terminal: Option<Terminal>,
}

/// What commands did.
pub struct Done {
    pub printed: String,
    /// The commands that failed, and what they said.
    pub failed: Vec<String>,
    pub said: String,
}

/// Commands that go on, such as a server.
struct Terminal {
    shell: Child,
    lines: Receiver<String>,
    demo: bool,
}

impl Reader {
    /// Of a page about the server at this address.
    pub fn at(address: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary directory can be made");
        let home = folder.path();
        let bin = home.join("bin");
        for path in FOLDERS.map(|path| home.join(&path[1..])) {
            fs::create_dir_all(path).expect("a folder can be made");
        }
        fs::create_dir(&bin).expect("a folder can be made");
        let program = |name: &str, text: &str| {
            let file = bin.join(name);
            fs::write(&file, text).expect("a file can be written");
            fs::set_permissions(file, fs::Permissions::from_mode(0o755)).expect("it may run");
        };
        program("cargo", CARGO);
        for name in REFUSED {
            program(name, REFUSAL);
        }
        // On a terminal, curl shows its progress only where the answer goes elsewhere. What the
        // server refuses fails.
        fs::write(
            home.join(".curlrc"),
            "silent\nshow-error\nfail-with-body\nnoproxy = *\n",
        )
        .expect("a file can be written");
        let link = |from: PathBuf, name: &str| {
            std::os::unix::fs::symlink(from, home.join(name)).expect("a link can be made");
        };
        link(BINARY.into(), "bin/token-server");
        link(root().join("Makefile"), "Makefile");
        let mut places = vec![(ADDRESS.to_owned(), address.to_owned())];
        places.extend(FOLDERS.map(|path| (path.to_owned(), format!("{}{path}", home.display()))));
        // The filter leaves what commands print, and no log beside it.
        let mut shell = bash(home, address)
            .args(["-c", SHELL])
            .env("TOKEN_SERVER__LOG__FILTER", "off")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("bash starts");
        let stdin = shell.stdin.take().expect("standard input is piped");
        let ended = lines_of(&mut shell);
        Self {
            folder,
            places,
            shell,
            stdin,
            ended,
            terminal: None,
        }
    }

    /// Of a page whose servers get a port of this machine.
    pub fn alone() -> Self {
        Self::at(&format!("127.0.0.1:{}", free_port()))
    }

    /// What stands on pages in place of what this machine has.
    pub fn replace(&mut self, written: &str, by: &str) {
        self.places.push((written.to_owned(), by.to_owned()));
    }

    /// As the page has it, on this machine.
    pub fn here(&self, text: &str) -> String {
        let places = self.places.iter();
        places.fold(text.to_owned(), |text, (written, by)| {
            text.replace(written, by)
        })
    }

    pub fn save(&self, file: &str, content: &str) {
        let path = self.folder.path().join(file);
        let folder = path.parent().expect("a file is in a folder");
        fs::create_dir_all(folder).expect("a folder can be made");
        fs::write(path, content).expect("a file can be written");
    }

    /// A client of the server that runs in the other terminal, with the administrator's key.
    pub fn client(&self) -> Option<Client> {
        self.terminal.as_ref()?;
        let key = ["data/admin.key", "var/lib/token-server/admin.key"]
            .iter()
            .find_map(|file| fs::read_to_string(self.folder.path().join(file)).ok())?;
        let client = Client::new(format!("http://{}", self.here(ADDRESS)));
        Some(client.with_key(key.trim()))
    }

    /// Whether the demo runs in the other terminal.
    pub fn sees_demo(&self) -> bool {
        self.terminal.as_ref().is_some_and(|terminal| terminal.demo)
    }

    pub fn follow(&mut self, commands: &Commands) -> Done {
        if commands.serve() {
            self.start(&commands.text, commands.shown.as_ref())
        } else {
            self.run(&commands.text)
        }
    }

    /// Runs commands to their end.
    pub fn run(&mut self, commands: &str) -> Done {
        let home = self.folder.path();
        self.save("commands", &self.here(commands));
        self.save("failed", "");
        let file = home.join("commands");
        writeln!(self.stdin, "{}", file.display()).expect("the shell reads");
        let ended = block_in_place(|| self.ended.recv_timeout(PATIENCE));
        let read = |name: &str| fs::read_to_string(home.join(name)).unwrap_or_default();
        let printed = read("printed");
        let said = read("said");
        ended.unwrap_or_else(|error| panic!("{error}: {commands}\n{printed}\n{said}"));
        // The file as a whole fails with its last command.
        let failed = read("failed");
        let failed = failed.lines().filter(|line| !line.starts_with(". "));
        Done {
            printed,
            failed: failed.map(str::to_owned).collect(),
            said,
        }
    }

    /// Runs commands in the other terminal, where the server is stopped that ran there. They go
    /// on where they serve; else they are to show why not, and end.
    pub fn start(&mut self, commands: &str, shown: Option<&Shown>) -> Done {
        self.terminal = None;
        let address = self.here(ADDRESS);
        let shell = bash(self.folder.path(), &address)
            .args(["-c", &format!("exec 2>&1\n{}", self.here(commands))])
            .env("TOKEN_SERVER__LOG__FORMAT", "pretty")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn();
        let mut shell = shell.expect("bash starts");
        let lines = lines_of(&mut shell);
        let demo = commands.contains("make run");
        let terminal = Terminal { shell, lines, demo };
        let mut printed = String::new();
        let is_shown =
            |printed: &str| shown.is_none_or(|shown| compare(shown, printed, &DIFFER).is_empty());
        let mut serves = false;
        // The demo greets once it serves.
        while !(serves && is_shown(&printed)) {
            let Ok(line) = block_in_place(|| terminal.lines.recv_timeout(PATIENCE)) else {
                break;
            };
            serves |= line.contains(": serving ");
            printed.push_str(&line);
            printed.push('\n');
        }
        let mut failed = Vec::new();
        if serves {
            self.terminal = Some(terminal);
        } else {
            failed.push(commands.to_owned());
        }
        let said = printed.clone();
        Done {
            printed,
            failed,
            said,
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = kill_process_group(Pid::from_child(&self.shell), Signal::TERM);
        let _ = self.shell.wait();
        // Until the server has ended, too.
        while self.lines.recv_timeout(PATIENCE).is_ok() {}
    }
}

/// Of a reader, with nothing of the environment of the tests.
fn bash(home: &Path, address: &str) -> Command {
    let path = std::env::vars().find(|(name, _)| name == "PATH");
    let (_, path) = path.unwrap_or_default();
    let mut bash = Command::new("bash");
    bash.current_dir(home)
        .env_clear()
        .env("HOME", home)
        .env("PATH", format!("{}:{path}", home.join("bin").display()))
        .env("TOKEN_SERVER__HTTP__LISTEN", address)
        // Simulated providers are on loopback.
        .env("TOKEN_SERVER__UPSTREAM__ALLOWED_NETWORKS", "127.0.0.0/8");
    bash
}

fn lines_of(shell: &mut Child) -> Receiver<String> {
    let (sender, lines) = mpsc::channel();
    let stdout = shell.stdout.take().expect("standard output is piped");
    thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    lines
}
