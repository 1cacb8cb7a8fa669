//! token-server: holds the credentials of third-party APIs, renews every token before it
//! expires, and hands tokens to applications. See ARCHITECTURE.md for the map.

pub mod access;
pub mod api;
pub mod app;
pub mod cli;
pub mod config;
pub mod console;
pub mod demo;
pub mod feed;
pub mod foundation;
pub mod issuers;
pub mod jobs;
pub mod memory;
pub mod moving;
pub mod reads;
pub mod realm;
pub mod registry;
pub mod renewal;
pub mod secret;
pub mod serve;
pub mod ticket;
pub mod token;
pub mod upstream;
pub mod webhook;
