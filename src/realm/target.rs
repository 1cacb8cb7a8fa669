//! Where a request goes: a URL with expressions in it. What an expression may become
//! depends on where it stands, so that no parameter can lead a request elsewhere than the
//! document says, or change the rest of the URL.

use minijinja::Value;
use percent_encoding::utf8_percent_encode;
use url::Url;

use super::expression::{Expressions, Names, Piece, Template, UNRESERVED};

/// Where an expression stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Position {
    /// At the beginning: a URL, or one up to here.
    Beginning,
    /// All of `host[:port][/path]`.
    Authority,
    /// A part of the host's name.
    Host,
    Path,
    Query,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Value(Template, Position),
}

/// A URL to be rendered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target(Vec<Part>);

impl Target {
    pub fn read(source: &str, expressions: &Expressions) -> Result<Self, String> {
        let pieces = expressions
            .pieces(source)
            .map_err(|error| error.to_string())?;
        let mut before = String::new();
        let mut parts = Vec::new();
        let mut pieces = pieces.into_iter().peekable();
        while let Some(piece) = pieces.next() {
            match piece {
                Piece::Text(text) => {
                    before.push_str(&text);
                    parts.push(Part::Text(text));
                }
                Piece::Expression(template) => {
                    let after = match pieces.peek() {
                        Some(Piece::Text(text)) => Some(text.as_str()),
                        Some(Piece::Expression(_)) => Some("$"),
                        None => None,
                    };
                    let position = position(&before, after);
                    // Stands for the value where the next position is looked for.
                    before.push_str(if position == Position::Beginning {
                        "https://x/"
                    } else {
                        "x"
                    });
                    parts.push(Part::Value(template, position));
                }
            }
        }
        let target = Self(parts);
        target.check(&before)?;
        Ok(target)
    }

    /// Checks the URL with an `x` for each value.
    fn check(&self, sample: &str) -> Result<(), String> {
        let url = Url::parse(sample).map_err(|error| format!("is not a URL: {error}"))?;
        check_url(&url)
    }

    /// The URL with an `x` for each value; none where a value decides its scheme.
    pub fn sample(&self) -> Option<Url> {
        if matches!(self.0.first(), None | Some(Part::Value(..))) {
            return None;
        }
        Url::parse(&self.shown(|_| "x".to_owned())).ok()
    }

    pub fn names(&self) -> Names {
        let templates = self.0.iter().filter_map(|part| match part {
            Part::Value(template, _) => Some(template.names().clone()),
            Part::Text(_) => None,
        });
        templates.flatten().collect()
    }

    /// The same, whose templates use some names through others.
    #[must_use]
    pub fn using(self, through: impl Fn(&Names) -> Names) -> Self {
        let parts = self.0.into_iter().map(|part| match part {
            Part::Value(template, position) => {
                let more = through(template.names());
                Part::Value(template.using(&more), position)
            }
            text => text,
        });
        Self(parts.collect())
    }

    /// The URL for whoever reads it: values as they are, wherever they stand.
    pub fn shown(&self, mut render: impl FnMut(&Template) -> String) -> String {
        let parts = self.0.iter().map(|part| match part {
            Part::Text(text) => text.clone(),
            Part::Value(template, _) => render(template),
        });
        parts.collect()
    }

    /// Renders the URL. `render` gives each template's value as text.
    pub fn render<E: From<String>>(
        &self,
        mut render: impl FnMut(&Template) -> Result<Value, E>,
    ) -> Result<Url, E> {
        let mut text = String::new();
        for part in &self.0 {
            match part {
                Part::Text(literal) => text.push_str(literal),
                Part::Value(template, position) => {
                    let value = render(template)?;
                    let value = match value.as_str() {
                        Some(value) => value.to_owned(),
                        None if value.is_number() => value.to_string(),
                        None => {
                            return Err("url: a value in it is not set, or not text"
                                .to_owned()
                                .into());
                        }
                    };
                    text.push_str(&placed(&value, *position)?);
                }
            }
        }
        let url = Url::parse(&text).map_err(|error| format!("url: is not a URL: {error}"))?;
        check_url(&url).map_err(|why| format!("url: {why}"))?;
        Ok(url)
    }
}

fn position(before: &str, after: Option<&str>) -> Position {
    let Some((_, rest)) = before.split_once("://") else {
        return Position::Beginning;
    };
    if rest.contains('?') {
        Position::Query
    } else if rest.contains('/') {
        Position::Path
    } else if rest.is_empty() && after.is_none_or(|after| after.starts_with(['/', '?'])) {
        Position::Authority
    } else {
        Position::Host
    }
}

/// A value as it may stand there.
fn placed(value: &str, position: Position) -> Result<String, String> {
    let encoded = || utf8_percent_encode(value, UNRESERVED).to_string();
    match position {
        Position::Query => Ok(encoded()),
        Position::Path if matches!(value, "" | "." | "..") => {
            Err("url: a value in its path is empty, or would lead to another path".to_owned())
        }
        Position::Path => Ok(encoded()),
        Position::Host if is_host(value) => Ok(value.to_owned()),
        Position::Host => Err("url: a value in its host is not a part of a host name".to_owned()),
        Position::Authority if is_authority(value) => Ok(value.to_owned()),
        Position::Authority => {
            Err("url: the value in place of its host is not host[:port][/path]".to_owned())
        }
        Position::Beginning => beginning(value),
    }
}

