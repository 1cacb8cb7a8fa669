//! Where requests may go. Public addresses only, unless a network is listed; plain HTTP
//! only into listed networks; to a cloud's metadata service only where its very address is
//! listed. The addresses that are checked are the ones connected to, so a name that changes
//! its mind gains nothing.

mod addresses;

use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;

use ipnet::IpNet;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

use addresses::{embedded, is_metadata, is_public};

/// Domains of names that lead inside: RFC 6761, RFC 6762, RFC 8375, and what ICANN leaves to
/// private networks.
const INSIDE: &[&str] = &["localhost", "local", "home.arpa", "internal"];

/// The policy.
#[derive(Clone, Debug, Default)]
pub struct Egress {
    allowed: Arc<[IpNet]>,
}

/// A destination that policy forbids.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    #[error(
        "{0} resolves only to addresses that are not public; add its network to upstream.allowed_networks if it is meant"
    )]
    NotPublic(String),
    #[error(
        "{0} would be asked over plain http://, which is accepted only within upstream.allowed_networks; add its network to them if it is meant"
    )]
    PlainHttp(String),
    #[error(
        "{0} leads to the address of a cloud's metadata service; only that address itself, not its network, in upstream.allowed_networks permits it"
    )]
    Metadata(String),
    #[error(
        "{0} is a name of the inside, and is not left to a proxy to resolve (resolve = \"proxy\")"
    )]
    InsideName(String),
}

impl Egress {
    pub fn new(allowed: impl IntoIterator<Item = IpNet>) -> Self {
        Self {
            allowed: allowed.into_iter().collect(),
        }
    }

    /// The same policy with one more network listed.
    pub fn and(&self, network: IpNet) -> Self {
        Self::new(self.allowed.iter().copied().chain([network]))
    }

    /// The length of the longest prefix that is listed and holds an address.
    fn listed(&self, address: IpAddr) -> Option<u8> {
        let listed = self.allowed.iter().filter(|net| net.contains(&address));
        listed.map(IpNet::prefix_len).max()
    }

    fn is_listed_itself(&self, address: IpAddr) -> bool {
        self.allowed.contains(&IpNet::from(address))
    }

    /// Whether a request may go to an address of this host.
    fn check(&self, address: IpAddr, scheme: Scheme, host: &str) -> Result<(), Denied> {
        let address = address.to_canonical();
        let embedded = embedded(address);
        let translated = embedded.iter().map(|embedded| embedded.address);
        for metadata in [address].into_iter().chain(translated) {
            if is_metadata(metadata) && !self.is_listed_itself(metadata) {
                return Err(Denied::Metadata(host.to_owned()));
            }
        }
        let listed = self.listed(address);
        let permitted = match scheme {
            Scheme::Plain => listed.is_some(),
            Scheme::Tls => listed.is_some() || is_public(address),
        };
        if !permitted {
            return Err(scheme.denied(host.to_owned()));
        }
        // Where a network of translated addresses is listed, it is the way to others.
        let within = listed.unwrap_or_default();
        embedded
            .into_iter()
            .filter(|embedded| embedded.is_meant_within(within))
            .try_for_each(|embedded| self.check(embedded.address, scheme, host))
    }

    /// Whether a request to this URL is bound to be refused, whatever its name leads to.
    pub fn foresee(&self, url: &Url) -> Option<String> {
        const WHEN: &str = "this is refused when it is sent";
        if let Err(denied) = self.check_literal(url) {
            return Some(format!("{denied}; {WHEN}"));
        }
        let scheme = Scheme::of(url);
        let Some(Host::Domain(name)) = url.host() else {
            return None;
        };
        let own = [
            IpAddr::from([127, 0, 0, 1]),
            IpAddr::from([0_u16, 0, 0, 0, 0, 0, 0, 1]),
        ];
        let is_own = name == "localhost" || name.ends_with(".localhost");
        let permitted = |address: &IpAddr| self.check(*address, scheme, name).is_ok();
        if is_own && !own.iter().any(permitted) {
            return Some(format!("{}; {WHEN}", scheme.denied(name.to_owned())));
        }
        (scheme == Scheme::Plain && self.allowed.is_empty()).then(|| {
            format!(
                "plain http:// is accepted only within upstream.allowed_networks, which lists \
                 none; {WHEN}"
            )
        })
    }

