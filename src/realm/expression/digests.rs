//! Digests and signatures as filters. They give lower-case hexadecimal digits, or Base64
//! where that is asked for: no value is bytes.

use aws_lc_rs::hmac as lc;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hmac::{KeyInit, Mac};
use md5::Md5;
use minijinja::value::{Kwargs, Rest};
use minijinja::{Environment, Error, ErrorKind, State, Value};
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};

use super::bounds::scalar;
use crate::foundation::hex;
use crate::foundation::signing::{self, Algorithm, KeyEncoding, SigningKey};

/// A signature takes about a millisecond: an expression may make ten.
const SIGNATURE_FUEL: u64 = 5000;

pub fn add_to(env: &mut Environment<'static>) {
    env.add_filter("md5", |value: &Value, form: Option<String>| {
        let text = scalar(value)?;
        printed("md5", &Md5::digest(text), form.as_deref())
    });
    env.add_filter("sha1", |value: &Value, form: Option<String>| {
        let text = scalar(value)?;
        printed("sha1", &Sha1::digest(text), form.as_deref())
    });
    env.add_filter("sha256", |value: &Value, form: Option<String>| {
        let text = scalar(value)?;
        printed("sha256", &Sha256::digest(text), form.as_deref())
    });
    env.add_filter("sha512", |value: &Value, form: Option<String>| {
        let text = scalar(value)?;
        printed("sha512", &Sha512::digest(text), form.as_deref())
    });
    env.add_filter(
        "hmac_md5",
        |value: &Value, args: Rest<Value>, kwargs: Kwargs| {
            let text = scalar(value)?;
            keyed("hmac_md5", &args, &kwargs, |key| {
                md5_mac(key, text.as_bytes())
            })
        },
    );
    env.add_filter(
        "hmac_sha1",
        |value: &Value, args: Rest<Value>, kwargs: Kwargs| {
            let text = scalar(value)?;
            keyed("hmac_sha1", &args, &kwargs, |key| {
                mac(lc::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key, text.as_bytes())
            })
        },
    );
    env.add_filter(
        "hmac_sha256",
        |value: &Value, args: Rest<Value>, kwargs: Kwargs| {
            let text = scalar(value)?;
            keyed("hmac_sha256", &args, &kwargs, |key| {
                mac(lc::HMAC_SHA256, key, text.as_bytes())
            })
        },
    );
    env.add_filter(
        "hmac_sha512",
        |value: &Value, args: Rest<Value>, kwargs: Kwargs| {
            let text = scalar(value)?;
            keyed("hmac_sha512", &args, &kwargs, |key| {
                mac(lc::HMAC_SHA512, key, text.as_bytes())
            })
        },
    );
    env.add_filter("rsa_sha256", rsa_sha256);
    env.add_filter("spki_sha256", |pem: String, form: Option<String>| {
        let digest = signing::spki_sha256(&pem).map_err(|why| refused("spki_sha256", why))?;
        printed("spki_sha256", &digest, form.as_deref())
    });
}

fn rsa_sha256(
    state: &State<'_, '_>,
    value: &Value,
    key: String,
    form: Option<String>,
) -> Result<String, Error> {
    let name = "rsa_sha256";
    let text = scalar(value)?;
    state.consume_fuel(SIGNATURE_FUEL)?;
    let signature = SigningKey::read(&key, KeyEncoding::Pem)
        .and_then(|key| key.sign(Algorithm::Rs256, text.as_bytes()))
        .map_err(|why| refused(name, format!("the key {why}")))?;
    printed(name, &signature, form.as_deref())
}

/// `filter(key, key_encoding, encoding)`, by place or by name.
fn keyed(
    name: &str,
    args: &[Value],
    kwargs: &Kwargs,
    digest: impl FnOnce(&[u8]) -> Vec<u8>,
) -> Result<String, Error> {
    let argument = |place: usize, called: &str| -> Result<Option<String>, Error> {
        let value = match args.get(place) {
            Some(value) => Some(value.clone()),
            // As a value, so that one that is undefined is not taken for none.
            None if kwargs.has(called) => Some(kwargs.get::<Value>(called)?),
            None => None,
        };
        match value {
            None => Ok(None),
            Some(value) if value.is_undefined() => Err(ErrorKind::UndefinedError.into()),
            Some(value) => value
                .as_str()
                .map(|text| Some(text.to_owned()))
                .ok_or_else(|| refused(name, format!("{called} must be text"))),
        }
    };
    let key = argument(0, "key")?.ok_or_else(|| refused(name, "takes a key"))?;
    let key_encoding = match argument(1, "key_encoding")?.as_deref() {
        None | Some("utf8") => KeyEncoding::Utf8,
        Some("hex") => KeyEncoding::Hex,
        Some("base64") => KeyEncoding::Base64,
        Some(_) => return Err(refused(name, "key_encoding is utf8, hex or base64")),
    };
    let form = argument(2, "encoding")?;
    kwargs.assert_all_used()?;
    let key = signing::bytes(&key, key_encoding)
        .map_err(|why| refused(name, format!("the key {why}")))?;
    printed(name, &digest(&key), form.as_deref())
}

