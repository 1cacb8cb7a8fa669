//! Answers in text, and tokens in headers and cookies.
#![no_main]

use libfuzzer_sys::fuzz_target;
use token_server_fuzz::{seeds, targets};

fuzz_target!(init: seeds::if_asked(targets::ANSWER_TEXT_HEADERS), |input: &[u8]| {
    (targets::ANSWER_TEXT_HEADERS.fuzz)(input);
});
