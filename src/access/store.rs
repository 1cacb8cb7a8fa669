//! API keys in the database.

use std::num::NonZeroU32;

use sea_orm::sea_query::Expr;
use sea_orm::{
    ActiveModelTrait, ActiveValue::NotSet, ColumnTrait, Condition, ConnectionTrait, DbErr,
    EntityTrait, IntoActiveModel, Order, QueryFilter, QueryOrder, QuerySelect,
};
use secrecy::SecretString;
use token_server_entity::api_key::{self, Column, Entity};

use super::Caller;
use super::key::{KeyHash, hint};
use super::scope::Scope;
use crate::feed::{self, FeedChange};
use crate::foundation::clock::EpochMs;
use crate::foundation::database::{is_duplicate, one_page};
use crate::foundation::page::{Listed, Page};
use crate::foundation::pattern::{Coverage, patterns_of, patterns_to_text};
use crate::foundation::reauthentication::{AuthenticatedRow, reauthenticate};
use crate::foundation::sealing::{KeyRing, OpenError, Resealed, RowValues, Sealed, SealedPlace};

/// The name of the key that comes from configuration or the first start.
pub const BOOTSTRAP_NAME: &str = "bootstrap-admin";

/// A key to be made.
#[derive(Clone, Debug)]
pub struct NewKey {
    pub name: String,
    pub scopes: Vec<Scope>,
    pub coverage: Coverage,
    pub expires_at: Option<EpochMs>,
    /// Calls a second of each replica; none: what the configuration says.
    pub rate: Option<NonZeroU32>,
}

/// A key as it is listed: never the key itself.
#[derive(Clone, Debug)]
pub struct ListedKey {
    pub id: i64,
    pub name: String,
    pub hint: String,
    pub scopes: Vec<Scope>,
    pub coverage: Coverage,
    pub created_at: EpochMs,
    pub expires_at: Option<EpochMs>,
    pub revoked_at: Option<EpochMs>,
    pub rate: Option<NonZeroU32>,
    /// Whether a token server wrote it as it is; otherwise nobody is let in by it.
    pub authentic: bool,
}

/// Whether a key could be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Creation {
    Created(i64),
    NameTaken,
}

/// What there is of a key that somebody shows.
#[derive(Debug)]
pub enum FoundKey {
    /// Whose it is; how many calls are left, nobody has said yet.
    Good(Caller),
    /// Somebody else than a token server wrote or changed it: nobody is let in by it.
    NotAuthentic { id: i64, error: OpenError },
    /// Unknown, revoked or expired.
    None,
}

/// Whom a key belongs to, if it is known, authentic, not revoked and not expired.
pub async fn find_good(
    database: &impl ConnectionTrait,
    ring: &KeyRing,
    hash: &KeyHash,
    now: EpochMs,
) -> Result<FoundKey, DbErr> {
    let row = Entity::find()
        .filter(Column::Hash.eq(hash.hex()))
        .one(database)
        .await?;
    let good =
        row.filter(|row| row.revoked_at.is_none() && row.expires_at.is_none_or(|end| now < end));
    let Some(row) = good else {
        return Ok(FoundKey::None);
    };
    if let Err(error) = verify(ring, &row) {
        return Ok(FoundKey::NotAuthentic { id: row.id, error });
    }
    let key = ListedKey::from_row(row, ring);
    Ok(FoundKey::Good(Caller {
        name: key.name,
        scopes: key.scopes,
        coverage: key.coverage,
        expires_at: key.expires_at,
        rate: key.rate,
        limit: None,
    }))
}

/// The hash of the key of a name. Whether the key is good, [`find_good`] says.
pub async fn hash_of_named(
    database: &impl ConnectionTrait,
    name: &str,
) -> Result<Option<KeyHash>, DbErr> {
    let row = Entity::find()
        .filter(Column::Name.eq(name))
        .one(database)
        .await?;
    Ok(row.and_then(|row| KeyHash::from_hex(&row.hash)))
}

/// What a key may do, how often, and until when.
fn values(row: &api_key::Model) -> RowValues {
    let number = |time: Option<EpochMs>| time.map(|time| time.0);
    let values = RowValues::default()
        .text(&row.hash)
        .text(&row.scopes)
        .optional(row.realms.as_deref())
        .optional(row.secret_keys.as_deref())
        .number(Some(row.created_at.0))
        .number(number(row.expires_at))
        .number(number(row.revoked_at));
    // What was authenticated before there were rates reads as it did.
    match row.rate {
        Some(_) => values.number(row.rate),
        None => values,
    }
}

