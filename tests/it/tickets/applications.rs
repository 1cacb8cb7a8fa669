//! Whose push it is: found without opening secrets, and refused alike where it is nobody's.

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use sea_orm::ConnectionTrait;
use serde_json::{Value, json};

use super::{AES_KEY, FORMATS, NOW_S, Scene, app};
use crate::kit::database::Kind;
use crate::kit::push::{PushRequest, PushingApp};
use crate::kit::{Reply, Server, TestDatabase, on_every_database};

on_every_database! {
    a_push_opens_no_secret_that_was_not_changed_however_many_there_are,
    changes_of_secrets_and_realm_hold_for_the_next_push,
    a_push_that_nobody_signed_is_refused_alike_whether_its_application_is_here_or_not,
    a_realm_that_takes_no_tickets_is_refused_as_one_that_is_not_there,
    realms_without_tickets_take_no_place_of_those_that_have_some,
    a_realm_that_comes_to_take_tickets_takes_the_next_push,
    a_push_is_tried_for_the_application_that_it_names_only,
    no_more_applications_are_tried_than_the_configuration_says,
    beside_four_pushes_that_are_handled_another_is_sent_back,
}

/// What differs from one answer to the next is left out.
fn told(reply: &Reply) -> Value {
    let mut body = reply.json();
    body["request_id"].take();
    let mut headers: Vec<_> = reply
        .headers
        .keys()
        .map(|name| name.as_str().to_owned())
        .collect();
    headers.sort();
    json!([reply.status.as_u16(), body, headers])
}

async fn a_push_opens_no_secret_that_was_not_changed_however_many_there_are(
    database: TestDatabase,
) {
    for format in FORMATS {
        let scene = Scene::set(&database, format).await;
        let opened = || scene.server.app().inbox.opened();
        let numbered = |number: usize| format!("app-{number}");
        let mut expected = 0;
        for (from, to) in [(0, 3), (3, 40)] {
            for number in from..to {
                scene.save(&numbered(number), &app(&numbered(number))).await;
            }
            expected += (to - from) as u64;
            for number in [from, to - 1, from] {
                let good = scene.ticket(&app(&numbered(number)), "good", NOW_S);
                scene.push(good).await.expect(200);
                let guessed = PushingApp::new(&numbered(number), "guessed", Some(AES_KEY));
                scene
                    .push(scene.ticket(&guessed, "bad", NOW_S))
                    .await
                    .expect(400);
                let unknown = PushingApp::new("unknown", "guessed", Some(AES_KEY));
                scene
                    .push(scene.ticket(&unknown, "bad", NOW_S))
                    .await
                    .expect(400);
                assert_eq!(opened(), expected, "{format}");
            }
        }
        let other = PushingApp::new("app-7", "another-token", Some(AES_KEY));
        scene.save("app-7", &other).await;
        scene
            .push(scene.ticket(&other, "good", NOW_S))
            .await
            .expect(200);
        assert_eq!(opened(), expected + 1);
        scene.server.stop().await;
    }
}

async fn changes_of_secrets_and_realm_hold_for_the_next_push(database: TestDatabase) {
    let scene = Scene::set(&database, "wechat_xml").await;
    // Another replica changes them.
    let other = Server::start(&database).await;
    let (one, two) = (app("one"), app("two"));
    scene.save("k", &one).await;
    let push = async |app: &PushingApp, status: u16| {
        let push = scene.ticket(app, "a-ticket", NOW_S);
        scene.push(push).await.expect(status);
    };
    push(&one, 200).await;
    push(&two, 400).await;
    let secret = json!({"realm": "wechat_xml", "key": "k", "params": {"app": "two"}});
    other.client.post("/api/secret", &secret).await.expect(200);
    push(&one, 400).await;
    push(&two, 200).await;
    other
        .client
        .delete("/api/secret/wechat_xml/k")
        .await
        .expect(200);
    push(&two, 400).await;
    scene.save("k", &two).await;
    push(&two, 200).await;
    // The document says which application a secret is of.
    let document = scene
        .server
        .client
        .get("/api/realm/wechat_xml")
        .await
        .expect(200);
    let mut config = document.json()["data"]["config"].take();
    config["ticket"]["app_id"] = json!("app-${app}");
    let whole = json!({"id": "wechat_xml", "config": config});
    other.client.post("/api/realm", &whole).await.expect(200);
    push(&two, 400).await;
    push(&app("app-two"), 200).await;
    config["ticket"] = Value::Null;
    config["arguments"] = json!([]);
    let whole = json!({"id": "wechat_xml", "config": config});
    other.client.post("/api/realm", &whole).await.expect(200);
    push(&app("app-two"), 404).await;
}

async fn a_push_that_nobody_signed_is_refused_alike_whether_its_application_is_here_or_not(
    database: TestDatabase,
) {
    for format in FORMATS {
        let scene = Scene::set(&database, format).await;
        let forged = |id: &str| {
            PushingApp::new(
                id,
                "guessed",
                Some("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"),
            )
        };
        let pushes = |id: &str| -> Vec<PushRequest> {
            let good = scene.ticket(&forged(id), "x", NOW_S);
            let mut unsigned = good.clone();
            unsigned.query.clear();
            unsigned.headers.clear();
            let mut cut = good.clone();
            cut.body.truncate(cut.body.len() / 2);
            let stale = scene.ticket(&forged(id), "x", NOW_S - 601);
            vec![good, unsigned, cut, stale]
        };
        let mut seen = Vec::new();
        // First there is no secret at all.
        for id in ["the-app", "the-app", "unknown"] {
            let mut told_of = Vec::new();
            for push in pushes(id) {
                told_of.push(told(&scene.push(push).await.expect(400)));
            }
            seen.push(told_of);
            scene.save("k", &app("the-app")).await;
        }
        assert_eq!(seen[0], seen[1], "{format}");
        assert_eq!(seen[1], seen[2], "{format}");
        scene.server.stop().await;
    }
}

