//! Pushes as WeChat Open Platform, WeCom and Feishu send them: signed and encrypted as
//! documented, by code of its own. The unit tests of the room `ticket` include this file.

use std::fmt::Write;

use aes::Aes256;
use aes::cipher::block_padding::NoPadding;
use aes::cipher::{BlockModeEncrypt, KeyIvInit};
use base64::Engine;
use base64::alphabet;
use base64::engine::general_purpose::STANDARD;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};
use serde_json::{Value, json};
use sha1::Sha1;
use sha2::{Digest, Sha256};

const NONCE: &str = "1372623149";
const RANDOM: &[u8; 16] = b"0123456789abcdef";

/// An app as its provider knows it.
#[derive(Clone)]
pub struct PushingApp {
    pub app_id: String,
    pub token: String,
    /// EncodingAESKey, or Encrypt Key of Feishu, which an app need not have.
    pub aes_key: Option<String>,
}

/// A request to be sent. Without a body it is a GET.
#[derive(Clone)]
pub struct PushRequest {
    pub query: Vec<(String, String)>,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
}

impl PushRequest {
    pub fn url(&self, base: &str) -> url::Url {
        url::Url::parse_with_params(base, &self.query).expect("the test's URL is good")
    }
}

impl PushingApp {
    pub fn new(app_id: &str, token: &str, aes_key: Option<&str>) -> Self {
        Self {
            app_id: app_id.to_owned(),
            token: token.to_owned(),
            aes_key: aes_key.map(str::to_owned),
        }
    }

    pub fn wechat_ticket(&self, ticket: &str, at_s: i64) -> PushRequest {
        let rest = format!("<ComponentVerifyTicket>{ticket}</ComponentVerifyTicket>");
        self.wechat_event("component_verify_ticket", &rest, at_s)
    }

    pub fn wechat_event(&self, info_type: &str, rest: &str, at_s: i64) -> PushRequest {
        let app_id = &self.app_id;
        let message = format!(
            "<xml><AppId>{app_id}</AppId><CreateTime>{at_s}</CreateTime>\
             <InfoType>{info_type}</InfoType>{rest}</xml>"
        );
        self.xml("AppId", &message, app_id, at_s)
    }

    /// As official accounts have it: not encrypted.
    pub fn wechat_url_check(&self, echo: &str, at_s: i64) -> PushRequest {
        let timestamp = at_s.to_string();
        let signature = sorted_sha1(&mut [&self.token, &timestamp, NONCE]);
        request(&[
            ("signature", &signature),
            ("timestamp", &timestamp),
            ("nonce", NONCE),
            ("echostr", echo),
        ])
    }

    pub fn wecom_ticket(&self, ticket: &str, at_s: i64) -> PushRequest {
        let rest = format!("<SuiteTicket><![CDATA[{ticket}]]></SuiteTicket>");
        self.wecom_event("suite_ticket", &rest, at_s)
    }

    pub fn wecom_event(&self, info_type: &str, rest: &str, at_s: i64) -> PushRequest {
        let app_id = &self.app_id;
        // The blank is the provider's.
        let message = format!(
            "<xml><SuiteId><![CDATA[{app_id}]]></SuiteId>\n\
             <InfoType> <![CDATA[{info_type}]]></InfoType>\n\
             <TimeStamp>{at_s}</TimeStamp>\n{rest}\n</xml>"
        );
        self.xml("ToUserName", &message, app_id, at_s)
    }

    pub fn wecom_url_check(&self, corp_id: &str, echo: &str, at_s: i64) -> PushRequest {
        let encrypted = self.encrypt_frame(echo.as_bytes(), corp_id);
        let mut check = self.signed(&encrypted, at_s);
        check.query.push(("echostr".to_owned(), encrypted));
        check
    }

    /// Any message of WeChat or WeCom.
    pub fn xml(&self, claim: &str, message: &str, receive_id: &str, at_s: i64) -> PushRequest {
        let app_id = &self.app_id;
        let encrypted = self.encrypt_frame(message.as_bytes(), receive_id);
        let body = format!(
            "<xml><{claim}><![CDATA[{app_id}]]></{claim}>\
             <Encrypt><![CDATA[{encrypted}]]></Encrypt></xml>"
        );
        PushRequest {
            body: body.into_bytes(),
            ..self.signed(&encrypted, at_s)
        }
    }

