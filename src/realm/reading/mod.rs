//! Reads a realm document from JSON and says everything that is wrong with it. Read with
//! nothing there, it describes itself: that is the document's JSON Schema.

mod answer;
mod arguments;
mod assertion;
mod choices;
mod client;
mod hosts;
mod lets;
mod params;
mod pattern;
mod reader;
mod remarks;
mod request;
mod templates;

use std::cell::{Cell, RefCell};

use params::read_params;
use reader::{DocumentReader, STEPS_MAX};
use remarks::remark_invalid_token;
use request::Origin;
use serde_json::Value;

use super::document::{
    ParamRule, Parent, ProviderDocument, ProxyChoice, REFRESH_TOKEN, Refresh, ServingTemplate,
    TicketFormat, TicketRule, Way,
};
use super::expression::{ALWAYS, Expressions, Names, RESERVED, STORED};
use super::policy::Policy;
use crate::foundation::fields::{Fault, Faults, Fields, Warning, describe};

/// A ticket is believed for at most so long.
const TICKET_MAX_S: i64 = 30 * 86_400;

impl ProviderDocument {
    /// Reads a document, or says everything that is wrong with it.
    pub fn read(config: &Value, expressions: &Expressions) -> Result<Self, Vec<Fault>> {
        read(config, expressions, false).map(|(document, _)| document)
    }

    /// Reads a document that is being registered: refuses, too, what can never work but was
    /// not always refused, and says what is allowed and most likely not meant.
    pub fn read_new(
        config: &Value,
        expressions: &Expressions,
    ) -> Result<(Self, Vec<Warning>), Vec<Fault>> {
        read(config, expressions, true)
    }
}

fn read(
    config: &Value,
    expressions: &Expressions,
    is_new: bool,
) -> Result<(ProviderDocument, Vec<Warning>), Vec<Fault>> {
    let faults = Faults::default();
    let document = Fields::of(config, "/config", &faults)
        .and_then(|fields| read_document(fields, expressions, is_new));
    faults.judge(document)
}

/// The JSON Schema of the document, without descriptions.
pub(super) fn shape() -> Value {
    describe(|fields| {
        read_document(fields, &Expressions::new(), false);
    })
}

fn read_document(
    fields: Fields<'_>,
    expressions: &Expressions,
    is_new: bool,
) -> Option<ProviderDocument> {
    let params = read_params(&fields);
    let mut reader = DocumentReader {
        expressions,
        is_new,
        known: known_names(&fields, &params),
        lets: Vec::new(),
        used: RefCell::default(),
        earlier: Cell::default(),
    };
    reader.name_values(&fields);
    let document = reader.document(&fields, params);
    fields.finish();
    document
}

/// What templates may name everywhere in a document.
fn known_names(fields: &Fields<'_>, params: &[ParamRule]) -> Names {
    let mut known: Names = params.iter().map(|rule| rule.name.clone()).collect();
    known.extend(["token", STORED, "forced", "attempt"].map(str::to_owned));
    known.extend(ALWAYS.map(str::to_owned));
    for (name, declared_by) in [
        ("parent", "parent"),
        ("ticket", "ticket"),
        ("assertion", "assertion"),
        (REFRESH_TOKEN, "refresh"),
        (REFRESH_TOKEN, "refresh_token_path"),
        (REFRESH_TOKEN, "refresh_token_from"),
    ] {
        if fields.has(declared_by) {
            known.insert(name.to_owned());
        }
    }
    known
}

fn read_proxy(fields: &Fields<'_>) -> ProxyChoice {
    let Some(name) = fields.text("proxy") else {
        return ProxyChoice::Unsaid;
    };
    ProxyChoice::named(name).unwrap_or_else(|why| {
        fields.fault("proxy", why);
        ProxyChoice::Unsaid
    })
}

