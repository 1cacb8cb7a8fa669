//! The audit over HTTP.

use poem::web::Data as State;
use poem_openapi::payload::Json;
use poem_openapi::{Object, OpenApi};

use super::auth::{AuditRead, Key};
use super::extract::Paging;
use super::group::Group;
use super::lists::{Data, PageOf, list};
use super::problem::Problem;
use crate::access::audit;
use crate::app::App;
use crate::foundation::clock::Timeline;

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
}

#[OpenApi(tag = "Group::Access")]
impl Audits {
    /// Who did what, newest first
    ///
    /// Each change with its actor, target and request, and all calls that were denied: those of
    /// one caller, for one reason and by one method, are added up (`count`) when the minute ends,
    /// but for the first, which is there at once.
    #[oai(path = "/api/audit", method = "get", operation_id = "listAuditEntries")]
    async fn list(
        &self,
        _key: Key<AuditRead>,
        app: State<&App>,
        paging: Paging,
    ) -> Result<Json<Data<PageOf<AuditEntry>>>, Problem> {
        let entries = audit::list(app.database.reader(), paging.0).await?;
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
        }))))
    }
}
