//! `import`: what the predecessor or another token server has stored is taken in, and every row of
//! it accounted for.

mod finishing;
mod followed;
mod given_up;
mod moved;
mod predecessor;
mod progress;
pub mod rows;
mod ways;

use std::collections::BTreeMap;
use std::process::{Command, Output};

use serde_json::Value;

use crate::kit::TestDatabase;
use crate::kit::process::command;

/// `import`, ready to be run.
fn prepared(database: &TestDatabase, source: &TestDatabase) -> Command {
    let from = ("TOKEN_SERVER_IMPORT_URL", source.url.clone());
    let mut command = command(database, &[from]);
    command.arg("import");
    command
}

fn ended(mut command: Command, arguments: &[&str]) -> Output {
    let ended = command.args(arguments).output();
    ended.expect("the binary starts")
}

fn text(output: &[u8]) -> String {
    String::from_utf8_lossy(output).into_owned()
}

/// The report of an import. The exit code says whether each row is here.
fn report_of(command: Command, more: &[&str], code: i32) -> Value {
    let ended = ended(command, &[&["--format", "json"], more].concat());
    assert_eq!(ended.status.code(), Some(code), "{}", text(&ended.stderr));
    serde_json::from_slice(&ended.stdout).expect("the report is JSON")
}

fn import(database: &TestDatabase, source: &TestDatabase, more: &[&str], code: i32) -> Value {
    report_of(prepared(database, source), more, code)
}

fn migrated(database: &TestDatabase) {
    let migrated = command(database, &[]).arg("migrate").output();
    let migrated = migrated.expect("the binary starts");
    assert!(migrated.status.success(), "{}", text(&migrated.stderr));
}

/// The outcomes of a report by the names of rows.
fn outcomes(report: &Value) -> BTreeMap<(String, String), Value> {
    let rows = report["rows"].as_array().expect("rows");
    let name = |row: &Value| {
        let part = |fields: [&str; 2]| {
            let given = fields.iter().find_map(|field| row[*field].as_str());
            given.unwrap_or_default().to_owned()
        };
        (part(["realm", "name"]), part(["key", "application"]))
    };
    let by_name: BTreeMap<_, _> = rows.iter().map(|row| (name(row), row.clone())).collect();
    assert_eq!(by_name.len(), rows.len(), "a row is reported once");
    by_name
}
