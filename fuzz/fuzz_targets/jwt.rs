//! JWTs, keys of issuers and what is registered of them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use token_server_fuzz::{seeds, targets};

fuzz_target!(init: seeds::if_asked(targets::JWT), |input: &[u8]| {
    (targets::JWT.fuzz)(input);
});
