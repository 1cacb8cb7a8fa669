//! The files of the console, as its build leaves them in `console/dist`, with what a browser is told
//! of each: compiled in where they were there.

use std::borrow::Cow;
use std::collections::HashMap;

use bytes::Bytes;
use poem::http::HeaderValue;
use rust_embed::RustEmbed;

use crate::foundation::hex;

/// So much of the hash of a file is its tag.
const TAG_BYTES: usize = 16;
/// The page that the others are shown in.
pub const INDEX: &str = "index.html";
/// What the build names by its content: under one name there is one content for ever.
const HASHED: &str = "assets/";

#[derive(RustEmbed)]
#[folder = "console/dist/"]
#[allow_missing = true]
struct Built;

/// How a file may be coded (RFC 9110, section 8.4.1), best first, and how its build names it then.
const CODINGS: [(&str, &str); 2] = [("br", ".br"), ("gzip", ".gz")];

/// One form of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileForm {
    /// None: as it is.
    pub coding: Option<&'static str>,
    pub bytes: Bytes,
    /// Of this form (RFC 9110, section 8.8.3).
    pub tag: HeaderValue,
}

#[derive(Debug)]
pub struct ConsoleFile {
    pub media_type: &'static str,
    /// Nothing else will ever be under its name.
    pub is_for_ever: bool,
    plain: FileForm,
    /// Best first.
    coded: Vec<FileForm>,
}

impl ConsoleFile {
    /// The best form that a caller takes, by its `Accept-Encoding`.
    pub fn form_for(&self, accepted: Option<&str>) -> &FileForm {
        let takes = |form: &&FileForm| {
            let coding = form.coding.unwrap_or_default();
            accepted.is_some_and(|accepted| accepts(accepted, coding))
        };
        self.coded.iter().find(takes).unwrap_or(&self.plain)
    }
}

/// All files, by their path below `console/dist`.
pub struct ConsoleFiles(HashMap<String, ConsoleFile>);

impl ConsoleFiles {
    /// Those that were compiled in; none where there was no page.
    pub fn built_in() -> Option<Self> {
        let files = Built::iter().filter_map(|path| {
            let file = Built::get(&path)?;
            let hash = file.metadata.sha256_hash();
            let bytes = match file.data {
                Cow::Borrowed(bytes) => Bytes::from_static(bytes),
                Cow::Owned(bytes) => Bytes::from(bytes),
            };
            Some((path.into_owned(), bytes, hash))
        });
        Self::of(files)
    }

    fn of(files: impl Iterator<Item = (String, Bytes, [u8; 32])>) -> Option<Self> {
        let mut forms: HashMap<String, FileForm> = HashMap::new();
        for (path, bytes, hash) in files {
            let coding = CODINGS.iter().find(|(_, end)| path.ends_with(end));
            let coding = coding.map(|(name, _)| *name);
            let tag = format!("\"{}\"", hex(&hash[..TAG_BYTES]));
            let Ok(tag) = HeaderValue::try_from(tag) else {
                continue;
            };
            forms.insert(path, FileForm { coding, bytes, tag });
        }
        // What the build notes for itself begins with a dot.
        let names = forms
            .iter()
            .filter(|(path, form)| form.coding.is_none() && !path.starts_with('.'));
        let names: Vec<_> = names.map(|(path, _)| path.clone()).collect();
        let file = |path: String| {
            let coded = CODINGS.iter();
            let coded = coded.filter_map(|(_, end)| forms.get(&format!("{path}{end}")).cloned());
            let file = ConsoleFile {
                media_type: media_type(&path),
                is_for_ever: path.starts_with(HASHED),
                plain: forms.get(&path)?.clone(),
                coded: coded.collect(),
            };
            Some((path, file))
        };
        let files: HashMap<_, _> = names.into_iter().filter_map(file).collect();
        files.contains_key(INDEX).then_some(Self(files))
    }

    /// What is shown at a path below `/console`: a file, or the page, which knows by itself what the
    /// path stands for; none where a file is meant that is not there.
    pub fn at(&self, path: &str) -> Option<&ConsoleFile> {
        let path = path.trim_start_matches('/');
        match self.0.get(path) {
            None if path.starts_with(HASHED) => None,
            None => self.0.get(INDEX),
            found => found,
        }
    }
}

