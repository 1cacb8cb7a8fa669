//! What every request passes through: an id, limits on its body, problem documents,
//! metrics. A request that was begun is finished, although its caller may have gone.

use std::sync::Arc;

use futures_util::StreamExt;
use poem::http::{HeaderValue, Method, StatusCode, header};
use poem::{Body, Endpoint, IntoResponse, Request, Response};
use tracing::Instrument;

use super::admission::{self, Counted};
use super::auth;
use super::browser;
use super::head::Head;
use super::hot::Hot;
use super::http::{HeldBack, NO_STORE, REQUEST_ID, RequestId, has_body};
use super::paths::{Entrance, Paths};
use super::problem::Problem;
use crate::app::App;
use crate::foundation::clock::Ms;
use crate::foundation::metrics::{RequestLabels, seconds};
use crate::foundation::traces;
use crate::ticket::push::BODY_MAX_BYTES;

/// So many times the limit is read of a body that is too large.
const DRAINED_MAX: usize = 8;

/// Reads a body of at most `limit` bytes. What is too large is read on for a while, and
/// thrown away: a caller that is still sending would not read why it is refused.
async fn read_limited(body: Body, limit: usize) -> poem::Result<Vec<u8>> {
    let mut chunks = std::pin::pin!(body.into_bytes_stream());
    let (mut bytes, mut sent) = (Vec::new(), 0_usize);
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_broken| poem::Error::from(StatusCode::BAD_REQUEST))?;
        sent = sent.saturating_add(chunk.len());
        if sent <= limit {
            bytes.extend_from_slice(&chunk);
        } else if sent > limit.saturating_mul(DRAINED_MAX) {
            break;
        }
    }
    if sent > limit {
        return Err(StatusCode::PAYLOAD_TOO_LARGE.into());
    }
    Ok(bytes)
}

/// Wraps the routes.
pub struct Front<E> {
    inner: Arc<E>,
    paths: &'static Paths,
    hot: Hot,
    app: App,
}

