//! `secret apply`.

use serde_json::{Value, json};

use super::{Scene, realm};
use crate::kit::{Server, TestDatabase, on_every_database};

on_every_database! {
    secrets_become_what_files_say_with_values_from_elsewhere_and_a_second_run_changes_nothing,
    a_dry_run_of_secrets_says_which_parameters_would_change_and_shows_none,
    nothing_is_changed_where_any_secret_is_refused,
    what_cannot_be_read_is_named_by_its_place_and_never_shown,
    a_fixed_token_is_declared_too,
    a_file_that_holds_secrets_as_they_are_and_that_any_user_can_read_is_refused,
}

const CANARY: &str = "canary-Qw3rTy8uIo";

async fn secrets_become_what_files_say_with_values_from_elsewhere_and_a_second_run_changes_nothing(
    database: TestDatabase,
) {
    let scene = Scene::new(database).await;
    let params = ["literal", "file", "env", "command"];
    scene.write("realm.json", &realm("r", "https://r.example/", &params));
    scene.good(&["realm", "apply", "realm.json"]).await;
    scene.write_text("secrets/values/file", "of-the-file\n");
    let secret = json!({"realm": "r", "key": "k", "params": {
        "literal": "typed",
        // From the folder of the file that says so.
        "file": {"file": "values/file"},
        "env": {"env": "OF_THE_ENVIRONMENT"},
        "command": {"command": ["/bin/sh", "-c", "echo \"$1 ${DATABASE_URL:-withheld}\"", "-", "of a command"]},
    }});
    scene.write("secrets/k.json", &secret);
    let apply = |arguments: &[&str]| {
        let mut command = scene.command(&[&["secret", "apply", "secrets"], arguments].concat());
        command.env("OF_THE_ENVIRONMENT", "of-the-environment");
        command.env("PATH", "/usr/bin:/bin");
        command
    };
    let ended = crate::cli::end(&mut apply(&[])).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(ended.stdout, "r/k: created\n");

    scene.good(&["export", "--output", "sealed"]).await;
    let state = scene.state().await;
    let ended = crate::cli::end(&mut apply(&[])).await;
    assert_eq!(ended.stdout, "r/k: unchanged\n", "{}", ended.stderr);
    let ended = crate::cli::end(&mut apply(&["--dry-run"])).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(
        scene.state().await,
        state,
        "no version, and no entry of the audit"
    );

    // The values are those that were meant.
    let plain = json!({"realm": "r", "key": "k", "params": {
        "literal": "typed", "file": "of-the-file", "env": "of-the-environment",
        "command": "of a command withheld",
    }});
    scene.write("plain.json", &plain);
    let told = scene.good(&["secret", "apply", "plain.json"]).await;
    assert_eq!(told, "r/k: unchanged\n");

    let mut changed = plain.clone();
    changed["params"]["file"] = json!("another");
    scene.write("plain.json", &changed);
    let told = scene.good(&["secret", "apply", "plain.json"]).await;
    assert_eq!(told, "r/k: changed\n");
    let server = Server::start(&scene.database).await;
    let audit = server.client.list("/api/audit").await;
    let saved = audit.iter().find(|entry| entry["action"] == "secret.save");
    let saved = saved.expect("an entry");
    assert_eq!(saved["actor"], "command line");
    assert_eq!(saved["after"], json!({"params": {"file": "***"}}));
}

async fn a_dry_run_of_secrets_says_which_parameters_would_change_and_shows_none(
    database: TestDatabase,
) {
    let scene = Scene::new(database).await;
    let mut optional = realm("r", "https://r.example/", &["a", "b", "c"]);
    optional["config"]["params"]["c"] = json!({"optional": true});
    scene.write("realm.json", &optional);
    scene.good(&["realm", "apply", "realm.json"]).await;
    let secret = |params: Value| json!({"realm": "r", "key": "k", "params": params});
    let first =
        secret(json!({"a": format!("{CANARY}-a"), "b": format!("{CANARY}-b"), "c": CANARY}));
    scene.write("s.json", &first);
    let new = scene.dry_run(&["secret", "apply", "s.json"], 3).await;
    assert_eq!(new["secrets"][0]["outcome"], "new");
    scene.good(&["secret", "apply", "s.json"]).await;
    let state = scene.state().await;
    scene.write(
        "s.json",
        &secret(json!({"a": format!("{CANARY}-other"), "b": format!("{CANARY}-b")})),
    );
    let changed = scene.dry_run(&["secret", "apply", "s.json"], 3).await;
    let one = &changed["secrets"][0];
    assert_eq!(one["outcome"], "changed");
    let names: Vec<_> = one["params"].as_array().expect("a list").iter().collect();
    assert_eq!(names.len(), 2, "{one}");
    assert_eq!(names[0]["name"], "a");
    assert_eq!(
        (&names[1]["name"], &names[1]["after"]),
        (&json!("c"), &json!(null))
    );
    let ended = scene.run(&["secret", "apply", "s.json", "--dry-run"]).await;
    assert!(
        ended.stdout.contains("s.json: r/k: changed\n  a: "),
        "{}",
        ended.stdout
    );
    assert!(ended.stdout.contains(" is cleared\n"), "{}", ended.stdout);
    for told in [&changed.to_string(), &ended.stdout, &ended.stderr] {
        assert!(!told.contains(CANARY), "{told}");
    }
    assert_eq!(scene.state().await, state);
}

