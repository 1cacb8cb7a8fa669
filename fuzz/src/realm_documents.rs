//! The realm document: read, and if it is good, used to read some answers.

use reqwest::StatusCode;
use reqwest::header::{HeaderMap, HeaderValue};
use serde_json::Value;
use token_server::realm::document::{ProviderDocument, ResponseFormat, Way};
use token_server::upstream::HttpAnswer;

use super::{EXPRESSIONS, held, params};

const JSON: [&str; 3] = [
    r#"{"access_token":"a.b.c","token":"t","expires_in":7200,"expires_at":"2026-01-02T04:04:05Z","refresh_token":"r","data":{"token":"t","list":[{"id":1},{"id":2}]},"scope":"a b"}"#,
    r#"{"errcode":40001,"errmsg":"invalid credential","error":{"code":401,"message":"no"},"error_description":"d"}"#,
    r#"[1,"two",null,[[]],{"a":{"b":{"c":true}}}]"#,
];
const XML: &str =
    r#"<xml until="1"><token>t</token><expires_in>60</expires_in><i>1</i><i>2</i></xml>"#;

/// Reads an input as a document.
pub fn fuzz(input: &[u8]) {
    let Ok(json) = serde_json::from_slice::<Value>(input) else {
        return;
    };
    // A whole preset will do, too.
    let config = json.get("config").unwrap_or(&json);
    let document = match ProviderDocument::read(config, &EXPRESSIONS) {
        Ok(document) => document,
        Err(faults) => return held::faults(config, &faults),
    };
    let params = params(&document);
    let format = match &document.way {
        Way::Asked { main, .. } => main.format,
        Way::Minted => ResponseFormat::Json,
    };
    let bodies: &[&str] = match format {
        ResponseFormat::Json => &JSON,
        ResponseFormat::Xml => &[XML],
        ResponseFormat::Form => &["access_token=t&expires_in=60&a=1&a=%E5", "error=e+f"],
        ResponseFormat::Text => &["token=t&expires_in=60", "no token\nfor you"],
    };
    for body in bodies {
        let mut headers = HeaderMap::new();
        headers.append("x-token", HeaderValue::from_static("t"));
        headers.append("set-cookie", HeaderValue::from_static("session=s; Path=/"));
        held::read(
            &document,
            &params,
            &HttpAnswer {
                status: StatusCode::OK,
                headers,
                body: Ok(body.as_bytes().to_vec()),
            },
        );
    }
}
