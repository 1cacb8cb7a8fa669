//! API keys in the database.

use sea_orm::sea_query::Expr;
use sea_orm::{
    ActiveValue::{NotSet, Set},
    ColumnTrait, Condition, ConnectionTrait, DbErr, EntityTrait, Order, QueryFilter, QueryOrder,
};
use secrecy::SecretString;
use token_server_entity::api_key::{self, Column, Entity};

use super::Caller;
use super::key::{KeyHash, hint};
use super::scope::{Pattern, Scope};
use crate::feed::{self, FeedChange};
use crate::foundation::clock::EpochMs;
use crate::foundation::database::{is_duplicate, one_page};
use crate::foundation::page::{Listed, Page};

/// The name of the key that comes from configuration or the first start.
pub const BOOTSTRAP_NAME: &str = "bootstrap-admin";

/// A key to be made.
#[derive(Clone, Debug)]
pub struct NewKey {
    pub name: String,
    pub scopes: Vec<Scope>,
    pub realms: Option<Vec<Pattern>>,
    pub secret_keys: Option<Vec<Pattern>>,
    pub expires_at: Option<EpochMs>,
}

/// A key as it is listed: never the key itself.
#[derive(Clone, Debug)]
pub struct ListedKey {
    pub id: i64,
    pub name: String,
    pub hint: String,
    pub scopes: Vec<Scope>,
    pub realms: Option<Vec<Pattern>>,
    pub secret_keys: Option<Vec<Pattern>>,
    pub created_at: EpochMs,
    pub expires_at: Option<EpochMs>,
    pub revoked_at: Option<EpochMs>,
}

/// Whether a key could be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Creation {
    Created(i64),
    NameTaken,
}

/// A key that was recognised.
#[derive(Clone, Debug)]
pub struct KnownKey {
    pub caller: Caller,
    pub expires_at: Option<EpochMs>,
}

/// Whom a key belongs to, if it is known, not revoked and not expired.
pub async fn find_good(
    database: &impl ConnectionTrait,
    hash: &KeyHash,
    now: EpochMs,
) -> Result<Option<KnownKey>, DbErr> {
    let row = Entity::find()
        .filter(Column::Hash.eq(hash.hex()))
        .one(database)
        .await?;
    let good =
        row.filter(|row| row.revoked_at.is_none() && row.expires_at.is_none_or(|end| now < end));
    Ok(good.map(|row| {
        let key = ListedKey::from_row(row);
        KnownKey {
            caller: Caller {
                name: key.name,
                scopes: key.scopes,
                realms: key.realms,
                secret_keys: key.secret_keys,
            },
            expires_at: key.expires_at,
        }
    }))
}

