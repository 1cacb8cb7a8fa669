//! Issuers in the database. Each row is authenticated: nobody else says whose tokens are let in,
//! and for what.

use std::sync::Arc;

use sea_orm::sea_query::OnConflict;
use sea_orm::{
    ActiveModelTrait, ActiveValue::Set, ColumnTrait, Condition, ConnectionTrait, DbErr,
    EntityTrait, IntoActiveModel, Iterable, Order, PaginatorTrait, QueryFilter, QueryOrder,
    QuerySelect,
};
use token_server_entity::issuer::{self, Column, Entity};

use super::name::IssuerName;
use super::reading;
use super::registration::IssuerRegistration;
use crate::feed::{self, FeedChange};
use crate::foundation::clock::EpochMs;
use crate::foundation::database::one_page;
use crate::foundation::fields::{Faults, Fields};
use crate::foundation::page::{Listed, Page};
use crate::foundation::reauthentication::{AuthenticatedRow, reauthenticate};
use crate::foundation::sealing::{KeyRing, OpenError, Resealed, RowValues, Sealed, SealedPlace};
use crate::realm::expression::Expressions;

/// The most issuers that are registered.
pub const ISSUERS_MAX: u64 = 100;

/// An issuer whose tokens are let in.
#[derive(Clone, Debug)]
pub struct Issuer {
    pub name: IssuerName,
    pub registration: IssuerRegistration,
}

/// Why a stored issuer lets nobody in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnusableIssuer {
    /// Somebody else than a token server wrote it, or the key is not here.
    #[error("{0}")]
    NotAuthentic(OpenError),
    /// It is one of a newer version.
    #[error("its registration is not one that this version of the server can read")]
    Unreadable,
}

impl Issuer {
    pub fn from_row(
        row: &issuer::Model,
        ring: &KeyRing,
        expressions: &Arc<Expressions>,
    ) -> Result<Self, UnusableIssuer> {
        verify(ring, row).map_err(UnusableIssuer::NotAuthentic)?;
        let config = serde_json::from_str(&row.config).map_err(|_| UnusableIssuer::Unreadable)?;
        let faults = Faults::default();
        let read =
            Fields::of(&config, "", &faults).and_then(|fields| reading::read(fields, expressions));
        let (registration, _) = faults.judge(read).map_err(|_| UnusableIssuer::Unreadable)?;
        Ok(Self {
            name: IssuerName::stored(row.name.clone()),
            registration,
        })
    }
}

fn place(name: &str) -> SealedPlace<'_> {
    SealedPlace {
        table: "ts_issuer",
        row: name,
        column: "mac",
    }
}

fn values(issuer: &str, config: &str, version: i64) -> RowValues {
    let values = RowValues::default().number(Some(version));
    values.text(issuer).text(config)
}

fn verify(ring: &KeyRing, row: &issuer::Model) -> Result<(), OpenError> {
    let values = values(&row.issuer, &row.config, row.version);
    ring.verify(&place(&row.name), &values, row.mac.as_ref())
}

fn mac_of(
    ring: &KeyRing,
    name: &IssuerName,
    (issuer, config): (&str, &str),
    version: i64,
) -> Sealed {
    ring.authenticate(&place(name.as_str()), &values(issuer, config, version))
}

/// Authenticates anew, with the key that seals, what another key authenticated.
pub async fn reseal(database: &impl ConnectionTrait, ring: &KeyRing) -> Result<Resealed, DbErr> {
    reauthenticate::<Entity>(database, ring, Column::Mac, |row| AuthenticatedRow {
        place: place(&row.name),
        values: values(&row.issuer, &row.config, row.version),
        mac: row.mac.as_ref(),
        is_row: Condition::all()
            .add(Column::Name.eq(row.name.as_str()))
            .add(Column::Version.eq(row.version)),
    })
    .await
}

/// All there are, by name. Somebody who writes to the database makes them no more than these.
pub async fn all(database: &impl ConnectionTrait) -> Result<Vec<issuer::Model>, DbErr> {
    Entity::find()
        .order_by(Column::Name, Order::Asc)
        .limit(ISSUERS_MAX)
        .all(database)
        .await
}

