//! The functions of docker/serverless/, and the timer that has a frozen server renew.

use std::path::Path;

use serde_json::{Value, json};
use token_server::config::{Env, Settings};
use token_server::foundation::clock::Ms;

use super::documents;
use crate::kit::python::interpreter;
use crate::kit::server::{ADMIN_KEY, SEALING_KEYS};
use crate::kit::source::{read, root};
use crate::kit::{Answer, Provider, Server, TestDatabase, on_every_database};

on_every_database! {
    the_timer_of_the_functions_has_all_renewed,
}

const FOLDER: &str = "docker/serverless";
/// What the deployer's own environment has.
const PLACES: [(&str, &str); 3] = [
    ("SEALING_KEYS", SEALING_KEYS),
    ("ADMIN_KEY", ADMIN_KEY),
    ("MYSQL_PASSWORD", "p@ss/word"),
];
/// Those of the configuration that have other names.
const MYSQL: [&str; 5] = [
    "MYSQL_HOST",
    "MYSQL_PORT",
    "MYSQL_DATABASE",
    "MYSQL_USERNAME",
    "MYSQL_PASSWORD",
];

fn document(file: &str) -> Value {
    documents(&root().join(FOLDER).join(file)).remove(0)
}

/// The environment of a server, with what the deployer's has in its places.
fn environment(variables: &Value) -> Env {
    let variables = variables.as_object().expect("an object").iter();
    let env = variables.map(|(name, value)| {
        let is_known = name.starts_with("TOKEN_SERVER__") || MYSQL.contains(&name.as_str());
        assert!(is_known, "{name} is no variable of the server");
        let value = value.as_str().expect("a text");
        let place = value
            .trim_start_matches("${env('")
            .trim_start_matches("${env:")
            .trim_end_matches("')}")
            .trim_end_matches('}');
        let known = PLACES.iter().find(|(named, _)| *named == place);
        let value = known.map_or(place, |(_, value)| value);
        (name.clone(), value.to_owned())
    });
    env.collect()
}

fn settings(variables: &Value, platform: (&str, String)) -> Settings {
    let mut env = environment(variables);
    // The image says where to listen, too.
    env.insert("TOKEN_SERVER__HTTP__LISTEN".into(), "0.0.0.0:8080".into());
    env.insert(platform.0.to_owned(), platform.1);
    let settings = Settings::load(None, &env);
    let settings = settings.and_then(|settings| settings.listening_where_told(&env));
    settings.expect("the environment is taken")
}

/// The server answers a timer within the time of both functions.
fn assert_in_time(server: &Settings, timer: &Value, limits_s: [&Value; 2]) {
    let timeout_s: i64 = timer["RENEWAL_TIMEOUT_S"]
        .as_str()
        .and_then(|text| text.parse().ok())
        .expect("seconds");
    let last = Ms::from_secs(timeout_s + 5).0 + Ms::from(server.upstream.timeout).0;
    let program = read(&root().join(FOLDER).join("timer/index.py"));
    for limit_s in limits_s {
        let limit_s = limit_s.as_i64().expect("seconds");
        assert!(last <= limit_s * 1000, "{last} ms of {limit_s} s");
    }
    for name in timer.as_object().expect("an object").keys() {
        assert!(
            program.contains(&format!("os.environ[\"{name}\"]"))
                || program.contains(&format!("os.environ['{name}']")),
            "{name}"
        );
    }
    let waits = program.split("ENDS_WITHIN_S = ").nth(1).expect("its wait");
    let waits_s: i64 = waits
        .lines()
        .next()
        .and_then(|text| text.parse().ok())
        .expect("seconds");
    assert!(waits_s * 1000 > Ms::from(server.upstream.timeout).0);
}

#[test]
fn the_functions_of_function_compute_have_what_the_server_takes() {
    let service = document("aliyun-fc/s.yaml");
    let (server, timer) = (
        &service["resources"]["server"]["props"],
        &service["resources"]["timer"]["props"],
    );
    let container = &server["customContainerConfig"];
    let port = container["port"].to_string();
    let settings = settings(
        &server["environmentVariables"],
        ("FC_SERVER_PORT", port.clone()),
    );
    assert_eq!(settings.http.listen.to_string(), format!("0.0.0.0:{port}"));
    assert!(settings.http.frozen_between_requests);
    assert_eq!(container["healthCheckConfig"]["httpGetUrl"], "/healthz");
    let limits = [&server["timeout"], &timer["timeout"]];
    assert_in_time(&settings, &timer["environmentVariables"], limits);
    let code = root().join(FOLDER).join("aliyun-fc");
    assert_program(
        &code.join(timer["code"].as_str().expect("a path")),
        &timer["handler"],
    );
}

