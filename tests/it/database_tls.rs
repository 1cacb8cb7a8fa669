//! Encrypted connections to a MariaDB server, and whom they trust.

use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use sea_orm::{ConnectionTrait, Database};
use tempfile::TempDir;

use crate::kit::TestDatabase;
use crate::kit::database_server::DatabaseServer;
use crate::kit::process::{ServerProcess, command};

/// Stands in no message.
const PASSWORD: &str = "canary-5d1c0-of-the-database";
const TLS: &str = "TOKEN_SERVER__DATABASE__TLS";
const CA_FILE: &str = "TOKEN_SERVER__DATABASE__TLS_CA_FILE";

/// A server whose certificate names `localhost`, and a user that must use TLS.
struct Scene {
    folder: TempDir,
    mariadb: DatabaseServer,
    port: String,
}

fn authority(folder: &Path, name: &str) -> Issuer<'static, KeyPair> {
    let key = KeyPair::generate().expect("a key can be made");
    let mut params = CertificateParams::new(Vec::new()).expect("no names are good names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    let root = params.self_signed(&key).expect("the root signs itself");
    std::fs::write(folder.join(format!("{name}.pem")), root.pem()).expect("it can be written");
    Issuer::new(params, key)
}

impl Scene {
    async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary directory can be made");
        let issuer = authority(folder.path(), "ours");
        authority(folder.path(), "other");
        let key = KeyPair::generate().expect("a key can be made");
        let params = CertificateParams::new(vec!["localhost".to_owned()]);
        let certificate = params.expect("a good name").signed_by(&key, &issuer);
        let at = |name: &str| folder.path().join(name);
        let certificate = certificate.expect("the authority signs it").pem();
        std::fs::write(at("server.pem"), certificate).expect("it can be written");
        std::fs::write(at("server.key"), key.serialize_pem()).expect("it can be written");
        let mariadb = DatabaseServer::start_with(&[
            format!("--ssl-cert={}", at("server.pem").display()),
            format!("--ssl-key={}", at("server.key").display()),
        ]);
        Self::on(folder, mariadb, "REQUIRE SSL").await
    }

    async fn without_tls() -> Self {
        let folder = tempfile::tempdir().expect("a temporary directory can be made");
        Self::on(folder, DatabaseServer::start(), "").await
    }

    async fn on(folder: TempDir, mariadb: DatabaseServer, require: &str) -> Self {
        mariadb.answers().await;
        let admin = Database::connect(mariadb.url()).await;
        let admin = admin.expect("it can be reached");
        for sql in [
            format!("CREATE USER app@'%' IDENTIFIED BY '{PASSWORD}' {require}"),
            "CREATE DATABASE ours".to_owned(),
            "GRANT ALL ON ours.* TO app@'%'".to_owned(),
        ] {
            let done = admin.execute_unprepared(&sql).await;
            done.expect("the statement is good");
        }
        let (_, port) = mariadb.url().rsplit_once(':').expect("a port");
        let port = port.to_owned();
        Self {
            folder,
            mariadb,
            port,
        }
    }

    fn url(&self, host: &str) -> String {
        format!("mysql://app:{PASSWORD}@{host}:{}/ours", self.port)
    }

    fn ca(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("{name}.pem"))
    }

    fn env(&self, url: &str, more: &[(&'static str, &str)]) -> Vec<(&'static str, String)> {
        let more = more
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()));
        more.chain([("DATABASE_URL", url.to_owned())]).collect()
    }

    /// Whether a command can use the database, or what it says.
    fn connect(&self, url: &str, more: &[(&'static str, &str)]) -> (Option<i32>, String) {
        let ended = command(&TestDatabase::sqlite(), &self.env(url, more))
            .arg("migrate")
            .output()
            .expect("the command ends");
        let said = String::from_utf8([ended.stdout, ended.stderr].concat()).expect("a text");
        assert!(!said.contains("canary"), "{said}");
        (ended.status.code(), said)
    }

    #[track_caller]
    fn expect_connected(&self, url: &str, more: &[(&'static str, &str)]) {
        let (code, said) = self.connect(url, more);
        assert_eq!(code, Some(0), "{said}");
    }

    #[track_caller]
    fn expect_refused(&self, url: &str, more: &[(&'static str, &str)], code: i32, told: &[&str]) {
        let (ended, said) = self.connect(url, more);
        assert_eq!(ended, Some(code), "{said}");
        for part in told {
            assert!(said.contains(part), "{part}: {said}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_encrypted_and_verified_as_the_configuration_says() {
    let scene = Scene::start().await;
    let (named, by_number) = (scene.url("localhost"), scene.url("127.0.0.1"));
    let (ours, other) = (scene.ca("ours"), scene.ca("other"));
    let [ours, other] = [&ours, &other].map(|path| path.to_str().expect("a path"));
    // This user is let in over TLS only.
    scene.expect_connected(&by_number, &[(TLS, "required")]);
    scene.expect_connected(&format!("{by_number}?ssl-mode=REQUIRED"), &[]);
    let denied = ["access denied for user app", "database.tls"];
    scene.expect_refused(&by_number, &[(TLS, "off")], 2, &denied);
    // On the machine itself, too, what the server offers is taken.
    scene.expect_connected(&by_number, &[]);
    scene.expect_connected(&scene.url("0.0.0.0"), &[]);
    for verified in [
        vec![(TLS, "verify"), (CA_FILE, ours)],
        vec![(CA_FILE, ours)],
        // What the system trusts, as OpenSSL is told of it, too.
        vec![(TLS, "verify"), ("SSL_CERT_FILE", ours)],
    ] {
        scene.expect_connected(&named, &verified);
    }
    scene.expect_connected(&format!("{named}?ssl-ca={ours}"), &[]);
    let unknown = [
        "signed by no authority that is trusted",
        "database.tls_ca_file",
    ];
    scene.expect_refused(&named, &[(TLS, "verify"), (CA_FILE, other)], 2, &unknown);
    scene.expect_refused(&named, &[(TLS, "verify")], 2, &unknown);
    let by_authority = format!("{named}?ssl-mode=VERIFY_CA&ssl-ca={other}");
    scene.expect_refused(&by_authority, &[], 2, &unknown);
    let verified = [(TLS, "verify"), (CA_FILE, ours)];
    let misnamed = ["does not name the host of database.url"];
    scene.expect_refused(&by_number, &verified, 2, &misnamed);
    scene.expect_connected(
        &format!("{by_number}?ssl-mode=VERIFY_CA&ssl-ca={ours}"),
        &[],
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_says_how_it_is_connected() {
    let scene = Scene::start().await;
    let (url, ca) = (scene.url("localhost"), scene.ca("ours"));
    let ca = ca.to_str().expect("a path");
    for (more, shown) in [
        (vec![(TLS, "required")], "required"),
        (vec![(CA_FILE, ca)], "verify"),
    ] {
        let database = TestDatabase::sqlite();
        let server = ServerProcess::start(&database, &scene.env(&url, &more));
        assert_eq!(server.serving["database_tls"], shown);
        // All of its connections can be used.
        server.client.get("/readyz").await.expect(200);
        let client = &server.client;
        client
            .register_realm("r", "https://provider.example/token")
            .await;
    }
    let root = format!("{}/ours", scene.mariadb.url());
    let server = ServerProcess::start(&TestDatabase::sqlite(), &scene.env(&root, &[]));
    assert_eq!(server.serving["database_tls"], "preferred");
    drop(server);
    let server = ServerProcess::start(&TestDatabase::sqlite(), &[]);
    assert!(server.serving["database_tls"].is_null());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_tls_is_refused_where_it_is_required_with_what_to_do() {
    let scene = Scene::without_tls().await;
    let address = format!("mysql://127.0.0.1:{}/ours cannot be used: ", scene.port);
    let told = ["the server offers no TLS", "database.tls", &address];
    let local = scene.url("127.0.0.1");
    for tls in ["required", "verify"] {
        scene.expect_refused(&local, &[(TLS, tls)], 2, &told);
    }
    // So it is by default, but on this machine. Not every address of its own is known as such.
    scene.expect_refused(&scene.url("0.0.0.0"), &[], 2, &told[..2]);
    scene.expect_connected(&scene.url("0.0.0.0"), &[(TLS, "off")]);
    scene.expect_connected(&local, &[]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_contradicts_itself_is_refused_by_name_before_anything_is_connected() {
    let nothing = TestDatabase::sqlite();
    let no_pem = nothing.directory.path().join("no.pem");
    std::fs::write(&no_pem, "no certificate").expect("a file can be written");
    let no_pem = no_pem.to_str().expect("a path");
    let url = format!("mysql://app:{PASSWORD}@db.example/ours");
    let required = format!("{url}?ssl-mode=REQUIRED");
    for (url, more, told) in [
        (
            &required,
            [(TLS, "off")],
            "database.tls says off, and ssl-mode",
        ),
        (
            &url,
            [(TLS, "on")],
            "database.tls must be required, verify or off",
        ),
        (&url, [(CA_FILE, "/absent.pem")], "database.tls_ca_file"),
        (&url, [(CA_FILE, no_pem)], "holds no certificate in PEM"),
        (
            &nothing.url,
            [(TLS, "required")],
            "database.tls is for mysql:// only",
        ),
    ] {
        let env = [
            ("DATABASE_URL", url.clone()),
            (more[0].0, more[0].1.to_owned()),
        ];
        let ended = command(&nothing, &env).arg("check-config").output();
        let ended = ended.expect("the command ends");
        let said = String::from_utf8(ended.stderr).expect("a text");
        assert_eq!(ended.status.code(), Some(64), "{said}");
        assert!(said.contains(told) && !said.contains("canary"), "{said}");
    }
    let env = [("DATABASE_URL", url)];
    let ended = command(&nothing, &env).arg("check-config").output();
    let said = String::from_utf8(ended.expect("the command ends").stdout).expect("a text");
    let told = "stores in mysql://db.example:3306/ours (database.tls: required)";
    assert!(said.contains(told), "{said}");
}
