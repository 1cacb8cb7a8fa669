//! JSON answers, read by documents of this folder and by all presets.
#![no_main]

use libfuzzer_sys::fuzz_target;
use token_server_fuzz::{answers, seeds};

fuzz_target!(init: seeds::if_asked(seeds::json), |input: &[u8]| {
    answers::fuzz(&answers::JSON, input);
});
