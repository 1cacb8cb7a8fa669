//! Requests: the main one, steps, refreshing.

use serde_json::Value;

use super::reader::Reader;
use super::remarks::remark_arguments;
use crate::foundation::fields::{Fields, escape};
use crate::foundation::signing::{Algorithm, KeyEncoding};
use crate::realm::document::{
    Argument, Assertion, BasicEncoding, ClientAuth, Content, Encoding, Exchange, Method,
    NamedArgument, Place, REFRESH_TOKEN, RequestRule, ResponseFormat, TlsClient, TlsRule,
};
use crate::realm::expression::{Names, Template};
use crate::realm::target::Target;

/// Arguments in one request.
const ARGUMENTS_MAX: usize = 100;
/// The longest life of an assertion: an hour, in seconds. Longer for tokens made here.
const ASSERTION_MAX_S: i64 = 366 * 86_400;
const ASSERTION_DEFAULT_S: i64 = 300;
const SKEW_MAX_S: i64 = 3600;

/// What only a document with a request may have.
pub(super) const REQUEST_FIELDS: [&str; 11] = [
    "url",
    "method",
    "arguments",
    "content_type",
    "body",
    "client_auth",
    "tls",
    "response_format",
    "success",
    "refresh",
    "refresh_token_path",
];

impl Reader<'_> {
    /// One exchange.
    pub(super) fn exchange(
        &self,
        fields: &Fields<'_>,
        after_steps: bool,
        origin: Origin<&Exchange>,
    ) -> Option<Exchange> {
        let inherited = origin.inherited();
        let base = inherited.map(|exchange| &exchange.request);
        let beside = scope(after_steps);
        let target = self.target(fields, origin, &beside);
        let methods = [
            ("GET", Method::Get),
            ("POST", Method::Post),
            ("PUT", Method::Put),
        ];
        let method = match origin {
            Origin::Own => {
                fields.required("method", |fields, field| fields.one_of(field, &methods))
            }
            Origin::Over(_) => fields
                .one_of("method", &methods)
                .or(base.map(|base| base.method)),
        };
        let mut arguments = self.arguments(fields, &beside);
        let content = self.content(fields, base, &beside);
        let client_auth = match (fields.object("client_auth"), base) {
            (Some(auth), _) => self.client_auth(auth, &beside),
            (None, Some(base)) => base.client_auth.clone(),
            (None, None) => None,
        };
        let tls = match (fields.object("tls"), base) {
            (Some(tls), _) => self.tls(tls, &beside),
            (None, Some(base)) => base.tls.clone(),
            (None, None) => None,
        };
        let formats = [
            ("json", ResponseFormat::Json),
            ("text", ResponseFormat::Text),
            ("xml", ResponseFormat::Xml),
            ("form", ResponseFormat::Form),
        ];
        let format = fields
            .one_of("response_format", &formats)
            .or(inherited.map(|exchange| exchange.format))
            .unwrap_or_default();
        let success = match self.over_answer(fields, "success") {
            None if !fields.has("success") => {
                inherited.and_then(|exchange| exchange.success.clone())
            }
            own => own,
        };
        if !fields.has("arguments")
            && !fields.has("body")
            && let Some(base) = base
        {
            arguments.clone_from(&base.arguments);
        }
        let request = RequestRule {
            target: target?,
            method: method?,
            arguments,
            content: content?,
            client_auth,
            tls,
        };
        check_body(fields, &request);
        check_headers(fields, &request);
        remark_arguments(fields, &request);
        Some(Exchange {
            request,
            format,
            success,
        })
    }

    /// The main exchange, turned into RFC 6749, section 6 unless its arguments use the
    /// refresh token already.
    pub(super) fn refreshing(&self, main: &Exchange) -> Exchange {
        let mut exchange = main.clone();
        if main.request.uses_refresh_token() {
            return exchange;
        }
        let argument = |name: &str, source: &str| {
            let value = self.expressions.template(source);
            NamedArgument {
                name: name.to_owned(),
                place: Place::Body,
                value: Argument::Template(value.expect("a constant template is well-formed")),
                optional: false,
            }
        };
        exchange.request.method = Method::Post;
        exchange.request.content = Content::Arguments(Encoding::Form);
        exchange.request.arguments = vec![
            argument("grant_type", REFRESH_TOKEN),
            argument(REFRESH_TOKEN, "$refresh_token"),
        ];
        exchange
    }

    fn target(
        &self,
        fields: &Fields<'_>,
        origin: Origin<&Exchange>,
        beside: &Names,
    ) -> Option<Target> {
        let read = |fields: &Fields<'_>, field: &'static str| {
            let source = fields.text(field)?;
            let target = Target::read(source, self.expressions)
                .map_err(|why| fields.fault(field, why))
                .ok()?;
            self.check_names(&target.names(), beside, |detail| {
                fields.fault(field, detail)
            });
            self.remark_template(source, fields, field, beside);
            Some(target.using(|names| self.through_lets(names)))
        };
        match origin {
            Origin::Own => fields.required("url", read),
            Origin::Over(base) if !fields.has("url") => {
                fields.text("url");
                base.map(|base| base.request.target.clone())
            }
            Origin::Over(_) => read(fields, "url"),
        }
    }

    fn content(
        &self,
        fields: &Fields<'_>,
        base: Option<&RequestRule>,
        beside: &Names,
    ) -> Option<Content> {
        let encodings = [
            ("json", Encoding::Json),
            ("form", Encoding::Form),
            ("xml", Encoding::Xml),
            ("text", Encoding::Text),
            ("none", Encoding::None),
        ];
        let own = fields.one_of("content_type", &encodings);
        let encoding = own
            .or(base.map(|base| base.content.encoding()))
            .unwrap_or_default();
        let source = fields.text("body");
        match source {
            Some(source) => {
                let template = self.template_of(source, fields, "body", &with_args(beside))?;
                Some(Content::Template(template, encoding))
            }
            None if fields.has("body") => None,
            None => Some(match base.map(|base| &base.content) {
                // Arguments of its own replace an inherited body.
                Some(Content::Template(body, _)) if !fields.has("arguments") => {
                    Content::Template(body.clone(), encoding)
                }
                _ => Content::Arguments(encoding),
            }),
        }
    }

    fn arguments(&self, fields: &Fields<'_>, beside: &Names) -> Vec<NamedArgument> {
        let places = [
            ("url", Place::Url),
            ("header", Place::Header),
            ("body", Place::Body),
        ];
        let beside = with_args(beside);
        fields.each("arguments", ARGUMENTS_MAX, |argument| {
            let name = argument.required("name", |fields, field| {
                fields.text(field).filter(|name| {
                    let named = !name.is_empty();
                    if !named {
                        fields.fault(field, "must not be empty");
                    }
                    named
                })
            });
            let place = argument.required("place", |fields, field| fields.one_of(field, &places));
            let value = argument.required("value", |fields, field| {
                let value = fields.get(field)?;
                self.argument(value, fields, field, &beside)
            });
            let optional = argument.flag("optional").unwrap_or(false);
            argument.finish();
            Some(NamedArgument {
                name: name?.to_owned(),
                place: place?,
                value: value?,
                optional,
            })
        })
    }

    fn argument(
        &self,
        value: &Value,
        fields: &Fields<'_>,
        at: &str,
        beside: &Names,
    ) -> Option<Argument> {
        match value {
            Value::String(source) => self
                .template_of(source, fields, at, beside)
                .map(Argument::Template),
            Value::Array(list) => list
                .iter()
                .enumerate()
                .map(|(index, item)| self.argument(item, fields, &format!("{at}/{index}"), beside))
                .collect::<Option<_>>()
                .map(Argument::List),
            Value::Object(map) => map
                .iter()
                .map(|(name, item)| {
                    let at = format!("{at}/{}", escape(name));
                    Some((name.clone(), self.argument(item, fields, &at, beside)?))
                })
                .collect::<Option<_>>()
                .map(Argument::Object),
            plain => Some(Argument::Plain(plain.clone())),
        }
    }

    fn client_auth(&self, auth: Fields<'_>, beside: &Names) -> Option<ClientAuth> {
        #[derive(Clone, Copy, PartialEq, Eq)]
        enum Kind {
            None,
            Basic,
            Post,
            SecretJwt,
            KeyJwt,
            Tls,
        }
        let methods = [
            ("none", Kind::None),
            ("client_secret_basic", Kind::Basic),
            ("client_secret_post", Kind::Post),
            ("client_secret_jwt", Kind::SecretJwt),
            ("private_key_jwt", Kind::KeyJwt),
            ("tls_client_auth", Kind::Tls),
        ];
        let kind = auth.required("method", |fields, field| fields.one_of(field, &methods));
        let template = |field: &'static str| {
            auth.text(field)
                .and_then(|source| self.template_of(source, &auth, field, beside))
        };
        let (client_id, client_secret) = (template("client_id"), template("client_secret"));
        let encodings = [
            ("rfc6749", BasicEncoding::Rfc6749),
            ("raw", BasicEncoding::Raw),
        ];
        let encoding = auth.one_of("encoding", &encodings).unwrap_or_default();
        let needs: &[&'static str] = match kind {
            Some(Kind::Basic | Kind::Post) => &["client_id", "client_secret"],
            Some(Kind::SecretJwt) if !self.known.contains("assertion") => {
                &["client_id", "client_secret"]
            }
            Some(Kind::Tls) => &["client_id"],
            _ => &[],
        };
        for field in needs {
            if !auth.has(field) {
                auth.fault(field, "is required");
            }
        }
        if kind == Some(Kind::KeyJwt) && !self.known.contains("assertion") {
            auth.fault(
                "method",
                "private_key_jwt needs the field assertion, which says how it is signed",
            );
        }
        if auth.has("encoding") && kind.is_some_and(|kind| kind != Kind::Basic) {
            auth.fault("encoding", "is for client_secret_basic only");
        }
        auth.finish();
        match kind? {
            Kind::None => Some(ClientAuth::None { client_id }),
            Kind::Basic => Some(ClientAuth::Basic {
                client_id: client_id?,
                client_secret: client_secret?,
                encoding,
            }),
            Kind::Post => Some(ClientAuth::Post {
                client_id: client_id?,
                client_secret: client_secret?,
            }),
            Kind::SecretJwt | Kind::KeyJwt => Some(ClientAuth::Jwt {
                client_id,
                client_secret,
            }),
            Kind::Tls => Some(ClientAuth::Tls { client_id }),
        }
    }

    fn tls(&self, tls: Fields<'_>, beside: &Names) -> Option<TlsRule> {
        let template = |field: &'static str| {
            tls.text(field)
                .and_then(|source| self.template_of(source, &tls, field, beside))
        };
        let (ca, certificate, key) = (
            template("ca"),
            template("client_cert"),
            template("client_key"),
        );
        for (one, other) in [("client_cert", "client_key"), ("client_key", "client_cert")] {
            if tls.has(one) && !tls.has(other) {
                tls.fault(other, format!("is required beside {one}"));
            }
        }
        tls.finish();
        let client = certificate
            .zip(key)
            .map(|(certificate, key)| TlsClient { certificate, key });
        Some(TlsRule { ca, client })
    }

    pub(super) fn assertion(&self, assertion: Fields<'_>) -> Option<Assertion> {
        let algorithm = assertion.required("alg", |fields, field| {
            fields.one_of(field, &Algorithm::CHOICES)
        });
        let key = assertion.required("key", |fields, field| {
            let key = self.text(fields, field)?;
            self.not_of_itself(fields, field, &key);
            Some(key)
        });
        let key_encoding = assertion.one_of("key_encoding", &KeyEncoding::CHOICES);
        let (header, claims) = (
            self.jose_part(&assertion, "header"),
            self.jose_part(&assertion, "claims"),
        );
        let lifetime_s = assertion.number("lifetime_s", 1, ASSERTION_MAX_S);
        let iat_skew_s = assertion.number("iat_skew_s", 0, SKEW_MAX_S);
        let shared = |encoding| {
            matches!(
                encoding,
                KeyEncoding::Hex | KeyEncoding::Base64 | KeyEncoding::Utf8
            )
        };
        // A shared key is text unless the document says otherwise, a private key PEM.
        let key_encoding = key_encoding.unwrap_or(match algorithm {
            Some(Algorithm::Hs256) => KeyEncoding::Utf8,
            _ => KeyEncoding::Pem,
        });
        match algorithm {
            Some(Algorithm::Hs256)
                if matches!(key_encoding, KeyEncoding::Pem | KeyEncoding::Base64Pem) =>
            {
                assertion.fault(
                    "key_encoding",
                    "HS256 takes a shared key: utf8, base64, hex or jwk",
                );
            }
            Some(Algorithm::Rs256 | Algorithm::Ps256 | Algorithm::Es256 | Algorithm::EdDsa)
                if shared(key_encoding) =>
            {
                assertion.fault(
                    "key_encoding",
                    "this alg takes a private key: pem, base64_pem or jwk",
                );
            }
            _ => {}
        }
        assertion.finish();
        Some(Assertion {
            algorithm: algorithm?,
            key: key?,
            key_encoding,
            header,
            claims,
            lifetime_s: lifetime_s.unwrap_or(ASSERTION_DEFAULT_S),
            iat_skew_s: iat_skew_s.unwrap_or(0),
        })
    }

    fn jose_part(&self, assertion: &Fields<'_>, field: &'static str) -> Vec<(String, Argument)> {
        let entries = assertion.entries(field).into_iter().flatten();
        entries
            .filter_map(|(name, value)| {
                let at = format!("{field}/{}", escape(name));
                let value = self.argument(value, assertion, &at, &Names::new())?;
                if value.names().contains("assertion") {
                    assertion.fault_at(&at, "cannot use the assertion it is part of");
                }
                Some((name.clone(), value))
            })
            .collect()
    }

    fn not_of_itself(&self, fields: &Fields<'_>, field: &str, template: &Template) {
        if template.names().contains("assertion") {
            fields.fault(field, "cannot use the assertion it signs");
        }
    }
}

