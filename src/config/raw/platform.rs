//! What platforms of containers and functions say by variables of their own: the port that they
//! send requests to, and that they freeze the process between two of them.

use std::net::{Ipv4Addr, SocketAddr};

use crate::config::settings::{ConfigError, Env};

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
const OWN_LISTEN: &str = "TOKEN_SERVER__HTTP__LISTEN";

impl Platform {
    pub(super) fn of(env: &Env) -> Option<Self> {
        if said(env, FC_SERVER_PORT).is_some() {
            return Some(Self::FunctionCompute);
        }
        said(env, SCF_FUNCTION).map(|_| Self::Scf)
    }
}

/// Where to listen. The port of a platform of functions comes first, since requests come to no
/// other; then `TOKEN_SERVER__HTTP__LISTEN`; then `PORT`; then the file, and the default. A port that
/// a platform says is listened to at all addresses.
pub(super) fn listen(
    platform: Option<Platform>,
    configured: SocketAddr,
    env: &Env,
) -> Result<SocketAddr, ConfigError> {
    let port = match platform {
        Some(Platform::FunctionCompute) => port_in(env, FC_SERVER_PORT)?,
        Some(Platform::Scf) => Some(SCF_PORT),
        None if said(env, OWN_LISTEN).is_some() => None,
        None => port_in(env, PORT)?,
    };
    Ok(port.map_or(configured, |port| (Ipv4Addr::UNSPECIFIED, port).into()))
}

fn port_in(env: &Env, name: &str) -> Result<Option<u16>, ConfigError> {
    let Some(text) = said(env, name) else {
        return Ok(None);
    };
    match text.parse() {
        Ok(port @ 1..) => Ok(Some(port)),
        _ => Err(ConfigError::of_key(
            name,
            "must be a port, from 1 to 65535; unset it where it is not meant for this server, or set \
             TOKEN_SERVER__HTTP__LISTEN",
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

    fn load(env: &[(&str, &str)]) -> Result<Settings, String> {
        let env = env
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Settings::from_text("http.listen = \"127.0.0.1:1234\"", &env.collect())
            .map_err(|error| error.to_string())
    }

    const OWN: (&str, &str) = ("TOKEN_SERVER__HTTP__LISTEN", "127.0.0.1:2000");
    const PORT: (&str, &str) = ("PORT", "3000");
    const FC: (&str, &str) = ("FC_SERVER_PORT", "4000");
    const SCF: (&str, &str) = ("SCF_FUNCTIONNAME", "token-server");

    #[test]
    fn a_platform_of_functions_is_obeyed_first_then_our_own_variable_then_port() {
        for (env, listen, frozen) in [
            (&[][..], "127.0.0.1:1234", false),
            (&[PORT], "0.0.0.0:3000", false),
            (&[("PORT", "")], "127.0.0.1:1234", false),
            (&[PORT, OWN], "127.0.0.1:2000", false),
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
