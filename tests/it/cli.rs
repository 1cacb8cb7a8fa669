//! The command line: what it prints, and how it exits.

mod first_start;
mod realms;
mod renew;

use std::fs::File;
use std::io::{Read, Seek};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use clap::CommandFactory;
use token_server::cli::Arguments;

use crate::kit::database::Kind;
use crate::kit::process::{ServerProcess, command};
use crate::kit::server::{ADMIN_KEY, SEALING_KEYS};
use crate::kit::{Server, TestDatabase, eventually, on_every_database};

on_every_database! {
    a_key_made_on_the_command_line_works_until_it_is_revoked_there,
    whatever_works_with_what_is_stored_makes_nothing_in_an_empty_database,
    migrate_can_run_again,
    two_migrations_at_once_both_succeed,
}

pub use renew::{LONG_AGO, obtain, summary};

/// How a command ended.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// Runs a command to its end.
pub async fn end(command: &mut Command) -> Ended {
    let [mut stdout, mut stderr] =
        [(); 2].map(|()| tempfile::tempfile().expect("a temporary file can be made"));
    let write_to = |file: &File| file.try_clone().expect("a file can be shared");
    let mut child = command
        .stdout(write_to(&stdout))
        .stderr(write_to(&stderr))
        .spawn()
        .expect("the binary starts");
    let status = eventually("the command ends", async || {
        child.try_wait().expect("the command can be waited for")
    });
    let code = status.await.code();
    let read = |file: &mut File| {
        let mut text = String::new();
        file.rewind().expect("a file can be read again");
        file.read_to_string(&mut text).expect("the output is text");
        text
    };
    Ended {
        code,
        stdout: read(&mut stdout),
        stderr: read(&mut stderr),
    }
}

pub async fn run(database: &TestDatabase, arguments: &str) -> Ended {
    end(command(database, &[]).args(arguments.split(' '))).await
}

/// Commands, by what they do where there is no database.
pub const MAKE_ONE: [&str; 2] = ["migrate", "serve"];
/// Each with what is to follow it; `src` is a folder that holds no realm.
const NEED_ONE: [(&str, &str); 13] = [
    ("api-key create", "an-application --scope token:read"),
    ("api-key list", ""),
    ("api-key revoke", "1"),
    ("audit export", ""),
    ("audit verify", ""),
    ("export", "--output nowhere"),
    ("forget-key", "--all"),
    ("import", "mysql://nowhere.example/predecessor"),
    ("realm apply", "src"),
    ("realm export", "--all"),
    ("renew", ""),
    ("rotate-key", ""),
    ("secret apply", "src"),
];
const NEED_NONE: [&str; 11] = [
    "check-config",
    "completions",
    "healthcheck",
    "man",
    "openapi",
    "realm check",
    "realm schema",
    "renewal list",
    "secret list",
    "secret set",
    "token get",
];

/// The commands that need a database, as they are run.
pub fn which_need_one() -> impl Iterator<Item = String> {
    NEED_ONE
        .iter()
        .map(|(command, rest)| format!("{command} {rest}").trim_end().to_owned())
}

/// Every command as it is typed, in order.
pub fn all_commands() -> Vec<String> {
    fn leaves(command: &clap::Command, before: &str) -> Vec<String> {
        let below = command.get_subcommands().flat_map(|command| {
            let name = format!("{before} {}", command.get_name());
            let name = name.trim_start().to_owned();
            match command.has_subcommands() {
                true => leaves(command, &name),
                false => vec![name],
            }
        });
        below.collect()
    }
    let mut all = leaves(&Arguments::command(), "");
    all.sort();
    all
}

#[test]
fn of_every_command_it_is_known_whether_it_needs_a_database() {
    let need_one = NEED_ONE.map(|(command, _)| command);
    let mut known = [&MAKE_ONE[..], &need_one, &NEED_NONE].concat();
    known.sort_unstable();
    assert_eq!(all_commands(), known);
}

async fn whatever_works_with_what_is_stored_makes_nothing_in_an_empty_database(
    database: TestDatabase,
) {
    let database = database.without_schema().await;
    let tables = match database.kind() {
        Kind::Sqlite => "SELECT COUNT(*) FROM sqlite_master",
        Kind::MySql => {
            "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = DATABASE()"
        }
    };
    for arguments in which_need_one() {
        let ended = run(&database, &arguments).await;
        assert_eq!((ended.code, &*ended.stdout), (Some(2), ""), "{arguments}");
        for told in ["nothing of a token server", "token-server migrate"] {
            assert!(ended.stderr.contains(told), "{arguments}: {}", ended.stderr);
        }
        assert_eq!(database.number(tables).await, 0, "{arguments}");
    }
}

