//! Whether connections to a MySQL server are encrypted, and whom they trust: what the
//! configuration and the URL say together.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sea_orm::sqlx::mysql::{MySqlConnectOptions, MySqlSslMode};
use url::Url;

/// What `database.tls` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WantedTls {
    Off,
    Required,
    Verify,
}

impl WantedTls {
    pub const ALL: [Self; 3] = [Self::Required, Self::Verify, Self::Off];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Required => "required",
            Self::Verify => "verify",
        }
    }
}

/// Who signs the certificate of a server that is verified, beside the public authorities that the
/// driver has.
#[derive(Clone, PartialEq, Eq)]
pub enum Authorities {
    System,
    /// In PEM.
    Named(Vec<u8>),
}

impl fmt::Debug for Authorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::System => "System",
            Self::Named(_) => "Named",
        })
    }
}

/// How connections are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DbTls {
    Off,
    /// Where the server offers it. Only for one on this machine: the driver sends a password of
    /// MySQL 8 over TLS only, and an older MariaDB has none.
    Preferred,
    /// Encrypted, whoever answers.
    Required,
    /// The certificate is signed by who is trusted. Only a URL asks for that.
    VerifyAuthority(Authorities),
    /// And it names the host.
    Verify(Authorities),
}

/// Why the configuration and the URL do not go together.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TlsConflict {
    #[error("database.tls is for mysql:// only: leave it out for SQLite")]
    Sqlite,
    #[error(
        "database.tls says {wanted}, and ssl-mode in database.url {in_url}: remove ssl-mode from the URL"
    )]
    Mode {
        wanted: &'static str,
        in_url: &'static str,
    },
    #[error(
        "ssl-mode=PREFERRED in database.url, whose host is another machine, lets whoever is on the way switch encryption off: remove it, and set database.tls"
    )]
    Preferred,
    #[error(
        "ssl-mode in database.url must be REQUIRED, VERIFY_CA, VERIFY_IDENTITY, DISABLED or, on this machine, PREFERRED: remove it, and set database.tls"
    )]
    UnknownMode,
    #[error(
        "database.tls_ca_file and ssl-ca in database.url name two files: remove ssl-ca from the URL"
    )]
    Authority,
    #[error(
        "authorities are named (database.tls_ca_file, or ssl-ca in database.url), and nothing verifies the server: set database.tls to verify, or remove them"
    )]
    UselessAuthority,
}

/// What is wanted, before the file of authorities is read.
#[derive(Debug, PartialEq, Eq)]
pub struct TlsPlan {
    mode: Mode,
    /// The file of authorities.
    pub ca_file: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Off,
    Preferred,
    Required,
    VerifyAuthority,
    Verify,
}

impl From<WantedTls> for Mode {
    fn from(wanted: WantedTls) -> Self {
        match wanted {
            WantedTls::Off => Self::Off,
            WantedTls::Required => Self::Required,
            WantedTls::Verify => Self::Verify,
        }
    }
}

impl TlsPlan {
    /// # Errors
    /// Where the configuration and the URL contradict each other.
    pub fn of(
        url: &str,
        wanted: Option<WantedTls>,
        ca_file: Option<PathBuf>,
    ) -> Result<Self, TlsConflict> {
        if url.starts_with("sqlite:") {
            return match wanted.is_none() && ca_file.is_none() {
                true => Ok(Self {
                    mode: Mode::Off,
                    ca_file: None,
                }),
                false => Err(TlsConflict::Sqlite),
            };
        }
        let address = Address::of(url)?;
        if matches!(address.mode, Some((Mode::Preferred, _))) && !address.is_local {
            return Err(TlsConflict::Preferred);
        }
        let ca_file = match (ca_file, address.ca_file) {
            (Some(ours), Some(theirs)) if ours != theirs => return Err(TlsConflict::Authority),
            (ours, theirs) => ours.or(theirs),
        };
        let mode = match (wanted, address.mode) {
            (Some(wanted), Some((mode, in_url))) if Mode::from(wanted) != mode => {
                let wanted = wanted.as_str();
                return Err(TlsConflict::Mode { wanted, in_url });
            }
            (Some(wanted), _) => wanted.into(),
            (None, Some((mode, _))) => mode,
            // Who names authorities wants them asked.
            (None, None) if ca_file.is_some() => Mode::Verify,
            (None, None) if address.is_local => Mode::Preferred,
            (None, None) => Mode::Required,
        };
        if ca_file.is_some() && !matches!(mode, Mode::VerifyAuthority | Mode::Verify) {
            return Err(TlsConflict::UselessAuthority);
        }
        Ok(Self { mode, ca_file })
    }

