//! What callers send to show a key.
#![no_main]

use libfuzzer_sys::fuzz_target;
use token_server_fuzz::{seeds, targets};

fuzz_target!(init: seeds::if_asked(targets::API_KEY_HEADER), |input: &[u8]| {
    (targets::API_KEY_HEADER.fuzz)(input);
});
