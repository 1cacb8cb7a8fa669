//! Schemathesis makes requests of the specification, good and bad, with a fixed seed: no answer
//! may be one that the specification does not promise.

use std::path::Path;

use serde_json::json;

use crate::kit::python::interpreter;
use crate::kit::server::ADMIN_KEY;
use crate::kit::{Provider, Server, TestDatabase, on_every_database};

on_every_database! {
    whatever_is_sent_the_answer_is_one_that_the_specification_promises,
}

async fn whatever_is_sent_the_answer_is_one_that_the_specification_promises(
    database: TestDatabase,
) {
    let server = Server::start(&database).await;
    let provider = Provider::start().await;
    let client = &server.client;
    // What the examples are of: where a name is right, more can go wrong.
    client.register_realm("demo", &provider.url("/token")).await;
    client.save_secret("demo", "app").await;
    client.generation("demo", "app", 1).await;
    client
        .post("/api/realm", &json!({"id": "fixed"}))
        .await
        .expect(200);
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = tempfile::tempdir().expect("a temporary directory can be made");
    let mut command = interpreter();
    command
        .current_dir(folder.path())
        .env("PYTHONPATH", root.join("tests/clients"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("SCHEMATHESIS_HOOKS", "schemathesis_hooks")
        .args(["-m", "schemathesis.cli", "--config-file"])
        .arg(root.join("tests/clients/schemathesis.toml"))
        .arg("run")
        .arg(root.join("openapi/openapi.json"))
        .args(["--checks", "all"])
        .args(["--url", &format!("http://{}", server.address())])
        .args(["--header", &format!("Authorization: Bearer {ADMIN_KEY}")]);
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
