//! The keys that a first start makes where none are given, and those that no start takes.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::{Ended, end, run};
use crate::kit::database::Kind;
use crate::kit::process::{ServerProcess, command};
use crate::kit::server::{Client, SEALING_KEYS};
use crate::kit::{TestDatabase, eventually, on_every_database};

on_every_database! {
    without_sealing_keys_sqlite_makes_them_and_mysql_is_refused,
    another_sealing_key_of_the_same_id_is_refused,
    a_refused_start_leaves_no_key_behind,
    without_an_admin_key_the_first_start_makes_one_for_its_owner_only,
    a_replica_with_another_admin_key_replaces_the_one_of_all_and_says_so,
}

async fn without_sealing_keys_sqlite_makes_them_and_mysql_is_refused(database: TestDatabase) {
    let list = async || {
        let mut command = command(&database, &[]);
        command.env_remove("TOKEN_SERVER__SEALING__KEYS");
        end(command.args(["api-key", "list"])).await
    };
    let ended = list().await;
    let path = database.directory.path().join("sealing.keys");
    if database.kind() == Kind::MySql {
        assert_eq!(ended.code, Some(64), "{}", ended.stderr);
        let told = "sealing.keys is required on MySQL";
        assert!(ended.stderr.contains(told), "{}", ended.stderr);
        assert!(!path.exists());
        return;
    }
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let keys = secret_file(&path);
    assert_eq!(list().await.code, Some(0));
    assert!(secret_file(&path) == keys, "the keys were replaced");
    // A lost key ring is not replaced by one that opens nothing.
    std::fs::remove_file(&path).expect("it can be removed");
    let lost = list().await;
    assert_ne!(lost.code, Some(0));
    assert!(lost.stderr.contains("sealing.keys"), "{}", lost.stderr);
    assert!(!path.exists());
}

/// The content of a file that nobody but its owner can read.
fn secret_file(path: &Path) -> String {
    let made = std::fs::metadata(path).expect("it was made");
    assert_eq!(made.permissions().mode() & 0o777, 0o600);
    std::fs::read_to_string(path).expect("it is text")
}

async fn list_with_keys(database: &TestDatabase, keys: String) -> Ended {
    let mut command = command(database, &[("TOKEN_SERVER__SEALING__KEYS", keys)]);
    end(command.args(["api-key", "list"])).await
}

async fn another_sealing_key_of_the_same_id_is_refused(database: TestDatabase) {
    assert_eq!(run(&database, "api-key list").await.code, Some(0));
    let other = SEALING_KEYS.replace("AQE", "AgI");
    for keys in [other.clone(), format!("{other},new:{}", &other[5..])] {
        let ended = list_with_keys(&database, keys).await;
        assert_eq!(ended.code, Some(64), "{}", ended.stderr);
        let told = ended.stderr.contains("\"test\" in sealing.keys");
        assert!(told && !ended.stderr.contains(&other[5..]));
    }
}

async fn a_refused_start_leaves_no_key_behind(database: TestDatabase) {
    assert_eq!(run(&database, "api-key list").await.code, Some(0));
    let other = SEALING_KEYS.replace("AQE", "AgI");
    let mistaken = format!("new:{},{other}", &SEALING_KEYS[5..]);
    assert_eq!(list_with_keys(&database, mistaken).await.code, Some(64));
    let mended = format!("new:{},{SEALING_KEYS}", &other[5..]);
    let ended = list_with_keys(&database, mended).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
}

async fn without_an_admin_key_the_first_start_makes_one_for_its_owner_only(database: TestDatabase) {
    let unset = ("TOKEN_SERVER__ADMIN_KEY", String::new());
    let path = database.directory.path().join("admin.key");
    // A start that ends at once tells all that it logs.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = taken.local_addr().expect("it has an address").to_string();
    let listen = ("TOKEN_SERVER__HTTP__LISTEN", address);
    let ended = end(command(&database, &[unset.clone(), listen]).arg("serve")).await;
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
    assert!(ended.stderr.contains("http.listen"), "{}", ended.stderr);
    assert!(ended.stderr.contains("admin.key"), "{}", ended.stderr);
    let key = secret_file(&path);
    assert!(!ended.stderr.contains(key.trim()), "the key is logged");
    let server = ServerProcess::start(&database, &[unset]);
    assert!(secret_file(&path) == key, "the key was replaced");
    let admin = server.client.with_key(key.trim());
    admin.get("/api/realm").await.expect(200);
    server.client.get("/api/realm").await.expect(401);
}

async fn a_replica_with_another_admin_key_replaces_the_one_of_all_and_says_so(
    database: TestDatabase,
) {
    let unset = ("TOKEN_SERVER__ADMIN_KEY", String::new());
    let first = ServerProcess::start(&database, std::slice::from_ref(&unset));
    let kept = secret_file(&database.directory.path().join("admin.key"));
    let in_file = first.client.with_key(kept.trim());
    in_file.get("/api/realm").await.expect(200);
    let second = ServerProcess::start(&database, &[]);
    second.client.get("/api/realm").await.expect(200);
    eventually("the other replica has followed", async || {
        (in_file.get("/api/realm").await.status == 401).then_some(())
    })
    .await;
    let replaced = async |client: &Client| {
        let mut entries = client.list("/api/audit").await;
        entries.retain(|entry| entry["action"] == "api_key.replace");
        entries
    };
    let noted = replaced(&second.client).await;
    assert_eq!(noted.len(), 1, "{noted:?}");
    assert_eq!(noted[0]["target"], "bootstrap-admin");
    drop((first, second));
    // The file holds a key that is good no more: a start that ends at once says that.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = taken.local_addr().expect("it has an address").to_string();
    let listen = ("TOKEN_SERVER__HTTP__LISTEN", address);
    let ended = end(command(&database, &[unset, listen]).arg("serve")).await;
    assert!(
        ended.stderr.contains("not good any more"),
        "{}",
        ended.stderr
    );
    // The same key again replaces nothing.
    let again = ServerProcess::start(&database, &[]);
    assert_eq!(replaced(&again.client).await.len(), 1);
}