fn place(row: &api_key::Model) -> SealedPlace<'_> {
    SealedPlace {
        table: "ts_api_key",
        row: &row.name,
        column: "mac",
    }
}

pub(super) fn mac_of(ring: &KeyRing, row: &api_key::Model) -> Sealed {
    ring.authenticate(&place(row), &values(row))
}

pub fn verify(ring: &KeyRing, row: &api_key::Model) -> Result<(), OpenError> {
    ring.verify(&place(row), &values(row), row.mac.as_ref())
}

/// Authenticates every row as it is, whoever wrote it. Answers how many there are.
pub async fn authenticate_all(
    database: &impl ConnectionTrait,
    ring: &KeyRing,
) -> Result<usize, DbErr> {
    let rows = Entity::find().all(database).await?;
    for row in &rows {
        Entity::update_many()
            .col_expr(Column::Mac, Expr::value(mac_of(ring, row)))
            .filter(Column::Id.eq(row.id))
            .exec(database)
            .await?;
    }
    Ok(rows.len())
}

/// Authenticates anew, with the key that seals, what another key authenticated.
pub async fn reseal(database: &impl ConnectionTrait, ring: &KeyRing) -> Result<Resealed, DbErr> {
    reauthenticate::<Entity>(database, ring, Column::Mac, |row| AuthenticatedRow {
        place: place(row),
        values: values(row),
        mac: row.mac.as_ref(),
        is_row: Condition::all().add(Column::Id.eq(row.id)),
    })
    .await
}

/// The row of a new key, whose number the database gives.
fn new_row(ring: &KeyRing, new: &NewKey, key: &SecretString, now: EpochMs) -> api_key::Model {
    let row = api_key::Model {
        id: 0,
        name: new.name.clone(),
        hash: KeyHash::of(key).hex(),
        hint: hint(key),
        scopes: scopes_to_text(&new.scopes),
        realms: new.coverage.realms.as_deref().map(patterns_to_text),
        secret_keys: new.coverage.keys.as_deref().map(patterns_to_text),
        created_at: now,
        expires_at: new.expires_at,
        revoked_at: None,
        rate: new.rate.map(|rate| rate.get().into()),
        mac: None,
    };
    api_key::Model {
        mac: Some(mac_of(ring, &row)),
        ..row
    }
}

pub async fn create(
    database: &impl ConnectionTrait,
    ring: &KeyRing,
    new: &NewKey,
    key: &SecretString,
    now: EpochMs,
) -> Result<Creation, DbErr> {
    let row = new_row(ring, new, key, now);
    let inserted = Entity::insert(api_key::ActiveModel {
        id: NotSet,
        ..row.into_active_model().reset_all()
    })
    .exec(database)
    .await;
    match inserted {
        Ok(inserted) => Ok(Creation::Created(inserted.last_insert_id)),
        Err(error) if is_duplicate(&error) => Ok(Creation::NameTaken),
        Err(error) => Err(error),
    }
}

/// What became of the bootstrap key.
#[derive(Debug)]
pub enum Bootstrap {
    Made,
    /// Another was good until now, or had been revoked.
    Replaced,
    Unchanged,
    /// This one was revoked, and stays so.
    Revoked,
    /// Somebody else than a token server wrote or changed the row of this one, which may have been
    /// revoked: it lets nobody in.
    NotAuthentic {
        id: i64,
        error: OpenError,
    },
    /// It is an API key of another name: that would be two keys, with the rights of either.
    IsAnother {
        id: i64,
        name: String,
    },
}

/// The administrator's key, as it is made.
pub fn bootstrap() -> NewKey {
    NewKey {
        name: BOOTSTRAP_NAME.to_owned(),
        scopes: vec![Scope::TokenRead, Scope::TokenFlush, Scope::Admin],
        coverage: Coverage::default(),
        expires_at: None,
        rate: None,
    }
}

/// Makes the configured key the bootstrap key, replacing an earlier one. Inside a
/// transaction.
pub async fn set_bootstrap(
    database: &impl ConnectionTrait,
    ring: &KeyRing,
    key: &SecretString,
    now: EpochMs,
) -> Result<Bootstrap, DbErr> {
    let new = bootstrap();
    match create(database, ring, &new, key, now).await? {
        Creation::Created(_) => Ok(Bootstrap::Made),
        Creation::NameTaken => {
            replace_bootstrap(database, ring, new_row(ring, &new, key, now)).await
        }
    }
}

