//! What every room stands on: time, randomness, names, the database, sealing, telemetry.

pub mod alike;
pub mod certificate;
pub mod clear_name;
pub mod clock;
pub mod database;
pub mod descriptors;
pub mod fields;
pub mod file_system;
pub mod form;
pub mod ids;
pub mod json;
pub mod kept;
pub mod key_command;
pub mod lacked_keys;
pub mod limit;
pub mod logging;
pub mod metrics;
pub mod named_row;
pub mod open_streams;
pub mod page;
pub mod pattern;
pub mod private;
pub mod published_rings;
pub mod randomness;
pub mod rate;
pub mod reauthentication;
pub mod replica;
pub mod sealing;
pub mod sealing_choice;
pub mod sealing_keys;
pub mod seldom;
pub mod server_tls;
mod shape;
pub mod signing;
pub mod traces;
pub mod value_command;
pub mod words;
pub mod xml;

/// Lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from(b"0123456789abcdef"[usize::from(nibble)]);
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    // It would grow several times otherwise.
    let mut text = String::with_capacity(2 * bytes.len());
    text.extend(digits.map(digit));
    text
}
