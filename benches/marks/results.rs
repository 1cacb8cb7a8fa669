//! benches/RESULTS.md: what was measured last of each mark, and when.

use std::fs;
use std::path::Path;

use token_server::foundation::clock::{Clock, SystemClock, Timeline};

use crate::report::Report;

const HEAD: &str = "| mark | what | median (lowest–highest) | wanted | | measured on |\n\
                    |---|---|---|---|---|---|\n";

/// Writes the rows that were measured in the place of the older ones of their marks. Rows of the
/// other marks stay where they are of this version, machine and kernel.
pub fn keep(report: &Report) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/RESULTS.md");
    let head = format!(
        "# Results\n\nWritten by `make bench`. What is measured, and how, is in \
         [docs/src/explanation/performance.md](../docs/src/explanation/performance.md).\n\n{}\n\n{HEAD}",
        machine()
    );
    let older = fs::read_to_string(&path).unwrap_or_default();
    let measured: Vec<u8> = report.rows().map(|(number, _)| number).collect();
    let mut rows: Vec<(u8, String)> = older
        .strip_prefix(&head)
        .unwrap_or_default()
        .lines()
        .filter_map(|line| Some((mark_of(line)?, line.to_owned())))
        .filter(|(number, _)| !measured.contains(number))
        .collect();
    let date = SystemClock.now().to_rfc3339();
    let (day, _) = date.split_once('T').expect("a day and a time");
    let anew = report.rows();
    rows.extend(anew.map(|(number, row)| (number, format!("{row} {day} |"))));
    rows.sort_by_key(|(number, _)| *number);
    let mut text = head;
    for (_, row) in rows {
        text.push_str(&row);
        text.push('\n');
    }
    fs::write(&path, text).expect("the results can be written");
}

/// The number of the mark that a row of the table belongs to.
fn mark_of(line: &str) -> Option<u8> {
    line.strip_prefix("| ")?.split_once(' ')?.0.parse().ok()
}

fn machine() -> String {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus
        .lines()
        .find_map(|line| line.strip_prefix("model name"));
    let model = model.map_or("unknown", |model| {
        model.trim_start_matches([' ', '\t', ':'])
    });
    let count = cpus
        .lines()
        .filter(|line| line.starts_with("processor"))
        .count();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!(
        "token-server {}; {count} × {model}; Linux {}; SQLite with synchronous=FULL, MariaDB with \
         innodb_flush_log_at_trx_commit=1.",
        env!("CARGO_PKG_VERSION"),
        kernel.trim()
    )
}
