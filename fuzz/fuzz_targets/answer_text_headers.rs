//! Answers in text, and tokens in headers and cookies.
#![no_main]

use libfuzzer_sys::fuzz_target;
use token_server_fuzz::{answers, seeds};

fuzz_target!(init: seeds::if_asked(seeds::text_headers), |input: &[u8]| {
    answers::fuzz(&answers::TEXT_HEADERS, input);
});
