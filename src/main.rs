//! Reads arguments and environment, runs one command, answers its exit code.

use std::process::ExitCode;

use clap::Parser;
use mimalloc::MiMalloc;
use token_server::cli::{Arguments, run};

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    run(Arguments::parse(), std::env::vars().collect()).await
}
