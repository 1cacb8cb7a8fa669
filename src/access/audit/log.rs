//! Appends entries to this server's chain, in the transaction of what they tell of. Whoever appends
//! holds the row of the chain until that ends, so a chain has no gap and no fork, and no server
//! waits for another.

use std::sync::Arc;

use sea_orm::sea_query::Expr;
use sea_orm::{
    ActiveModelTrait, ActiveValue::NotSet, ColumnTrait, ConnectionTrait, DbErr, EntityTrait,
    IntoActiveModel, QueryFilter, QueryOrder, QuerySelect,
};
use token_server_entity::{audit, audit_chain};

use super::chain::{ChainKey, new_chain, resealed};
use super::earlier::{self, UnchainedNote, UnchainedSum};
use super::entry::{AuditEntry, HEADS};
use crate::foundation::clock::EpochMs;
use crate::foundation::database::is_duplicate;
use crate::foundation::ids::ReplicaId;
use crate::foundation::named_row;
use crate::foundation::randomness::Randomness;
use crate::foundation::sealing::{KeyRing, Resealed};

/// What a server appends to.
enum Current {
    GoesOn(Box<(audit_chain::Model, ChainKey)>),
    /// It has no chain that it can go on with: the one of this number is its next. Whoever has seen
    /// the same begins that one, too, and is told of the other.
    Begins {
        number: i64,
    },
}

/// Writes the chain of one server.
#[derive(Clone)]
pub struct AuditLog {
    ring: Arc<KeyRing>,
    replica: ReplicaId,
    randomness: Randomness,
}

impl AuditLog {
    pub fn new(ring: Arc<KeyRing>, replica: ReplicaId, randomness: Randomness) -> Self {
        Self {
            ring,
            replica,
            randomness,
        }
    }

    /// Whether this server writes a replica's chains.
    pub fn is_own(&self, replica: &str) -> bool {
        self.replica.0 == replica
    }

    pub(super) fn ring(&self) -> &KeyRing {
        &self.ring
    }

    /// Appends entries. Inside a transaction, as the last of what locks something there.
    pub async fn append(
        &self,
        transaction: &impl ConnectionTrait,
        entries: Vec<AuditEntry>,
    ) -> Result<(), DbErr> {
        let Some(now) = entries.last().map(|entry| entry.at) else {
            return Ok(());
        };
        self.append_some(transaction, entries, now)
            .await
            .map(|_| ())
    }

    /// Appends what is known of the entries in no chain. Answers where that is. Inside a
    /// transaction, as the last of what locks something there.
    pub(super) async fn append_note(
        &self,
        transaction: &impl ConnectionTrait,
        note: &UnchainedNote,
        now: EpochMs,
    ) -> Result<String, DbErr> {
        let entries = vec![note.entry(now)];
        let head = self.append_some(transaction, entries, now).await?;
        Ok(earlier::place(&head.chain, head.seq))
    }

    /// Answers the end of the chain.
    async fn append_some(
        &self,
        transaction: &impl ConnectionTrait,
        entries: Vec<AuditEntry>,
        now: EpochMs,
    ) -> Result<audit_chain::Model, DbErr> {
        let rows: Vec<_> = entries.into_iter().map(AuditEntry::into_row).collect();
        let (head, key) = match self.current(transaction).await? {
            Current::GoesOn(chain) => *chain,
            Current::Begins { number } => match self.begin(transaction, number, now).await {
                // Another transaction of this server has begun it at the same time.
                Err(error) if is_duplicate(&error) => match self.current(transaction).await? {
                    Current::GoesOn(chain) => *chain,
                    Current::Begins { .. } => return Err(error),
                },
                other => other?,
            },
        };
        match append_to(transaction, head.clone(), &key, rows.clone()).await {
            Err(error) if is_duplicate(&error) => {
                tracing::error!(
                    name: "audit.chain_set_back",
                    table = "ts_audit_chain",
                    row = head.chain,
                    "a chain of the audit goes on after the end that it has: its row was set back; another is begun, and audit verify says more"
                );
                let (head, key) = self.begin(transaction, head.number + 1, now).await?;
                append_to(transaction, head, &key, rows).await
            }
            other => other,
        }
    }

    /// The chain of this server, kept from everybody else until the transaction ends.
    async fn current(&self, transaction: &impl ConnectionTrait) -> Result<Current, DbErr> {
        let Some((id, number)) = self.newest(transaction).await? else {
            return Ok(Current::Begins { number: 1 });
        };
        let next = Current::Begins { number: number + 1 };
        // By its number, so that no row of another server is waited for.
        let row = audit_chain::Entity::find_by_id(id).lock_exclusive();
        let Some(row) = row.one(transaction).await? else {
            return Ok(next);
        };
        let why = match ChainKey::open(&row, &self.ring) {
            Ok(key) if key.is_of_head(&row) => return Ok(Current::GoesOn(Box::new((row, key)))),
            Ok(_) => "its row was changed".to_owned(),
            Err(error) => error.to_string(),
        };
        tracing::error!(
            name: "audit.chain_unusable",
            table = "ts_audit_chain",
            row = row.chain,
            why,
            "a chain of the audit cannot be gone on with: another is begun, and audit verify says more"
        );
        Ok(next)
    }

