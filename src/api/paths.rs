//! What the specification says of paths: which there are, with which operations. No handler
//! has to repeat it.

use poem::Request;
use poem::http::uri::PathAndQuery;
use poem::http::{HeaderValue, Method, Uri};
use serde_json::Value;

use super::http::SIGNED;
use super::parameters::Parameters;
use super::problem::Problem;

/// What an operation asks of its callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entrance {
    /// An API key.
    Key,
    /// No key: what is sent is signed.
    Signed,
    /// Nothing. It costs little, and who looks whether the server lives is not to be held up.
    Open,
}

/// The paths of the specification, the only ones that are labels.
pub struct Paths(Vec<Path>);

struct Path {
    pattern: String,
    operations: Vec<Operation>,
}

struct Operation {
    method: String,
    needs_key: bool,
    parameters: Parameters,
}

/// Why a request's path or query is refused, once its caller is known: whoever has no key
/// is told that, and is in the audit.
#[derive(Clone)]
pub struct Unfit(pub Problem);

impl Paths {
    pub fn of(specification: &Value) -> Self {
        let paths = specification["paths"].as_object().into_iter().flatten();
        Self(paths.map(Path::of).collect())
    }

    /// The path of the specification that a request's path is one of.
    fn find(&self, path: &str) -> Option<&Path> {
        let spelled = self.spelled(path);
        spelled.or_else(|| self.0.iter().find(|known| known.matches(path)))
    }

    /// The one that is spelled so, with no name in it.
    fn spelled(&self, path: &str) -> Option<&Path> {
        self.0.iter().find(|known| known.pattern == path)
    }

    /// `GET /api/realm/test` is of a realm of that name: only the POST is of the path that is spelled
    /// so. Requests are routed by their path alone, so the name is escaped where it is one.
    pub fn escape_name(&self, request: &mut Request) {
        let (path, method) = (request.uri().path(), request.method());
        let spelled = self.spelled(path);
        if spelled.is_none_or(|spelled| spelled.operation(method).is_some()) {
            return;
        }
        let takes = |known: &&Path| known.matches(path) && known.operation(method).is_some();
        let Some(known) = self.0.iter().find(takes) else {
            return;
        };
        let mut escaped = known.with_names_escaped(path);
        if let Some(query) = request.uri().query() {
            escaped = format!("{escaped}?{query}");
        }
        let mut parts = request.uri().clone().into_parts();
        parts.path_and_query = PathAndQuery::try_from(escaped).ok();
        if let Ok(uri) = Uri::from_parts(parts) {
            *request.uri_mut() = uri;
        }
    }

    pub fn label(&self, path: &str) -> &str {
        self.find(path).map_or("other", |known| &known.pattern)
    }

    /// What `Allow` says beside a 405 (RFC 9110, section 15.5.6): as the specification has it of the
    /// path, whatever name could be spelled so.
    pub fn allow(&self, path: &str) -> Option<HeaderValue> {
        let operations = self.find(path)?.operations.iter();
        let methods: Vec<_> = operations
            .map(|operation| operation.method.as_str())
            .collect();
        HeaderValue::from_str(&methods.join(", ")).ok()
    }

    /// Refuses what the operation does not take: at once where it needs no key, else as an
    /// [`Unfit`] that is looked at when the key was.
    pub fn check(&self, request: &mut Request) -> Result<(), Problem> {
        let Some(operation) = self.operation(request.method(), request.uri().path()) else {
            return Ok(());
        };
        match operation.parameters.check(request.uri()) {
            Err(problem) if operation.needs_key => {
                request.set_data(Unfit(problem));
                Ok(())
            }
            checked => checked,
        }
    }

    /// What a request's operation asks of its callers; none where there is no such operation.
    pub fn entrance(&self, request: &Request) -> Option<Entrance> {
        let path = request.uri().path();
        let operation = self.operation(request.method(), path)?;
        Some(match operation.needs_key {
            true => Entrance::Key,
            false if path.starts_with(SIGNED) => Entrance::Signed,
            false => Entrance::Open,
        })
    }

    fn operation(&self, method: &Method, path: &str) -> Option<&Operation> {
        self.find(path)?.operation(method)
    }
}

impl Path {
    fn of((pattern, operations): (&String, &Value)) -> Self {
        let operations = operations.as_object().into_iter().flatten();
        let operation = |(method, operation): (&String, &Value)| Operation {
            method: method.to_uppercase(),
            needs_key: operation["security"]
                .as_array()
                .is_some_and(|schemes| !schemes.is_empty()),
            parameters: Parameters::of(pattern, operation),
        };
        Self {
            pattern: pattern.clone(),
            operations: operations.map(operation).collect(),
        }
    }

    /// A HEAD is answered as a GET is.
    fn operation(&self, method: &Method) -> Option<&Operation> {
        let method = match *method {
            Method::HEAD => &Method::GET,
            _ => method,
        };
        let mut operations = self.operations.iter();
        operations.find(|operation| operation.method == method.as_str())
    }

    /// A path that matches, so that it is spelled as no other pattern.
    fn with_names_escaped(&self, path: &str) -> String {
        let parts = path.split('/').zip(self.pattern.split('/'));
        let parts = parts.map(|(part, wanted)| match wanted.starts_with('{') {
            true => part.bytes().map(|byte| format!("%{byte:02X}")).collect(),
            false => part.to_owned(),
        });
        parts.collect::<Vec<_>>().join("/")
    }

    fn matches(&self, path: &str) -> bool {
        path.split('/').count() == self.pattern.split('/').count()
            && path
                .split('/')
                .zip(self.pattern.split('/'))
                .all(|(part, wanted)| {
                    wanted == part || (wanted.starts_with('{') && !part.is_empty())
                })
    }
}
