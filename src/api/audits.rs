//! The audit over HTTP.

use poem::web::Data as State;
use poem_openapi::param::Query;
use poem_openapi::payload::Json;
use poem_openapi::types::Any;
use poem_openapi::{Object, OpenApi};
use serde_json::{Value, json};

use super::auth::{AuditRead, Key};
use super::extract::Paging;
use super::group::Group;
use super::lists::{Data, PageOf, list};
use super::problem::Problem;
use crate::access::audit::{self, AuditFilter};
use crate::app::App;
use crate::foundation::clock::{EpochMs, Timeline};

pub struct Audits;

/// Who did what.
#[derive(Object)]
struct AuditEntry {
    id: i64,
    /// RFC 3339, UTC; where the entry stands for several calls, of the last of them.
    at: String,
    /// The caller's key by name; null where none was recognised.
    #[oai(nullable)]
    actor: Option<String>,
    /// What was done, such as `realm.save`; of a denied call its method.
    action: String,
    /// What it was done to; of denied calls their path, or `(several paths)`.
    target: String,
    /// `done` or `denied`.
    outcome: String,
    /// Why a call was denied.
    #[oai(nullable)]
    detail: Option<String>,
    /// Where the entry stands for several calls, of the last of them.
    #[oai(nullable)]
    request_id: Option<String>,
    /// How many calls the entry stands for: of denied ones of one caller, for one reason and by
    /// one method, the first in each minute has an entry of its own, and the others share one.
    count: i64,
    /// What was there before a change: only what differs, and `***` in place of what is secret. Of a
    /// realm's document by JSON pointers. Null where there was nothing.
    #[oai(nullable)]
    before: Option<Any<Value>>,
    /// What there is after it; null where nothing is left.
    #[oai(nullable)]
    after: Option<Any<Value>>,
    /// The chain that the entry is in, and its place there; null of an earlier version's.
    #[oai(nullable)]
    chain: Option<String>,
    #[oai(nullable)]
    seq: Option<i64>,
}

fn parsed(text: Option<String>) -> Option<Any<Value>> {
    // What was changed in the database need not be JSON any more.
    text.map(|text| Any(serde_json::from_str(&text).unwrap_or_else(|_| json!(text))))
}

#[OpenApi(tag = "Group::Access")]
impl Audits {
    /// Who did what, newest first
    ///
    /// Each change with its actor, target and request, and with what it replaced, and all calls that were denied: those of
    /// one caller, for one reason and by one method, are added up (`count`) when the minute ends,
    /// but for the first, which is there at once.
    #[oai(path = "/api/audit", method = "get", operation_id = "listAuditEntries")]
    #[allow(clippy::too_many_arguments)] // Each is a parameter of the query.
    async fn list(
        &self,
        _key: Key<AuditRead>,
        app: State<&App>,
        paging: Paging,
        /// The caller's key, by name.
        actor: Query<Option<String>>,
        /// Such as `realm.save`; of a denied call its method.
        action: Query<Option<String>>,
        target: Query<Option<String>>,
        /// Entries from then on, in milliseconds since the epoch.
        since: Query<Option<i64>>,
        /// Entries before then.
        until: Query<Option<i64>>,
    ) -> Result<Json<Data<PageOf<AuditEntry>>>, Problem> {
        let filter = AuditFilter {
            actor: actor.as_deref(),
            action: action.as_deref(),
            target: target.as_deref(),
            since: since.0.map(EpochMs),
            until: until.0.map(EpochMs),
        };
        let entries = audit::list(app.database.reader(), paging.0, &filter).await?;
        Ok(Json(list(entries.map(|row| AuditEntry {
            id: row.id,
            at: row.at.to_rfc3339(),
            actor: row.actor,
            action: row.action,
            target: row.target,
            outcome: row.outcome,
            detail: row.detail,
            request_id: row.request_id,
            count: row.count.unwrap_or(1),
            before: parsed(row.before_value),
            after: parsed(row.after_value),
            chain: row.chain,
            seq: row.seq,
        }))))
    }
}
