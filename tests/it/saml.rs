//! A SAML assertion that a realm writes with `let`, read and verified as its receiver does.

use std::sync::{Arc, Mutex};

use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use token_server::foundation::clock::{EpochMs, ManualClock};
use token_server::foundation::xml;

use crate::kit::documented::with_keys;
use crate::kit::internet::{Internet, Response};
use crate::kit::server::Options;
use crate::kit::{Server, TestDatabase, eventually, on_every_database};

on_every_database! {
    an_assertion_that_a_realm_writes_is_one_that_its_receiver_accepts,
}

/// 2026-01-02T03:04:05.678Z
const NOW_MS: i64 = 1_767_323_045_678;

async fn an_assertion_that_a_realm_writes_is_one_that_its_receiver_accepts(database: TestDatabase) {
    let (internet, arrived) = (Internet::start().await, Arc::<Mutex<Vec<_>>>::default());
    let kept = arrived.clone();
    internet.answer(move |request| {
        kept.lock()
            .expect("nobody panics with it")
            .push(request.body);
        Response {
            status: 200,
            headers: Vec::new(),
            body: br#"{"access_token":"t","expires_in":86399}"#.to_vec(),
        }
    });
    let options = Options {
        clock: Some(Arc::new(ManualClock::at(EpochMs(NOW_MS)))),
        internet: Some(internet.for_server()),
        ..Options::default()
    };
    let server = Server::start_with(&database, options).await;
    let client = &server.client;
    client
        .post("/api/preset/sap_successfactors", &json!({}))
        .await
        .expect(200);
    let mut ids = Vec::new();
    for (key, user, user_is, attribute, value) in [
        ("a", "sfadmin", "user_id", "use_username", "false"),
        (
            "b",
            "o'hara & <sons> \"é\"",
            "username",
            "use_username",
            "true",
        ),
        ("c", "x@example.com", "email", "use_email", "true"),
    ] {
        let secret = json!({"realm": "sap_successfactors", "key": key, "params": {
            "api_server": "api4.successfactors.com", "company_id": "BestRun",
            "client_id": "the-api-key", "user": user, "user_is": user_is,
            "private_key": with_keys("{{rsa_private_key}}"),
        }});
        client.post("/api/secret", &secret).await.expect(200);
        let body = eventually("a request", async || {
            arrived.lock().expect("nobody panics with it").pop()
        })
        .await;
        let form: Vec<_> = url::form_urlencoded::parse(&body).into_owned().collect();
        let sent = form.iter().find(|(name, _)| name == "assertion");
        let (_, sent) = sent.expect("an assertion is sent");
        let text = STANDARD.decode(sent).expect("it is Base64");
        let text = String::from_utf8(text).expect("it is UTF-8");
        let signed = verified(&text);
        let said = &signed["saml2:Assertion"];
        assert_eq!(said["saml2:Issuer"], "www.successfactors.com");
        assert_eq!(said["@IssueInstant"], "2026-01-02T03:04:05Z");
        let (subject, conditions) = (&said["saml2:Subject"], &said["saml2:Conditions"]);
        assert_eq!(subject["saml2:NameID"]["#text"], user);
        assert_eq!(
            subject["saml2:SubjectConfirmation"]["saml2:SubjectConfirmationData"],
            json!({
                "@NotOnOrAfter": "2026-01-02T03:14:05Z",
                "@Recipient": "https://api4.successfactors.com/oauth/token",
            })
        );
        assert_eq!(conditions["@NotBefore"], "2026-01-02T03:03:05Z");
        assert_eq!(
            conditions["saml2:AudienceRestriction"]["saml2:Audience"],
            "www.successfactors.com"
        );
        let attribute_of =
            |name: &str, value: &str| json!({"@Name": name, "saml2:AttributeValue": value});
        assert_eq!(
            said["saml2:AttributeStatement"]["saml2:Attribute"],
            json!([
                attribute_of("api_key", "the-api-key"),
                attribute_of(attribute, value),
            ])
        );
        ids.push(said["@ID"].clone());
    }
    ids.dedup();
    assert_eq!(ids.len(), 3, "each assertion has an id of its own");
}

/// What the signature covers, if it is good. The text is in canonical form already: it is
/// written so.
fn verified(text: &str) -> Value {
    let (before, rest) = text.split_once("<ds:Signature ").expect("a signature");
    let (signature, after) = rest.split_once("</ds:Signature>").expect("its end");
    let content = format!("{before}{after}");
    let between = |from: &str, to: &str| {
        let (_, rest) = signature.split_once(from).expect("its beginning");
        rest.split_once(to).expect("its end").0
    };
    let signed_info = between("<ds:SignedInfo", "</ds:SignedInfo>");
    let signed_info = format!("<ds:SignedInfo{signed_info}</ds:SignedInfo>");
    let digest = between("<ds:DigestValue>", "</ds:DigestValue>");
    assert_eq!(digest, STANDARD.encode(Sha256::digest(&content)));
    let key = SubjectPublicKeyInfoDer::from_pem_slice(include_bytes!("../keys/rsa_public_key.pem"));
    let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key.expect("a key"));
    let value = between("<ds:SignatureValue>", "</ds:SignatureValue>");
    let value = STANDARD.decode(value).expect("it is Base64");
    key.verify(signed_info.as_bytes(), &value)
        .expect("the signature is of this key");
    let signed = xml::parse(&content).expect("it is XML");
    let id = signed["saml2:Assertion"]["@ID"].as_str().expect("an id");
    assert_eq!(between("<ds:Reference URI=\"", "\">"), format!("#{id}"));
    signed
}