    /// Checks a name that a proxy will resolve: where it leads is for the proxy to judge, but what
    /// is a name of the inside by itself is not asked for.
    pub(super) fn check_unresolved(&self, name: &str, scheme: Scheme) -> Result<(), Denied> {
        let name = name.trim_end_matches('.');
        let below = |parent: &&str| {
            name.strip_suffix(*parent)
                .is_some_and(|rest| rest.ends_with('.'))
        };
        match scheme {
            Scheme::Plain => Err(Denied::PlainHttp(name.to_owned())),
            Scheme::Tls if !name.contains('.') || INSIDE.iter().any(below) => {
                Err(Denied::InsideName(name.to_owned()))
            }
            Scheme::Tls => Ok(()),
        }
    }

    /// Checks an address that stands in the URL itself; names are checked when resolved.
    pub fn check_literal(&self, url: &Url) -> Result<(), Denied> {
        let address = match url.host() {
            Some(Host::Ipv4(address)) => IpAddr::V4(address),
            Some(Host::Ipv6(address)) => IpAddr::V6(address),
            Some(Host::Domain(_)) | None => return Ok(()),
        };
        self.check(address, Scheme::of(url), &address.to_string())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    Plain,
    Tls,
}

impl Scheme {
    pub fn of(url: &Url) -> Self {
        if url.scheme() == "https" {
            Self::Tls
        } else {
            Self::Plain
        }
    }

    fn denied(self, host: String) -> Denied {
        match self {
            Self::Plain => Denied::PlainHttp(host),
            Self::Tls => Denied::NotPublic(host),
        }
    }
}

/// A name that leads nowhere.
#[derive(Debug, thiserror::Error)]
#[error("the name cannot be resolved")]
pub struct LookUpFailed;

/// Where the addresses of names come from.
pub trait Resolver: Send + Sync + std::fmt::Debug {
    fn look_up(&self, host: String) -> Lookup;
}

pub type Lookup = Pin<Box<dyn Future<Output = std::io::Result<Vec<SocketAddr>>> + Send>>;

/// The system's resolver.
#[derive(Debug)]
pub struct SystemResolver;

impl Resolver for SystemResolver {
    fn look_up(&self, host: String) -> Lookup {
        Box::pin(async move { Ok(tokio::net::lookup_host((host, 0)).await?.collect()) })
    }
}

/// Resolves names to permitted addresses only.
pub struct PolicyResolver {
    pub egress: Egress,
    pub names: Arc<dyn Resolver>,
    pub scheme: Scheme,
}

impl Resolve for PolicyResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (egress, names, scheme) = (self.egress.clone(), self.names.clone(), self.scheme);
        let host = name.as_str().to_owned();
        Box::pin(async move {
            match permitted_addresses(&egress, &*names, scheme, host).await {
                Ok(permitted) => Ok(Box::new(permitted.into_iter()) as Addrs),
                Err(NoAddress::LookUpFailed(failed)) => Err(failed.into()),
                Err(NoAddress::Denied(denied)) => Err(denied.into()),
            }
        })
    }
}

/// Why a name leads to no address.
#[derive(Debug)]
pub(super) enum NoAddress {
    LookUpFailed(LookUpFailed),
    /// Not to one that policy permits.
    Denied(Denied),
}

