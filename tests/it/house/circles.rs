//! Which file of a crate names items of which, and the circles in that.
//!
//! A file uses another where a path in it (`crate::…`, `super::…`, `self::…`, or one that begins with
//! an imported name or a child module) leads to an item that the other defines. A re-export leads on
//! to where the item is defined: it is no use by itself, nor is `mod child;`. Tests at the end of a
//! file do not count. Methods are not seen, only the types that are named.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::path::Path;

/// A module of the crate, which is a file.
#[derive(Default)]
struct Module {
    file: String,
    /// What `use` brings in, by the name it has here: from the root of the crate.
    imports: BTreeMap<String, Vec<String>>,
    /// Of these, what others are given: used here only where it is named once more.
    exported: BTreeSet<String>,
    /// Paths that the code names, outside of `use`.
    paths: BTreeSet<Vec<String>>,
}

pub struct Crate(BTreeMap<Vec<String>, Module>);

impl Crate {
    /// Reads `files`, all below `source`.
    pub fn read(source: &Path, files: &[impl AsRef<Path>]) -> Self {
        let mut modules = BTreeMap::new();
        for file in files {
            let below = file.as_ref().strip_prefix(source).expect("a file below");
            let below = below.to_string_lossy().into_owned();
            let mut path: Vec<_> = below.trim_end_matches(".rs").split('/').collect();
            match path.last() {
                Some(&"tests") => continue,
                Some(&"mod" | &"lib") => drop(path.pop()),
                _ => {}
            }
            let path: Vec<_> = path.into_iter().map(str::to_owned).collect();
            let text = fs::read_to_string(file.as_ref()).expect("the file is readable");
            let mut module = Module {
                file: below,
                ..Module::default()
            };
            module.read(&path, &without_tests(tokens(&text)));
            modules.insert(path, module);
        }
        // What is imported from below a module that has no such child is of another crate.
        let known: BTreeSet<_> = modules.keys().cloned().collect();
        for (path, module) in &mut modules {
            let is_ours = |target: &Vec<String>| {
                let below = target.strip_prefix(path.as_slice());
                below.is_none_or(|below| {
                    below.is_empty() || known.contains(&joined(path, &below[0]))
                })
            };
            module.imports.retain(|_, target| is_ours(target));
        }
        Self(modules)
    }

    /// The files that each file uses.
    pub fn uses(&self) -> BTreeMap<&str, BTreeSet<&str>> {
        let of = |(path, module): (&Vec<String>, &'_ Module)| {
            let imported = module.imports.iter();
            let imported = imported.filter(|(name, _)| !module.exported.contains(*name));
            let imported = imported.filter_map(|(_, target)| self.defined_in(&[], target));
            let named = module.paths.iter();
            let named = named.filter_map(|named| match module.imports.get(&named[0]) {
                Some(import) => self.defined_in(&[], &[import, &named[1..]].concat()),
                None if self.0.contains_key(&joined(path, &named[0])) => {
                    self.defined_in(path, named)
                }
                None => None,
            });
            let rooted = module.paths.iter();
            let rooted = rooted.filter_map(|named| self.defined_in(&[], &rooted_at(path, named)?));
            imported
                .chain(named)
                .chain(rooted)
                .filter(|file| *file != module.file)
                .collect()
        };
        let modules = self.0.iter();
        modules
            .map(|entry| (entry.1.file.as_str(), of(entry)))
            .collect()
    }

    /// The file that defines what `rest` names within a module; none for a module itself, or for
    /// what is not of this crate.
    fn defined_in(&self, module: &[String], rest: &[String]) -> Option<&str> {
        let here = self.0.get(module)?;
        let (first, after) = rest.split_first()?;
        let child = joined(module, first);
        let import = here.imports.get(first);
        match import {
            // A function may have the name of its module.
            Some(import) if after.is_empty() || !self.0.contains_key(&child) => {
                self.defined_in(&[], &[import, after].concat())
            }
            _ if self.0.contains_key(&child) => self.defined_in(&child, after),
            _ if module.is_empty() => None,
            _ => Some(&here.file),
        }
    }
}

impl Module {
    fn read(&mut self, path: &[String], tokens: &[String]) {
        let mut at = 0;
        while at < tokens.len() {
            let before = at.checked_sub(1).map(|before| tokens[before].as_str());
            if tokens[at] == "use" {
                let end = tokens[at..].iter().position(|token| token == ";");
                let end = at + end.expect("a use ends");
                let exported = matches!(before, Some("pub" | ")"));
                self.import(path, &[], &tokens[at + 1..end], exported);
                at = end;
            } else if is_name(&tokens[at]) && !matches!(before, Some("." | "::")) {
                let mut named = vec![tokens[at].clone()];
                while let [colons, name, ..] = &tokens[at + 1..]
                    && colons == "::"
                    && is_name(name)
                {
                    named.push(name.clone());
                    at += 2;
                }
                self.paths.insert(named);
            }
            at += 1;
        }
    }

