//! Files of realms and secrets: found, read, and what is wrong with them.

use std::path::{Path, PathBuf};

use serde_json::Value;
use zeroize::Zeroizing;

use super::failure::CommandFailure;
use crate::foundation::fields::Fault;

/// Folders stand for the JSON files in them, by name.
pub(super) fn expanded(files: &[PathBuf]) -> Result<Vec<PathBuf>, CommandFailure> {
    let unreadable = |path: &Path, error| {
        CommandFailure::of(format!("{} cannot be read: {error}", path.display()))
    };
    let mut all = Vec::new();
    for path in files {
        if !path.is_dir() {
            all.push(path.clone());
            continue;
        }
        let entries = std::fs::read_dir(path).map_err(|error| unreadable(path, error))?;
        let mut found = Vec::new();
        for entry in entries {
            let file = entry.map_err(|error| unreadable(path, error))?.path();
            if file
                .extension()
                .is_some_and(|extension| extension == "json")
            {
                found.push(file);
            }
        }
        found.sort();
        all.extend(found);
    }
    Ok(all)
}

/// What a file holds, or each element of a list that it holds, by its pointer in the file.
///
/// # Errors
///
/// Where it cannot be read, or is not JSON.
pub(super) fn documents(file: &Path) -> Result<Vec<(String, Value)>, Vec<Fault>> {
    let whole = |why: String| vec![Fault::new("", why)];
    let text = std::fs::read_to_string(file).map(Zeroizing::new);
    let text = text.map_err(|error| whole(format!("cannot be read: {error}")))?;
    let value: Value = serde_json::from_str(&text).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        whole(format!("is not JSON: line {line}, column {column}"))
    })?;
    Ok(match value {
        Value::Array(elements) => {
            let elements = elements.into_iter().enumerate();
            let by_place = elements.map(|(place, one)| (format!("/{place}"), one));
            by_place.collect()
        }
        one => vec![(String::new(), one)],
    })
}

/// The faults of an element as those of its file.
pub(super) fn below(pointer: &str, faults: Vec<Fault>) -> Vec<Fault> {
    let placed = |fault: Fault| Fault::new(format!("{pointer}{}", fault.pointer), fault.detail);
    faults.into_iter().map(placed).collect()
}

/// A line for each fault of a file.
pub(super) fn shown(file: &Path, faults: &[Fault]) -> Vec<String> {
    let file = file.display();
    let line = |fault: &Fault| match fault.pointer.as_str() {
        "" => format!("{file}: {}", fault.detail),
        pointer => format!("{file}: {pointer} {}", fault.detail),
    };
    faults.iter().map(line).collect()
}
