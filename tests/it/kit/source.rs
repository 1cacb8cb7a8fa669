//! The source of the project, for tests that read it.

use std::fs;
use std::path::{Path, PathBuf};

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files below a folder whose names end with one of these extensions, in order.
pub fn files_below(folder: &Path, extensions: &[&str]) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("the folder is there");
    let mut paths: Vec<_> = entries
        .map(|entry| entry.expect("an entry").path())
        .collect();
    paths.sort();
    let below = paths.into_iter().flat_map(|path| match path.is_dir() {
        true => files_below(&path, extensions),
        false => vec![path],
    });
    let is_wanted = |path: &PathBuf| {
        let extension = path.extension().and_then(|extension| extension.to_str());
        extension.is_some_and(|extension| extensions.contains(&extension))
    };
    below.filter(is_wanted).collect()
}

/// All files of source below a folder.
pub fn sources(folder: &Path) -> Vec<PathBuf> {
    files_below(folder, &["rs"])
}

pub fn read(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// The lines of a text that stand outside of fenced blocks.
pub fn prose(text: &str) -> Vec<&str> {
    let mut within_block = false;
    let mut lines = Vec::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            within_block = !within_block;
        } else if !within_block {
            lines.push(line);
        }
    }
    lines
}

/// The parts of a text that stand in backticks.
pub fn in_backticks(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}
