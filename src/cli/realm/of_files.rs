//! Realms as files hold them, and what is wrong with these.

use std::path::PathBuf;

use serde_json::{Map, Value};

use crate::cli::failure::CommandFailure;
use crate::cli::files::{below, documents, expanded};
use crate::foundation::fields::{Fault, Faults, Fields};
use crate::foundation::ids::RealmId;
use crate::realm::Warning;
use crate::realm::expression::Expressions;
use crate::realm::preset::Preset;
use crate::registry::{FieldChange, RealmPatch};
use crate::upstream::UpstreamSettings;

/// A realm of a file, or what is wrong with it.
pub(super) struct RealmOfFile {
    pub file: PathBuf,
    pub read: Result<RealmPatch, Vec<Fault>>,
    pub warnings: Vec<Warning>,
}

/// Reads realms from files and checks them.
pub(super) fn checked(
    upstream: &UpstreamSettings,
    files: &[PathBuf],
) -> Result<Vec<RealmOfFile>, CommandFailure> {
    let expressions = Expressions::new();
    let mut all: Vec<RealmOfFile> = Vec::new();
    for file in expanded(files)? {
        let unreadable = |faults| vec![(String::new(), Err(faults))];
        let found = documents(&file).map_or_else(unreadable, |documents| {
            let read = |(pointer, document): (String, Value)| {
                let read = read(&document).map_err(|faults| below(&pointer, faults));
                (pointer, read)
            };
            documents.into_iter().map(read).collect()
        });
        for (pointer, read) in found {
            let mut warnings = Vec::new();
            let checked = read.and_then(|patch: RealmPatch| {
                let found = patch.check(&expressions, upstream.into());
                warnings = found.map_err(|faults| below(&pointer, faults))?;
                let mut earlier = all.iter();
                let twice =
                    earlier.find(|one| one.read.as_ref().is_ok_and(|one| one.id == patch.id));
                match twice {
                    None => Ok(patch),
                    Some(other) => {
                        let why = format!("is the realm of {}, too", other.file.display());
                        Err(vec![Fault::new(format!("{pointer}/id"), why)])
                    }
                }
            });
            all.push(RealmOfFile {
                file: file.clone(),
                read: checked,
                warnings,
            });
        }
    }
    Ok(all)
}

fn read(document: &Value) -> Result<RealmPatch, Vec<Fault>> {
    let faults = Faults::default();
    let patch = Fields::of(document, "", &faults).and_then(patch);
    faults.judge(patch).map(|(patch, _)| patch)
}

/// A file says all of a realm: what it leaves out is cleared. The fields of a preset that
/// are for readers are taken as the comment, or passed over.
fn patch(fields: Fields<'_>) -> Option<RealmPatch> {
    let id = fields.required("id", |fields, field| {
        RealmId::new(fields.text(field)?)
            .map_err(|error| fields.fault(field, error.to_string()))
            .ok()
    });
    let comment = fields.text("comment").or(fields.text("title"));
    let config = fields.entries("config").cloned();
    let logic_code = fields.text("logic_code");
    for passed_over in Preset::FOR_READERS {
        fields.get(passed_over);
    }
    fields.finish();
    Some(RealmPatch {
        id: id?,
        comment: set(comment.map(str::to_owned)),
        config: set(config.map(|map: Map<String, Value>| Value::Object(map))),
        logic_code: set(logic_code.map(str::to_owned)),
    })
}

fn set<T>(value: Option<T>) -> FieldChange<T> {
    value.map_or(FieldChange::Clear, FieldChange::Set)
}
