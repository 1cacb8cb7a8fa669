//! A token and its refresh token that could not be stored under their fence: one row an
//! attempt. Its sealed values were sealed for the row of the token.
//!
//! As JSON it is a file of the spool, which a later version must be able to read: a new field is an
//! `Option`.

use sea_orm::entity::prelude::*;
use serde::{Deserialize, Serialize};

use crate::{EpochMs, Sealed};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel, Serialize, Deserialize)]
#[sea_orm(table_name = "ts_candidate")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub attempt_id: String,
    pub secret_id: i64,
    /// The generation whose refresh token was used up.
    pub consumed: i64,
    /// The line of refresh tokens it belongs to.
    pub refresh_line: i64,
    // With which versions it was obtained.
    pub secret_version: i64,
    pub realm_version: i64,

    // As in the token's row.
    pub token: Sealed,
    pub token_type: Option<String>,
    pub served: Option<Sealed>,
    pub per_read: bool,
    pub extra: Option<Sealed>,
    pub expires_at: Option<EpochMs>,
    pub obtained_at: EpochMs,
    pub renew_at: Option<EpochMs>,
    pub refresh_token: Sealed,
    pub refresh_expires_at: Option<EpochMs>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