    pub(super) async fn current_id(
        &self,
        database: &impl ConnectionTrait,
    ) -> Result<Option<i64>, DbErr> {
        let newest = self.newest(database).await?;
        Ok(newest.map(|(id, _)| id))
    }

    /// Of this server's last chain the number of its row, and which of its chains that is.
    async fn newest(&self, database: &impl ConnectionTrait) -> Result<Option<(i64, i64)>, DbErr> {
        audit_chain::Entity::find()
            .select_only()
            .columns([audit_chain::Column::Id, audit_chain::Column::Number])
            .filter(audit_chain::Column::Replica.eq(self.replica.0.as_str()))
            .order_by_desc(audit_chain::Column::Number)
            .into_tuple()
            .one(database)
            .await
    }

    async fn begin(
        &self,
        transaction: &impl ConnectionTrait,
        number: i64,
        now: EpochMs,
    ) -> Result<(audit_chain::Model, ChainKey), DbErr> {
        let of = (&self.replica, number);
        let (mut row, key) = new_chain(&self.ring, of, &self.randomness, now);
        let inserted = audit_chain::Entity::insert(audit_chain::ActiveModel {
            id: NotSet,
            ..row.clone().into_active_model().reset_all()
        })
        .exec(transaction)
        .await?;
        row.id = inserted.last_insert_id;
        if let Some(note) = of_none(transaction, &row, now).await? {
            let rows = vec![note.entry(now).into_row()];
            row = append_to(transaction, row, &key, rows).await?;
        }
        Ok((row, key))
    }

    /// Seals the keys of all chains anew, with the key that seals.
    pub async fn reseal(&self, database: &impl ConnectionTrait) -> Result<Resealed, DbErr> {
        let mut counts = Resealed::default();
        for row in audit_chain::Entity::find().all(database).await? {
            if let Some(sealed) = counts.count(resealed(&row, &self.ring)) {
                audit_chain::Entity::update_many()
                    .col_expr(audit_chain::Column::SealedKey, Expr::value(sealed))
                    .filter(audit_chain::Column::Id.eq(row.id))
                    .exec(database)
                    .await?;
            }
        }
        Ok(counts)
    }
}

/// The note that there is no entry in no chain, for the first entry of a chain; none where there are
/// some, which are noted later, or where somebody has noted them.
async fn of_none(
    transaction: &impl ConnectionTrait,
    head: &audit_chain::Model,
    now: EpochMs,
) -> Result<Option<UnchainedNote>, DbErr> {
    if named_row::audit_note(transaction).await?.is_some() || earlier::any(transaction).await? {
        return Ok(None);
    }
    let place = earlier::place(&head.chain, head.seq + 1);
    let is_first = named_row::begin_audit_note(transaction, &place).await?;
    Ok(is_first.then(|| UnchainedNote::first(&head.chain, &UnchainedSum::default(), now)))
}

/// Answers the end of the chain.
async fn append_to(
    transaction: &impl ConnectionTrait,
    mut head: audit_chain::Model,
    key: &ChainKey,
    mut rows: Vec<audit::Model>,
) -> Result<audit_chain::Model, DbErr> {
    for row in &mut rows {
        head.seq += 1;
        row.chain = Some(head.chain.clone());
        row.seq = Some(head.seq);
        head.mac = key.of_entry(row, &head.mac);
        row.mac = Some(head.mac.clone());
        head.updated_at = head.updated_at.max(row.at);
        if row.action != HEADS {
            head.said_seq = head.seq;
        }
    }
    let rows = rows.into_iter().map(|row| audit::ActiveModel {
        id: NotSet,
        ..row.into_active_model().reset_all()
    });
    audit::Entity::insert_many(rows)
        .exec_without_returning(transaction)
        .await?;
    write_head(transaction, head.clone(), key).await?;
    Ok(head)
}

/// Writes where a chain begins and ends. Inside a transaction that holds its row.
pub(super) async fn write_head(
    transaction: &impl ConnectionTrait,
    mut head: audit_chain::Model,
    key: &ChainKey,
) -> Result<(), DbErr> {
    head.head_mac = key.of_head(&head);
    let id = head.id;
    let columns = audit_chain::ActiveModel {
        id: NotSet,
        // Whoever rotates sealing keys writes it.
        sealed_key: NotSet,
        ..head.into_active_model().reset_all()
    };
    audit_chain::Entity::update_many()
        .set(columns)
        .filter(audit_chain::Column::Id.eq(id))
        .exec(transaction)
        .await
        .map(|_| ())
}
