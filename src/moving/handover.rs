//! Hands tokens over: held there, copied once more, renewed here. And the way back.

use std::collections::HashSet;
use std::time::Duration;

use super::{AT_ONCE, Move, MoveError, MoveProgress, Name, Row, Step};
use crate::foundation::clock::{BootMs, Ms};
use crate::foundation::database::DbError;
use crate::foundation::ids::{KeyName, RealmId, SecretId};
use crate::registry::{Imported, RegistryError};
use crate::secret::store as secrets;
use crate::token::copying::stored_locked;
use crate::token::elsewhere::{RenewedElsewhere, Renewer, hold, renewed_by, take_back};
use crate::token::retired;

const POLL: Duration = Duration::from_millis(100);
const PAGE: u64 = 200;
/// Looks for what is made or deleted there during the finish. Whoever goes on making secrets there
/// does not keep it from ending.
const ROUNDS_MAX: usize = 8;
const COPIED_LATE: &str = "copied late: not before the finish had begun";
const MADE_LATER: &str = "secrets were made there all through the finish, this one at its end: it is \
     renewed there; once nobody makes any there, run this again";
const DELETED_LATE: &str = "it was deleted there after it had been handed over, and is renewed here: \
     delete it here, too";
const REPLACED_LATE: &str = "it was deleted there after it had been handed over, and another of its \
     name was made: both are renewed, each by its server; delete one of them, and where that is the \
     one here, run this again";

/// What became of tokens that were to be held there.
#[derive(Default)]
struct Held {
    held: Vec<SecretId>,
    /// And who makes an attempt.
    under_way: Vec<(SecretId, String)>,
    moved: Vec<(SecretId, String)>,
}

/// What a finish has done so far.
struct Finish {
    begun: BootMs,
    /// Attempts under way there are waited for so long.
    patience: Ms,
    tried: HashSet<SecretId>,
    handed_over: Vec<(SecretId, Name)>,
    /// And why they stay there.
    stay: Vec<(SecretId, String)>,
}

