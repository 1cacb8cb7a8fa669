//! What the specification says of paths: which there are, with which operations. No handler
//! has to repeat it.

use poem::Request;
use poem::http::{HeaderValue, Method};
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
        // `/api/realm/test` is not a realm of that name.
        let exact = self.0.iter().find(|known| known.pattern == path);
        exact.or_else(|| self.0.iter().find(|known| known.matches(path)))
    }

    pub fn label(&self, path: &str) -> &str {
        self.find(path).map_or("other", |known| &known.pattern)
    }

    /// What `Allow` says beside a 405 (RFC 9110, section 15.5.6).
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

    /// A HEAD is answered as a GET is.
    fn operation(&self, method: &Method, path: &str) -> Option<&Operation> {
        let method = match *method {
            Method::HEAD => &Method::GET,
            _ => method,
        };
        let mut operations = self.find(path)?.operations.iter();
        operations.find(|operation| operation.method == method.as_str())
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
