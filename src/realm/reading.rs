//! Reads a realm document from JSON and says everything that is wrong with it.

use std::collections::BTreeSet;

use serde_json::Value;

use super::document::{
    Argument, BasicEncoding, ClientAuth, Encoding, ErrorRule, ExpiryRule, ExpiryUnit,
    LIFETIME_MAX_S, Method, NamedArgument, ParamRule, Place, ProviderDocument, default_params,
    read_url,
};
use super::expression::{ANSWER_SCOPE, Expression, Expressions, RESERVED, Template, is_name};
use super::failure::FailureClass;
use super::policy::Policy;
use crate::foundation::fields::{Fault, Faults, Fields};

/// Arguments in one request.
const ARGUMENTS_MAX: usize = 100;

impl ProviderDocument {
    /// Reads a document, or says everything that is wrong with it.
    pub fn read(config: &Value, expressions: &Expressions) -> Result<Self, Vec<Fault>> {
        let faults = Faults::default();
        let document = Fields::of(config, "/config", &faults).and_then(|fields| {
            let params = read_params(&fields);
            let reader = Reader {
                expressions,
                params: params.iter().map(|rule| rule.name.clone()).collect(),
            };
            let document = reader.document(&fields, params);
            fields.finish();
            document
        });
        match (document, faults.into_vec()) {
            (Some(document), faults) if faults.is_empty() => Ok(document),
            (_, faults) => Err(faults),
        }
    }
}

fn read_params(fields: &Fields<'_>) -> Vec<ParamRule> {
    let Some(entries) = fields.entries("params") else {
        return default_params().to_vec();
    };
    entries
        .iter()
        .filter_map(|(name, value)| {
            let at = format!("params/{name}");
            if !is_name(name) {
                fields.fault_at(
                    &at,
                    "must be letters, digits and _, not beginning with a digit",
                );
            }
            if RESERVED.contains(&name.as_str()) {
                fields.fault_at(&at, "is a name the server uses itself");
            }
            let rule = fields.nested(&at, value)?;
            let read = ParamRule {
                name: name.clone(),
                title: rule.text("title").map(str::to_owned),
                secret: rule.flag("secret").unwrap_or(true),
                optional: rule.flag("optional").unwrap_or(false),
                default: rule.text("default").map(str::to_owned),
            };
            rule.finish();
            Some(read)
        })
        .collect()
}

struct Reader<'a> {
    expressions: &'a Expressions,
    params: BTreeSet<String>,
}

