//! All targets, by name: each has a shell for libFuzzer in fuzz_targets/, and inputs in corpus/.

use super::{
    answers, api_keys, configurations, expiries, expressions, jwts, realm_documents, sealed_values,
    seeds, ticket_pushes,
};

/// Something that reads other people's input.
#[derive(Clone, Copy)]
pub struct Target {
    pub name: &'static str,
    /// Where a run starts, beside the committed corpus.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Takes any input. Panics where something does not hold that must.
    pub fuzz: fn(&[u8]),
}

pub const ANSWER_JSON: Target = Target {
    name: "answer_json",
    seeds: seeds::json,
    fuzz: |input| answers::fuzz(&answers::JSON, input),
};
pub const ANSWER_TEXT_HEADERS: Target = Target {
    name: "answer_text_headers",
    seeds: seeds::text_headers,
    fuzz: |input| answers::fuzz(&answers::TEXT_HEADERS, input),
};
pub const ANSWER_XML: Target = Target {
    name: "answer_xml",
    seeds: seeds::xml,
    fuzz: |input| answers::fuzz(&answers::XML, input),
};
pub const API_KEY_HEADER: Target = Target {
    name: "api_key_header",
    seeds: seeds::api_keys,
    fuzz: api_keys::fuzz,
};
pub const CONFIGURATION: Target = Target {
    name: "configuration",
    seeds: seeds::configurations,
    fuzz: configurations::fuzz,
};
pub const EXPIRY_VALUES: Target = Target {
    name: "expiry_values",
    seeds: seeds::expiries,
    fuzz: expiries::fuzz,
};
pub const EXPRESSION: Target = Target {
    name: "expression",
    seeds: seeds::expressions,
    fuzz: expressions::fuzz,
};
pub const JWT: Target = Target {
    name: "jwt",
    seeds: jwts::seeds,
    fuzz: jwts::fuzz,
};
pub const REALM_DOCUMENT: Target = Target {
    name: "realm_document",
    seeds: seeds::realm_documents,
    fuzz: realm_documents::fuzz,
};
pub const SEALED_VALUE: Target = Target {
    name: "sealed_value",
    seeds: seeds::sealed_values,
    fuzz: sealed_values::fuzz,
};
pub const TICKET_PUSH: Target = Target {
    name: "ticket_push",
    seeds: seeds::pushes,
    fuzz: ticket_pushes::fuzz,
};

pub const ALL: [Target; 11] = [
    ANSWER_JSON,
    ANSWER_TEXT_HEADERS,
    ANSWER_XML,
    API_KEY_HEADER,
    CONFIGURATION,
    EXPIRY_VALUES,
    EXPRESSION,
    JWT,
    REALM_DOCUMENT,
    SEALED_VALUE,
    TICKET_PUSH,
];
