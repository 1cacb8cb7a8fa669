//! Sign-in to the console by OpenID Connect: the authorization code flow (OpenID Connect Core 1.0,
//! section 3.1) with PKCE (RFC 7636). What it brings is a name and a rule; tokens are kept nowhere.

mod pending;
mod provider;
mod settings;
mod used;

use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use url::Url;

use super::Issuers;
use super::fetching::Fetching;
use super::key_cache::KeyCache;
use crate::access::issuer::store::Issuer;
use crate::access::issuer::{Expected, Identified, IssuerName, Jwt};
use crate::access::sign_in_problem::SignInProblem;
use crate::console::rules::{SignInRules, SignedIn};
use crate::foundation::clock::{Ms, SharedClock, Timeline};
use crate::foundation::randomness::Randomness;
use crate::foundation::sealing::KeyRing;
use crate::foundation::seldom::SeldomOfEach;
pub use pending::PENDING_MAX;
use pending::Pending;
use provider::{CodeGrant, Provider};
pub use settings::{BEGIN_PATH, CALLBACK_PATH, SignInSettings};
use used::Used;

/// What the log calls the provider; no issuer can be registered by that name.
const NAME: &str = "console.oidc (configured)";
/// The longest code that is sent on, in characters.
const CODE_MAX_CHARS: usize = 4096;

/// Where a browser goes, and what it keeps meanwhile.
pub struct Begun {
    pub location: Url,
    /// The text of a cookie.
    pub pending: String,
}

/// What the provider had the browser bring (RFC 6749, section 4.1.2; RFC 9207), as it came.
#[derive(Clone, Default)]
pub struct Brought {
    pub code: Option<String>,
    pub state: Option<String>,
    pub issuer: Option<String>,
    pub error: Option<String>,
}

/// A sign-in that came to nothing.
#[derive(Debug, thiserror::Error)]
#[error("{why}")]
pub struct SignInRefused {
    pub problem: SignInProblem,
    /// For the log: what is wrong, and nothing of what came.
    why: String,
    /// Whose it was, where that is known.
    pub name: Option<String>,
}

impl SignInRefused {
    fn because(problem: SignInProblem, why: impl std::fmt::Display) -> Self {
        Self {
            problem,
            why: why.to_string(),
            name: None,
        }
    }
}

/// Signs humans in.
pub struct SignIn {
    settings: Arc<SignInSettings>,
    rules: Arc<SignInRules>,
    issuer: Arc<Issuer>,
    provider: Provider,
    keys: Arc<KeyCache>,
    fetching: Arc<Fetching>,
    used: Used,
    /// Of those that came to nothing.
    told: Mutex<SeldomOfEach<SignInProblem>>,
    ring: Arc<KeyRing>,
    clock: SharedClock,
    randomness: Randomness,
}

/// The parts of a server that this is made of.
pub struct SignInParts<'a> {
    pub settings: Arc<SignInSettings>,
    pub rules: Arc<SignInRules>,
    pub issuers: &'a Issuers,
    pub ring: Arc<KeyRing>,
    pub clock: SharedClock,
    pub randomness: Randomness,
}

impl SignIn {
    pub fn new(parts: SignInParts<'_>) -> Self {
        let issuer = Issuer {
            name: IssuerName::stored(NAME.to_owned()),
            registration: parts.settings.registration.as_ref().clone(),
        };
        Self {
            settings: parts.settings,
            rules: parts.rules,
            issuer: Arc::new(issuer),
            provider: Provider::default(),
            keys: Arc::default(),
            fetching: parts.issuers.0.fetching.clone(),
            used: Used::default(),
            told: Mutex::default(),
            ring: parts.ring,
            clock: parts.clock,
            randomness: parts.randomness,
        }
    }

    /// What the sign-in page calls the provider.
    pub fn name(&self) -> &str {
        &self.settings.name
    }

    /// Where a browser begins: by the name that the provider leads back to, which its cookie is for.
    pub fn url(&self) -> String {
        self.settings.begin_url()
    }

