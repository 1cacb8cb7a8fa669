//! Commands that talk to a running server: they need its URL and an API key, and no configuration.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use clap::CommandFactory;
use serde_json::{Value, json};
use token_server::cli::Arguments;

use crate::cli::{Ended, end};
use crate::kit::process::BINARY;
use crate::kit::server::ADMIN_KEY;
use crate::kit::{Answer, Provider, Server, TestDatabase, on_disk, on_every_database};

on_every_database! {
    token_get_prints_a_valid_token_in_each_format,
    secret_set_reads_values_from_files_and_shows_none,
    secrets_and_attempts_are_listed_page_by_page,
}

/// Somebody with a key and a URL.
struct Caller {
    folder: tempfile::TempDir,
    url: String,
}

impl Caller {
    fn of(server: &Server) -> Self {
        let caller = Self {
            folder: on_disk(),
            url: format!("http://{}", server.address()),
        };
        caller.save("api.key", &format!("{ADMIN_KEY}\n"));
        caller
    }

    fn save(&self, name: &str, text: &str) {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).expect("it is writable");
        let private = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(&path, private).expect("it is ours");
    }

    fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(BINARY);
        command
            .env_clear()
            .env("TOKEN_SERVER_URL", &self.url)
            .env("TOKEN_SERVER_KEY_FILE", self.folder.path().join("api.key"))
            .current_dir(self.folder.path())
            .args(arguments.split(' '));
        command
    }

    async fn run(&self, arguments: &str) -> Ended {
        end(&mut self.command(arguments)).await
    }

    async fn good(&self, arguments: &str) -> String {
        let ended = self.run(arguments).await;
        assert_eq!(ended.code, Some(0), "{arguments}: {}", ended.stderr);
        ended.stdout
    }
}

async fn token_get_prints_a_valid_token_in_each_format(database: TestDatabase) {
    let provider = Provider::start().await;
    let server = Server::start(&database).await;
    server.client.register(&provider.url("/token")).await;
    let caller = Caller::of(&server);
    let get = "token get --realm r --key k";
    assert_eq!(caller.good(get).await, "token-1\n");
    let header = caller.good(&format!("{get} --format header")).await;
    assert_eq!(header, "Authorization: Bearer token-1\n");
    let json = caller.good(&format!("{get} --format json")).await;
    let json: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(
        (&json["token"], &json["generation"]),
        (&json!("token-1"), &json!(1))
    );
    // Longer than the server takes: it was told.
    let long = caller.run(&format!("{get} --min-ttl 2years")).await;
    assert_eq!((long.code, &*long.stdout), (Some(1), ""));
    assert!(long.stderr.contains("min_ttl_s"), "{}", long.stderr);
    let refused = caller.run("token get --realm r --key unknown").await;
    assert_eq!((refused.code, &*refused.stdout), (Some(1), ""));
    let told = &refused.stderr;
    assert!(
        told.contains("the server refused: 400 (unknown_secret)"),
        "{told}"
    );
}

#[tokio::test]
async fn a_client_command_says_what_is_wrong_with_its_way_to_the_server() {
    let database = TestDatabase::sqlite();
    let server = Server::start(&database).await;
    let mut caller = Caller::of(&server);
    let list = "secret list";
    caller.save("api.key", "wrong");
    let refused = caller.run(list).await;
    assert_eq!(refused.code, Some(1));
    assert!(
        refused.stderr.contains("401 (unauthorized)"),
        "{}",
        refused.stderr
    );
    assert!(!refused.stderr.contains("wrong"), "{}", refused.stderr);
    let file = caller.folder.path().join("api.key");
    let open = std::fs::Permissions::from_mode(0o644);
    std::fs::set_permissions(&file, open).expect("it is ours");
    let open = caller.run(list).await;
    assert_eq!(open.code, Some(2));
    assert!(
        open.stderr.contains("TOKEN_SERVER_KEY_FILE"),
        "{}",
        open.stderr
    );
    std::fs::remove_file(&file).expect("it is there");
    let missing = caller.run(list).await;
    assert_eq!(missing.code, Some(2));
    assert!(
        missing.stderr.contains("cannot be read"),
        "{}",
        missing.stderr
    );
    caller.save("api.key", ADMIN_KEY);
    let away = std::mem::replace(&mut caller.url, "http://127.0.0.1:1".to_owned());
    let ended = caller.run(list).await;
    assert_eq!(ended.code, Some(2));
    assert!(
        ended.stderr.contains("http://127.0.0.1:1/ cannot be asked"),
        "{}",
        ended.stderr
    );
    caller.url = format!("{away}/docs");
    let elsewhere = caller.run(list).await;
    assert_eq!(elsewhere.code, Some(1), "{}", elsewhere.stderr);
    caller.url = "ftp://a.example".to_owned();
    let other = caller.run(list).await;
    assert_eq!(other.code, Some(2));
    assert!(other.stderr.contains("http or https"), "{}", other.stderr);
}

