//! What builds and checks this is the same on every machine: builds take the versions of Cargo.lock,
//! and each tool, package, image and action is of a version that is written down.

use std::path::PathBuf;

use super::read;
use crate::kit::source::{files_below, root};

/// Commands of cargo that resolve versions.
const RESOLVING: [&str; 11] = [
    "bench", "build", "check", "clippy", "doc", "install", "metadata", "run", "rustc", "test",
    "tree",
];
/// Beside the files below these folders.
const FILES: [&str; 6] = [
    "Makefile",
    ".ci/run",
    "docker/Dockerfile",
    "docker/build.sh",
    "docker/compose.yaml",
    "fuzz/run.sh",
];
const FOLDERS: [&str; 2] = ["tests", ".github"];
/// What is looked at because it is the newest.
const NEWEST: &str = "rustup toolchain install stable";

/// Scripts, workflows and what they read.
fn files() -> Vec<PathBuf> {
    let is_own = |path: &PathBuf| !path.iter().any(|part| part == "node_modules");
    let below = FOLDERS
        .iter()
        .flat_map(|folder| files_below(&root().join(folder), &["sh", "yml"]));
    let named = FILES.iter().map(|file| root().join(file));
    named.chain(below.filter(is_own)).collect()
}

/// The lines of a script without its comments; those that go on are one.
fn commands(text: &str) -> Vec<String> {
    let joined = text.replace("\\\n", " ");
    let lines = joined.lines().map(str::trim);
    let lines = lines.filter(|line| !line.starts_with('#'));
    lines.map(str::to_owned).collect()
}

/// What is wrong with a line, if anything is.
fn unpinned(line: &str) -> Option<&'static str> {
    let words: Vec<_> = line.split_whitespace().collect();
    let pairs = words.windows(2);
    let runs = |pair: &&[&str]| {
        let program = pair[0].trim_matches(['"', '\'', '(', '-', '@']);
        let is_cargo = program == "cargo" || program == "$(CARGO)" || program.ends_with("/cargo");
        is_cargo && RESOLVING.contains(&pair[1])
    };
    if pairs.clone().any(|pair| runs(&pair)) && !line.contains("--locked") {
        return Some("cargo without --locked");
    }
    let installs = line.contains("cargo install") && !line.contains("--version");
    if installs {
        return Some("cargo install without --version");
    }
    if line.contains("rustup toolchain install") && !line.contains(NEWEST) {
        return Some("a toolchain that rust-toolchain.toml does not name");
    }
    let says = line.starts_with("say ") || line.contains("echo ");
    let npm = words
        .iter()
        .position(|word| *word == "npm" || *word == "npx");
    if let Some(place) = npm.filter(|_| !says && !line.contains("has npm")) {
        let after = &words[place + 1..];
        if words[place] == "npx" || after.contains(&"install") || after.contains(&"i") {
            return Some("npm takes what package-lock.json says with ci only");
        }
    }
    if line.contains("pip")
        && words.contains(&"install")
        && !says
        && !line.contains("--requirement")
    {
        return Some("pip installs what a requirements.txt names only");
    }
    let piped = line.contains("curl ") && (line.contains("| sh") || line.contains("| bash"));
    if piped {
        return Some("a script of somebody else's is run as it is today");
    }
    let bare = line.strip_prefix("- ").unwrap_or(line);
    if let Some(action) = bare.strip_prefix("uses: ") {
        let hash = action.split_once('@').map(|(_, hash)| hash);
        let hash = hash.and_then(|hash| hash.split_whitespace().next());
        let is_hash = |hash: &str| hash.len() == 40 && hash.chars().all(|c| c.is_ascii_hexdigit());
        return (!hash.is_some_and(is_hash)).then_some("an action that no hash names");
    }
    let image = bare
        .strip_prefix("FROM ")
        .or_else(|| bare.strip_prefix("image: "));
    if let Some(image) = image.and_then(|image| image.split_whitespace().next()) {
        // Nothing at all; a target of make.
        let is_none = image == "scratch" || image == "##";
        let is_own = is_none || image == "token-server" || image.starts_with("${{");
        let tag = image.split_once(':').map(|(_, tag)| tag);
        let is_pinned = tag.is_some_and(|tag| !tag.is_empty() && !tag.starts_with("latest"));
        return (!is_own && !is_pinned).then_some("an image that no version names");
    }
    None
}

