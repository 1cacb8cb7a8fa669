//! What Prometheus makes of a server's metrics: they are collected minute by minute, and promtool
//! evaluates the rules that are shipped over them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};
use token_server::foundation::clock::EpochMs;

/// Installed, or where tests/setup.sh unpacks it.
pub const PATHS: &str = concat!(
    "/usr/local/bin:/usr/bin:",
    env!("CARGO_MANIFEST_DIR"),
    "/target/servers/prometheus/usr/bin"
);

const FIRING: &str = "group by (alertname) (ALERTS{alertstate=\"firing\"})";

/// The rules that are shipped.
pub fn rules() -> PathBuf {
    PathBuf::from(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/docker/observability/alerts.yml"
    ))
}

/// One scrape a minute. promtool's time begins at the epoch: points in time are told from there.
pub struct Scrapes {
    begun_s: f64,
    minutes: usize,
    series: BTreeMap<String, BTreeMap<usize, f64>>,
}

impl Scrapes {
    #[allow(clippy::cast_precision_loss)]
    pub fn begun_at(now: EpochMs) -> Self {
        Self {
            begun_s: now.0 as f64 / 1000.0,
            minutes: 0,
            series: BTreeMap::new(),
        }
    }

    pub fn minutes(&self) -> usize {
        self.minutes
    }

    /// What a server says, a minute after the last.
    pub fn add(&mut self, page: &str) {
        self.minutes += 1;
        for line in page.lines().filter(|line| !line.starts_with('#')) {
            let (series, value) = line.rsplit_once(' ').expect("a series and a value");
            let mut value: f64 = value.parse().expect("a number");
            let name = series.split('{').next().expect("a name");
            if name.ends_with("_timestamp_seconds") {
                value -= self.begun_s;
            }
            let labels = series
                .strip_prefix(name)
                .and_then(|labels| labels.strip_prefix('{')?.strip_suffix('}'))
                .filter(|labels| !labels.is_empty())
                .map_or_else(String::new, |labels| format!("{labels},"));
            let series = format!("{name}{{{labels}job=\"token-server\",instance=\"a\"}}");
            let values = self.series.entry(series).or_default();
            values.insert(self.minutes, value);
        }
    }

    /// The values of a metric, minute by minute.
    pub fn values(&self, name: &str) -> Vec<f64> {
        let of_name = |series: &&String| series.split('{').next() == Some(name);
        let series = self.series.keys().find(of_name).expect("it was scraped");
        self.series[series].values().copied().collect()
    }

    fn input(&self) -> Vec<Value> {
        let series = self.series.iter().map(|(series, values)| {
            let mut text = String::new();
            for minute in 0..=self.minutes {
                let _ = match values.get(&minute) {
                    Some(value) => write!(text, "{value} "),
                    None => write!(text, "_ "),
                };
            }
            json!({"series": series, "values": text.trim_end()})
        });
        series.collect()
    }

    /// Fails unless just these alerts fire at that minute.
    #[track_caller]
    pub fn assert_firing(&self, minute: usize, alerts: &[&str]) {
        self.assert_alerts(FIRING, minute, alerts);
    }

    pub fn is_firing(&self, minute: usize, alerts: &[&str]) -> bool {
        self.try_alerts(FIRING, minute, alerts).is_ok()
    }

    /// Fails unless just these alerts have fired until now.
    #[track_caller]
    pub fn assert_fired(&self, alerts: &[&str]) {
        let fired = format!(
            "group by (alertname) (last_over_time(ALERTS{{alertstate=\"firing\"}}[{}m]))",
            self.minutes + 1
        );
        self.assert_alerts(&fired, self.minutes, alerts);
    }

    #[track_caller]
    fn assert_alerts(&self, expression: &str, minute: usize, alerts: &[&str]) {
        let tried = self.try_alerts(expression, minute, alerts);
        tried.unwrap_or_else(|said| panic!("{said}"));
    }

    fn try_alerts(&self, expression: &str, minute: usize, alerts: &[&str]) -> Result<(), String> {
        let expected: Vec<_> = alerts
            .iter()
            .map(|alert| json!({"labels": format!("{{alertname=\"{alert}\"}}"), "value": 1}))
            .collect();
        self.try_test(
            "promql_expr_test",
            &json!({
                "expr": expression, "eval_time": format!("{minute}m"), "exp_samples": expected,
            }),
        )
    }

    /// Fails unless an alert fires at that minute with these labels and words.
    #[track_caller]
    pub fn assert_says(&self, minute: usize, alert: &str, labels: &Value, annotations: &Value) {
        let expected = json!([{"exp_labels": labels, "exp_annotations": annotations}]);
        let tried = self.try_test(
            "alert_rule_test",
            &json!({
                "alertname": alert, "eval_time": format!("{minute}m"), "exp_alerts": expected,
            }),
        );
        tried.unwrap_or_else(|said| panic!("{said}"));
    }

    /// What promtool says where it is not as expected, with what was scraped.
    fn try_test(&self, kind: &str, test: &Value) -> Result<(), String> {
        // JSON is YAML.
        let tests = json!({
            "rule_files": [rules()], "evaluation_interval": "1m",
            "tests": [{"interval": "1m", "input_series": self.input(), kind: [test]}],
        });
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let file = directory.path().join("tests.yml");
        std::fs::write(&file, tests.to_string()).expect("the file can be written");
        let output = promtool().args(["test", "rules"]).arg(&file).output();
        let output = output.expect("promtool runs; `make setup` brings it");
        if output.status.success() {
            return Ok(());
        }
        let said = [output.stdout, output.stderr].concat();
        Err(format!(
            "{}{:#?}",
            String::from_utf8_lossy(&said),
            self.input()
        ))
    }
}

fn promtool() -> Command {
    let mut command = Command::new("promtool");
    command.env("PATH", PATHS);
    command
}

/// The names of the alerts that are shipped, where promtool takes the file.
pub fn shipped_alerts() -> BTreeSet<String> {
    let checked = promtool().args(["check", "rules"]).arg(rules()).output();
    let checked = checked.expect("promtool runs; `make setup` brings it");
    let said = String::from_utf8_lossy(&checked.stderr).into_owned();
    assert!(checked.status.success(), "{said}");
    let text = std::fs::read_to_string(rules()).expect("the rules are there");
    let alert = |line: &str| Some(line.trim().strip_prefix("- alert: ")?.to_owned());
    text.lines().filter_map(alert).collect()
}
