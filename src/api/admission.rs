//! Who is let past the front, before the body is read: callers by their key, as often as its rate
//! allows; others as often as the rate of their address.

use std::net::IpAddr;
use std::sync::Arc;

use poem::Request;

use super::auth::{Call, Recognised};
use super::browser::may_change;
use super::credential::Credential;
use super::forwarded::address_of;
use super::paths::Entrance;
use super::problem::Problem;
use crate::access::Caller;
use crate::access::address_rates::ChargedHandshake;
use crate::access::writer::DenialReason;
use crate::app::App;
use crate::console::session::Session;
use crate::foundation::metrics::LimitLabels;

/// What a change by a session shows.
const CSRF: &str = "x-csrf-token";
/// Where metrics are; they say that the database is away, and must not need it for that.
const METRICS: &str = "/metrics";

/// Recognises the caller, and counts the call.
///
/// # Errors
///
/// Where the caller has no good key (401), or calls too often (429), or the database does not say
/// whether the key is good.
pub async fn admit(
    request: &mut Request,
    app: &App,
    entrance: Option<Entrance>,
) -> Result<(), Problem> {
    match entrance {
        None | Some(Entrance::Open) => Ok(()),
        Some(Entrance::Signed) => take(request, app),
        Some(Entrance::Key) => by_key(request, app).await,
    }
}

async fn by_key(request: &mut Request, app: &App) -> Result<(), Problem> {
    let credential = Credential::of(request, app);
    // Whoever shows a key that is remembered, a session or a certificate guesses none, and is held up
    // by nobody who does.
    let known = match &credential {
        Some(Credential::Presented(key)) => app.memory.remembers(key.hash()),
        Some(Credential::Certificate(certified)) => certified.key(app.clock.now()).is_some(),
        Some(Credential::Session(_)) => true,
        None => false,
    };
    if !known {
        take(request, app)?;
    }
    let caller = match &credential {
        Some(credential) => recognise(request, app, credential).await?,
        None => None,
    };
    let call = Call::by(request, app);
    let (Some(caller), Some(credential)) = (caller, credential) else {
        if known {
            charge(request, app);
        }
        return Err(call.deny(None, DenialReason::Unauthorized));
    };
    if !known {
        give_back(request, app);
    }
    is_good(request);
    tracing::Span::current().record("caller", caller.name.as_str());
    if let Some(limit) = &caller.limit
        && let Err(wait) = limit.take(app.clock.boot())
    {
        count(app, "key");
        let refused = call.deny(Some(&caller), DenialReason::KeyRate);
        return Err(refused.after(wait));
    }
    if let Credential::Session(session) = &credential
        && may_change(request)
        && !shows_csrf(request, session)
    {
        return Err(call.deny(Some(&caller), DenialReason::Csrf));
    }
    request.set_data(Recognised { caller, credential });
    Ok(())
}

/// Whether a call shows what only the page of its session can know.
fn shows_csrf(request: &Request, session: &Session) -> bool {
    let shown = request.headers().get(CSRF);
    shown.is_some_and(|shown| session.has_csrf(shown.as_bytes()))
}

async fn recognise(
    request: &Request,
    app: &App,
    credential: &Credential,
) -> Result<Option<Arc<Caller>>, Problem> {
    if let Credential::Presented(key) = credential {
        let sure = app.memory.sure_caller(key.hash(), app.clock.moment());
        if sure.is_some() {
            return Ok(sure);
        }
        if request.uri().path() == METRICS {
            // What asks the database is large; few calls do.
            let recognised = Box::pin(app.issuers.recognise_or_recall(key)).await;
            return recognised.map_err(Problem::from);
        }
    }
    credential.recognise(app).await
}

/// Counts a call by its address, before anything is awaited for it: however many come at once, and
/// whoever hangs up, is counted. Refuses one too many.
pub fn take(request: &Request, app: &App) -> Result<(), Problem> {
    let Some(address) = address(request, app) else {
        return Ok(());
    };
    let taken = app.address_rates.take(address, app.clock.boot());
    taken.map_err(|wait| {
        count(app, "address");
        let refused = Call::by(request, app).deny(None, DenialReason::AddressRate);
        refused.after(wait).held_back()
    })
}

/// Takes back what was counted: the key is good.
pub fn give_back(request: &Request, app: &App) {
    if let Some(address) = address(request, app) {
        app.address_rates.give_back(address);
    }
}

/// What was counted of a push until it turns out to be signed.
pub struct Counted {
    address: Option<IpAddr>,
    handshake: Option<ChargedHandshake>,
}

impl Counted {
    pub fn of(request: &Request, app: &App) -> Self {
        Self {
            address: address(request, app),
            handshake: request.data::<ChargedHandshake>().cloned(),
        }
    }

    pub fn give_back(self, app: &App) {
        if let Some(address) = self.address {
            app.address_rates.give_back(address);
        }
        if let Some(handshake) = self.handshake {
            handshake.give_back();
        }
    }
}

/// Whoever has a good key shakes hands as often as he likes.
pub fn is_good(request: &Request) {
    if let Some(handshake) = request.data::<ChargedHandshake>() {
        handshake.give_back();
    }
}

/// Counts a call without a good key.
fn charge(request: &Request, app: &App) {
    if let Some(address) = address(request, app) {
        app.address_rates.charge(address, app.clock.boot());
    }
}

/// None where the caller has no address.
fn address(request: &Request, app: &App) -> Option<IpAddr> {
    let peer = request.remote_addr().as_socket_addr()?;
    let proxies = &app.settings.http.trusted_proxies;
    Some(address_of(peer.ip(), request.headers(), proxies))
}

/// Counts a call that is refused because there are too many.
fn count(app: &App, limit: &'static str) {
    app.metrics
        .limited
        .get_or_create(&LimitLabels { limit })
        .inc();
}
