//! What is deployed elsewhere names this program's variables, paths and ports: docker/kubernetes/ and
//! docker/serverless/. Whether they are what Kubernetes takes is seen by `make check` (manifests).

mod serverless;

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;
use serde_json::{Value, json};
use token_server::config::{Env, Settings};

use crate::kit::process::BINARY;
use crate::kit::server::{ADMIN_KEY, SEALING_KEYS};
use crate::kit::source::{files_below, read, root};

/// The user that docker/Dockerfile makes.
const USER: u32 = 10001;

/// The documents of a file in YAML.
pub fn documents(file: &Path) -> Vec<Value> {
    let text = read(file);
    serde_yaml::Deserializer::from_str(&text)
        .map(|document| Value::deserialize(document).expect("YAML that is JSON, too"))
        .collect()
}

fn manifests() -> Vec<(PathBuf, Value)> {
    let files = files_below(&root().join("docker/kubernetes"), &["yaml"]);
    let of_file = |file: PathBuf| {
        let documents = documents(&file);
        documents.into_iter().map(move |one| (file.clone(), one))
    };
    files.into_iter().flat_map(of_file).collect()
}

/// The template of the pods of a workload.
fn pod_of(manifest: &Value) -> Option<&Value> {
    match manifest["kind"].as_str()? {
        "Deployment" | "StatefulSet" => Some(&manifest["spec"]["template"]["spec"]),
        "CronJob" => Some(&manifest["spec"]["jobTemplate"]["spec"]["template"]["spec"]),
        _ => None,
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// A workload, whole: with the patch of its overlay, where it has one.
struct Workload {
    name: String,
    pod: Value,
}

impl Workload {
    fn container(&self) -> &Value {
        &self.pod["containers"][0]
    }
}

/// Those of base and of overlays, and those of base with each patch for them.
fn workloads() -> Vec<Workload> {
    let (mut whole, mut patches) = (Vec::new(), Vec::new());
    for (file, manifest) in manifests() {
        let Some(pod) = pod_of(&manifest) else {
            continue;
        };
        let (kind, name) = (&manifest["kind"], &manifest["metadata"]["name"]);
        let what = format!("{kind} {name} of {}", file.display());
        let is_whole = pod["containers"][0]["image"].is_string();
        let workload = Workload {
            name: what,
            pod: pod.clone(),
        };
        if is_whole { &mut whole } else { &mut patches }.push((kind.clone(), workload));
    }
    let patched: Vec<_> = patches
        .iter()
        .map(|(kind, patch)| {
            let base = whole.iter().find(|(of, _)| of == kind);
            let (_, base) = base.expect("what is patched is there");
            let mut pod = base.pod.clone();
            for (of_pod, part) in [(true, "volumes"), (false, "env"), (false, "volumeMounts")] {
                let (from, to) = match of_pod {
                    true => (&patch.pod[part], &mut pod[part]),
                    false => (
                        &patch.pod["containers"][0][part],
                        &mut pod["containers"][0][part],
                    ),
                };
                let to = to.as_array_mut().expect("a list");
                to.extend(list(from).iter().cloned());
            }
            let name = patch.name.clone();
            Workload { name, pod }
        })
        .collect();
    let whole = whole.into_iter().map(|(_, workload)| workload);
    whole.chain(patched).collect()
}

/// The environment of a container, with the files that it names in a folder of the test's own.
fn environment(workload: &Workload, folder: &Path) -> Env {
    let mut env = Env::new();
    for variable in list(&workload.container()["env"]) {
        let name = variable["name"].as_str().expect("a name");
        let value = variable["value"].as_str().expect("a value");
        let value = match name.ends_with("_FILE") {
            true => {
                let content = content_of(name);
                let file = folder.join(value.trim_start_matches('/').replace('/', "_"));
                std::fs::write(&file, content).expect("the file is written");
                let own = std::fs::Permissions::from_mode(0o600);
                std::fs::set_permissions(&file, own).expect("the mode is set");
                assert_mounted(workload, value);
                file.display().to_string()
            }
            false => value.to_owned(),
        };
        let before = env.insert(name.to_owned(), value);
        assert_eq!(before, None, "{name} stands twice in {}", workload.name);
    }
    env
}

fn content_of(variable: &str) -> String {
    match variable {
        "TOKEN_SERVER__SEALING__KEYS_FILE" => SEALING_KEYS.to_owned(),
        "TOKEN_SERVER__ADMIN_KEY_FILE" => ADMIN_KEY.to_owned(),
        "TOKEN_SERVER__DATABASE__URL_FILE" => "mysql://u:p@db.example/token_server".to_owned(),
        "TOKEN_SERVER__DATABASE__TLS_CA_FILE" => read(&root().join("tests/keys/certificate.pem")),
        other => panic!("what would be in the file of {other}?"),
    }
}

/// A path lies in a volume of the pod.
fn assert_mounted(workload: &Workload, path: &str) {
    let mounts = list(&workload.container()["volumeMounts"]);
    let mount = mounts.iter().find(|mount| {
        let at = mount["mountPath"].as_str().expect("a path");
        path.strip_prefix(at)
            .is_some_and(|rest| rest.starts_with('/'))
    });
    let mount = mount.unwrap_or_else(|| panic!("{path} is in no volume of {}", workload.name));
    let claimed = json!("data");
    let volumes = list(&workload.pod["volumes"]);
    let is_there = volumes.iter().any(|volume| volume["name"] == mount["name"]);
    assert!(
        is_there || mount["name"] == claimed,
        "{mount} mounts nothing"
    );
}

#[test]
fn each_workload_has_an_environment_that_the_server_takes() {
    let workloads = workloads();
    assert_eq!(workloads.len(), 5, "three that are whole, and two patched");
    for workload in workloads {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let env = environment(&workload, folder.path());
        let settings =
            Settings::load(None, &env).unwrap_or_else(|error| panic!("{}: {error}", workload.name));
        let data_dir = settings.data_dir.display().to_string();
        assert_mounted(&workload, &data_dir);
        let ports = list(&workload.container()["ports"]);
        for port in ports {
            assert_eq!(port["containerPort"], settings.http.listen.port());
            assert!(settings.http.listen.ip().is_unspecified());
        }
        let grace_s = workload.pod["terminationGracePeriodSeconds"].as_i64();
        let before = workload.container()["lifecycle"]["preStop"]["sleep"]["seconds"].as_i64();
        // For connections, then for what they have begun.
        let needed = before.unwrap_or(0) + 2 * settings.http.grace.0 / 1000;
        assert!(grace_s >= Some(needed), "{}: {needed} s", workload.name);
    }
}

#[test]
fn each_workload_is_confined_and_runs_a_command_that_is_there() {
    let dockerfile = read(&root().join("docker/Dockerfile"));
    assert!(dockerfile.contains(&format!("USER {USER}")));
    for Workload { name, pod } in workloads() {
        let of_pod = json!({
            "runAsNonRoot": true, "runAsUser": USER, "runAsGroup": USER, "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        });
        for (field, value) in of_pod.as_object().expect("an object") {
            assert_eq!(&pod["securityContext"][field], value, "{field} of {name}");
        }
        assert_eq!(pod["automountServiceAccountToken"], false, "{name}");
        let container = &pod["containers"][0];
        let confined = json!({
            "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
            "capabilities": {"drop": ["ALL"]},
        });
        assert_eq!(container["securityContext"], confined, "{name}");
        for bound in ["requests", "limits"] {
            assert!(
                container["resources"][bound]["memory"].is_string(),
                "{name}"
            );
        }
        let arguments = list(&container["args"]).iter();
        let arguments = arguments.map(|argument| argument.as_str().expect("a text"));
        let help = Command::new(BINARY).args(arguments).arg("--help").output();
        assert!(help.expect("the binary runs").status.success(), "{name}");
    }
}

/// What a manifest says of HTTP: where a field of that name is.
fn collect<'a>(value: &'a Value, field: &str, found: &mut Vec<&'a Value>) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, inner)| {
            if name == field {
                found.push(inner);
            }
            collect(inner, field, found);
        }),
        Value::Array(items) => items.iter().for_each(|item| collect(item, field, found)),
        _ => {}
    }
}

