//! Who did what: append-only, values never.

use std::num::NonZeroU32;

use sea_orm::{
    ActiveValue::{NotSet, Set},
    ColumnTrait, ConnectionTrait, DbErr, EntityTrait, Order, QueryFilter, QueryOrder,
};
use strum::VariantArray;
use token_server_entity::audit::{self, Column, Entity};

use crate::foundation::clock::EpochMs;
use crate::foundation::database::{delete_some, one_page};
use crate::foundation::page::{Listed, Page};

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, VariantArray)]
pub enum AuditOutcome {
    Done,
    Denied,
}

impl AuditOutcome {
    pub const ALL: &'static [Self] = Self::VARIANTS;

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Denied => "denied",
        }
    }
}

#[derive(Clone, Debug)]
pub struct AuditEntry {
    pub at: EpochMs,
    /// The caller's key by name; none where no key was recognised.
    pub actor: Option<String>,
    /// `realm.save`, `secret.delete`, …; of a denied call its method.
    pub action: String,
    /// What it was done to; of a denied call its path, unless the entry stands for several paths.
    pub target: String,
    pub outcome: AuditOutcome,
    pub detail: Option<String>,
    pub request_id: Option<String>,
    /// How many calls the entry stands for. Of several, `at` and `request_id` are those of the last.
    pub count: NonZeroU32,
}

impl AuditEntry {
    fn into_row(self) -> audit::ActiveModel {
        audit::ActiveModel {
            id: NotSet,
            at: Set(self.at),
            actor: Set(self.actor),
            action: Set(self.action),
            target: Set(self.target),
            outcome: Set(self.outcome.as_str().to_owned()),
            detail: Set(self.detail),
            request_id: Set(self.request_id),
            count: Set(Some(i64::from(self.count.get()))),
        }
    }
}

pub async fn append(database: &impl ConnectionTrait, entry: AuditEntry) -> Result<(), DbErr> {
    append_all(database, vec![entry]).await
}

pub async fn append_all(
    database: &impl ConnectionTrait,
    entries: Vec<AuditEntry>,
) -> Result<(), DbErr> {
    Entity::insert_many(entries.into_iter().map(AuditEntry::into_row))
        .exec_without_returning(database)
        .await
        .map(|_| ())
}

/// Newest first.
pub async fn list(
    database: &impl ConnectionTrait,
    page: Page,
) -> Result<Listed<audit::Model>, DbErr> {
    let newest_first = Entity::find().order_by(Column::Id, Order::Desc);
    one_page(database, newest_first, page).await
}

/// Deletes at most `limit` entries made before then; answers how many.
pub async fn prune(
    database: &impl ConnectionTrait,
    before: EpochMs,
    limit: u64,
) -> Result<u64, DbErr> {
    let oldest_first = Entity::find()
        .filter(Column::At.lt(before))
        .order_by(Column::At, Order::Asc);
    delete_some(database, oldest_first, Column::Id, limit).await
}
