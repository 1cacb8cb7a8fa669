//! What files of secrets make of those that are registered: worked out by reading alone, before
//! anything is changed.

use std::collections::BTreeSet;

use secrecy::ExposeSecret;

use super::saving::CheckedSecret;
use crate::foundation::clock::EpochMs;
use crate::realm::store as realms;
use crate::realm::{Fault, Realm, Source, Warning};
use crate::registry::patch::{SecretPatch, SentParam};
use crate::registry::planning::faults_of;
use crate::registry::{Actor, Registry, RegistryError, SaveOutcome, values};
use crate::secret::params::{ParamChange, Params};

/// What is to become of a secret.
#[derive(Clone, Debug)]
pub enum SecretFate {
    Created(SecretPatch),
    Changed(SecretPatch),
    Unchanged,
    Refused(Vec<Fault>),
}

/// A parameter that differs, masked unless the realm declares that it is not secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParamDifference {
    pub name: String,
    pub before: Option<String>,
    pub after: Option<String>,
}

/// A secret, and what is to become of it.
#[derive(Clone, Debug)]
pub struct PlannedSecret {
    pub fate: SecretFate,
    pub params: Vec<ParamDifference>,
    /// Those of its parameters that its realm says are secret.
    pub secret_params: BTreeSet<String>,
    /// Whether it is given another token.
    pub has_other_token: bool,
    pub warnings: Vec<Warning>,
}

impl PlannedSecret {
    /// One that is refused before anything is known of it.
    pub fn refused(faults: Vec<Fault>) -> Self {
        Self {
            fate: SecretFate::Refused(faults),
            params: Vec::new(),
            secret_params: BTreeSet::new(),
            has_other_token: false,
            warnings: Vec::new(),
        }
    }
}

impl Registry {
    /// What would become of a secret of which this is everything: parameters that it leaves out are
    /// cleared, a token that it leaves out stays. Nothing is changed.
    ///
    /// # Errors
    ///
    /// The database failed. A secret that would be refused is no error.
    pub async fn plan_secret(
        &self,
        declared: SecretPatch,
        by: &Actor,
    ) -> Result<PlannedSecret, RegistryError> {
        let now = self.clock.now();
        match self.planned_secret(declared, by, now).await {
            Err(RegistryError::Refused(refusal)) => Ok(PlannedSecret::refused(faults_of(refusal))),
            planned => planned,
        }
    }

    async fn planned_secret(
        &self,
        mut declared: SecretPatch,
        by: &Actor,
        now: EpochMs,
    ) -> Result<PlannedSecret, RegistryError> {
        let reader = self.database.reader();
        let row = realms::find(reader, &declared.realm).await?;
        if let Some(row) = &row
            && let Ok(realm) = Realm::from_row(row.clone(), &self.expressions, &self.ring)
        {
            let given: BTreeSet<_> = declared.params.iter().map(|one| one.name.clone()).collect();
            let rules = realm.source.params().iter();
            let left_out = rules.filter(|rule| !given.contains(&rule.name));
            let cleared = left_out.map(|rule| SentParam::named(&rule.name, ParamChange::Clear));
            declared.params.extend(cleared);
        }
        if !self.has_other_token(reader, &declared).await? {
            // One that is there already may have expired since.
            declared.token = None;
        }
        let checked = self.check_secret(reader, row, &declared, (by, now)).await?;
        let has_other_token = declared.token.is_some();
        let token_warning = declared.token.as_ref();
        let token_warning = token_warning.and_then(|new| values::token_warning(&new.token));
        let mut warnings = values::warnings(&checked.source, &checked.params);
        warnings.extend(token_warning);
        let secret = checked.source.params().iter().filter(|rule| rule.secret);
        Ok(PlannedSecret {
            params: checked.differences(),
            secret_params: secret.map(|rule| rule.name.clone()).collect(),
            has_other_token,
            warnings,
            fate: match checked.outcome(has_other_token) {
                SaveOutcome::New => SecretFate::Created(declared),
                SaveOutcome::Changed => SecretFate::Changed(declared),
                SaveOutcome::Unchanged => SecretFate::Unchanged,
            },
        })
    }
}

impl CheckedSecret {
    /// What saving it would do.
    pub fn outcome(&self, has_other_token: bool) -> SaveOutcome {
        match self.stored {
            None => SaveOutcome::New,
            Some(_) if self.changed || self.lost || has_other_token => SaveOutcome::Changed,
            Some(_) => SaveOutcome::Unchanged,
        }
    }

    /// The parameters that differ, as they are shown.
    pub fn differences(&self) -> Vec<ParamDifference> {
        let none = Params::default();
        let stored = self.stored.as_ref();
        let before = stored.map_or(&none, |secret| &secret.params);
        differences(&self.source, before, &self.params)
    }
}

/// Parameters that differ, as they are shown.
fn differences(source: &Source, before: &Params, after: &Params) -> Vec<ParamDifference> {
    let shown = |params: &Params, name: &str| {
        let value = params.get(name)?;
        Some(values::shown(Some(source), name, value))
    };
    let names: BTreeSet<_> = before
        .iter()
        .chain(after.iter())
        .map(|(name, _)| name)
        .collect();
    let is_same = |name: &str| match (before.get(name), after.get(name)) {
        (Some(before), Some(after)) => before.expose_secret() == after.expose_secret(),
        (None, None) => true,
        _ => false,
    };
    names
        .into_iter()
        .filter(|name| !is_same(name))
        .map(|name| ParamDifference {
            name: name.to_owned(),
            before: shown(before, name),
            after: shown(after, name),
        })
        .collect()
}
