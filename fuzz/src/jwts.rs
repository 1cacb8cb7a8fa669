//! JWTs as anybody may send them, keys as an issuer may publish them, and what an administrator may
//! register of an issuer.

use std::sync::{Arc, LazyLock};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use token_server::access::issuer::{IssuerRegistration, Jwt, KeySet, read};
use token_server::access::scope::Scope;
use token_server::foundation::fields::{Faults, Fields};
use token_server::foundation::signing::{Algorithm, KeyEncoding, SigningKey};
use token_server::realm::expression::Expressions;

use super::NOW;

const AUDIENCE: &str = "token-server";
const NAME: &str = "k8s";
/// What claims hold that no refusal may repeat.
const CANARY: &str = "canary";

const ED: &str = include_str!("../../tests/keys/ed.jwk.json");
const RSA: &str = include_str!("../../tests/keys/rsa.jwk.json");

static KEY: LazyLock<SigningKey> = LazyLock::new(|| {
    SigningKey::read(ED, KeyEncoding::Jwk).expect("the key of the tests is readable")
});
static RULES: LazyLock<Arc<Expressions>> = LazyLock::new(|| Arc::new(Expressions::new()));
static REGISTRATION: LazyLock<IssuerRegistration> = LazyLock::new(|| {
    let registration = registered(&registration()).ok().flatten();
    registration.expect("the registration of the fuzzer is readable")
});
static KEYS: LazyLock<KeySet> =
    LazyLock::new(|| KeySet::of(&jwks()).expect("the keys of the fuzzer are good"));
/// A token that lets somebody in.
static GOOD: LazyLock<String> =
    LazyLock::new(|| signed(&header().to_string(), &claims().to_string()));

fn public(jwk: &str) -> Value {
    let jwk: Value = serde_json::from_str(jwk).expect("a key of the tests is JSON");
    let members = ["kty", "crv", "x", "n", "e", "kid"];
    let members = members.into_iter().filter(|member| !jwk[*member].is_null());
    members
        .map(|member| (member.to_owned(), jwk[member].clone()))
        .collect()
}

pub fn jwks() -> Value {
    json!({"keys": [public(ED), public(RSA)]})
}

pub fn registration() -> Value {
    json!({
        "issuer": "https://issuer.example",
        "audiences": [AUDIENCE, "other"],
        "algorithms": ["EdDSA", "RS256", "PS256"],
        "jwks": jwks(),
        "rules": [
            {"when": "claims.sub == 'a'", "scopes": ["token:read"], "realms": ["a*"]},
            {"when": "'ops' in claims.groups and claims.env|upper == 'PROD'", "scopes": ["realm:read"]},
            {"when": "claims.scope|split(' ')|length > 2 and claims.n > 1", "scopes": ["metrics"]},
        ],
    })
}

pub fn header() -> Value {
    json!({"alg": "EdDSA", "kid": "key-of-ed", "typ": "JWT"})
}

pub fn claims() -> Value {
    let now_s = NOW.0 / 1000;
    json!({
        "iss": "https://issuer.example", "aud": ["token-server"], "sub": "a", "exp": now_s + 60,
        "nbf": now_s, "iat": now_s, "groups": ["ops"], "env": "prod", "scope": "a b c", "n": 2,
    })
}

pub fn good() -> &'static str {
    &GOOD
}

fn signed(header: &str, claims: &str) -> String {
    let [header, claims] = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part));
    let signed = format!("{header}.{claims}");
    let signature = KEY.sign(Algorithm::EdDsa, signed.as_bytes());
    let signature = URL_SAFE_NO_PAD.encode(signature.expect("the key signs"));
    format!("{signed}.{signature}")
}

/// Takes an input for a token, for header and claims that the issuer signs, for its keys, and for
/// its registration.
pub fn fuzz(input: &[u8]) {
    let [way, rest @ ..] = input else { return };
    let Ok(text) = std::str::from_utf8(rest) else {
        return;
    };
    match way % 4 {
        0 => forged(text),
        1 => issued(text),
        2 => published(text),
        _ => registers(text),
    }
}

/// Nobody else has the key: it lets nobody in, unless it is what the issuer signed.
fn forged(text: &str) {
    let Some(token) = Jwt::read(text) else { return };
    if token.verify(NAME, &REGISTRATION, &KEYS, NOW).is_ok() {
        let (own, _) = GOOD.rsplit_once('.').expect("a JWT has three parts");
        assert!(text.starts_with(own), "a token that nobody signed lets in");
    }
}

/// A line of the header, then the claims.
fn issued(text: &str) {
    let (header, claims) = text.split_once('\n').unwrap_or((text, ""));
    let token = signed(header, claims);
    let Some(token) = Jwt::read(&token) else {
        return;
    };
    let verified = match token.verify(NAME, &REGISTRATION, &KEYS, NOW) {
        Ok(verified) => verified,
        Err(fault) => {
            let why = fault.to_string();
            assert!(!why.is_empty() && !why.contains(CANARY), "{why}");
            return;
        }
    };
    let parsed = |text: &str| serde_json::from_str::<Value>(text).expect("it was read");
    let (header, claims) = (parsed(header), parsed(claims));
    assert_eq!(header["alg"], "EdDSA");
    assert!(header.get("crit").is_none(), "{header}");
    let audiences = claims["aud"].as_array().cloned();
    let audiences = audiences.unwrap_or_else(|| vec![claims["aud"].clone()]);
    let is_ours = |audience: &Value| audience == AUDIENCE || audience == "other";
    assert!(audiences.iter().any(is_ours), "{claims}");
    assert!(
        verified.expires_at.0.saturating_add(60_000) > NOW.0,
        "{claims}"
    );
    let caller = verified.caller;
    assert!(caller.name.starts_with("jwt:k8s:"), "{}", caller.name);
    assert!(caller.name.len() <= 200, "{}", caller.name);
    assert!(
        caller
            .name
            .bytes()
            .all(|byte| (b' '..=b'~').contains(&byte))
    );
    let given = [Scope::TokenRead, Scope::RealmRead, Scope::Metrics];
    let given = given.into_iter().filter(|scope| caller.has(*scope)).count();
    assert_eq!(given, 1, "one rule decides");
    assert!(!caller.has(Scope::Admin) && !caller.has(Scope::KeyWrite));
}