impl DocumentReader<'_> {
    fn document(&self, fields: &Fields<'_>, params: Vec<ParamRule>) -> Option<ProviderDocument> {
        let minted = !fields.has("url") && fields.has("token");
        let assertion = fields
            .object("assertion")
            .and_then(|assertion| self.assertion(assertion));
        let steps = fields.each("steps", STEPS_MAX, |step| {
            let read = self.exchange(&step, self.earlier.get() > 0, Origin::Own);
            step.finish();
            self.earlier.set(self.earlier.get() + 1);
            read
        });
        let asked = self.main(fields, minted, !steps.is_empty());
        let answer = self.answer(fields, minted, Origin::Own);
        let before_main = self.earlier.replace(0);
        let refresh = self.refresh(fields, asked.as_ref(), answer.as_ref());
        let document = (
            fields
                .object("parent")
                .and_then(|parent| self.parent(parent)),
            fields
                .object("ticket")
                .and_then(|ticket| self.ticket(ticket)),
            self.serving(fields),
            fields.object("error").map(|error| {
                // Refusals of all requests are read by it.
                self.earlier.set(before_main);
                self.error(error)
            }),
            fields.object("policy").map(|policy| {
                let read = Policy::read(&policy);
                policy.finish();
                read
            }),
        );
        let (parent, ticket, serving, error, policy) = document;
        if matches!(refresh, Some(Some(_))) {
            // The parameter of that name is the first one.
            self.used.borrow_mut().insert(REFRESH_TOKEN.to_owned());
        }
        let allowed_hosts = self.allowed_hosts(fields);
        let proxy = read_proxy(fields);
        let trace_context = fields.flag("trace_context").unwrap_or(false);
        self.remark_unused(fields, &params);
        if parent.is_none() {
            error
                .iter()
                .for_each(|rule| remark_invalid_token(fields, rule));
        }
        let way = if minted {
            if !steps.is_empty() {
                fields.fault("steps", "come before a request, and there is no url");
            }
            Way::Minted
        } else {
            Way::Asked {
                steps,
                main: Box::new(asked?),
            }
        };
        Some(ProviderDocument {
            params,
            uses: self.used.take(),
            lets: self.lets.clone().into(),
            allowed_hosts,
            proxy,
            trace_context,
            way,
            assertion,
            answer: answer?,
            refresh: refresh?,
            parent,
            ticket,
            serving,
            error: error.unwrap_or_default(),
            policy: policy.unwrap_or_default(),
        })
    }

    /// The main request; none where there is none, or where it is broken.
    fn main(
        &self,
        fields: &Fields<'_>,
        minted: bool,
        steps: bool,
    ) -> Option<super::document::Exchange> {
        if !minted {
            return self.exchange(fields, steps, Origin::Own);
        }
        for field in request::REQUEST_FIELDS {
            if fields.get(field).is_some() {
                fields.fault(field, "belongs to a request, and there is no url");
            }
        }
        None
    }

    /// Some none where the document refreshes nothing.
    fn refresh(
        &self,
        fields: &Fields<'_>,
        main: Option<&super::document::Exchange>,
        answer: Option<&super::document::AnswerRule>,
    ) -> Option<Option<Refresh>> {
        let own = fields.object("refresh");
        let rotates = answer.is_some_and(|answer| answer.refresh_token.is_some());
        let by_default = rotates && main.is_some_and(|main| !main.request.uses_refresh_token());
        let Some(own) = own else {
            if !by_default {
                return Some(None);
            }
            let (main, answer) = (main?, answer?);
            return Some(Some(Refresh {
                exchange: self.refreshing(main),
                answer: answer.clone(),
                retry: true,
            }));
        };
        // What it sends is its own, or RFC 6749, section 6.
        let sends = own.has("arguments") || own.has("body");
        let inherited = main.map(|main| match sends {
            true => main.clone(),
            false => self.refreshing(main),
        });
        let exchange = self.exchange(&own, false, Origin::Over(inherited.as_ref()));
        let answer = self.answer(&own, false, Origin::Over(answer));
        let retries = [("always", true), ("never", false)];
        let retry = own.one_of("retry", &retries).unwrap_or(true);
        own.finish();
        Some(Some(Refresh {
            exchange: exchange?,
            answer: answer?,
            retry,
        }))
    }

    fn parent(&self, parent: Fields<'_>) -> Option<Parent> {
        let template = |field: &'static str| {
            parent.required(field, |fields, field| {
                let source = fields.text(field)?;
                let template = self.template_of(source, fields, field, &Names::new())?;
                // The parent is looked up before anything else is known.
                for name in template.names() {
                    if RESERVED.contains(&name.as_str()) {
                        fields.fault(
                            field,
                            format!("uses {name}; only parameters are known here"),
                        );
                    }
                }
                Some(template)
            })
        };
        let (realm, key) = (template("realm"), template("key"));
        parent.finish();
        Some(Parent {
            realm: realm?,
            key: key?,
        })
    }

    fn ticket(&self, ticket: Fields<'_>) -> Option<TicketRule> {
        let formats = [
            ("wechat_xml", TicketFormat::WechatXml),
            ("wecom_xml", TicketFormat::WecomXml),
            ("feishu_json", TicketFormat::FeishuJson),
        ];
        let format = ticket.required("format", |fields, field| fields.one_of(field, &formats));
        let required =
            |field: &'static str| ticket.required(field, |fields, field| self.text(fields, field));
        let (app_id, token) = (required("app_id"), required("token"));
        let aes_key = self.text(&ticket, "aes_key");
        let valid_s = ticket.required("valid_s", |fields, field| {
            fields.number(field, 1, TICKET_MAX_S)
        });
        let resend = ticket.object("resend").map(|resend| {
            let read = self.exchange(&resend, false, Origin::Own);
            resend.finish();
            read
        });
        if matches!(
            format,
            Some(TicketFormat::WechatXml | TicketFormat::WecomXml)
        ) && !ticket.has("aes_key")
        {
            ticket.fault(
                "aes_key",
                "is required: pushes of this format are encrypted",
            );
        }
        ticket.finish();
        Some(TicketRule {
            format: format?,
            app_id: app_id?,
            token: token?,
            aes_key,
            valid_s: valid_s?,
            resend: match resend {
                Some(resend) => Some(resend?),
                None => None,
            },
        })
    }

    fn serving(&self, fields: &Fields<'_>) -> Option<ServingTemplate> {
        let extra = Names::from(["extra".to_owned()]);
        let template = fields
            .text("token_template")
            .and_then(|source| self.template_of(source, fields, "token_template", &extra));
        if let Some(template) = &template
            && template.names().contains(STORED)
        {
            fields.fault(
                "token_template",
                "uses stored: what is served with this token is extra",
            );
        }
        let per_read = fields.flag("per_read").unwrap_or(false);
        if per_read && !fields.has("token_template") {
            fields.fault(
                "per_read",
                "says when token_template is rendered; there is none",
            );
        }
        Some(ServingTemplate {
            template: template?,
            per_read,
        })
    }
}
