//! All targets, by name: each has a shell for libFuzzer in fuzz_targets/, and inputs in corpus/.

use super::{answers, expiries, expressions, realm_documents, seeds, ticket_pushes};

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
pub const REALM_DOCUMENT: Target = Target {
    name: "realm_document",
    seeds: seeds::realm_documents,
    fuzz: realm_documents::fuzz,
};
pub const TICKET_PUSH: Target = Target {
    name: "ticket_push",
    seeds: seeds::pushes,
    fuzz: ticket_pushes::fuzz,
};

pub const ALL: [Target; 7] = [
    ANSWER_JSON,
    ANSWER_TEXT_HEADERS,
    ANSWER_XML,
    EXPIRY_VALUES,
    EXPRESSION,
    REALM_DOCUMENT,
    TICKET_PUSH,
];
