//! Assertions: JWTs (RFC 7519) signed anew for each exchange (RFC 7523).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::SecretString;
use serde_json::{Map, Value, json};
use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::render::Renderer;
use crate::foundation::clock::EpochMs;
use crate::foundation::signing::{self, SigningKey};
use crate::realm::document::{Argument, Assertion};
use crate::realm::failure::Failure;

/// What client authentication adds where the document does not say it (RFC 7523, section 3).
#[derive(Default)]
pub(super) struct Defaults {
    pub client_id: Option<String>,
    pub audience: Option<String>,
}

/// An assertion before it is signed.
#[derive(Clone, Debug)]
pub(super) struct Unsigned {
    pub header: Map<String, Value>,
    pub claims: Map<String, Value>,
}

impl Unsigned {
    pub fn make(
        assertion: &Assertion,
        render: &Renderer<'_>,
        defaults: &Defaults,
        now: EpochMs,
        id: &str,
    ) -> Result<Self, Failure> {
        let mut header = Map::from_iter([
            ("alg".to_owned(), json!(assertion.algorithm.as_str())),
            ("typ".to_owned(), json!("JWT")),
        ]);
        set_all(&mut header, &assertion.header, render, "header")?;
        thumbprints(&mut header, render.masks())?;
        let now_s = now.0.div_euclid(1000);
        let mut claims = Map::new();
        if let Some(id) = &defaults.client_id {
            claims.insert("iss".to_owned(), json!(id));
            claims.insert("sub".to_owned(), json!(id));
        }
        if let Some(audience) = &defaults.audience {
            claims.insert("aud".to_owned(), json!(audience));
        }
        claims.insert("iat".to_owned(), json!(now_s - assertion.iat_skew_s));
        claims.insert("exp".to_owned(), json!(now_s + assertion.lifetime_s));
        claims.insert("jti".to_owned(), json!(id));
        set_all(&mut claims, &assertion.claims, render, "claims")?;
        Ok(Self { header, claims })
    }

    pub fn sign(mut self, assertion: &Assertion, key: &str) -> Result<SecretString, Failure> {
        let refused = |why| Failure::internal(format!("assertion.key {why}"));
        let key = SigningKey::read(key, assertion.key_encoding).map_err(refused)?;
        if let Some(kid) = &key.kid {
            self.header.entry("kid").or_insert_with(|| json!(kid));
        }
        let encode =
            |part: Map<String, Value>| URL_SAFE_NO_PAD.encode(Value::Object(part).to_string());
        let signed = format!("{}.{}", encode(self.header), encode(self.claims));
        let signature = key
            .sign(assertion.algorithm, signed.as_bytes())
            .map_err(refused)?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)).into())
    }
}

/// Sets what has a value; what is null or unset is taken out.
fn set_all(
    map: &mut Map<String, Value>,
    values: &[(String, Argument)],
    render: &Renderer<'_>,
    part: &str,
) -> Result<(), Failure> {
    for (name, argument) in values {
        let given = render.argument(&format!("assertion.{part}.{name}"), argument)?;
        match given.set() {
            None | Some(Value::Null) => {
                map.remove(name);
            }
            Some(value) => {
                map.insert(name.clone(), value);
            }
        }
    }
    Ok(())
}

/// RFC 7515, sections 4.1.7 and 4.1.8: certificates become their thumbprints.
fn thumbprints(header: &mut Map<String, Value>, masked: bool) -> Result<(), Failure> {
    for (field, name) in [("x5t", "x5t"), ("x5t_s256", "x5t#S256")] {
        let Some(value) = header.remove(field) else {
            continue;
        };
        let pem = value.as_str().unwrap_or_default();
        let thumbprint = match signing::certificate(pem) {
            Ok(der) if field == "x5t" => URL_SAFE_NO_PAD.encode(Sha1::digest(der)),
            Ok(der) => URL_SAFE_NO_PAD.encode(Sha256::digest(der)),
            Err(_) if masked => super::scope::MASK.to_owned(),
            Err(why) => {
                return Err(Failure::internal(format!("assertion.header.{field} {why}")));
            }
        };
        header.insert(name.to_owned(), json!(thumbprint));
    }
    Ok(())
}
