//! The committed inputs of the fuzzer, and those it starts with: nothing that must hold is broken.

use std::fs;
use std::process::Command;

use crate::kit::source::{root, sources};

#[allow(dead_code)] // What only libFuzzer's shells use.
#[path = "../../fuzz/src/lib.rs"]
mod fuzz;

use fuzz::targets::{self, Target};

/// Goes through the inputs of one target. Names the one that is being read where it panics.
fn every_input_holds(target: Target) {
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
    let files: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
    assert!(files.len() > 1000, "the corpus is there: {}", files.len());
    let inputs = files.iter().map(|file| {
        let name = file.file_name().unwrap_or_default();
        let input = fs::read(file).expect("the file is readable");
        (name.to_string_lossy().into_owned(), input)
    });
    let seeds = (target.seeds)().into_iter().enumerate();
    let seeds = seeds.map(|(index, input)| (format!("seed {index}"), input));
    for (name, input) in inputs.chain(seeds) {
        let read = std::panic::catch_unwind(|| (target.fuzz)(&input));
        assert!(read.is_ok(), "{}: {name}", target.name);
    }
}

macro_rules! every_target {
    ($($name:ident: $target:ident;)*) => {
        $(#[test]
        fn $name() {
            every_input_holds(targets::$target);
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

every_target! {
    committed_json_answers_break_nothing: ANSWER_JSON;
    committed_answers_in_text_and_headers_break_nothing: ANSWER_TEXT_HEADERS;
    committed_xml_answers_break_nothing: ANSWER_XML;
    committed_authorizations_break_nothing: API_KEY_HEADER;
    committed_configurations_break_nothing: CONFIGURATION;
    committed_expiries_break_nothing: EXPIRY_VALUES;
    committed_expressions_break_nothing: EXPRESSION;
    committed_jwts_break_nothing: JWT;
    committed_realm_documents_break_nothing: REALM_DOCUMENT;
    committed_sealed_values_break_nothing: SEALED_VALUE;
    committed_pushes_break_nothing: TICKET_PUSH;
}
