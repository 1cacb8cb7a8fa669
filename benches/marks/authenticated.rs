//! Beside marks 3 and 4: what it costs that rows of the database are authenticated.

use std::hint::black_box;

use token_server::foundation::randomness::Randomness;
use token_server::foundation::sealing::{KeyRing, RowValues, SealedPlace, SealingKeys};

use crate::Size;
use crate::cost::cpu_seconds;
use crate::report::{Mark, Report, Runs};

/// One code is made for the token that is stored; those of the token and of its secret were
/// checked when they were read.
const CHECKED: usize = 2;

/// CPU of making the code of a token's row and checking two, and its share of a renewal's.
pub fn measure(number: u8, size: &Size, renewal_ms: &Runs, report: &mut Report) {
    let randomness = Randomness::from_system().expect("the system has randomness");
    let ring = KeyRing::parse(&SealingKeys::generate(&randomness), randomness);
    let ring = ring.expect("a generated key is good");
    let place = SealedPlace {
        table: "ts_token",
        row: "1000000",
        column: "mac",
    };
    // As many values as a token's row has, and as long.
    let values = |at| {
        RowValues::default()
            .text("realm-of-a-provider")
            .text("key-of-an-application")
            .number(Some(1))
            .optional(Some("Bearer"))
            .number(Some(at))
            .flag(false)
            .flag(false)
            .flag(false)
            .number(Some(at))
    };
    let mut cost_us = Runs::default();
    for _ in 0..size.runs {
        let before = cpu_seconds(std::process::id());
        for at in 0..size.authenticated {
            let mac = ring.authenticate(&place, &values(at));
            for _ in 0..CHECKED {
                let checked = ring.verify(&place, &black_box(values(at)), Some(&mac));
                checked.expect("the code is right");
            }
        }
        let spent = cpu_seconds(std::process::id()) - before;
        cost_us.push(spent * 1_000_000.0 / size.authenticated as f64);
    }
    let renewal_us = renewal_ms.times(1000.0);
    let what = "CPU of authenticating the rows of a renewal, over all of it";
    report.add(number, what, cost_us.over(&renewal_us), Mark::Shown);
    let what = "CPU of authenticating the rows of a renewal, µs";
    report.add(number, what, cost_us, Mark::Shown);
}