    /// With what the file holds.
    pub fn with(self, authorities: Authorities) -> DbTls {
        match self.mode {
            Mode::Off => DbTls::Off,
            Mode::Preferred => DbTls::Preferred,
            Mode::Required => DbTls::Required,
            Mode::VerifyAuthority => DbTls::VerifyAuthority(authorities),
            Mode::Verify => DbTls::Verify(authorities),
        }
    }
}

/// What a URL of MySQL says of the way to the server.
struct Address {
    /// And how the URL says it.
    mode: Option<(Mode, &'static str)>,
    ca_file: Option<PathBuf>,
    /// Nobody else is on the way.
    is_local: bool,
}

impl Address {
    fn of(url: &str) -> Result<Self, TlsConflict> {
        let (mut mode, mut ca_file, mut has_socket) = (None, None, false);
        // One that cannot be read is refused by whoever connects.
        let url = Url::parse(url).ok();
        for (key, value) in url.iter().flat_map(Url::query_pairs) {
            match &*key {
                "sslmode" | "ssl-mode" => mode = Some(mode_of(&value)?),
                "sslca" | "ssl-ca" => ca_file = Some(PathBuf::from(&*value)),
                "socket" => has_socket = true,
                _ => {}
            }
        }
        let host = url.as_ref().and_then(Url::host_str);
        Ok(Self {
            mode,
            ca_file,
            is_local: has_socket || host.is_none_or(is_loopback),
        })
    }
}

fn mode_of(word: &str) -> Result<(Mode, &'static str), TlsConflict> {
    Ok(match &*word.to_ascii_uppercase() {
        "DISABLED" => (Mode::Off, "DISABLED"),
        "REQUIRED" => (Mode::Required, "REQUIRED"),
        "VERIFY_CA" => (Mode::VerifyAuthority, "VERIFY_CA"),
        "VERIFY_IDENTITY" => (Mode::Verify, "VERIFY_IDENTITY"),
        "PREFERRED" => (Mode::Preferred, "PREFERRED"),
        _ => return Err(TlsConflict::UnknownMode),
    })
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || address.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

impl DbTls {
    /// As the log says it.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Off => WantedTls::Off.as_str(),
            Self::Preferred => "preferred",
            Self::Required => WantedTls::Required.as_str(),
            Self::VerifyAuthority(_) => "verify_ca",
            Self::Verify(_) => WantedTls::Verify.as_str(),
        }
    }

    /// Instead of what the URL says.
    pub(super) fn apply(&self, options: MySqlConnectOptions) -> MySqlConnectOptions {
        let (mode, authorities) = match self {
            Self::Off => (MySqlSslMode::Disabled, None),
            Self::Preferred => (MySqlSslMode::Preferred, None),
            Self::Required => (MySqlSslMode::Required, None),
            Self::VerifyAuthority(authorities) => (MySqlSslMode::VerifyCa, Some(authorities)),
            Self::Verify(authorities) => (MySqlSslMode::VerifyIdentity, Some(authorities)),
        };
        // Brackets are of the URL, and no part of an address of IPv6.
        let host = options.get_host().trim_matches(['[', ']']).to_owned();
        let options = options.host(&host).ssl_mode(mode);
        match authorities {
            None => options,
            Some(Authorities::System) => options.ssl_ca_from_pem(of_system()),
            Some(Authorities::Named(pem)) => options.ssl_ca_from_pem(pem.clone()),
        }
    }
}