impl Reader<'_> {
    fn document(&self, fields: &Fields<'_>, params: Vec<ParamRule>) -> Option<ProviderDocument> {
        let url = fields.required("url", |fields, field| {
            let text = fields.text(field)?;
            read_url(text)
                .map_err(|detail| fields.fault(field, detail))
                .ok()
        });
        let methods = [
            ("GET", Method::Get),
            ("POST", Method::Post),
            ("PUT", Method::Put),
        ];
        let method = fields.required("method", |fields, field| fields.one_of(field, &methods));
        let encodings = [
            ("json", Encoding::Json),
            ("form", Encoding::Form),
            ("text", Encoding::Text),
        ];
        let content_type = fields
            .one_of("content_type", &encodings)
            .unwrap_or(Encoding::Json);
        let token_path = fields.required("token_path", |fields, field| self.path(fields, field));
        let document = (
            self.arguments(fields),
            fields
                .object("client_auth")
                .and_then(|auth| self.client_auth(auth)),
            self.answer_expression(fields, "success"),
            self.expiry(fields),
            fields.object("error").map(|error| self.error(error)),
            fields.object("policy").map(|policy| {
                let read = Policy::read(&policy);
                policy.finish();
                read
            }),
        );
        let (arguments, client_auth, success, expiry, error, policy) = document;
        let document = ProviderDocument {
            params,
            url: url?,
            method: method?,
            arguments,
            content_type,
            client_auth,
            success,
            token_path: token_path?,
            expiry,
            error: error.unwrap_or_default(),
            policy: policy.unwrap_or_default(),
        };
        if document.method == Method::Get
            && matches!(document.client_auth, Some(ClientAuth::Post { .. }))
        {
            fields.fault_at(
                "client_auth/method",
                "client_secret_post puts credentials into the body, and a GET has none",
            );
        }
        self.check_headers(fields, &document);
        Some(document)
    }

    fn arguments(&self, fields: &Fields<'_>) -> Vec<NamedArgument> {
        let list = fields.list("arguments").unwrap_or_default();
        if list.len() > ARGUMENTS_MAX {
            fields.fault(
                "arguments",
                format!("must not be more than {ARGUMENTS_MAX}"),
            );
        }
        let places = [
            ("url", Place::Url),
            ("header", Place::Header),
            ("body", Place::Body),
        ];
        list.iter()
            .enumerate()
            .filter_map(|(index, value)| {
                let argument = fields.nested(&format!("arguments/{index}"), value)?;
                let name = argument.required("name", |fields, field| {
                    fields.text(field).filter(|name| {
                        let named = !name.is_empty();
                        if !named {
                            fields.fault(field, "must not be empty");
                        }
                        named
                    })
                });
                let place =
                    argument.required("place", |fields, field| fields.one_of(field, &places));
                if argument.get("value").is_none() {
                    argument.fault("value", "is required");
                }
                let value = argument
                    .get("value")
                    .and_then(|value| self.argument(value, &argument, "value"));
                let optional = argument.flag("optional").unwrap_or(false);
                argument.finish();
                Some(NamedArgument {
                    name: name?.to_owned(),
                    place: place?,
                    value: value?,
                    optional,
                })
            })
            .collect()
    }

    fn argument(&self, value: &Value, fields: &Fields<'_>, at: &str) -> Option<Argument> {
        match value {
            Value::String(source) => self.template_of(source, fields, at).map(Argument::Template),
            Value::Array(list) => list
                .iter()
                .enumerate()
                .map(|(index, item)| self.argument(item, fields, &format!("{at}/{index}")))
                .collect::<Option<_>>()
                .map(Argument::List),
            Value::Object(map) => map
                .iter()
                .map(|(name, item)| {
                    let read = self.argument(item, fields, &format!("{at}/{name}"))?;
                    Some((name.clone(), read))
                })
                .collect::<Option<_>>()
                .map(Argument::Object),
            plain => Some(Argument::Plain(plain.clone())),
        }
    }

    fn client_auth(&self, auth: Fields<'_>) -> Option<ClientAuth> {
        #[derive(Clone, Copy)]
        enum Kind {
            None,
            Basic,
            Post,
        }
        let methods = [
            ("none", Kind::None),
            ("client_secret_basic", Kind::Basic),
            ("client_secret_post", Kind::Post),
        ];
        let kind = auth.required("method", |fields, field| fields.one_of(field, &methods));
        let template = |field| {
            auth.text(field)
                .and_then(|source| self.template_of(source, &auth, field))
        };
        let (client_id, client_secret) = (template("client_id"), template("client_secret"));
        let encodings = [
            ("rfc6749", BasicEncoding::Rfc6749),
            ("raw", BasicEncoding::Raw),
        ];
        let encoding = auth.one_of("encoding", &encodings).unwrap_or_default();
        if matches!(kind, Some(Kind::Basic | Kind::Post)) {
            for field in ["client_id", "client_secret"] {
                if auth.get(field).is_none() {
                    auth.fault(field, "is required");
                }
            }
        }
        auth.finish();
        match kind? {
            Kind::None => None,
            Kind::Basic => Some(ClientAuth::Basic {
                client_id: client_id?,
                client_secret: client_secret?,
                encoding,
            }),
            Kind::Post => Some(ClientAuth::Post {
                client_id: client_id?,
                client_secret: client_secret?,
            }),
        }
    }

    fn expiry(&self, fields: &Fields<'_>) -> ExpiryRule {
        let units = [("s", ExpiryUnit::Seconds), ("ms", ExpiryUnit::Milliseconds)];
        let rule = ExpiryRule {
            in_path: self.path(fields, "expires_in_path"),
            in_unit: fields.one_of("expires_in_unit", &units).unwrap_or_default(),
            at_path: self.path(fields, "expires_at_path"),
            default_s: fields.number("default_expires_in_s", 0, LIFETIME_MAX_S),
        };
        if rule.in_path.is_some() && rule.at_path.is_some() {
            fields.fault(
                "expires_at_path",
                "stands beside expires_in_path: give one of them",
            );
        }
        rule
    }

    fn error(&self, error: Fields<'_>) -> ErrorRule {
        let mut rule = ErrorRule {
            code: self.answer_expression(&error, "code"),
            message: self.answer_expression(&error, "message"),
            classes: Vec::new(),
        };
        if let Some(classes) = error.object("classes") {
            for (name, class) in [
                ("permanent", FailureClass::Permanent),
                ("rate_limited", FailureClass::RateLimited),
                ("transient", FailureClass::Transient),
            ] {
                for (index, code) in classes.list(name).unwrap_or_default().iter().enumerate() {
                    match code {
                        Value::String(code) => rule.classes.push((code.clone(), class)),
                        Value::Number(code) => rule.classes.push((code.to_string(), class)),
                        _ => classes
                            .fault_at(&format!("{name}/{index}"), "must be a string or a number"),
                    }
                }
            }
            classes.finish();
        }
        if !rule.classes.is_empty() && rule.code.is_none() {
            error.fault("code", "is required beside classes");
        }
        error.finish();
        rule
    }

    /// A dotted path into the answer.
    fn path(&self, fields: &Fields<'_>, field: &'static str) -> Option<String> {
        let path = fields.text(field)?;
        if path.is_empty() || path.contains("${") {
            fields.fault(field, "must be a dotted path such as data.access_token");
            return None;
        }
        Some(path.to_owned())
    }

    fn template_of(&self, source: &str, fields: &Fields<'_>, at: &str) -> Option<Template> {
        let read = self.expressions.template(source);
        let (template, names) = read
            .map_err(|error| fields.fault_at(at, error.to_string()))
            .ok()?;
        self.check_names(&names, &[], |detail| fields.fault_at(at, detail));
        Some(template)
    }

    fn answer_expression(&self, fields: &Fields<'_>, field: &'static str) -> Option<Expression> {
        let source = fields.text(field)?;
        let read = self.expressions.condition(source);
        let (expression, names) = read
            .map_err(|error| fields.fault(field, error.to_string()))
            .ok()?;
        self.check_names(&names, &ANSWER_SCOPE, |detail| fields.fault(field, detail));
        Some(expression)
    }

    fn check_names(&self, names: &BTreeSet<String>, scope: &[&str], fault: impl Fn(String)) {
        for name in names {
            if !self.params.contains(name) && !scope.contains(&name.as_str()) {
                let known: Vec<_> = self
                    .params
                    .iter()
                    .map(String::as_str)
                    .chain(scope.iter().copied())
                    .collect();
                fault(format!(
                    "uses the name {name}, which is not declared; known are {}",
                    known.join(", ")
                ));
            }
        }
    }

    fn check_headers(&self, fields: &Fields<'_>, document: &ProviderDocument) {
        for (index, argument) in document.arguments.iter().enumerate() {
            if argument.place != Place::Header {
                continue;
            }
            let at = format!("arguments/{index}/name");
            if argument
                .name
                .parse::<reqwest::header::HeaderName>()
                .is_err()
            {
                fields.fault_at(&at, "is not the name of a header");
            }
            if matches!(document.client_auth, Some(ClientAuth::Basic { .. }))
                && argument.name.eq_ignore_ascii_case("authorization")
            {
                fields.fault_at(&at, "client_auth makes this header already");
            }
        }
    }
}
