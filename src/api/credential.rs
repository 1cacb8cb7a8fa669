//! What a caller shows: an API key or JWT, the cookie of a session, or a certificate. One of them
//! counts, in that order.

use std::sync::Arc;

use poem::Request;
use poem::http::header::AUTHORIZATION;

use super::cookies::SESSION;
use super::problem::Problem;
use crate::access::Caller;
use crate::access::certified::CertifiedAs;
use crate::access::key::{self, PresentedKey};
use crate::app::App;
use crate::console::session::Session;
use crate::foundation::clock::EpochMs;

/// What says who calls.
#[derive(Clone)]
pub enum Credential {
    /// In the header `Authorization`.
    Presented(PresentedKey),
    /// In a cookie that a server with a key of this ring has sealed.
    Session(Session),
    Certificate(CertifiedAs),
}

impl Credential {
    /// The one that counts. Where `Authorization` says anything, no cookie is looked at; where there
    /// is a cookie, good or not, no certificate is.
    pub fn of(request: &Request, app: &App) -> Option<Self> {
        if let Some(presented) = presented(request) {
            return Some(Self::Presented(presented));
        }
        let is_authorized = request.headers().contains_key(AUTHORIZATION);
        if !is_authorized && app.settings.console.enabled {
            let cookie = SESSION.shown(request, &app.settings.http);
            if let Some(cookie) = cookie {
                return app.sessions.open(cookie).map(Self::Session);
            }
        }
        request
            .data::<CertifiedAs>()
            .cloned()
            .map(Self::Certificate)
    }

    /// Whose it is now; none where it is good no more.
    ///
    /// # Errors
    /// Where nobody can be asked that knows.
    pub async fn recognise(&self, app: &App) -> Result<Option<Arc<Caller>>, Problem> {
        match self {
            // What asks the database is large; few calls do.
            Self::Presented(key) => Ok(Box::pin(app.issuers.recognise(key)).await?),
            Self::Session(session) => Ok(app.sessions.caller(session).await?),
            Self::Certificate(certified) => match certified.key(app.clock.now()) {
                Some(name) => Ok(app.memory.recognise_named(name).await?),
                None => Ok(None),
            },
        }
    }

    /// When it ends if nobody ends it before, as far as that is known; none: it does not.
    pub fn ends(&self, app: &App, caller: &Caller) -> Option<EpochMs> {
        let of_session = match self {
            Self::Session(session) => Some(app.sessions.ends(session).idle),
            Self::Presented(_) | Self::Certificate(_) => None,
        };
        [of_session, caller.expires_at].into_iter().flatten().min()
    }
}

/// The key a caller presents, if it presents one.
pub fn presented(request: &Request) -> Option<PresentedKey> {
    let authorization = request.headers().get(AUTHORIZATION)?.to_str().ok()?;
    key::presented(authorization).map(PresentedKey::of)
}
