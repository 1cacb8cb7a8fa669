//! A job in a process of its own.

use std::process::{Child, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::cli::Ended;
use crate::kit::TestDatabase;
use crate::kit::process::command;

/// A job in a process of its own, as in a container of its own.
pub struct Job {
    child: Child,
    data_dir: TempDir,
}

impl Job {
    pub fn start(
        database: &TestDatabase,
        env: &[(&'static str, &str)],
        arguments: &[&str],
    ) -> Self {
        let data_dir = tempfile::tempdir().expect("a temporary directory can be made");
        let mut env: Vec<_> = env
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()))
            .collect();
        let path = data_dir.path().display().to_string();
        env.push(("TOKEN_SERVER__DATA_DIR", path));
        let child = command(database, &env)
            .arg("renew")
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the binary starts");
        Self { child, data_dir }
    }

    pub fn signal(&self, signal: Signal) {
        let sent = kill_process(Pid::from_child(&self.child), signal);
        sent.expect("the process can be signalled");
    }

    /// As it names itself in leases and in the history.
    pub fn replica(&self) -> String {
        let file = std::fs::read_to_string(self.data_dir.path().join("replica.id"));
        file.expect("its name").trim().to_owned()
    }

    /// However long it takes.
    pub async fn end(self) -> (Ended, String) {
        let replica = self.replica();
        let Self { child, data_dir } = self;
        let output = tokio::task::spawn_blocking(|| child.wait_with_output());
        let output = output
            .await
            .expect("no panic")
            .expect("it can be waited for");
        drop(data_dir);
        let ended = Ended {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).expect("text"),
            stderr: String::new(),
        };
        (ended, replica)
    }
}
