//! How humans sign in by OpenID Connect.

use std::sync::Arc;

use secrecy::SecretString;

use crate::access::issuer::IssuerRegistration;

/// Where a sign-in begins, below the server's address.
pub const BEGIN_PATH: &str = "/console/sign-in/oidc";
/// Where the provider leads a browser back to, below that.
pub const CALLBACK_PATH: &str = "/console/sign-in/oidc/callback";

#[derive(Clone, Debug)]
pub struct SignInSettings {
    /// What the sign-in page calls the provider.
    pub name: String,
    /// How browsers reach this server, without a `/` at the end. Who asks says nothing about that.
    pub public_url: String,
    pub client_id: String,
    /// None: of a public client.
    pub client_secret: Option<SecretString>,
    /// What is asked for, `openid` among it.
    pub scopes: String,
    /// The provider: its issuer, and the rules; its ID tokens are for the client.
    pub registration: Arc<IssuerRegistration>,
}

impl SignInSettings {
    pub fn begin_url(&self) -> String {
        format!("{}{BEGIN_PATH}", self.public_url)
    }

    /// As it is registered at the provider.
    pub fn redirect_url(&self) -> String {
        format!("{}{CALLBACK_PATH}", self.public_url)
    }
}
