//! HTTP/2 in the clear, for callers that begin with it: the limits are those of HTTP/1.1, and
//! streams and resets are bounded.

use super::*;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Kinds of frames (RFC 9113, section 6).
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;
/// Section 5.1.2.
const REFUSED_STREAM: u8 = 7;
const MAX_CONCURRENT_STREAMS: u8 = 3;
/// The text of a status, in three bytes (RFC 7541, section 5.2).
const HUFFMAN_431: [u8; 4] = [0x83, 0x69, 0x90, 0xff];
const MAX_STREAMS: &str = "TOKEN_SERVER__HTTP__MAX_STREAMS";

#[derive(Debug)]
struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

impl Frame {
    fn bytes(&self) -> Vec<u8> {
        let length = u32::try_from(self.payload.len()).expect("a short one");
        let mut bytes = length.to_be_bytes()[1..].to_vec();
        bytes.extend([self.kind, self.flags]);
        bytes.extend(self.stream.to_be_bytes());
        bytes.extend(&self.payload);
        bytes
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Frame {
    Frame {
        kind,
        flags,
        stream,
        payload: payload.to_vec(),
    }
}

/// A literal of HPACK (RFC 7541, section 6.2.2), whose name is in the table under 15.
fn literal(index: u8, value: &str) -> Vec<u8> {
    let mut bytes = vec![index, u8::try_from(value.len()).expect("a short one")];
    assert!(value.len() < 127);
    bytes.extend(value.as_bytes());
    bytes
}

/// A whole head: GET, http, a path, a host, the administrator's key.
fn head(path: &str) -> Vec<u8> {
    let mut block = vec![0x82, 0x86];
    block.extend(literal(4, path));
    block.extend(literal(1, "test"));
    let key = format!("Bearer {ADMIN_KEY}");
    // Index 23, in two bytes.
    block.push(0x0f);
    block.extend(literal(8, &key));
    block
}

fn get(stream: u32, path: &str) -> Frame {
    frame(HEADERS, END_HEADERS | END_STREAM, stream, &head(path))
}

/// A caller that speaks HTTP/2 from the first byte.
struct Caller(TcpStream);

impl Caller {
    async fn connect(server: &Server) -> Self {
        let mut caller = Self(connect(server).await);
        caller.write(PREFACE).await;
        caller.send(&frame(SETTINGS, 0, 0, &[])).await;
        caller
    }

    async fn write(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.expect("it is sent");
    }

    async fn send(&mut self, frame: &Frame) {
        self.write(&frame.bytes()).await;
    }

    /// The next frame; none where the connection has ended.
    async fn frame(&mut self) -> Option<Frame> {
        let read = async {
            let mut header = [0; 9];
            self.0.read_exact(&mut header).await.ok()?;
            let [high, middle, low, kind, flags, stream @ ..] = header;
            let length = u32::from_be_bytes([0, high, middle, low]);
            let mut payload = vec![0; usize::try_from(length).expect("a short one")];
            self.0.read_exact(&mut payload).await.ok()?;
            Some(Frame {
                kind,
                flags,
                stream: u32::from_be_bytes(stream),
                payload,
            })
        };
        timeout(PATIENCE, read).await.expect("it answers or ends")
    }

    async fn next(&mut self, wanted: impl Fn(&Frame) -> bool) -> Frame {
        loop {
            let frame = self.frame().await.expect("it goes on");
            if wanted(&frame) {
                return frame;
            }
        }
    }

    async fn is_answered(&mut self, stream: u32) {
        self.are_answered(&[stream]).await;
    }

    /// Waits for the answers on streams, in whatever order they come: whether each is 200, by the
    /// first byte of its head.
    async fn are_answered(&mut self, streams: &[u32]) {
        let mut left = streams.to_vec();
        while !left.is_empty() {
            let answer = self
                .next(|frame| left.contains(&frame.stream) && frame.kind == HEADERS)
                .await;
            // Index 8 is `:status: 200`; a change of the table's size may come before.
            let status = answer.payload.iter().find(|byte| **byte & 0xe0 != 0x20);
            assert_eq!(status, Some(&0x88), "{answer:?}");
            left.retain(|stream| *stream != answer.stream);
        }
    }

    /// Waits until what was sent so far has been read; false where the connection has ended.
    async fn is_read(&mut self) -> bool {
        let ping = frame(PING, 0, 0, b"12345678").bytes();
        if self.0.write_all(&ping).await.is_err() {
            return false;
        }
        while let Some(frame) = self.frame().await {
            if frame.kind == PING && frame.flags == ACK {
                return true;
            }
            if frame.kind == GOAWAY {
                return false;
            }
        }
        false
    }

    async fn until_closed(&mut self) {
        while self.frame().await.is_some() {}
    }
}

const TOKEN: &str = "/api/token?realm=r&key=k";

#[tokio::test]
async fn a_connection_says_how_many_streams_it_takes() {
    for (configured, expected) in [(None, 100), (Some(7), 7)] {
        let (_database, server) = match configured {
            None => server_with(IDLE, 60).await,
            Some(streams) => server_with(MAX_STREAMS, streams).await,
        };
        let mut caller = Caller::connect(&server).await;
        let settings = caller.next(|frame| frame.kind == SETTINGS).await;
        let streams = settings.payload.chunks(6).find_map(|setting| {
            let [0, MAX_CONCURRENT_STREAMS, value @ ..] = setting else {
                return None;
            };
            Some(u32::from_be_bytes(value.try_into().expect("four bytes")))
        });
        assert_eq!(streams, Some(expected));
    }
}

#[tokio::test]
async fn a_stream_too_many_is_refused_and_the_others_are_answered() {
    let (_database, server) = server_with(MAX_STREAMS, 2).await;
    let provider = held(&server).await;
    let mut caller = Caller::connect(&server).await;
    assert!(caller.is_read().await);
    // From here on the server's limit is known.
    caller.send(&frame(SETTINGS, ACK, 0, &[])).await;
    for stream in [1, 3, 5] {
        caller.send(&get(stream, TOKEN)).await;
    }
    let refused = caller.next(|frame| frame.kind == RST_STREAM).await;
    assert_eq!((refused.stream, refused.payload[3]), (5, REFUSED_STREAM));
    provider.release();
    caller.are_answered(&[1, 3]).await;
}

#[tokio::test]
async fn half_of_what_http2_begins_with_is_not_waited_for() {
    let (_database, server) = server(HEADER).await;
    let settings = frame(SETTINGS, 0, 0, &[]).bytes();
    let whole = [PREFACE, &settings].concat();
    for sent in [&PREFACE[..1], &PREFACE[..23], PREFACE, &whole] {
        let begun = SystemClock.boot();
        let mut caller = Caller(connect(&server).await);
        caller.write(sent).await;
        caller.until_closed().await;
        assert!(since(begun) >= LIMIT, "{} bytes", sent.len());
    }
    assert_eq!(closed(&server, "header_timeout"), 4);
}

#[tokio::test]
async fn a_head_that_trickles_in_frames_is_not_waited_for() {
    let (_database, server) = server(HEADER).await;
    let block = head("/healthz");
    let begins = frame(HEADERS, END_STREAM, 3, &block[..1]).bytes();
    let goes_on = frame(CONTINUATION, 0, 3, &block[1..2]).bytes();
    let whole = get(3, "/healthz").bytes();
    for rest in [
        // Within a frame's header, within a frame, between two frames.
        whole[..5].to_vec(),
        whole[..15].to_vec(),
        [begins, goes_on].concat(),
    ] {
        let mut caller = Caller::connect(&server).await;
        caller.send(&get(1, "/healthz")).await;
        caller.is_answered(1).await;
        let begun = SystemClock.boot();
        caller.write(&rest).await;
        caller.until_closed().await;
        assert!(since(begun) >= LIMIT);
    }
    assert_eq!(closed(&server, "header_timeout"), 3);
}

#[tokio::test]
async fn frames_that_belong_to_no_request_are_no_half_a_head() {
    let (_database, server) = server(HEADER).await;
    let mut caller = Caller::connect(&server).await;
    caller.send(&get(1, "/healthz")).await;
    caller.is_answered(1).await;
    caller.send(&frame(SETTINGS, ACK, 0, &[])).await;
    caller
        .send(&frame(WINDOW_UPDATE, 0, 0, &[0, 0, 1, 0]))
        .await;
    past(SystemClock.boot(), Ms(2 * LIMIT.0)).await;
    caller.send(&get(3, "/healthz")).await;
    caller.is_answered(3).await;
}

#[tokio::test]
async fn a_request_may_take_longer_than_its_head() {
    let (_database, server) = server(HEADER).await;
    let provider = held(&server).await;
    let mut caller = Caller::connect(&server).await;
    caller.send(&get(1, TOKEN)).await;
    past(SystemClock.boot(), Ms(2 * LIMIT.0)).await;
    // Another answer in between, on the same connection.
    caller.send(&get(3, "/healthz")).await;
    caller.is_answered(3).await;
    past(SystemClock.boot(), Ms(2 * LIMIT.0)).await;
    provider.release();
    caller.is_answered(1).await;
}

#[tokio::test]
async fn who_takes_back_one_request_after_another_is_disconnected() {
    let (_database, server) = server_with(IDLE, 60).await;
    let provider = held(&server).await;
    let mut caller = Caller::connect(&server).await;
    let mut sent = 0;
    for number in 0..1000 {
        let stream = 2 * number + 1;
        let asked = get(stream, TOKEN).bytes();
        if caller.0.write_all(&asked).await.is_err() || !caller.is_read().await {
            break;
        }
        sent += 1;
        let reset = frame(RST_STREAM, 0, stream, &[0, 0, 0, 8]).bytes();
        if caller.0.write_all(&reset).await.is_err() {
            break;
        }
    }
    assert!((100..200).contains(&sent), "{sent}");
    assert_eq!(closed(&server, "resets"), 1);
    provider.release();
}

#[tokio::test]
async fn who_takes_back_a_request_now_and_then_stays() {
    let (_database, server) = server_with(IDLE, 60).await;
    let provider = held(&server).await;
    let mut caller = Caller::connect(&server).await;
    for number in 0..300 {
        let stream = 4 * number + 1;
        caller.send(&get(stream, TOKEN)).await;
        assert!(caller.is_read().await);
        caller
            .send(&frame(RST_STREAM, 0, stream, &[0, 0, 0, 8]))
            .await;
        caller.send(&get(stream + 2, "/healthz")).await;
        caller.is_answered(stream + 2).await;
    }
    provider.release();
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused_in_frames_too() {
    let (_database, server) = server_with("TOKEN_SERVER__HTTP__MAX_HEADER_BYTES", 8000).await;
    // The last is so large that the library refuses it; a frame holds no more.
    for (fields, refused) in [(50, false), (80, true), (150, true)] {
        let mut caller = Caller::connect(&server).await;
        let mut block = head("/healthz");
        for _ in 0..fields {
            block.extend([0, 1, b'x']);
            block.push(100);
            block.extend([b'y'; 100]);
        }
        let asked = frame(HEADERS, END_HEADERS | END_STREAM, 1, &block);
        caller.send(&asked).await;
        if refused {
            let answer = caller
                .next(|frame| frame.stream == 1 && frame.kind == HEADERS)
                .await;
            let status = answer
                .payload
                .windows(4)
                .position(|four| four == HUFFMAN_431);
            assert_eq!(status, Some(1), "{answer:?}");
        } else {
            caller.is_answered(1).await;
        }
        // The connection goes on.
        caller.send(&get(3, "/healthz")).await;
        caller.is_answered(3).await;
    }
}