/// The addresses of a name that a request may go to: one at least.
pub(super) async fn permitted_addresses(
    egress: &Egress,
    names: &dyn Resolver,
    scheme: Scheme,
    host: String,
) -> Result<Vec<SocketAddr>, NoAddress> {
    let found = names.look_up(host.clone()).await.unwrap_or_default();
    let (mut permitted, mut denied) = (Vec::new(), None);
    for address in found {
        match egress.check(address.ip(), scheme, &host) {
            Ok(()) => permitted.push(address),
            Err(why) => denied = Some(why),
        }
    }
    match denied {
        _ if !permitted.is_empty() => Ok(permitted),
        Some(denied) => Err(NoAddress::Denied(denied)),
        None => Err(NoAddress::LookUpFailed(LookUpFailed)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn addresses_that_are_not_public_are_denied_however_they_are_written() {
        let egress = Egress::default();
        for host in [
            "127.0.0.1",
            "2130706433",
            "0x7f.1",
            "10.1.2.3",
            "169.254.1.1",
            "192.168.0.1",
            "100.64.0.1",
            "0.0.0.0",
            "[::1]",
            "[::]",
            "[::ffff:127.0.0.1]",
            "[fd00:ec2::1]",
            "[fe80::1]",
            "[64:ff9b::7f00:1]",
            "[64:ff9b::808:808]",
            "[64:ff9b:1::808:808]",
            "[::ffff:0:10.0.0.1]",
            "[::ffff:0:8.8.8.8]",
            "[::10.0.0.1]",
            "[2002:7f00:1::]",
            "[2001:0:102:304::f5ff:fffe]",
        ] {
            let checked = egress.check_literal(&url(&format!("https://{host}/token")));
            assert!(
                matches!(checked, Err(Denied::NotPublic(_))),
                "{host}: {checked:?}"
            );
        }
        for host in ["8.8.8.8", "[2606:4700::1111]"] {
            assert_eq!(
                egress.check_literal(&url(&format!("https://{host}/"))),
                Ok(())
            );
        }
    }

    #[test]
    fn plain_http_is_accepted_only_into_a_listed_network() {
        let egress = Egress::new(["10.0.0.0/8".parse().unwrap()]);
        assert_eq!(egress.check_literal(&url("http://10.1.2.3/")), Ok(()));
        assert_eq!(egress.check_literal(&url("https://10.1.2.3/")), Ok(()));
        assert!(matches!(
            egress.check_literal(&url("http://8.8.8.8/")),
            Err(Denied::PlainHttp(_))
        ));
    }

    #[test]
    fn a_name_of_the_inside_is_not_left_to_a_proxy() {
        let egress = Egress::new(["127.0.0.0/8".parse().unwrap()]);
        for name in [
            "localhost",
            "a.localhost",
            "printer",
            "metadata.google.internal",
            "nas.local.",
            "router.home.arpa",
        ] {
            let denied = egress.check_unresolved(name, Scheme::Tls);
            assert!(matches!(denied, Err(Denied::InsideName(_))), "{name}");
        }
        for name in ["api.example.com", "internal.example.com", "mylocal.example"] {
            assert_eq!(egress.check_unresolved(name, Scheme::Tls), Ok(()), "{name}");
            let denied = egress.check_unresolved(name, Scheme::Plain);
            assert!(matches!(denied, Err(Denied::PlainHttp(_))), "{name}");
        }
    }

    #[tokio::test]
    async fn a_name_that_resolves_to_loopback_is_denied_unless_listed() {
        let resolve = async |egress| {
            let resolver = PolicyResolver {
                egress,
                names: Arc::new(SystemResolver),
                scheme: Scheme::Tls,
            };
            resolver
                .resolve("localhost".parse().unwrap())
                .await
                .map(|found| found.count())
        };
        assert!(resolve(Egress::default()).await.is_err());
        let listed = ["127.0.0.0/8", "::1/128"].map(|net| net.parse().unwrap());
        assert!(resolve(Egress::new(listed)).await.unwrap() > 0);
    }
}
