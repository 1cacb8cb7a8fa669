//! Realms that files describe.

use serde_json::{Value, json};

use super::run;
use crate::kit::source::root;
use crate::kit::{Server, TestDatabase, on_every_database};

on_every_database! {
    realm_apply_makes_what_is_registered_as_the_files_say,
    a_preset_is_a_file_of_a_realm,
    realm_apply_changes_nothing_where_any_file_is_broken,
}

async fn realm_apply_makes_what_is_registered_as_the_files_say(database: TestDatabase) {
    let folder = tempfile::tempdir().expect("a temporary directory can be made");
    let write = |name: &str, realm: Value| {
        std::fs::write(folder.path().join(name), realm.to_string()).expect("it is writable");
    };
    let config =
        |url: &str| json!({"url": url, "method": "GET", "token_path": "t", "expires_in_path": "e"});
    write(
        "a.json",
        json!({"id": "a", "comment": "A", "config": config("https://a.example/")}),
    );
    write(
        "b.json",
        json!({"id": "b", "config": config("https://b.example/")}),
    );
    std::fs::write(folder.path().join("notes.txt"), "not a realm").expect("it is writable");
    let apply = format!("realm apply {}", folder.path().display());
    let ended = run(&database, &apply).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(ended.stdout, "a: created\nb: created\n");
    write(
        "a.json",
        json!({"id": "a", "config": config("https://a2.example/")}),
    );
    std::fs::remove_file(folder.path().join("b.json")).expect("it is there");
    let ended = run(&database, &apply).await;
    assert_eq!(ended.stdout, "a: changed\n", "{}", ended.stderr);
    let ended = run(&database, &format!("{apply} --prune")).await;
    assert_eq!(
        ended.stdout, "a: unchanged\nb: deleted\n",
        "{}",
        ended.stderr
    );
    let server = Server::start(&database).await;
    let realms = server.client.list("/api/realm").await;
    assert_eq!(realms.len(), 1);
    assert_eq!(realms[0]["config"]["url"], "https://a2.example/");
    assert!(
        realms[0]["comment"].is_null(),
        "what a file leaves out is cleared"
    );
    let audit = server.client.list("/api/audit").await;
    assert!(audit.iter().any(|entry| entry["actor"] == "command line"));
}

async fn a_preset_is_a_file_of_a_realm(database: TestDatabase) {
    let presets = root().join("presets");
    let ended = run(&database, &format!("realm check {}", presets.display())).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let auth0 = presets.join("auth0.json");
    let ended = run(&database, &format!("realm apply {}", auth0.display())).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let server = Server::start(&database).await;
    let client = &server.client;
    let realm = client.get("/api/realm/auth0").await.expect(200).json();
    let shipped = client.get("/api/preset/auth0").await.expect(200).json();
    assert_eq!(realm["data"]["config"], shipped["data"]["config"]);
    assert_eq!(realm["data"]["comment"], shipped["data"]["title"]);
}

async fn realm_apply_changes_nothing_where_any_file_is_broken(database: TestDatabase) {
    let folder = tempfile::tempdir().expect("a temporary directory can be made");
    let write = |name: &str, text: String| {
        std::fs::write(folder.path().join(name), text).expect("it is writable");
    };
    write("good.json", json!({"id": "good"}).to_string());
    write("json.json", "{".to_owned());
    let broken = json!({"id": "broken", "config": {"url": "nowhere", "what": 1}, "odd": 1});
    write("broken.json", broken.to_string());
    write("twice.json", json!({"id": "good"}).to_string());
    let ended = run(
        &database,
        &format!("realm apply {}", folder.path().display()),
    )
    .await;
    assert_eq!(ended.code, Some(1));
    for told in [
        "json.json: is not JSON: line 1",
        "broken.json: /odd is not a field here",
        "twice.json: /id is the realm of",
        "nothing was changed",
    ] {
        assert!(ended.stderr.contains(told), "{told}: {}", ended.stderr);
    }
    assert_eq!(database.number("SELECT COUNT(*) FROM ts_realm").await, 0);
}