    /// # Errors
    /// Where the provider does not say where to go.
    pub async fn begin(&self) -> Result<Begun, SignInRefused> {
        let provider = self.provider.metadata(&self.issuer, &self.fetching).await;
        let provider = provider.map_err(unavailable)?;
        let pending = Pending::draw(&self.randomness, self.clock.now());
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(pending.verifier()));
        let mut location = provider.authorization_endpoint.clone();
        location
            .query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.settings.client_id)
            .append_pair("redirect_uri", &self.settings.redirect_url())
            .append_pair("scope", &self.settings.scopes)
            .append_pair("state", &pending.state())
            .append_pair("nonce", &pending.nonce())
            .append_pair("code_challenge", &challenge)
            .append_pair("code_challenge_method", "S256");
        Ok(Begun {
            location,
            pending: pending.seal(&self.ring),
        })
    }

    /// Who has signed in. What the browser kept is used up by this, whatever comes of it.
    ///
    /// # Errors
    /// Where that is not known, or is good for nothing.
    pub async fn complete(
        &self,
        kept: Option<&str>,
        brought: &Brought,
    ) -> Result<SignedIn, SignInRefused> {
        let pending = self.pending(kept, brought)?;
        let provider = self.provider.metadata(&self.issuer, &self.fetching).await;
        let provider = provider.map_err(unavailable)?;
        // Another provider's answer is sent nowhere (RFC 9207, section 2.4).
        match &brought.issuer {
            Some(issuer) if *issuer == self.issuer.registration.issuer => {}
            None if !provider.names_itself => {}
            Some(_) | None => {
                let why = "the authorization response is not of the provider (iss)";
                return Err(SignInRefused::because(SignInProblem::Untrusted, why));
            }
        }
        if let Some(error) = &brought.error {
            return Err(refused_by_provider(error));
        }
        let code = brought.code.as_deref();
        let code = code.filter(|code| (1..=CODE_MAX_CHARS).contains(&code.len()));
        let Some(code) = code else {
            let why = "the authorization response holds no code, or one that is too long";
            return Err(SignInRefused::because(SignInProblem::Untrusted, why));
        };
        let grant = CodeGrant {
            settings: &self.settings,
            code,
            verifier: pending.verifier(),
        };
        let token = provider
            .exchange(&grant, &self.issuer, &self.fetching)
            .await;
        let token = token.map_err(|fault| SignInRefused::because(fault.problem(), fault))?;
        let identified = self.identified(&token, &pending.nonce()).await?;
        let place = identified.rule.map_err(|failed| {
            let why = failed.map_or("no rule matches".to_owned(), |failed| {
                format!("no rule matches; {failed}")
            });
            let refused = SignInRefused::because(SignInProblem::NoRule, why);
            refused.of(&identified.name)
        })?;
        let rule = self.rules.digest(place);
        let rule = rule.ok_or_else(|| {
            SignInRefused::because(SignInProblem::NoRule, "there is no such rule")
        })?;
        Ok(SignedIn {
            name: identified.name,
            rule,
        })
    }

    /// Says why sign-ins come to nothing: each for who looks closely, and how many of a kind once a
    /// minute, for anybody can begin one.
    pub fn tell(&self, refused: &SignInRefused) {
        let problem = refused.problem.code();
        tracing::debug!(problem, why = %refused, "a sign-in by OpenID Connect came to nothing");
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(calls) = told.count(refused.problem, self.clock.boot()) {
            tracing::warn!(
                name: "sign_in.refused",
                problem, why = %refused, calls,
                "sign-ins by OpenID Connect came to nothing; this is why the last one did"
            );
        }
    }

    /// What that browser has under way; it is used up now.
    fn pending(&self, kept: Option<&str>, brought: &Brought) -> Result<Pending, SignInRefused> {
        let not_under_way = |why| SignInRefused::because(SignInProblem::NotUnderWay, why);
        let pending = kept.and_then(|text| Pending::open(text, &self.ring));
        let pending = pending.ok_or_else(|| {
            not_under_way("the browser has no cookie of a sign-in that a server of this ring began")
        })?;
        let state = brought.state.as_deref().unwrap_or_default();
        if !bool::from(state.as_bytes().ct_eq(pending.state().as_bytes())) {
            return Err(not_under_way("state is not that of the browser's sign-in"));
        }
        let age = self.clock.now().since(pending.begun);
        if !(Ms::ZERO..PENDING_MAX).contains(&age) {
            return Err(not_under_way("it took longer than a sign-in may"));
        }
        match self.used.is_first(&pending) {
            true => Ok(pending),
            false => Err(not_under_way("state was used before")),
        }
    }

    async fn identified(&self, token: &str, nonce: &str) -> Result<Identified, SignInRefused> {
        let untrusted = |why: &dyn std::fmt::Display| {
            let why = format!("the ID token is refused: {why}");
            SignInRefused::because(SignInProblem::Untrusted, why)
        };
        let token = Jwt::read(token).ok_or_else(|| untrusted(&"it is no JWT that can be read"))?;
        let registration = &self.issuer.registration;
        let checked = token.check(registration, self.clock.now());
        checked.map_err(|fault| untrusted(&fault))?;
        let keys = self.keys.keys(&self.issuer, token.key_id(), &self.fetching);
        let keys = keys.await.map_err(|_| {
            let why = "the keys of the provider cannot be fetched";
            SignInRefused::because(SignInProblem::Unavailable, why)
        })?;
        let expected = Expected {
            client: &self.settings.client_id,
            nonce,
        };
        // Fetching took its time.
        let now = self.clock.now();
        let identified = token.identify(&expected, registration, &keys, now);
        identified.map_err(|fault| untrusted(&fault))
    }
}

impl SignInRefused {
    fn of(self, name: &str) -> Self {
        Self {
            name: Some(name.to_owned()),
            ..self
        }
    }
}

fn unavailable(fault: impl std::fmt::Display) -> SignInRefused {
    SignInRefused::because(SignInProblem::Unavailable, fault)
}

/// What an error means (RFC 6749, section 4.1.2.1; OpenID Connect Core 1.0, section 3.1.2.6); its text
/// is the provider's, and is repeated nowhere.
fn refused_by_provider(error: &str) -> SignInRefused {
    let (problem, why) = match error {
        "access_denied" => (SignInProblem::Denied, "access_denied"),
        "login_required" => (SignInProblem::Denied, "login_required"),
        "consent_required" => (SignInProblem::Denied, "consent_required"),
        "interaction_required" => (SignInProblem::Denied, "interaction_required"),
        "server_error" => (SignInProblem::Unavailable, "server_error"),
        "temporarily_unavailable" => (SignInProblem::Unavailable, "temporarily_unavailable"),
        "invalid_request" => (SignInProblem::Refused, "invalid_request"),
        "invalid_scope" => (SignInProblem::Refused, "invalid_scope"),
        "unauthorized_client" => (SignInProblem::Refused, "unauthorized_client"),
        "unsupported_response_type" => (SignInProblem::Refused, "unsupported_response_type"),
        _ => (SignInProblem::Refused, "an error of its own"),
    };
    SignInRefused::because(problem, format!("the provider answers {why}"))
}
