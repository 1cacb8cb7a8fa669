//! What another database has reserved in providers' quotas counts here, too.

use sea_orm::{ConnectionTrait, DbErr, EntityTrait};
use token_server_entity::quota::Entity;

use super::store::{lock, save};
use super::subject::Subject;
use super::window::QuotaWindow;
use crate::foundation::ids::SecretId;

/// What is reserved in one quota.
pub struct Reserved {
    subject: Subject,
    window: QuotaWindow,
}

pub async fn all(database: &impl ConnectionTrait) -> Result<Vec<Reserved>, DbErr> {
    let rows = Entity::find().all(database).await?;
    let reserved = |row: token_server_entity::quota::Model| Reserved {
        subject: Subject::stored(&row),
        window: QuotaWindow::parse(&row.reserved),
    };
    Ok(rows.into_iter().map(reserved).collect())
}

impl Reserved {
    /// The secret whose requests it counts; none: all of the realm's.
    pub fn secret(&self) -> Option<SecretId> {
        self.subject.secret()
    }

    /// The same of the secret of another number.
    pub fn of(self, secret: Option<SecretId>) -> Self {
        Self {
            subject: self.subject.of_secret(secret),
            window: self.window,
        }
    }
}

/// Counts here what is reserved there; to do it again changes nothing. Inside a transaction.
pub async fn copy(database: &impl ConnectionTrait, there: &Reserved) -> Result<bool, DbErr> {
    let mut here = lock(database, &there.subject).await?;
    let before = here.clone();
    here.count_in(&there.window);
    if here == before {
        return Ok(false);
    }
    save(database, &there.subject, &here).await?;
    Ok(true)
}