/// A URL that a parameter holds; what follows in the document is added to its path.
fn beginning(value: &str) -> Result<String, String> {
    let refused = || "url: the value it begins with is not a URL without ?, # and user".to_owned();
    let url = Url::parse(value).map_err(|_| refused())?;
    let hidden = !url.username().is_empty() || url.password().is_some();
    if hidden || value.contains(['?', '#']) || value.contains("..") {
        return Err(refused());
    }
    Ok(value.to_owned())
}

fn is_host(value: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    !value.is_empty() && value.chars().all(allowed) && !value.contains("..")
}

fn is_authority(value: &str) -> bool {
    let (authority, path) = value.split_once('/').unwrap_or((value, ""));
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | '~' | '/');
    if !path.chars().all(plain) || path.split('/').any(|step| matches!(step, "." | "..")) {
        return false;
    }
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let address = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let host_fits = match address {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => is_host(host),
    };
    host_fits && port.is_none_or(|port| port.parse::<u16>().is_ok())
}

/// What holds for every URL that is asked.
pub fn check_url(url: &Url) -> Result<(), String> {
    if !matches!(url.scheme(), "http" | "https") {
        Err("must begin with https:// (or http:// within upstream.allowed_networks)".to_owned())
    } else if !url.username().is_empty() || url.password().is_some() {
        Err("must not hold credentials".to_owned())
    } else if url.fragment().is_some() {
        Err("must not hold a fragment (#…)".to_owned())
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use minijinja::context;

    fn rendered(source: &str, value: &str) -> Result<String, String> {
        let expressions = Expressions::new();
        let target = Target::read(source, &expressions)?;
        let scope = context! { v => value, w => "w" };
        let render = |template: &Template| {
            expressions
                .render(template, &scope)
                .map_err(|error| error.to_string())
        };
        target.render::<String>(render).map(String::from)
    }

    #[test]
    fn a_value_in_path_or_query_is_encoded_and_changes_nothing_around_it() {
        for (source, expected) in [
            (
                "https://h.example/${v}/t",
                "https://h.example/a%2Fb%3Fc%23d%20%25/t",
            ),
            (
                "https://h.example/t?x=${v}",
                "https://h.example/t?x=a%2Fb%3Fc%23d%20%25",
            ),
            (
                "https://h.example/${ w }-${v}",
                "https://h.example/w-a%2Fb%3Fc%23d%20%25",
            ),
        ] {
            assert_eq!(rendered(source, "a/b?c#d %").as_deref(), Ok(expected));
        }
        assert!(rendered("https://h.example/${v}/t", "..").is_err());
    }

    #[test]
    fn a_value_may_be_a_whole_url_or_what_stands_before_the_path() {
        for (source, value, expected) in [
            (
                "$v",
                "https://h.example:8443/a/token",
                "https://h.example:8443/a/token",
            ),
            (
                "${v}/token",
                "https://h.example/a",
                "https://h.example/a/token",
            ),
            (
                "https://${v}/token",
                "h.example:8443/base",
                "https://h.example:8443/base/token",
            ),
            ("https://${v}/token", "[::1]:80", "https://[::1]:80/token"),
            (
                "https://${v}.h.example/token",
                "eu-1",
                "https://eu-1.h.example/token",
            ),
        ] {
            assert_eq!(rendered(source, value).as_deref(), Ok(expected), "{source}");
        }
    }

    #[test]
    fn no_value_leads_a_request_to_another_host() {
        for value in [
            "evil.example/",
            "evil.example?",
            "evil.example#",
            "u@evil.example",
            "a:b@evil.example",
            "evil.example:80",
            "evil.example\\",
            "",
            "a b",
            "é.example",
        ] {
            assert!(
                rendered("https://${v}.h.example/t", value).is_err(),
                "{value}"
            );
            assert!(rendered("https://api-${v}/t", value).is_err(), "{value}");
        }
        for value in [
            "u@evil.example",
            "evil.example?x",
            "evil.example#x",
            "evil.example/../x",
            "h:port",
            "h/a%2e",
        ] {
            assert!(rendered("https://${v}/t", value).is_err(), "{value}");
        }
        for value in [
            "https://u:p@evil.example/",
            "https://h.example/?a",
            "h.example",
            "https://h.example/a/../b",
        ] {
            assert!(rendered("${v}/t", value).is_err(), "{value}");
        }
        for scheme in ["file:///etc/passwd", "ftp://h.example/x"] {
            assert!(rendered("$v", scheme).is_err(), "{scheme}");
        }
    }

    #[test]
    fn a_document_with_a_bad_url_is_refused() {
        let expressions = Expressions::new();
        for source in [
            "h.example",
            "https://u:p@h.example/",
            "https://h.example/#x",
            "ftp://h.example/",
            "https://${ v /",
        ] {
            assert!(Target::read(source, &expressions).is_err(), "{source}");
        }
    }
}
