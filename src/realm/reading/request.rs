//! Requests: the main one, steps, refreshing.

use super::arguments::{check_headers, with_args};
use super::reader::DocumentReader;
use super::remarks::remark_arguments;
use crate::foundation::fields::Fields;
use crate::realm::document::{
    Argument, ArgumentPlace, ClientAuth, Content, Encoding, Exchange, Method, NamedArgument,
    REFRESH_TOKEN, RequestRule, ResponseFormat,
};
use crate::realm::expression::Names;
use crate::realm::target::Target;

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

impl DocumentReader<'_> {
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
                place: ArgumentPlace::Body,
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

fn check_body(fields: &Fields<'_>, request: &RequestRule) {
    let in_body = |argument: &NamedArgument| argument.place == ArgumentPlace::Body;
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