pub async fn list(
    database: &impl ConnectionTrait,
    page: Page,
) -> Result<Listed<issuer::Model>, DbErr> {
    one_page(
        database,
        Entity::find().order_by(Column::Name, Order::Asc),
        page,
    )
    .await
}

pub async fn count(database: &impl ConnectionTrait) -> Result<u64, DbErr> {
    Entity::find().count(database).await
}

pub async fn find(
    database: &impl ConnectionTrait,
    name: &IssuerName,
) -> Result<Option<issuer::Model>, DbErr> {
    Entity::find_by_id(name.as_str()).one(database).await
}

/// Finds one and keeps it from being changed or deleted until the transaction ends.
pub async fn find_locked(
    database: &impl ConnectionTrait,
    name: &IssuerName,
) -> Result<Option<issuer::Model>, DbErr> {
    Entity::find_by_id(name.as_str())
        .lock_exclusive()
        .one(database)
        .await
}

/// The name under which the tokens of an issuer are registered.
pub async fn name_of(
    database: &impl ConnectionTrait,
    issuer: &str,
) -> Result<Option<String>, DbErr> {
    let row = Entity::find().filter(Column::Issuer.eq(issuer));
    Ok(row.one(database).await?.map(|row| row.name))
}

pub async fn insert(
    database: &impl ConnectionTrait,
    ring: &KeyRing,
    name: &IssuerName,
    registration: &IssuerRegistration,
    now: EpochMs,
) -> Result<(), DbErr> {
    let config = registration.to_json().to_string();
    let mac = mac_of(ring, name, (&registration.issuer, &config), 1);
    Entity::insert(issuer::ActiveModel {
        name: Set(name.as_str().to_owned()),
        issuer: Set(registration.issuer.clone()),
        config: Set(config),
        version: Set(1),
        created_at: Set(now),
        updated_at: Set(now),
        mac: Set(Some(mac)),
    })
    .exec_without_returning(database)
    .await
    .map(|_| ())
}

/// Writes over a version; false where another change came first.
pub async fn update(
    database: &impl ConnectionTrait,
    ring: &KeyRing,
    name: &IssuerName,
    over: i64,
    registration: &IssuerRegistration,
    now: EpochMs,
) -> Result<bool, DbErr> {
    let config = registration.to_json().to_string();
    let version = over.saturating_add(1);
    let mac = mac_of(ring, name, (&registration.issuer, &config), version);
    let updated = Entity::update_many()
        .set(issuer::ActiveModel {
            issuer: Set(registration.issuer.clone()),
            config: Set(config),
            version: Set(version),
            updated_at: Set(now),
            mac: Set(Some(mac)),
            ..Default::default()
        })
        .filter(Column::Name.eq(name.as_str()))
        .filter(Column::Version.eq(over))
        .exec(database)
        .await?;
    Ok(updated.rows_affected == 1)
}

pub async fn delete(database: &impl ConnectionTrait, name: &IssuerName) -> Result<(), DbErr> {
    let deleted = Entity::delete_by_id(name.as_str()).exec(database).await;
    deleted.map(|_| ())
}

/// Whether a server with one of these keys wrote a row.
pub fn is_authentic(ring: &KeyRing, row: &issuer::Model) -> Result<(), OpenError> {
    verify(ring, row)
}

/// Writes the row of another database over one that may be here.
pub async fn copy(
    database: &impl ConnectionTrait,
    ring: &KeyRing,
    there: &issuer::Model,
) -> Result<(), DbErr> {
    let name = IssuerName::stored(there.name.clone());
    let row = issuer::Model {
        mac: Some(mac_of(
            ring,
            &name,
            (&there.issuer, &there.config),
            there.version,
        )),
        ..there.clone()
    };
    let columns = Column::iter().filter(|column| !matches!(column, Column::Name));
    let replaces = OnConflict::column(Column::Name)
        .update_columns(columns)
        .to_owned();
    Entity::insert(row.into_active_model().reset_all())
        .on_conflict(replaces)
        .exec_without_returning(database)
        .await?;
    feed::append(database, &[FeedChange::Keys]).await
}
