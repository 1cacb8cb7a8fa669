//! `realm apply --dry-run` and `realm export`.

use serde_json::{Value, json};

use super::{Scene, files_in, realm};
use crate::kit::database::DIGITS;
use crate::kit::source::root;
use crate::kit::{TestDatabase, on_every_database};

on_every_database! {
    a_dry_run_says_what_would_become_of_each_realm_and_changes_no_row,
    a_dry_run_shows_what_differs_without_the_defaults_of_secret_parameters,
    a_dry_run_brings_no_schema_up_to_date,
    a_dry_run_leaves_nothing_where_a_server_keeps_its_files,
    a_dry_run_says_of_nothing_that_it_would_be_deleted_where_a_file_cannot_be_read,
    a_dry_run_counts_all_secrets_of_which_nobody_knows_what_they_would_lack,
    a_cycle_of_parents_among_the_files_is_refused_before_anything_is_changed,
    exported_realms_are_taken_back_unchanged,
}

/// The items of a dry run by their realms.
fn of<'a>(report: &'a Value, id: &str) -> &'a Value {
    let items = report["realms"].as_array().expect("a list");
    let mut found = items.iter().filter(|item| item["realm"] == id);
    found.next().expect("the realm is there")
}

async fn a_dry_run_says_what_would_become_of_each_realm_and_changes_no_row(database: TestDatabase) {
    let scene = Scene::new(database).await;
    scene.write("realms/a.json", &realm("a", "https://a.example/", &["p"]));
    scene.write("realms/b.json", &realm("b", "https://b.example/", &[]));
    scene.write("realms/gone.json", &json!({"id": "gone"}));
    scene.write("realms/kept.json", &json!({"id": "kept"}));
    scene.good(&["realm", "apply", "realms"]).await;
    let secrets = json!([
        {"realm": "a", "key": "x", "params": {"p": "1"}},
        {"realm": "kept", "key": "y", "params": {}},
    ]);
    scene.write("secrets.json", &secrets);
    scene.good(&["secret", "apply", "secrets.json"]).await;
    let state = scene.state().await;

    let unchanged = scene.dry_run(&["realm", "apply", "realms"], 0).await;
    assert_eq!(unchanged["would_change"], false);
    assert_eq!(unchanged["counts"]["unchanged"], 4);

    for name in ["gone", "kept"] {
        std::fs::remove_file(scene.path(&format!("realms/{name}.json"))).expect("it is there");
    }
    scene.write(
        "realms/a.json",
        &realm("a", "https://elsewhere.example/", &["p", "q"]),
    );
    scene.write("realms/c.json", &realm("c", "https://c.example/", &[]));
    let changed = scene.dry_run(&["realm", "apply", "realms"], 3).await;
    let a = of(&changed, "a");
    assert_eq!(a["outcome"], "changed");
    assert_eq!(
        a["destinations"],
        json!([{
            "pointer": "/config/url", "before": "https://a.example/",
            "after": "https://elsewhere.example/",
        }])
    );
    assert_eq!(a["lacking_secrets"], json!([{"key": "x", "params": ["q"]}]));
    let diff = a["diff"].as_str().expect("a diff");
    assert!(
        diff.contains("-    \"url\": \"https://a.example/\","),
        "{diff}"
    );
    assert!(
        diff.contains("+    \"url\": \"https://elsewhere.example/\","),
        "{diff}"
    );
    assert_eq!(of(&changed, "b")["outcome"], "unchanged");
    let c = of(&changed, "c");
    assert_eq!((&c["outcome"], &c["diff"]), (&json!("new"), &json!(null)));
    assert_eq!(c["destinations"][0]["after"], "https://c.example/");

    let pruned = scene
        .dry_run(&["realm", "apply", "realms", "--prune"], 1)
        .await;
    assert_eq!(of(&pruned, "gone")["outcome"], "deleted");
    let kept = of(&pruned, "kept");
    assert_eq!(kept["outcome"], "refused");
    let why = kept["faults"][0]["detail"].as_str().expect("a reason");
    assert!(why.contains("still has secrets"), "{why}");

    scene.write_text("realms/d.json", "{");
    scene.write(
        "realms/e.json",
        &json!({"id": "e", "config": {"url": 1}, "odd": 1}),
    );
    let refused = scene.run(&["realm", "apply", "realms", "--dry-run"]).await;
    assert_eq!(refused.code, Some(1));
    for told in [
        "realms/a.json: a: changed\n",
        "  sends elsewhere: /config/url https://a.example/ → https://elsewhere.example/\n",
        "  secrets that would lack what the realm requires: 1: x (q)\n",
        "realms/b.json: b: unchanged\n",
        "realms/c.json: c: new\n",
        "realms/d.json: refused\n  is not JSON: line 1",
        "  /odd is not a field here",
        "realms: 1 new, 1 changed, 1 unchanged, 0 deleted, 2 refused\n",
        "this was a dry run: nothing was changed\n",
    ] {
        assert!(refused.stdout.contains(told), "{told}: {}", refused.stdout);
    }
    assert!(
        !refused.stdout.contains('\u{1b}'),
        "no terminal, no colours"
    );
    assert_eq!(scene.state().await, state);
}

