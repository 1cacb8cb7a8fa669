//! What answers say of a token's life, and when the token is due.
#![no_main]

use libfuzzer_sys::fuzz_target;
use token_server_fuzz::{expiries, seeds};

fuzz_target!(init: seeds::if_asked(seeds::expiries), |input: &[u8]| {
    expiries::fuzz(input);
});