/// The time of an argument of `renew`, in seconds.
fn minutes_of(job: &Workload, argument: &str) -> i64 {
    let mut arguments = list(&job.container()["args"]).iter();
    arguments.find(|found| **found == argument);
    let minutes = arguments.next().and_then(Value::as_str);
    let minutes = minutes.and_then(|time| time.strip_suffix('m')?.parse::<i64>().ok());
    60 * minutes.unwrap_or_else(|| panic!("{} has no {argument}", job.name))
}

#[test]
fn a_job_has_time_for_what_is_under_way_and_renews_what_is_due_before_the_next() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let mut jobs = 0;
    for (file, manifest) in manifests() {
        if manifest["kind"] != "CronJob" || manifest["spec"]["schedule"].is_null() {
            continue;
        }
        jobs += 1;
        let pod = pod_of(&manifest).expect("a job has pods").clone();
        let name = file.display().to_string();
        let job = Workload { name, pod };
        let settings = Settings::load(None, &environment(&job, folder.path()));
        let upstream = settings.expect("the server takes them").upstream;
        let under_way = (upstream.timeout + upstream.late_answer).as_secs() as i64;
        let every = manifest["spec"]["schedule"].as_str();
        let every = every.and_then(|schedule| schedule.strip_prefix("*/"));
        let every = every.and_then(|rest| rest.strip_suffix(" * * * *"));
        let every = 60
            * every
                .and_then(|minutes| minutes.parse::<i64>().ok())
                .expect("minutes");
        assert_eq!(minutes_of(&job, "--within"), every);
        let ends = manifest["spec"]["jobTemplate"]["spec"]["activeDeadlineSeconds"].as_i64();
        assert!(
            ends >= Some(minutes_of(&job, "--timeout") + under_way),
            "{ends:?}"
        );
        assert!(ends < Some(every), "{ends:?}");
        let grace = job.pod["terminationGracePeriodSeconds"].as_i64();
        assert!(grace >= Some(under_way), "{grace:?}");
        // What the database did not take outlives the pod.
        let claimed = |volume: &&Value| volume["persistentVolumeClaim"].is_object();
        assert!(
            list(&job.pod["volumes"])
                .iter()
                .any(|volume| claimed(&volume))
        );
    }
    assert_eq!(jobs, 1);
}

