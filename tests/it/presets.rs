//! The realms that ship: found, shown and registered; `documented` tries each of them.

mod documented;

use serde_json::{Value, json};
use token_server::realm::preset;

use crate::kit::{Server, TestDatabase, on_every_database};

on_every_database! {
    a_preset_is_listed_with_what_a_human_must_know_and_registered_once,
    presets_are_found_by_any_of_their_names_and_by_category_and_country,
}

async fn a_preset_is_listed_with_what_a_human_must_know_and_registered_once(
    database: TestDatabase,
) {
    let server = Server::start(&database).await;
    let client = &server.client;
    let listed = client.list("/api/preset").await;
    assert_eq!(listed.len(), preset::all().len());
    let found = client.list("/api/preset?keyword=official%20account").await;
    let wechat = found.iter().find(|preset| preset["id"] == "wechat_oa");
    let wechat = wechat.expect("it is found by its title");
    assert_eq!(wechat["verified"], "documentation");
    assert!(wechat["config"]["params"]["appid"]["title"].is_string());
    let register = |id: &str, body: Value| {
        let path = format!("/api/preset/{id}");
        async move { client.post(&path, &body).await }
    };
    let realm = register("wechat_oa", json!({"id": "wx"})).await.expect(200);
    assert_eq!(realm.json()["data"]["id"], "wx");
    assert_eq!(realm.json()["data"]["config"], wechat["config"]);
    register("wechat_oa", json!({"id": "wx"}))
        .await
        .expect_problem(409, "realm_exists");
    register("wechat_oa", json!({"id": "wx", "replace": true}))
        .await
        .expect(200);
    register("nobody", json!({}))
        .await
        .expect_problem(404, "unknown_preset");
}

async fn presets_are_found_by_any_of_their_names_and_by_category_and_country(
    database: TestDatabase,
) {
    let server = Server::start(&database).await;
    let client = &server.client;
    let ids = async |query: &str| -> Vec<String> {
        let listed = client.list(&format!("/api/preset?{query}")).await;
        let ids = listed.iter().map(|preset| preset["id"].as_str());
        ids.map(|id| id.expect("an id").to_owned()).collect()
    };
    for (query, id) in [
        ("keyword=azure", "msgraph"),
        ("keyword=GMAIL", "google_sa"),
        ("keyword=%E5%BE%AE%E4%BF%A1", "wechat_mini"),
        ("category=payments&country=ke", "mpesa_daraja"),
        ("keyword=api&category=logistics&country=US", "fedex"),
    ] {
        assert!(ids(query).await.iter().any(|found| found == id), "{query}");
    }
    let in_china = ids("country=CN&category=communication").await;
    assert!(in_china.contains(&"wecom".to_owned()), "{in_china:?}");
    assert!(!in_china.contains(&"slack".to_owned()), "{in_china:?}");
    assert_eq!(ids("keyword=azure&country=CN").await, Vec::<String>::new());
    for query in ["country=China", "country=C1", "category=messaging"] {
        let path = format!("/api/preset?{query}");
        client
            .get(&path)
            .await
            .expect_problem(400, "invalid_parameter");
    }
    let shown = client.get("/api/preset/msgraph").await.expect(200).json();
    assert_eq!(shown["data"]["category"], "identity");
    let path = "/api/preset/nobody";
    client.get(path).await.expect_problem(404, "unknown_preset");
}
