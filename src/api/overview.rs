//! What a human looks at first.

use poem::web::Data as State;
use poem_openapi::payload::Json;
use poem_openapi::{Object, OpenApi};

use super::auth::{Key, SecretRead};
use super::group::Group;
use super::lists::{Data, data};
use super::problem::Problem;
use super::secrets::LastError;
use crate::app::App;
use crate::foundation::clock::Timeline;
use crate::renewal::history::HourOfAttempts;
use crate::token::TokenRecord;
use crate::token::state::State as TokenState;

pub struct OverviewApi;

/// How all secrets are that the caller may see.
#[derive(Object)]
#[oai(rename = "Overview")]
struct OverviewView {
    /// When this was read.
    read_at: String,
    /// How many secrets are in which state. Null: the key covers some secrets of a realm only.
    #[oai(nullable)]
    states: Option<Vec<StateCount>>,
    /// What fails, for longest first; 20 at most.
    failing: Vec<FailingSecret>,
    /// What is renewed next; 20 at most.
    due: Vec<DueSecret>,
    /// Attempts of the last 24 hours, oldest hour first; without hours that had none. Null: as `states`.
    #[oai(nullable)]
    hours: Option<Vec<RenewalHour>>,
    /// The replica that answers.
    replica: ReplicaView,
}

/// How many secrets are in a state.
#[derive(Object)]
struct StateCount {
    state: String,
    secrets: i64,
}

/// A secret whose renewal fails.
#[derive(Object)]
struct FailingSecret {
    realm: String,
    key: String,
    state: String,
    /// When the next attempt is due.
    #[oai(nullable)]
    renew_at: Option<String>,
    #[oai(nullable)]
    last_error: Option<LastError>,
}

/// A secret that is renewed next.
#[derive(Object)]
struct DueSecret {
    realm: String,
    key: String,
    #[oai(nullable)]
    renew_at: Option<String>,
}

/// Attempts that began in an hour.
#[derive(Object)]
struct RenewalHour {
    /// When the hour began.
    begun_at: String,
    stored: i64,
    failed: i64,
    discarded: i64,
}

/// A replica, as it sees itself.
#[derive(Object)]
#[oai(rename = "Replica")]
struct ReplicaView {
    name: String,
    version: String,
    /// How long ago it last followed the changes of others; null: it does not yet.
    #[oai(nullable)]
    lag_ms: Option<i64>,
    /// How far its clock is ahead of the database's; negative: behind.
    clock_offset_ms: i64,
}

impl ReplicaView {
    fn of(app: &App) -> Self {
        let followed = app.memory.last_followed();
        let lag = followed.map(|at| app.clock.boot().since(at));
        Self {
            name: app.replica.id.0.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            lag_ms: lag.map(|lag| lag.0.max(0)),
            clock_offset_ms: as_ms(app.metrics.clock_offset.get()),
        }
    }
}

/// Seconds, as metrics have them.
#[allow(clippy::cast_possible_truncation)] // A clock is not further off than that.
fn as_ms(seconds: f64) -> i64 {
    (seconds * 1000.0).round() as i64
}

fn failing((record, state): (TokenRecord, TokenState)) -> FailingSecret {
    FailingSecret {
        realm: record.realm.to_string(),
        key: record.key.to_string(),
        state: state.as_str().to_owned(),
        renew_at: record.renew_at.map(Timeline::to_rfc3339),
        last_error: record.trouble.map(LastError::from),
    }
}

fn due(record: TokenRecord) -> DueSecret {
    DueSecret {
        realm: record.realm.to_string(),
        key: record.key.to_string(),
        renew_at: record.renew_at.map(Timeline::to_rfc3339),
    }
}

impl From<HourOfAttempts> for RenewalHour {
    fn from(hour: HourOfAttempts) -> Self {
        Self {
            begun_at: hour.begins_at.to_rfc3339(),
            stored: hour.stored,
            failed: hour.failed,
            discarded: hour.discarded,
        }
    }
}

#[OpenApi(tag = "Group::Operation")]
impl OverviewApi {
    /// How all secrets are
    ///
    /// How many are in which state, what fails and why, what is renewed next, and attempts of the last day:
    /// of the secrets that the key's patterns cover. It is read from the database every two seconds at most,
    /// and less often where there are so many secrets that reading takes its time.
    #[oai(path = "/api/overview", method = "get", operation_id = "getOverview")]
    async fn show(
        &self,
        key: Key<SecretRead>,
        app: State<&App>,
    ) -> Result<Json<Data<OverviewView>>, Problem> {
        let overview = app.overview.overview(key.coverage()).await?;
        key.has_looked("secret.list", "(overview)".to_owned(), None);
        let (states, hours) = match overview.counts {
            Some(counts) => (Some(counts.states), Some(counts.hours)),
            None => (None, None),
        };
        let count = |(state, secrets): (TokenState, i64)| StateCount {
            state: state.as_str().to_owned(),
            secrets,
        };
        Ok(Json(data(OverviewView {
            read_at: overview.at.to_rfc3339(),
            states: states.map(|states| states.into_iter().map(count).collect()),
            failing: overview.failing.into_iter().map(failing).collect(),
            due: overview.due.into_iter().map(due).collect(),
            hours: hours.map(|hours| hours.into_iter().map(RenewalHour::from).collect()),
            replica: ReplicaView::of(&app),
        })))
    }
}
