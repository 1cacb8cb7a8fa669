//! Issuers of JWTs: registered, changed and deleted, each change with its audit entry. All replicas
//! forget their callers at once.

use token_server_entity::issuer as row;

use super::changed::of_issuer;
use super::{Actor, Changed, Refusal, Registry, RegistryError, check_patterns};
use crate::access::issuer::store::{self, ISSUERS_MAX, Issuer, UnusableIssuer};
use crate::access::issuer::{IssuerName, IssuerRegistration};
use crate::feed::{self, FeedChange};
use crate::foundation::database::is_duplicate;
use crate::foundation::page::{Listed, Page};
use crate::realm::Fault;

/// A registered issuer, as it is shown.
#[derive(Debug)]
pub struct ListedIssuer {
    pub row: row::Model,
    /// Or why it lets nobody in.
    pub read: Result<IssuerRegistration, UnusableIssuer>,
}

impl Registry {
    fn listed(&self, row: row::Model) -> ListedIssuer {
        let read = Issuer::from_row(&row, &self.ring, &self.expressions);
        ListedIssuer {
            read: read.map(|issuer| issuer.registration),
            row,
        }
    }

    pub async fn list_issuers(&self, page: Page) -> Result<Listed<ListedIssuer>, RegistryError> {
        let rows = store::list(self.database.reader(), page).await?;
        Ok(rows.map(|row| self.listed(row)))
    }

    pub async fn issuer(&self, name: &IssuerName) -> Result<ListedIssuer, RegistryError> {
        let row = store::find(self.database.reader(), name).await?;
        let row = row.ok_or_else(|| Refusal::UnknownIssuer(name.to_string()))?;
        Ok(self.listed(row))
    }

    /// Registers an issuer, or puts another registration in the place of the one that is there.
    ///
    /// # Errors
    ///
    /// Where a rule gives what whoever asks has not, or for longer, it names a proxy that is not there, the issuer is registered by another name,
    /// there are too many, or the database fails.
    pub async fn save_issuer(
        &self,
        name: &IssuerName,
        registration: &IssuerRegistration,
        by: &Actor,
    ) -> Result<ListedIssuer, RegistryError> {
        let now = self.clock.now();
        check_rights(registration, by)?;
        check_rules(registration)?;
        if let Err(unknown) = self.upstream.proxies().chosen(&registration.proxy) {
            let fault = Fault::new("/proxy", unknown.to_string());
            return Err(Refusal::Faults(vec![fault]).into());
        }
        self.database
            .write(|transaction, _| {
                Box::pin(async move {
                    let ring = &self.ring;
                    let stored = store::find_locked(transaction, name).await?;
                    let taken = store::name_of(transaction, &registration.issuer).await?;
                    if let Some(taken) = taken.filter(|taken| taken != name.as_str()) {
                        return Err(Refusal::IssuerTaken(taken).into());
                    }
                    let before = stored.as_ref().map(|row| row.config.clone());
                    let saved = match stored {
                        Some(row) => {
                            let over = row.version;
                            store::update(transaction, ring, name, over, registration, now).await
                        }
                        None if store::count(transaction).await? >= ISSUERS_MAX => {
                            let why = format!(
                                "there are {ISSUERS_MAX} issuers, which is the most there may be"
                            );
                            return Err(Refusal::Faults(vec![Fault::new("", why)]).into());
                        }
                        None => {
                            let inserted =
                                store::insert(transaction, ring, name, registration, now).await;
                            inserted.map(|()| true)
                        }
                    };
                    match saved {
                        Ok(true) => {}
                        Ok(false) => return Err(Refusal::ChangedMeanwhile.into()),
                        Err(error) if is_duplicate(&error) => {
                            return Err(Refusal::ChangedMeanwhile.into());
                        }
                        Err(error) => return Err(error.into()),
                    }
                    feed::append(transaction, &[FeedChange::Keys]).await?;
                    let after = registration.to_json();
                    let changed = Changed {
                        action: "issuer.save",
                        target: name.to_string(),
                        change: of_issuer(before.as_deref(), Some(&after)),
                    };
                    self.audit_change(transaction, by, changed, now).await?;
                    Ok::<_, RegistryError>(())
                })
            })
            .await?;
        self.memory.keys_changed();
        self.issuer(name).await
    }

    pub async fn delete_issuer(&self, name: &IssuerName, by: &Actor) -> Result<(), RegistryError> {
        let now = self.clock.now();
        self.database
            .write(|transaction, _| {
                Box::pin(async move {
                    let stored = store::find_locked(transaction, name).await?;
                    let stored = stored.ok_or_else(|| Refusal::UnknownIssuer(name.to_string()))?;
                    store::delete(transaction, name).await?;
                    feed::append(transaction, &[FeedChange::Keys]).await?;
                    let changed = Changed {
                        action: "issuer.delete",
                        target: name.to_string(),
                        change: of_issuer(Some(&stored.config), None),
                    };
                    self.audit_change(transaction, by, changed, now).await?;
                    Ok::<_, RegistryError>(())
                })
            })
            .await?;
        self.memory.keys_changed();
        Ok(())
    }
}

/// Refuses rules that give more than whoever makes them has. What they cover is no question: who
/// may give access at all is limited to nothing.
fn check_rights(registration: &IssuerRegistration, by: &Actor) -> Result<(), Refusal> {
    let given = registration.rules.iter().flat_map(|rule| &rule.scopes);
    // Callers of an issuer have neither an expiry nor a rate of their own.
    if by.rights.expire_at().is_some() || by.rights.rate().is_some() {
        let why = "this API key expires or has a rate, and the callers of an issuer have neither: \
                   register it by a key that has neither";
        return Err(Refusal::Denied(why.to_owned()));
    }
    match given.into_iter().find(|scope| !by.rights.has(**scope)) {
        None => Ok(()),
        Some(scope) => Err(Refusal::Denied(format!(
            "this API key lacks the scope {scope}, and gives only what it has"
        ))),
    }
}

/// Refuses rules whose patterns hold what nobody sees.
fn check_rules(registration: &IssuerRegistration) -> Result<(), Refusal> {
    let faults = pattern_faults(registration);
    match faults.is_empty() {
        true => Ok(()),
        false => Err(Refusal::Faults(faults)),
    }
}

/// The patterns of rules that hold what nobody sees.
pub fn pattern_faults(registration: &IssuerRegistration) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (index, rule) in registration.rules.iter().enumerate() {
        check_patterns(&format!("/rules/{index}"), &rule.coverage, &mut faults);
    }
    faults
}