#[test]
fn probes_and_scrapes_ask_for_paths_and_ports_that_are_there() {
    let specification: Value =
        serde_json::from_str(&read(&root().join("openapi/openapi.json"))).expect("JSON");
    let mut probed = BTreeSet::<String>::new();
    for (file, manifest) in manifests() {
        let mut asked = Vec::new();
        collect(&manifest, "httpGet", &mut asked);
        if manifest["kind"] == "ServiceMonitor" {
            asked.extend(list(&manifest["spec"]["endpoints"]));
        }
        for get in asked {
            let path = get["path"].as_str().expect("a path");
            let known = specification["paths"][path]["get"].is_object();
            assert!(known, "{path} of {}", file.display());
            assert_eq!(get["port"], "http", "{}", file.display());
            probed.insert(path.to_owned());
        }
        let mut ports = Vec::new();
        collect(&manifest, "targetPort", &mut ports);
        assert!(ports.iter().all(|port| **port == "http"));
    }
    let probed: Vec<_> = probed.iter().map(String::as_str).collect();
    assert_eq!(probed, ["/healthz", "/metrics", "/readyz"]);
}

#[test]
fn the_rules_of_the_prometheus_operator_are_those_that_are_tried() {
    let shipped = documents(&root().join("docker/observability/alerts.yml"));
    let kubernetes = root().join("docker/kubernetes/overlays/monitoring/prometheus-rule.yaml");
    let rule = documents(&kubernetes);
    assert_eq!(
        rule[0]["spec"]["groups"], shipped[0]["groups"],
        "write the groups of alerts.yml into prometheus-rule.yaml anew"
    );
}

#[test]
fn the_dashboard_of_kubernetes_is_the_one_that_is_tried() {
    let overlay = root().join("docker/kubernetes/overlays/monitoring");
    let shipped = read(&root().join("docker/observability/dashboard.json"));
    assert!(
        read(&overlay.join("dashboard.json")) == shipped,
        "copy docker/observability/dashboard.json to the overlay monitoring"
    );
    let kustomization = &documents(&overlay.join("kustomization.yaml"))[0];
    let config_map = &kustomization["configMapGenerator"][0];
    assert_eq!(
        config_map["files"],
        json!(["token-server.json=dashboard.json"])
    );
    // Where the sidecar of Grafana looks for dashboards.
    assert_eq!(config_map["options"]["labels"]["grafana_dashboard"], "1");
}

#[test]
fn each_file_of_a_kustomization_is_there_and_each_file_is_in_one() {
    let mut listed = BTreeMap::new();
    let mut others = BTreeSet::new();
    for (file, manifest) in manifests() {
        if manifest["kind"] != "Kustomization" {
            others.insert(file);
            continue;
        }
        let folder = file.parent().expect("a folder");
        let resources = list(&manifest["resources"]).iter().map(Value::as_str);
        let patches = list(&manifest["patches"]).iter();
        let patches = patches.map(|patch| patch["path"].as_str());
        for name in resources.chain(patches).flatten() {
            let path = folder.join(name);
            assert!(path.exists(), "{} of {}", name, file.display());
            if path.is_file() {
                *listed.entry(path).or_insert(0) += 1;
            }
        }
    }
    assert!(listed.values().all(|times| *times == 1), "{listed:?}");
    assert_eq!(listed.into_keys().collect::<BTreeSet<_>>(), others);
}