    pub fn feishu_ticket(&self, ticket: &str, at_s: i64) -> PushRequest {
        let event = json!({
            "ts": format!("{at_s}.7171419"),
            "uuid": "bc447199585340d1f3728d26b1c0297a",
            "token": self.token,
            "type": "event_callback",
            "event": { "app_id": self.app_id, "app_ticket": ticket, "type": "app_ticket" },
        });
        self.feishu_event(&event, at_s)
    }

    pub fn feishu_url_check(&self, challenge: &str) -> PushRequest {
        let event = json!({
            "challenge": challenge,
            "token": self.token,
            "type": "url_verification",
        });
        let mut check = self.feishu_event(&event, 0);
        check.headers.clear();
        check
    }

    /// Any event of Feishu; encrypted and signed where the app has a key.
    pub fn feishu_event(&self, event: &Value, at_s: i64) -> PushRequest {
        let mut push = request(&[]);
        let Some(key) = &self.aes_key else {
            push.body = event.to_string().into_bytes();
            return push;
        };
        let digest: [u8; 32] = Sha256::digest(key).into();
        let mut encrypted = RANDOM.to_vec();
        encrypted.extend(encrypt(&digest, RANDOM, event.to_string().into_bytes(), 16));
        push.body = json!({ "encrypt": STANDARD.encode(encrypted) })
            .to_string()
            .into_bytes();
        let signature = Sha256::new()
            .chain_update(at_s.to_string())
            .chain_update(NONCE)
            .chain_update(key)
            .chain_update(&push.body)
            .finalize();
        push.headers = vec![
            ("x-lark-request-timestamp", at_s.to_string()),
            ("x-lark-request-nonce", NONCE.to_owned()),
            ("x-lark-signature", hex(&signature)),
        ];
        push
    }

    fn signed(&self, encrypted: &str, at_s: i64) -> PushRequest {
        let timestamp = at_s.to_string();
        let signature = sorted_sha1(&mut [&self.token, &timestamp, NONCE]);
        let msg_signature = sorted_sha1(&mut [&self.token, &timestamp, NONCE, encrypted]);
        request(&[
            ("signature", &signature),
            ("timestamp", &timestamp),
            ("nonce", NONCE),
            ("encrypt_type", "aes"),
            ("msg_signature", &msg_signature),
        ])
    }

    fn encrypt_frame(&self, message: &[u8], receive_id: &str) -> String {
        let config = GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true);
        let key = GeneralPurpose::new(&alphabet::STANDARD, config)
            .decode(format!("{}=", self.aes_key.as_deref().unwrap_or_default()))
            .expect("an EncodingAESKey is Base64");
        let key: [u8; 32] = key.try_into().expect("an EncodingAESKey has 43 characters");
        let length = u32::try_from(message.len()).expect("the test's message is short");
        let length = length.to_be_bytes();
        let frame = [RANDOM, &length[..], message, receive_id.as_bytes()];
        let (iv, _) = key
            .split_first_chunk()
            .expect("a key is longer than a block");
        STANDARD.encode(encrypt(&key, iv, frame.concat(), 32))
    }
}

fn request(query: &[(&str, &str)]) -> PushRequest {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    PushRequest {
        query: query.iter().map(owned).collect(),
        headers: Vec::new(),
        body: Vec::new(),
    }
}

/// PKCS#7 to a multiple of `padded_to`.
fn encrypt(key: &[u8; 32], iv: &[u8; 16], mut plain: Vec<u8>, padded_to: usize) -> Vec<u8> {
    let padding = padded_to - plain.len() % padded_to;
    let byte = u8::try_from(padding).expect("paddings are short");
    plain.resize(plain.len() + padding, byte);
    let length = plain.len();
    cbc::Encryptor::<Aes256>::new(key.into(), iv.into())
        .encrypt_padded::<NoPadding>(&mut plain, length)
        .expect("whole blocks need no room");
    plain
}

fn sorted_sha1(parts: &mut [&str]) -> String {
    parts.sort_unstable();
    hex(&Sha1::digest(parts.concat()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String takes it");
        text
    })
}