#[test]
fn the_functions_of_scf_have_what_the_server_takes() {
    let server = &document("tencent-scf/server/serverless.yml")["inputs"];
    let timer = &document("tencent-scf/timer/serverless.yml")["inputs"];
    let variables = &server["environment"]["variables"];
    let settings = settings(variables, ("SCF_FUNCTIONNAME", "token-server".to_owned()));
    assert_eq!(settings.http.listen.to_string(), "0.0.0.0:9000");
    assert!(settings.http.frozen_between_requests);
    let limits = [&server["timeout"], &timer["timeout"]];
    assert_in_time(&settings, &timer["environment"]["variables"], limits);
    let code = root().join(FOLDER).join("tencent-scf/timer");
    assert_program(
        &code.join(timer["src"].as_str().expect("a path")),
        &timer["handler"],
    );
}

/// The handler is a function of a module there.
fn assert_program(folder: &Path, handler: &Value) {
    let (module, function) = handler
        .as_str()
        .expect("a text")
        .split_once('.')
        .expect("both");
    let program = read(&folder.join(format!("{module}.py")));
    let defined = [format!("def {function}("), format!("\n{function} = ")];
    assert!(
        defined.iter().any(|begin| program.contains(begin)),
        "{handler}"
    );
}

async fn the_timer_of_the_functions_has_all_renewed(database: TestDatabase) {
    let provider = Provider::start().await;
    let (server, clock) = Server::on_manual_clock(&database).await;
    let client = &server.client;
    client.register(&provider.url("/token")).await;
    let key = json!({"name": "timer", "scopes": ["token:flush"]});
    let made = client.post("/api/api-key", &key).await.expect(200).json();
    let key = made["data"]["key"].as_str().expect("a text").to_owned();
    let url = format!("http://{}/", server.address());
    clock.advance(Ms::from_secs(7200));
    let run = invoke(url.clone(), &key).await.expect("it is renewed");
    assert_eq!((&run["failed"], &run["left"]), (&json!(0), &json!(0)));
    let query = "SELECT generation FROM ts_token";
    assert_eq!(
        database.number(query).await,
        2,
        "it is done when that answers"
    );
    let told = invoke(url, "ts_wrong")
        .await
        .expect_err("the key is not good");
    assert!(told.contains("401") && !told.contains("ts_wrong"), "{told}");
}

#[tokio::test]
async fn the_timer_of_the_functions_fails_where_a_token_was_not_renewed() {
    let server = Provider::start().await;
    for not_renewed in ["failed", "discarded", "waiting", "left"] {
        let mut run =
            json!({"data": {"renewed": 3, "failed": 0, "discarded": 0, "waiting": 0, "left": 0}});
        run["data"][not_renewed] = json!(2);
        server.answer_with(Answer::status(200).with_json(&run));
        let told = invoke(server.url(""), ADMIN_KEY).await;
        let told = told.expect_err("a token was not renewed");
        assert!(told.contains("2 tokens were not renewed"), "{told}");
        assert!(!told.contains(ADMIN_KEY), "{told}");
    }
    let asked = &server.requests()[0];
    assert_eq!(
        (asked.method.as_str(), asked.path.as_str()),
        ("POST", "/api/renewal/run")
    );
    assert_eq!(asked.query, [("timeout_s".to_owned(), "30".to_owned())]);
}

/// Invokes the handler as the platform does; what it returns, or what it says where it fails.
async fn invoke(url: String, key: &str) -> Result<Value, String> {
    let mut command = interpreter();
    command
        .args([
            "-c",
            "import index, json; print(json.dumps(index.handler(b'{}', None)))",
        ])
        .current_dir(root().join(FOLDER).join("timer"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("TOKEN_SERVER_URL", url)
        .env("TOKEN_SERVER_KEY", key)
        .env("RENEWAL_TIMEOUT_S", "30");
    let ended = tokio::task::spawn_blocking(move || command.output()).await;
    let ended = ended.expect("it is waited for").expect("it runs");
    if !ended.status.success() {
        return Err(String::from_utf8_lossy(&ended.stderr).into_owned());
    }
    let printed = String::from_utf8(ended.stdout).expect("a text");
    let last = printed.lines().last().expect("a line");
    Ok(serde_json::from_str(last).expect("JSON"))
}
