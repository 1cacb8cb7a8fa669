//! The history of attempts over HTTP, and a run of what is due.

use std::pin::pin;
use std::time::Duration;

use poem::web::Data as State;
use poem_openapi::param::Query;
use poem_openapi::payload::Json;
use poem_openapi::{Object, OpenApi};

use super::auth::{Key, SecretRead, TokenFlush};
use super::extract::{Paging, one_of, realm_id};
use super::group::Group;
use super::lists::{Data, PageOf, data, list};
use super::problem::Problem;
use crate::app::App;
use crate::foundation::clock::{Deadline, Ms, Timeline};
use crate::realm::failure::FailureClass;
use crate::renewal::history::{self, RenewalFilter, RenewalOutcome};
use crate::renewal::{FOR_THE_ANSWER, RUN, RenewalTrigger, RunBy, RunScope, RunSummary, came_of};

pub struct RenewalApi;

/// The longest `timeout_s` of a run: a day.
pub const RUN_TIMEOUT_MAX_S: i64 = 86_400;

/// One attempt to obtain a token.
#[derive(Object)]
#[oai(rename = "Renewal")]
struct RenewalView {
    id: i64,
    realm: String,
    key: String,
    attempt_id: String,
    /// Why it was made.
    cause: String,
    /// `stored`, `failed` or `discarded`.
    outcome: String,
    #[oai(nullable)]
    class: Option<String>,
    #[oai(nullable)]
    detail: Option<String>,
    /// The generation it stored.
    #[oai(nullable)]
    generation: Option<i64>,
    /// RFC 3339, UTC.
    started_at: String,
    duration_ms: i64,
    replica: String,
}

impl From<token_server_entity::renewal::Model> for RenewalView {
    fn from(row: token_server_entity::renewal::Model) -> Self {
        Self {
            id: row.id,
            realm: row.realm_id,
            key: row.key_name,
            attempt_id: row.attempt_id,
            cause: row.cause,
            outcome: row.outcome,
            // An earlier version stored another name.
            class: row.class.map(|class| {
                FailureClass::parse(&class).map_or(class, |class| class.as_str().to_owned())
            }),
            detail: row.detail,
            generation: row.generation,
            started_at: row.started_at.to_rfc3339(),
            duration_ms: row.duration_ms,
            replica: row.replica,
        }
    }
}

/// What a run did.
#[derive(Object)]
#[oai(rename = "RenewalRun")]
pub struct RunView {
    renewed: u64,
    /// With a time limit, also what another server, or the sweep of this one, attempted meanwhile.
    failed: u64,
    /// Results that were discarded because something changed meanwhile.
    discarded: u64,
    /// Something must come first that did not come: a parent's token, a pushed ticket.
    waiting: u64,
    /// Due still: time was up, the provider limits the realm, or the realm cannot be read.
    left: u64,
    duration_ms: i64,
}

impl From<RunSummary> for RunView {
    fn from(summary: RunSummary) -> Self {
        Self {
            renewed: summary.renewed,
            failed: summary.failed,
            discarded: summary.discarded,
            waiting: summary.waiting,
            left: summary.left,
            duration_ms: summary.duration.0,
        }
    }
}

#[OpenApi(tag = "Group::Renewal")]
impl RenewalApi {
    /// The history of attempts, newest first
    ///
    /// One entry for each attempt to obtain a token of a secret that the key's patterns cover, kept
    /// as long as the configuration says.
    #[oai(path = "/api/renewal", method = "get", operation_id = "listRenewals")]
    async fn list(
        &self,
        api_key: Key<SecretRead>,
        app: State<&App>,
        paging: Paging,
        realm: Query<Option<String>>,
        key: Query<Option<String>>,
        /// `stored`, `failed` or `discarded`.
        outcome: Query<Option<String>>,
    ) -> Result<Json<Data<PageOf<RenewalView>>>, Problem> {
        let all = RenewalOutcome::ALL;
        let filter = RenewalFilter {
            realm: realm.as_deref(),
            key: key.as_deref(),
            coverage: api_key.coverage().clone(),
            outcome: one_of("outcome", outcome.0, all, RenewalOutcome::as_str)?,
        };
        let attempts = history::list(app.database.reader(), paging.0, &filter).await?;
        Ok(Json(list(attempts.map(RenewalView::from))))
    }

    /// Renew what is due now
    ///
    /// For cloud timers that wake a frozen instance. Without `timeout_s` it answers when all that is due
    /// was attempted, and leaves to others what they renew. With it, the attempts of others are waited
    /// for, too, and `left` counts what nobody renewed. When that time is up, no attempt begins any more
    /// and those of others are waited for no longer. Those that the call has begun are: until their
    /// results are stored, and where an answer that may hold a refresh token is late, until that has come
    /// or a second before `http.request_timeout_s`. The answer is a 200 either way. No attempt begins that
    /// could last longer than `http.request_timeout_s` after the call. A server that is frozen between
    /// requests runs as with the longest `timeout_s` where none is given.
    #[oai(
        path = "/api/renewal/run",
        method = "post",
        operation_id = "runRenewals"
    )]
    async fn run(
        &self,
        key: Key<TokenFlush>,
        app: State<&App>,
        /// One realm only.
        realm: Query<Option<String>>,
        /// No attempt begins later than so many seconds after the call. At most `http.request_timeout_s`,
        /// more is refused; the last second of that is kept for the answer. An attempt that has begun
        /// ends within `upstream.timeout_s`, or `policy.timeout_s` of its realm, and is waited for.
        #[oai(name = "timeout_s")]
        timeout_s: Query<Option<i64>>,
    ) -> Result<Json<Data<RunView>>, Problem> {
        let realm = realm.0.map(realm_id).transpose()?;
        key.must_cover_all(realm.as_ref())?;
        if !timeout_s.is_none_or(|timeout| (1..=RUN_TIMEOUT_MAX_S).contains(&timeout)) {
            let why = format!("must be from 1 to {RUN_TIMEOUT_MAX_S} (seconds)");
            return Err(Problem::invalid_parameter("timeout_s", why));
        }
        let longest = app.settings.http.request_timeout;
        let timeout = timeout_s.0.map(Ms::from_secs);
        if timeout.is_some_and(|timeout| timeout > longest) {
            let why = format!(
                "must be at most {} (seconds): a request may take no longer (http.request_timeout_s)",
                longest.as_secs_floor()
            );
            return Err(Problem::invalid_parameter("timeout_s", why));
        }
        let timeout = match app.renewals.trigger() {
            RenewalTrigger::Sweep => timeout,
            RenewalTrigger::Requests { within } => Some(timeout.unwrap_or(within)),
        };
        let ends = Deadline::after(app.clock.machine(), longest);
        let scope = RunScope {
            realm,
            by: match timeout {
                Some(_) => RunBy::TimedCall { ends },
                None => RunBy::Call,
            },
            ..RunScope::default()
        };
        let summary = {
            let mut run = pin!(app.renewals.run(&scope, &()));
            let answers = Ms(longest.0 - FOR_THE_ANSWER.0);
            let time_is_up =
                timeout.map_or(Duration::MAX, |timeout| timeout.min(answers).as_duration());
            tokio::select! {
                run = &mut run => run,
                () = tokio::time::sleep(time_is_up) => {
                    scope.stop.cancel();
                    run.await
                }
            }
        };
        key.has_looked(RUN, scope.target(), Some(came_of(&summary)));
        let summary = summary?;
        Ok(Json(data(summary.into())))
    }
}
