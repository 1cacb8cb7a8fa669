//! What every request passes through: an id, the size limit, problem documents, metrics.

use poem::http::{HeaderValue, Method, StatusCode, header};
use poem::{Body, Endpoint, IntoResponse, Request, Response};
use tracing::Instrument;

use super::problem::Problem;
use crate::app::App;
use crate::foundation::metrics::{RequestLabels, seconds};

const REQUEST_ID: &str = "x-request-id";

/// The id of a request, in answers and in the log.
#[derive(Clone)]
pub struct RequestId(String);

impl RequestId {
    pub fn of(request: &Request) -> String {
        request
            .data::<Self>()
            .map(|id| id.0.clone())
            .unwrap_or_default()
    }
}

/// Wraps the routes.
pub struct Front<E> {
    pub inner: E,
    pub app: App,
}

impl<E: Endpoint> Endpoint for Front<E> {
    type Output = Response;

    async fn call(&self, mut request: Request) -> poem::Result<Response> {
        let id = self.app.randomness.id();
        request.set_data(RequestId(id.clone()));
        let begun = self.app.clock.boot();
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let span = tracing::info_span!("request", request_id = %id);
        let mut response = async {
            match self.answer(request).await {
                Ok(response) => response,
                Err(error) => {
                    let problem = Problem::of(&error);
                    if problem.status().is_server_error() {
                        tracing::warn!(%problem, "a request failed");
                    }
                    problem.into_response_for(&id)
                }
            }
        }
        .instrument(span)
        .await;
        let headers = response.headers_mut();
        if let Ok(value) = HeaderValue::from_str(&id) {
            headers.insert(REQUEST_ID, value);
        }
        if path.starts_with("/api/") {
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        }
        let took = self.app.clock.boot().since(begun);
        self.app.metrics.request_seconds.observe(seconds(took));
        self.app
            .metrics
            .requests
            .get_or_create(&RequestLabels {
                route: route_of(&path, response.status()),
                method: known_method(&method),
                status: response.status().as_u16(),
            })
            .inc();
        Ok(response)
    }
}

impl<E: Endpoint> Front<E> {
    async fn answer(&self, mut request: Request) -> poem::Result<Response> {
        let takes_body = matches!(
            *request.method(),
            Method::POST | Method::PUT | Method::PATCH
        );
        if takes_body {
            let limit = self.app.settings.http.max_body_bytes;
            let bytes = request
                .take_body()
                .into_bytes_limit(limit)
                .await
                .map_err(poem::Error::from)?;
            request.set_body(Body::from_bytes(bytes));
        }
        self.inner
            .call(request)
            .await
            .map(IntoResponse::into_response)
    }
}

/// The path with names taken out, so that the number of labels is bounded.
fn route_of(path: &str, status: StatusCode) -> String {
    if status == StatusCode::NOT_FOUND {
        return "other".to_owned();
    }
    let named = path
        .strip_prefix("/api/")
        .unwrap_or(path.trim_start_matches('/'));
    let mut parts = named.split('/');
    let first = parts.next().unwrap_or_default();
    let deep = parts.next().is_some_and(|rest| !rest.is_empty());
    match (first, deep) {
        ("token", true) => path.to_owned(),
        ("renewal", true) => "/api/renewal/run".to_owned(),
        (first, true) => format!("{first}/*"),
        (first, false) => first.to_owned(),
    }
}

fn known_method(method: &Method) -> String {
    match *method {
        Method::GET | Method::POST | Method::PUT | Method::DELETE => method.to_string(),
        _ => "other".to_owned(),
    }
}
