//! The realms in `presets/` and the console in `console/dist/` are compiled in: a new file there means
//! a new binary.

use std::path::Path;

/// What the build of the console leaves.
const CONSOLE_BUILT: &str = "console/dist";
/// Its sources, where that comes to be.
const CONSOLE: &str = "console";

fn main() {
    println!("cargo:rerun-if-changed=presets");
    // What is not there always counts as changed.
    let mut folders = [CONSOLE_BUILT, CONSOLE].into_iter();
    if let Some(watched) = folders.find(|folder| Path::new(folder).is_dir()) {
        println!("cargo:rerun-if-changed={watched}");
    }
}
