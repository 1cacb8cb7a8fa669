//! How often callers may call: by key, and by address without a good one.

mod bodies;
pub mod pushes;

use std::sync::Arc;

use reqwest::Method;
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter};
use serde_json::{Value, json};
use token_server::foundation::clock::{Clock, ManualClock, Ms, Timeline};
use token_server::foundation::metrics::LimitLabels;
use token_server::foundation::sealing::{RowValues, SealedPlace};
use token_server_entity::api_key::{self, Column, Entity};

use crate::kit::process;
use crate::kit::server::{Client, Options};
use crate::kit::{Provider, Reply, Server, TestDatabase, eventually, on_every_database};

on_every_database! {
    an_address_that_shows_no_good_key_is_refused_beyond_its_rate,
    no_key_is_looked_up_for_an_address_that_must_wait,
    a_key_that_was_good_counts_for_its_address_once_it_has_ended,
    by_default_an_address_may_guess_two_hundred_keys_at_once,
    who_looks_whether_the_server_lives_is_never_limited,
    behind_a_trusted_proxy_each_caller_has_an_address_of_its_own,
    a_key_is_refused_beyond_its_rate_and_other_keys_are_not,
    a_key_without_a_rate_has_the_one_of_the_configuration,
    a_rate_outlives_what_is_remembered_of_its_key,
    a_key_whose_rate_was_changed_by_somebody_else_lets_nobody_in,
    a_key_that_was_stored_before_there_were_rates_is_good,
    a_rate_is_shown_and_checked,
    the_command_line_gives_a_rate,
}

const TOKEN: &str = "/api/token?realm=r&key=k";
const RATE: &str = "TOKEN_SERVER__ACCESS__ADDRESS_RATE";
const BURST: &str = "TOKEN_SERVER__ACCESS__ADDRESS_BURST";

/// Ten calls a second, three of them at once.
fn ten_a_second() -> Options {
    Options::default().with(&[(RATE, "10"), (BURST, "3")])
}

async fn limited(database: &TestDatabase) -> (Server, Arc<ManualClock>) {
    Server::on_manual_clock_with(database, ten_a_second()).await
}

async fn key_with(client: &Client, document: Value) -> Client {
    let made = client.post("/api/api-key", &document).await.expect(200);
    let key = made.json()["data"]["key"].as_str().map(str::to_owned);
    client.with_key(&key.expect("a key"))
}

async fn reader(client: &Client, rate: u32) -> Client {
    let document = json!({"name": "reader", "scopes": ["token:read"], "rate": rate});
    key_with(client, document).await
}

/// Fails the test unless there were too many; answers when to come again.
#[track_caller]
fn refused(reply: Reply) -> String {
    let wait = reply.header("retry-after").map(str::to_owned);
    reply.expect_problem(429, "too_many_requests");
    wait.expect("it says when to come again")
}

fn counted(server: &Server, limit: &'static str) -> u64 {
    let limited = &server.app().metrics.limited;
    limited.get_or_create(&LimitLabels { limit }).get()
}

/// Actor, detail and count of the entries about calls that were too many.
async fn audited(client: &Client) -> Vec<Value> {
    let entries = client.list("/api/audit").await.into_iter().rev();
    let fields = ["actor", "detail", "count"];
    let told = entries.filter(|entry| {
        let detail = entry["detail"].as_str();
        detail.is_some_and(|detail| detail.starts_with("more calls"))
    });
    told.map(|entry| json!(fields.map(|field| entry[field].clone())))
        .collect()
}

async fn an_address_that_shows_no_good_key_is_refused_beyond_its_rate(database: TestDatabase) {
    let (server, clock) = limited(&database).await;
    let client = &server.client;
    client.get("/api/realm").await.expect(200);
    let callers = [
        client.without_key(),
        client.with_key("guessed"),
        client.without_key(),
    ];
    for caller in &callers {
        caller.get(TOKEN).await.expect(401);
    }
    for caller in &callers {
        assert_eq!(refused(caller.get("/api/realm").await), "1");
    }
    // Whose key is known is held up by nobody who guesses.
    client.get("/api/realm").await.expect(200);
    clock.advance(Ms(100));
    callers[1].get(TOKEN).await.expect(401);
    refused(callers[1].get(TOKEN).await);
    assert_eq!(counted(&server, "address"), 4);
    // Refusals are added up as denied calls are: the first, and the rest of the minute.
    clock.advance(Ms::from_secs(60));
    let detail = "more calls without a good key than the rate of an address allows";
    eventually("the refusals are in the audit", async || {
        let audited = audited(client).await;
        (audited == [json!([null, detail, 1]), json!([null, detail, 3])]).then_some(())
    })
    .await;
}

async fn no_key_is_looked_up_for_an_address_that_must_wait(database: TestDatabase) {
    let (server, clock) = limited(&database).await;
    let made = key_with(
        &server.client,
        json!({"name": "k", "scopes": ["realm:read"]}),
    )
    .await;
    for _ in 0..3 {
        server.client.without_key().get(TOKEN).await.expect(401);
    }
    // Not even a good one, where this replica does not remember it: it could be a guess.
    refused(made.get("/api/realm").await);
    clock.advance(Ms(100));
    for _ in 0..5 {
        // It counts as no call without a good key.
        made.get("/api/realm").await.expect(200);
    }
    server.client.without_key().get(TOKEN).await.expect(401);
    refused(server.client.without_key().get(TOKEN).await);
    made.get("/api/realm").await.expect(200);
}

