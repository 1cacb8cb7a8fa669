//! The clients of `docs/clients/` do what their page says, each as it stands, against a server:
//! Python, Node and the shell here; what is compiled, and the adapters for SDKs, by `make test-clients`.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use reqwest::Method;
use serde_json::json;
use tempfile::TempDir;
use token_server::foundation::clock::{Clock, SystemClock};
use token_server::foundation::metrics::RequestLabels;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use crate::kit::oidc::node;
use crate::kit::python::interpreter;
use crate::kit::server::ADMIN_KEY;
use crate::kit::source::root;
use crate::kit::{Answer, PATIENCE, Provider, Server, TestDatabase, eventually};

/// The longest example, in lines.
const LINES_MAX: usize = 60;

/// A program that does what it reads, line by line.
struct Program {
    _child: Child,
    commands: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Program {
    fn run(command: std::process::Command, server: &Server) -> Self {
        let mut child = Command::from(command)
            .env("BASE", format!("http://{}", server.address()))
            .env("API_KEY", ADMIN_KEY)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the program is there; `make setup` installs it");
        Self {
            commands: child.stdin.take().expect("it reads"),
            answers: BufReader::new(child.stdout.take().expect("it writes")).lines(),
            _child: child,
        }
    }

    async fn begin(&mut self, command: &str) {
        let line = format!("{command}\n");
        let written = self.commands.write_all(line.as_bytes()).await;
        written.expect("the program runs");
    }

    async fn answer(&mut self) -> String {
        let line = timeout(PATIENCE, self.answers.next_line()).await;
        let line = line.expect("it answers").expect("a text");
        line.expect("the program runs")
    }

    async fn does(&mut self, command: &str) -> String {
        self.begin(command).await;
        self.answer().await
    }
}

/// How many reads were answered so.
fn answered(server: &Server, status: u16) -> u64 {
    let labels = RequestLabels {
        route: "/api/token".to_owned(),
        method: Method::GET.to_string(),
        status,
    };
    server.app().metrics.requests.get_or_create(&labels).get()
}

/// A server that lets nobody wait, and a realm `r`.
async fn scene() -> (TestDatabase, Server, Provider, Provider) {
    let database = TestDatabase::sqlite();
    let server = Server::with_env(&database, &[("TOKEN_SERVER__READ__MAX_WAIT_S", "1")]).await;
    let (provider, api) = (Provider::start().await, Provider::start().await);
    let url = provider.url("/token");
    server.client.register_realm("r", &url).await;
    (database, server, provider, api)
}

/// Gets, keeps and replaces tokens.
async fn uses_tokens(program: &mut Program, server: &Server, provider: &Provider, api: &Provider) {
    // None can be had: it is told to come again.
    provider.answer_next(Answer::token("one", 7200));
    provider.answer_with(Answer::token("two", 7200));
    server.client.held_attempt(provider, "r", "k").await;
    program.begin("token r k").await;
    eventually("it is told to wait", async || {
        (answered(server, 503) > 0).then_some(())
    })
    .await;
    provider.release();
    assert_eq!(program.answer().await, "one");
    // It is kept.
    let asked = answered(server, 200);
    assert_eq!(program.does("token r k").await, "one");
    assert_eq!(answered(server, 200), asked);
    // It is refused, and replaced.
    api.answer_next(Answer::status(401));
    api.answer_with(Answer::status(200).with_bytes("done"));
    let call = format!("call r k {}", api.url("/call"));
    assert_eq!(program.does(&call).await, "done");
    let shown: Vec<_> = api
        .requests()
        .into_iter()
        .map(|request| request.headers["authorization"].clone())
        .collect();
    assert_eq!(shown, ["Bearer one", "Bearer two"]);
    assert_eq!(program.does("token r k").await, "two");
    assert_eq!(answered(server, 200), asked);
    // It ends, and the next is asked for before.
    let ends = SystemClock.now().0 + 4000;
    let (mut fixed, client) = (
        json!({"realm": "fixed", "key": "k", "token": "first", "expires_at": ends}),
        &server.client,
    );
    client
        .post("/api/realm", &json!({"id": "fixed"}))
        .await
        .expect(200);
    client.put("/api/token", &fixed).await.expect(200);
    assert_eq!(program.does("token fixed k").await, "first");
    fixed["token"] = json!("second");
    fixed["expires_at"] = json!(ends + 3_600_000);
    client.put("/api/token", &fixed).await.expect(200);
    while program.does("token fixed k").await != "second" {
        assert!(SystemClock.now().0 < ends, "it was served after its end");
    }
    // There is none: it says why.
    let error = program.does("token r nowhere").await;
    assert_eq!(error, "error: there is no secret of that realm and key.");
}

/// Is told of each token.
async fn watches(program: &mut Program, server: &Server, provider: &Provider) {
    program.begin("watch r k 2").await;
    assert_eq!(program.answer().await, "2");
    // The same token again would keep its generation.
    provider.answer_with(Answer::token("three", 7200));
    let report = json!({"realm": "r", "key": "k", "generation": 2});
    let client = &server.client;
    client.post("/api/token/report", &report).await.expect(200);
    assert_eq!(program.answer().await, "3");
}

async fn is_as_its_page_says(command: std::process::Command) {
    let (_database, server, provider, api) = scene().await;
    let mut program = Program::run(command, &server);
    uses_tokens(&mut program, &server, &provider, &api).await;
    watches(&mut program, &server, &provider).await;
}

/// A folder with a client and the program that drives it.
fn folder(files: &[&str]) -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary directory can be made");
    for file in files {
        let name = Path::new(file).file_name().expect("a file");
        let copied = fs::copy(root().join(file), folder.path().join(name));
        copied.unwrap_or_else(|error| panic!("{file}: {error}"));
    }
    folder
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_python_client_is_as_its_page_says() {
    let folder = folder(&[
        "docs/clients/token_server.py",
        "tests/clients/examples/driver.py",
    ]);
    let mut command = interpreter();
    command.current_dir(folder.path()).args(["-B", "driver.py"]);
    is_as_its_page_says(command).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_node_client_is_as_its_page_says() {
    let folder = folder(&[
        "docs/clients/token-server.mjs",
        "tests/clients/examples/driver.mjs",
    ]);
    let mut command = std::process::Command::new(node());
    command.current_dir(folder.path()).arg("driver.mjs");
    is_as_its_page_says(command).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_shell_client_is_as_its_page_says() {
    let folder = folder(&[
        "docs/clients/token_server.sh",
        "tests/clients/examples/driver.sh",
    ]);
    let mut command = std::process::Command::new("bash");
    command.current_dir(folder.path()).arg("driver.sh");
    is_as_its_page_says(command).await;
}

#[test]
fn each_client_is_shorter_than_a_screen_or_two() {
    let mut checked = 0;
    let folder = root().join("docs/clients");
    for below in ["", "go", "java", "php", "wechat"] {
        for entry in fs::read_dir(folder.join(below)).expect("the folder is there") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                continue;
            }
            let text = fs::read_to_string(&path).expect("it can be read");
            let lines = text.lines().count();
            assert!(lines < LINES_MAX, "{} has {lines} lines", path.display());
            checked += 1;
        }
    }
    assert_eq!(checked, 12);
}

/// What `tests/clients/compile.sh` has compiled.
#[cfg(feature = "clients")]
mod compiled {
    use std::path::PathBuf;
    use std::process::Command;