#[test]
fn every_build_is_locked_and_every_tool_pinned() {
    let (mut wrong, mut locked) = (Vec::new(), 0);
    for file in files() {
        for line in commands(&read(&file)) {
            locked += usize::from(line.contains("--locked"));
            let why = unpinned(&line);
            wrong.extend(why.map(|why| format!("{}: {why}: {line}", file.display())));
        }
    }
    assert!(locked > 12, "the builds are found: {locked}");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn what_is_not_pinned_is_found() {
    for (line, is_pinned) in [
        ("cargo build --release", false),
        ("$(CARGO) test --workspace", false),
        (
            "tests/servers/mysql.sh $(CARGO) test --locked --test it",
            true,
        ),
        ("cargo fmt --all", true),
        ("cargo install mdbook --locked", false),
        ("cargo install mdbook --locked --version 0.5.4", true),
        ("rustup toolchain install nightly", false),
        ("npm install left-pad", false),
        ("npx tsc", false),
        ("quietly npm --prefix \"$1\" ci \"${include[@]}\"", true),
        ("pip install typos", false),
        (
            "pip install --requirement tests/tools/requirements.txt",
            true,
        ),
        ("curl https://sh.example | sh", false),
        ("- uses: actions/checkout@v7", false),
        (
            "- uses: actions/checkout@3d3c42e5aac5ba805825da76410c181273ba90b1 # v7.0.1",
            true,
        ),
        ("FROM debian", false),
        ("FROM debian:latest", false),
        ("FROM debian:bookworm-slim", true),
        ("image: mysql", false),
    ] {
        assert_eq!(
            unpinned(line).is_none(),
            is_pinned,
            "{line}: {:?}",
            unpinned(line)
        );
    }
}

#[test]
fn every_package_of_the_tests_has_one_version() {
    let is_own = |path: &PathBuf| !path.iter().any(|part| part == "node_modules");
    let tests = root().join("tests");
    let lists = files_below(&tests, &["txt"]).into_iter().filter(is_own);
    let lists = lists.filter(|path| path.ends_with("requirements.txt"));
    let mut packages = 0;
    for list in lists {
        for line in read(&list)
            .lines()
            .filter(|line| !line.starts_with('#') && !line.is_empty())
        {
            packages += 1;
            assert!(line.contains("=="), "{}: {line}", list.display());
        }
    }
    assert!(packages > 50, "the packages are found: {packages}");
    let manifests = files_below(&tests, &["json"]).into_iter().filter(is_own);
    let mut locks = 0;
    for manifest in manifests.filter(|path| path.ends_with("package.json")) {
        let lock = manifest.with_file_name("package-lock.json");
        assert!(lock.exists(), "{} has no lock file", manifest.display());
        locks += 1;
    }
    assert!(locks > 1, "the manifests are found: {locks}");
    let toolchain = read(&root().join("rust-toolchain.toml"));
    let channel = toolchain
        .lines()
        .find_map(|line| line.strip_prefix("channel = \""));
    let channel = channel.expect("a channel").trim_end_matches('"');
    assert_eq!(channel.split('.').count(), 3, "{channel} is no version");
}

/// Name and version of each package of a lock file, with what it is known by.
fn packages(lock: &str) -> Vec<(String, [Option<String>; 2])> {
    let entries = read(&root().join(lock));
    let entries = entries.split("[[package]]").skip(1);
    let of = |entry: &str, field: &str| {
        let mut lines = entry.lines();
        let value = lines.find_map(|line| line.strip_prefix(&format!("{field} = \"")));
        value.map(|value| value.trim_end_matches('"').to_owned())
    };
    entries
        .map(|entry| {
            let name = of(entry, "name").expect("a name");
            (name, ["version", "checksum"].map(|field| of(entry, field)))
        })
        .collect()
}

#[test]
fn what_is_fuzzed_is_of_the_versions_that_are_served() {
    let served = packages("Cargo.lock");
    let fuzzed = packages("fuzz/Cargo.lock");
    assert!(fuzzed.len() > 300, "it is found: {}", fuzzed.len());
    let is_served = |package: &&(String, [Option<String>; 2])| served.contains(package);
    let others = fuzzed.iter().filter(|package| !is_served(package));
    let others: Vec<_> = others.map(|(name, _)| name.as_str()).collect();
    let only_there = ["arbitrary", "libfuzzer-sys", "token-server-fuzz"];
    assert_eq!(
        others, only_there,
        "`make fuzz-lock` takes the versions over"
    );
}
