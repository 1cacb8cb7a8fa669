//! Pushes of tickets.
#![no_main]

use libfuzzer_sys::fuzz_target;
use token_server_fuzz::{seeds, targets};

fuzz_target!(init: seeds::if_asked(targets::TICKET_PUSH), |input: &[u8]| {
    (targets::TICKET_PUSH.fuzz)(input);
});
