//! Templates and conditions.
#![no_main]

use libfuzzer_sys::fuzz_target;
use token_server_fuzz::{seeds, targets};

fuzz_target!(init: seeds::if_asked(targets::EXPRESSION), |input: &[u8]| {
    (targets::EXPRESSION.fuzz)(input);
});
