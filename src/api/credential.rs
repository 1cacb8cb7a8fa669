//! What a caller shows, by which he is recognised again while his answer goes on.

use std::sync::Arc;

use poem::Request;

use super::auth::presented;
use super::problem::Problem;
use crate::access::Caller;
use crate::access::certified::CertifiedAs;
use crate::access::key::PresentedKey;
use crate::app::App;

/// What says who calls.
pub enum Credential {
    /// In the header `Authorization`.
    Presented(PresentedKey),
    Certificate(CertifiedAs),
}

impl Credential {
    /// The one that counts.
    pub fn of(request: &Request, _: &App) -> Option<Self> {
        let certified = || request.data::<CertifiedAs>().cloned();
        presented(request)
            .map(Self::Presented)
            .or_else(|| certified().map(Self::Certificate))
    }

    /// Whose it is now; none where it is good no more.
    ///
    /// # Errors
    /// Where nobody can be asked that knows.
    pub async fn recognise(&self, app: &App) -> Result<Option<Arc<Caller>>, Problem> {
        match self {
            // What asks the database is large; few calls do.
            Self::Presented(key) => Ok(Box::pin(app.issuers.recognise(key)).await?),
            Self::Certificate(certified) => match certified.key(app.clock.now()) {
                Some(name) => Ok(Box::pin(app.memory.recognise_named(name)).await?),
                None => Ok(None),
            },
        }
    }
}