async fn a_key_that_was_good_counts_for_its_address_once_it_has_ended(database: TestDatabase) {
    let (server, clock) = limited(&database).await;
    let ends = clock.now().plus(Ms::from_secs(60)).0;
    let document = json!({"name": "k", "scopes": ["realm:read"], "expires_at": ends});
    let ended = key_with(&server.client, document).await;
    ended.get("/api/realm").await.expect(200);
    clock.advance(Ms::from_secs(61));
    // To show it was no guess; it is one from now on.
    for _ in 0..3 {
        ended.get("/api/realm").await.expect(401);
    }
    refused(ended.get("/api/realm").await);
    refused(server.client.without_key().get(TOKEN).await);
}

async fn by_default_an_address_may_guess_two_hundred_keys_at_once(database: TestDatabase) {
    // As the configuration that is built in has it.
    let options = Options::default().with(&[(RATE, ""), (BURST, "")]);
    let (server, clock) = Server::on_manual_clock_with(&database, options).await;
    let stranger = server.client.with_key("guessed");
    for _ in 0..200 {
        stranger.get(TOKEN).await.expect(401);
    }
    refused(stranger.get(TOKEN).await);
    clock.advance(Ms::from_secs(1));
    for _ in 0..50 {
        stranger.get(TOKEN).await.expect(401);
    }
    refused(stranger.get(TOKEN).await);
}

async fn who_looks_whether_the_server_lives_is_never_limited(database: TestDatabase) {
    let (server, _clock) = limited(&database).await;
    let probe = server.client.without_key();
    for _ in 0..3 {
        probe.get(TOKEN).await.expect(401);
    }
    refused(probe.get(TOKEN).await);
    for path in ["/healthz", "/readyz", "/docs", "/openapi.json"] {
        for _ in 0..5 {
            probe.get(path).await.expect(200);
        }
    }
}

async fn behind_a_trusted_proxy_each_caller_has_an_address_of_its_own(database: TestDatabase) {
    for (trusted, is_apart) in [("127.0.0.0/8, 10.0.0.0/8", true), ("", false)] {
        let proxies = ("TOKEN_SERVER__HTTP__TRUSTED_PROXIES", trusted);
        let options = ten_a_second().with(&[proxies]);
        let (server, _clock) = Server::on_manual_clock_with(&database, options).await;
        let client = server.client.without_key();
        let from = async |forwarded: &str| {
            let request = client.request(Method::GET, TOKEN);
            let request = request.header("x-forwarded-for", forwarded);
            client.send(request).await
        };
        for made_up in ["192.0.2.1", "192.0.2.2", "192.0.2.3"] {
            let forwarded = format!("{made_up}, 198.51.100.7, 10.0.0.9");
            from(&forwarded).await.expect(401);
        }
        refused(from("198.51.100.7").await);
        let other = from("198.51.100.8").await;
        match is_apart {
            true => drop(other.expect(401)),
            false => drop(refused(other)),
        }
        server.stop().await;
    }
}

async fn a_key_is_refused_beyond_its_rate_and_other_keys_are_not(database: TestDatabase) {
    let (server, clock) = Server::on_manual_clock(&database).await;
    let provider = Provider::start().await;
    server.client.register(&provider.url("/token")).await;
    let reader = reader(&server.client, 5).await;
    // All but the first are answered from memory at once.
    for _ in 0..5 {
        reader.get(TOKEN).await.expect(200);
    }
    for _ in 0..2 {
        assert_eq!(refused(reader.get(TOKEN).await), "1");
    }
    // It is one rate for all that the key is used for, also what it has no right to.
    refused(reader.get("/api/realm").await);
    server.client.get(TOKEN).await.expect(200);
    clock.advance(Ms(200));
    reader.get("/api/realm").await.expect(403);
    refused(reader.get(TOKEN).await);
    clock.advance(Ms(200));
    reader.get(TOKEN).await.expect(200);
    refused(reader.get(TOKEN).await);
    assert_eq!(counted(&server, "key"), 5);
    clock.advance(Ms::from_secs(60));
    let detail = "more calls than the rate of the key allows";
    eventually("the refusals are in the audit", async || {
        let audited = audited(&server.client).await;
        let expected = [json!(["reader", detail, 1]), json!(["reader", detail, 4])];
        (audited == expected).then_some(())
    })
    .await;
}

async fn a_key_without_a_rate_has_the_one_of_the_configuration(database: TestDatabase) {
    let options = Options::default().with(&[("TOKEN_SERVER__ACCESS__KEY_RATE", "4")]);
    let (server, _clock) = Server::on_manual_clock_with(&database, options).await;
    let faster = [
        "api-key",
        "create",
        "faster",
        "--scope",
        "realm:read",
        "--rate",
        "9",
    ];
    let made = process::command(&database, &[]).args(faster).output();
    let faster = String::from_utf8(made.expect("the binary starts").stdout).expect("a key");
    let faster = server.client.with_key(faster.trim());
    for _ in 0..4 {
        server.client.get("/api/realm").await.expect(200);
    }
    refused(server.client.get("/api/realm").await);
    for _ in 0..9 {
        faster.get("/api/realm").await.expect(200);
    }
    refused(faster.get("/api/realm").await);
}

