//! Why an encrypted connection could not be had, in plain words that say what to do.

use rustls::CertificateError as Certificate;
use sea_orm::sqlx::error::Error as SqlxError;

/// How the driver says that the server has no TLS.
const NO_TLS: &str = "server does not support TLS";
/// How the driver says that it sends a password over TLS only.
const NO_RSA: &str = "RSA auth backend disabled";

/// None where it was not TLS that failed.
pub(super) fn why_failed(error: &SqlxError) -> Option<String> {
    match error {
        SqlxError::Tls(error) if error.to_string() == NO_TLS => Some(
            "the server offers no TLS: give it a certificate (ssl_cert, ssl_key), or, where nobody can be on the way to it, set database.tls to off"
                .to_owned(),
        ),
        SqlxError::Tls(error) => Some(format!("TLS failed: {error}")),
        SqlxError::Configuration(error) if error.to_string().starts_with(NO_RSA) => Some(
            "the password of this user (caching_sha2_password) is sent over TLS only: set database.tls to required or verify"
                .to_owned(),
        ),
        // A connection that was made, and then given up.
        SqlxError::Io(error) => error.get_ref()?.downcast_ref().map(not_trusted),
        _ => None,
    }
}

/// Why a server is not believed to be the one that was meant.
fn not_trusted(error: &rustls::Error) -> String {
    let rustls::Error::InvalidCertificate(why) = error else {
        return format!("TLS failed: {error}");
    };
    match why {
        Certificate::UnknownIssuer | Certificate::BadSignature => {
            "the server's certificate is signed by no authority that is trusted: name the file of its authority by database.tls_ca_file"
        }
        Certificate::NotValidForName | Certificate::NotValidForNameContext { .. } => {
            "the server's certificate does not name the host of database.url: connect by a name that is in it, or give the server one with this name"
        }
        Certificate::Expired | Certificate::ExpiredContext { .. } => {
            "the server's certificate has expired: renew it"
        }
        other => return format!("the server's certificate is refused: {other}"),
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_driver_refuses_without_tls_says_what_to_set() {
        let driver = "RSA auth backend disabled; enable feature `mysql-rsa`";
        let said = why_failed(&SqlxError::Configuration(driver.into())).unwrap();
        assert!(said.contains("set database.tls"), "{said}");
        let other = SqlxError::Configuration("canary".into());
        assert_eq!(why_failed(&other), None);
    }
}