async fn secret_set_reads_values_from_files_and_shows_none(database: TestDatabase) {
    let provider = Provider::start().await;
    let server = Server::start(&database).await;
    server
        .client
        .register_realm("r", &provider.url("/token"))
        .await;
    let caller = Caller::of(&server);
    caller.save("app", "the-app\n");
    let mut set = caller.command("secret set r/k key_1=@app key_2=@-");
    let mut child = set
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let mut stdin = child.stdin.take().expect("standard input is piped");
    stdin.write_all(b"line 1\nline 2\n").expect("it reads");
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    let printed = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{printed}");
    assert!(printed.starts_with("r/k: "), "{printed}");
    server.client.generation("r", "k", 1).await;
    let sent = &provider.requests()[0].query;
    let value = |name: &str| {
        sent.iter()
            .find(|(given, _)| given == name)
            .map(|(_, value)| &**value)
    };
    assert_eq!(value("appid"), Some("the-app"));
    assert_eq!(value("secret"), Some("line 1\nline 2"));
    // One changes, and the other stays.
    caller.save("app", "another");
    caller.good("secret set r/k key_1=@app").await;
    server.client.generation("r", "k", 2).await;
    let sent = &provider.requests()[1].query;
    assert!(
        sent.contains(&("secret".to_owned(), "line 1\nline 2".to_owned())),
        "{sent:?}"
    );
    for (arguments, told) in [
        ("secret set r/k key_1=canary", "NAME=@FILE"),
        ("secret set rk key_1=@app", "a realm and a key"),
        (
            "secret set r/k key_1=@missing",
            "key_1: missing cannot be read",
        ),
        (
            "secret set r/k key_1=@app key_1=@app",
            "key_1 is given twice",
        ),
        ("secret set r/k key_1=@- key_2=@-", "one value only"),
    ] {
        let ended = caller.run(arguments).await;
        assert_eq!((ended.code, &*ended.stdout), (Some(2), ""), "{arguments}");
        assert!(ended.stderr.contains(told), "{arguments}: {}", ended.stderr);
        assert!(!ended.stderr.contains("canary"), "{}", ended.stderr);
    }
    let ended = caller.run("secret set nowhere/k key_1=@app").await;
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("unknown_realm"), "{}", ended.stderr);
}

async fn secrets_and_attempts_are_listed_page_by_page(database: TestDatabase) {
    let provider = Provider::start().await;
    let server = Server::start(&database).await;
    let client = &server.client;
    for realm in ["r", "s"] {
        client.register_realm(realm, &provider.url("/token")).await;
        client.save_secret(realm, "k").await;
        client.generation(realm, "k", 1).await;
    }
    let caller = Caller::of(&server);
    let table = caller.good("secret list --realm r").await;
    let lines: Vec<Vec<_>> = table
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(lines.len(), 2, "{table}");
    assert_eq!(
        lines[0][..4],
        ["REALM", "KEY", "STATE", "GENERATION"],
        "{table}"
    );
    assert_eq!(lines[1][..4], ["r", "k", "active", "1"], "{table}");
    let all = caller.good("secret list --format json").await;
    let all: Value = serde_json::from_str(&all).expect("JSON");
    let realms: Vec<_> = all
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| &one["realm"])
        .collect();
    assert_eq!(realms, ["s", "r"]);
    let none = caller
        .good("secret list --state paused --format json")
        .await;
    assert_eq!(none, "[]\n");
    let attempts = caller.good("renewal list --format json --limit 1").await;
    let attempts: Value = serde_json::from_str(&attempts).expect("JSON");
    assert_eq!(attempts.as_array().map(Vec::len), Some(1));
    assert_eq!(
        (&attempts[0]["realm"], &attempts[0]["outcome"]),
        (&json!("s"), &json!("stored"))
    );
    let failed = caller.good("renewal list --outcome failed").await;
    assert_eq!(failed.lines().count(), 1, "{failed}");
    let wrong = caller.run("renewal list --outcome void").await;
    assert_eq!(wrong.code, Some(1));
    assert!(
        wrong.stderr.contains("invalid_parameter"),
        "{}",
        wrong.stderr
    );
}

