//! The table of the page: each line names fields, or an argument, of a realm that works.

use serde_json::{Value, json};

use super::{Scene, merged};
use crate::kit::documented::with_keys;
use crate::kit::source::in_backticks;
use crate::kit::{TestDatabase, on_every_database};

on_every_database! {
    every_line_of_the_table_is_a_realm_that_makes_a_request,
}

/// Second cells of the last table of the page.
fn written(page: &str) -> Vec<String> {
    let rows = page.lines().filter_map(|line| line.strip_prefix("| "));
    let mut written = Vec::new();
    for row in rows {
        let row = row.replace("\\|", "\0");
        let (first, second) = row.split_once(" | ").expect("a row has two cells");
        if first == "your provider" {
            written.clear();
        }
        written.push(second.replace('\0', "|"));
    }
    written
}

/// Pieces of a document stand between backticks: fields, or an argument.
fn pieces(cell: &str) -> impl Iterator<Item = Value> {
    in_backticks(cell).filter_map(|piece| {
        let fields = match piece.chars().next()? {
            '"' => format!("{{{piece}}}"),
            '{' => format!("{{\"arguments\": [{piece}]}}"),
            _ => return None,
        };
        Some(serde_json::from_str(&fields).unwrap_or_else(|error| panic!("{piece}: {error}")))
    })
}

async fn every_line_of_the_table_is_a_realm_that_makes_a_request(database: TestDatabase) {
    let scene = Scene::set(&database).await;
    let params = json!({
        "app_id": "1001", "app_secret": "s", "host": "auth.provider.example",
        "private_key": with_keys("{{ec_private_key}}"),
        "certificate": with_keys("{{certificate}}"), "authority": with_keys("{{certificate}}"),
        "push_token": "t", "push_key": "k",
    });
    let names = params.as_object().expect("an object").keys();
    let declared: serde_json::Map<_, _> = names.map(|name| (name.clone(), json!({}))).collect();
    let written = written(&scene.page.text);
    assert!(written.len() > 20, "the table is read");
    let mut tried = 0;
    for piece in written.iter().flat_map(|cell| pieces(cell)) {
        let mut config = json!({
            "params": declared, "url": "https://auth.provider.example/token", "method": "POST",
            "token_path": "access_token",
        });
        let leaves_out: &[&str] = match piece["token"].as_str() {
            Some("assertion") => &["url", "method", "token_path"],
            Some(_) => &["token_path"],
            None => &[],
        };
        for field in leaves_out {
            config[field] = Value::Null;
        }
        let trial = json!({"config": merged(config, &piece), "params": params, "ticket": "t"});
        let reply = scene.client().dry_run(&trial).await;
        assert_eq!(reply.status, 200, "{piece}: {}", reply.text);
        let shown = reply.json()["data"].clone();
        let made = shown["exchanges"].as_array().map_or(0, Vec::len);
        assert!(made > 0 || shown["minted"].is_object(), "{piece}: {shown}");
        for part in shown["exchanges"]
            .as_array()
            .into_iter()
            .flatten()
            .chain([&shown["minted"]])
        {
            assert!(part.get("failure").is_none(), "{piece}: {part}");
        }
        tried += 1;
    }
    assert!(tried > 25, "{tried} pieces are read");
}
