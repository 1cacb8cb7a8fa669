//! What a server keeps on the machine is for its own user: files, directories, memory.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};

use rustix::process::geteuid;
use serde_json::Value;

use crate::kit::process::{BINARY, ServerProcess, command};
use crate::kit::server::{ADMIN_KEY, SEALING_KEYS};
use crate::kit::{TestDatabase, on_disk, strict_json};

const NOBODY: u32 = 65534;

fn mode(path: &Path) -> u32 {
    let found = fs::metadata(path);
    found.expect("it is there").permissions().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("its mode can be set");
}

/// All that is there, by what it is called below the directory.
fn modes(directory: &Path) -> BTreeMap<PathBuf, u32> {
    let mut found = BTreeMap::from([(PathBuf::new(), mode(directory))]);
    for entry in fs::read_dir(directory).expect("it can be read") {
        let path = entry.expect("an entry").path();
        let name = PathBuf::from(path.file_name().expect("a name"));
        match path.is_dir() {
            true => found.extend(modes(&path).into_iter().map(|(at, mode)| {
                let below = at.components().next().is_some();
                (if below { name.join(at) } else { name.clone() }, mode)
            })),
            false => {
                found.insert(name, mode(&path));
            }
        }
    }
    found
}

/// Of a server that makes its database and its keys in this directory.
fn all_made_in(directory: &Path) -> Vec<(&'static str, String)> {
    let own = directory.join("token-server.db");
    vec![
        ("TOKEN_SERVER__DATA_DIR", directory.display().to_string()),
        (
            "DATABASE_URL",
            format!("sqlite://{}?mode=rwc", own.display()),
        ),
        ("TOKEN_SERVER__ADMIN_KEY", String::new()),
        ("TOKEN_SERVER__SEALING__KEYS", String::new()),
    ]
}

