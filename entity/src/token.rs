//! What a provider issued for a secret, when it is due again, and who renews it: one row a secret.

use sea_orm::entity::prelude::*;

use crate::{EpochMs, Sealed};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "ts_token")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub secret_id: i64,
    pub realm_id: String,
    pub key_name: String,

    // The stored token.
    pub token: Option<Sealed>,
    pub token_type: Option<String>,
    /// As it is served, where not as it came.
    pub served: Option<Sealed>,
    /// Whether it is rendered on each read instead.
    pub per_read: bool,
    /// Served with it: a JSON object.
    pub extra: Option<Sealed>,
    /// Absent with a token present: it never expires.
    pub expires_at: Option<EpochMs>,
    /// Rises by one with each newly stored token; 0 before the first.
    pub generation: i64,
    /// When the request that brought the stored token was sent.
    pub obtained_at: Option<EpochMs>,
    /// Authenticates the stored token: whose it is, and all of the above.
    pub mac: Option<Sealed>,

    // What renews it, where the provider issues refresh tokens.
    pub refresh_token: Option<Sealed>,
    pub refresh_expires_at: Option<EpochMs>,
    /// When the request that brought it was sent.
    pub refresh_obtained_at: Option<EpochMs>,
    /// Rises by one when the secret is given another refresh token.
    pub refresh_line: i64,

    // An attempt whose outcome never came: it may have used up the refresh token.
    pub lost_attempt: Option<String>,
    /// When it was claimed.
    pub lost_at: Option<EpochMs>,
    /// Whether somebody may still bring what it obtained.
    pub lost_awaited: bool,
    /// Whether it was not the first with this refresh token.
    pub lost_again: bool,
    /// Who made it.
    pub lost_owner: Option<String>,

    // When it is renewed.
    /// Due from then on; absent: never (paused, fixed, does not expire).
    pub renew_at: Option<EpochMs>,
    pub paused: bool,
    pub last_attempt_at: Option<EpochMs>,
    /// A refused token is being replaced: the provider must not repeat it.
    pub forced: bool,
    /// What it waits for, for humans; absent: nothing.
    pub waiting: Option<String>,
    /// The secret whose token it is derived from, while it waits for that one.
    pub waits_for: Option<i64>,

    // What went wrong since the last success.
    pub failures: i64,
    pub failing_since: Option<EpochMs>,
    pub failure_class: Option<String>,
    pub failure_detail: Option<String>,
    /// Failures in a row in which the provider refused, or the server's own configuration did.
    pub refusals: i64,
    /// When the first of them was.
    pub refused_since: Option<EpochMs>,
    /// Attempts made while a human was needed.
    pub probes: i64,
    /// What the webhook was last told of it; absent: nothing, or that it is over.
    pub announced: Option<String>,

    // The lease: who renews it now.
    pub lease_owner: Option<String>,
    pub lease_until: Option<EpochMs>,
    pub claim_id: Option<String>,
    /// Rises by one with each claim; a result is stored only under the fence it was claimed with.
    pub fence: i64,
    pub updated_at: EpochMs,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
