//! What holds for every value and every expression: they are generated, not chosen. Where a
//! property fails, proptest prints the smallest input it found.

mod bytes;
mod fuel;
mod one_pass;
mod readers;
mod scope;
mod values;
mod world;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseResult, TestRunner};

/// Generated inputs of one property.
const CASES: u32 = 96;

fn holds<S: Strategy>(inputs: S, property: impl Fn(S::Value) -> TestCaseResult) {
    let config = Config {
        cases: CASES,
        failure_persistence: None,
        ..Config::default()
    };
    if let Err(failure) = TestRunner::new(config).run(&inputs, property) {
        panic!("{failure}");
    }
}
