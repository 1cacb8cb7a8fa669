//! What is kept beside secrets: tickets, the history, generations of deleted secrets, quotas.

use token_server_entity::ticket;

use super::{CountedRows, Move, MoveError, Name};
use crate::foundation::ids::RealmId;
use crate::registry::Imported;
use crate::renewal::history;
use crate::renewal::quota::copying as quotas;
use crate::ticket::store::{self as tickets, NewTicket};
use crate::token::retired;

const PAGE: u64 = 500;
/// So many attempts before the last are read again: numbers become visible out of order.
const READ_AGAIN: i64 = 1000;

impl Move<'_> {
    /// What is kept beside secrets; nothing of it is due.
    pub(super) async fn beside(&mut self) -> Result<(), MoveError> {
        let rows = self.there(tickets::all(self.source.database.causal()).await)?;
        for row in rows {
            self.ticket(row).await?;
        }
        self.attempts().await?;
        self.generations().await?;
        self.reserved().await
    }

    async fn ticket(&mut self, row: ticket::Model) -> Result<(), MoveError> {
        let name = Name::Ticket {
            realm: row.realm_id.clone(),
            application: row.app_id.clone(),
        };
        let realm = RealmId::stored(row.realm_id);
        let opened = crate::ticket::open(&realm, &row.app_id, &row.value, &self.source.ring);
        let value = match opened {
            Ok(value) => value,
            Err(error) => {
                self.accounts.refuse(name, error.to_string());
                return Ok(());
            }
        };
        let ticket = &NewTicket {
            value: crate::ticket::seal(&realm, &row.app_id, &value, &self.target.ring),
            realm,
            app_id: row.app_id,
            sent_at: row.sent_at,
            received_at: row.received_at,
            expires_at: row.expires_at,
        };
        let outcome = written!(self, |transaction, _this| {
            let here = tickets::sent_at(transaction, &ticket.realm, &ticket.app_id).await?;
            Ok(match here >= Some(ticket.sent_at) {
                true => Imported::Unchanged,
                false => {
                    tickets::store(transaction, ticket).await?;
                    Imported::Taken
                }
            })
        })?;
        self.came_of(name, outcome, Vec::new());
        Ok(())
    }

    async fn attempts(&mut self) -> Result<(), MoveError> {
        let mut after = self.history.saturating_sub(READ_AGAIN);
        loop {
            let page = history::after(self.source.database.causal(), after, PAGE).await;
            let page = &self.there(page)?;
            let Some(last) = page.last() else { break };
            let appended = written!(self, |transaction, _this| {
                Ok(history::append_missing(transaction, page).await?)
            })?;
            let met_before = page.iter().filter(|row| row.id <= self.history).count();
            count(
                &mut self.accounts.attempts,
                appended,
                page.len() - met_before,
            );
            after = last.id;
            self.history = self.history.max(after);
        }
        Ok(())
    }

    async fn generations(&mut self) -> Result<(), MoveError> {
        let (mut after, mut counted) = (i64::MIN, CountedRows::default());
        loop {
            let page = retired::after(self.source.database.causal(), after, PAGE).await;
            let page = self.there(page)?;
            let Some(last) = page.last() else { break };
            after = last.id;
            for row in &page {
                let is_new = written!(self, |transaction, _this| {
                    Ok(retired::put(transaction, row).await?)
                })?;
                count(&mut counted, usize::from(is_new), 1);
            }
        }
        add(&mut self.accounts.generations, counted);
        Ok(())
    }

    async fn reserved(&mut self) -> Result<(), MoveError> {
        let rows = self.there(quotas::all(self.source.database.causal()).await)?;
        let mut counted = CountedRows::default();
        for row in rows {
            let here = match row.secret() {
                None => None,
                Some(there) => {
                    let known = self.secrets.get(&there);
                    let Some(here) = known.and_then(|known| known.here) else {
                        continue;
                    };
                    Some(here)
                }
            };
            let row = &row.of(here);
            let is_new = written!(self, |transaction, _this| {
                Ok(quotas::copy(transaction, row).await?)
            })?;
            count(&mut counted, usize::from(is_new), 1);
        }
        add(&mut self.accounts.quotas, counted);
        Ok(())
    }
}

/// Notes rows of which some were taken.
fn count(counted: &mut CountedRows, taken: usize, of: usize) {
    let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    counted.taken += number(taken);
    counted.unchanged += number(of.saturating_sub(taken));
}

/// The last look says how many there are; what was taken by one before stays taken.
fn add(counted: &mut CountedRows, looked: CountedRows) {
    let taken = counted.taken + looked.taken;
    let all = looked.taken + looked.unchanged;
    *counted = CountedRows {
        taken,
        unchanged: all.saturating_sub(taken),
    };
}