impl Move<'_> {
    /// Hands everything over that is a copy here. Attempts under way there are waited for, but no
    /// longer than `patience`: their tokens stay there. What is made or deleted there meanwhile is
    /// looked for until a look finds nothing new, but not for ever.
    pub async fn finish(&mut self, patience: Ms) -> Result<(), MoveError> {
        let mut finish = Finish {
            begun: self.clock.boot(),
            patience,
            tried: HashSet::new(),
            handed_over: Vec::new(),
            stay: Vec::new(),
        };
        self.look_again().await?;
        let copies = self.untried(&finish);
        self.hand_over_all(copies, &mut finish).await?;
        for round in 0..=ROUNDS_MAX {
            self.look_again().await?;
            let late = self.untried(&finish);
            if late.is_empty() {
                break;
            }
            if round == ROUNDS_MAX {
                let left = late.into_iter().map(|id| (id, MADE_LATER.to_owned()));
                finish.stay.extend(left);
                break;
            }
            self.hand_over_all(late.clone(), &mut finish).await?;
            for id in late {
                if let Some(known) = self.secrets.get(&id) {
                    self.accounts.add_note(&known.name, COPIED_LATE);
                }
            }
        }
        // The last looks have noted what they saw.
        for (id, why) in &finish.stay {
            self.refuse(*id, why);
        }
        self.deleted_since(&finish.handed_over).await?;
        self.take_back_refused().await?;
        self.beside().await
    }

    async fn look_again(&mut self) -> Result<(), MoveError> {
        self.registered().await?;
        self.look().await?;
        self.forget_deleted().await?;
        self.forget_registered().await
    }

    fn untried(&self, finish: &Finish) -> Vec<SecretId> {
        let copies = self.secrets.iter().filter(|(_, known)| known.is_copy);
        let mut copies: Vec<_> = copies
            .map(|(id, _)| *id)
            .filter(|id| !finish.tried.contains(id))
            .collect();
        copies.sort_unstable_by_key(|id| id.0);
        copies
    }

    async fn hand_over_all(
        &mut self,
        mut left: Vec<SecretId>,
        finish: &mut Finish,
    ) -> Result<(), MoveError> {
        finish.tried.extend(&left);
        loop {
            let mut under_way = Vec::new();
            for ids in left.chunks(AT_ONCE) {
                let held = self.hold(ids).await?;
                for id in self.hand_over(&held.held).await? {
                    if let Some(known) = self.secrets.get(&id) {
                        finish.handed_over.push((id, known.name.clone()));
                    }
                }
                finish
                    .stay
                    .extend(held.moved.into_iter().map(|(id, other)| {
                        let why = format!("it was moved to another database ({other}) meanwhile");
                        (id, why)
                    }));
                under_way.extend(held.under_way);
            }
            if under_way.is_empty() {
                return Ok(());
            }
            if self.clock.boot().since(finish.begun) >= finish.patience {
                finish.stay.extend(under_way.into_iter().map(|(id, who)| {
                    let why = format!(
                        "an attempt of the server {who:?} there may still bring its token: if that \
                         server has ended, start it once more, and run this again"
                    );
                    (id, why)
                }));
                return Ok(());
            }
            left = under_way.into_iter().map(|(id, _)| id).collect();
            (self.told)(MoveProgress::Awaiting(left.len()));
            tokio::time::sleep(POLL).await;
            self.keep_place().await?;
        }
    }

    /// Reports what was deleted there after it had been handed over: it is no copy any more.
    async fn deleted_since(&mut self, handed_over: &[(SecretId, Name)]) -> Result<(), MoveError> {
        for some in handed_over.chunks(AT_ONCE) {
            self.keep_place().await?;
            let ids: Vec<_> = some.iter().map(|(id, _)| *id).collect();
            let there = secrets::find_all(self.source.database.causal(), &ids).await;
            let there: HashSet<_> = self.there(there)?.iter().map(|row| row.id).collect();
            for (_, name) in some.iter().filter(|(id, _)| !there.contains(&id.0)) {
                let why = match self.is_there(name).await? {
                    true => REPLACED_LATE,
                    false => DELETED_LATE,
                };
                self.accounts.refuse(name.clone(), why);
            }
        }
        Ok(())
    }

    /// Whether there is a secret of that name there.
    pub(super) async fn is_there(&self, name: &Name) -> Result<bool, MoveError> {
        let Name::Secret { realm, key } = name else {
            return Ok(false);
        };
        let (realm, key) = (RealmId::stored(realm.clone()), KeyName::stored(key.clone()));
        let there = secrets::find(self.source.database.causal(), &realm, &key).await;
        Ok(self.there(there)?.is_some())
    }

    async fn hold(&self, ids: &[SecretId]) -> Result<Held, MoveError> {
        let by = &self.target.id;
        let renewers = self
            .source
            .database
            .write(|transaction, _| {
                Box::pin(async move { Ok::<_, DbError>(hold(transaction, ids, by).await?) })
            })
            .await;
        let mut held = Held::default();
        for (id, renewer) in renewers.map_err(|error| self.failed_there(&error))? {
            match renewer {
                Renewer::Elsewhere(other) if other == *by => held.held.push(id),
                Renewer::Elsewhere(other) => held.moved.push((id, other.0)),
                // It is held as soon as it is free.
                Renewer::Free => held.under_way.push((id, String::new())),
                Renewer::UnderWay(who) => held.under_way.push((id, who)),
            }
        }
        Ok(held)
    }

    /// Copies what is held there once more, and renews it here from now on. What cannot be copied
    /// is renewed there again. Answers what was handed over.
    async fn hand_over(&mut self, held: &[SecretId]) -> Result<Vec<SecretId>, MoveError> {
        let handed = self.copy_some(held, Step::HandOver).await?;
        let kept: Vec<_> = held
            .iter()
            .filter(|id| !handed.contains(id))
            .copied()
            .collect();
        for id in &handed {
            if let Some(known) = self.secrets.get_mut(id) {
                known.is_copy = false;
            }
        }
        self.take_back(&kept).await?;
        Ok(handed)
    }

    async fn take_back(&self, ids: &[SecretId]) -> Result<(), MoveError> {
        if ids.is_empty() {
            return Ok(());
        }
        let from = &self.target.id;
        let taken = self
            .source
            .database
            .write(|transaction, _| {
                Box::pin(async move { Ok::<_, DbError>(take_back(transaction, ids, from).await?) })
            })
            .await;
        taken.map(|_| ()).map_err(|error| self.failed_there(&error))
    }

    fn refuse(&mut self, id: SecretId, why: &str) {
        if let Some(known) = self.secrets.get(&id) {
            self.accounts.refuse(known.name.clone(), why);
        }
    }

    /// What an earlier run has held there, and this one has refused, is renewed there again.
    async fn take_back_refused(&mut self) -> Result<(), MoveError> {
        let mut after = SecretId(i64::MIN);
        while let Some(page) = self.held_there(&mut after).await? {
            let mut back = Vec::new();
            for there in page {
                let name = Name::secret(&there.realm, &there.key);
                if self.accounts.is_refused(&name) && self.here(&there).await? == Here::Nothing {
                    back.push(there.id);
                }
            }
            self.take_back(&back).await?;
        }
        Ok(())
    }

    /// The next of those that are held there because they are to be renewed here.
    async fn held_there(
        &self,
        after: &mut SecretId,
    ) -> Result<Option<Vec<RenewedElsewhere>>, MoveError> {
        self.keep_place().await?;
        let there = self.source.database.causal();
        let page = self.there(renewed_by(there, &self.target.id, *after, PAGE).await)?;
        let last = page.last().map(|last| last.id);
        Ok(last.map(|last| {
            *after = last;
            page
        }))
    }

    /// Gives the move up: what this database does not renew yet is renewed there again.
    pub async fn release(&mut self) -> Result<(), MoveError> {
        let mut after = SecretId(i64::MIN);
        while let Some(page) = self.held_there(&mut after).await? {
            let mut back = Vec::new();
            for there in page {
                let name = Name::secret(&there.realm, &there.key);
                match self.here(&there).await?.why_it_stays() {
                    None => {
                        back.push(there.id);
                        self.accounts.note(Row::of(name, Imported::Taken));
                    }
                    Some(why) => self.accounts.refuse(name, why),
                }
            }
            self.take_back(&back).await?;
        }
        Ok(())
    }

    /// What this database has of a secret whose token is held there for it.
    async fn here(&self, there: &RenewedElsewhere) -> Result<Here, MoveError> {
        let realm = &RealmId::stored(there.realm.clone());
        let key = &KeyName::stored(there.key.clone());
        let this = self;
        let here = self
            .target
            .database
            .write(|transaction, _| {
                Box::pin(async move {
                    this.keep(transaction).await?;
                    let row = secrets::find(transaction, realm, key).await?;
                    let row = match row {
                        Some(row) => stored_locked(transaction, SecretId(row.id)).await?,
                        None => None,
                    };
                    let Some(row) = row else {
                        let deleted = retired::known(transaction, realm, key).await?;
                        return Ok::<_, RegistryError>(match deleted > there.age.generation {
                            true => Here::Deleted,
                            // As old as there: what the provider knows of last is there.
                            false => Here::Nothing,
                        });
                    };
                    Ok(match row.renewer() {
                        Renewer::Elsewhere(renewer) if renewer != this.source.id => {
                            Here::MovedOn(renewer.0)
                        }
                        Renewer::Elsewhere(_) if row.age().is_newer_than(there.age) => Here::Newer,
                        // A copy.
                        Renewer::Elsewhere(_) => Here::Nothing,
                        Renewer::Free | Renewer::UnderWay(_) => Here::Renewed,
                    })
                })
            })
            .await;
        here.map_err(|error| self.failed_here(error))
    }
}

/// What this database has of a secret whose token is held there for it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Here {
    /// A copy at most, or what was deleted before it was renewed here: it can be renewed there.
    Nothing,
    /// It was handed over.
    Renewed,
    /// It was handed over, and deleted since.
    Deleted,
    /// It was handed over, and its way back was cut off.
    Newer,
    /// Another database renews it.
    MovedOn(String),
}

impl Here {
    /// Why it must not be renewed there; none where it may be.
    fn why_it_stays(self) -> Option<String> {
        Some(match self {
            Self::Nothing => return None,
            Self::Renewed => {
                "it was handed over: import this database there to bring it back".to_owned()
            }
            Self::Deleted => "it was handed over, renewed here and deleted here: what is there is \
                 used up; delete it there, too, or make it anew there"
                .to_owned(),
            Self::Newer => {
                "what is here is newer: the move of it back there was cut off; run that \
                 import there again, and it goes on"
                    .to_owned()
            }
            Self::MovedOn(other) => {
                format!("it was handed over, and another database ({other}) renews it by now")
            }
        })
    }
}