async fn nothing_is_changed_where_any_secret_is_refused(database: TestDatabase) {
    let scene = Scene::new(database).await;
    scene.write("realm.json", &realm("r", "https://r.example/", &["a", "b"]));
    scene.good(&["realm", "apply", "realm.json"]).await;
    let both = json!({"a": "1", "b": "2"});
    let secrets = json!([
        {"realm": "r", "key": "good", "params": both},
        {"realm": "r", "key": "lacks", "params": {"a": "1"}},
        {"realm": "r", "key": "knows", "params": {"a": "1", "b": "2", "appid": "3"}},
        {"realm": "nowhere", "key": "k", "params": both},
        {"realm": "r", "key": "good", "params": both},
        {"realm": "r", "key": "token", "params": both, "token": "t"},
        {"realm": "r", "key": "odd", "param": both},
        {"realm": "r"},
    ]);
    scene.write("s.json", &secrets);
    let refused = scene.run(&["secret", "apply", "s.json"]).await;
    assert_eq!(refused.code, Some(1), "{}", refused.stdout);
    for told in [
        "s.json: /1/params/b is required by the realm",
        "s.json: /2/params/appid is not a parameter of this realm; known are a, b",
        "s.json: /3 there is no realm \"nowhere\"",
        "s.json: /4/key is the secret of s.json, too",
        "s.json: /5 the realm is not one of fixed tokens",
        "s.json: /6/param is not a field here; known are realm, key, params",
        "s.json: /7/key is required",
        "nothing was changed",
    ] {
        assert!(refused.stderr.contains(told), "{told}: {}", refused.stderr);
    }
    let secrets = "SELECT COUNT(*) FROM ts_secret";
    assert_eq!(scene.database.number(secrets).await, 0);
}

async fn what_cannot_be_read_is_named_by_its_place_and_never_shown(database: TestDatabase) {
    let scene = Scene::new(database).await;
    scene.write("realm.json", &realm("r", "https://r.example/", &["p"]));
    scene.good(&["realm", "apply", "realm.json"]).await;
    scene.write_text("long", &CANARY.repeat(10_000));
    let shell = |script: &str| json!({"command": ["/bin/sh", "-c", script]});
    for (value, told) in [
        (
            json!({"file": "missing"}),
            "/params/p/file missing cannot be read: No such file",
        ),
        (
            json!({"file": "long"}),
            "/params/p/file long holds more than 65536 bytes",
        ),
        (
            json!({"env": "NOT_SET"}),
            "/params/p/env names the variable NOT_SET, which is not set",
        ),
        (
            json!({"command": ["./missing"]}),
            "/params/p/command ./missing cannot be run",
        ),
        (
            shell(&format!("echo {CANARY}; echo {CANARY} >&2; exit 3")),
            "/params/p/command /bin/sh failed (exit status: 3)",
        ),
        (shell("exit 0"), "/params/p/command printed nothing"),
        (
            shell(&format!("while :; do echo {CANARY}; done")),
            "/params/p/command /bin/sh was ended: it printed more than",
        ),
        (
            shell("sleep 60"),
            "/params/p/command /bin/sh was ended: it took longer than --command-timeout (2 s)",
        ),
        (
            json!({"command": []}),
            "/params/p/command must be a list of texts that begins with a program",
        ),
        (
            json!({"command": CANARY}),
            "/params/p/command must be a list",
        ),
        (
            json!({"env": "A", "file": "b"}),
            "/params/p must be a string, or an object that says where",
        ),
        (
            json!({"environment": CANARY}),
            "/params/p/environment is not a field here; known are file, env, sealed, command",
        ),
        (
            json!({"sealed": CANARY}),
            "/params/p/sealed is no value that `token-server export` has sealed",
        ),
        (
            json!(5),
            "/params/p must be a string, or an object that says where",
        ),
    ] {
        let secret = json!({"realm": "r", "key": "k", "params": {"p": value}});
        scene.write("s.json", &secret);
        let refused = scene
            .run(&["secret", "apply", "s.json", "--command-timeout", "2s"])
            .await;
        assert_eq!(refused.code, Some(1), "{}", refused.stdout);
        assert!(refused.stderr.contains(told), "{told}: {}", refused.stderr);
        assert!(!refused.stderr.contains(CANARY), "{}", refused.stderr);
    }
    let open = <std::fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o644);
    scene.write_text("short", CANARY);
    std::fs::set_permissions(scene.path("short"), open).expect("it is ours");
    let secret = json!({"realm": "r", "key": "k", "params": {"p": {"file": "short"}}});
    scene.write("s.json", &secret);
    let refused = scene.run(&["secret", "apply", "s.json"]).await;
    assert!(refused.stderr.contains("chmod 600"), "{}", refused.stderr);
}

