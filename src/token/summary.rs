//! All tokens together, realm by realm: how many are in which state, what ends first, and
//! what has had no valid token for how long. Read in one pass over all rows.

use sea_orm::sea_query::{CaseStatement, Expr, ExprTrait, Func, SimpleExpr};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, DbErr, EntityTrait, FromQueryResult, QueryResult,
    QuerySelect,
};
use token_server_entity::token::{Column, Entity};

use super::expiry::{NEAR_MAX, NEAR_PERCENT};
use super::listing::{in_state_of_renewed, is_valid};
use super::state::State;
use crate::foundation::clock::{EpochMs, Ms, Timeline};
use crate::foundation::ids::{RealmId, SecretId};
use crate::foundation::metrics::{REMAINING_S, Remaining};

/// Due for that long, a renewal is late.
const LATE: Ms = Ms::from_secs(60);

/// The name of the column that counts the tokens which are served.
const SERVED: &str = "served";

/// State, and whether the token is alive, where a realm is not fixed.
const RENEWED: [(State, bool); 8] = [
    (State::Pending, false),
    (State::Active, true),
    (State::Retrying, true),
    (State::Expired, false),
    (State::NeedsAttention, true),
    (State::NeedsAttention, false),
    (State::Paused, true),
    (State::Paused, false),
];

/// What the rows of a realm say, as if it was not fixed.
#[derive(Clone, Debug)]
pub struct RealmSummary {
    pub realm: RealmId,
    counts: [i64; RENEWED.len()],
    /// When the first of the tokens that are served ends; without those of paused secrets.
    pub earliest_expiry: Option<EpochMs>,
    /// When the first of the tokens that have ended did; without those of paused secrets.
    pub expired_since: Option<EpochMs>,
    /// The secret that was registered first, of those that never had a token.
    pub never_obtained: Option<SecretId>,
    /// When the first is due.
    pub due_since: Option<EpochMs>,
    /// Tokens whose renewal fails, waits or is late, and which have less life left than any
    /// renewal is planned to leave by default.
    pub dying: i64,
    /// How long the tokens that are served still live; without those of paused secrets.
    pub remaining: Remaining,
}

impl RealmSummary {
    /// How many secrets are in which state, and whether their tokens are alive; a state may
    /// come more than once.
    pub fn counts(&self, is_fixed: bool) -> impl Iterator<Item = (State, bool, i64)> {
        let of_each = RENEWED.into_iter().zip(self.counts);
        of_each.map(move |((state, alive), count)| match state {
            // Nothing of a fixed realm is renewed: what is stored is damaged.
            State::NeedsAttention => (state, alive, count),
            _ if is_fixed => (State::Fixed, alive, count),
            _ => (state, alive, count),
        })
    }
}

/// Every realm that has a secret; reads every row.
pub async fn by_realm(
    database: &impl ConnectionTrait,
    now: EpochMs,
) -> Result<Vec<RealmSummary>, DbErr> {
    let goes_on = Column::Paused.eq(false);
    let ended = Condition::all()
        .add(goes_on.clone())
        .add(Column::Token.is_not_null())
        .add(Column::ExpiresAt.lte(now));
    let never = Condition::all()
        .add(goes_on.clone())
        .add(Column::Token.is_null());
    let served = is_valid(now).add(goes_on);
    let mut query = Entity::find()
        .select_only()
        .column(Column::RealmId)
        .expr_as(count(served.clone()), SERVED)
        .expr_as(
            least(served.clone(), Column::ExpiresAt.into_expr()),
            "earliest_expiry",
        )
        .expr_as(least(ended, Column::ExpiresAt.into_expr()), "expired_since")
        .expr_as(least(never, Column::SecretId.into_expr()), "never_obtained")
        .expr_as(Column::RenewAt.min(), "due_since")
        .expr_as(count(dying(now)), "dying")
        .group_by(Column::RealmId);
    for (at, (state, alive)) in RENEWED.into_iter().enumerate() {
        // Of other states the condition of the state says it already.
        let alive = match state {
            State::NeedsAttention | State::Paused if alive => is_valid(now),
            State::NeedsAttention | State::Paused => is_ended_or_absent(now),
            _ => Condition::all(),
        };
        let in_state = in_state_of_renewed(state, now).unwrap_or_else(Condition::all);
        query = query.expr_as(count(in_state.add(alive)), name(at));
    }
    for (at, bound) in REMAINING_S.into_iter().enumerate() {
        let ends = Column::ExpiresAt.lte(now.plus(Ms::from_secs(bound)));
        query = query.expr_as(count(served.clone().add(ends)), within(at));
    }
    query.into_model::<RealmSummary>().all(database).await
}

fn name(at: usize) -> String {
    format!("state_{at}")
}

fn within(at: usize) -> String {
    format!("within_{at}")
}

fn count(what: Condition) -> SimpleExpr {
    Func::count(CaseStatement::new().case(what, 1)).into()
}

fn least(of: Condition, value: SimpleExpr) -> SimpleExpr {
    Func::min(CaseStatement::new().case(of, value)).into()
}

fn is_ended_or_absent(now: EpochMs) -> Condition {
    Condition::any()
        .add(Column::Token.is_null())
        .add(Column::ExpiresAt.lte(now))
}

fn dying(now: EpochMs) -> Condition {
    let in_trouble = Condition::any()
        .add(Column::FailureClass.is_not_null())
        .add(Column::Waiting.is_not_null())
        .add(Column::RenewAt.lt(now.minus(LATE)));
    let (left, life) = (
        Expr::col(Column::ExpiresAt).sub(now.0),
        Expr::col(Column::ExpiresAt).sub(Expr::col(Column::ObtainedAt)),
    );
    is_valid(now)
        .add(Column::Paused.eq(false))
        .add(in_trouble)
        .add(left.clone().lt(NEAR_MAX.0))
        .add(left.mul(100).lt(life.mul(NEAR_PERCENT)))
}

impl FromQueryResult for RealmSummary {
    fn from_query_result(row: &QueryResult, prefix: &str) -> Result<Self, DbErr> {
        let mut counts = [0; RENEWED.len()];
        for (at, count) in counts.iter_mut().enumerate() {
            *count = row.try_get(prefix, &name(at))?;
        }
        let mut remaining = Remaining {
            all: row.try_get(prefix, SERVED)?,
            ..Remaining::default()
        };
        for (at, count) in remaining.within.iter_mut().enumerate() {
            *count = row.try_get(prefix, &within(at))?;
        }
        let never_obtained: Option<i64> = row.try_get(prefix, "never_obtained")?;
        Ok(Self {
            realm: RealmId::stored(row.try_get(prefix, "realm_id")?),
            counts,
            earliest_expiry: row.try_get(prefix, "earliest_expiry")?,
            expired_since: row.try_get(prefix, "expired_since")?,
            never_obtained: never_obtained.map(SecretId),
            due_since: row.try_get(prefix, "due_since")?,
            dying: row.try_get(prefix, "dying")?,
            remaining,
        })
    }
}