async fn replace_bootstrap(
    database: &impl ConnectionTrait,
    ring: &KeyRing,
    new: api_key::Model,
) -> Result<Bootstrap, DbErr> {
    // By the key: its row may have been renamed.
    let same = Entity::find().filter(Column::Hash.eq(new.hash.as_str()));
    if let Some(stored) = same.one(database).await? {
        if let Err(error) = verify(ring, &stored) {
            let id = stored.id;
            return Ok(Bootstrap::NotAuthentic { id, error });
        }
        if stored.name == BOOTSTRAP_NAME {
            return Ok(match stored.revoked_at {
                None => Bootstrap::Unchanged,
                Some(_) => Bootstrap::Revoked,
            });
        }
        let (id, name) = (stored.id, stored.name);
        return Ok(Bootstrap::IsAnother { id, name });
    }
    feed::append(database, &[FeedChange::Keys]).await?;
    Entity::update_many()
        .set(api_key::ActiveModel {
            id: NotSet,
            name: NotSet,
            ..new.into_active_model().reset_all()
        })
        .filter(Column::Name.eq(BOOTSTRAP_NAME))
        .exec(database)
        .await
        .map(|_| Bootstrap::Replaced)
}

/// Whether anyone can administer this server.
pub async fn has_admin(
    database: &impl ConnectionTrait,
    ring: &KeyRing,
    now: EpochMs,
) -> Result<bool, DbErr> {
    let unexpired = Condition::any()
        .add(Column::ExpiresAt.is_null())
        .add(Column::ExpiresAt.gt(now));
    let rows = Entity::find()
        .filter(Column::RevokedAt.is_null())
        .filter(unexpired)
        .all(database)
        .await?;
    let mut keys = rows.into_iter().map(|row| ListedKey::from_row(row, ring));
    Ok(keys.any(|key| {
        let is_admin = key.scopes.contains(&Scope::Admin) && key.coverage.is_everything();
        key.authentic && is_admin
    }))
}

/// Newest first.
pub async fn list(
    database: &impl ConnectionTrait,
    ring: &KeyRing,
    page: Page,
) -> Result<Listed<ListedKey>, DbErr> {
    let newest_first = Entity::find().order_by(Column::Id, Order::Desc);
    let rows = one_page(database, newest_first, page).await?;
    Ok(rows.map(|row| ListedKey::from_row(row, ring)))
}

/// Answers the key as it was; none where there is no such key, or it is revoked already. Inside a
/// transaction.
pub async fn revoke(
    database: &impl ConnectionTrait,
    ring: &KeyRing,
    id: i64,
    now: EpochMs,
) -> Result<Option<ListedKey>, DbErr> {
    let good = Entity::find_by_id(id).filter(Column::RevokedAt.is_null());
    let Some(row) = good.lock_exclusive().one(database).await? else {
        return Ok(None);
    };
    let key = ListedKey::from_row(row.clone(), ring);
    // Whoever wrote it: it is good for nothing from now on.
    let row = api_key::Model {
        revoked_at: Some(now),
        ..row
    };
    Entity::update_many()
        .col_expr(Column::RevokedAt, Expr::value(now))
        .col_expr(Column::Mac, Expr::value(mac_of(ring, &row)))
        .filter(Column::Id.eq(id))
        .exec(database)
        .await?;
    feed::append(database, &[FeedChange::Keys]).await?;
    Ok(Some(key))
}

impl ListedKey {
    fn from_row(row: api_key::Model, ring: &KeyRing) -> Self {
        Self {
            authentic: verify(ring, &row).is_ok(),
            id: row.id,
            name: row.name,
            hint: row.hint,
            scopes: row.scopes.split(',').filter_map(Scope::parse).collect(),
            coverage: Coverage {
                realms: row.realms.as_deref().map(patterns_of),
                keys: row.secret_keys.as_deref().map(patterns_of),
            },
            created_at: row.created_at,
            expires_at: row.expires_at,
            revoked_at: row.revoked_at,
            rate: row.rate.map(rate_of),
        }
    }
}

/// The least where it is none that can be: it was stored, so the key is limited.
fn rate_of(stored: i64) -> NonZeroU32 {
    let rate = u32::try_from(stored).ok().and_then(NonZeroU32::new);
    rate.unwrap_or(NonZeroU32::MIN)
}

fn scopes_to_text(scopes: &[Scope]) -> String {
    let names: Vec<_> = scopes.iter().map(|scope| scope.as_str()).collect();
    names.join(",")
}
