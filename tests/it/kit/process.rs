//! The server as a process of its own, which can be killed.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use serde_json::Value;

use super::log_events::note_line;
use super::server::{Client, environment};
use super::{PATIENCE, TestDatabase};

pub const BINARY: &str = env!("CARGO_BIN_EXE_token-server");

/// A command of the binary, in a test's environment and no other.
pub fn command(database: &TestDatabase, more: &[(&'static str, String)]) -> Command {
    let mut command = Command::new(BINARY);
    command.env_clear().envs(environment(database, more));
    command
}

/// Serves; answers the lines of its log, too.
pub fn serve(mut command: Command) -> (Child, mpsc::Receiver<String>) {
    let mut child = command
        .arg("serve")
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let (sender, log) = mpsc::channel();
    let stderr = child.stderr.take().expect("standard error is piped");
    thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            note_line(&line);
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    (child, log)
}

/// `serve --demo`, until it is dropped.
pub struct Demo {
    child: Child,
    /// The line that it prints.
    pub curl: String,
    pub client: Client,
    /// Of the token, as that line has it.
    pub path: String,
}

impl Demo {
    pub fn start(database: &TestDatabase) -> Self {
        // The demo lists loopback by itself.
        let nowhere = ("TOKEN_SERVER__UPSTREAM__ALLOWED_NETWORKS", String::new());
        let mut child = command(database, &[nowhere])
            .args(["serve", "--demo"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the binary starts");
        let printed = BufReader::new(child.stdout.take().expect("standard output is piped"));
        let curl = printed
            .lines()
            .map_while(Result::ok)
            .map(|line| line.trim().to_owned())
            .find(|line| line.starts_with("curl "))
            .expect("a curl line is printed");
        let url = curl
            .split('\'')
            .rfind(|part| part.starts_with("http"))
            .expect("a URL");
        let (base, path) = url.split_at(url.find("/api/").expect("a path of the API"));
        Self {
            client: Client::new(base.to_owned()),
            path: path.to_owned(),
            child,
            curl,
        }
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub struct ServerProcess {
    child: Child,
    pub client: Client,
    #[allow(dead_code)] // For benchmarks.
    pub address: SocketAddr,
    /// What it said when it served.
    #[allow(dead_code)] // For tests of logs.
    pub serving: Value,
    /// What it logged until then.
    #[allow(dead_code)] // For tests of starts.
    pub before_it_served: Vec<String>,
    log: mpsc::Receiver<String>,
}

impl ServerProcess {
    /// Starts the server and waits until it serves.
    pub fn start(database: &TestDatabase, more: &[(&'static str, String)]) -> Self {
        Self::start_by(command(database, more))
    }

    /// Starts it under limits that commands of the shell set, such as `ulimit`.
    #[allow(dead_code)] // For the fault tests.
    pub fn start_limited(
        database: &TestDatabase,
        more: &[(&'static str, String)],
        limits: &str,
    ) -> Self {
        let mut shell = Command::new("/bin/sh");
        shell.env_clear().envs(environment(database, more));
        shell.args(["-c", &format!("{limits} && exec \"$0\" \"$@\""), BINARY]);
        Self::start_by(shell)
    }

    /// Starts what serves when it is told to.
    pub fn start_by(mut command: Command) -> Self {
        command.env("TOKEN_SERVER__LOG__FORMAT", "json");
        let (child, log) = serve(command);
        let mut said = Vec::new();
        let serving = loop {
            let Ok(line) = log.recv_timeout(PATIENCE) else {
                panic!("the server does not serve; it said:\n{}", said.join("\n"));
            };
            said.push(line.clone());
            let event: Value = serde_json::from_str(&line).unwrap_or_default();
            if event["message"] == "serving" {
                break event;
            }
        };
        let address = serving["address"].as_str().expect("an address");
        Self {
            child,
            client: Client::new(format!("http://{address}")),
            address: address.parse().expect("an address"),
            serving,
            before_it_served: said,
            log,
        }
    }

    #[allow(dead_code)] // For benchmarks.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has logged since it served.
    pub fn logged(&self) -> Vec<String> {
        self.log.try_iter().collect()
    }

    /// What it logs until it has ended.
    #[allow(dead_code)] // For tests of logs.
    pub fn logged_to_the_end(mut self) -> Vec<String> {
        let log = self.log.iter().collect();
        self.child.wait().expect("the process ends");
        log
    }

    fn signal(&self, signal: Signal) {
        let sent = kill_process(Pid::from_child(&self.child), signal);
        sent.expect("the process can be signalled");
    }

    /// SIGSTOP; it keeps its connections. Waits until all of its threads have stopped: on a
    /// busy machine they still see what happens meanwhile.
    #[allow(dead_code)] // For the fault tests.
    pub fn stand_still(&self) {
        self.signal(Signal::STOP);
        // What has ended instead would be waited for without end.
        let seen = WaitIdOptions::STOPPED | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        let status = waitid(WaitId::Pid(Pid::from_child(&self.child)), seen);
        let status = status.expect("the process can be waited for");
        assert!(
            status.is_some_and(|status| status.stopped()),
            "it has ended"
        );
    }

    /// SIGCONT.
    #[allow(dead_code)] // For the fault tests.
    pub fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    /// `kill -9`.
    pub fn kill(mut self) {
        self.child.kill().expect("the process can be killed");
        self.child.wait().expect("the process ends");
    }

    /// SIGTERM.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Waits for the end; answers the exit code.
    pub fn exit_code(mut self) -> Option<i32> {
        self.child.wait().expect("the process ends").code()
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
