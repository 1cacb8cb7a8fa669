//! The fault table: what breaks is broken for real, by processes that are killed or stand
//! still and databases that are locked or stopped. A checker judges the history.
//! CONTRIBUTING says which test covers which row.

// A test fails by panicking.
#![allow(clippy::panic)]

// The kit serves the integration tests; these need a part of it.
#[allow(dead_code, unused_imports, unused_macros)]
#[path = "../it/kit/mod.rs"]
mod kit;

#[macro_use]
mod cluster;

mod backup;
mod checker;
mod database;
mod disk;
mod kills;
mod late;
mod many;
mod moving;
mod provider;
mod scene;
mod shutdown;
mod simulation;
mod sockets;
mod stopped;
#[cfg(feature = "upgrade")]
mod upgrade;