async fn a_rate_outlives_what_is_remembered_of_its_key(database: TestDatabase) {
    let (server, clock) = Server::on_manual_clock(&database).await;
    let reader = reader(&server.client, 2).await;
    for _ in 0..2 {
        reader.get("/api/realm").await.expect(403);
    }
    // All keys are looked up anew where one was revoked, and after a minute.
    server.app().memory.keys_changed();
    refused(reader.get("/api/realm").await);
    clock.advance(Ms(500));
    server.app().memory.keys_changed();
    reader.get("/api/realm").await.expect(403);
    refused(reader.get("/api/realm").await);
}

async fn a_key_whose_rate_was_changed_by_somebody_else_lets_nobody_in(database: TestDatabase) {
    let server = Server::start(&database).await;
    let reader = reader(&server.client, 5).await;
    let connection = database.connect().await;
    for rate in ["NULL", "1000000", "5"] {
        let update = format!("UPDATE ts_api_key SET rate = {rate} WHERE name = 'reader'");
        let updated = connection.execute_unprepared(&update).await;
        updated.expect("the statement is good");
        server.app().memory.keys_changed();
        let expected = if rate == "5" { 403 } else { 401 };
        reader.get("/api/realm").await.expect(expected);
    }
    connection.close().await.expect("the connection closes");
}

async fn a_key_that_was_stored_before_there_were_rates_is_good(database: TestDatabase) {
    let server = Server::start(&database).await;
    let document = json!({"name": "older", "scopes": ["token:read"], "realms": ["r*"]});
    let older = key_with(&server.client, document).await;
    let connection = database.connect().await;
    let named = Entity::find().filter(Column::Name.eq("older"));
    let row: Option<api_key::Model> = named.one(&connection).await.expect("a query");
    let row = row.expect("it is stored");
    // As the version before authenticated it.
    let values = RowValues::default()
        .text(&row.hash)
        .text(&row.scopes)
        .optional(row.realms.as_deref())
        .optional(row.secret_keys.as_deref())
        .number(Some(row.created_at.0))
        .number(None)
        .number(None);
    let place = SealedPlace {
        table: "ts_api_key",
        row: "older",
        column: "mac",
    };
    let mac = server.app().ring.authenticate(&place, &values);
    let update = Entity::update_many().col_expr(Column::Mac, Expr::value(mac));
    let updated = update.filter(Column::Name.eq("older")).exec(&connection);
    assert_eq!(updated.await.expect("an update").rows_affected, 1);
    connection.close().await.expect("the connection closes");
    older.get("/api/realm").await.expect(403);
}

async fn a_rate_is_shown_and_checked(database: TestDatabase) {
    let server = Server::start(&database).await;
    let client = &server.client;
    for rate in [
        json!(0),
        json!(-1),
        json!(1_000_001),
        json!(1.5),
        json!("5"),
    ] {
        let document = json!({"name": "n", "scopes": ["token:read"], "rate": rate});
        let refused = client.post("/api/api-key", &document).await;
        let problem = refused.expect_problem(422, "invalid_document");
        assert_eq!(problem["errors"][0]["pointer"], "/rate", "{problem}");
    }
    reader(client, 1_000_000).await;
    let listed = client.list("/api/api-key").await;
    let shown: Vec<_> = listed
        .iter()
        .map(|key| (&key["name"], &key["rate"]))
        .collect();
    assert_eq!(
        shown,
        [
            (&json!("reader"), &json!(1_000_000)),
            (&json!("bootstrap-admin"), &Value::Null)
        ]
    );
}

async fn the_command_line_gives_a_rate(database: TestDatabase) {
    let server = Server::start(&database).await;
    let run = |arguments: &[&str]| {
        let output = process::command(&database, &[]).args(arguments).output();
        let output = output.expect("the binary starts");
        let text = |bytes| String::from_utf8(bytes).expect("text");
        (
            output.status.success(),
            text(output.stdout),
            text(output.stderr),
        )
    };
    let create = ["api-key", "create", "n", "--scope", "realm:read", "--rate"];
    for rate in ["0", "1000001", "many"] {
        let (good, _, said) = run(&[&create[..], &[rate]].concat());
        assert!(!good && said.contains("from 1 to 1000000"), "{said}");
    }
    let (good, key, said) = run(&[&create[..], &["1"]].concat());
    assert!(good, "{said}");
    let (_, listed, _) = run(&["api-key", "list"]);
    let rates: Vec<_> = listed.lines().map(|line| line.contains(" 1/s ")).collect();
    assert_eq!(rates, [false, true, false], "{listed}");
    let client = server.client.with_key(key.trim());
    client.get("/api/realm").await.expect(200);
    refused(client.get("/api/realm").await);
}
