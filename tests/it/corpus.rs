//! The committed inputs of the fuzzer, those it starts with, and others made of them: nothing that
//! must hold is broken.

mod mutated;

use std::fs;
use std::process::Command;

use token_server::foundation::randomness::Randomness;

use self::mutated::{Mutator, words};
use crate::kit::source::{read, root, sources};

#[allow(dead_code)] // What only libFuzzer's shells use.
#[path = "../../fuzz/src/lib.rs"]
mod fuzz;

use fuzz::targets::{self, Target};

/// The inputs of one target, by name: those committed, and those that a run starts with.
fn inputs_of(target: Target) -> Vec<(String, Vec<u8>)> {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let archive = root().join(format!("fuzz/corpus/{}.tar.gz", target.name));
    let unpacked = Command::new("tar")
        .arg("-xzf")
        .arg(&archive)
        .arg("-C")
        .arg(folder.path())
        .status()
        .expect("tar is there");
    assert!(unpacked.success(), "the corpus is an archive");
    let files = fs::read_dir(folder.path()).expect("the folder is there");
    let mut files: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
    assert!(files.len() > 1000, "the corpus is there: {}", files.len());
    // So that a seed means the same on each machine.
    files.sort();
    let inputs = files.iter().map(|file| {
        let name = file.file_name().unwrap_or_default();
        let input = fs::read(file).expect("the file is readable");
        (name.to_string_lossy().into_owned(), input)
    });
    let seeds = (target.seeds)().into_iter().enumerate();
    let seeds = seeds.map(|(index, input)| (format!("seed {index}"), input));
    inputs.chain(seeds).collect()
}

/// Goes through the inputs of one target. Names the one that is being read where it panics.
fn every_input_holds(target: Target) {
    for (name, input) in inputs_of(target) {
        let read = std::panic::catch_unwind(|| (target.fuzz)(&input));
        assert!(read.is_ok(), "{}: {name}", target.name);
    }
}

/// Which inputs are made: the same each time, so that a change fails for what it does, unless
/// FUZZ_SEED says another number, or `random`.
fn seed() -> u64 {
    let given = std::env::vars().find(|(name, _)| name == "FUZZ_SEED");
    match given.as_ref().map(|(_, seed)| seed.as_str()) {
        None => 1,
        Some("random") => {
            let random = Randomness::from_system().expect("the system has randomness");
            random.between(0, i64::MAX).unsigned_abs()
        }
        Some(seed) => seed.parse().expect("FUZZ_SEED is a number or `random`"),
    }
}

/// Goes through so many inputs that are made of those of one target. Says how to make the one again
/// that is being read where it panics.
fn every_mutation_holds(target: Target, count: usize) {
    let (_, inputs): (Vec<_>, Vec<_>) = inputs_of(target).into_iter().unzip();
    let words = words(&read(
        &root().join(format!("fuzz/dictionaries/{}.dict", target.name)),
    ));
    let seed = seed();
    let mutator = Mutator::new(&inputs, &words, seed);
    for number in 0..count {
        let input = mutator.input();
        let held = std::panic::catch_unwind(|| (target.fuzz)(&input));
        assert!(
            held.is_ok(),
            "{}: input {number} of FUZZ_SEED={seed}: \"{}\"",
            target.name,
            input.escape_ascii()
        );
    }
}

macro_rules! every_target {
    ($($name:ident, $mutated:ident: $target:ident, $count:literal;)*) => {
        $(#[test]
        fn $name() {
            every_input_holds(targets::$target);
        }

        #[test]
        fn $mutated() {
            every_mutation_holds(targets::$target, $count);
        })*

        #[test]
        fn every_target_of_the_fuzzer_is_gone_through() {
            let here = [$(targets::$target.name),*];
            let all = targets::ALL.map(|target| target.name);
            assert_eq!(here[..], all);
            let shells = sources(&root().join("fuzz/fuzz_targets"));
            let shells: Vec<_> = shells.iter().filter_map(|file| file.file_stem()?.to_str()).collect();
            assert_eq!(shells, all);
        }
    };
}

// Together they take about a minute of one processor.
every_target! {
    committed_json_answers_break_nothing,
    mutated_json_answers_break_nothing: ANSWER_JSON, 8_000;
    committed_answers_in_text_and_headers_break_nothing,
    mutated_answers_in_text_and_headers_break_nothing: ANSWER_TEXT_HEADERS, 12_000;
    committed_xml_answers_break_nothing,
    mutated_xml_answers_break_nothing: ANSWER_XML, 14_000;
    committed_authorizations_break_nothing,
    mutated_authorizations_break_nothing: API_KEY_HEADER, 100_000;
    committed_configurations_break_nothing,
    mutated_configurations_break_nothing: CONFIGURATION, 2_000;
    committed_expiries_break_nothing,
    mutated_expiries_break_nothing: EXPIRY_VALUES, 8_000;
    committed_expressions_break_nothing,
    mutated_expressions_break_nothing: EXPRESSION, 14_000;
    committed_jwts_break_nothing,
    mutated_jwts_break_nothing: JWT, 30_000;
    committed_realm_documents_break_nothing,
    mutated_realm_documents_break_nothing: REALM_DOCUMENT, 15_000;
    committed_sealed_values_break_nothing,
    mutated_sealed_values_break_nothing: SEALED_VALUE, 50_000;
    committed_pushes_break_nothing,
    mutated_pushes_break_nothing: TICKET_PUSH, 16_000;
}
