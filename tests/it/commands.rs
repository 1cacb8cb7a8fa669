//! Every command of README, the tutorial and the how-to pages is run as a reader would run it, in
//! the order of the page, and prints what the page shows; or `LISTED` says why not.

pub mod compare;
pub mod page;
pub mod reader;

use std::sync::Arc;

use serde_json::{Value, json};
use token_server::foundation::clock::{Clock, SystemClock};

use self::compare::{DIFFER, compare};
use self::page::{Commands, Page, Shown};
use self::reader::Reader;
use crate::kit::source::{files_below, root};
use crate::kit::wechat::{Settings, Wechat};
use crate::kit::{TestDatabase, eventually};

/// Why commands are not run.
#[derive(Clone, Copy, Debug)]
enum Why {
    /// They need the address of the repository, and the network.
    Repository,
    /// They change the machine: its programs, users, services.
    Machine,
    Docker,
    /// They need a cluster of Kubernetes.
    Cluster,
    /// They need an account of a platform, and its tool.
    Account,
    /// They need a client of MySQL, which tests do without.
    MysqlClient,
    /// They need the predecessor's database; `import.rs` runs them on one.
    Predecessor,
    /// They run these tests.
    Tests,
    /// It is a file that readers copy; `client_examples.rs` runs it.
    Copied,
}

/// Blocks that are not run: page, first line.
const LISTED: [(&str, &str, Why); 12] = [
    ("README.md", "make test", Why::Tests),
    (FIRST_TOKEN, "git clone REPOSITORY", Why::Repository),
    (INSTALL, "git clone REPOSITORY", Why::Machine),
    (INSTALL, "sudo systemctl enable", Why::Machine),
    (BACK_UP, "mariadb-dump", Why::MysqlClient),
    (SCHEDULED_JOB, "docker compose", Why::Docker),
    (KUBERNETES, "kubectl create namespace", Why::Cluster),
    (KUBERNETES, "kubectl -n shop", Why::Cluster),
    (SERVERLESS, "export IMAGE", Why::Account),
    (SERVERLESS, "cd docker/serverless/tencent-scf", Why::Account),
    (
        PREDECESSOR,
        "export TOKEN_SERVER_IMPORT_URL",
        Why::Predecessor,
    ),
    (
        CLIENTS,
        "{{#include ../../clients/token_server.sh}}",
        Why::Copied,
    ),
];

const FIRST_TOKEN: &str = "docs/src/tutorial/first-token.md";
const PREDECESSOR: &str = "docs/src/how-to/coming-from-the-predecessor.md";
const INSTALL: &str = "docs/src/how-to/install-and-run.md";
const CLIENTS: &str = "docs/src/how-to/clients.md";
const BACK_UP: &str = "docs/src/how-to/back-up-and-restore.md";
const KUBERNETES: &str = "docs/src/how-to/kubernetes.md";
const SERVERLESS: &str = "docs/src/how-to/serverless.md";
const REGISTER: &str = "docs/src/how-to/register-a-provider.md";
const SCHEDULED_JOB: &str = "docs/src/how-to/scheduled-job.md";

/// Its commands are run in `ten_minutes.rs`, against providers of its own.
pub const TEN_MINUTES: &str = "docs/src/tutorial/a-realm-in-ten-minutes.md";

/// What the reader of a page has done before.
enum Before {
    Nothing,
    Demo,
    /// Installed the service, and registered an application and its secret.
    Service,
    /// Followed `register-a-provider.md`.
    Registered,
}

/// The provider of pages that register a real one.
enum Provider {
    Answers,
    CannotBeReached,
}

/// Each is a test of its own.
macro_rules! pages {
    ($($name:ident: $page:expr, $before:ident, $provider:ident;)+) => {
        const RUN: &[&str] = &[$($page,)+ TEN_MINUTES];
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                follow($page, Before::$before, Provider::$provider).await;
            }
        )+
    };
}

pages! {
    the_commands_of_readme: "README.md", Demo, CannotBeReached;
    the_commands_of_first_token: FIRST_TOKEN, Nothing, Answers;
    the_commands_of_applications: "docs/src/how-to/applications.md", Demo, Answers;
    the_commands_of_audit: "docs/src/how-to/audit.md", Service, Answers;
    the_commands_of_console: "docs/src/how-to/console.md", Service, Answers;
    the_commands_of_back_up_and_restore: BACK_UP, Service, Answers;
    the_commands_of_files: "docs/src/how-to/files.md", Service, Answers;
    the_commands_of_install_and_run: INSTALL, Service, Answers;
    the_commands_of_monitor_and_alert: "docs/src/how-to/monitor-and-alert.md", Service, Answers;
    the_commands_of_move: "docs/src/how-to/move.md", Service, Answers;
    the_commands_of_no_token: "docs/src/how-to/no-token.md", Registered, CannotBeReached;
    the_commands_of_register_a_provider: REGISTER, Nothing, Answers;
    the_commands_of_replicas: "docs/src/how-to/replicas.md", Nothing, Answers;
    the_commands_of_rotate_keys: "docs/src/how-to/rotate-keys.md", Service, Answers;
    the_commands_of_scheduled_job: SCHEDULED_JOB, Service, Answers;
    the_commands_of_kubernetes: KUBERNETES, Nothing, Answers;
    the_commands_of_serverless: SERVERLESS, Service, Answers;
    the_commands_of_workloads: "docs/src/how-to/workloads.md", Service, Answers;
}