/// The system's authorities, in PEM: the driver has the public ones only.
fn of_system() -> Vec<u8> {
    let mut pem = String::new();
    for certificate in rustls_native_certs::load_native_certs().certs {
        pem.push_str("-----BEGIN CERTIFICATE-----\n");
        pem.push_str(&STANDARD.encode(certificate));
        pem.push_str("\n-----END CERTIFICATE-----\n");
    }
    pem.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(url: &str, wanted: Option<WantedTls>, ca: Option<&str>) -> Result<Mode, TlsConflict> {
        let plan = TlsPlan::of(url, wanted, ca.map(PathBuf::from))?;
        Ok(plan.mode)
    }

    #[test]
    fn what_leaves_the_machine_is_encrypted_unless_something_else_is_said() {
        for (host, expected) in [
            ("db.example", Mode::Required),
            ("db.example:3307", Mode::Required),
            ("10.0.0.7", Mode::Required),
            ("[2001:db8::1]:3306", Mode::Required),
            ("localhost.example", Mode::Required),
            ("127.0.0.1.example", Mode::Required),
            ("0.0.0.0", Mode::Required),
            ("localhost", Mode::Preferred),
            ("LOCALHOST:3306", Mode::Preferred),
            ("127.0.0.1:3306", Mode::Preferred),
            ("127.8.9.1", Mode::Preferred),
            ("[::1]:3306", Mode::Preferred),
        ] {
            let url = format!("mysql://app:pw@{host}/tokens");
            assert_eq!(plan(&url, None, None), Ok(expected), "{host}");
            for wanted in WantedTls::ALL {
                assert_eq!(plan(&url, Some(wanted), None), Ok(wanted.into()), "{host}");
            }
            let verified = plan(&url, None, Some("/ca.pem"));
            assert_eq!(verified, Ok(Mode::Verify), "{host}");
        }
        let socket = "mysql://app@db.example/tokens?socket=/run/mysqld/mysqld.sock";
        assert_eq!(plan(socket, None, None), Ok(Mode::Preferred));
        let said = "mysql://app@localhost/tokens?ssl-mode=PREFERRED";
        assert_eq!(plan(said, None, None), Ok(Mode::Preferred));
    }

    #[test]
    fn the_url_may_say_the_same_and_nothing_else() {
        use WantedTls::{Off, Required, Verify};
        for (query, wanted, expected) in [
            ("ssl-mode=REQUIRED", None, Ok(Mode::Required)),
            ("sslmode=required", Some(Required), Ok(Mode::Required)),
            ("ssl-mode=DISABLED", None, Ok(Mode::Off)),
            ("ssl-mode=DISABLED", Some(Off), Ok(Mode::Off)),
            ("ssl-mode=VERIFY_IDENTITY", Some(Verify), Ok(Mode::Verify)),
            ("ssl-mode=VERIFY_CA", None, Ok(Mode::VerifyAuthority)),
            (
                "ssl-ca=/a.pem&ssl-mode=VERIFY_CA",
                None,
                Ok(Mode::VerifyAuthority),
            ),
            ("ssl-ca=/a.pem", None, Ok(Mode::Verify)),
            ("ssl-ca=/a.pem", Some(Verify), Ok(Mode::Verify)),
            (
                "ssl-ca=/a.pem",
                Some(Required),
                Err(TlsConflict::UselessAuthority),
            ),
            (
                "sslca=/a.pem&ssl-mode=REQUIRED",
                None,
                Err(TlsConflict::UselessAuthority),
            ),
            ("ssl-mode=PREFERRED", None, Err(TlsConflict::Preferred)),
            (
                "ssl-mode=PREFERRED",
                Some(Required),
                Err(TlsConflict::Preferred),
            ),
            ("ssl-mode=on", None, Err(TlsConflict::UnknownMode)),
        ] {
            let url = format!("mysql://app:pw@db.example/tokens?{query}");
            assert_eq!(plan(&url, wanted, None), expected, "{query} {wanted:?}");
        }
        for (word, wanted) in [
            ("DISABLED", Required),
            ("DISABLED", Verify),
            ("REQUIRED", Off),
            ("REQUIRED", Verify),
            ("VERIFY_CA", Verify),
            ("VERIFY_IDENTITY", Required),
        ] {
            let url = format!("mysql://app:canary@db.example/tokens?ssl-mode={word}");
            let refused = plan(&url, Some(wanted), None).unwrap_err().to_string();
            assert!(refused.contains(word) && refused.contains(wanted.as_str()));
            assert!(!refused.contains("canary"), "{refused}");
        }
        let both = |ca| plan("mysql://db.example/t?ssl-ca=/a.pem", None, Some(ca));
        assert_eq!(both("/a.pem"), Ok(Mode::Verify));
        assert_eq!(both("/b.pem"), Err(TlsConflict::Authority));
    }

    #[test]
    fn an_address_of_ipv6_is_connected_to_without_its_brackets() {
        let options = "mysql://app@[2001:db8::1]:3307/t".parse().unwrap();
        let options = DbTls::Required.apply(options);
        assert_eq!(options.get_host(), "2001:db8::1");
        assert_eq!(options.get_port(), 3307);
    }

    #[test]
    fn sqlite_has_nothing_to_encrypt() {
        let url = "sqlite:///var/lib/t.db?mode=rwc";
        assert_eq!(plan(url, None, None), Ok(Mode::Off));
        for wanted in WantedTls::ALL {
            assert_eq!(plan(url, Some(wanted), None), Err(TlsConflict::Sqlite));
        }
        assert_eq!(plan(url, None, Some("/a.pem")), Err(TlsConflict::Sqlite));
    }
}
