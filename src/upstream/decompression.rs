//! Undoes the content codings of an answer (RFC 9110, section 8.4), within its size limit.

use std::io::{ErrorKind, Read};

use brotli_decompressor::Decompressor;
use encoding_rs::Encoding;
use flate2::bufread::GzDecoder;
use flate2::{Decompress, FlushDecompress, Status};
use reqwest::header::{CONTENT_ENCODING, HeaderMap};

use super::decoding::named;
use crate::realm::failure::Failure;

/// What is asked for.
pub(super) const ACCEPTED: &str = "gzip, deflate, br";

/// Codings within each other; curl undoes as many.
const CODINGS_MAX: usize = 5;
/// Parts of one gzip stream. Each costs some work, whatever it holds.
const MEMBERS_MAX: usize = 1000;
/// Read and written at a time.
const BLOCK_BYTES: usize = 8 * 1024;
/// How a gzip stream begins (RFC 1952, section 2.3.1).
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
/// What servers call a body that is not encoded: `identity`, and by mistake other names.
const PLAIN: [&str; 6] = ["", "identity", "none", "binary", "8bit", "7bit"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    Gzip,
    Deflate,
    Brotli,
}

impl Coding {
    fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
            Self::Brotli => "br",
        }
    }
}

/// Why a body is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    TooLarge,
    BrokeOff,
    Damaged,
}

/// The codings that headers name, in the order in which they were applied.
pub(super) fn codings(headers: &HeaderMap) -> Result<Vec<Coding>, Failure> {
    let mut codings = Vec::new();
    for value in headers.get_all(CONTENT_ENCODING) {
        let value = String::from_utf8_lossy(value.as_bytes());
        for name in value.split(',').map(str::trim) {
            let lower = name.to_ascii_lowercase();
            codings.push(match lower.as_str() {
                "gzip" | "x-gzip" => Coding::Gzip,
                "deflate" => Coding::Deflate,
                "br" => Coding::Brotli,
                // Some servers say here what belongs into charset.
                plain
                    if PLAIN.contains(&plain)
                        || Encoding::for_label(plain.as_bytes()).is_some() =>
                {
                    continue;
                }
                _ => {
                    let named = named(name);
                    return Err(Failure::transient(format!(
                        "the answer's Content-Encoding{named} is not known; known are {ACCEPTED}"
                    )));
                }
            });
        }
    }
    if codings.len() > CODINGS_MAX {
        return Err(Failure::transient(format!(
            "the answer is encoded more than {CODINGS_MAX} times"
        )));
    }
    Ok(codings)
}

/// What was encoded. No more than `max_bytes` are ever made of it.
pub(super) fn decompressed(
    body: Vec<u8>,
    codings: &[Coding],
    max_bytes: usize,
) -> Result<Vec<u8>, Failure> {
    codings.iter().rev().try_fold(body, |body, coding| {
        undone(*coding, body, max_bytes).map_err(|fault| match fault {
            Fault::TooLarge => too_large(max_bytes),
            Fault::BrokeOff => {
                let coding = coding.name();
                Failure::transient(format!("the answer broke off: its {coding} has no end"))
            }
            Fault::Damaged => {
                let coding = coding.name();
                Failure::transient(format!(
                    "the answer cannot be decompressed: its {coding} is damaged or cut off"
                ))
            }
        })
    })
}

pub(super) fn too_large(max_bytes: usize) -> Failure {
    Failure::transient(format!(
        "answer_too_large: the answer is larger than upstream.max_answer_bytes ({max_bytes})"
    ))
}

fn undone(coding: Coding, body: Vec<u8>, max_bytes: usize) -> Result<Vec<u8>, Fault> {
    match coding {
        // An answer without a body has the header, too.
        _ if body.is_empty() => Ok(body),
        // Some proxies decompress, and leave the header. No JSON, XML, form or text begins
        // so; of the other codings this cannot be told.
        Coding::Gzip if !body.starts_with(&GZIP_MAGIC) => Ok(body),
        Coding::Gzip => gunzipped(&body, max_bytes),
        Coding::Deflate => inflated(&body, max_bytes),
        Coding::Brotli if has_large_window(&body) => Err(Fault::Damaged),
        Coding::Brotli => {
            let mut stream = Decompressor::new(body.as_slice(), BLOCK_BYTES);
            let mut out = Vec::new();
            read_within(&mut stream, &mut out, max_bytes)?;
            Ok(out)
        }
    }
}

/// All members of a gzip stream (RFC 1952, section 2.2). NULs behind them only fill a block.
fn gunzipped(mut rest: &[u8], max_bytes: usize) -> Result<Vec<u8>, Fault> {
    let mut out = Vec::new();
    for _ in 0..MEMBERS_MAX {
        let mut member = GzDecoder::new(rest);
        read_within(&mut member, &mut out, max_bytes)?;
        rest = member.into_inner();
        if rest.iter().all(|byte| *byte == 0) {
            return Ok(out);
        }
    }
    Err(Fault::Damaged)
}