/// The database of pages that name one.
const DATABASE_URL: &str = "mysql://token_server:PASSWORD@db.example:3306/token_server";

/// How `install-and-run.md` has the service started.
const SERVICE: &str = "TOKEN_SERVER__DATA_DIR=/var/lib/token-server \
     token-server serve --config /etc/token-server/config.toml";

const APPLICATION: &str = "TOKEN_SERVER__DATA_DIR=/var/lib/token-server \
     token-server api-key create shop --scope token:read,token:flush --realm wxgzh --key shop";

async fn follow(name: &str, before: Before, provider: Provider) {
    let page = Page::read(name);
    let mut scene = Scene::new(provider).await;
    let database = match page.text.contains(DATABASE_URL) {
        true => Some(TestDatabase::mysql().await),
        false => None,
    };
    if let Some(database) = &database {
        scene.reader.replace(DATABASE_URL, &database.url);
    }
    scene.prepare(before).await;
    for (file, text) in &page.files {
        scene.reader.save(file, text);
    }
    let mut wrong = Vec::new();
    for commands in &page.commands {
        if reason(&page, commands).is_none() {
            let differences = scene.follow(commands).await;
            if !differences.is_empty() {
                wrong.push(format!("{}: {}", page.at(commands), differences.join("\n")));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

struct Scene {
    reader: Reader,
    /// It answers until it is dropped.
    _wechat: Wechat,
    /// Where providers are in place of the internet.
    providers: String,
}

impl Scene {
    async fn new(provider: Provider) -> Self {
        let now_ms = Arc::new(|| SystemClock.now().0);
        let wechat = Wechat::start(now_ms, Settings::default()).await;
        wechat.register_app("YOUR-APPID", "YOUR-APPSECRET");
        let providers = match provider {
            Provider::Answers => wechat.url(),
            // Nobody listens there.
            Provider::CannotBeReached => "http://127.0.0.1:1".to_owned(),
        };
        Self {
            reader: Reader::alone(),
            _wechat: wechat,
            providers,
        }
    }

    async fn prepare(&mut self, before: Before) {
        match before {
            Before::Nothing => {}
            Before::Demo => {
                let started = self.reader.start("make run", None);
                assert!(started.failed.is_empty(), "{}", started.said);
                self.reader.run("KEY=$(cat data/admin.key)");
            }
            Before::Service => {
                self.reader.save("etc/token-server/config.toml", "");
                let started = self.reader.start(SERVICE, None);
                assert!(started.failed.is_empty(), "{}", started.said);
                let made = self.reader.run(APPLICATION);
                assert!(made.failed.is_empty(), "{}", made.said);
                let client = self.reader.client().expect("a server runs");
                let realm = json!({"id": "wxgzh"});
                let made = client.post("/api/preset/wechat_oa", &realm).await;
                made.expect(200);
                self.settle().await;
                let params = json!({"appid": "YOUR-APPID", "secret": "YOUR-APPSECRET"});
                let secret = json!({"realm": "wxgzh", "key": "shop", "params": params});
                client.post("/api/secret", &secret).await.expect(200);
            }
            Before::Registered => {
                for commands in &Page::read(REGISTER).commands {
                    // It is about a provider that answers.
                    self.follow(commands).await;
                }
            }
        }
        self.settle().await;
    }

    /// What is wrong with commands, or with what is shown of them.
    async fn follow(&mut self, commands: &Commands) -> Vec<String> {
        let mut commands = commands.clone();
        if let Some(Shown::Text(text)) = &mut commands.shown {
            *text = self.reader.here(text);
        }
        let done = self.reader.follow(&commands);
        let mut wrong = match &commands.shown {
            Some(shown) => compare(shown, &done.printed, &DIFFER),
            None => Vec::new(),
        };
        // Where a failure is shown it is the last command's.
        let failures = match &commands.shown {
            Some(Shown::Json(answer)) if answer["status"].is_number() => 1,
            Some(Shown::Text(text)) if text.contains(" ERROR ") => 1,
            _ => 0,
        };
        if done.failed.len() != failures {
            wrong.push(format!("failed: {:?}: {}", done.failed, done.said));
        }
        if !wrong.is_empty() {
            wrong.push(format!("printed:\n{}", done.printed));
        }
        self.settle().await;
        wrong
    }

    /// A reader takes a moment. Meanwhile providers on the internet are replaced before they are
    /// asked, secrets are tried, and a token that is about to be renewed is.
    async fn settle(&self) {
        let Some(client) = self.reader.client() else {
            return;
        };
        for realm in client.list("/api/realm").await {
            let (id, mut config) = (&realm["id"], realm["config"].clone());
            let url = config["url"].as_str().unwrap_or_default();
            if let Some((_, path)) = url
                .split_once("https://")
                .and_then(|(_, url)| url.split_once('/'))
            {
                config["url"] = json!(format!("{}/{path}", self.providers));
                let realm = json!({"id": id, "config": config});
                client.post("/api/realm", &realm).await.expect(200);
            }
        }
        eventually("every secret is tried", async || {
            let secrets = client.list("/api/secret").await;
            let is_tried =
                |secret: &Value| secret["generation"] != 0 || !secret["last_error"].is_null();
            secrets.iter().all(is_tried).then_some(())
        })
        .await;
        if !self.reader.sees_demo() {
            return;
        }
        eventually("the demo's token has most of its life left", async || {
            let token = client.token("demo", "app").await.expect(200).json();
            (token["expires_in_s"].as_i64() > Some(16)).then_some(())
        })
        .await;
    }
}

fn reason(page: &Page, commands: &Commands) -> Option<Why> {
    let mut listed = LISTED.into_iter();
    listed
        .find(|(name, begins, _)| page.name == *name && commands.text.starts_with(begins))
        .map(|(_, _, why)| why)
}

fn pages() -> Vec<Page> {
    let mut names = vec!["README.md".to_owned()];
    for folder in ["docs/src/tutorial", "docs/src/how-to"] {
        let files = files_below(&root().join(folder), &["md"]);
        names.extend(files.iter().map(|file| {
            let file = file.strip_prefix(root()).expect("it is of the project");
            file.to_str().expect("a name").to_owned()
        }));
    }
    names.iter().map(|name| Page::read(name)).collect()
}

#[test]
fn every_block_of_commands_is_run_or_has_a_reason_why_not() {
    let pages = pages();
    let mut blocks = Vec::new();
    for page in &pages {
        blocks.extend(page.commands.iter().map(|commands| (page, commands)));
    }
    let unknown: Vec<_> = blocks
        .iter()
        .filter(|(page, commands)| {
            !RUN.contains(&page.name.as_str()) && reason(page, commands).is_none()
        })
        .map(|(page, commands)| page.at(commands))
        .collect();
    assert!(unknown.is_empty(), "neither run nor listed: {unknown:#?}");
    assert!(blocks.len() > 30, "the blocks are found");
    for (name, begins, why) in LISTED {
        let found = blocks
            .iter()
            .filter(|(page, commands)| page.name == name && commands.text.starts_with(begins));
        assert_eq!(found.count(), 1, "{name}: {begins} ({why:?}) is listed");
    }
}

#[test]
fn both_readmes_have_the_same_commands_and_show_the_same() {
    let blocks = |name| {
        let page = Page::read(name);
        let blocks = page.commands.iter();
        let blocks = blocks.map(|commands| {
            let shown = commands.shown.as_ref().map(|shown| match shown {
                Shown::Json(answer) => answer.to_string(),
                Shown::Text(text) => text.clone(),
            });
            (commands.without_comments(), shown)
        });
        blocks.collect::<Vec<_>>()
    };
    assert_eq!(blocks("README.md"), blocks("README.zh.md"));
}

#[test]
fn a_block_that_is_neither_commands_nor_what_they_print_is_named() {
    for (text, fault) in [
        (
            "a\n```console\n$ ls\n```\n",
            "p.md:2: is a block \"console\"",
        ),
        ("```json\n{}\n```\n", "p.md:1: no command prints this"),
        (
            "```sh\nls\n```\n```text\na\n```\n```text\nb\n```\n",
            "p.md:7: no command prints this",
        ),
    ] {
        let read = Page::of("p.md", text.to_owned()).map(|_| ());
        let said = read.expect_err("it is refused");
        assert!(said.starts_with(fault), "{said}");
    }
}

#[test]
fn what_is_printed_is_as_shown_but_for_what_is_left_out_and_what_differs() {
    let json = |shown: Value, printed: &str| compare(&Shown::Json(shown), printed, &DIFFER).len();
    let shown = json!({"key": "tsk_…", "token": "demo-0f", "expires_in": 7, "id": 2});
    assert_eq!(
        json(
            shown.clone(),
            r#"{"key":"tsk_aZ","token":"demo-12","expires_in":8,"id":2}"#
        ),
        0
    );
    assert_eq!(
        json(
            shown,
            r#"{"key":"aZ","token":"other","expires_in":"8","id":3}"#
        ),
        4
    );
    assert_eq!(json(json!({"a": 1}), r#"{"b":2}{"a":1}"#), 0);
    assert_eq!(json(json!({"a": 1}), r#"{"a":1}{"b":2}"#), 2);
    assert_eq!(json(json!({}), ""), 1);
    let text = |shown: &str, printed: &str| {
        compare(&Shown::Text(shown.to_owned()), printed, &DIFFER).is_empty()
    };
    assert!(text("a\n…\nb … d", "a\nx\ny\nb c d\n"));
    assert!(!text("a\n…\nb … d", "a\nx\nb c\n"));
    assert!(!text("a", "a\nb\n"));
    assert!(text("tsk_aB-1…  x", "tsk_zz_9…  x\n"));
    assert!(!text("tsk_aB-1…  x", "tsk_zz…  x\n"));
}
