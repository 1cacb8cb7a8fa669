//! Stored values that are sealed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use token_server_fuzz::{seeds, targets};

fuzz_target!(init: seeds::if_asked(targets::SEALED_VALUE), |input: &[u8]| {
    (targets::SEALED_VALUE.fuzz)(input);
});
