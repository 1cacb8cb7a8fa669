//! token-server: holds the credentials of third-party APIs, renews every token before it
//! expires, and hands tokens to applications. See ARCHITECTURE.md for the map.

pub mod access;
pub mod foundation;
pub mod realm;
pub mod registry;
pub mod renewal;
pub mod secret;
pub mod token;
pub mod upstream;