async fn a_fixed_token_is_declared_too(database: TestDatabase) {
    let scene = Scene::new(database).await;
    scene.write("realm.json", &json!({"id": "fixed"}));
    scene.good(&["realm", "apply", "realm.json"]).await;
    let end = 4_102_444_800_000_i64;
    let secret =
        json!({"realm": "fixed", "key": "k", "token": {"env": "TOKEN"}, "expires_at": end});
    scene.write("s.json", &secret);
    let apply = |token: &str| {
        let mut command = scene.command(&["secret", "apply", "s.json"]);
        command.env("TOKEN", token);
        command
    };
    let ended = crate::cli::end(&mut apply(CANARY)).await;
    assert_eq!(ended.stdout, "fixed/k: created\n", "{}", ended.stderr);
    let state = scene.state().await;
    let ended = crate::cli::end(&mut apply(CANARY)).await;
    assert_eq!(ended.stdout, "fixed/k: unchanged\n", "{}", ended.stderr);
    assert_eq!(scene.state().await, state);
    let ended = crate::cli::end(&mut apply("another")).await;
    assert_eq!(ended.stdout, "fixed/k: changed\n", "{}", ended.stderr);
    // One that is left out stays.
    scene.write("s.json", &json!({"realm": "fixed", "key": "k"}));
    let ended = crate::cli::end(&mut apply("")).await;
    assert_eq!(ended.stdout, "fixed/k: unchanged\n", "{}", ended.stderr);
    let server = Server::start(&scene.database).await;
    let read = server.client.token("fixed", "k").await.expect(200).json();
    assert_eq!(read["token"], "another");
}

async fn a_file_that_holds_secrets_as_they_are_and_that_any_user_can_read_is_refused(
    database: TestDatabase,
) {
    use std::fs::{Permissions, set_permissions};
    use std::os::unix::fs::PermissionsExt;
    let scene = Scene::new(database).await;
    let mut with_params = realm("r", "https://r.example/", &["id", "p"]);
    with_params["config"]["params"]["id"] = json!({"secret": false});
    scene.write("realm.json", &with_params);
    scene.write("fixed.json", &json!({"id": "fixed"}));
    scene
        .good(&["realm", "apply", "realm.json", "fixed.json"])
        .await;
    scene.write_text("value", CANARY);
    let apply = async |secret: Value, mode: u32| {
        scene.write("s.json", &json!([secret]));
        set_permissions(scene.path("s.json"), Permissions::from_mode(mode)).expect("it is ours");
        scene.run(&["secret", "apply", "s.json"]).await
    };
    let literal = json!({"realm": "r", "key": "k", "params": {"id": "an-id", "p": CANARY}});
    let token = json!({"realm": "fixed", "key": "k", "token": CANARY});
    for (secret, pointer) in [(&literal, "/0/params/p"), (&token, "/0/token")] {
        let refused = apply(secret.clone(), 0o644).await;
        assert_eq!(refused.code, Some(1), "{}", refused.stdout);
        let told = format!("s.json: {pointer} is here as it is, and s.json holds a secret");
        assert!(refused.stderr.contains(&told), "{}", refused.stderr);
        assert!(refused.stderr.contains("chmod 600"), "{}", refused.stderr);
        assert!(!refused.stderr.contains(CANARY), "{}", refused.stderr);
    }
    let secrets = "SELECT COUNT(*) FROM ts_secret";
    assert_eq!(scene.database.number(secrets).await, 0);
    // What is no secret may be read by anybody, and a group may read all of it.
    let elsewhere = json!({"id": "an-id", "p": {"file": "value"}});
    let elsewhere = json!({"realm": "r", "key": "k", "params": elsewhere});
    for (secret, mode) in [(elsewhere, 0o644), (literal, 0o640), (token, 0o600)] {
        let good = apply(secret, mode).await;
        assert_eq!(good.code, Some(0), "{}", good.stderr);
    }
}
