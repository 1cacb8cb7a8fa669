//! Secrets with their tokens, and what is kept beside these.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use sea_orm::{ConnectionTrait, DbErr};
use secrecy::ExposeSecret;
use token_server_entity::candidate::Model as CandidateRow;
use token_server_entity::secret;

use super::{AT_ONCE, Known, Move, MoveError, MoveProgress, Name, Row, Step, TokenFate};
use crate::foundation::clock::EpochMs;
use crate::foundation::database::DbError;
use crate::foundation::ids::SecretId;
use crate::registry::{Imported, Pass, Unkept, done};
use crate::secret::{Secret, copying as secrets, store as secret_store};
use crate::token::copying::{
    OpenCandidate, OpenRow, StoredRow, Written, candidates_of, insert, put_candidates, replace,
    stored, stored_locked,
};
use crate::token::elsewhere::Renewer;
use crate::token::{retired, store as tokens};

const PAGE: u64 = 200;

/// A secret, opened there.
struct Copy {
    secret: Secret,
    token: OpenRow,
    candidates: Vec<OpenCandidate>,
    waits_for: Option<SecretId>,
    fingerprint: u64,
}

/// What became of it here.
enum Put {
    Copy {
        here: SecretId,
        changed: bool,
    },
    /// It is no copy.
    Left(Option<SecretId>, Imported),
}

