//! The signature of Standard Webhooks: HMAC-SHA256 over id, timestamp and body.

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretSlice, SecretString};

const PREFIX: &str = "whsec_";
const BYTES_MIN: usize = 24;
const BYTES_MAX: usize = 64;

/// What the receiver checks events by.
#[derive(Clone, Debug)]
pub struct WebhookKey(SecretSlice<u8>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be whsec_ and {BYTES_MIN} to {BYTES_MAX} bytes in Base64; make one with: echo \"whsec_$(head -c 32 /dev/urandom | base64)\""
)]
pub struct WebhookKeyError;

impl WebhookKey {
    pub fn parse(text: &SecretString) -> Result<Self, WebhookKeyError> {
        let encoded = text.expose_secret().strip_prefix(PREFIX);
        let bytes = STANDARD
            .decode(encoded.ok_or(WebhookKeyError)?)
            .map_err(|_| WebhookKeyError)?;
        if !(BYTES_MIN..=BYTES_MAX).contains(&bytes.len()) {
            return Err(WebhookKeyError);
        }
        Ok(Self(bytes.into()))
    }

    /// The value of `webhook-signature`.
    pub(super) fn sign(&self, id: &str, timestamp_s: i64, body: &str) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.0.expose_secret());
        let mac = hmac::sign(&key, format!("{id}.{timestamp_s}.{body}").as_bytes());
        format!("v1,{}", STANDARD.encode(mac))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification's own libraries.
    #[test]
    fn the_signature_is_that_of_standard_webhooks() {
        let key = SecretString::from("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let key = WebhookKey::parse(&key).unwrap();
        let signature = key.sign(
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            r#"{"test": 2432232314}"#,
        );
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_key_that_is_no_key_is_refused() {
        for text in [
            "",
            "whsec_",
            "whsec_c2hvcnQ=",
            "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        ] {
            assert!(WebhookKey::parse(&text.into()).is_err(), "{text}");
        }
    }
}
