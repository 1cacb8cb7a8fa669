//! `export`: credentials as files, sealed unless somebody at a terminal says otherwise.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{Scene, files_in, realm};
use crate::kit::process::BINARY;
use crate::kit::{Server, TestDatabase, on_every_database};

on_every_database! {
    what_is_exported_is_taken_in_by_an_empty_server_with_the_same_keys_only,
    a_sealed_value_opens_in_its_own_place_only,
    an_export_is_private_audited_and_mixes_with_nothing,
    an_export_holds_every_secret_and_says_what_it_leaves_out,
    values_are_written_as_they_are_only_once_that_is_confirmed_on_a_terminal,
}

const CANARIES: [&str; 3] = [
    "canary-Zx9cVb4nMl",
    "canary-Pq7wEr2tYu",
    "canary-Fx3cVg6BhN",
];

/// A server with a realm of a provider and one of fixed tokens, each with a secret.
async fn scene(database: TestDatabase) -> Scene {
    let scene = Scene::new(database).await;
    let realms = json!([realm("r", "https://r.example/", &["a", "b"]), {"id": "fixed"}]);
    scene.write("realms.json", &realms);
    scene.good(&["realm", "apply", "realms.json"]).await;
    let [a, b, token] = CANARIES;
    let secrets = json!([
        {"realm": "r", "key": "k", "params": {"a": a, "b": b}},
        {"realm": "r", "key": "l", "params": {"a": b, "b": a}},
        {"realm": "fixed", "key": "f", "token": token, "expires_at": 4_102_444_800_000_i64},
    ]);
    scene.write("secrets.json", &secrets);
    scene.good(&["secret", "apply", "secrets.json"]).await;
    scene
}

fn document(scene: &Scene, file: &str) -> Value {
    let text = fs::read_to_string(scene.path(file)).expect("it is there");
    serde_json::from_str(&text).expect("it is JSON")
}

async fn what_is_exported_is_taken_in_by_an_empty_server_with_the_same_keys_only(
    database: TestDatabase,
) {
    let scene = scene(database).await;
    let told = scene.good(&["export", "--output", "out"]).await;
    assert!(
        told.contains("wrote 2 realm(s) and 3 secret(s) (sealed) to out"),
        "{told}"
    );
    for (name, text) in files_in(&scene.path("out/secrets")) {
        for canary in CANARIES {
            let forms = [canary.to_owned(), STANDARD.encode(canary)];
            let is_there = forms
                .iter()
                .any(|form| text.contains(form.trim_end_matches('=')));
            assert!(!is_there, "{name} holds {canary}");
        }
    }

    let other = Scene::new(TestDatabase::sqlite()).await;
    let [realms, secrets] =
        ["realms", "secrets"].map(|name| scene.path(&format!("out/{name}")).display().to_string());
    other.good(&["realm", "apply", &realms]).await;
    let told = other.good(&["secret", "apply", &secrets]).await;
    assert_eq!(told, "fixed/f: created\nr/k: created\nr/l: created\n");
    // It holds what the first one held.
    let first = scene.path("secrets.json").display().to_string();
    let told = other.good(&["secret", "apply", &first]).await;
    assert_eq!(told, "r/k: unchanged\nr/l: unchanged\nfixed/f: unchanged\n");
    let server = Server::start(&other.database).await;
    let read = server.client.token("fixed", "f").await.expect(200).json();
    assert_eq!(read["token"], CANARIES[2]);
    drop(server);

    let stranger = Scene::new(TestDatabase::sqlite()).await;
    let keys = format!("another:{}", STANDARD.encode([9; 32]));
    let ended = |arguments: &[&str]| {
        let mut command = stranger.command(arguments);
        command.env("TOKEN_SERVER__SEALING__KEYS", &keys);
        command
    };
    let applied = crate::cli::end(&mut ended(&["realm", "apply", &realms])).await;
    assert_eq!(applied.code, Some(0), "{}", applied.stderr);
    let refused = crate::cli::end(&mut ended(&["secret", "apply", &secrets])).await;
    assert_eq!(refused.code, Some(1), "{}", refused.stdout);
    assert!(
        refused.stderr.contains("r.json: /0/params/a/sealed is sealed with the key \"test\", which this server's key ring lacks"),
        "{}",
        refused.stderr
    );
}