impl<E: Endpoint + 'static> Front<E> {
    pub fn new(inner: E, paths: &'static Paths, app: App) -> Self {
        Self {
            inner: Arc::new(inner),
            paths,
            hot: Hot::new(&app),
            app,
        }
    }

    /// Runs the handler as a task of its own: a caller that goes away interrupts no
    /// transaction and loses no answer of a provider.
    async fn answer(&self, mut request: Request) -> poem::Result<Response> {
        auth::refuse_cross_site(&request, &self.app)?;
        self.paths.check(&mut request)?;
        let entrance = self.paths.entrance(&request);
        if let Err(refused) = admission::admit(&mut request, &self.app, entrance).await {
            self.discard_body(&mut request);
            return Err(refused.into());
        }
        let pushed = match entrance {
            Some(Entrance::Signed) => Some(Counted::of(&request, &self.app)),
            _ => None,
        };
        let answered = self.handle(request, entrance).await;
        if let (Some(counted), Ok(_)) = (pushed, &answered) {
            counted.give_back(&self.app);
        }
        answered
    }

    async fn handle(
        &self,
        mut request: Request,
        entrance: Option<Entrance>,
    ) -> poem::Result<Response> {
        match entrance {
            Some(Entrance::Signed) => self.take_body(&mut request, BODY_MAX_BYTES + 1).await?,
            Some(Entrance::Key | Entrance::Open) => {
                let limit = self.app.settings.http.max_body_bytes;
                self.take_body(&mut request, limit).await?;
            }
            None => self.discard_body(&mut request),
        }
        let inner = self.inner.clone();
        let span = tracing::Span::current();
        let handled = self.app.requests.spawn(
            async move { inner.call(request).await.map(IntoResponse::into_response) }
                .instrument(span),
        );
        match handled.await {
            Ok(answered) => answered,
            Err(_panicked) => Err(StatusCode::INTERNAL_SERVER_ERROR.into()),
        }
    }

    /// Reads the body, within its limits.
    async fn take_body(&self, request: &mut Request, limit: usize) -> poem::Result<()> {
        if !has_body(request.method()) {
            return Ok(());
        }
        let http = &self.app.settings.http;
        let body = read_limited(request.take_body(), limit.min(http.max_body_bytes));
        let bytes = tokio::time::timeout(http.body_timeout, body)
            .await
            .map_err(|_elapsed| poem::Error::from(StatusCode::REQUEST_TIMEOUT))??;
        request.set_body(Body::from_vec(bytes));
        Ok(())
    }

    /// Throws away for a while what the caller is still sending, which goes unread: he would not read
    /// why otherwise. Who waits to be asked for it (RFC 9110, section 10.1.1) is not asked.
    fn discard_body(&self, request: &mut Request) {
        let is_asked_for = request.headers().contains_key(header::EXPECT);
        let body = request.take_body();
        if !has_body(request.method()) || is_asked_for || body.is_empty() {
            return;
        }
        let http = &self.app.settings.http;
        let limit = http.max_body_bytes.saturating_mul(DRAINED_MAX);
        let within = http.body_timeout;
        tokio::spawn(async move {
            let mut chunks = std::pin::pin!(body.into_bytes_stream());
            let mut sent = 0_usize;
            let all = async {
                while let Some(Ok(chunk)) = chunks.next().await {
                    sent = sent.saturating_add(chunk.len());
                    if sent > limit {
                        break;
                    }
                }
            };
            let _ = tokio::time::timeout(within, all).await;
        });
    }

    /// Everything but a token that is in memory.
    async fn go_the_long_way(
        &self,
        mut request: Request,
        refused: Option<poem::Error>,
    ) -> Response {
        let id = self.app.randomness.id();
        request.set_data(RequestId(id.clone()));
        self.paths.escape_name(&mut request);
        let begun = self.app.clock.boot();
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let challenges = auth::challenges(request.headers());
        // At this level it is there whatever is logged within it.
        let span = tracing::error_span!(
            "request",
            otel.name = tracing::field::Empty,
            otel.kind = tracing::field::Empty,
            request_id = id,
            method = method.as_str(),
            route = self.paths.label(&path),
            caller = tracing::field::Empty,
            realm = tracing::field::Empty,
            key = tracing::field::Empty,
        );
        if path.starts_with("/api/") {
            traces::request(
                &span,
                method.as_str(),
                self.paths.label(&path),
                request.headers(),
            );
        }
        let answered = match refused {
            None => self.answer(request).instrument(span.clone()).await,
            Some(error) => Err(error),
        };
        let mut response = answered.unwrap_or_else(|error| {
            let problem = Problem::of(&error);
            span.in_scope(|| self.log(&problem));
            let held_back = problem
                .is_held_back()
                .then_some(self.app.settings.address_delay);
            let mut response = problem.into_response_for(&id);
            if let Some(delay) = held_back.filter(|delay| *delay > Ms::ZERO) {
                response.extensions_mut().insert(HeldBack(delay));
            }
            response
        });
        let status = response.status();
        traces::request_answered(&span, status.as_u16());
        let headers = response.headers_mut();
        let not_allowed = status == StatusCode::METHOD_NOT_ALLOWED;
        if let Some(allow) = self.paths.allow(&path).filter(|_| not_allowed) {
            headers.insert(header::ALLOW, allow);
        }
        if status == StatusCode::UNAUTHORIZED {
            for challenge in challenges {
                headers.append(
                    header::WWW_AUTHENTICATE,
                    HeaderValue::from_static(challenge),
                );
            }
        }
        if let Ok(value) = HeaderValue::from_str(&id) {
            headers.insert(REQUEST_ID, value);
        }
        if path.starts_with("/api/") {
            headers.insert(header::CACHE_CONTROL, NO_STORE);
        }
        browser::protect(&mut response);
        let took = self.app.clock.boot().since(begun);
        self.app.metrics.request_seconds.observe(seconds(took));
        self.count(&method, &path, status);
        response
    }

    /// Says so where the fault is not the caller's.
    fn log(&self, problem: &Problem) {
        if let Some(error) = problem.database() {
            self.app.database.failed(error, "a request");
        } else if problem.status().is_server_error() {
            tracing::warn!(
                name: "http.request_failed",
                status = problem.status().as_u16(),
                code = problem.code(),
                "a request failed"
            );
        }
    }

    fn count(&self, method: &Method, path: &str, status: StatusCode) {
        let method = match *method {
            Method::GET | Method::POST | Method::PUT | Method::PATCH | Method::DELETE => {
                method.to_string()
            }
            _ => "other".to_owned(),
        };
        let labels = RequestLabels {
            route: self.paths.label(path).to_owned(),
            method,
            status: status.as_u16(),
        };
        self.app.metrics.requests.get_or_create(&labels).inc();
    }
}

impl<E: Endpoint + 'static> Endpoint for Front<E> {
    type Output = Response;

    async fn call(&self, request: Request) -> poem::Result<Response> {
        let refused = Head::of(&request).refusal(self.app.settings.http.max_header_bytes);
        if refused.is_none()
            && let Some(response) = self.hot.answer(&self.app, &request)
        {
            return Ok(response);
        }
        // It is large, and would be moved about with each request that does not need it.
        Ok(Box::pin(self.go_the_long_way(request, refused)).await)
    }
}
