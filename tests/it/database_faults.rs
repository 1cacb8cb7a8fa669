//! A database that cannot be used: which one, and why, without its password; said when that
//! begins and when it ends, and not with each call.

use std::net::TcpListener;
use std::process::Output;

use rustix::process::{Pid, Signal, kill_process};
use sea_orm::{ConnectionTrait, Database};
use serde_json::Value;

use crate::cli::{MAKE_ONE, which_need_one};
use crate::kit::database_server::DatabaseServer;
use crate::kit::process::{ServerProcess, command};
use crate::kit::{PATIENCE, Provider, TestDatabase, eventually, strict_json};

/// Stands in no message.
const PASSWORD: &str = "canary-5d1c0-of-the-database";

/// Runs a command on a database at this URL.
fn run(arguments: &str, url: &str) -> Output {
    let database = TestDatabase::sqlite();
    let more = [
        ("DATABASE_URL", url.to_owned()),
        (
            "TOKEN_SERVER__DATABASE__ACQUIRE_TIMEOUT_MS",
            "300".to_owned(),
        ),
    ];
    command(&database, &more)
        .args(arguments.split(' '))
        .output()
        .expect("the command ends")
}

/// Commands that make a database where there is none.
fn making() -> impl Iterator<Item = String> {
    MAKE_ONE.iter().map(ToString::to_string)
}

/// Fails the test unless each command that uses a database ends with code 2 and says all of this.
#[track_caller]
fn expect_said(url: &str, said: &[&str]) {
    expect_said_by(making().chain(which_need_one()), url, said);
}

#[track_caller]
fn expect_said_by(commands: impl Iterator<Item = String>, url: &str, said: &[&str]) {
    for arguments in commands {
        let ended = run(&arguments, url);
        let stderr = String::from_utf8(ended.stderr).expect("a text");
        let stdout = String::from_utf8(ended.stdout).expect("a text");
        assert_eq!(ended.status.code(), Some(2), "{arguments}: {stderr}");
        for text in said {
            assert!(stderr.contains(text), "{arguments}: {text}: {stderr}");
        }
        assert!(!(stderr + &stdout).contains("canary"), "{arguments}");
    }
}

fn address_of(root: &str) -> &str {
    root.rsplit_once('@').expect("a user").1
}

