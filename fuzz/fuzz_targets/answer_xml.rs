//! XML answers.
#![no_main]

use libfuzzer_sys::fuzz_target;
use token_server_fuzz::{answers, seeds};

fuzz_target!(init: seeds::if_asked(seeds::xml), |input: &[u8]| {
    answers::fuzz(&answers::XML, input);
});
