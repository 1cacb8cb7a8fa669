//! Reads arguments and environment, runs one command, answers its exit code.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use mimalloc::MiMalloc;
use token_server::cli::{Arguments, run};
use token_server::foundation::{logging, private};

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    logging::tell_panics();
    // Before there is a thread, a file or a secret.
    if let Err(error) = private::begin() {
        let _ = writeln!(
            std::io::stderr(),
            "token-server: this system does not let a process refuse core files and debuggers: {error}"
        );
    }
    work()
}

#[tokio::main]
async fn work() -> ExitCode {
    run(Arguments::parse(), std::env::vars().collect()).await
}