#[tokio::test]
async fn whatever_works_with_what_is_stored_makes_no_database_in_the_wrong_directory() {
    let database = TestDatabase::sqlite();
    for arguments in which_need_one().chain(["renew --all".to_owned()]) {
        let ended = run(&database, &arguments).await;
        assert_eq!((ended.code, &*ended.stdout), (Some(2), ""), "{arguments}");
        let file = database.directory.path().join("token-server.db");
        let told = format!("no database at sqlite://{}", file.display());
        assert!(
            ended.stderr.contains(&told),
            "{arguments}: {}",
            ended.stderr
        );
        let made = std::fs::read_dir(database.directory.path()).expect("it can be listed");
        assert_eq!(made.count(), 0, "{arguments}");
    }
}

#[tokio::test]
async fn what_the_server_makes_is_for_its_user_only() {
    let database = TestDatabase::sqlite();
    let directory = database.directory.path().join("made/here");
    let url = format!("sqlite://{}?mode=rwc", directory.join("ts.db").display());
    let data_dir = ("TOKEN_SERVER__DATA_DIR", directory.display().to_string());
    let ended = end(command(&database, &[data_dir])
        .env("DATABASE_URL", url)
        .arg("migrate"))
    .await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    for (path, mode) in [("", 0o700), ("replica.id", 0o600)] {
        let made = std::fs::metadata(directory.join(path)).expect("it was made");
        assert_eq!(made.permissions().mode() & 0o777, mode, "{path:?}");
    }
}

#[tokio::test]
async fn a_good_configuration_is_summed_up_and_nothing_is_made() {
    let database = TestDatabase::sqlite();
    let ended = run(&database, "check-config").await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.stdout.contains("127.0.0.1:0"), "{}", ended.stdout);
    for secret in [ADMIN_KEY, SEALING_KEYS] {
        assert!(!ended.stdout.contains(secret) && !ended.stderr.contains(secret));
    }
    let made = std::fs::read_dir(database.directory.path()).expect("it can be listed");
    assert_eq!(made.count(), 0);
}

#[tokio::test]
async fn a_bad_configuration_exits_64_and_names_the_key() {
    let database = TestDatabase::sqlite();
    for line in [
        "TOKEN_SERVER__HTTP__LISTEN canary http.listen",
        "TOKEN_SERVER__HTTP__PORT canary port",
        "TOKEN_SERVER__RENEWAL__CONCURRENCY 0 renewal.concurrency",
        "TOKEN_SERVER__UPSTREAM__ALLOWED_NETWORKS 10.0.0.0/33 upstream.allowed_networks",
        "TOKEN_SERVER__ADMIN_KEY canary admin_key",
        "TOKEN_SERVER__SEALING__KEYS id:canary sealing.keys",
        "TOKEN_SERVER__LOG__FORMAT xml log.format",
        "TOKEN_SERVER__LOG__FILTER a=b=canary log.filter",
        "TOKEN_SERVER__MAINTENANCE__SCHEDULE often maintenance.schedule",
        "DATABASE_URL postgres://u:canary@h/d database.url",
    ] {
        let words: Vec<_> = line.split(' ').collect();
        let [name, value, key] = words[..] else {
            panic!("not three words: {line}")
        };
        for arguments in ["check-config", "serve", "renew"] {
            let ended = end(command(&database, &[]).env(name, value).arg(arguments)).await;
            assert_eq!(ended.code, Some(64), "{name}: {}", ended.stderr);
            assert_eq!(ended.stdout, "");
            assert!(ended.stderr.contains(key), "{key}: {}", ended.stderr);
            assert!(!ended.stderr.contains("canary"), "{key}: {}", ended.stderr);
        }
    }
}

#[tokio::test]
async fn an_unknown_key_in_the_configuration_file_is_fatal() {
    let database = TestDatabase::sqlite();
    let file = database.directory.path().join("config.toml");
    for (text, code, told) in [
        ("[renewal]\nconcurency = 5\n", 64, "concurency"),
        ("[renewals]\nconcurrency = 5\n", 64, "renewals"),
        ("admin_keys = \"canary\"\n", 64, "admin_keys"),
        ("[http]\nlisten = \"127.0.0.1:1\"\n", 0, "127.0.0.1:1,"),
    ] {
        std::fs::write(&file, text).expect("the file can be written");
        let mut by_argument = command(&database, &[]);
        by_argument.arg("--config").arg(&file);
        let mut by_environment = command(&database, &[]);
        by_environment.env("TOKEN_SERVER_CONFIG", &file);
        for mut command in [by_argument, by_environment] {
            command.env_remove("TOKEN_SERVER__HTTP__LISTEN");
            let ended = end(command.arg("check-config")).await;
            let output = ended.stdout + &ended.stderr;
            assert_eq!(ended.code, Some(code), "{output}");
            assert!(
                output.contains(told) && !output.contains("canary"),
                "{output}"
            );
        }
    }
}

