//! The realms in `presets/` are compiled in: a new file there means a new binary.

fn main() {
    println!("cargo:rerun-if-changed=presets");
}
