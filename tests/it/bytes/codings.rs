//! Answers that are compressed, or said to be.

use std::io::Write as _;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::{DeflateEncoder, ZlibEncoder};
use serde_json::json;

use super::{TOKEN, gzip, refused, served, with};
use crate::kit::{Answer, Provider, Server, TestDatabase, on_every_database};

on_every_database! {
    a_compressed_answer_is_read_whatever_its_coding_is_called,
    a_compressed_answer_that_cannot_be_read_is_refused_by_name,
    what_a_status_says_counts_although_the_body_cannot_be_read,
    a_credential_that_a_provider_gives_as_a_name_is_not_shown,
}

/// `TOKEN` in Brotli, and three million blanks.
const BROTLI: &str = "ixOAeyJhY2Nlc3NfdG9rZW4iOiJ0b2siLCJleHBpcmVzX2luIjozNjAwfQM=";
const BROTLI_BOMB: &str = "m7/GLfglQOKxQCDPtwU=";

fn zlib(plain: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(plain).expect("memory takes it");
    encoder.finish().expect("memory takes it")
}

fn deflate(plain: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(plain).expect("memory takes it");
    encoder.finish().expect("memory takes it")
}

fn brotli(text: &str) -> Vec<u8> {
    STANDARD.decode(text).expect("it is base64")
}

async fn a_compressed_answer_is_read_whatever_its_coding_is_called(database: TestDatabase) {
    let server = Server::start(&database).await;
    let plain = TOKEN.as_bytes();
    for (name, coding, bytes) in [
        ("gzip", "gzip", gzip(plain)),
        ("x-gzip", "x-gzip", gzip(plain)),
        ("upper", "GZIP", gzip(plain)),
        ("list", "gzip, identity", gzip(plain)),
        ("twice", "gzip, gzip", gzip(&gzip(plain))),
        ("zlib", "deflate", zlib(plain)),
        ("raw", "Deflate", deflate(plain)),
        ("br", "br", brotli(BROTLI)),
        ("br-upper", "BR", brotli(BROTLI)),
        ("br-in-gzip", "br, gzip", gzip(&brotli(BROTLI))),
        ("identity", "identity", plain.to_vec()),
        ("a-proxy-has-undone-it", "gzip", plain.to_vec()),
        ("a-charset", "utf-8", plain.to_vec()),
    ] {
        let answer = with("application/json", bytes).with_header("content-encoding", coding);
        let served = served(&server.client, name, answer, json!({})).await;
        assert_eq!(served["token"], "tok", "{name}");
    }
    let provider = Provider::start().await;
    server.client.register(&provider.url("/token")).await;
    let accepted = provider.requests()[0].headers["accept-encoding"].clone();
    assert_eq!(accepted, "gzip, deflate, br");
}

async fn a_compressed_answer_that_cannot_be_read_is_refused_by_name(database: TestDatabase) {
    let server = Server::with_env(
        &database,
        &[("TOKEN_SERVER__UPSTREAM__MAX_ANSWER_BYTES", "10000")],
    )
    .await;
    let (plain, large) = (TOKEN.as_bytes(), vec![b' '; 3_000_000]);
    let cut = |bytes: Vec<u8>| bytes[..bytes.len() - 9].to_vec();
    let mut damaged = gzip(plain);
    damaged[20] ^= 0xff;
    for (name, coding, bytes, told) in [
        ("gzip-bomb", "gzip", gzip(&large), "answer_too_large"),
        ("zlib-bomb", "deflate", zlib(&large), "answer_too_large"),
        (
            "deflate-bomb",
            "DEFLATE",
            deflate(&large),
            "answer_too_large",
        ),
        ("br-bomb", "br", brotli(BROTLI_BOMB), "answer_too_large"),
        (
            "bomb-in-bomb",
            "gzip, gzip",
            gzip(&gzip(&large)),
            "answer_too_large",
        ),
        ("gzip-cut", "gzip", cut(gzip(plain)), "the answer broke off"),
        (
            "zlib-cut",
            "deflate",
            cut(zlib(plain)),
            "the answer broke off",
        ),
        (
            "br-cut",
            "br",
            cut(brotli(BROTLI)),
            "the answer cannot be decompressed",
        ),
        (
            "gzip-damaged",
            "x-gzip",
            damaged,
            "the answer cannot be decompressed",
        ),
        (
            "br-none",
            "br",
            plain.to_vec(),
            "the answer cannot be decompressed",
        ),
        (
            "zstd",
            "zstd",
            plain.to_vec(),
            "Content-Encoding, zstd, is not known",
        ),
        (
            "compress",
            "gzip, compress",
            gzip(plain),
            "Content-Encoding, compress, is not known",
        ),
    ] {
        let answer = with("application/json", bytes).with_header("content-encoding", coding);
        let (class, detail) = refused(&server.client, name, answer, json!({})).await;
        assert_eq!(class, "transient", "{name}");
        assert!(detail.contains(told), "{name}: {detail}");
    }
}

async fn what_a_status_says_counts_although_the_body_cannot_be_read(database: TestDatabase) {
    let server = Server::start(&database).await;
    for (name, header, value, told) in [
        ("charset", "content-type", "text/html", "neither UTF-8"),
        ("coding", "content-encoding", "zstd", "zstd"),
        ("cut", "content-encoding", "deflate", "broke off"),
    ] {
        let answer = Answer::status(429)
            .with_header("retry-after", "120")
            .with_header(header, value)
            .with_bytes(b"\xb5\xea".to_vec());
        // A condition is no reason to say that the document failed.
        let more = json!({"success": "(text|fromjson).ok"});
        let (class, detail) = refused(&server.client, name, answer, more).await;
        assert_eq!(class, "rate_limited", "{name}: {detail}");
        assert!(
            detail.contains("429") && detail.contains(told),
            "{name}: {detail}"
        );
    }
}

async fn a_credential_that_a_provider_gives_as_a_name_is_not_shown(database: TestDatabase) {
    let server = Server::start(&database).await;
    // The value of `key_2`.
    let secret = "the-secret";
    for (name, status, header, value) in [
        ("coding", 200, "content-encoding", secret.to_owned()),
        ("coding-400", 400, "content-encoding", secret.to_owned()),
        (
            "charset",
            200,
            "content-type",
            format!("a/b; charset={secret}"),
        ),
        (
            "charset-500",
            500,
            "content-type",
            format!("a/b; charset=\"{secret}\""),
        ),
    ] {
        let answer = Answer::status(status)
            .with_header(header, &value)
            .with_bytes(b"\xb5\xea".to_vec());
        let more = json!({"arguments": [{"name": "s", "place": "url", "value": "$key_2"}]});
        let (_, detail) = refused(&server.client, name, answer, more).await;
        assert!(detail.contains("***, is not known"), "{name}: {detail}");
    }
}