    use super::{Program, is_as_its_page_says, scene, uses_tokens};

    fn variable(name: &str) -> PathBuf {
        let found = std::env::vars().find(|(known, _)| known == name);
        let (_, value) = found.unwrap_or_else(|| panic!("{name} is set by `make test-clients`"));
        value.into()
    }

    fn go(name: &str) -> Command {
        Command::new(variable("TEST_CLIENTS").join("go/bin").join(name))
    }

    fn java(class: &str) -> Command {
        let (classes, gson) = (
            variable("TEST_CLIENTS").join("java"),
            variable("TEST_CLIENTS_GSON"),
        );
        let mut command = Command::new("java");
        let path = format!("{}:{}", classes.display(), gson.display());
        command.args(["-cp", &path, class]);
        command
    }

    fn php(file: &str) -> Command {
        let mut command = Command::new("php");
        command.arg(variable("TEST_CLIENTS").join("php").join(file));
        command
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_go_client_is_as_its_page_says() {
        is_as_its_page_says(go("driver")).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_java_client_is_as_its_page_says() {
        is_as_its_page_says(java("Driver")).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_php_client_is_as_its_page_says() {
        is_as_its_page_says(php("driver.php")).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_adapters_for_wechat_sdks_give_and_replace_tokens() {
        for command in [go("wechat"), java("Wechat"), php("wechat.php")] {
            let (_database, server, provider, api) = scene().await;
            let mut program = Program::run(command, &server);
            uses_tokens(&mut program, &server, &provider, &api).await;
        }
    }
}
