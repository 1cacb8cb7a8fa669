//! Answers that go on: server-sent events, as HTML describes them (section 9.2).

use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use poem::{Body, IntoResponse, Response};
use poem_openapi::ApiResponse;
use poem_openapi::registry::{
    MetaMediaType, MetaResponse, MetaResponses, MetaSchema, MetaSchemaRef, Registry,
};

use crate::config::HttpSettings;
use crate::foundation::open_streams::OpenStream;

pub const MEDIA_TYPE: &str = "text/event-stream";

/// A comment is sent as often: proxies end what is silent, and whoever has gone is noticed.
const COMMENT_EVERY: Duration = Duration::from_secs(15);

/// How often a comment is sent, so that the server itself does not take the connection for idle.
pub fn comment_every(http: &HttpSettings) -> Duration {
    COMMENT_EVERY.min(http.idle_timeout.as_duration() / 2)
}

/// What is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sent {
    /// Nobody reads it.
    Comment,
    Event {
        name: &'static str,
        /// JSON, in one line.
        data: String,
    },
}

impl Sent {
    fn into_bytes(self) -> Bytes {
        match self {
            Self::Comment => Bytes::from_static(b":\n\n"),
            Self::Event { name, data } => format!("event: {name}\ndata: {data}\n\n").into(),
        }
    }
}

/// The answer.
pub struct EventStream(Body);

impl EventStream {
    /// Sends what comes, until nothing comes any more or the server stops.
    pub fn new(events: impl Stream<Item = Sent> + Send + 'static, open: OpenStream) -> Self {
        let bytes = events.take_until(open.closing()).map(move |sent| {
            // It is open as long as this is there.
            let _open = &open;
            Ok::<_, io::Error>(sent.into_bytes())
        });
        Self(Body::from_bytes_stream(bytes))
    }
}

impl IntoResponse for EventStream {
    fn into_response(self) -> Response {
        Response::builder()
            .content_type(MEDIA_TYPE)
            // nginx would keep events until it has enough of them.
            .header("X-Accel-Buffering", "no")
            .body(self.0)
    }
}

impl ApiResponse for EventStream {
    fn meta() -> MetaResponses {
        MetaResponses {
            responses: vec![MetaResponse {
                description: "",
                status: Some(200),
                status_range: None,
                content: vec![MetaMediaType {
                    content_type: MEDIA_TYPE,
                    schema: MetaSchemaRef::Inline(Box::new(MetaSchema::new("string"))),
                }],
                headers: Vec::new(),
            }],
        }
    }

    fn register(_: &mut Registry) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_has_its_name_and_its_data_and_ends_with_an_empty_line() {
        let sent = |sent: Sent| String::from_utf8(sent.into_bytes().to_vec()).unwrap();
        let event = Sent::Event {
            name: "token",
            data: "{\"generation\":1}".to_owned(),
        };
        assert_eq!(sent(event), "event: token\ndata: {\"generation\":1}\n\n");
        assert_eq!(sent(Sent::Comment), ":\n\n");
    }
}