async fn a_dry_run_shows_what_differs_without_the_defaults_of_secret_parameters(
    database: TestDatabase,
) {
    let scene = Scene::new(database).await;
    let with = |value: &str| {
        let mut realm = realm("a", "https://a.example/", &["p"]);
        realm["config"]["params"]["p"] = json!({"default": value});
        realm
    };
    scene.write("a.json", &with("canary-one"));
    scene.good(&["realm", "apply", "a.json"]).await;
    scene.write("a.json", &with("canary-two"));
    let ended = scene.run(&["realm", "apply", "--dry-run", "a.json"]).await;
    assert_eq!(ended.code, Some(3), "{}", ended.stderr);
    assert!(ended.stdout.contains("*** (changed)"), "{}", ended.stdout);
    assert!(!ended.stdout.contains("canary"), "{}", ended.stdout);
}

async fn a_dry_run_says_of_nothing_that_it_would_be_deleted_where_a_file_cannot_be_read(
    database: TestDatabase,
) {
    let scene = Scene::new(database).await;
    for id in ["a", "b"] {
        scene.write(&format!("realms/{id}.json"), &json!({"id": id}));
    }
    scene.good(&["realm", "apply", "realms"]).await;
    // It may be the file of a realm that is registered.
    scene.write_text("realms/b.json", "{");
    let arguments = ["realm", "apply", "realms", "--prune"];
    let report = scene.dry_run(&arguments, 1).await;
    assert_eq!(report["counts"]["deleted"], 0, "{report}");
    assert_eq!(report["counts"]["refused"], 1, "{report}");
    std::fs::remove_file(scene.path("realms/b.json")).expect("it is there");
    // A deletion alone is a change.
    let report = scene.dry_run(&arguments, 3).await;
    assert_eq!(of(&report, "b")["outcome"], "deleted");
}

async fn a_dry_run_counts_all_secrets_of_which_nobody_knows_what_they_would_lack(
    database: TestDatabase,
) {
    let scene = Scene::new(database).await;
    scene.write("a.json", &realm("a", "https://a.example/", &["p"]));
    scene.good(&["realm", "apply", "a.json"]).await;
    scene.write(
        "s.json",
        &json!({"realm": "a", "key": "k", "params": {"p": "1"}}),
    );
    scene.good(&["secret", "apply", "s.json"]).await;
    // Their parameters were sealed for another secret; they are more than are read at once.
    let copied = format!(
        "INSERT INTO ts_secret (realm_id, key_name, params, version, created_at, updated_at) \
         SELECT realm_id, CONCAT('copy-', a.d, b.d, c.d), params, version, created_at, updated_at \
         FROM ts_secret, {DIGITS} a, {DIGITS} b, {DIGITS} c WHERE a.d < 6"
    );
    scene.database.run(&copied).await;
    scene.write("a.json", &realm("a", "https://a.example/", &["p", "q"]));
    let report = scene.dry_run(&["realm", "apply", "a.json"], 3).await;
    let a = of(&report, "a");
    assert_eq!(a["unknown_secrets_total"], 600, "{a}");
    assert_eq!(a["lacking_secrets_total"], 1, "{a}");
}

async fn a_dry_run_leaves_nothing_where_a_server_keeps_its_files(database: TestDatabase) {
    let scene = Scene::new(database).await;
    scene.write("a.json", &json!({"id": "a"}));
    let data = scene.path("data");
    std::fs::create_dir(&data).expect("a folder");
    let mut dry_run = scene.command(&["realm", "apply", "a.json", "--dry-run"]);
    let ended = crate::cli::end(dry_run.env("TOKEN_SERVER__DATA_DIR", &data)).await;
    assert_eq!(ended.code, Some(3), "{}", ended.stderr);
    let made: Vec<_> = std::fs::read_dir(&data).expect("it is there").collect();
    assert!(made.is_empty(), "{made:?}");
}

