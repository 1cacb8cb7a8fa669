//! What the page says: its documents, its commands and what is answered to them.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::kit::documented::with_keys;
use crate::kit::source::root;

/// Stands on the page for what is left out or differs.
const LEFT_OUT: &str = "…";

fn page_file() -> PathBuf {
    root().join("docs/src/tutorial/a-realm-in-ten-minutes.md")
}

/// What the page holds beside prose. Info strings, which no reader sees, say what a block is.
#[derive(Default)]
pub struct Page {
    /// Blocks `json file=NAME`.
    files: BTreeMap<String, Value>,
    /// Blocks `sh run`, each with the block `json answer` after it.
    pub runs: Vec<Run>,
    /// Second cells of the last table.
    pub written: Vec<String>,
    pub text: String,
}

pub struct Run {
    pub commands: Vec<String>,
    /// Of the last command.
    pub answer: Option<Value>,
}

impl Page {
    pub fn read() -> Self {
        let text = fs::read_to_string(page_file()).expect("the page is there");
        let mut page = Self::default();
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            if let Some(info) = line.strip_prefix("```") {
                let block: Vec<_> = lines.by_ref().take_while(|line| *line != "```").collect();
                page.block(info, &block);
            } else if let Some(row) = line.strip_prefix("| ") {
                let row = row.replace("\\|", "\0");
                let (_, written) = row.split_once(" | ").expect("a row has two cells");
                if row.starts_with("your provider") {
                    page.written.clear();
                }
                page.written.push(written.replace('\0', "|"));
            }
        }
        page.text = text;
        page
    }

    fn block(&mut self, info: &str, lines: &[&str]) {
        let json = || {
            serde_json::from_str(&lines.join("\n"))
                .unwrap_or_else(|error| panic!("{info}: {error}: {}", lines.join("\n")))
        };
        match info {
            "sh run" => self.runs.push(Run {
                commands: lines.iter().map(|line| (*line).to_owned()).collect(),
                answer: None,
            }),
            "json answer" => {
                let run = self.runs.last_mut().expect("an answer follows a command");
                assert!(run.answer.is_none(), "a command has one answer");
                run.answer = Some(json());
            }
            // The functions that the commands are made of: `Scene::command` stands for them.
            "sh" => {}
            _ => {
                let name = info.strip_prefix("json file=");
                let name = name.unwrap_or_else(|| panic!("what is a block {info:?}?"));
                let mut document = json();
                with_private_key(&mut document);
                self.files.insert(name.to_owned(), document);
            }
        }
    }

    pub fn file(&self, name: &str) -> Value {
        let file = self.files.get(name);
        file.unwrap_or_else(|| panic!("the page has no {name}"))
            .clone()
    }

    /// A secret's parameters, with some of another value.
    pub fn params(&self, realm: &str, other: &Value) -> Value {
        let secret = self.file(&format!("{realm}.secret.json"));
        merged(secret["params"].clone(), other)
    }
}

/// The page shows only how a key begins.
fn with_private_key(document: &mut Value) {
    let Some(key) = document.pointer_mut("/params/private_key") else {
        return;
    };
    let begins = key.as_str().is_some_and(|key| key.ends_with(LEFT_OUT));
    assert!(begins, "a key of a page is nobody's key");
    *key = json!(with_keys("{{rsa_private_key}}"));
}

/// As `*` of jq: objects are merged, all else is replaced.
pub fn merged(base: Value, over: &Value) -> Value {
    match (base, over) {
        (Value::Object(mut base), Value::Object(over)) => {
            for (name, value) in over {
                let below = base.remove(name).unwrap_or_default();
                base.insert(name.clone(), merged(below, value));
            }
            Value::Object(base)
        }
        (_, over) => over.clone(),
    }
}

/// Every difference between what is shown and what was answered.
pub fn compare(at: &str, shown: &Value, real: &Value, differences: &mut Vec<String>) {
    match (shown, real) {
        (Value::String(text), _) if text == LEFT_OUT => {}
        (Value::Object(shown), Value::Object(real)) => {
            for (name, value) in shown.iter().filter(|(name, _)| *name != LEFT_OUT) {
                match real.get(name) {
                    Some(real) => compare(&format!("{at}.{name}"), value, real, differences),
                    None => differences.push(format!("{at}.{name} is not answered")),
                }
            }
            let open = shown.contains_key(LEFT_OUT);
            for name in real
                .keys()
                .filter(|name| !open && !shown.contains_key(*name))
            {
                differences.push(format!("{at}.{name} is not shown"));
            }
        }
        (Value::Array(shown), Value::Array(real)) => {
            let gap = shown.iter().position(|item| item == LEFT_OUT);
            let (before, after) = match gap {
                Some(gap) => (&shown[..gap], &shown[gap + 1..]),
                None => (&shown[..], &[][..]),
            };
            let fits = before.len() + after.len();
            if real.len() < fits || gap.is_none() && real.len() > fits {
                differences.push(format!("{at} has {} items", real.len()));
                return;
            }
            let last = real.len() - after.len();
            let pairs = before
                .iter()
                .zip(real)
                .chain(after.iter().zip(&real[last..]));
            for (index, (shown, real)) in pairs.enumerate() {
                compare(&format!("{at}[{index}]"), shown, real, differences);
            }
        }
        _ if shown == real => {}
        _ => differences.push(format!("{at}: shown {shown}, answered {real}")),
    }
}
