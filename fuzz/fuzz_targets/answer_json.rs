//! JSON answers, read by documents of this folder and by all presets.
#![no_main]

use libfuzzer_sys::fuzz_target;
use token_server_fuzz::{seeds, targets};

fuzz_target!(init: seeds::if_asked(targets::ANSWER_JSON), |input: &[u8]| {
    (targets::ANSWER_JSON.fuzz)(input);
});