async fn a_sealed_value_opens_in_its_own_place_only(database: TestDatabase) {
    let scene = scene(database).await;
    scene.good(&["export", "--output", "out"]).await;
    let secrets = document(&scene, "out/secrets/r.json");
    assert_eq!(secrets[0]["key"], "k");
    let mut moved = secrets.clone();
    // To another parameter, to another secret, and one that was changed.
    moved[0]["params"]["a"] = secrets[0]["params"]["b"].clone();
    moved[1]["params"]["a"] = secrets[0]["params"]["a"].clone();
    let changed = secrets[1]["params"]["b"]["sealed"]
        .as_str()
        .expect("a text");
    let mut bytes = STANDARD.decode(changed).expect("base64");
    *bytes.last_mut().expect("a byte") ^= 1;
    moved[1]["params"]["b"] = json!({"sealed": STANDARD.encode(bytes)});
    scene.write("moved.json", &moved);
    let state = scene.state().await;
    let refused = scene.run(&["secret", "apply", "moved.json"]).await;
    assert_eq!(refused.code, Some(1), "{}", refused.stdout);
    for place in ["/0/params/a", "/1/params/a", "/1/params/b"] {
        let told =
            format!("moved.json: {place}/sealed cannot be opened: it was changed, or moved here");
        assert!(refused.stderr.contains(&told), "{told}: {}", refused.stderr);
    }
    assert!(
        !refused.stderr.contains("/0/params/b"),
        "{}",
        refused.stderr
    );
    assert_eq!(scene.state().await, state);
}

async fn an_export_is_private_audited_and_mixes_with_nothing(database: TestDatabase) {
    let scene = scene(database).await;
    let ended = scene.run(&["export", "--output", "out"]).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let mode = |name: &str| {
        let found = fs::metadata(scene.path(name)).expect("it is there");
        found.permissions().mode() & 0o777
    };
    for folder in ["out", "out/realms", "out/secrets"] {
        assert_eq!(mode(folder), 0o700, "{folder}");
    }
    for file in [
        "out/realms/r.json",
        "out/secrets/r.json",
        "out/secrets/fixed.json",
    ] {
        assert_eq!(mode(file), 0o600, "{file}");
    }
    let again = scene.run(&["export", "--output", "out"]).await;
    assert_eq!(again.code, Some(2));
    assert!(again.stderr.contains("is not empty"), "{}", again.stderr);
    let one = scene
        .good(&["export", "--realm", "fixed", "--output", "one"])
        .await;
    assert!(one.contains("wrote 1 realm(s) and 1 secret(s)"), "{one}");
    for told in [&ended.stdout, &ended.stderr, &again.stderr, &one] {
        assert!(!told.contains("canary"), "{told}");
    }
    let server = Server::start(&scene.database).await;
    let audit = server.client.list("/api/audit").await;
    let looks = audit
        .iter()
        .filter(|entry| entry["action"] == "secret.export");
    let mut looks: Vec<_> = looks
        .map(|look| (&look["actor"], &look["target"]))
        .collect();
    looks.sort_by_key(|(_, target)| target.as_str());
    let by = json!("command line");
    let targets = ["fixed/f", "fixed/f", "r/k", "r/l"].map(|target| json!(target));
    let expected: Vec<_> = targets.iter().map(|target| (&by, target)).collect();
    assert_eq!(looks, expected);
    assert!(!json!(audit).to_string().contains("canary"));
}

