//! What platforms of containers and functions say by variables of their own: the port that they
//! send requests to, and that they freeze the process between two of them.

use std::net::{Ipv4Addr, SocketAddr};

use crate::config::settings::{ConfigError, Env, HttpSettings};

/// A platform of functions. It sends requests to one port only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Platform {
    /// Function Compute of Aliyun, which says the port in this variable.
    FunctionCompute,
    /// SCF of Tencent: web functions listen at a port that is always the same.
    Scf,
}

/// The port of Function Compute, set for custom containers and custom runtimes.
const FC_SERVER_PORT: &str = "FC_SERVER_PORT";
/// The name of a function of SCF, set in each.
const SCF_FUNCTION: &str = "SCF_FUNCTIONNAME";
const SCF_PORT: u16 = 9000;
/// Of Cloud Run, App Service, Heroku and others; developers' machines may have it, too.
const PORT: &str = "PORT";

impl Platform {
    pub(super) fn of(env: &Env) -> Option<Self> {
        if said(env, FC_SERVER_PORT).is_some() {
            return Some(Self::FunctionCompute);
        }
        said(env, SCF_FUNCTION).map(|_| Self::Scf)
    }
}

/// Where to listen. The port of a platform of functions comes first, at all addresses, since
/// requests come to no other. `PORT` is only the port of the address that is configured; where none
/// is, such a platform sends requests from elsewhere, and all addresses are listened at.
pub(in crate::config) fn listen(http: &HttpSettings, env: &Env) -> Result<SocketAddr, ConfigError> {
    let everywhere = |port| SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
    let of_platform = match Platform::of(env) {
        Some(Platform::FunctionCompute) => port_in(env, FC_SERVER_PORT)?,
        Some(Platform::Scf) => Some(SCF_PORT),
        None => None,
    };
    if let Some(port) = of_platform {
        return Ok(everywhere(port));
    }
    Ok(match port_in(env, PORT)? {
        None => http.listen,
        Some(port) if http.listen_is_set => (http.listen.ip(), port).into(),
        Some(port) => everywhere(port),
    })
}

fn port_in(env: &Env, name: &str) -> Result<Option<u16>, ConfigError> {
    let Some(text) = said(env, name) else {
        return Ok(None);
    };
    match text.parse() {
        Ok(port @ 1..) => Ok(Some(port)),
        _ => Err(ConfigError::of_key(
            name,
            "must be a port, from 1 to 65535; unset it where it is not meant for this server",
        )),
    }
}

fn said<'a>(env: &'a Env, name: &str) -> Option<&'a str> {
    let value = env.get(name).map(String::as_str);
    value.filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use crate::config::Settings;

    fn load_with(file: &str, env: &[(&str, &str)]) -> Result<Settings, String> {
        let env = env
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let env = env.collect();
        Settings::from_text(file, &env)
            .and_then(|settings| settings.listening_where_told(&env))
            .map_err(|error| error.to_string())
    }

    fn load(env: &[(&str, &str)]) -> Result<Settings, String> {
        load_with("http.listen = \"127.0.0.1:1234\"", env)
    }

    const OWN: (&str, &str) = ("TOKEN_SERVER__HTTP__LISTEN", "127.0.0.2:2000");
    const IMAGE: (&str, &str) = ("TOKEN_SERVER__HTTP__LISTEN", "0.0.0.0:8080");
    const PORT: (&str, &str) = ("PORT", "3000");
    const FC: (&str, &str) = ("FC_SERVER_PORT", "4000");
    const SCF: (&str, &str) = ("SCF_FUNCTIONNAME", "token-server");

    #[test]
    fn a_platform_of_functions_is_obeyed_first_and_port_is_the_port_of_the_configured_address() {
        for (env, listen, frozen) in [
            (&[][..], "127.0.0.1:1234", false),
            (&[PORT], "127.0.0.1:3000", false),
            (&[("PORT", "")], "127.0.0.1:1234", false),
            (&[PORT, OWN], "127.0.0.2:3000", false),
            (&[PORT, IMAGE], "0.0.0.0:3000", false),
            (
                &[PORT, ("TOKEN_SERVER__HTTP__LISTEN", "[::1]:1")],
                "[::1]:3000",
                false,
            ),
            (&[PORT, OWN, FC], "0.0.0.0:4000", true),
            (&[PORT, OWN, SCF], "0.0.0.0:9000", true),
            (&[FC, SCF], "0.0.0.0:4000", true),
        ] {
            let http = load(env).unwrap().http;
            assert_eq!(http.listen.to_string(), listen, "{env:?}");
            assert_eq!(http.frozen_between_requests, frozen, "{env:?}");
        }
    }

    #[test]
    fn where_no_address_is_configured_port_is_listened_to_at_all() {
        let listen = |file, env| load_with(file, env).unwrap().http.listen.to_string();
        assert_eq!(listen("", &[]), "127.0.0.1:8080");
        assert_eq!(listen("", &[PORT]), "0.0.0.0:3000");
        // Also where it is the default that somebody has written down.
        let default = "http.listen = \"127.0.0.1:8080\"";
        assert_eq!(listen(default, &[PORT]), "127.0.0.1:3000");
    }

    #[test]
    fn whoever_does_not_listen_does_not_mind_a_port() {
        let env = [("PORT".to_owned(), "none".to_owned())].into();
        assert!(Settings::from_text("", &env).is_ok());
    }

    #[test]
    fn whether_it_is_frozen_may_be_said_against_the_platform() {
        let own = |value| ("TOKEN_SERVER__HTTP__FROZEN_BETWEEN_REQUESTS", value);
        for (env, frozen) in [
            (&[FC, own("false")][..], false),
            (&[own("true")], true),
            (&[own("true"), PORT], true),
        ] {
            let settings = load(env).unwrap();
            assert_eq!(settings.http.frozen_between_requests, frozen, "{env:?}");
            assert_eq!(settings.memory.frozen_between_requests, frozen, "{env:?}");
        }
    }

    #[test]
    fn a_port_that_is_none_is_refused_by_the_name_of_its_variable() {
        for name in ["PORT", "FC_SERVER_PORT"] {
            for port in ["0", "65536", "tcp://10.0.0.1:80"] {
                let error = load(&[(name, port)]).unwrap_err();
                assert!(error.starts_with(name), "{error}");
                assert!(!error.contains("10.0.0.1"), "{error}");
            }
        }
    }
}