fn read_within(stream: &mut impl Read, out: &mut Vec<u8>, max_bytes: usize) -> Result<(), Fault> {
    let left = u64::try_from(max_bytes - out.len()).unwrap_or(u64::MAX);
    let read = stream.take(left.saturating_add(1)).read_to_end(out);
    if out.len() > max_bytes {
        return Err(Fault::TooLarge);
    }
    match read {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Err(Fault::BrokeOff),
        Err(_) => Err(Fault::Damaged),
    }
}

/// In the zlib format, as it should be, or bare, as some servers send it (RFC 9110, section
/// 8.4.1.2). The readers of the library take what is cut off for whole, so none is used.
fn inflated(body: &[u8], max_bytes: usize) -> Result<Vec<u8>, Fault> {
    let mut inflate = Decompress::new(has_zlib_header(body));
    let (mut rest, mut out) = (body, Vec::new());
    let mut block = [0; BLOCK_BYTES];
    loop {
        let (read, written) = (inflate.total_in(), inflate.total_out());
        let status = inflate
            .decompress(rest, &mut block, FlushDecompress::None)
            .map_err(|_| Fault::Damaged)?;
        let read = usize::try_from(inflate.total_in() - read).map_err(|_| Fault::Damaged)?;
        let written = usize::try_from(inflate.total_out() - written).map_err(|_| Fault::Damaged)?;
        rest = rest.get(read..).ok_or(Fault::Damaged)?;
        out.extend_from_slice(block.get(..written).ok_or(Fault::Damaged)?);
        if out.len() > max_bytes {
            return Err(Fault::TooLarge);
        }
        match status {
            Status::StreamEnd => return Ok(out),
            _ if read == 0 && written == 0 => return Err(Fault::BrokeOff),
            Status::Ok | Status::BufError => {}
        }
    }
}

/// RFC 1950, section 2.2.
fn has_zlib_header(body: &[u8]) -> bool {
    matches!(body, [method, flags, ..]
        if method & 0x0f == 8 && u16::from_be_bytes([*method, *flags]) % 31 == 0)
}