async fn a_realm_that_takes_no_tickets_is_refused_as_one_that_is_not_there(database: TestDatabase) {
    let scene = Scene::set(&database, "wechat_xml").await;
    let client = &scene.server.client;
    client.register_realm("plain", "https://p.example/").await;
    let fixed = json!({"id": "fixed", "config": null});
    client.post("/api/realm", &fixed).await.expect(200);
    let mut seen = Vec::new();
    for realm in ["nobody", "plain", "fixed", "plain"] {
        let path = format!("/api/ticket/{realm}");
        let request = client.without_key().request(reqwest::Method::POST, &path);
        seen.push(told(&client.send(request.body("<xml/>")).await.expect(404)));
    }
    assert!(seen.iter().all(|one| *one == seen[0]), "{seen:?}");
}

async fn realms_without_tickets_take_no_place_of_those_that_have_some(database: TestDatabase) {
    let any_number = [("TOKEN_SERVER__ACCESS__ADDRESS_RATE", "0")];
    let scene = Scene::set_with(&database, "wechat_xml", &any_number).await;
    scene.save("k", &app("one")).await;
    let push = async || {
        let push = scene.ticket(&app("one"), "a-ticket", NOW_S);
        scene.push(push).await.expect(200);
        scene.server.app().inbox.opened()
    };
    let opened = push().await;
    let client = &scene.server.client;
    for number in 0..150 {
        let fixed = json!({"id": format!("fixed-{number}")});
        client.post("/api/realm", &fixed).await.expect(200);
        for _ in 0..3 {
            let path = format!("/api/ticket/fixed-{number}");
            let request = client.request(reqwest::Method::POST, &path);
            client.send(request.body("<xml/>")).await.expect(404);
        }
    }
    assert_eq!(push().await, opened);
}

async fn no_more_applications_are_tried_than_the_configuration_says(database: TestDatabase) {
    let max = [("TOKEN_SERVER__TICKET__APPLICATIONS_MAX", "2")];
    let scene = Scene::set_with(&database, "feishu_json", &max).await;
    for name in ["one", "two", "three"] {
        scene.save(name, &app(name)).await;
    }
    for (name, status) in [("one", 200), ("two", 200), ("three", 400)] {
        let push = scene.ticket(&app(name), "a-ticket", NOW_S);
        scene.push(push).await.expect(status);
    }
    assert_eq!(scene.server.app().inbox.opened(), 2);
}

async fn a_realm_that_comes_to_take_tickets_takes_the_next_push(database: TestDatabase) {
    let scene = Scene::set(&database, "wechat_xml").await;
    scene.save("k", &app("one")).await;
    let client = &scene.server.client;
    let shown = client.get("/api/realm/wechat_xml").await.expect(200).json();
    let config = shown["data"]["config"].clone();
    let mut without = config.clone();
    without["ticket"] = Value::Null;
    without["arguments"] = json!([]);
    for (config, status) in [
        (&without, 404),
        (&config, 200),
        (&without, 404),
        (&config, 200),
    ] {
        let realm = json!({"id": "wechat_xml", "config": config});
        client.post("/api/realm", &realm).await.expect(200);
        let push = scene.ticket(&app("one"), "a-ticket", NOW_S);
        scene.push(push).await.expect(status);
    }
}

async fn a_push_is_tried_for_the_application_that_it_names_only(database: TestDatabase) {
    for format in ["wechat_xml", "wecom_xml"] {
        let scene = Scene::set(&database, format).await;
        for name in ["one", "two"] {
            scene.save(name, &app(name)).await;
        }
        // What names the application outside is neither signed nor encrypted.
        for outside in ["two", "nobody"] {
            let mut push = scene.ticket(&app("one"), "a-ticket", NOW_S);
            let body = String::from_utf8(push.body).expect("XML");
            let named = body.replace("[CDATA[one]]", &format!("[CDATA[{outside}]]"));
            assert_ne!(named, body);
            push.body = named.into_bytes();
            let refused = scene.push(push).await;
            refused.expect_problem(400, "push_refused");
        }
        assert_eq!(database.number("SELECT COUNT(*) FROM ts_ticket").await, 0);
        scene.server.stop().await;
    }
}

async fn beside_four_pushes_that_are_handled_another_is_sent_back(database: TestDatabase) {
    let scene = Scene::set(&database, "wechat_xml").await;
    scene.save("k", &app("one")).await;
    let (held, released) = match database.kind() {
        Kind::Sqlite => ("BEGIN IMMEDIATE", "ROLLBACK"),
        Kind::MySql => ("LOCK TABLES ts_ticket WRITE", "UNLOCK TABLES"),
    };
    let somebody = database.connect().await;
    let run = async |statement: &str| {
        let done = somebody.execute_unprepared(statement).await;
        done.expect("the statement is good");
    };
    run(held).await;
    let pushes = (0..5).map(|_| scene.push(scene.ticket(&app("one"), "a-ticket", NOW_S)));
    let mut answers: FuturesUnordered<_> = pushes.collect();
    let first = answers.next().await.expect("five were sent");
    assert_eq!(first.header("retry-after"), Some("1"));
    first.expect_problem(503, "busy");
    run(released).await;
    while let Some(answer) = answers.next().await {
        answer.expect(200);
    }
}
