//! The documents hold together: README is short, links lead somewhere, the book names its pages.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use crate::kit::source::{files_below, prose, read, root};

const README_BYTES: usize = 8192;

/// The targets of inline links, without those in code.
fn links(text: &str) -> Vec<String> {
    let mut targets = Vec::new();
    for line in prose(text) {
        let without_code: String = line.split('`').step_by(2).collect();
        for part in without_code.split("](").skip(1) {
            if let Some((target, _)) = part.split_once(')') {
                targets.push(target.to_owned());
            }
        }
    }
    targets
}

/// The anchors that GitHub makes of headings.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut anchors = BTreeSet::new();
    for line in prose(text) {
        let heading = line.trim_start_matches('#');
        if heading.len() == line.len() || !heading.starts_with(' ') {
            continue;
        }
        let slug: String = heading
            .trim()
            .to_lowercase()
            .chars()
            .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
            .map(|c| if c == ' ' { '-' } else { c })
            .collect();
        let count = seen.entry(slug.clone()).or_default();
        let anchor = match *count {
            0 => slug,
            again => format!("{slug}-{again}"),
        };
        *count += 1;
        anchors.insert(anchor);
    }
    anchors
}

#[test]
fn the_readme_is_at_most_8_kib_long() {
    let length = read(&root().join("README.md")).len();
    assert!(length <= README_BYTES, "README.md has {length} bytes");
}

#[test]
fn every_link_of_the_documents_leads_to_a_file_and_a_heading() {
    let mut documents = files_below(&root().join("docs/src"), &["md"]);
    for name in [
        "README.md",
        "README.zh.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
    ] {
        documents.push(root().join(name));
    }
    let mut checked = 0;
    let mut broken = Vec::new();
    for document in documents {
        let folder = document.parent().expect("a file is in a folder");
        for link in links(&read(&document)) {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            checked += 1;
            let (path, anchor) = link.split_once('#').unwrap_or((link.as_str(), ""));
            let target = match path {
                "" => document.clone(),
                path => folder.join(path),
            };
            let leads_there =
                target.exists() && (anchor.is_empty() || anchors(&read(&target)).contains(anchor));
            if !leads_there {
                broken.push(format!("{}: {link}", document.display()));
            }
        }
    }
    assert!(checked > 50, "only {checked} links were found");
    assert!(broken.is_empty(), "broken links: {broken:#?}");
}

#[test]
fn the_summary_names_every_page_of_the_book() {
    let book = root().join("docs/src");
    let summary = book.join("SUMMARY.md");
    let named: BTreeSet<PathBuf> = links(&read(&summary))
        .iter()
        .map(|link| book.join(link))
        .collect();
    let there: BTreeSet<PathBuf> = files_below(&book, &["md"])
        .into_iter()
        .filter(|page| *page != summary)
        .collect();
    assert_eq!(named, there);
}
