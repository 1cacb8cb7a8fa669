//! Schemathesis makes requests of the specification, good and bad: no answer may be one that the
//! specification does not promise. With a fixed seed, and the same ones each time; for as long as
//! SCHEMATHESIS_SECONDS says, and others each time (`make schemathesis`).

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::kit::python::interpreter;
use crate::kit::server::ADMIN_KEY;
use crate::kit::source::{read, root};
use crate::kit::{Provider, Server, TestDatabase, on_every_database};

on_every_database! {
    whatever_is_sent_the_answer_is_one_that_the_specification_promises,
}

/// For how long, where it is not to be short.
fn seconds() -> Option<String> {
    let given = std::env::vars().find(|(name, _)| name == "SCHEMATHESIS_SECONDS");
    given.map(|(_, seconds)| seconds)
}

/// The committed settings; for a long run without what makes each the same, in a file of the folder.
fn settings(folder: &Path) -> PathBuf {
    let committed = root().join("tests/clients/schemathesis.toml");
    if seconds().is_none() {
        return committed;
    }
    let text = read(&committed);
    let others_each_time = text
        .replace("seed = 1\n", "")
        .replace("deterministic = true\n", "");
    assert_eq!(others_each_time.lines().count() + 2, text.lines().count());
    let path = folder.join("schemathesis.toml");
    std::fs::write(&path, others_each_time).expect("it is written");
    path
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
    let root = root();
    let folder = tempfile::tempdir().expect("a temporary directory can be made");
    let mut command = interpreter();
    command
        .current_dir(folder.path())
        .env("PYTHONPATH", root.join("tests/clients"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("SCHEMATHESIS_HOOKS", "schemathesis_hooks")
        .args(["-m", "schemathesis.cli", "--config-file"])
        .arg(settings(folder.path()))
        .arg("run")
        .arg(root.join("openapi/openapi.json"))
        .args(["--checks", "all"])
        .args(["--url", &format!("http://{}", server.address())])
        .args(["--header", &format!("Authorization: Bearer {ADMIN_KEY}")]);
    if let Some(seconds) = seconds() {
        command.args(["--max-time", &seconds]);
    }
    let running = tokio::task::spawn_blocking(move || command.output());
    let ended = running.await.expect("nobody stops the program");
    let ended = ended.expect("the program is there; `make setup` installs it");
    // The long run shows what it did.
    #[allow(clippy::print_stdout)]
    if seconds().is_some() {
        println!("{}", String::from_utf8_lossy(&ended.stdout));
    }
    assert!(
        ended.status.success(),
        "{}{}",
        String::from_utf8_lossy(&ended.stdout),
        String::from_utf8_lossy(&ended.stderr)
    );
    // It has had the rights of an administrator to the end.
    client.get("/api/api-key").await.expect(200);
}
