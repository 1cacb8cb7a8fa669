//! That the image can be built: whatever its build reads is copied into it.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use super::read;
use crate::kit::source::{root, sources};

const DOCKERFILE: &str = "docker/Dockerfile";
const DOCKERIGNORE: &str = ".dockerignore";
/// What cargo reads by itself, beside the manifests of the workspace.
const READ_BY_CARGO: [&str; 3] = ["Cargo.toml", "Cargo.lock", ".cargo/config.toml"];

/// The instructions of the stage that builds, each on one line.
fn build_stage(dockerfile: &str) -> Vec<String> {
    let joined = dockerfile.replace("\\\n", " ");
    let lines = joined
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    let stage = lines
        .skip_while(|line| !line.ends_with(" AS build"))
        .take_while(|line| line.ends_with(" AS build") || !line.starts_with("FROM "));
    stage.map(str::to_owned).collect()
}

/// What an instruction copies, if it does. All has the same name in the image.
fn copied(instruction: &str) -> Vec<&str> {
    let Some(words) = instruction.strip_prefix("COPY ") else {
        return Vec::new();
    };
    let mut words: Vec<_> = words.split_whitespace().collect();
    let to = words.pop().expect("a destination");
    let has_same_name = |from: &&str| to == *from || (to == "./" && !from.contains('/'));
    assert!(words.iter().all(has_same_name), "{instruction}");
    words
}

fn is_below(file: &str, paths: &[&str]) -> bool {
    paths.iter().any(|path| Path::new(file).starts_with(path))
}

/// Below the root, with its name as from there.
fn name(file: &Path) -> Option<String> {
    let below = file.strip_prefix(root()).ok()?;
    Some(below.to_str().expect("a name in UTF-8").to_owned())
}

/// Sources, and what they include. What lies below `tests` is included by unit tests only.
fn read_by_the_compiler() -> BTreeSet<String> {
    let crates = [".".to_owned()].into_iter().chain(members());
    let sources = crates.flat_map(|member| sources(&root().join(member).join("src")));
    let mut files = BTreeSet::new();
    for source in sources {
        let text = read(&source);
        let folder = source.parent().expect("a folder");
        let included = ["include_str!(\"", "include_bytes!(\""].into_iter();
        let included = included.flat_map(|include| text.split(include).skip(1));
        let included = included.map(|rest| folder.join(first_literal(rest)));
        let all = included.chain([source.clone()]);
        let all = all.map(|path| path.canonicalize().expect("it is there"));
        files.extend(all.filter_map(|path| name(&path)));
        // Whether it is there or, like a console that nobody built, not.
        let embedded = text.split("#[folder = \"").skip(1).map(first_literal);
        files.extend(embedded.map(|folder| folder.trim_end_matches('/').to_owned()));
    }
    files.retain(|file| !file.starts_with("tests/"));
    files
}

/// Whether a file, by its path from the root, is in what the builder gets.
fn is_sent(file: &str, dockerignore: &str) -> bool {
    let lines = dockerignore.lines().filter(|line| !line.starts_with('#'));
    // The last line that is about it counts.
    lines.fold(true, |is_sent, line| {
        let (keeps, pattern) = match line.strip_prefix('!') {
            Some(pattern) => (true, pattern),
            None => (false, line),
        };
        let is_about = match pattern.strip_suffix('*') {
            Some(folder) => file != folder && file.starts_with(folder),
            None => is_below(file, &[pattern]),
        };
        if is_about { keeps } else { is_sent }
    })
}

fn first_literal(rest: &str) -> &str {
    rest.split('"').next().expect("a first part")
}

/// The folders of the workspace's other crates.
fn members() -> Vec<String> {
    let manifest = read(&root().join("Cargo.toml"));
    let (_, members) = manifest.split_once("members = [").expect("a workspace");
    let (members, _) = members.split_once(']').expect("an end");
    let members = members.split('"').skip(1).step_by(2);
    members.map(str::to_owned).collect()
}

