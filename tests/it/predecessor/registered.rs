//! What users of the predecessor rely on when they register realms, secrets and tokens.

use serde_json::{Value, json};
use token_server::foundation::clock::Ms;

use super::World;
use crate::kit::{Answer, TestDatabase, on_every_database};

on_every_database! {
    unknown_fields_are_ignored_at_the_top_and_refused_inside_config,
    a_realm_is_merged,
    a_secret_is_merged,
    answers_say_ok_around_their_data,
    lists_are_paged_with_the_newest_change_first,
    a_keyword_is_part_of_an_id_or_a_comment,
    custom_logic_is_told_everything_and_answers_a_token_with_seconds,
    config_wins_over_custom_logic,
    a_fixed_token_is_saved_with_its_secret_or_put,
    a_realm_that_obtains_its_tokens_takes_none_typed_in,
    a_fixed_token_is_417_where_flushed_missing_or_expired,
    names_are_exact,
}

async fn unknown_fields_are_ignored_at_the_top_and_refused_inside_config(database: TestDatabase) {
    let world = World::start(&database).await;
    let good = world.config(&json!({}));
    let realm = json!({"id": "r", "name": "x", "createdAt": 5, "config": good});
    world.post("/api/realm", &realm).await;
    let secret = json!({"realm": "r", "key": "k", "key_6": "x", "comment": {"any": "thing"}});
    let stored = world.post("/api/secret", &secret).await;
    assert_eq!(stored["data"]["params"], json!({}));
    // Whoever misspells one is told, or it would be taken for absent.
    for (path, body, faults) in [
        (
            "/api/realm",
            json!({"id": "new", "comments": "x", "configs": {}}),
            json!([["/comments", "comment"], ["/configs", "config"]]),
        ),
        (
            "/api/secret",
            json!({"realm": "r", "key": "k", "key2": "b", "param": {}}),
            json!([["/key2", "key_2"], ["/param", "params"]]),
        ),
    ] {
        let refused = world.client().post(path, &body).await;
        let problem = refused.expect_problem(422, "invalid_document");
        let errors = problem["errors"].as_array().expect("errors");
        let told = errors.iter().map(|error| {
            let detail = error["detail"].as_str().expect("a text");
            let (_, meant) = detail.split_once("did you mean ").expect("what is meant");
            json!([error["pointer"], meant.trim_end_matches('?')])
        });
        assert_eq!(told.collect::<serde_json::Value>(), faults, "{path}");
    }
    let realm = json!({"id": "r", "config": world.config(&json!({"name": "x"}))});
    let refused = world.client().post("/api/realm", &realm).await;
    let problem = refused.expect_problem(422, "invalid_document");
    assert_eq!(problem["errors"][0]["pointer"], "/config/name");
    assert_eq!(world.get("/api/realm/r").await["data"]["config"], good);
}

async fn a_realm_is_merged(database: TestDatabase) {
    let world = World::start(&database).await;
    let (one, two) = (
        world.config(&json!({})),
        world.config(&json!({"method": "GET"})),
    );
    let logic = world.provider.url("/logic");
    let full = json!({"id": "r", "comment": "a", "config": one, "logic_code": logic});
    for (patch, expected) in [
        (full, json!(["a", one, logic])),
        (json!({"id": "r"}), json!(["a", one, logic])),
        (json!({"id": "r", "comment": ""}), json!(["", one, logic])),
        (json!({"id": "r", "config": two}), json!(["", two, logic])),
        (
            json!({"id": "r", "logic_code": null}),
            json!(["", two, null]),
        ),
        (
            json!({"id": "r", "comment": null, "config": null}),
            json!([null, null, null]),
        ),
    ] {
        world.post("/api/realm", &patch).await;
        let stored = &world.get("/api/realm/r").await["data"];
        let stored = json!([stored["comment"], stored["config"], stored["logic_code"]]);
        assert_eq!(stored, expected, "{patch}");
    }
}