pub async fn create(
    database: &impl ConnectionTrait,
    new: &NewKey,
    key: &SecretString,
    now: EpochMs,
) -> Result<Creation, DbErr> {
    let inserted = Entity::insert(api_key::ActiveModel {
        id: NotSet,
        name: Set(new.name.clone()),
        hash: Set(KeyHash::of(key).hex()),
        hint: Set(hint(key)),
        scopes: Set(scopes_to_text(&new.scopes)),
        realms: Set(patterns_to_text(new.realms.as_deref())),
        secret_keys: Set(patterns_to_text(new.secret_keys.as_deref())),
        created_at: Set(now),
        expires_at: Set(new.expires_at),
        revoked_at: Set(None),
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bootstrap {
    Made,
    /// Another was good until now, or had been revoked.
    Replaced,
    Unchanged,
}

/// Makes the configured key the bootstrap key, replacing an earlier one. Inside a
/// transaction.
pub async fn set_bootstrap(
    database: &impl ConnectionTrait,
    key: &SecretString,
    now: EpochMs,
) -> Result<Bootstrap, DbErr> {
    let new = NewKey {
        name: BOOTSTRAP_NAME.to_owned(),
        scopes: Scope::ALL.to_vec(),
        realms: None,
        secret_keys: None,
        expires_at: None,
    };
    match create(database, &new, key, now).await? {
        Creation::Created(_) => Ok(Bootstrap::Made),
        Creation::NameTaken => replace_bootstrap(database, key).await,
    }
}

async fn replace_bootstrap(
    database: &impl ConnectionTrait,
    key: &SecretString,
) -> Result<Bootstrap, DbErr> {
    let (hash, hint) = (KeyHash::of(key).hex(), hint(key));
    let named = Column::Name.eq(BOOTSTRAP_NAME);
    let same = Condition::all()
        .add(named.clone())
        .add(Column::Hash.eq(hash.as_str()))
        .add(Column::RevokedAt.is_null());
    if Entity::find().filter(same).one(database).await?.is_some() {
        return Ok(Bootstrap::Unchanged);
    }
    feed::append(database, &[FeedChange::Keys]).await?;
    Entity::update_many()
        .col_expr(Column::Hash, Expr::value(hash))
        .col_expr(Column::Hint, Expr::value(hint))
        .col_expr(Column::RevokedAt, Expr::value(None::<EpochMs>))
        .filter(named)
        .exec(database)
        .await
        .map(|_| Bootstrap::Replaced)
}

/// Whether anyone can administer this server.
pub async fn has_admin(database: &impl ConnectionTrait, now: EpochMs) -> Result<bool, DbErr> {
    let unexpired = Condition::any()
        .add(Column::ExpiresAt.is_null())
        .add(Column::ExpiresAt.gt(now));
    let rows = Entity::find()
        .filter(Column::RevokedAt.is_null())
        .filter(unexpired)
        .all(database)
        .await?;
    Ok(rows
        .into_iter()
        .any(|row| ListedKey::from_row(row).scopes.contains(&Scope::Admin)))
}

/// Newest first.
pub async fn list(database: &impl ConnectionTrait, page: Page) -> Result<Listed<ListedKey>, DbErr> {
    let newest_first = Entity::find().order_by(Column::Id, Order::Desc);
    let rows = one_page(database, newest_first, page).await?;
    Ok(rows.map(ListedKey::from_row))
}

/// False where there is no such key, or it is revoked already. Inside a transaction.
pub async fn revoke(database: &impl ConnectionTrait, id: i64, now: EpochMs) -> Result<bool, DbErr> {
    let revoked = Entity::update_many()
        .col_expr(Column::RevokedAt, Expr::value(now))
        .filter(Column::Id.eq(id))
        .filter(Column::RevokedAt.is_null())
        .exec(database)
        .await?;
    if revoked.rows_affected == 0 {
        return Ok(false);
    }
    feed::append(database, &[FeedChange::Keys]).await?;
    Ok(true)
}

impl ListedKey {
    fn from_row(row: api_key::Model) -> Self {
        Self {
            id: row.id,
            name: row.name,
            hint: row.hint,
            scopes: row.scopes.split(',').filter_map(Scope::parse).collect(),
            realms: row.realms.as_deref().map(patterns_of),
            secret_keys: row.secret_keys.as_deref().map(patterns_of),
            created_at: row.created_at,
            expires_at: row.expires_at,
            revoked_at: row.revoked_at,
        }
    }
}

fn scopes_to_text(scopes: &[Scope]) -> String {
    let names: Vec<_> = scopes.iter().map(|scope| scope.as_str()).collect();
    names.join(",")
}

fn patterns_to_text(patterns: Option<&[Pattern]>) -> Option<String> {
    let texts: Vec<_> = patterns?.iter().map(Pattern::as_str).collect();
    Some(serde_json::json!(texts).to_string())
}

/// A list that cannot be read covers nothing.
fn patterns_of(text: &str) -> Vec<Pattern> {
    let texts: Vec<String> = serde_json::from_str(text).unwrap_or_default();
    texts.into_iter().map(Pattern::new).collect()
}
