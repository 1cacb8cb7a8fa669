//! A page as it is written: its blocks, and which of them are commands.

use std::fs;

use serde_json::Value;

use crate::kit::source::root;

/// Info strings of blocks that are no commands. `json` and `text` show what commands print.
const OTHERS: [&str; 12] = [
    "crontab", "go", "ini", "java", "js", "mermaid", "nginx", "php", "python", "sql", "toml",
    "yaml",
];

pub struct Page {
    /// From the root of the project.
    pub name: String,
    pub text: String,
    /// Blocks `json file=NAME`: the reader saves them.
    pub files: Vec<(String, String)>,
    pub commands: Vec<Commands>,
}

/// A block of commands.
#[derive(Clone)]
pub struct Commands {
    pub line: usize,
    pub text: String,
    /// The block after it, up to the next commands: what they print, or the last of them does.
    pub shown: Option<Shown>,
}

#[derive(Clone)]
pub enum Shown {
    Json(Value),
    Text(String),
}

impl Page {
    pub fn read(name: &str) -> Self {
        let text = fs::read_to_string(root().join(name));
        let text = text.unwrap_or_else(|error| panic!("{name}: {error}"));
        Self::of(name, text).unwrap_or_else(|fault| panic!("{fault}"))
    }

    pub fn of(name: &str, text: String) -> Result<Self, String> {
        let mut page = Self {
            name: name.to_owned(),
            text: String::new(),
            files: Vec::new(),
            commands: Vec::new(),
        };
        let mut lines = text.lines().zip(1..);
        while let Some((fence, line)) = lines.next() {
            let Some(info) = fence.trim_start().strip_prefix("```") else {
                continue;
            };
            let block = lines.by_ref().map(|(text, _)| text);
            let block: Vec<_> = block
                .take_while(|line| line.trim_start() != "```")
                .collect();
            page.add(line, info.trim(), block.join("\n"))
                .map_err(|fault| format!("{name}:{line}: {fault}"))?;
        }
        page.text = text;
        Ok(page)
    }

    fn add(&mut self, line: usize, info: &str, text: String) -> Result<(), String> {
        if let Some(file) = info.strip_prefix("json file=") {
            self.files.push((file.to_owned(), text));
            return Ok(());
        }
        let shown = match info {
            "sh" | "bash" => {
                self.commands.push(Commands {
                    line,
                    text,
                    shown: None,
                });
                return Ok(());
            }
            "json" => Shown::Json(serde_json::from_str(&text).map_err(|error| error.to_string())?),
            "text" => Shown::Text(text),
            _ if OTHERS.contains(&info) => return Ok(()),
            _ => return Err(format!("is a block {info:?} commands, or what they print?")),
        };
        match self.commands.last_mut() {
            Some(commands) if commands.shown.is_none() => commands.shown = Some(shown),
            _ => return Err("no command prints this: it follows none, or another block".to_owned()),
        }
        Ok(())
    }

    pub fn at(&self, commands: &Commands) -> String {
        format!("{}:{}", self.name, commands.line)
    }

    /// The content of a file that the page has its reader save.
    pub fn file(&self, name: &str) -> Value {
        let file = self.files.iter().find(|(file, _)| file == name);
        let (_, text) = file.unwrap_or_else(|| panic!("the page has no {name}"));
        serde_json::from_str(text).unwrap_or_else(|error| panic!("{name}: {error}"))
    }
}

impl Commands {
    /// Without comments, which are for people.
    fn lines(&self) -> impl Iterator<Item = &str> {
        let lines = self.text.lines();
        lines.map(|line| line.split("  #").next().unwrap_or_default().trim_end())
    }

    pub fn without_comments(&self) -> String {
        self.lines().collect::<Vec<_>>().join("\n")
    }

    /// Whether its last command goes on until it is stopped.
    pub fn serve(&self) -> bool {
        let last = self.lines().last().unwrap_or_default();
        last.ends_with("serve") || last == "make run"
    }
}
