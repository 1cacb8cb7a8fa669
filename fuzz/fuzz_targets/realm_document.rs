//! The realm document.
#![no_main]

use libfuzzer_sys::fuzz_target;
use token_server_fuzz::{seeds, targets};

fuzz_target!(init: seeds::if_asked(targets::REALM_DOCUMENT), |input: &[u8]| {
    (targets::REALM_DOCUMENT.fuzz)(input);
});