impl Move<'_> {
    /// Looks at every secret, and copies what is new or has changed.
    pub(super) async fn look(&mut self) -> Result<(), MoveError> {
        let mut after = SecretId(i64::MIN);
        loop {
            let page = secret_store::list_after(self.source.database.causal(), after, PAGE).await;
            let page = page.map_err(|error| self.failed_there(&error.into()))?;
            let Some(last) = page.last() else { break };
            after = SecretId(last.id);
            let ids: Vec<_> = page.iter().map(|row| SecretId(row.id)).collect();
            for ids in ids.chunks(AT_ONCE) {
                self.copy_some(ids, Step::Follow).await?;
                (self.told)(MoveProgress::Looked(ids.len()));
            }
            if self.pass == Pass::Keep {
                self.keep_place().await?;
            }
        }
        Ok(())
    }

    /// Copies some secrets as they are there now. Answers those that were put here as copies.
    pub(super) async fn copy_some(
        &mut self,
        ids: &[SecretId],
        step: Step,
    ) -> Result<Vec<SecretId>, MoveError> {
        let read = self
            .read(ids)
            .await
            .map_err(|error| self.failed_there(&error.into()))?;
        let Read {
            mut secrets,
            tokens,
            mut candidates,
        } = read;
        let (mut copies, mut gone) = (Vec::new(), Vec::new());
        for id in ids {
            let Some(row) = secrets.remove(id) else {
                gone.push(*id);
                continue;
            };
            let beside = candidates.remove(id).unwrap_or_default();
            let name = name_of(&row);
            match self.opened(row, tokens.get(id), beside, step) {
                Ok(Some(copy)) => copies.push((*id, copy)),
                Ok(None) => {}
                Err(why) => self.accounts.refuse(name, why),
            }
        }
        let put = self.put(&copies, step).await?;
        let mut put_here = Vec::new();
        for ((id, copy), put) in copies.into_iter().zip(put) {
            if matches!(put, Put::Copy { .. }) {
                put_here.push(id);
            }
            self.account(id, &copy, put);
        }
        for id in gone {
            self.forget(id).await?;
        }
        Ok(put_here)
    }

    fn account(&mut self, id: SecretId, copy: &Copy, put: Put) {
        let (here, is_copy, outcome) = match put {
            Put::Copy { here, changed } => (
                Some(here),
                true,
                match changed {
                    true => Imported::Taken,
                    false => Imported::Unchanged,
                },
            ),
            Put::Left(here, outcome) => (here, false, outcome),
        };
        let name = Name::secret(copy.secret.realm.as_str(), copy.secret.key.as_str());
        let known = Known {
            name: name.clone(),
            here,
            fingerprint: copy.fingerprint,
            is_copy,
        };
        self.secrets.insert(id, known);
        self.accounts.note(Row {
            token: copy
                .token
                .expires_at()
                .map_or(TokenFate::None, TokenFate::Kept),
            ..Row::of(name, outcome)
        });
    }

    /// Opens what is there; none where it is as it was when it was copied last.
    fn opened(
        &self,
        row: secret::Model,
        token: Option<&StoredRow>,
        candidates: Vec<CandidateRow>,
        step: Step,
    ) -> Result<Option<Copy>, String> {
        if self.refused_realms.contains(&row.realm_id) {
            return Err("its realm is refused".to_owned());
        }
        let id = SecretId(row.id);
        let token = token.ok_or_else(|| format!("ts_token has no row {id}"))?;
        match (token.renewer(), step) {
            (Renewer::Elsewhere(other), _) if other != self.target.id => {
                return Err(format!(
                    "another database ({}) renews it: it was moved there, or an import from there \
                     has left a copy; import that database instead",
                    other.0
                ));
            }
            (Renewer::Elsewhere(_), _) | (_, Step::Follow) => {}
            // Somebody has taken it back.
            (Renewer::Free | Renewer::UnderWay(_), Step::HandOver) => return Ok(None),
        }
        let waits_for = token.waits_for();
        let waits_for = waits_for.and_then(|id| self.secrets.get(&id)?.here);
        let mut hasher = DefaultHasher::new();
        token.fingerprint(&mut hasher);
        (row.version, row.updated_at, &row.params.0, waits_for).hash(&mut hasher);
        for candidate in &candidates {
            candidate.attempt_id.hash(&mut hasher);
        }
        let fingerprint = hasher.finish();
        let known = self.secrets.get(&id);
        if step == Step::Follow && known.is_some_and(|known| known.fingerprint == fingerprint) {
            return Ok(None);
        }
        let ring = &self.source.ring;
        let secret = Secret::open(row, ring).map_err(|error| error.to_string())?;
        let token = token.open(ring).map_err(|error| error.to_string())?;
        let open = |row| OpenCandidate::open(row, ring).map_err(|error| error.to_string());
        let candidates: Result<Vec<_>, _> = candidates.into_iter().map(open).collect();
        Ok(Some(Copy {
            secret,
            token,
            candidates: candidates?,
            waits_for,
            fingerprint,
        }))
    }

    async fn read(&self, ids: &[SecretId]) -> Result<Read, DbErr> {
        let there = self.source.database.causal();
        let mut read = Read::default();
        for row in secret_store::find_all(there, ids).await? {
            read.secrets.insert(SecretId(row.id), row);
        }
        for row in stored(there, ids).await? {
            read.tokens.insert(row.id(), row);
        }
        for row in candidates_of(there, ids).await? {
            let of = SecretId(row.secret_id);
            read.candidates.entry(of).or_default().push(row);
        }
        Ok(read)
    }

    async fn put(&self, copies: &[(SecretId, Copy)], step: Step) -> Result<Vec<Put>, MoveError> {
        if copies.is_empty() {
            return Ok(Vec::new());
        }
        let (this, now) = (self, self.clock.now());
        let ended = self
            .target
            .database
            .write(|transaction, _| {
                Box::pin(async move {
                    this.keep(transaction).await.map_err(Unkept::Failed)?;
                    let (mut put, mut entries) = (Vec::new(), Vec::new());
                    for (_, copy) in copies {
                        let known = this.put_one(transaction, copy, step, now).await?;
                        if let (Put::Copy { .. }, true) = &known {
                            let (realm, key) = (&copy.secret.realm, &copy.secret.key);
                            entries.push(this.entry(
                                "secret.import",
                                format!("{realm}/{key}"),
                                now,
                            ));
                        }
                        put.push(known.0);
                    }
                    this.audit.append(transaction, entries).await?;
                    this.pass.end(put)
                })
            })
            .await;
        done(ended).map_err(|error| self.failed_here(error))
    }

    /// Answers also whether it is new here.
    async fn put_one(
        &self,
        transaction: &impl ConnectionTrait,
        copy: &Copy,
        step: Step,
        now: EpochMs,
    ) -> Result<(Put, bool), DbErr> {
        let (there, ring) = (&copy.secret, &self.target.ring);
        let written = |id| Written {
            id,
            waits_for: copy.waits_for,
            renewed_by: match step {
                Step::Follow => Some(&self.source.id),
                Step::HandOver => None,
            },
        };
        let Some(row) = secret_store::find(transaction, &there.realm, &there.key).await? else {
            let deleted = retired::known(transaction, &there.realm, &there.key).await?;
            if deleted > copy.token.generation() {
                let why = format!("a secret of its name was deleted here at generation {deleted}");
                return Ok((Put::Left(None, Imported::Refused(why)), false));
            }
            let id = secrets::insert(transaction, there, ring).await?;
            insert(transaction, &copy.token, written(id), ring).await?;
            put_candidates(transaction, id, &copy.candidates, ring).await?;
            tokens::are_stored(transaction, &[id], now).await?;
            let put = Put::Copy {
                here: id,
                changed: true,
            };
            return Ok((put, true));
        };
        let id = SecretId(row.id);
        let Some(token) = stored_locked(transaction, id).await? else {
            let why = format!("ts_token has no row {id} here");
            return Ok((Put::Left(Some(id), Imported::Refused(why)), false));
        };
        let here = (Secret::open(row, ring), token.open(ring));
        match token.renewer() {
            Renewer::Elsewhere(renewer) if renewer != self.source.id => {
                let why = format!(
                    "another database ({}) renews what is here: it was moved there, or an import \
                     from there has left a copy, which a move that was given up does, too; delete it \
                     here, and run this again",
                    renewer.0
                );
                Ok((Put::Left(Some(id), Imported::Refused(why)), false))
            }
            Renewer::Elsewhere(_) => {
                if token.generation() > copy.token.generation() {
                    let why = format!("its copy here is newer: generation {}", token.generation());
                    return Ok((Put::Left(Some(id), Imported::Refused(why)), false));
                }
                let same = matches!(&here, (Ok(secret), Ok(open))
                    if *open == copy.token && is_same(secret, there) && secret.version == there.version);
                let others = put_candidates(transaction, id, &copy.candidates, ring).await?;
                let stays = step == Step::Follow;
                if !(same && stays) {
                    secrets::replace(transaction, id, there, ring).await?;
                    replace(transaction, &copy.token, written(id), ring).await?;
                    tokens::are_stored(transaction, &[id], now).await?;
                }
                let put = Put::Copy {
                    here: id,
                    changed: !same || others,
                };
                Ok((put, false))
            }
            Renewer::Free | Renewer::UnderWay(_) => {
                let outcome = compared(here, copy, token.generation().0);
                Ok((Put::Left(Some(id), outcome), false))
            }
        }
    }

    /// A failure of the other database.
    pub(super) fn there<T>(&self, result: Result<T, DbErr>) -> Result<T, MoveError> {
        result.map_err(|error| self.failed_there(&DbError::from(error)))
    }
}

