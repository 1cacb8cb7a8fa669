//! Sessions of the console. A session is a cookie that is sealed under the key ring: every replica
//! opens it, and none has to remember it. It stands for an API key, or for a rule that somebody has met
//! who signed in by OpenID Connect, and has the rights of that as they are at each call.

use std::sync::Arc;

use super::rules::{SignInRules, SignedIn};
use super::session::{Grant, Session};
use super::{SessionSettings, cookie};
use crate::access::Caller;
use crate::access::key::PresentedKey;
use crate::foundation::clock::{EpochMs, SharedClock, Timeline};
use crate::foundation::database::DbError;
use crate::foundation::randomness::Randomness;
use crate::foundation::sealing::KeyRing;
use crate::memory::Memory;

/// A session is prolonged once more than one part in so many of its idle time has passed.
const PROLONGED_AFTER_PART: i64 = 10;

/// When a session ends, if its key does not end before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionEnds {
    /// Unless it is prolonged.
    pub idle: EpochMs,
    /// Whatever happens.
    pub at_last: EpochMs,
}

/// Begins sessions, and recognises them.
#[derive(Clone)]
pub struct Sessions {
    memory: Memory,
    ring: Arc<KeyRing>,
    clock: SharedClock,
    randomness: Randomness,
    settings: SessionSettings,
    /// None: nobody signs in by OpenID Connect.
    rules: Option<Arc<SignInRules>>,
}

impl Sessions {
    pub fn new(
        memory: Memory,
        ring: Arc<KeyRing>,
        clock: SharedClock,
        randomness: Randomness,
        settings: SessionSettings,
        rules: Option<Arc<SignInRules>>,
    ) -> Self {
        Self {
            memory,
            ring,
            clock,
            randomness,
            settings,
            rules,
        }
    }

    /// Begins a session of an API key; none where it is no good one, such as a JWT.
    ///
    /// # Errors
    /// As [`Memory::recognise`].
    pub async fn begin(&self, key: &PresentedKey) -> Result<Option<Session>, DbError> {
        if self.memory.recognise(key.hash()).await?.is_none() {
            return Ok(None);
        }
        Ok(Some(self.by(Grant::Key(key.hash().clone()))))
    }

    /// Begins a session of somebody who has signed in by OpenID Connect.
    pub fn begin_signed_in(&self, signed_in: SignedIn) -> Session {
        self.by(Grant::Rule(signed_in))
    }

    fn by(&self, grant: Grant) -> Session {
        let now = self.clock.now();
        Session {
            grant,
            csrf: self.randomness.bytes(),
            begun: now,
            prolonged: now,
        }
    }

    /// Whose it is; none where it has ended, its key is good no more, or its rule is not as it was.
    ///
    /// # Errors
    /// As [`Memory::recognise`].
    pub async fn caller(&self, session: &Session) -> Result<Option<Arc<Caller>>, DbError> {
        if self.clock.now() >= self.ends(session).idle {
            return Ok(None);
        }
        match &session.grant {
            Grant::Key(key) => self.memory.recognise(key).await,
            Grant::Rule(signed_in) => {
                let rules = self.rules.as_ref();
                let caller = rules.and_then(|rules| rules.caller(signed_in));
                Ok(caller.map(|caller| self.memory.held_to_rate(caller)))
            }
        }
    }

    /// The place of the rule that it has its rights by, from 0; none of an API key.
    pub fn rule_of(&self, session: &Session) -> Option<usize> {
        match &session.grant {
            Grant::Key(_) => None,
            Grant::Rule(signed_in) => self.rules.as_ref()?.place(&signed_in.rule),
        }
    }

    pub fn ends(&self, session: &Session) -> SessionEnds {
        let at_last = session.begun.plus(self.settings.longest);
        SessionEnds {
            idle: session.prolonged.plus(self.settings.idle).min(at_last),
            at_last,
        }
    }

    /// The same session with its idle time begun anew; none where that has hardly begun.
    pub fn prolonged(&self, session: &Session) -> Option<Session> {
        let now = self.clock.now();
        let idle = now.since(session.prolonged);
        (idle.0 > self.settings.idle.0 / PROLONGED_AFTER_PART).then(|| Session {
            prolonged: now,
            ..session.clone()
        })
    }

    /// The text of its cookie.
    pub fn seal(&self, session: &Session) -> String {
        cookie::seal(session, &self.ring)
    }

    /// What a cookie says; none where no server with a key of this ring sealed it as one.
    pub fn open(&self, text: &str) -> Option<Session> {
        cookie::open(text, &self.ring)
    }
}
