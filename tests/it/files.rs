//! Realms and secrets as files: what dry runs say, what is applied, what is written and taken back.

mod exports;
mod realms;
mod secrets;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::cli::{Ended, end};
use crate::kit::process::command;
use crate::kit::{TestDatabase, on_disk};

/// A folder of files, and a database that commands work on.
struct Scene {
    folder: TempDir,
    database: TestDatabase,
}

impl Scene {
    async fn new(database: TestDatabase) -> Self {
        let scene = Self {
            folder: on_disk(),
            database,
        };
        scene.good(&["migrate"]).await;
        scene
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, document: &Value) -> String {
        self.write_text(name, &document.to_string())
    }

    fn write_text(&self, name: &str, text: &str) -> String {
        use std::os::unix::fs::PermissionsExt;
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("it is made");
        fs::write(&path, text).expect("it is written");
        let private = fs::Permissions::from_mode(0o600);
        fs::set_permissions(&path, private).expect("it is ours");
        path.display().to_string()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = command(&self.database, &[]);
        command.current_dir(self.folder.path()).args(arguments);
        command
    }

    async fn run(&self, arguments: &[&str]) -> Ended {
        end(&mut self.command(arguments)).await
    }

    async fn good(&self, arguments: &[&str]) -> String {
        let ended = self.run(arguments).await;
        assert_eq!(ended.code, Some(0), "{arguments:?}: {}", ended.stderr);
        ended.stdout
    }

    /// A dry run for programs, and how it exited.
    async fn dry_run(&self, arguments: &[&str], code: i32) -> Value {
        let all = [arguments, &["--dry-run", "--format", "json"]].concat();
        let ended = self.run(&all).await;
        assert_eq!(ended.code, Some(code), "{} {}", ended.stdout, ended.stderr);
        serde_json::from_str(&ended.stdout).expect("it is JSON")
    }

    /// What a run that changes nothing leaves as it is.
    async fn state(&self) -> Vec<i64> {
        let mut state = Vec::new();
        for query in [
            "SELECT COUNT(*) FROM ts_migration",
            "SELECT COUNT(*) FROM ts_sealing_key",
            "SELECT COUNT(*) FROM ts_audit",
            "SELECT COUNT(*) FROM ts_audit_chain",
            "SELECT COUNT(*) FROM ts_change",
            "SELECT COUNT(*) FROM ts_realm",
            "SELECT COALESCE(CAST(SUM(version) AS SIGNED), 0) FROM ts_realm",
            "SELECT COUNT(*) FROM ts_secret",
            "SELECT COALESCE(CAST(SUM(version) AS SIGNED), 0) FROM ts_secret",
            "SELECT COALESCE(CAST(SUM(generation) AS SIGNED), 0) FROM ts_token",
            "SELECT COALESCE(MAX(updated_at), 0) FROM ts_token",
        ] {
            state.push(self.database.number(query).await);
        }
        state
    }
}

/// A realm whose secrets have these parameters, all of them required.
fn realm(id: &str, url: &str, params: &[&str]) -> Value {
    let rules: serde_json::Map<_, _> = params
        .iter()
        .map(|name| ((*name).to_owned(), json!({})))
        .collect();
    json!({"id": id, "config": {
        "url": url, "method": "GET", "token_path": "t", "expires_in_path": "e", "params": rules,
    }})
}

/// The files of a folder, by their names.
fn files_in(folder: &Path) -> Vec<(String, String)> {
    let entries = fs::read_dir(folder).expect("the folder is there");
    let mut files: Vec<_> = entries
        .map(|entry| {
            let entry = entry.expect("an entry");
            let text = fs::read_to_string(entry.path()).expect("it is text");
            (entry.file_name().to_string_lossy().into_owned(), text)
        })
        .collect();
    files.sort();
    files
}
