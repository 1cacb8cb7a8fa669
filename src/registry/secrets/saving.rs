//! Saving a secret: what was sent is merged, checked, stored, and made due.

use sea_orm::ConnectionTrait;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use token_server_entity::realm;

use super::{ListedSecret, target};
use crate::access::audit::Change;
use crate::feed::{self, FeedChange};
use crate::foundation::clock::EpochMs;
use crate::foundation::database::is_duplicate;
use crate::realm::document::REFRESH_TOKEN;
use crate::realm::store as realms;
use crate::realm::{Fault, Realm, Source};
use crate::registry::changed::{of_params, of_token};
use crate::registry::damaged::{Found, faults_of_lost};
use crate::registry::patch::{SecretPatch, SentParam, TokenOrigin};
use crate::registry::{Actor, EXPIRES_AT, Refusal, Registry, RegistryError};
use crate::registry::{Changed, check_expiry, check_new_name, pointer_of, values};
use crate::secret::params::{ParamChange, Params, looks_like_mask};
use crate::secret::{Secret, store};
use crate::token::expiry::schedule;
use crate::token::{SealedPart, TokenRecord, Trouble, seal};
use crate::token::{removal, store as tokens};

/// Where a fixed token stands in a request, for faults.
const TOKEN: &str = "/token";

impl Registry {
    /// Makes or merges a secret. Changed parameters make renewal due now; the old token
    /// is served until it succeeds.
    pub async fn save_secret(
        &self,
        patch: SecretPatch,
        by: &Actor,
    ) -> Result<ListedSecret, RegistryError> {
        let now = self.clock.now();
        let patch = &patch;
        self.database
            .write(|transaction, _| Box::pin(self.merge_secret(transaction, patch, by, now)))
            .await?;
        self.wake.notify_one();
        let mut listed = self.secret(&patch.realm, &patch.key).await?;
        self.memory.changed(listed.record.secret_id);
        for warning in &mut listed.warnings {
            // Where it stood in the request.
            let mut sent = patch.params.iter();
            if let Some(sent) = sent.find(|sent| pointer_of(&sent.name) == warning.pointer) {
                warning.pointer.clone_from(&sent.pointer);
            }
        }
        let token = patch.token.as_ref();
        listed
            .warnings
            .extend(token.and_then(|new| values::token_warning(&new.token)));
        Ok(listed)
    }

