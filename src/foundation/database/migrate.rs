//! Brings the schema up to date, once, however many replicas start together.

use std::time::Duration;

use sea_orm::sea_query::Expr;
use sea_orm::{ActiveValue::Set, ColumnTrait, Condition, DbErr, EntityTrait, QueryFilter};
use token_server_entity::lock;
use token_server_migration::{Migrator, MigratorTrait, create_lock_table, is_empty, pending};

use super::{Database, DbError, is_duplicate};
use crate::foundation::clock::{Clock, Ms, Timeline};
use crate::foundation::ids::ReplicaId;

const LOCK: &str = "migration";
/// A holder that was killed is waited for that long.
const HOLD: Ms = Ms::from_secs(60);
const POLL: Duration = Duration::from_millis(100);

impl Database {
    /// Whether every step of the schema is in place.
    pub async fn is_migrated(&self) -> Result<bool, DbErr> {
        Ok(pending(self.reader()).await? == 0)
    }

    /// Whether no step of the schema was ever taken: nothing of a token server is there.
    pub async fn has_no_schema(&self) -> Result<bool, DbErr> {
        is_empty(self.reader()).await
    }

    /// Runs the missing steps; answers how many there were. A claimed row is the lock:
    /// it holds on every database, where `GET_LOCK` is per node on Galera.
    pub async fn migrate(&self, clock: &dyn Clock, replica: &ReplicaId) -> Result<usize, DbError> {
        if self.is_migrated().await? {
            return Ok(0);
        }
        create_lock_table(&self.writer).await?;
        self.make_lock_row(clock).await?;
        while !self.claim_migration(clock, replica).await? {
            tokio::time::sleep(POLL).await;
        }
        let run = self.run_pending().await;
        self.release_migration(clock, replica).await?;
        run
    }

    async fn run_pending(&self) -> Result<usize, DbError> {
        let pending = pending(&self.writer).await?;
        if pending > 0 {
            Migrator::up(&self.writer, None).await?;
        }
        Ok(pending)
    }

    async fn make_lock_row(&self, clock: &dyn Clock) -> Result<(), DbError> {
        let row = lock::ActiveModel {
            name: Set(LOCK.to_owned()),
            owner: Set(None),
            held_until: Set(clock.now()),
        };
        self.write_alone(|writer| {
            let row = row.clone();
            async move {
                match lock::Entity::insert(row).exec(writer).await {
                    Err(error) if !is_duplicate(&error) => Err(error),
                    _ => Ok(()),
                }
            }
        })
        .await
    }

    async fn claim_migration(
        &self,
        clock: &dyn Clock,
        replica: &ReplicaId,
    ) -> Result<bool, DbError> {
        let now = clock.now();
        let free = Condition::any()
            .add(lock::Column::Owner.is_null())
            .add(lock::Column::HeldUntil.lt(now));
        let claim = lock::Entity::update_many()
            .col_expr(lock::Column::Owner, Expr::value(replica.0.clone()))
            .col_expr(lock::Column::HeldUntil, Expr::value(now.plus(HOLD)))
            .filter(lock::Column::Name.eq(LOCK))
            .filter(free);
        let claimed = self
            .write_alone(|writer| claim.clone().exec(writer))
            .await?;
        Ok(claimed.rows_affected == 1)
    }

    async fn release_migration(
        &self,
        clock: &dyn Clock,
        replica: &ReplicaId,
    ) -> Result<(), DbError> {
        let release = lock::Entity::update_many()
            .col_expr(lock::Column::Owner, Expr::value(None::<String>))
            .col_expr(lock::Column::HeldUntil, Expr::value(clock.now()))
            .filter(lock::Column::Name.eq(LOCK))
            .filter(lock::Column::Owner.eq(replica.0.clone()));
        self.write_alone(|writer| release.clone().exec(writer))
            .await?;
        Ok(())
    }
}