#[tokio::test]
async fn openapi_prints_the_specification_and_needs_no_configuration() {
    let mut command = command(&TestDatabase::sqlite(), &[]);
    let ended = end(command.env_clear().arg("openapi")).await;
    assert_eq!((ended.code, &*ended.stderr), (Some(0), ""));
    assert!(ended.stdout == token_server::api::specification());
}

async fn a_key_made_on_the_command_line_works_until_it_is_revoked_there(database: TestDatabase) {
    let server = ServerProcess::start(&database, &[]);
    let create = "api-key create shop --scope token:read,realm:read --realm wx*";
    let made = run(&database, create).await;
    assert_eq!(made.code, Some(0), "{}", made.stderr);
    let key = made.stdout.trim_end();
    assert!(!made.stderr.contains(key));
    let shop = server.client.with_key(key);
    shop.get("/api/realm").await.expect(200);
    shop.token("wx1", "k").await.expect(400);
    shop.token("other", "k").await.expect(403);
    shop.get("/api/secret").await.expect(403);
    let all = run(&database, "api-key create all --scope metrics --realm wx*").await;
    assert_eq!(all.code, Some(2));
    assert!(
        all.stderr.contains("--scope must not be metrics"),
        "{}",
        all.stderr
    );
    let taken = run(&database, "api-key create shop --scope admin").await;
    assert_eq!((taken.code, &*taken.stdout), (Some(2), ""));
    let listed = run(&database, "api-key list").await;
    assert_eq!(listed.code, Some(0), "{}", listed.stderr);
    assert!(!listed.stdout.contains(&key[8..]), "a key is listed");
    let mut lines = listed.stdout.lines();
    let header: Vec<_> = lines.next().expect("a header").split_whitespace().collect();
    assert_eq!(
        header,
        [
            "ID", "NAME", "KEY", "SCOPES", "REALMS", "KEYS", "RATE", "STATE"
        ]
    );
    let mut rows = lines.map(|line| line.split_whitespace().collect::<Vec<_>>());
    let row = rows.find(|row| row[1] == "shop").expect("it is listed");
    let shown = ["token:read,realm:read", "wx*", "any", "default", "valid"];
    assert_eq!(row[3..], shown);
    let id = row[0];
    let by_name = run(&database, "api-key revoke shop").await;
    assert_eq!(by_name.code, Some(2), "{}", by_name.stderr);
    assert!(
        by_name.stderr.contains("the key's ID"),
        "{}",
        by_name.stderr
    );
    let dead = run(
        &database,
        "api-key create dead --scope token:read,metrics --days 0",
    )
    .await;
    assert_eq!((dead.code, &*dead.stdout), (Some(2), ""));
    assert!(dead.stderr.contains("--days"), "{}", dead.stderr);
    for code in [0, 2] {
        let revoked = run(&database, &format!("api-key revoke {id}")).await;
        assert_eq!(revoked.code, Some(code), "{}", revoked.stderr);
    }
    eventually("the server has followed", async || {
        (shop.get("/metrics").await.status == 401).then_some(())
    })
    .await;
    let entries = server.client.list("/api/audit").await;
    let by_command_line = entries
        .iter()
        .filter(|entry| entry["actor"] == "command line");
    let actions: Vec<_> = by_command_line.map(|entry| &entry["action"]).collect();
    let created = "api_key.create";
    // The first is the administrator's.
    assert_eq!(actions, ["api_key.revoke", created, created]);
}

async fn migrate_can_run_again(database: TestDatabase) {
    let database = database.without_schema().await;
    for nothing in [false, true] {
        let ended = run(&database, "migrate").await;
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        assert_eq!(ended.stdout.starts_with("0 step(s)"), nothing);
    }
    assert_eq!(database.number("SELECT COUNT(*) FROM ts_realm").await, 0);
}

async fn two_migrations_at_once_both_succeed(database: TestDatabase) {
    let database = database.without_schema().await;
    let (one, other) = tokio::join!(run(&database, "migrate"), run(&database, "migrate"));
    for ended in [one, other] {
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    }
    let server = Server::start(&database).await;
    server.client.get("/api/realm").await.expect(200);
}
