//! What the administration console needs beside the API: sessions of those who have signed in, and the
//! news of what changes, for pages that are open.

mod cookie;
pub mod news;
pub mod rules;
pub mod session;
pub mod sessions;
mod settings;

pub use settings::SessionSettings;