/// Where an exchange takes from what it does not say itself.
#[derive(Clone, Copy)]
pub(super) enum Origin<T> {
    /// Nowhere: it says everything.
    Own,
    /// From another, which may be broken.
    Over(Option<T>),
}

impl<T> Origin<T> {
    pub(super) fn inherited(self) -> Option<T> {
        match self {
            Self::Own => None,
            Self::Over(base) => base,
        }
    }
}

/// What a request may name beside the document's names.
fn scope(after_steps: bool) -> Names {
    let steps = after_steps.then(|| "steps".to_owned());
    steps.into_iter().collect()
}

fn with_args(beside: &Names) -> Names {
    let mut beside = beside.clone();
    beside.insert("args".to_owned());
    beside
}

fn check_body(fields: &Fields<'_>, request: &RequestRule) {
    let in_body = |argument: &NamedArgument| argument.place == Place::Body;
    let (bodiless, why) = match (&request.content, request.method) {
        (_, Method::Get) => (true, "and a GET has none"),
        (Content::Template(..), _) => (true, "and body is one template"),
        (Content::Arguments(Encoding::None), _) => (true, "and content_type is none"),
        (Content::Arguments(_), _) => (false, ""),
    };
    let auth = request.client_auth.as_ref();
    if bodiless && auth.is_some_and(ClientAuth::stands_in_body) {
        fields.fault_at(
            "client_auth/method",
            format!("this method puts credentials into the body, {why}"),
        );
    }
    if request.method == Method::Get && fields.has("body") {
        fields.fault("body", "a GET has none");
    }
    // On GET they go to the query, as the predecessor did.
    let misplaced = bodiless && request.method != Method::Get;
    if misplaced && let Some(index) = request.arguments.iter().position(in_body) {
        fields.fault_at(
            &format!("arguments/{index}/place"),
            format!("is body, {why}"),
        );
    }
}

fn check_headers(fields: &Fields<'_>, request: &RequestRule) {
    for (index, argument) in request.arguments.iter().enumerate() {
        if argument.place != Place::Header {
            continue;
        }
        let at = format!("arguments/{index}/name");
        let name = argument.name.parse::<reqwest::header::HeaderName>();
        if name.is_err() {
            fields.fault_at(&at, "is not the name of a header");
        }
        if matches!(request.client_auth, Some(ClientAuth::Basic { .. }))
            && argument.name.eq_ignore_ascii_case("authorization")
        {
            fields.fault_at(&at, "client_auth makes this header already");
        }
    }
}