async fn a_dry_run_brings_no_schema_up_to_date(database: TestDatabase) {
    let scene = Scene::new(database).await;
    scene.write("a.json", &json!({"id": "a"}));
    scene.write("s.json", &json!({"realm": "a", "key": "k"}));
    let last = "DELETE FROM ts_migration WHERE version LIKE '%_000028_%'";
    scene.database.run(last).await;
    let steps = "SELECT COUNT(*) FROM ts_migration";
    let before = scene.database.number(steps).await;
    for arguments in [["realm", "apply", "a.json"], ["secret", "apply", "s.json"]] {
        let refused = scene.run(&[&arguments[..], &["--dry-run"]].concat()).await;
        assert_eq!(refused.code, Some(2), "{}", refused.stdout);
        let said = refused.stderr;
        assert!(said.contains("is older than this program"), "{said}");
    }
    assert_eq!(scene.database.number(steps).await, before);
}

async fn a_cycle_of_parents_among_the_files_is_refused_before_anything_is_changed(
    database: TestDatabase,
) {
    let scene = Scene::new(database).await;
    for (id, parent) in [("a", "b"), ("b", "c"), ("c", "a")] {
        let mut realm = realm(id, "https://a.example/", &["key"]);
        realm["config"]["parent"] = json!({"realm": parent, "key": "$key"});
        scene.write(&format!("{id}.json"), &realm);
    }
    let planned = scene.dry_run(&["realm", "apply", "."], 1).await;
    assert_eq!(planned["counts"]["refused"], 3);
    let refused = scene.run(&["realm", "apply", "."]).await;
    assert_eq!(refused.code, Some(1), "{}", refused.stdout);
    assert!(
        refused.stderr.contains("makes a cycle of parents"),
        "{}",
        refused.stderr
    );
    let realms = "SELECT COUNT(*) FROM ts_realm";
    assert_eq!(scene.database.number(realms).await, 0);

    // Parents that are registered in another order than they are needed are no fault.
    let mut alone = realm("c", "https://a.example/", &["key"]);
    alone["comment"] = json!("derived from nothing");
    scene.write("c.json", &alone);
    scene.dry_run(&["realm", "apply", "."], 3).await;
    scene.good(&["realm", "apply", "."]).await;
}

/// Documents that the files of presets have nothing of.
fn odd() -> Value {
    let mut numbers = realm("numbers", "https://a.example/", &[]);
    numbers["config"]["default_expires_in_s"] = json!(3600);
    let mut derived = realm("a/b %2F企业\u{1f511}", "https://a.example/", &["key"]);
    derived["config"]["parent"] = json!({"realm": "numbers", "key": "$key"});
    json!([
        numbers,
        derived,
        {"id": "fixed"},
        {"id": "Fixed", "comment": ""},
        {"id": "said", "comment": "two\nlines \"and\" \\ \u{7f}\u{2028}"},
        {"id": "logic", "logic_code": "https://logic.example/token"},
        {"id": ".a"},
    ])
}

async fn exported_realms_are_taken_back_unchanged(database: TestDatabase) {
    let scene = Scene::new(database).await;
    scene.write("odd.json", &odd());
    let presets = root().join("presets").display().to_string();
    let apply = ["realm", "apply", &presets, "odd.json"];
    let applied = scene.good(&apply).await;
    let count = applied.lines().count();
    assert!(count > 250, "all presets are there");
    let written = scene
        .good(&["realm", "export", "--all", "--output", "out"])
        .await;
    assert_eq!(written.lines().count(), count);
    let files = files_in(&scene.path("out"));
    assert_eq!(files.len(), count, "no two have one file");

    let state = scene.state().await;
    let again = scene.good(&["realm", "apply", "out"]).await;
    assert!(
        again.lines().all(|line| line.ends_with(": unchanged")),
        "{again}"
    );
    assert_eq!(scene.state().await, state);

    let other = Scene::new(TestDatabase::sqlite()).await;
    let out = scene.path("out").display().to_string();
    other.good(&["realm", "apply", &out]).await;
    other
        .good(&["realm", "export", "--all", "--output", "out"])
        .await;
    assert_eq!(files_in(&other.path("out")), files);

    let one: Value =
        serde_json::from_str(&scene.good(&["realm", "export", "logic"]).await).expect("it is JSON");
    assert_eq!(one, odd()[5]);
    let all = other.good(&["realm", "export", "--all"]).await;
    other.write_text("all.json", &all);
    let report = other.dry_run(&["realm", "apply", "all.json"], 0).await;
    assert_eq!(report["counts"]["unchanged"], count);
    let unknown = other.run(&["realm", "export", "nowhere"]).await;
    assert_eq!(unknown.code, Some(2));
    assert!(unknown.stderr.contains("nowhere"), "{}", unknown.stderr);
}