#[test]
fn a_start_says_which_server_cannot_be_reached_and_why() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let port = taken.local_addr().expect("an address").port();
    // It never accepts, so nobody greets whoever connects.
    let url = format!("mysql://app:{PASSWORD}@127.0.0.1:{port}/tokens");
    let address = format!("mysql://127.0.0.1:{port}/tokens cannot be used: ");
    expect_said(&url, &[&address, "no connection could be had"]);
    drop(taken);
    expect_said(&url, &[&address, "the connection is refused"]);
    // Too long for a name, so nobody is asked for it.
    let host = "a".repeat(64);
    let url = format!("mysql://app:{PASSWORD}@{host}/tokens");
    expect_said(&url, &[&host, "the name of the host is not found"]);
    for url in [
        format!("mysql://app:1/{PASSWORD}@127.0.0.1/tokens"),
        format!("mysql://app:1?{PASSWORD}@127.0.0.1/tokens"),
        format!("mysql://app:1#{PASSWORD}@127.0.0.1/tokens"),
    ] {
        expect_said(&url, &["database.url: its password holds"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_says_what_a_server_refuses() {
    let mariadb = DatabaseServer::start();
    mariadb.answers().await;
    let root = mariadb.url();
    let address = address_of(root);
    let admin = Database::connect(root).await.expect("it can be reached");
    for sql in [
        format!("CREATE USER app@'%' IDENTIFIED BY '{PASSWORD}'"),
        "CREATE DATABASE theirs".to_owned(),
        "CREATE DATABASE ours".to_owned(),
        "GRANT SELECT ON ours.* TO app@'%'".to_owned(),
    ] {
        let done = admin.execute_unprepared(&sql).await;
        done.expect("the statement is good");
    }
    let of = |user: &str, password: &str, name: &str| {
        format!("mysql://{user}:{password}@{address}/{name}")
    };
    for (url, said) in [
        (
            of("app", "canary-but-wrong", "ours"),
            "access denied for user app: wrong password",
        ),
        (
            of("app", PASSWORD, "theirs"),
            "access denied for user app to database theirs",
        ),
        (
            format!("{root}/nothing"),
            "there is no database nothing: create it",
        ),
        (
            format!("{}?ssl-mode=REQUIRED", of("root", "", "ours")),
            "TLS",
        ),
    ] {
        expect_said(&url, &[&format!("mysql://{address}/"), said]);
    }
    // The others make nothing there.
    let ours = of("app", PASSWORD, "ours");
    let lacks = "user app lacks a privilege on database ours";
    expect_said_by(making(), &ours, &[&format!("mysql://{address}/"), lacks]);
    expect_said_by(which_need_one(), &ours, &["nothing of a token server"]);
    for sql in ["GRANT ALL ON ours.* TO app@'%'", "SET GLOBAL read_only = 1"] {
        let done = admin.execute_unprepared(sql).await;
        done.expect("the statement is good");
    }
    expect_said_by(making(), &ours, &["the server is read-only"]);
}

#[test]
fn a_start_says_why_a_file_cannot_be_used() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let at = |name: &str| directory.path().join(name).display().to_string();
    std::fs::write(
        at("text"),
        "no database at all, but long enough to be one".repeat(20),
    )
    .expect("a file can be written");
    std::fs::create_dir(at("folder")).expect("a folder can be made");
    for (url, said) in [
        (
            format!("sqlite://{}", at("absent.db")),
            "there is no such file",
        ),
        (
            format!("sqlite://{}?mode=rwc", at("folder")),
            "it is a folder",
        ),
        (
            format!("sqlite://{}?mode=rwc", at("text")),
            "is no SQLite database",
        ),
        (
            format!("sqlite://{}?mode=rwc", at("text/below.db")),
            "cannot be made",
        ),
    ] {
        let path = directory.path().to_str().expect("a path");
        expect_said_by(making(), &url, &[path, said]);
        let is_there = url.contains("folder") || url.ends_with("text?mode=rwc");
        let said = if is_there {
            said
        } else {
            "there is no database at"
        };
        expect_said_by(which_need_one(), &url, &[path, said]);
    }
}

fn lines(server: &ServerProcess, log: &mut Vec<Value>) {
    let read = server.logged();
    log.extend(read.iter().map(|line| strict_json::read(line)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_away_is_said_when_that_begins_and_when_it_ends() {
    let mariadb = DatabaseServer::start();
    mariadb.answers().await;
    let admin = Database::connect(mariadb.url()).await;
    let admin = admin.expect("it can be reached");
    for sql in [
        format!("CREATE USER app@'%' IDENTIFIED BY '{PASSWORD}'"),
        "GRANT ALL ON *.* TO app@'%'".to_owned(),
    ] {
        let done = admin.execute_unprepared(&sql).await;
        done.expect("the statement is good");
    }
    let database = TestDatabase::on_server(mariadb.url()).await;
    let address = address_of(&database.url).to_owned();
    let more = [
        ("DATABASE_URL", format!("mysql://app:{PASSWORD}@{address}")),
        (
            "TOKEN_SERVER__DATABASE__ACQUIRE_TIMEOUT_MS",
            "200".to_owned(),
        ),
        ("TOKEN_SERVER__DATABASE__READ_PATIENCE_MS", "300".to_owned()),
        ("TOKEN_SERVER__READ__MEMORY_MIB", "0".to_owned()),
    ];
    let server = ServerProcess::start(&database, &more);
    let provider = Provider::start().await;
    let client = &server.client;
    client.register(&provider.url("/token")).await;
    client.token("r", "k").await.expect(200);
    let mut log = Vec::new();
    lines(&server, &mut log);
    log.clear();
    mariadb.end(Signal::KILL);
    for _ in 0..5 {
        let reads = (0..20).map(|_| client.token("r", "k"));
        for reply in futures_util::future::join_all(reads).await {
            reply.expect_problem(503, "database_unavailable");
        }
    }
    let fails = |line: &Value| line["message"] == "the database fails";
    eventually("the cause", async || {
        lines(&server, &mut log);
        let refused = |line: &Value| fails(line) && line["cause"] == "connection_refused";
        log.iter().any(refused).then_some(())
    })
    .await;
    let ready = client.without_key().get("/readyz").await;
    let ready = ready.expect_problem(503, "not_ready");
    assert_eq!(
        ready["detail"],
        "The database does not answer: connection refused."
    );
    mariadb.start_again();
    let again = |line: &Value| {
        let message = line["message"].as_str().unwrap_or_default();
        message.starts_with("the database answers again after ")
    };
    eventually("the end", async || {
        lines(&server, &mut log);
        log.iter().any(again).then_some(())
    })
    .await;
    client.token("r", "k").await.expect(200);
    let said: Vec<_> = log.iter().filter(|line| fails(line)).collect();
    let causes: std::collections::BTreeSet<_> =
        said.iter().map(|line| line["cause"].to_string()).collect();
    assert_eq!(said.len(), causes.len(), "{said:?}");
    for line in &said {
        assert_eq!(line["database"], format!("mysql://{address}"), "{line}");
        assert!(line["error"].is_string() && line["doing"].is_string());
    }
    let over: Vec<_> = log.iter().filter(|line| again(line)).collect();
    let [over] = over[..] else {
        panic!("not said once: {over:?}");
    };
    assert!(over["failures"].as_u64() >= Some(100), "{over}");
    assert!(log.len() < 20, "{} lines: {log:?}", log.len());
    let told = log.iter().find(|line| line.to_string().contains("canary"));
    assert!(told.is_none(), "{told:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readiness_is_answered_within_its_own_limit_while_the_database_hangs() {
    let mariadb = DatabaseServer::start();
    mariadb.answers().await;
    let database = TestDatabase::on_server(mariadb.url()).await;
    // Nothing but that limit could have it answered.
    let minutes = || "600000".to_owned();
    let more = [
        ("TOKEN_SERVER__DATABASE__ACQUIRE_TIMEOUT_MS", minutes()),
        ("TOKEN_SERVER__DATABASE__READ_PATIENCE_MS", minutes()),
    ];
    let server = ServerProcess::start(&database, &more);
    let anybody = server.client.without_key();
    eventually("it is ready", async || {
        (anybody.get("/readyz").await.status == 200).then_some(())
    })
    .await;
    let pid = i32::try_from(mariadb.pid()).ok().and_then(Pid::from_raw);
    let pid = pid.expect("it runs");
    kill_process(pid, Signal::STOP).expect("it can be stopped");
    // More than there are connections to the database.
    let probes = futures_util::future::join_all((0..40).map(|_| anybody.get("/readyz")));
    let answers = tokio::time::timeout(PATIENCE, probes).await;
    for answer in answers.expect("each probe is answered") {
        let problem = answer.expect_problem(503, "not_ready");
        assert_eq!(
            problem["detail"],
            "The database does not answer: timed out."
        );
    }
    anybody.get("/healthz").await.expect(200);
    kill_process(pid, Signal::CONT).expect("it can go on");
    eventually("it is ready again", async || {
        (anybody.get("/readyz").await.status == 200).then_some(())
    })
    .await;
}