/// Whether an `Accept-Encoding` takes a coding (RFC 9110, section 12.5.3).
fn accepts(accepted: &str, coding: &str) -> bool {
    let weight = |wanted: &str| {
        accepted.split(',').find_map(|one| {
            let mut parts = one.split(';').map(str::trim);
            let is_it = parts.next()?.eq_ignore_ascii_case(wanted);
            let weight = parts.find_map(|part| part.strip_prefix("q=")?.parse::<f32>().ok());
            is_it.then_some(weight.unwrap_or(1.0))
        })
    };
    let weight = weight(coding).or_else(|| weight("*"));
    weight.is_some_and(|weight| weight > 0.0)
}

fn media_type(path: &str) -> &'static str {
    let (_, end) = path.rsplit_once('.').unwrap_or_default();
    match end {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" | "map" => "application/json",
        "webmanifest" => "application/manifest+json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "wasm" => "application/wasm",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
impl ConsoleFiles {
    /// Files, each with a hash of its own.
    pub fn made_of(files: &[(&str, &'static str)]) -> Option<Self> {
        let files = files.iter().zip(1..).map(|((path, text), number)| {
            let bytes = Bytes::from_static(text.as_bytes());
            ((*path).to_owned(), bytes, [number; 32])
        });
        Self::of(files)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_takes_the_best_form_that_it_says_it_reads() {
        let files = ConsoleFiles::made_of(&[
            ("index.html", "page"),
            ("assets/a.js", "plain"),
            ("assets/a.js.gz", "gzip"),
            ("assets/a.js.br", "brotli"),
            ("assets/b.css", "styles"),
        ]);
        let files = files.unwrap();
        let form = |path, accepted: Option<&str>| {
            let form = files.at(path).unwrap().form_for(accepted);
            (
                form.coding,
                std::str::from_utf8(&form.bytes).unwrap().to_owned(),
            )
        };
        for (accepted, coding, text) in [
            (Some("gzip, deflate, br"), Some("br"), "brotli"),
            (Some("gzip;q=1.0, BR;q=0.1"), Some("br"), "brotli"),
            (Some("gzip"), Some("gzip"), "gzip"),
            (Some("br;q=0, gzip"), Some("gzip"), "gzip"),
            (Some("br; q=0 , *"), Some("gzip"), "gzip"),
            (Some("*"), Some("br"), "brotli"),
            (Some("*;q=0"), None, "plain"),
            (Some("deflate, identity"), None, "plain"),
            (Some(""), None, "plain"),
            (None, None, "plain"),
        ] {
            let expected = (coding, text.to_owned());
            assert_eq!(form("assets/a.js", accepted), expected, "{accepted:?}");
        }
        assert_eq!(
            form("/assets/b.css", Some("br")),
            (None, "styles".to_owned())
        );
        let tags = [Some("br"), Some("gzip"), None].map(|accepted| {
            let file = files.at("assets/a.js").unwrap();
            file.form_for(accepted).tag.clone()
        });
        assert!(tags[0] != tags[1] && tags[1] != tags[2] && tags[0] != tags[2]);
    }

    #[test]
    fn a_path_that_is_no_file_shows_the_page_and_an_asset_that_is_not_there_nothing() {
        let files = ConsoleFiles::made_of(&[
            ("index.html", "page"),
            ("assets/a.js", "plain"),
            ("icon.svg", "icon"),
            (".vite/manifest.json", "notes"),
        ]);
        let files = files.unwrap();
        for (path, media_type, is_for_ever) in [
            ("", "text/html; charset=utf-8", false),
            ("/", "text/html; charset=utf-8", false),
            ("realms/wechat/secrets", "text/html; charset=utf-8", false),
            (".vite/manifest.json", "text/html; charset=utf-8", false),
            ("../Cargo.toml", "text/html; charset=utf-8", false),
            ("assets/a.js", "text/javascript; charset=utf-8", true),
            ("icon.svg", "image/svg+xml", false),
        ] {
            let file = files.at(path).unwrap();
            assert_eq!(file.media_type, media_type, "{path}");
            assert_eq!(file.is_for_ever, is_for_ever, "{path}");
        }
        assert!(files.at("assets/b.js").is_none());
        assert!(ConsoleFiles::made_of(&[("assets/a.js", "no page")]).is_none());
    }
}
