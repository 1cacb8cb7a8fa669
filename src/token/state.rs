//! The state of a secret's token, derived from its row, never stored.

use sea_orm::{ColumnTrait, Condition};
use strum::VariantArray;
use token_server_entity::token::Column;

use crate::foundation::clock::EpochMs;
use crate::realm::failure::FailureClass;

use super::TokenRecord;

#[derive(Clone, Copy, Debug, PartialEq, Eq, VariantArray)]
pub enum State {
    /// Registered, not yet obtained.
    Pending,
    /// Valid, the last attempt went well.
    Active,
    /// Valid, and failing to renew.
    Retrying,
    /// Had a token, and it has expired.
    Expired,
    /// A human must change something; until then the provider is only probed.
    NeedsAttention,
    /// Renewal switched off by an admin.
    Paused,
    /// Typed in by an admin, never renewed.
    Fixed,
}

impl State {
    pub fn of(record: &TokenRecord, realm_is_fixed: bool, now: EpochMs) -> Self {
        let valid = record.valid(now).is_some();
        match &record.trouble {
            // Nothing is renewed: what was stored is damaged.
            Some(trouble) if realm_is_fixed && trouble.needs_attention() => Self::NeedsAttention,
            _ if realm_is_fixed => Self::Fixed,
            _ if record.paused => Self::Paused,
            Some(trouble) if trouble.needs_attention() => Self::NeedsAttention,
            Some(_) if valid => Self::Retrying,
            None if valid => Self::Active,
            Some(_) | None if record.held.is_none() => Self::Pending,
            Some(_) | None => Self::Expired,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Active => "active",
            Self::Retrying => "retrying",
            Self::Expired => "expired",
            Self::NeedsAttention => "needs_attention",
            Self::Paused => "paused",
            Self::Fixed => "fixed",
        }
    }

    pub const ALL: &'static [Self] = Self::VARIANTS;
}

/// [`super::Trouble::needs_attention`] as a condition on rows.
pub fn needs_attention() -> Condition {
    let names = FailureClass::ALL
        .iter()
        .filter(|class| class.parks())
        .flat_map(|class| [Some(class.as_str()), class.earlier_name()])
        .flatten();
    Condition::all()
        .add(Column::FailureClass.is_in(names))
        .add(Column::Probes.gt(0))
}
