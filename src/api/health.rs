//! Whether the server lives and is ready, and its metrics.

use std::time::Duration;

use poem::web::Data as State;
use poem_openapi::OpenApi;
use poem_openapi::payload::{Json, PlainText, Response};

use super::auth::{Key, Metrics};
use super::group::Group;
use super::lists::{Success, success};
use super::problem::Problem;
use crate::app::App;
use crate::foundation::clock::Ms;
use crate::foundation::database::DbError;
use crate::foundation::sealing_keys;
use crate::renewal::RenewalTrigger;

/// The sweep is woken each second; silent for that long, it is stuck.
const SWEEP_SILENT: Ms = Ms::from_secs(30);
/// How long the database has for that: probes wait a second by default.
const ANSWERS_WITHIN: Duration = Duration::from_millis(800);
pub const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

pub struct Health;

#[OpenApi(tag = "Group::Operation")]
impl Health {
    /// Whether the process is alive
    ///
    /// Needs no key and no database: an answer means that the process serves.
    #[oai(path = "/healthz", method = "get", operation_id = "getHealth")]
    async fn healthz(&self) -> Json<Success> {
        Json(success())
    }

    /// Whether the server can do its work: database, schema, sweep
    ///
    /// Needs no key. Ready means that the database answers, its schema is up to date, no sealing key
    /// of what is stored is lacked, and the sweep has run lately. A server that is frozen between
    /// requests (`http.frozen_between_requests`) has no sweep.
    #[oai(path = "/readyz", method = "get", operation_id = "getReadiness")]
    async fn readyz(&self, app: State<&App>) -> Result<Json<Success>, Problem> {
        let answer = tokio::time::timeout(ANSWERS_WITHIN, app.database.is_migrated()).await;
        let answer = match answer {
            Ok(answer) => answer.map_err(DbError::from),
            Err(_elapsed) => Err(DbError::Unanswered(ANSWERS_WITHIN)),
        };
        match answer {
            Ok(true) => {}
            Ok(false) => return Err(Problem::not_ready("The schema is not up to date.")),
            Err(error) => {
                let why = app.database.why_in_a_word(&error);
                let detail = format!("The database does not answer: {why}.");
                return Err(Problem::not_ready(detail).because(error));
            }
        }
        self.has_all_keys(app.0).await?;
        if let RenewalTrigger::Requests { .. } = app.renewals.trigger() {
            return Ok(Json(success()));
        }
        let last = app.renewals.last_sweep();
        let silent = last.map(|last| app.clock.boot().since(last));
        match silent {
            Some(silent) if silent < SWEEP_SILENT => Ok(Json(success())),
            _ => Err(Problem::not_ready("The sweep has not run lately.")),
        }
    }

    /// Prometheus metrics (OpenMetrics 1.0)
    ///
    /// Needs the scope `metrics`. What cannot be read now is left out, never shown as zero.
    #[oai(path = "/metrics", method = "get", operation_id = "getMetrics")]
    async fn metrics(
        &self,
        _key: Key<Metrics>,
        app: State<&App>,
    ) -> Result<Response<PlainText<String>>, Problem> {
        app.renewals.measure().await;
        let page = app
            .metrics
            .encode()
            .map_err(|_| Problem::not_ready("The metrics cannot be written."))?;
        Ok(Response::new(PlainText(page)).header("Content-Type", OPENMETRICS))
    }
}

impl Health {
    async fn has_all_keys(&self, app: &App) -> Result<(), Problem> {
        let lacked = tokio::time::timeout(ANSWERS_WITHIN, app.lacked_keys.now()).await;
        let lacked = match lacked {
            Ok(lacked) => lacked.map_err(DbError::from),
            Err(_elapsed) => Err(DbError::Unanswered(ANSWERS_WITHIN)),
        };
        let lacked = lacked.map_err(|error| {
            let why = app.database.why_in_a_word(&error);
            Problem::not_ready(format!("The database does not answer: {why}.")).because(error)
        })?;
        if lacked.is_empty() {
            return Ok(());
        }
        let keys = sealing_keys::shown(&lacked);
        Err(Problem::not_ready(format!(
            "This server lacks sealing keys that values are stored with: {keys}. Put them into sealing.keys."
        )))
    }
}
