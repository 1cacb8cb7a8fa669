//! Configurations.
#![no_main]

use libfuzzer_sys::fuzz_target;
use token_server_fuzz::{seeds, targets};

fuzz_target!(init: seeds::if_asked(targets::CONFIGURATION), |input: &[u8]| {
    (targets::CONFIGURATION.fuzz)(input);
});