    /// Takes in a tree of imports.
    fn import(&mut self, path: &[String], before: &[String], tree: &[String], exported: bool) {
        let split = tree.iter().position(|token| token == "{");
        let (lead, group) = tree.split_at(split.unwrap_or(tree.len()));
        let names = lead.iter().filter(|token| is_name(token));
        let mut target = before.to_vec();
        target.extend(names.cloned());
        if let [_, inner @ .., _] = group {
            for part in parts(inner) {
                self.import(path, &target, part, exported);
            }
            return;
        }
        assert!(
            !lead.iter().any(|token| token == "*"),
            "{target:?}::* hides what is used"
        );
        let renamed = target.iter().position(|token| token == "as");
        let alias = renamed.and_then(|at| target.drain(at..).nth(1));
        if target.last().is_some_and(|last| last == "self") {
            target.pop();
        }
        let Some(name) = alias.or_else(|| target.last().cloned()) else {
            return;
        };
        let child = || [path, &target].concat();
        self.imports
            .insert(name.clone(), rooted_at(path, &target).unwrap_or_else(child));
        if exported {
            self.exported.insert(name);
        }
    }
}

/// A path from the root of the crate; none where it does not begin with a word for a module of it.
fn rooted_at(module: &[String], named: &[String]) -> Option<Vec<String>> {
    let (first, after) = named.split_first()?;
    match first.as_str() {
        "crate" | "token_server" => Some(after.to_vec()),
        "self" => Some([module, after].concat()),
        "super" => {
            let mut parent = module.split_last()?.1;
            let mut after = after;
            while after.first().is_some_and(|next| next == "super") {
                parent = parent.split_last()?.1;
                after = &after[1..];
            }
            Some([parent, after].concat())
        }
        _ => None,
    }
}

fn joined(module: &[String], name: &str) -> Vec<String> {
    let mut path = module.to_vec();
    path.push(name.to_owned());
    path
}

/// The parts of a group of imports.
fn parts(group: &[String]) -> Vec<&[String]> {
    let mut depth = 0;
    let parts = group.split(|token| {
        depth += i32::from(token == "{") - i32::from(token == "}");
        depth == 0 && token == ","
    });
    parts.filter(|part| !part.is_empty()).collect()
}

fn is_name(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Names, `::`, and every other sign by itself; neither comments nor what is quoted.
fn tokens(text: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if first == '"' {
            quoted(rest)
        } else if let Some(raw) = rest.strip_prefix("r#").or(rest.strip_prefix("r\""))
            && (rest.starts_with("r\"") || raw.starts_with(['#', '"']))
        {
            let hashes: String = rest[1..].chars().take_while(|c| *c == '#').collect();
            let begin = hashes.len() + 2;
            let end = format!("\"{hashes}");
            rest[begin..]
                .find(&end)
                .map_or(rest.len(), |at| begin + at + end.len())
        } else if first == '\'' {
            lifetime_or_character(rest)
        } else if is_word(first) {
            let length = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
            // `b"…"` and `br"…"`: the prefix is no name.
            if !(matches!(&rest[..length], "b" | "c") && rest[length..].starts_with(['"', '\''])) {
                tokens.push(rest[..length].to_owned());
            }
            length
        } else {
            let length = if rest.starts_with("::") {
                2
            } else {
                first.len_utf8()
            };
            if !first.is_whitespace() {
                tokens.push(rest[..length].to_owned());
            }
            length
        };
        rest = &rest[length..];
    }
    tokens
}

/// How long a string is that begins here.
fn quoted(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// How long a lifetime or a character in quotes is that begins here.
fn lifetime_or_character(text: &str) -> usize {
    let mut characters = text.char_indices().skip(1);
    match characters.next() {
        Some((_, '\\')) => {
            let end = characters.skip(1).find(|(_, c)| *c == '\'');
            end.map_or(text.len(), |(at, _)| at + 1)
        }
        _ => match characters.next() {
            Some((at, '\'')) => at + 1,
            _ => 1,
        },
    }
}

/// Leaves out what is marked `#[cfg(test)]`.
fn without_tests(tokens: Vec<String>) -> Vec<String> {
    let mark = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut kept = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if tokens[at..].iter().take(mark.len()).ne(mark.iter()) {
            kept.push(tokens[at].clone());
            at += 1;
            continue;
        }
        let mut depth = 0;
        for token in &tokens[at..] {
            at += 1;
            depth += i32::from(token == "{") - i32::from(token == "}");
            if depth == 0 && (token == ";" || token == "}") {
                break;
            }
        }
    }
    kept
}

/// The shortest way from a file back to itself, for one file of each knot.
pub fn circles<'a>(uses: &BTreeMap<&'a str, BTreeSet<&'a str>>) -> Vec<Vec<&'a str>> {
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    let mut circles: Vec<Vec<&str>> = Vec::new();
    for file in uses.keys().copied() {
        if seen.contains(file) {
            continue;
        }
        if let Some(circle) = way_back(uses, file) {
            seen.extend(&circle);
            circles.push(circle);
        }
    }
    circles
}

fn way_back<'a>(
    uses: &BTreeMap<&'a str, BTreeSet<&'a str>>,
    file: &'a str,
) -> Option<Vec<&'a str>> {
    let mut from: BTreeMap<&str, &str> = BTreeMap::new();
    let mut next = VecDeque::from([file]);
    while let Some(at) = next.pop_front() {
        for used in uses.get(at).into_iter().flatten().copied() {
            if used == file {
                let back = std::iter::successors(Some(at), |at| from.get(at).copied());
                let mut way: Vec<_> = back.chain([file]).collect();
                way.reverse();
                way.push(file);
                way.dedup();
                return Some(way);
            }
            from.entry(used).or_insert_with(|| {
                next.push_back(used);
                at
            });
        }
    }
    None
}
