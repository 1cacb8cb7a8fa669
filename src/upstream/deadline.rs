//! A request's body that is not sent once time is up. Connecting may have taken long, the
//! process may have stood still, or its machine may have been paused: by then another replica may
//! be sending the same.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::foundation::clock::{Deadline, SharedClock};

/// Why a request was not sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct TimeIsUp;

impl fmt::Display for TimeIsUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("time was up before the request could be sent")
    }
}

impl std::error::Error for TimeIsUp {}

/// The server works on nothing whose body has not come.
pub(super) struct TimelyBody {
    /// None once it was taken.
    bytes: Option<Bytes>,
    clock: SharedClock,
    deadline: Deadline,
}

impl TimelyBody {
    /// An empty body is no hindrance to a late request, so there must be one.
    pub fn new(bytes: Vec<u8>, clock: SharedClock, deadline: Deadline) -> Option<Self> {
        (!bytes.is_empty()).then(|| Self {
            bytes: Some(bytes.into()),
            clock,
            deadline,
        })
    }
}

impl Body for TimelyBody {
    type Data = Bytes;
    type Error = TimeIsUp;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, TimeIsUp>>> {
        let Some(bytes) = self.bytes.take() else {
            return Poll::Ready(None);
        };
        if self.deadline.is_over(self.clock.machine()) {
            return Poll::Ready(Some(Err(TimeIsUp)));
        }
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};
    use std::sync::Arc;
    use std::time::Duration;

    use reqwest::Method;
    use reqwest::header::HeaderMap;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use url::Url;

    use super::super::UpstreamSettings;
    use super::super::client::{Client, Request};
    use super::super::egress::{Egress, Lookup, Resolver};
    use super::super::proxy::Proxies;
    use crate::foundation::clock::{EpochMs, ManualClock, Ms};
    use crate::realm::document::ProxyChoice;
    use crate::realm::failure::Failure;

    /// What happens to the clocks while a name is looked up.
    #[derive(Clone, Copy, Debug)]
    struct Meanwhile {
        boot: Ms,
        wall: Ms,
    }

    /// A resolver that takes its time.
    #[derive(Debug)]
    struct SlowNames {
        clock: Arc<ManualClock>,
        takes: Meanwhile,
    }

    impl Resolver for SlowNames {
        fn look_up(&self, _: String) -> Lookup {
            let Meanwhile { boot, wall } = self.takes;
            self.clock.advance(boot);
            self.clock.step_wall(Ms(wall.0 - boot.0));
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
            Box::pin(async move { Ok(vec![address]) })
        }
    }

    /// Sends within a second by the clocks, of which looking up the name takes so much;
    /// answers what the server received.
    async fn sent(boot: Ms, wall: Ms) -> (Result<u16, Failure>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut received = Vec::new();
            // To the end of the body, or of the connection.
            while !received.ends_with(b"spent") && stream.read_buf(&mut received).await.unwrap() > 0
            {
            }
            let _ = stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
                .await;
            String::from_utf8(received).unwrap()
        });
        let clock = Arc::new(ManualClock::at(EpochMs(0)));
        let settings = UpstreamSettings {
            egress: Egress::new(["127.0.0.0/8".parse().unwrap()]),
            proxies: Proxies::default(),
            names: Arc::new(SlowNames {
                clock: clock.clone(),
                takes: Meanwhile { boot, wall },
            }),
            authorities: Vec::new(),
            timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(30),
            late_answer: Duration::ZERO,
            max_answer_bytes: 1000,
        };
        let client = Client::new(&settings, clock).unwrap();
        let request = Request {
            method: Method::POST,
            url: Url::parse(&format!("http://provider.test:{port}/token")).unwrap(),
            headers: HeaderMap::new(),
            body: Some(b"refresh_token=spent".to_vec()),
            tls: None,
            proxy: ProxyChoice::Direct,
        };
        let answer = client.send(request, client.time_limit(Ms(1000))).await;
        drop(client);
        let answer = answer.map(|answer| answer.status.as_u16());
        (answer, server.await.unwrap())
    }

    #[tokio::test]
    async fn a_request_is_not_sent_where_connecting_has_taken_all_its_time_by_either_clock() {
        for (boot, wall) in [(999, 999), (999, 0), (0, 999), (999, -3_600_000)] {
            let (answer, received) = sent(Ms(boot), Ms(wall)).await;
            assert_eq!(answer, Ok(200), "{boot} and {wall} ms");
            assert!(
                received.to_lowercase().contains("content-length: 19"),
                "{received}"
            );
            assert!(received.ends_with("\r\n\r\nrefresh_token=spent"));
        }
        for (boot, wall) in [(1000, 1000), (1000, 0), (0, 1000), (1000, -3_600_000)] {
            let (answer, received) = sent(Ms(boot), Ms(wall)).await;
            assert!(!answer.unwrap_err().sent, "{boot} and {wall} ms");
            assert!(!received.contains("refresh_token"), "{received}");
        }
    }
}