/// An extension of Brotli that the library reads, with windows up to 1 GiB. RFC 7932,
/// section 9.1, has none above 16 MiB, and these bits are not valid in it.
fn has_large_window(body: &[u8]) -> bool {
    body.first().is_some_and(|first| first & 0x7f == 0x11)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
    use proptest::prelude::*;

    use super::*;

    const MAX: usize = 10_000;
    const PLAIN_TEXT: &[u8] = br#"{"access_token":"compressed","expires_in":7200}"#;
    /// The same in Brotli, and three million blanks.
    const BROTLI: &str = "CxeAeyJhY2Nlc3NfdG9rZW4iOiJjb21wcmVzc2VkIiwiZXhwaXJlc19pbiI6NzIwMH0D";
    /// The text in the extension, with a window of 1 GiB.
    const LARGE_WINDOW: &str =
        "ER5cAAJ7ImFjY2Vzc190b2tlbiI6ImNvbXByZXNzZWQiLCJleHBpcmVzX2luIjo3MjAwfQM=";
    const BROTLI_BOMB: &str = "m7/GLfglQOKxQCDPtwU=";

    fn gzip(plain: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    fn zlib(plain: &[u8]) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    fn deflate(plain: &[u8]) -> Vec<u8> {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    fn brotli(text: &str) -> Vec<u8> {
        STANDARD.decode(text).unwrap()
    }

    /// Reads a body by the values of its headers Content-Encoding.
    fn read(names: &[&str], body: Vec<u8>) -> Result<Vec<u8>, String> {
        let mut headers = HeaderMap::new();
        for name in names {
            headers.append(CONTENT_ENCODING, name.parse().unwrap());
        }
        codings(&headers)
            .and_then(|codings| decompressed(body, &codings, MAX))
            .map_err(|failure| failure.detail)
    }

    #[test]
    fn what_was_compressed_is_read_whatever_the_coding_is_called() {
        let gzipped = gzip(PLAIN_TEXT);
        let stored = {
            let mut encoder = DeflateEncoder::new(Vec::new(), Compression::none());
            encoder.write_all(PLAIN_TEXT).unwrap();
            encoder.finish().unwrap()
        };
        let members = [gzip(&PLAIN_TEXT[..9]), gzip(&PLAIN_TEXT[9..]), vec![0; 7]].concat();
        for (names, body) in [
            (&["gzip"][..], gzipped.clone()),
            (&["GZIP"], gzipped.clone()),
            (&["x-gzip"], gzipped.clone()),
            (&[" X-GZip "], gzipped.clone()),
            (&["gzip, identity"], gzipped.clone()),
            (&["identity", "gzip"], gzipped.clone()),
            (&["gzip, gzip"], gzip(&gzipped)),
            // Both the server and a proxy name the one coding.
            (&["gzip", "gzip"], gzipped.clone()),
            (&["gzip"], members),
            (&["gzip"], PLAIN_TEXT.to_vec()),
            (&["deflate"], zlib(PLAIN_TEXT)),
            (&["Deflate"], deflate(PLAIN_TEXT)),
            (&["deflate"], stored),
            (&["deflate, gzip"], gzip(&zlib(PLAIN_TEXT))),
            (&["br"], brotli(BROTLI)),
            (&["BR"], brotli(BROTLI)),
            (&["br, gzip"], gzip(&brotli(BROTLI))),
            (&["identity"], PLAIN_TEXT.to_vec()),
            (&["none"], PLAIN_TEXT.to_vec()),
            (&["", " , "], PLAIN_TEXT.to_vec()),
            (&["UTF-8"], PLAIN_TEXT.to_vec()),
            (&["8bit"], PLAIN_TEXT.to_vec()),
        ] {
            let got = read(names, body);
            assert_eq!(got.as_deref(), Ok(PLAIN_TEXT), "{names:?}");
        }
        for name in ["gzip", "deflate", "br"] {
            assert_eq!(read(&[name], Vec::new()), Ok(Vec::new()), "{name}");
        }
    }

    #[test]
    fn a_coding_that_is_not_known_is_named() {
        for name in ["zstd", "compress", "gzip, Zstd", "dcb", "gz"] {
            let refused = read(&[name], PLAIN_TEXT.to_vec()).unwrap_err();
            let last = name.split(", ").last().unwrap();
            assert!(
                refused.contains(&format!(", {last}, is not known")),
                "{refused}"
            );
        }
        let refused = read(&["gzip,".repeat(6).as_str()], gzip(b"x")).unwrap_err();
        assert!(refused.contains("more than 5 times"), "{refused}");
    }

    #[test]
    fn a_stream_that_grows_beyond_the_limit_is_left_there() {
        let large = vec![b' '; 3_000_000];
        for (name, body) in [
            ("gzip", gzip(&large)),
            ("deflate", zlib(&large)),
            ("deflate", deflate(&large)),
            ("br", brotli(BROTLI_BOMB)),
            ("gzip, gzip", gzip(&gzip(&large))),
            ("deflate, br", brotli(BROTLI_BOMB)),
            ("gzip", [gzip(&large[..MAX]), gzip(b"x")].concat()),
        ] {
            let refused = read(&[name], body).unwrap_err();
            assert!(refused.starts_with("answer_too_large"), "{name}: {refused}");
        }
        let fits = &large[..MAX];
        assert_eq!(read(&["gzip"], gzip(fits)).as_deref(), Ok(fits));
        assert_eq!(read(&["deflate"], deflate(fits)).as_deref(), Ok(fits));
    }

    #[test]
    fn what_is_cut_off_or_damaged_is_never_taken_for_whole() {
        for (name, whole) in [
            ("gzip", gzip(PLAIN_TEXT)),
            ("deflate", zlib(PLAIN_TEXT)),
            ("deflate", deflate(PLAIN_TEXT)),
            ("br", brotli(BROTLI)),
        ] {
            for length in 2..whole.len() {
                let refused = read(&[name], whole[..length].to_vec());
                assert!(refused.is_err(), "{name}: {length} of {}", whole.len());
            }
        }
        assert!(read(&["br"], brotli(LARGE_WINDOW)).is_err());
        let mut damaged = gzip(PLAIN_TEXT);
        let end = damaged.len() - 1;
        damaged[end - 5] ^= 1;
        let refused = read(&["gzip"], damaged).unwrap_err();
        assert!(refused.contains("cannot be decompressed"), "{refused}");
        let behind = [gzip(PLAIN_TEXT), b"more".to_vec()].concat();
        assert!(read(&["gzip"], behind).is_err());
        let refused = read(&["gzip"], gzip(PLAIN_TEXT)[..20].to_vec()).unwrap_err();
        assert!(refused.contains("broke off"), "{refused}");
    }

    proptest! {
        #[test]
        fn nothing_exceeds_the_limit(
            noise in prop::collection::vec(any::<u8>(), 0..600),
            start in 0_usize..5,
            name in prop::sample::select(vec!["gzip", "deflate", "br", "br, gzip", "deflate,gzip,br"]),
        ) {
            let beginnings: [&[u8]; 5] =
                [b"", &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3], &[0x78, 0x9c], &[0x9b], &[0x91, 0x1f]];
            let body = [beginnings[start], &noise].concat();
            if let Ok(read) = read(&[name], body) {
                prop_assert!(read.len() <= MAX);
            }
        }
    }
}
