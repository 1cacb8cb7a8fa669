//! Clients generated from the committed specification: they compile, read every answer as the
//! model that is named for it, and call each operation.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::kit::oidc::node;
use crate::kit::python::interpreter;
use crate::kit::server::ADMIN_KEY;
use crate::kit::source::root;
use crate::kit::{Provider, Server, TestDatabase};

fn specification() -> PathBuf {
    root().join("openapi/openapi.json")
}

/// Runs a program that must succeed; shows what it printed where it does not.
async fn succeeds(mut command: Command) {
    let running = tokio::task::spawn_blocking(move || command.output());
    let ended = running.await.expect("nobody stops the program");
    let ended = ended.expect("the program is there; `make setup` installs it");
    assert!(
        ended.status.success(),
        "{}{}",
        String::from_utf8_lossy(&ended.stdout),
        String::from_utf8_lossy(&ended.stderr)
    );
}

/// Has a client call a server whose provider answers tokens.
async fn calls_each_operation(mut client: Command) {
    let database = TestDatabase::sqlite();
    let server = Server::start(&database).await;
    let provider = Provider::start().await;
    client
        .env("BASE_URL", format!("http://{}", server.address()))
        .env("ADMIN_KEY", ADMIN_KEY)
        .env("PROVIDER_URL", provider.url("/token"));
    succeeds(client).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_python_client_made_of_the_specification_calls_each_operation() {
    let folder = tempfile::tempdir().expect("a temporary directory can be made");
    let mut client = interpreter();
    // No byte code beside the sources.
    client
        .arg("-B")
        .arg(root().join("tests/clients/call_each.py"))
        .arg(specification())
        .arg(folder.path());
    calls_each_operation(client).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_typescript_client_made_of_the_specification_calls_each_operation() {
    let sources = root().join("tests/clients");
    let folder = tempfile::tempdir().expect("a temporary directory can be made");
    let folder = folder.path();
    for file in ["call_each.ts", "package.json", "tsconfig.json"] {
        fs::copy(sources.join(file), folder.join(file)).expect("it can be copied");
    }
    let modules = folder.join("node_modules");
    std::os::unix::fs::symlink(sources.join("node_modules"), modules).expect("it can be linked");
    let program = |path: &str| {
        let mut command = Command::new(node());
        command.current_dir(folder).arg(path);
        command
    };
    let mut generator = program("node_modules/openapi-typescript/bin/cli.js");
    generator.arg(specification()).args(["-o", "schema.d.ts"]);
    succeeds(generator).await;
    succeeds(program("node_modules/typescript/bin/tsc")).await;
    calls_each_operation(program("call_each.js")).await;
}