/// What custom logic is told of a secret that is saved, before it issues `logic-N`.
async fn told(world: &World, fields: &str, generation: i64) -> Value {
    let token = json!({"token": format!("logic-{generation}"), "expires_in": 7200});
    let answer = Answer::status(200).with_json(&token);
    world.provider.answer_next(answer);
    let secret = format!(r#"{{"realm": "r", "key": "k", {fields}}}"#);
    let secret = serde_json::from_str(&secret).expect("JSON");
    world.post("/api/secret", &secret).await;
    world.client().generation("r", "k", generation).await;
    let asked = world.provider.requests().pop().expect("a request");
    let media_type = &asked.headers["content-type"];
    assert_eq!([&asked.method, media_type], ["POST", "application/json"]);
    serde_json::from_str(&asked.body).expect("JSON")
}

async fn a_secret_is_merged(database: TestDatabase) {
    let world = World::start(&database).await;
    let logic = json!({"id": "r", "logic_code": world.provider.url("/logic")});
    world.post("/api/realm", &logic).await;
    for (generation, fields, expected) in [
        (
            1,
            r#""key_1": "a", "key_2": "b", "key_3": """#,
            json!(["a", "b", ""]),
        ),
        (2, r#""key_2": "c""#, json!(["a", "c", ""])),
        (
            3,
            r#""key_1": null, "params": {"key_3": "d"}"#,
            json!([null, "c", "d"]),
        ),
    ] {
        let told = told(&world, fields, generation).await;
        assert_eq!(
            json!([told["key_1"], told["key_2"], told["key_3"]]),
            expected
        );
    }
}

async fn custom_logic_is_told_everything_and_answers_a_token_with_seconds(database: TestDatabase) {
    let world = World::start(&database).await;
    let logic = json!({"id": "r", "logic_code": world.provider.url("/logic")});
    world.post("/api/realm", &logic).await;
    let start = 1_700_000_000_000_i64;
    let expected = json!({
        "key_1": "a", "key_2": "", "realm": "r", "key": "k", "token": null, "expires_at": null,
        "created_at": start, "updated_at": start,
    });
    let fields = r#""key_1": "a", "key_2": """#;
    assert_eq!(told(&world, fields, 1).await, expected);
    let token = world.get("/api/token?realm=r&key=k").await;
    assert_eq!(
        json!([token["token"], token["expires_in"]]),
        json!(["logic-1", 7_200_000])
    );
    world.clock.advance(Ms(5));
    let expected = json!({
        "key_1": "b", "key_2": "", "realm": "r", "key": "k", "token": "logic-1",
        "expires_at": start + 7_200_000, "created_at": start, "updated_at": start + 5,
    });
    assert_eq!(told(&world, r#""key_1": "b""#, 2).await, expected);
}

async fn config_wins_over_custom_logic(database: TestDatabase) {
    let world = World::start(&database).await;
    let logic = json!({"id": "r", "logic_code": world.provider.url("/logic")});
    world.post("/api/realm", &logic).await;
    world.obtain(&json!({})).await;
    assert_eq!(
        world.get("/api/realm/r").await["data"]["logic_code"],
        logic["logic_code"]
    );
    let paths = world
        .provider
        .requests()
        .into_iter()
        .map(|asked| asked.path);
    assert_eq!(paths.collect::<Vec<_>>(), ["/token"]);
}

async fn answers_say_ok_around_their_data(database: TestDatabase) {
    let world = World::start(&database).await;
    let empty = json!({"data": {"list": [], "total": 0}, "success": "ok"});
    assert_eq!(world.get("/api/realm").await, empty);
    assert_eq!(world.get("/api/secret").await, empty);
    let realm = world.post("/api/realm", &json!({"id": "r"})).await;
    assert_eq!(
        (&realm["success"], &realm["data"]["id"]),
        (&json!("ok"), &json!("r"))
    );
    let listed = json!({"data": {"list": [realm["data"]], "total": 1}, "success": "ok"});
    assert_eq!(world.get("/api/realm").await, listed);
    let secret = world
        .post("/api/secret", &json!({"realm": "r", "key": "k"}))
        .await;
    let listed = json!({"data": {"list": [secret["data"]], "total": 1}, "success": "ok"});
    assert_eq!(world.get("/api/secret").await, listed);
    // The predecessor's word, and beside it what went.
    let deleted = world.client().delete("/api/secret/r/k").await.json();
    assert_eq!(
        (&deleted["success"], &deleted["data"]["secrets"]),
        (&json!("ok"), &json!(1))
    );
}

/// The ids on a page of realms, and how many there are in all.
async fn realms(world: &World, parameters: &str) -> (String, i64) {
    let data = &world.get(&format!("/api/realm?{parameters}")).await["data"];
    let list = data["list"].as_array().expect("a list").iter();
    let ids: Vec<_> = list
        .map(|realm| realm["id"].as_str().expect("an id"))
        .collect();
    (ids.join(" "), data["total"].as_i64().expect("a number"))
}

async fn lists_are_paged_with_the_newest_change_first(database: TestDatabase) {
    let world = World::start(&database).await;
    for id in "a b c d e f g h i j k l b".split(' ') {
        world.clock.advance(Ms(1));
        world.post("/api/realm", &json!({"id": id})).await;
    }
    for (parameters, ids) in [
        ("", "b l k j i h g f e d"),
        ("page=2", "c a"),
        ("page=3", ""),
        ("page=2&pageSize=5", "h g f e d"),
        ("pageSize=1000", "b l k j i h g f e d c a"),
    ] {
        assert_eq!(realms(&world, parameters).await, (ids.to_owned(), 12));
    }
}

async fn a_keyword_is_part_of_an_id_or_a_comment(database: TestDatabase) {
    let world = World::start(&database).await;
    for (id, comment) in [
        ("wx", "公众号 Ö"),
        ("qy", "for WX"),
        ("100%", ""),
        ("a_b", "x"),
    ] {
        world
            .post("/api/realm", &json!({"id": id, "comment": comment}))
            .await;
        world.clock.advance(Ms(1));
    }
    for (keyword, ids, total) in [
        ("wx", "qy wx", 2),
        ("%E5%85%AC%E4%BC%97", "wx", 1),
        ("%25", "100%", 1),
        ("_", "a_b", 1),
        ("zz", "", 0),
        ("wx&pageSize=1", "qy", 2),
    ] {
        let found = realms(&world, &format!("keyword={keyword}")).await;
        assert_eq!(found, (ids.to_owned(), total), "{keyword}");
    }
}

async fn a_fixed_token_is_saved_with_its_secret_or_put(database: TestDatabase) {
    let world = World::start(&database).await;
    world.post("/api/realm", &json!({"id": "r"})).await;
    let end = 1_700_000_060_000_i64;
    let first = json!({"realm": "r", "key": "k", "token": "one", "expires_at": end});
    let second = json!({"realm": "r", "key": "k", "token": "two"});
    for (token, by_put, expected) in [
        (&first, false, json!(["one", 60_000, 1])),
        (&second, true, json!(["two", 31_536_000_000_i64, 2])),
        (&first, true, json!(["one", 60_000, 3])),
    ] {
        let reply = match by_put {
            true => world.client().put("/api/token", token).await,
            false => world.client().post("/api/secret", token).await,
        };
        reply.expect(200);
        let token = world.get("/api/token?realm=r&key=k").await;
        let served = json!([token["token"], token["expires_in"], token["generation"]]);
        assert_eq!(served, expected);
    }
    assert_eq!(world.client().secret("r", "k").await["state"], "fixed");
}

async fn a_realm_that_obtains_its_tokens_takes_none_typed_in(database: TestDatabase) {
    let world = World::start(&database).await;
    world.obtain(&json!({})).await;
    let typed = json!({"realm": "r", "key": "k", "key_1": "changed", "token": "typed in"});
    let refused = world.client().post("/api/secret", &typed).await;
    refused.expect_problem(409, "realm_not_fixed");
    let typed = json!({"realm": "r", "key": "new", "token": "typed in"});
    let refused = world.client().put("/api/token", &typed).await;
    refused.expect_problem(409, "realm_not_fixed");
    assert_eq!(
        world.get("/api/token?realm=r&key=k").await["token"],
        "token-1"
    );
    assert_eq!(world.get("/api/secret").await["data"]["total"], 1);
    assert_eq!(world.provider.request_count(), 1);
}

async fn a_fixed_token_is_417_where_flushed_missing_or_expired(database: TestDatabase) {
    let world = World::start(&database).await;
    let client = world.client();
    world.post("/api/realm", &json!({"id": "r"})).await;
    let mut secret = json!({"realm": "r", "key": "k"});
    world.post("/api/secret", &secret).await;
    client
        .token("r", "k")
        .await
        .expect_problem(417, "fixed_token_missing");
    secret["token"] = json!("typed in");
    secret["expires_at"] = json!(1_700_000_001_000_i64);
    world.post("/api/secret", &secret).await;
    let flushed = client.get("/api/token?realm=r&key=k&flush=true").await;
    flushed.expect_problem(417, "fixed_token_flushed");
    world.clock.advance(Ms(999));
    client.token("r", "k").await.expect(200);
    world.clock.advance(Ms(1));
    client
        .token("r", "k")
        .await
        .expect_problem(417, "fixed_token_missing");
}

async fn names_are_exact(database: TestDatabase) {
    let world = World::start(&database).await;
    let names = ["A", "a", "Á", "á", "ss", "ß"];
    for (realm, key) in names.iter().flat_map(|realm| names.map(|key| (realm, key))) {
        world.post("/api/realm", &json!({"id": realm})).await;
        let secret = json!({"realm": realm, "key": key, "token": format!("{realm}-{key}")});
        world.post("/api/secret", &secret).await;
    }
    world.client().delete("/api/secret/a/A").await.expect(200);
    world
        .client()
        .delete("/api/realm/ss?cascade=true")
        .await
        .expect(200);
    for (realm, key) in names.iter().flat_map(|realm| names.map(|key| (realm, key))) {
        let reply = world.client().token(realm, key).await;
        if *realm == "ss" || (*realm, key) == ("a", "A") {
            reply.expect_problem(400, "unknown_secret");
        } else {
            assert_eq!(reply.expect(200).json()["token"], format!("{realm}-{key}"));
        }
    }
    assert_eq!(world.get("/api/secret?realm=A").await["data"]["total"], 6);
}
