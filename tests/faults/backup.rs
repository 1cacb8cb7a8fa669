//! A backup taken while tokens are renewed, as docs/src/how-to/back-up-and-restore.md says, and put
//! back on another machine.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::process::{Command, Stdio};

use token_server::foundation::clock::Ms;
use tokio::task::{block_in_place, spawn_blocking};

use crate::kills::{lock, unlock};
use crate::kit::database::Kind;
use crate::kit::server::Client;
use crate::kit::{TestDatabase, eventually, on_every_database};
use crate::provider::{Held, Reuse};
use crate::scene::{LIFETIME_S, Scene};

on_every_database! {
    every_token_of_a_backup_taken_under_load_is_renewed_where_it_is_restored,
    every_token_of_a_backup_taken_beside_a_spool_is_renewed_where_both_are_restored,
}

const KEYS: usize = 40;
/// The provider takes a refresh token for so long after it was used: a backup holds used ones.
const OVERLAP: Reuse = Reuse::AcceptedFor(Ms::from_secs(3600));

fn key(number: usize) -> String {
    format!("k{number}")
}

async fn every_token_of_a_backup_taken_under_load_is_renewed_where_it_is_restored(
    database: TestDatabase,
) {
    let mut scene = Scene::set(database, OVERLAP, LIFETIME_S).await;
    // Answers that the lost server waited for are not waited for where it is restored.
    let waits_for_none = [("TOKEN_SERVER__UPSTREAM__LATE_ANSWER_S", "0".to_owned())];
    let server = scene.replica_with("a", &waits_for_none);
    scene.register_patient_realm(&server.client).await;
    for number in 0..KEYS {
        scene.register(&server.client, &key(number)).await;
    }
    renewed_and_read(&mut scene, &server.client).await;

    let taking = spawn_blocking(taker(&scene.database));
    loop {
        renewed_and_read(&mut scene, &server.client).await;
        if taking.is_finished() {
            break;
        }
    }
    taking.await.expect("the backup is taken");
    server.kill();

    let restored = another(&scene.database).await;
    block_in_place(|| restore(&scene.database, &restored));
    let lost = std::mem::replace(&mut scene.database, restored);
    let server = scene.replica_with("b", &waits_for_none);
    for number in 0..KEYS {
        scene.renews_again(&server.client, &key(number)).await;
    }
    let unhealthy = server
        .client
        .list("/api/secret?state=needs_attention")
        .await;
    assert_eq!(unhealthy, Vec::<serde_json::Value>::new());
    drop(lost);
}

async fn every_token_of_a_backup_taken_beside_a_spool_is_renewed_where_both_are_restored(
    database: TestDatabase,
) {
    let mut scene = Scene::set(database, Reuse::EndsFamily, LIFETIME_S).await;
    let server = scene.replica("a");
    scene.register_realm(&server.client).await;
    for key in SPOOLED {
        scene.register(&server.client, key).await;
        server.client.generation("r", key, 1).await;
    }
    scene.register(&server.client, "k").await;
    server.client.generation("r", "k", 1).await;
    // The provider has rotated, and the database takes none of it.
    scene.provider.hold(Held::After);
    for key in SPOOLED {
        let due = format!("UPDATE ts_token SET renew_at = 0 WHERE key_name = '{key}'");
        scene.run(&due).await;
    }
    scene.rotated(2 * SPOOLED.len() + 1).await;
    let lock = lock(&scene.database).await;
    scene.provider.hold(Held::Nowhere);
    eventually("the pairs are in the spool", async || {
        (scene.spooled("a") == SPOOLED.len()).then_some(())
    })
    .await;
    block_in_place(taker(&scene.database));
    server.kill();
    unlock(lock).await;

    let restored = another(&scene.database).await;
    block_in_place(|| restore(&scene.database, &restored));
    let spool = |database: &TestDatabase, replica: &str| {
        database.directory.path().join(replica).join("spool")
    };
    let (from, to) = (spool(&scene.database, "a"), spool(&restored, "b"));
    block_in_place(|| copied(&from, &to));
    let lost = std::mem::replace(&mut scene.database, restored);
    let server = scene.replica("b");
    for key in SPOOLED {
        server.client.generation("r", key, 2).await;
    }
    assert_eq!(scene.spooled("b"), 0);
    assert_eq!(
        scene.provider.rotations(),
        2 * SPOOLED.len() + 1,
        "nothing was asked again"
    );
    for key in SPOOLED.into_iter().chain(["k"]) {
        scene.renews_again(&server.client, key).await;
    }
    scene.judge(&server.client).await;
    drop(lost);
}

