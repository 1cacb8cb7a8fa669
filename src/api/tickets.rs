//! Where providers push tickets.

use poem::Request;
use poem::web::Data as State;
use poem_openapi::param::Path;
use poem_openapi::payload::{Json, PlainText};
use poem_openapi::types::Any;
use poem_openapi::{ApiResponse, OpenApi, ResponseContent};
use serde_json::Value;

use super::extract::realm_id;
use super::group::Group;
use super::problem::Problem;
use crate::app::App;
use crate::ticket::push::{FeishuHeaders, Push, PushReply};

pub struct Tickets;

#[derive(ResponseContent)]
enum PushContent {
    Text(PlainText<String>),
    Json(Json<Any<Value>>),
}

/// What the provider wants to read.
#[derive(ApiResponse)]
enum PushAnswer {
    #[oai(status = 200)]
    Taken(PushContent),
}

impl From<PushReply> for PushAnswer {
    fn from(answer: PushReply) -> Self {
        if answer.content_type.starts_with("application/json")
            && let Ok(body) = serde_json::from_str(&answer.body)
        {
            return Self::Taken(PushContent::Json(Json(Any(body))));
        }
        Self::Taken(PushContent::Text(PlainText(answer.body)))
    }
}

#[OpenApi(tag = "Group::Token")]
impl Tickets {
    /// Answer a provider that checks this URL
    ///
    /// Needs no key: the provider's signature is verified.
    #[oai(
        path = "/api/ticket/:realm",
        method = "get",
        operation_id = "checkTicketUrl"
    )]
    async fn check(
        &self,
        request: &Request,
        app: State<&App>,
        realm: Path<String>,
    ) -> Result<PushAnswer, Problem> {
        receive(request, &app, realm.0, &[]).await
    }

    /// Receive a pushed ticket
    ///
    /// Needs no key: the provider's signature is verified. The body is XML (WeChat, WeCom) or
    /// JSON (Feishu), as the provider sends it. Other events on the same URL are acknowledged
    /// and dropped.
    #[oai(
        path = "/api/ticket/:realm",
        method = "post",
        operation_id = "receiveTicket"
    )]
    async fn push(
        &self,
        request: &Request,
        app: State<&App>,
        realm: Path<String>,
        body: Vec<u8>,
    ) -> Result<PushAnswer, Problem> {
        receive(request, &app, realm.0, &body).await
    }
}

async fn receive(
    request: &Request,
    app: &App,
    realm: String,
    body: &[u8],
) -> Result<PushAnswer, Problem> {
    let realm = realm_id(realm)?;
    let query = request.uri().query().unwrap_or_default();
    let query: Vec<(String, String)> = url::form_urlencoded::parse(query.as_bytes())
        .into_owned()
        .collect();
    let header = |name: &str| request.headers().get(name)?.to_str().ok();
    let push = Push {
        query: &query,
        headers: FeishuHeaders::read(header),
        body,
    };
    Ok(app.inbox.receive(&realm, &push).await?.into())
}
