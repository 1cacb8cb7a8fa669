//! Dry runs: what would be sent for a secret, and a trial of a document that is not
//! registered. Nothing is stored.

use secrecy::SecretString;
use serde_json::Value;

use super::check::{Outbound, check};
use super::{Refusal, Registry, RegistryError, pointer_of, values};
use crate::foundation::clock::EpochMs;
use crate::foundation::ids::{AttemptId, KeyName, RealmId};
use crate::realm::document::{ProviderDocument, REFRESH_TOKEN};
use crate::realm::expression::STORED;
use crate::realm::{Fault, Source, Warning};
use crate::secret::params::{ParamChange, Params};
use crate::secret::{Secret, store as secrets};
use crate::ticket;
use crate::token::{TokenRecord, store as tokens};
use crate::upstream::{Inputs, Inspected, ParentToken};

/// What must stand in the request where a trial uses up a refresh token.
pub const CONFIRMATION: &str = "consumes_refresh_token";

/// A document with everything an attempt needs, given inline.
#[derive(Debug)]
pub struct Trial {
    pub config: Value,
    pub params: Vec<(String, SecretString)>,
    pub parent: Option<ParentToken>,
    pub ticket: Option<SecretString>,
    pub token: Option<SecretString>,
    /// The extra fields stored with it: an object, or null.
    pub extra: Value,
    pub forced: bool,
    /// Whether the requests are sent.
    pub send: bool,
    pub confirm: Option<String>,
}

impl Registry {
    /// The requests that would be sent for a secret, masked.
    pub async fn preview(
        &self,
        realm_id: &RealmId,
        key: &KeyName,
    ) -> Result<Inspected, RegistryError> {
        let realm = self.realm(realm_id).await?;
        let Source::Provider(document) = &realm.source else {
            return Err(Refusal::NoDocument.into());
        };
        let reader = self.database.reader();
        let unknown = || Refusal::UnknownSecret {
            realm: realm_id.to_string(),
            key: key.to_string(),
        };
        let row = secrets::find(reader, realm_id, key).await?;
        let opened = Secret::open(row.ok_or_else(unknown)?, &self.ring);
        let secret = self.unless_damaged(opened).await?;
        let secret = secret.ok_or(Refusal::DamagedParams)?;
        let record = tokens::find(reader, realm_id, key).await?;
        let record = record.ok_or_else(unknown)?;
        let inputs = self.stored_inputs(document, &secret, &record).await?;
        Ok(self
            .upstream
            .inspect(document, &secret.params, &inputs, false)
            .await)
    }

    async fn stored_inputs(
        &self,
        document: &ProviderDocument,
        secret: &Secret,
        record: &TokenRecord,
    ) -> Result<Inputs, RegistryError> {
        let now = self.clock.now();
        let ring = &self.ring;
        let mut inputs = Inputs::default();
        if let Some(held) = &record.held {
            inputs.token = self.unless_damaged(record.open_token(held, ring)).await?;
            if document.uses.contains(STORED) && secret.is_as_before(held.obtained_at) {
                let extra = self.unless_damaged(record.open_extra(held, ring)).await?;
                inputs.extra = extra.unwrap_or_default();
            }
        }
        if let Some(refresh) = &record.refresh {
            let opened = record.open_refresh(refresh, ring);
            inputs.refresh_token = self.unless_damaged(opened).await?;
        }
        Ok(Inputs {
            refresh_token: inputs
                .refresh_token
                .or_else(|| secret.params.get(REFRESH_TOKEN).cloned()),
            parent: self.parent_now(document, secret, now).await?,
            ticket: self.ticket_now(document, secret, now).await?,
            forced: record.forced,
            attempt: AttemptId(self.randomness.id()),
            ..inputs
        })
    }