fn leaves(command: &clap::Command, into: &mut Vec<clap::Command>) {
    for below in command.get_subcommands() {
        match below.has_subcommands() {
            true => leaves(below, into),
            false => into.push(below.clone()),
        }
    }
}

#[test]
fn the_help_of_each_command_says_what_it_works_with() {
    let mut all = Vec::new();
    leaves(&Arguments::command(), &mut all);
    let says = |command: &clap::Command| {
        let help = command.get_after_help().map(ToString::to_string);
        help.is_some_and(|help| {
            [
                "Works on the database",
                "Talks to a running server",
                "Works without a database",
            ]
            .iter()
            .any(|begin| help.starts_with(begin))
        })
    };
    let silent: Vec<_> = all
        .iter()
        .filter(|one| !says(one))
        .map(clap::Command::get_name)
        .collect();
    assert_eq!(silent, [""; 0]);
}

fn printed(arguments: &[&str], folder: &Path) -> String {
    let output = Command::new(BINARY)
        .env_clear()
        .args(arguments)
        .current_dir(folder)
        .output()
        .expect("the binary starts");
    assert!(output.status.success(), "{arguments:?}");
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn completions_know_the_commands_and_the_manual_has_a_page_for_each() {
    let folder = tempfile::tempdir().expect("a temporary directory can be made");
    let script = printed(&["completions", "bash"], folder.path());
    std::fs::write(folder.path().join("script"), script).expect("it is writable");
    let asked = "source ./script; COMP_WORDS=(token-server tok); COMP_CWORD=1; \
                 _token__server token-server tok token-server; echo \"${COMPREPLY[@]}\"";
    let completed = Command::new("bash")
        .args(["-c", asked])
        .current_dir(folder.path())
        .output()
        .expect("bash runs");
    let said = String::from_utf8_lossy(&completed.stderr);
    assert_eq!(completed.stdout, b"token\n", "{said}");
    printed(&["man", "."], folder.path());
    for (page, told) in [
        ("token-server.1", "token\\-server"),
        ("token-server-renew.1", "metrics\\-file"),
        ("token-server-secret-set.1", "NAME=@FILE"),
    ] {
        let text = std::fs::read_to_string(folder.path().join(page)).expect(page);
        assert!(text.contains(told), "{page}: {text}");
    }
}

#[tokio::test]
async fn a_key_is_sent_over_plain_http_to_this_machine_only_and_to_no_url_with_a_user() {
    let folder = tempfile::tempdir().expect("a temporary directory can be made");
    let key = folder.path().join("api.key");
    std::fs::write(&key, ADMIN_KEY).expect("it is writable");
    let private = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(&key, private).expect("it is ours");
    let said = async |server: &str, more: &[&str], variable: &str| {
        let mut command = Command::new(BINARY);
        command
            .env_clear()
            .env("TOKEN_SERVER_INSECURE_HTTP", variable)
            .args(["secret", "list", "--server", server, "--key-file"])
            .arg(&key)
            .args(more);
        let ended = end(&mut command).await;
        assert_eq!(ended.code, Some(2), "{}", ended.stdout);
        ended.stderr
    };
    // No name below this one is ever there (RFC 6761).
    let elsewhere = "http://token-server.invalid/";
    for variable in ["", "false", "0"] {
        let refused = said(elsewhere, &[], variable).await;
        assert!(refused.contains("over plain HTTP"), "{refused}");
    }
    for (more, variable) in [(&["--insecure-http"][..], ""), (&[], "true")] {
        let asked = said(elsewhere, more, variable).await;
        assert!(asked.contains("cannot be asked"), "{asked}");
    }
    let here = said("http://127.0.0.1:1/", &[], "").await;
    assert!(here.contains("cannot be asked"), "{here}");
    for url in [
        "https://canary@127.0.0.1:1/",
        "http://user:canary@127.0.0.1:1/",
    ] {
        let refused = said(url, &[], "").await;
        assert!(refused.contains("must hold no user"), "{refused}");
        assert!(!refused.contains("canary"), "{refused}");
    }
}

#[tokio::test]
async fn a_key_is_taken_to_no_place_that_an_answer_names() {
    let (database, other) = (TestDatabase::sqlite(), Provider::start().await);
    let server = Server::start(&database).await;
    let mut caller = Caller::of(&server);
    let there = other.url("/there");
    other.answer_next(Answer::status(307).with_header("location", &there));
    caller.url = other.url("/");
    let ended = caller.run("secret list").await;
    assert_eq!(ended.code, Some(2), "{}", ended.stdout);
    assert!(ended.stderr.contains("answered 307"), "{}", ended.stderr);
    assert_eq!(other.request_count(), 1);
}
