//! `docs/src/how-to/applications.md` is true: its program is run as it stands, against a server.

use serde_json::{Value, json};

use crate::kit::python::interpreter;
use crate::kit::server::ADMIN_KEY;
use crate::kit::source::root;
use crate::kit::{Answer, Provider, Server, TestDatabase, on_every_database};

on_every_database! {
    the_program_for_applications_replaces_a_token_that_the_provider_refuses,
}

/// What an application adds: a provider that refuses the first token.
const APPLICATION: &str = r#"
def call(token):
    calls.append(token)
    return len(calls) == 1, "answered " + token


calls = []
print(json.dumps([with_token("r", "k", call), calls]))
try:
    ask("/api/token?realm=r&key=nowhere")
except RuntimeError as error:
    print(json.dumps(str(error)))
"#;

async fn the_program_for_applications_replaces_a_token_that_the_provider_refuses(
    database: TestDatabase,
) {
    let (provider, server) = (Provider::start().await, Server::start(&database).await);
    provider.answer_next(Answer::token("one", 7200));
    provider.answer_with(Answer::token("two", 7200));
    server.client.register(&provider.url("/token")).await;
    server.client.generation("r", "k", 1).await;

    let page = root().join("docs/src/how-to/applications.md");
    let page = std::fs::read_to_string(page).expect("the page is there");
    let (_, program) = page.split_once("```python\n").expect("a program");
    let (program, _) = program.split_once("```").expect("its end");
    let mut command = interpreter();
    command
        .args(["-c", &format!("{program}\n{APPLICATION}")])
        .env("BASE", format!("http://{}", server.address()))
        .env("API_KEY", ADMIN_KEY);
    let ended = tokio::task::spawn_blocking(move || command.output()).await;
    let ended = ended.expect("it is waited for").expect("it runs");
    let stderr = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{stderr}");
    let told = String::from_utf8(ended.stdout).expect("a text");
    let told: Vec<Value> = told
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let expected = json!([
        ["answered two", ["one", "two"]],
        "there is no secret of that realm and key.",
    ]);
    assert_eq!(json!(told), expected);
    assert_eq!(provider.request_count(), 2);
}