/// Whose pairs are in the spool.
const SPOOLED: [&str; 2] = ["s1", "s2"];

async fn another(database: &TestDatabase) -> TestDatabase {
    match database.kind() {
        Kind::Sqlite => TestDatabase::sqlite(),
        Kind::MySql => TestDatabase::mysql().await,
    }
}

/// Copies a spool with its modes: only its owner reads it.
fn copied(from: &Path, to: &Path) {
    let made = DirBuilder::new().mode(0o700).recursive(true).create(to);
    made.expect("a folder can be made");
    for entry in std::fs::read_dir(from).expect("there is a spool") {
        let entry = entry.expect("an entry");
        std::fs::copy(entry.path(), to.join(entry.file_name())).expect("it is copied");
    }
}

/// Renews all tokens once more, and reads each.
async fn renewed_and_read(scene: &mut Scene, client: &Client) {
    let wanted = scene.provider.rotations() + KEYS;
    scene.due().await;
    while scene.provider.rotations() < wanted {
        for number in 0..KEYS {
            scene.read(client, 0, &key(number)).await;
        }
    }
}

/// Installed, or where tests/setup.sh unpacks what is not.
const PATHS: &str = concat!(
    "/usr/local/bin:/usr/bin:/usr/sbin:",
    env!("CARGO_MANIFEST_DIR"),
    "/target/servers/mariadb-client/usr/bin"
);

/// The programs of MariaDB, or of the server that `TEST_MYSQL_URL` names.
fn program(variable: &str, default: &str) -> Command {
    let named = |(name, _): &(String, String)| name == variable;
    let named = std::env::vars().find(named).map(|(_, command)| command);
    let line = named.unwrap_or_else(|| default.to_owned());
    let mut words = line.split_whitespace();
    let mut command = Command::new(words.next().expect("a program is named"));
    command.args(words).env("PATH", PATHS);
    command
}

/// The options that name a server, and the database there.
fn server_of(database: &TestDatabase) -> (Vec<String>, String) {
    let url = url::Url::parse(&database.url).expect("a URL");
    let options = vec![
        "--protocol=tcp".to_owned(),
        format!("--host={}", url.host_str().expect("a host")),
        format!("--port={}", url.port().expect("a port")),
        format!("--user={}", url.username()),
    ];
    (options, url.path().trim_start_matches('/').to_owned())
}

const SQLITE_FILE: &str = "token-server.db";
const SQLITE_COPY: &str = "backup.db";
const DUMP: &str = "backup.sql";

/// Takes a backup beside the database.
fn taker(database: &TestDatabase) -> impl FnOnce() + Send + 'static {
    let directory = database.directory.path().to_owned();
    let mut command = match database.kind() {
        Kind::Sqlite => {
            let mut command = Command::new("sqlite3");
            let copy = directory.join(SQLITE_COPY);
            command
                .arg(directory.join(SQLITE_FILE))
                .arg(format!("VACUUM INTO '{}'", copy.display()));
            command
        }
        Kind::MySql => {
            let (server, name) = server_of(database);
            let mut command = program("TEST_MYSQL_DUMP", "mariadb-dump");
            command.args(server).args(["--single-transaction", &name]);
            let dump = std::fs::File::create(directory.join(DUMP));
            command.stdout(dump.expect("the file can be made"));
            command
        }
    };
    move || assert!(command.status().expect("it runs").success(), "{command:?}")
}

/// Puts the backup of one database into another.
fn restore(lost: &TestDatabase, restored: &TestDatabase) {
    let backup = lost.directory.path();
    match restored.kind() {
        Kind::Sqlite => {
            let file = restored.directory.path().join(SQLITE_FILE);
            std::fs::copy(backup.join(SQLITE_COPY), file).expect("it is copied");
        }
        Kind::MySql => {
            let (server, name) = server_of(restored);
            let dump = std::fs::File::open(backup.join(DUMP)).expect("the dump is there");
            let mut command = program("TEST_MYSQL_CLIENT", "mariadb");
            command.args(server).arg(&name).stdin(Stdio::from(dump));
            assert!(command.status().expect("it runs").success(), "{command:?}");
        }
    }
}
