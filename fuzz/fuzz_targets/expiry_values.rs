//! What answers say of a token's life, and when the token is due.
#![no_main]

use libfuzzer_sys::fuzz_target;
use token_server_fuzz::{seeds, targets};

fuzz_target!(init: seeds::if_asked(targets::EXPIRY_VALUES), |input: &[u8]| {
    (targets::EXPIRY_VALUES.fuzz)(input);
});