fn warnings(log: &[String]) -> Vec<Value> {
    let lines = log.iter().map(|line| strict_json::read(line));
    lines.filter(|line| line["level"] == "WARN").collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_the_umask_is_all_that_a_server_makes_is_for_its_user_only() {
    let (database, folder) = (TestDatabase::sqlite(), on_disk());
    let data_dir = folder.path().join("new/data");
    let server = ServerProcess::start_limited(&database, &all_made_in(&data_dir), "umask 000");
    let made = modes(&data_dir);
    for name in [
        "admin.key",
        "replica.id",
        "sealing.keys",
        "spool",
        "token-server.db",
        "token-server.db-shm",
        "token-server.db-wal",
    ] {
        assert!(made.contains_key(Path::new(name)), "{name}: {made:?}");
    }
    for (name, mode) in &made {
        let is_directory = data_dir.join(name).is_dir();
        let expected = if is_directory { 0o700 } else { 0o600 };
        assert_eq!(*mode, expected, "{}", name.display());
    }
    assert_eq!(mode(&folder.path().join("new")), 0o700);
    drop(server);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_other_users_could_use_is_narrowed_at_a_start_and_said() {
    let (database, folder) = (TestDatabase::sqlite(), on_disk());
    let data_dir = folder.path().join("data");
    let more = all_made_in(&data_dir);
    let server = ServerProcess::start(&database, &more);
    server.terminate();
    assert_eq!(server.exit_code(), Some(0));
    fs::write(data_dir.join("spool/a.other"), "").expect("a file can be written");
    let loose = [
        ("", 0o755, 0o700),
        ("token-server.db", 0o644, 0o600),
        ("replica.id", 0o666, 0o600),
        // A mount for a group does that.
        ("sealing.keys", 0o660, 0o600),
        ("spool", 0o777, 0o700),
        ("spool/a.other", 0o644, 0o600),
    ];
    for (name, mode, _) in loose {
        set_mode(&data_dir.join(name), mode);
    }
    let server = ServerProcess::start(&database, &more);
    let said = warnings(&server.before_it_served);
    for (name, before, after) in loose {
        let path = data_dir.join(name);
        assert_eq!(mode(&path), after, "{name}");
        let path = path.display().to_string();
        let line = said.iter().find(|line| {
            let told = line["path"].as_str().unwrap_or_default();
            told.trim_end_matches('/') == path.trim_end_matches('/')
        });
        let line = line.unwrap_or_else(|| panic!("{name} is not told of: {said:?}"));
        assert_eq!(line["mode"], format!("{before:04o}"), "{line}");
    }
    server.terminate();
    assert_eq!(server.exit_code(), Some(0));
    // Now nothing is left to say.
    let server = ServerProcess::start(&database, &more);
    let said = warnings(&server.before_it_served);
    assert!(
        !said.iter().any(|line| line["mode"].is_string()),
        "{said:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_that_holds_other_files_is_left_as_it_is() {
    let (database, folder) = (TestDatabase::sqlite(), on_disk());
    let other = folder.path().join("notes.txt");
    fs::write(&other, "somebody else's").expect("a file can be written");
    for (directory, told) in [(0o755, false), (0o777, true)] {
        set_mode(folder.path(), directory);
        set_mode(&other, 0o644);
        let server = ServerProcess::start(&database, &all_made_in(folder.path()));
        assert_eq!(mode(folder.path()), directory);
        assert_eq!(mode(&other), 0o644);
        assert_eq!(mode(&folder.path().join("token-server.db")), 0o600);
        let said = warnings(&server.before_it_served);
        let says = |line: &Value| line["message"].to_string().contains("chmod 700");
        assert_eq!(said.iter().any(says), told, "{said:?}");
        drop(server);
    }
}

/// Fails the test unless the command ends, and says which file it is and what mends it.
#[track_caller]
fn expect_refused(more: &[(&'static str, String)], path: &Path, loose: u32, code: i32) {
    let ended = command(&TestDatabase::sqlite(), more)
        .arg("migrate")
        .output()
        .expect("the command ends");
    let said = String::from_utf8(ended.stderr).expect("a text");
    assert_eq!(ended.status.code(), Some(code), "{said}");
    let path = path.display();
    for part in [
        format!("(mode {loose:04o})"),
        format!("run: chmod 600 {path}"),
    ] {
        assert!(said.contains(&part), "{part}: {said}");
    }
    assert!(!said.contains(ADMIN_KEY) && !said.contains(&SEALING_KEYS[5..]));
}

fn expect_accepted(more: &[(&'static str, String)]) {
    let ended = command(&TestDatabase::sqlite(), more)
        .arg("migrate")
        .output();
    let ended = ended.expect("the command ends");
    let said = String::from_utf8(ended.stderr).expect("a text");
    assert_eq!(ended.status.code(), Some(0), "{said}");
}

#[test]
fn a_key_that_anybody_can_read_does_not_start_until_it_is_mended() {
    let folder = on_disk();
    let data_dir = folder.path().join("data");
    fs::create_dir(&data_dir).expect("a folder can be made");
    let in_data_dir = all_made_in(&data_dir);
    let named = |key: &'static str, file: &str, content: &str| {
        let path = folder.path().join(file);
        fs::write(&path, content).expect("a file can be written");
        let mut more = all_made_in(&data_dir);
        more.push((key, path.display().to_string()));
        (path, more)
    };
    let sealing = named("TOKEN_SERVER__SEALING__KEYS_FILE", "keys", SEALING_KEYS);
    let admin = named("TOKEN_SERVER__ADMIN_KEY_FILE", "admin", ADMIN_KEY);
    for (file, content) in [("sealing.keys", SEALING_KEYS), ("admin.key", ADMIN_KEY)] {
        let path = data_dir.join(file);
        fs::write(&path, content).expect("a file can be written");
        for loose in [0o644, 0o604, 0o602] {
            set_mode(&path, loose);
            expect_refused(&in_data_dir, &path, loose, 64);
            assert_eq!(mode(&path), loose, "it is left as it was found");
        }
        set_mode(&path, 0o600);
        expect_accepted(&in_data_dir);
    }
    for (path, more) in [sealing, admin] {
        set_mode(&path, 0o644);
        expect_refused(&more, &path, 0o644, 64);
        // What the service's group may read was given to it so.
        for good in [0o600, 0o640] {
            set_mode(&path, good);
            expect_accepted(&more);
            assert_eq!(
                mode(&path),
                good,
                "what configuration names is left as it is"
            );
        }
    }
}

#[test]
fn a_key_that_is_mounted_in_memory_may_be_readable_as_orchestrators_make_it() {
    let mounted = tempfile::tempdir_in("/dev/shm").expect("Linux has a file system in memory");
    let (path, folder) = (mounted.path().join("sealing_keys"), on_disk());
    fs::write(&path, SEALING_KEYS).expect("a file can be written");
    set_mode(&path, 0o444);
    let mut more = all_made_in(&folder.path().join("data"));
    more.push((
        "TOKEN_SERVER__SEALING__KEYS_FILE",
        path.display().to_string(),
    ));
    expect_accepted(&more);
}

/// What `check-config` says of a configuration file, and with which code it ends.
fn check_config(file: &Path) -> (String, Option<i32>) {
    let ended = command(&TestDatabase::sqlite(), &[])
        .arg("--config")
        .arg(file)
        .arg("check-config")
        .output()
        .expect("the command ends");
    let said = String::from_utf8(ended.stderr).expect("a text");
    (said, ended.status.code())
}

#[test]
fn a_configuration_file_with_a_secret_that_anybody_can_read_is_refused_until_it_is_mended() {
    let folder = on_disk();
    let file = folder.path().join("config.toml");
    for (key, text) in [
        ("admin_key", "admin_key = \"SECRET\""),
        ("sealing.keys", "[sealing]\nkeys = \"SECRET\""),
        (
            "database.url",
            "[database]\nurl = \"mysql://u:SECRET@localhost/d\"",
        ),
        (
            "webhook.secret",
            "[webhook]\nurl = \"https://e.test\"\nsecret = \"SECRET\"",
        ),
        (
            "audit.token",
            "[audit]\nurl = \"https://e.test\"\ntoken = \"SECRET\"",
        ),
        (
            "console.oidc.client_secret",
            "[console]\npublic_url = \"https://t.test\"\n[console.oidc]\nissuer = \"https://i.test\"\n\
             client_id = \"c\"\nrules = []\nclient_secret = \"SECRET\"",
        ),
        (
            "upstream.proxies.hk.url",
            "[upstream.proxies.hk]\nurl = \"http://u:SECRET@proxy:3128\"",
        ),
    ] {
        let value = match key {
            "sealing.keys" => SEALING_KEYS,
            "webhook.secret" => "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            _ => "0123456789abcdef0123456789abcdef",
        };
        fs::write(&file, text.replace("SECRET", value)).expect("a file can be written");
        for loose in [0o644, 0o602] {
            set_mode(&file, loose);
            // By the name without its ending, too.
            for named in [file.clone(), file.with_extension("")] {
                let (said, code) = check_config(&named);
                assert_eq!(code, Some(64), "{key}: {said}");
                for part in [
                    format!("{key} stands as it is in the configuration file"),
                    format!("(mode {loose:04o}); run: chmod 600 {}", file.display()),
                    format!("{key}_file"),
                ] {
                    assert!(said.contains(&part), "{part}: {said}");
                }
                assert!(!said.contains(value), "{said}");
            }
            assert_eq!(mode(&file), loose, "it is left as it was found");
        }
        for good in [0o600, 0o640] {
            set_mode(&file, good);
            let (said, code) = check_config(&file);
            assert_eq!(code, Some(0), "{key}: {said}");
        }
    }
    // Where there is no secret in it, anybody may read it.
    let open = "admin_key_file = \"/nowhere\"\n[database]\nurl = \"mysql://u@localhost/d\"";
    fs::write(&file, open).expect("a file can be written");
    set_mode(&file, 0o644);
    let (said, _) = check_config(&file);
    assert!(!said.contains("chmod"), "{said}");
    // Nor does a file in memory matter: secrets are mounted so.
    let mounted = tempfile::tempdir_in("/dev/shm").expect("Linux has a file system in memory");
    let file = mounted.path().join("config.toml");
    fs::write(&file, format!("[sealing]\nkeys = \"{SEALING_KEYS}\"")).expect("it can be written");
    set_mode(&file, 0o444);
    let (said, code) = check_config(&file);
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn a_configuration_file_in_a_volume_of_kubernetes_is_refused_with_what_mends_it_there() {
    let folder = on_disk();
    // As the kubelet writes a ConfigMap: behind links, and readable by all.
    let version = folder.path().join("..2026_01_02");
    fs::create_dir(&version).expect("a folder can be made");
    let content = version.join("config.toml");
    fs::write(&content, format!("admin_key = \"{ADMIN_KEY}\"")).expect("it can be written");
    symlink("..2026_01_02", folder.path().join("..data")).expect("it can be linked");
    let file = folder.path().join("config.toml");
    symlink("..data/config.toml", &file).expect("it can be linked");
    set_mode(&content, 0o644);
    let (said, code) = check_config(&file);
    assert_eq!(code, Some(64), "{said}");
    for part in [
        "(mode 0644)",
        "a Secret instead of a ConfigMap",
        "defaultMode: 0440",
        "fsGroup",
        "admin_key_file",
        "environment",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(!said.contains("chmod 600"), "nobody can do that: {said}");
    // `defaultMode: 0440` with an `fsGroup`, as the manifests have it.
    set_mode(&content, 0o440);
    if geteuid().is_root() {
        chown(&content, Some(0), Some(10_001)).expect("root can give a file away");
    }
    let (said, code) = check_config(&file);
    assert_eq!(code, Some(0), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_core_file_holds_a_servers_memory_and_no_other_process_of_its_user_reads_it() {
    let (database, folder) = (TestDatabase::sqlite(), tempfile::tempdir());
    let folder = folder.expect("a temporary directory can be made");
    let mut server = command(&database, &all_made_in(&folder.path().join("data")));
    if geteuid().is_root() {
        // What is root's anyway shows nothing.
        let program = folder.path().join("token-server");
        fs::copy(BINARY, &program).expect("the binary can be copied");
        for path in [folder.path(), &program] {
            chown(path, Some(NOBODY), Some(NOBODY)).expect("root can give a file away");
        }
        let environment: Vec<_> = server
            .get_envs()
            .filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())))
            .collect();
        server = std::process::Command::new(program);
        server.env_clear().envs(environment);
        server.uid(NOBODY).gid(NOBODY);
    }
    let server = ServerProcess::start_by(server);
    let of_process = |file: &str| PathBuf::from(format!("/proc/{}/{file}", server.pid()));
    let limits = fs::read_to_string(of_process("limits")).expect("the process lives");
    let core = limits
        .lines()
        .find(|line| line.starts_with("Max core file"));
    let core: Vec<_> = core.expect("a limit").split_whitespace().collect();
    assert_eq!(core[4..6], ["0", "0"], "{core:?}");
    // The kernel gives what tells of a process's memory to root where it must not be dumped.
    let status = fs::read_to_string(of_process("status")).expect("the process lives");
    assert!(!status.contains("\nUid:\t0\t"), "{status}");
    for file in ["environ", "mem", "maps"] {
        let owner = fs::metadata(of_process(file)).expect("the process lives");
        assert_eq!(owner.uid(), 0, "{file}");
    }
}
