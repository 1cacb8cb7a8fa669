//! `token-server healthcheck`: what a container's health check runs.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::cli::{Ended, end};
use crate::kit::TestDatabase;
use crate::kit::process::{ServerProcess, command};
use crate::kit::tls::{Authority, Issued};

type Environment = Vec<(&'static str, String)>;

/// Asks a server by an address, in a directory of the question's own, which stays empty.
async fn ask(listen: &str, more: &Environment, arguments: &[&str]) -> Ended {
    let elsewhere = TestDatabase::sqlite();
    let listen = ("TOKEN_SERVER__HTTP__LISTEN", listen.to_owned());
    let mut environment = more.clone();
    environment.push(listen);
    let mut command = command(&elsewhere, &environment);
    let ended = end(command.arg("healthcheck").args(arguments)).await;
    let made = std::fs::read_dir(elsewhere.directory.path()).expect("it can be listed");
    assert_eq!(made.count(), 0, "a question makes no file");
    ended
}

fn is_unhealthy(ended: &Ended, url: &str, why: &str) {
    assert_eq!((ended.code, &*ended.stdout), (Some(1), ""), "{ended:?}");
    let told = format!("token-server: unhealthy: {url}/healthz {why}");
    assert!(ended.stderr.starts_with(&told), "{ended:?}");
    assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
}

#[tokio::test]
async fn a_server_is_healthy_while_it_answers_on_its_address_or_on_all() {
    let database = TestDatabase::sqlite();
    let server = ServerProcess::start(&database, &[]);
    let (address, port) = (server.address, server.address.port());
    for listen in [address.to_string(), format!("0.0.0.0:{port}")] {
        let ended = ask(&listen, &vec![], &[]).await;
        let told = format!("healthy: http://127.0.0.1:{port}/healthz answered 200\n");
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert_eq!((&*ended.stdout, &*ended.stderr), (&*told, ""), "{listen}");
    }
    let url = format!("http://{address}");
    server.stand_still();
    let ended = ask(&address.to_string(), &vec![], &["--timeout", "1"]).await;
    is_unhealthy(&ended, &url, "did not answer within 1 s");
    server.go_on();
    server.terminate();
    assert_eq!(server.exit_code(), Some(0));
    let ended = ask(&address.to_string(), &vec![], &[]).await;
    is_unhealthy(&ended, &url, "does not answer: Connection refused");
}

/// The files of a certificate that nobody trusts, for another name and long expired.
fn tls(directory: &Path) -> Environment {
    let authority = Authority::root("Nobody's");
    let Issued { chain, key } = authority.issue("tokens.example", (2000, 2001));
    let [certificate_file, key_file] = ["tls.pem", "tls.key"].map(|name| directory.join(name));
    let certificate = format!(
        "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
        STANDARD.encode(&chain[0])
    );
    std::fs::write(&certificate_file, certificate).expect("the directory is there");
    std::fs::write(&key_file, key.serialize_pem()).expect("the directory is there");
    let private = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(&key_file, private).expect("it is there");
    let named = |path: &Path| path.to_str().expect("a name").to_owned();
    vec![
        (
            "TOKEN_SERVER__HTTP__TLS__CERT_FILE",
            named(&certificate_file),
        ),
        ("TOKEN_SERVER__HTTP__TLS__KEY_FILE", named(&key_file)),
    ]
}

#[tokio::test]
async fn over_tls_any_certificate_of_the_server_is_accepted() {
    let database = TestDatabase::sqlite();
    let tls = tls(database.directory.path());
    let server = ServerProcess::start(&database, &tls);
    let address = server.address.to_string();
    let ended = ask(&address, &tls, &[]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let told = format!("healthy: https://{address}/healthz answered 200\n");
    assert_eq!(ended.stdout, told);
    // Without TLS in its configuration it asks in the clear.
    let ended = ask(&address, &vec![], &[]).await;
    is_unhealthy(&ended, &format!("http://{address}"), "answered 400");
    let other_database = TestDatabase::sqlite();
    let plain = ServerProcess::start(&other_database, &[]);
    let address = plain.address.to_string();
    let ended = ask(&address, &tls, &[]).await;
    is_unhealthy(&ended, &format!("https://{address}"), "does not answer: ");
}

#[tokio::test]
async fn a_port_that_only_the_server_knows_cannot_be_asked() {
    let ended = ask("127.0.0.1:0", &vec![], &[]).await;
    assert_eq!((ended.code, &*ended.stdout), (Some(2), ""), "{ended:?}");
    let told = "token-server: http.listen is 127.0.0.1:0";
    assert!(ended.stderr.starts_with(told), "{ended:?}");
}
