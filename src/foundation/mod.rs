//! What every room stands on: time, randomness, names, the database, sealing, telemetry.

pub mod clock;
pub mod database;
pub mod fields;
pub mod ids;
pub mod limit;
pub mod logging;
pub mod metrics;
pub mod page;
pub mod randomness;
pub mod replica;
pub mod sealing;
mod shape;
pub mod signing;
pub mod xml;

/// Lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
