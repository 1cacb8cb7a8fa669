//! Behaviours of the whole server, on real parts. One binary, so that it is linked once.

// A test fails by panicking, and its numbers are small.
#![allow(clippy::panic, clippy::cast_possible_wrap)]

mod kit;

mod access;
mod alerts;
mod applications;
mod bulkheads;
mod bytes;
mod cli;
mod clocks;
mod connection_causes;
mod connections;
mod crashes;
mod damage;
mod database_faults;
mod demo;
mod denied_flushes;
mod derived;
mod dry_runs;
mod edge;
mod expiry;
mod house;
mod language;
mod logs;
mod memory;
mod metrics;
mod missing_fields;
mod oauth;
mod oauth_servers;
mod predecessor;
mod presets;
mod problems;
mod properties;
mod quotas;
mod races;
mod reads;
mod refreshing;
mod refusals;
mod registry;
mod renewals;
mod reports;
mod revoked_tokens;
mod saml;
mod sealing;
mod storing;
mod sweeps;
mod ten_minutes;
mod tickets;
mod trust;
mod upstream;
mod warnings;
mod webhook;
mod wechat;
mod wire;