#[test]
fn every_file_that_the_build_reads_is_copied_into_the_image() {
    let mut files = read_by_the_compiler();
    assert!(files.len() > 300, "the list is read: {}", files.len());
    for known in ["src/main.rs", "config/default.toml", "entity/src/lib.rs"] {
        assert!(files.contains(known), "{known}");
    }
    for embedded in ["presets", "console/dist"] {
        assert!(files.contains(embedded), "{embedded}");
    }
    files.extend(READ_BY_CARGO.map(str::to_owned));
    files.extend(
        members()
            .iter()
            .map(|member| format!("{member}/Cargo.toml")),
    );
    if root().join("build.rs").exists() {
        files.insert("build.rs".to_owned());
    }
    let stage = build_stage(&read(&root().join(DOCKERFILE)));
    let copied: Vec<_> = stage.iter().flat_map(|line| copied(line)).collect();
    let missing: Vec<_> = files
        .iter()
        .filter(|file| !is_below(file, &copied))
        .collect();
    assert!(
        missing.is_empty(),
        "{DOCKERFILE} lacks COPY of {missing:#?}"
    );

    let ignore = read(&root().join(DOCKERIGNORE));
    let mut patterns = ignore.lines().filter(|line| !line.starts_with('#'));
    assert_eq!(patterns.next(), Some("*"), "all else stays out");
    let missing: Vec<_> = files
        .iter()
        .filter(|file| !is_sent(file, &ignore))
        .collect();
    assert!(missing.is_empty(), "{DOCKERIGNORE} keeps out {missing:#?}");
}

#[test]
fn nothing_but_what_is_built_in_is_sent_to_who_builds_the_image() {
    let ignore = read(&root().join(DOCKERIGNORE));
    for (file, expected) in [
        ("src/main.rs", true),
        ("console", true),
        ("console/dist/assets/index.js", true),
        ("console/node_modules/react/index.js", false),
        ("console/src/main.tsx", false),
        ("data/sealing.keys", false),
        ("target/debug/token-server", false),
        (".git/config", false),
    ] {
        assert_eq!(is_sent(file, &ignore), expected, "{file}");
    }
}

/// In place of rustc: tells cargo what that knows, and compiles nothing.
const COMPILES_NOTHING: &str = r#"#!/bin/sh
for argument in "$@"; do
    if [ "$previous" = --crate-name ] && [ "$argument" != ___ ]; then
        echo "cargo compiles" >&2
        exit 1
    fi
    previous="$argument"
done
exec "$@"
"#;

/// Whether cargo begins to build what is in a folder: all members and targets are found.
fn builds(folder: &Path, arguments: &str) {
    let wrapper = folder.join("compiles-nothing");
    fs::write(&wrapper, COMPILES_NOTHING).expect("it can be written");
    fs::set_permissions(&wrapper, Permissions::from_mode(0o755)).expect("it is ours");
    let mut cargo = Command::new(env!("CARGO"));
    let cargo = cargo.args(["build", "--offline"]);
    let cargo = cargo.args(arguments.split_whitespace());
    let cargo = cargo.env("RUSTC_WRAPPER", wrapper);
    let cargo = cargo.env("CARGO_TARGET_DIR", folder.join("target"));
    let ended = cargo.current_dir(folder).output().expect("cargo starts");
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(said.contains("cargo compiles"), "{said}");
}

/// Copies a file, or a folder with what is in it, as far as it is sent to who builds the image.
fn copy(path: &str, to: &Path, dockerignore: &str) {
    let from = root().join(path);
    let copies = if from.is_dir() {
        fs::create_dir_all(to.join(path)).expect("it can be made");
        let entries = fs::read_dir(&from).expect("it can be read");
        let entries = entries.map(|entry| entry.expect("it can be read").path());
        let paths = entries.filter_map(|entry| name(&entry));
        paths.filter(|path| is_sent(path, dockerignore)).collect()
    } else {
        vec![path.to_owned()]
    };
    for path in copies {
        let to = to.join(&path);
        fs::create_dir_all(to.parent().expect("a folder")).expect("it can be made");
        let mut copy = Command::new("cp");
        let copy = copy.args(["-R", "-T"]).arg(root().join(&path)).arg(to);
        assert!(copy.status().expect("cp starts").success(), "{path}");
    }
}

#[test]
fn cargo_builds_what_is_copied_into_the_image_before_and_after_the_dependencies() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let ignore = read(&root().join(DOCKERIGNORE));
    let mut begun = 0;
    for instruction in build_stage(&read(&root().join(DOCKERFILE))) {
        for path in copied(&instruction) {
            copy(path, folder.path(), &ignore);
        }
        let Some(script) = instruction.strip_prefix("RUN ") else {
            continue;
        };
        let Some((before, after)) = script.split_once("cargo build ") else {
            continue;
        };
        let arguments = after.split("&&").next().expect("a first part");
        let mut shell = Command::new("sh");
        let shell = shell.args(["-ec", &format!("{before} true")]);
        let ended = shell.current_dir(folder.path()).status();
        assert!(ended.expect("a shell starts").success(), "{before}");
        builds(folder.path(), arguments);
        begun += 1;
    }
    assert_eq!(begun, 2, "the dependencies, then the binary");
}
