//! What a change of a realm or a secret may not do beyond the rights of who makes it: send stored
//! credentials elsewhere, take the token of a secret that is not covered, or show as open what was
//! saved as secret.

use sea_orm::ConnectionTrait;
use token_server_entity::realm as realm_row;

use super::{Actor, Refusal, Registry, RegistryError};
use crate::access::scope::Scope;
use crate::foundation::ids::{RealmId, SecretId};
use crate::foundation::sealing_keys;
use crate::realm::document::{ParamRule, ProviderDocument};
use crate::realm::store::RealmContent;
use crate::realm::{Fault, Realm, Source};
use crate::secret::params::Params;
use crate::secret::{Secret, store as secrets};

/// Secrets that are read at once.
const SECRETS_AT_ONCE: u64 = 500;

/// Refuses who may not change every secret of a realm.
pub(super) fn must_change_all(by: &Actor, realm: &RealmId) -> Result<(), Refusal> {
    if by.rights.may_change_all_of(realm.as_str()) {
        return Ok(());
    }
    let scope = Scope::SecretWrite;
    Err(Refusal::Denied(format!(
        "this concerns the credentials of all secrets in the realm {realm:?}, and so needs the \
         scope {scope} for all of them",
        realm = realm.as_str()
    )))
}

impl Registry {
    /// Whether a realm may be saved so. Inside a transaction that holds the realm.
    pub(super) async fn check_rights(
        &self,
        transaction: &impl ConnectionTrait,
        id: &RealmId,
        stored: Option<&realm_row::Model>,
        merged: &RealmContent,
        (source, by): (&Source, &Actor),
    ) -> Result<(), RegistryError> {
        let is_same = |row: &realm_row::Model| {
            row.config == merged.config && row.logic_code == merged.logic_code
        };
        if stored.is_some_and(is_same) {
            return Ok(());
        }
        if let Source::Provider(document) = source {
            must_have_parent(by, document)?;
        }
        let Some(stored) = stored else { return Ok(()) };
        if !secrets::any_in(transaction, id).await? {
            return Ok(());
        }
        must_change_all(by, id)?;
        let before = Realm::from_row(stored.clone(), &self.expressions, &self.ring).ok();
        let was_open = |name: &str| {
            let rules = before.iter().flat_map(|realm| realm.source.params());
            rules
                .into_iter()
                .any(|rule| rule.name == name && is_open(rule))
        };
        let opened = source.params().iter().filter(|rule| is_open(rule));
        let opened = opened.map(|rule| rule.name.as_str());
        let opened: Vec<_> = opened.filter(|name| !was_open(name)).collect();
        match self.first_held(transaction, id, &opened).await? {
            None => Ok(()),
            Some(name) => {
                let why = format!(
                    "shows {name:?} as it is, and secrets of the realm hold values of it that \
                     were saved as secret; keep it secret, or delete these secrets first"
                );
                Err(Refusal::Faults(vec![Fault::new("/config/params", why)]).into())
            }
        }
    }

    /// The first of some parameters that a secret of the realm has, or may have.
    async fn first_held<'a>(
        &self,
        transaction: &impl ConnectionTrait,
        realm: &RealmId,
        names: &[&'a str],
    ) -> Result<Option<&'a str>, RegistryError> {
        let mut after = SecretId(i64::MIN);
        while !names.is_empty() {
            let rows = secrets::list_in_after(transaction, realm, after, SECRETS_AT_ONCE).await?;
            let Some(last) = rows.last() else { break };
            after = SecretId(last.id);
            for row in rows {
                let opened = match Secret::open(row, &self.ring) {
                    Ok(secret) => Some(secret),
                    // Nobody can show it.
                    Err(error) if sealing_keys::is_damaged(transaction, &error).await? => continue,
                    // To another server it may hold any of them.
                    Err(_) => None,
                };
                let holds = |name: &&&str| match &opened {
                    Some(secret) => secret.params.get(name).is_some(),
                    None => true,
                };
                if let Some(name) = names.iter().find(holds) {
                    return Ok(Some(name));
                }
            }
        }
        Ok(None)
    }

    /// Refuses a secret whose token would be made of the token of another that is not covered.
    pub(super) fn must_cover_parent(
        &self,
        by: &Actor,
        document: &ProviderDocument,
        params: &Params,
    ) -> Result<(), Refusal> {
        let Some((realm, key)) = self.upstream.parent_name(document, params) else {
            return Ok(());
        };
        if by.rights.covers_secret(realm.as_str(), key.as_str()) {
            return Ok(());
        }
        Err(Refusal::Denied(format!(
            "the token of the parent {realm}/{key} would be used, which this API key does not cover"
        )))
    }
}

/// Whether its value is shown as it is.
pub(super) fn is_open(rule: &ParamRule) -> bool {
    !rule.secret || rule.choices.is_some()
}

/// The tokens of a parent are sent where the document says.
fn must_have_parent(by: &Actor, document: &ProviderDocument) -> Result<(), Refusal> {
    let Some(parent) = &document.parent else {
        return Ok(());
    };
    match parent.realm.as_literal() {
        Some(realm) => must_change_all(by, &RealmId::stored(realm.to_owned())),
        // A secret decides which realm that is: it may be any.
        None => match by.rights.may_change_all() {
            true => Ok(()),
            false => Err(Refusal::Denied(format!(
                "the document leaves it to a secret whose token is sent, and so needs the scope \
                 {scope} for all realms",
                scope = Scope::SecretWrite
            ))),
        },
    }
}