#[derive(Default)]
struct Read {
    secrets: HashMap<SecretId, secret::Model>,
    tokens: HashMap<SecretId, StoredRow>,
    candidates: HashMap<SecretId, Vec<CandidateRow>>,
}

pub(super) fn name_of(row: &secret::Model) -> Name {
    Name::secret(&row.realm_id, &row.key_name)
}

/// Whether both have the same parameters.
fn is_same(here: &Secret, there: &Secret) -> bool {
    let (mut here, mut there) = (here.params.iter(), there.params.iter());
    loop {
        match (here.next(), there.next()) {
            (None, None) => return true,
            (Some((name, value)), Some((other, sent)))
                if name == other && value.expose_secret() == sent.expose_secret() => {}
            _ => return false,
        }
    }
}

/// What is renewed here already is left as it is.
fn compared<E>(
    here: (Result<Secret, E>, Result<OpenRow, E>),
    copy: &Copy,
    generation: i64,
) -> Imported {
    let (Ok(secret), Ok(token)) = here else {
        return Imported::Changed(vec!["what this server cannot open"]);
    };
    let is_older = generation < copy.token.generation().0;
    let is_other = generation == copy.token.generation().0 && !token.has_token_of(&copy.token);
    let differing = [
        ("params", !is_same(&secret, &copy.secret)),
        // A newer one was renewed since.
        ("token", is_older || is_other),
    ];
    let parts: Vec<_> = differing
        .into_iter()
        .filter_map(|(part, differs)| differs.then_some(part))
        .collect();
    match parts.is_empty() {
        true => Imported::Unchanged,
        false => Imported::Changed(parts),
    }
}