    pub(in crate::registry) async fn merge_secret(
        &self,
        transaction: &impl ConnectionTrait,
        patch: &SecretPatch,
        by: &Actor,
        now: EpochMs,
    ) -> Result<(), RegistryError> {
        let realm = realms::find_locked(transaction, &patch.realm).await?;
        let checked = self.check_secret(transaction, realm, patch, (by, now));
        let CheckedSecret {
            source,
            record,
            stored,
            lost,
            params,
            changed,
            shown: (params_before, params_after),
        } = checked.await?;
        let refresh_token = |params: &Params| {
            let value = params.get(REFRESH_TOKEN);
            value.map(|value| value.expose_secret().to_owned())
        };
        let first_refresh_token = stored
            .as_ref()
            .and_then(|secret| refresh_token(&secret.params));
        let by_now = (&*self.ring, now);
        let troubled = record.as_ref().and_then(|record| record.trouble.as_ref());
        // Where a human is needed, the cause may have been mended elsewhere: at the provider, in
        // a proxy.
        let needs_attention = troubled.is_some_and(Trouble::needs_attention);
        let wakes = stored.is_some() && (changed || lost || needs_attention);
        let (id, another_refresh_token) = match stored {
            Some(secret) => {
                let mut another = false;
                if changed || lost {
                    if !store::update(transaction, &secret, &params, by_now).await? {
                        return Err(Refusal::ChangedMeanwhile.into());
                    }
                    another = match (&record, lost) {
                        (Some(record), true) => {
                            refresh_token(&params).is_some()
                                && self.refresh_is_lost(transaction, record, now).await?
                        }
                        _ => refresh_token(&params) != first_refresh_token,
                    };
                }
                (secret.id, another)
            }
            None => {
                let inserted =
                    store::insert(transaction, &patch.realm, &patch.key, &params, by_now).await;
                let id = match inserted {
                    Err(error) if is_duplicate(&error) => {
                        return Err(Refusal::ChangedMeanwhile.into());
                    }
                    other => other?,
                };
                let due = (!source.is_fixed()).then_some(now);
                tokens::insert(transaction, id, &patch.realm, &patch.key, due, now).await?;
                (id, false)
            }
        };
        if wakes && !source.is_fixed() {
            tokens::wake(transaction, id, now).await?;
        }
        if another_refresh_token {
            removal::forget_refresh(transaction, id).await?;
        }
        if let Some(new) = &patch.token {
            let sealed = seal(id, SealedPart::Token, &new.token, &self.ring);
            let ring = &self.ring;
            let renew_at = match new.expires_at {
                _ if source.is_fixed() => None,
                Some(end) => {
                    let policy = source.policy();
                    Some(schedule(now, end, &policy, true, &self.randomness).renew_at)
                }
                None => Some(now),
            };
            let end = new.expires_at;
            tokens::store_given(transaction, id, sealed, end, renew_at, ring, now).await?;
        }
        if let Some(before) = &record
            && source.is_fixed()
            && (lost || patch.token.is_some())
        {
            self.fixed_recovered(transaction, before, now).await?;
        }
        let fixed_token = |expires_at| patch.token.as_ref().map(|_| of_token(expires_at));
        let held = record.as_ref().and_then(|record| record.held.as_ref());
        let token_before = held.and_then(|held| fixed_token(held.payload.expiry.at()));
        let token_after = patch.token.as_ref().map(|new| of_token(new.expires_at));
        let shown = |params, token| match token {
            Some(token) => json!({"params": params, "token": token}),
            None => json!({"params": params}),
        };
        feed::append(transaction, &[FeedChange::State(id)]).await?;
        let changed = Changed {
            action: "secret.save",
            target: target(&patch.realm, &patch.key),
            change: Change {
                before: params_before.map(|params| shown(params, token_before)),
                after: Some(shown(params_after, token_after)),
            },
        };
        self.audit_change(transaction, by, changed, now).await?;
        Ok(())
    }
    /// What a secret would be, where it may be saved so.
    pub(in crate::registry) async fn check_secret(
        &self,
        database: &impl ConnectionTrait,
        realm: Option<realm::Model>,
        patch: &SecretPatch,
        (by, now): (&Actor, EpochMs),
    ) -> Result<CheckedSecret, RegistryError> {
        let realm = realm.ok_or_else(|| Refusal::UnknownRealm(patch.realm.to_string()))?;
        let realm = Realm::from_row(realm, &self.expressions, &self.ring).map_err(Refusal::from)?;
        let source = realm.source;
        if let Some(new) = &patch.token {
            if new.origin == TokenOrigin::TypedIn && !source.is_fixed() {
                return Err(Refusal::NotFixed.into());
            }
            if new.origin == TokenOrigin::TypedIn && looks_like_mask(new.token.expose_secret()) {
                let fault = Fault::new(TOKEN, values::MASKED);
                return Err(Refusal::Faults(vec![fault]).into());
            }
            check_expiry(new.expires_at, now)?;
            if new.expires_at.is_none() && !source.allows_endless() {
                let why = "is missing: the realm is not one of tokens that never expire";
                return Err(Refusal::Faults(vec![Fault::new(EXPIRES_AT, why)]).into());
            }
        }
        let stored = store::find(database, &patch.realm, &patch.key).await?;
        let record = tokens::find(database, &patch.realm, &patch.key).await?;
        let (stored, lost) = match stored {
            None => (None, false),
            Some(row) => match self.found(database, row).await? {
                Found::Open(secret) => (Some(secret), false),
                Found::Lost(secret) => (Some(secret), true),
            },
        };
        let mut params = stored
            .as_ref()
            .map_or_else(Params::default, |secret| secret.params.clone());
        let sent = patch.params.iter();
        let changed = params.merge(sent.map(|sent| (sent.name.clone(), sent.change.clone())));
        let before = stored.as_ref().map(|secret| &secret.params);
        let shown = of_params(&source, before, &params);
        let mut faults = check_params(&patch.params, before, &params, &source);
        if lost {
            faults = faults_of_lost(&patch.params, &source, faults);
        }
        if !faults.is_empty() {
            return Err(Refusal::Faults(faults).into());
        }
        if let Source::Provider(document) = &source
            && let Some(why) = self
                .faulty_chain(database, &patch.realm, &patch.key, document, &params)
                .await?
        {
            return Err(Refusal::Faults(vec![Fault::new("/params", why)]).into());
        }
        if let Source::Provider(document) = &source
            && (changed || lost || stored.is_none())
        {
            self.must_cover_parent(by, document, &params)?;
        }
        if stored.is_none() {
            check_new_name("/key", patch.key.as_str())?;
        }
        Ok(CheckedSecret {
            source,
            record,
            stored,
            lost,
            params,
            changed,
            shown,
        })
    }
}

/// A secret that may be saved.
pub(in crate::registry) struct CheckedSecret {
    pub source: Source,
    pub record: Option<TokenRecord>,
    pub stored: Option<Secret>,
    /// Its stored parameters are damaged.
    pub lost: bool,
    /// All that it would have.
    pub params: Params,
    /// Whether these are others than the stored ones.
    pub changed: bool,
    /// Those that differ, before and after, for the audit.
    shown: (Option<Value>, Value),
}

/// Names that the realm does not know, values that are too long, values that are missing.
fn check_params(
    sent: &[SentParam],
    before: Option<&Params>,
    merged: &Params,
    source: &Source,
) -> Vec<Fault> {
    let rules = source.params();
    let mut faults = Vec::new();
    for param in sent {
        if !rules.iter().any(|rule| rule.name == param.name) {
            let known: Vec<_> = rules.iter().map(|rule| rule.name.as_str()).collect();
            let known = known.join(", ");
            let detail = format!("is not a parameter of this realm; known are {known}");
            faults.push(Fault::new(&param.pointer, detail));
        }
        let is = |kept: &SecretString, value: &SecretString| {
            kept.expose_secret() == value.expose_secret()
        };
        if let ParamChange::Set(value) = &param.change
            && let Some(rule) = rules.iter().find(|rule| rule.name == param.name)
            // A mask changes nothing, and what is stored already stays as it is.
            && merged.get(&param.name).is_some_and(|kept| is(kept, value))
            && !before.is_some_and(|before| {
                before.get(&param.name).is_some_and(|kept| is(kept, value))
            })
        {
            faults.extend(values::fault_at(&param.pointer, source, rule, value));
        }
    }
    for rule in rules {
        if rule.is_required() && merged.get(&rule.name).is_none() {
            let what = rule
                .title
                .as_ref()
                .map_or(String::new(), |title| format!(": {title}"));
            faults.push(Fault::new(
                pointer_of(&rule.name),
                format!("is required by the realm{what}"),
            ));
        }
    }
    faults
}