fn mac(algorithm: lc::Algorithm, key: &[u8], text: &[u8]) -> Vec<u8> {
    lc::sign(&lc::Key::new(algorithm, key), text)
        .as_ref()
        .to_vec()
}

fn md5_mac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut mac = hmac::Hmac::<Md5>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}

fn printed(name: &str, digest: &[u8], form: Option<&str>) -> Result<String, Error> {
    match form {
        None | Some("hex") => Ok(hex(digest)),
        Some("base64") => Ok(STANDARD.encode(digest)),
        Some("base64url") => Ok(URL_SAFE_NO_PAD.encode(digest)),
        Some(_) => Err(refused(name, "gives hex, base64 or base64url")),
    }
}

fn refused(name: &str, why: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::InvalidOperation, format!("filter {name}: {why}"))
}

#[cfg(test)]
mod tests {
    use crate::realm::expression::Expressions;
    use minijinja::context;

    fn rendered(expression: &str) -> Result<String, String> {
        let expressions = Expressions::new();
        let template = expressions.template(&format!("${{ {expression} }}"));
        let scope = context! {
            text => "é&=x",
            private_key => include_str!("../../../tests/keys/rsa_private_key.pem"),
        };
        let value = expressions
            .render(&template.map_err(|error| error.to_string())?, &scope)
            .map_err(|error| error.to_string())?;
        Ok(value.as_str().unwrap_or_default().to_owned())
    }

    #[test]
    fn digests_are_those_that_other_programs_make() {
        for (expression, expected) in [
            ("text|md5", "1dee6ad020bbaea45e4fcf6426f2a34c"),
            ("text|sha1", "fe9b815c79892c58511800d96fc9fb22336fc994"),
            (
                "text|sha256",
                "a2ad58d81e8d0a87ebd8aa4f241f36358796172242ebf2a36be6228ec679a14a",
            ),
            ("(text|sha512)[:20]", "c45f6e8a73991b76121a"),
            ("text|hmac_md5('key')", "d95395cf12e3cda8c529b788f65214ce"),
            (
                "text|hmac_sha1('key')",
                "b396748f1caa7cc1762d1ab1a7eb286733f8df52",
            ),
            (
                "text|hmac_sha256('key')",
                "b04c4ed8dde23b20d318cac6da61382d77ce79a68d9a040833c8bf1273b8c52b",
            ),
            (
                "text|hmac_sha256('00ff10', 'hex', 'base64')",
                "lKKdakE1Xp+g665WGuBcAmnFQgJDi+QYdVtUslPzI8k=",
            ),
            (
                "text|hmac_sha256('AP8Q', key_encoding='base64', encoding='base64')",
                "lKKdakE1Xp+g665WGuBcAmnFQgJDi+QYdVtUslPzI8k=",
            ),
            (
                "(text|rsa_sha256(private_key, 'base64'))[:40]",
                "aqRlcqWj7ea6bNtEJYJVYNqxft2hpDdxA+h6ikyy",
            ),
        ] {
            assert_eq!(
                rendered(expression).as_deref(),
                Ok(expected),
                "{expression}"
            );
        }
    }

    #[test]
    fn a_key_that_is_none_is_told_by_kind_and_not_shown() {
        for (expression, told) in [
            (
                "text|rsa_sha256('canary')",
                "filter rsa_sha256: the key is not a private key",
            ),
            (
                "text|hmac_sha256('canary', 'hex')",
                "filter hmac_sha256: the key is not hexadecimal",
            ),
            (
                "text|hmac_sha256('k', 'canary')",
                "filter hmac_sha256: key_encoding is",
            ),
            ("text|hmac_sha256", "filter hmac_sha256: takes a key"),
            ("text|sha256('canary')", "filter sha256: gives hex"),
        ] {
            let refused = rendered(expression).unwrap_err();
            assert!(refused.starts_with(told), "{expression}: {refused}");
            assert!(!refused.contains("canary"), "{refused}");
        }
    }
}
