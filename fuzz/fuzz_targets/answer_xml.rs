//! XML answers.
#![no_main]

use libfuzzer_sys::fuzz_target;
use token_server_fuzz::{seeds, targets};

fuzz_target!(init: seeds::if_asked(targets::ANSWER_XML), |input: &[u8]| {
    (targets::ANSWER_XML.fuzz)(input);
});