/// Only with the issuer's own key is its token good.
fn published(text: &str) {
    let Ok(jwks) = serde_json::from_str::<Value>(text) else {
        return;
    };
    let keys = KeySet::of(&jwks);
    if KeySet::registered(&jwks).is_ok() {
        assert!(keys.is_ok(), "registered keys are none");
    }
    let keys = match keys {
        Ok(keys) => keys,
        Err(refused) => {
            assert!(!refused.to_string().contains(CANARY));
            return;
        }
    };
    assert!(keys.knows(None));
    let token = Jwt::read(&GOOD).expect("it is a JWT");
    if token.verify(NAME, &REGISTRATION, &keys, NOW).is_ok() {
        // The last character holds bits that are not looked at.
        let own = public(ED)["x"].as_str().map(|x| x[..40].to_owned());
        let own = own.expect("the key has a point");
        let listed = jwks["keys"].as_array().into_iter().flatten();
        let mut listed = listed.filter_map(|key| key["x"].as_str());
        assert!(listed.any(|x| x.starts_with(&own)), "another key verifies");
    }
}

fn registered(value: &Value) -> Result<Option<IssuerRegistration>, Vec<String>> {
    let faults = Faults::default();
    let read = Fields::of(value, "", &faults).and_then(|fields| read(fields, &RULES));
    match faults.judge(read) {
        Ok((registration, _)) => Ok(Some(registration)),
        Err(faults) => Err(faults.iter().map(ToString::to_string).collect()),
    }
}

/// What is registered is read again as it was written.
fn registers(text: &str) {
    let Ok(value) = serde_json::from_str::<Value>(text) else {
        return;
    };
    match registered(&value) {
        Err(faults) => assert!(!faults.is_empty(), "nothing is said"),
        Ok(registration) => {
            let written = registration.map(|registration| registration.to_json());
            let written = written.expect("it was read");
            let again = registered(&written).ok().flatten();
            let again = again.expect("what is stored is read again");
            assert_eq!(again.to_json(), written);
            let token = Jwt::read(&GOOD).expect("it is a JWT");
            let _ = token.verify(NAME, &again, &KEYS, NOW);
        }
    }
}

/// Where a run starts.
pub fn seeds() -> Vec<Vec<u8>> {
    let of = |way: u8, text: &str| [&[way], text.as_bytes()].concat();
    let mut inputs = vec![of(0, good()), of(2, &jwks().to_string())];
    let encoded = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
    for algorithm in ["none", "HS256", "RS256", "PS256", "ES256", "RS512"] {
        let header = json!({"alg": algorithm, "kid": "key-of-rsa"});
        let unsigned = format!("{}.{}", encoded(&header), encoded(&claims()));
        inputs.push(of(0, &format!("{unsigned}.")));
        inputs.push(of(0, &format!("{unsigned}.c2lnbmF0dXJl")));
        inputs.push(of(1, &format!("{header}\n{}", claims())));
    }
    let changes = [
        ("aud", json!("token-server")),
        ("aud", json!([1, null, "other"])),
        ("exp", json!(1.5e300)),
        ("exp", json!("1767323100")),
        ("nbf", json!(-1)),
        ("iat", json!(1_767_323_200)),
        ("sub", json!("system:serviceaccount:prod:\u{202e}x")),
        ("sub", json!(CANARY)),
        ("groups", json!({"ops": CANARY})),
        ("scope", json!(["a", CANARY])),
    ];
    for (claim, value) in changes {
        let mut changed = claims();
        changed[claim] = value;
        inputs.push(of(1, &format!("{}\n{changed}", header())));
    }
    for (member, value) in [
        ("crit", json!(["exp"])),
        ("typ", json!("at+jwt")),
        ("typ", json!("logout+jwt")),
        ("kid", json!(null)),
        ("alg", json!(null)),
    ] {
        let mut changed = header();
        changed[member] = value;
        inputs.push(of(1, &format!("{changed}\n{}", claims())));
    }
    inputs.push(of(
        2,
        &json!({"keys": [serde_json::from_str::<Value>(ED).expect("JSON")]}).to_string(),
    ));
    for (member, value) in [
        ("use", json!("enc")),
        ("key_ops", json!(["verify"])),
        ("alg", json!("EdDSA")),
        ("alg", json!("none")),
        ("kty", json!("oct")),
        ("k", json!("c2VjcmV0")),
        ("crv", json!("P-256")),
    ] {
        let mut key = public(ED);
        key[member] = value;
        inputs.push(of(2, &json!({"keys": [key]}).to_string()));
    }
    inputs.push(of(3, &registration().to_string()));
    let mut found = registration();
    found["jwks"].take();
    inputs.push(of(3, &found.to_string()));
    found["jwks_url"] = json!("https://issuer.example/jwks");
    found["proxy"] = json!("direct");
    found["rules"][0]["keys"] = json!(["k*", "\u{200b}"]);
    inputs.push(of(3, &found.to_string()));
    inputs
}
