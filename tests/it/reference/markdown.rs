//! Tables in Markdown.

/// Text within a cell: on one line, its bars escaped.
pub fn cell(text: &str) -> String {
    let one_line: Vec<_> = text.split_whitespace().collect();
    one_line.join(" ").replace('|', "\\|")
}

pub fn code(text: impl AsRef<str>) -> String {
    format!("`{}`", text.as_ref())
}

/// As code, separated by commas.
pub fn codes(texts: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    let codes: Vec<_> = texts.into_iter().map(code).collect();
    codes.join(", ")
}

pub fn table<const N: usize>(
    head: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let row = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let mut text = row(&head.map(str::to_owned));
    text.push_str(&format!("|{}\n", "---|".repeat(N)));
    for cells in rows {
        text.push_str(&row(&cells.map(|text| cell(&text))));
    }
    text
}

/// A sentence ends in a full stop.
pub fn sentence(text: &str) -> String {
    let text = text.trim();
    match text.ends_with(['.', '?', '!', ':']) || text.is_empty() {
        true => text.to_owned(),
        false => format!("{text}."),
    }
}