    async fn parent_now(
        &self,
        document: &ProviderDocument,
        secret: &Secret,
        now: EpochMs,
    ) -> Result<Option<ParentToken>, RegistryError> {
        let Some((realm, key)) = self.upstream.parent_name(document, &secret.params) else {
            return Ok(None);
        };
        let record = tokens::find(self.database.reader(), &realm, &key).await?;
        let Some((record, held)) = record
            .as_ref()
            .and_then(|record| Some((record, record.valid(now)?)))
        else {
            return Ok(None);
        };
        let token = record.open_token(held, &self.ring);
        let extra = record.open_extra(held, &self.ring);
        let opened = (
            self.unless_damaged(token).await?,
            self.unless_damaged(extra).await?,
        );
        Ok(match opened {
            (Some(token), Some(extra)) => Some(ParentToken { token, extra }),
            _ => None,
        })
    }

    async fn ticket_now(
        &self,
        document: &ProviderDocument,
        secret: &Secret,
        now: EpochMs,
    ) -> Result<Option<SecretString>, RegistryError> {
        let rendered = |template| self.upstream.rendered(document, &secret.params, template);
        let Some(app_id) = document
            .ticket
            .as_ref()
            .and_then(|rule| rendered(&rule.app_id))
        else {
            return Ok(None);
        };
        let reader = self.database.reader();
        let Some(row) = ticket::store::find_valid(reader, &secret.realm, &app_id, now).await?
        else {
            return Ok(None);
        };
        let opened = ticket::open(&secret.realm, &app_id, &row.value, &self.ring);
        self.unless_damaged(opened).await
    }

    /// Tries a document with parameters given inline. It never uses a stored secret: that
    /// would rotate a token in use.
    pub async fn try_realm(
        &self,
        trial: &Trial,
    ) -> Result<(Inspected, Vec<Warning>), RegistryError> {
        let outbound = Outbound::from(&*self.upstream);
        let checked = check(Some(&trial.config), None, &self.expressions, outbound);
        let (source, mut warnings) = checked.map_err(Refusal::Faults)?;
        let Source::Provider(document) = &source else {
            return Err(Refusal::NoDocument.into());
        };
        let mut params = Params::default();
        let changes = trial.params.iter();
        params.merge(changes.map(|(name, value)| (name.clone(), ParamChange::Set(value.clone()))));
        let mut faults = trial_faults(trial, &source, document, &params);
        let unconfirmed = trial.confirm.as_deref() != Some(CONFIRMATION);
        if trial.send && document.consumes_refresh_token() && unconfirmed {
            faults.push(Fault::new(
                "/confirm",
                format!("must be {CONFIRMATION}: sending this may use the refresh token up"),
            ));
        }
        if !faults.is_empty() {
            return Err(Refusal::Faults(faults).into());
        }
        let inputs = Inputs {
            token: trial.token.clone(),
            extra: trial.extra.clone(),
            refresh_token: params.get(REFRESH_TOKEN).cloned(),
            parent: trial.parent.clone(),
            ticket: trial.ticket.clone(),
            forced: trial.forced,
            attempt: AttemptId(self.randomness.id()),
        };
        warnings.extend(values::warnings(&source, &params));
        let inspected = self
            .upstream
            .inspect(document, &params, &inputs, trial.send)
            .await;
        Ok((inspected, warnings))
    }
}

fn trial_faults(
    trial: &Trial,
    source: &Source,
    document: &ProviderDocument,
    params: &Params,
) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (name, value) in &trial.params {
        match document.params.iter().find(|rule| rule.name == *name) {
            None => faults.push(Fault::new(
                pointer_of(name),
                "is not declared in config/params",
            )),
            Some(rule) => {
                faults.extend(values::fault_at(&pointer_of(name), source, rule, value));
            }
        }
    }
    for rule in document.params.iter().filter(|rule| rule.is_required()) {
        if params.get(&rule.name).is_none() {
            faults.push(Fault::new(
                pointer_of(&rule.name),
                "is required by the realm",
            ));
        }
    }
    if document.parent.is_some() && trial.parent.is_none() {
        faults.push(Fault::new(
            "/parent",
            "is required: {token, extra} of the parent",
        ));
    }
    if document.ticket.is_some() && trial.ticket.is_none() {
        faults.push(Fault::new(
            "/ticket",
            "is required: a ticket as the provider pushes it",
        ));
    }
    faults
}
