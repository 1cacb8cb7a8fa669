//! The tables of token-server: one file each, without logic.

pub mod api_key;
pub mod audit;
pub mod audit_chain;
pub mod audit_sink;
pub mod candidate;
pub mod change;
pub mod event;
pub mod issuer;
pub mod lock;
pub mod quota;
pub mod realm;
pub mod renewal;
pub mod replica;
pub mod retired;
pub mod sealing_key;
pub mod secret;
pub mod ticket;
pub mod token;
mod types;

pub use types::{EpochMs, Sealed};