async fn an_export_holds_every_secret_and_says_what_it_leaves_out(database: TestDatabase) {
    let scene = Scene::new(database).await;
    scene.write("fixed.json", &json!({"id": "fixed"}));
    scene.good(&["realm", "apply", "fixed.json"]).await;
    // More than are read at once.
    let secret =
        |number| json!({"realm": "fixed", "key": format!("k{number}"), "token": "the-token"});
    let secrets: Vec<_> = (0..103).map(secret).collect();
    scene.write("secrets.json", &json!(secrets));
    scene.good(&["secret", "apply", "secrets.json"]).await;
    for changed in [
        "UPDATE ts_token SET expires_at = 1 WHERE key_name = 'k0'",
        "UPDATE ts_token SET refresh_token = token WHERE key_name = 'k1'",
        "UPDATE ts_secret SET params = X'00' WHERE key_name = 'k2'",
        "UPDATE ts_token SET token = X'00' WHERE key_name = 'k3'",
    ] {
        scene.database.run(changed).await;
    }
    let ended = scene.run(&["export", "--output", "out"]).await;
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    for told in [
        "1 secrets have refresh tokens that their providers have issued since",
        "left out: secret fixed/k2: ",
        "left out: secret fixed/k3: ",
    ] {
        assert!(ended.stderr.contains(told), "{told}: {}", ended.stderr);
    }
    let written = document(&scene, "out/secrets/fixed.json");
    let written = written.as_array().expect("a list");
    assert_eq!(written.len(), 101, "{}", ended.stdout);
    let without_token: Vec<_> = written
        .iter()
        .filter(|secret| secret["token"].is_null())
        .map(|secret| secret["key"].as_str())
        .collect();
    assert_eq!(without_token, [Some("k0")], "it has expired");
    // What is named must be there.
    let missing = ["export", "--realm", "missing", "--output", "other"];
    let refused = scene.run(&missing).await;
    assert_eq!(refused.code, Some(2), "{}", refused.stdout);
    assert!(!scene.path("other").exists());
}

/// Types a line on a terminal that a command has.
fn typed(scene: &Scene, arguments: &str, line: &str) -> (String, Option<i32>) {
    use std::io::Write;
    let mut command = scene.command(&[]);
    let env: Vec<_> = command
        .get_envs()
        .filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())))
        .collect();
    command = Command::new("script");
    let mut child = command
        .args(["-qec", &format!("{BINARY} {arguments}"), "/dev/null"])
        .env_clear()
        .envs(env)
        .env("PATH", "/usr/bin:/bin")
        .env("SHELL", "/bin/sh")
        .current_dir(scene.folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("script starts");
    let mut stdin = child.stdin.take().expect("standard input is piped");
    stdin.write_all(line.as_bytes()).expect("it is typed");
    let ended = child.wait_with_output().expect("it ends");
    drop(stdin);
    let printed = String::from_utf8_lossy(&ended.stdout).into_owned();
    (printed, ended.status.code())
}

async fn values_are_written_as_they_are_only_once_that_is_confirmed_on_a_terminal(
    database: TestDatabase,
) {
    let scene = scene(database).await;
    let refused = scene.run(&["export", "--plain", "--output", "plain"]).await;
    assert_eq!(refused.code, Some(2));
    assert!(
        refused.stderr.contains("on a terminal"),
        "{}",
        refused.stderr
    );
    let export = "export --plain --output plain";
    let (printed, code) = typed(&scene, export, "yes\n");
    assert_eq!(code, Some(2), "{printed}");
    assert!(
        printed.contains("not confirmed: nothing was written"),
        "{printed}"
    );
    assert!(!scene.path("plain").exists());
    let (printed, code) = typed(&scene, export, "in the clear\n");
    assert_eq!(code, Some(0), "{printed}");
    let secrets = document(&scene, "plain/secrets/r.json");
    assert_eq!(
        secrets[0]["params"],
        json!({"a": CANARIES[0], "b": CANARIES[1]})
    );
    assert!(!printed.contains("canary"), "{printed}");
    let told = scene.good(&["secret", "apply", "plain/secrets"]).await;
    assert!(
        told.lines().all(|line| line.ends_with(": unchanged")),
        "{told}"
    );
}
