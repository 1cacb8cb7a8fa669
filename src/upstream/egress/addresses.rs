//! Addresses that are not public, those of metadata services, and those that lead to others.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::LazyLock;

use ipnet::IpNet;

/// Networks that no provider lives in (IANA special-purpose registries, RFC 6890).
const NOT_PUBLIC: &[&str] = &[
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "::/96",
    // IPv4-translated (RFC 7915, section 1.4).
    "::ffff:0:0:0/96",
    "64:ff9b::/96",
    "64:ff9b:1::/48",
    "100::/64",
    "2001::/23",
    "2001:db8::/32",
    "2002::/16",
    "3fff::/20",
    "5f00::/16",
    "fc00::/7",
    "fe80::/10",
    "fec0::/10",
    "ff00::/8",
];

static NOT_PUBLIC_NETS: LazyLock<Vec<IpNet>> = LazyLock::new(|| {
    NOT_PUBLIC
        .iter()
        .map(|net| net.parse().expect("the table above holds networks"))
        .collect()
});

/// Where clouds give a machine its own credentials. One of them is a public address, and a
/// network that is listed for other reasons may hold any.
const METADATA: &[&str] = &[
    // AWS, Azure, DigitalOcean, Google Cloud, Hetzner, IBM, OpenStack, Oracle and others.
    "169.254.169.254",
    // AWS: credentials of a task, and of a pod.
    "169.254.170.2",
    "169.254.170.23",
    "fd00:ec2::23",
    "fd00:ec2::254",
    // Akamai (Linode), beside the first.
    "fd00:a9fe:a9fe::1",
    // Alibaba Cloud.
    "100.100.100.200",
    // Azure, beside the first.
    "168.63.129.16",
    // Google Cloud.
    "fd20:ce::254",
    // OpenStack.
    "fe80::a9fe:a9fe",
    // Oracle.
    "192.0.0.192",
    "fd00:c1::a9fe:a9fe",
    // Scaleway.
    "169.254.42.42",
    "fd00:42::42",
    // Tencent Cloud.
    "169.254.0.23",
    // Volcano Engine.
    "100.96.0.96",
];

static METADATA_ADDRESSES: LazyLock<Vec<IpAddr>> = LazyLock::new(|| {
    METADATA
        .iter()
        .map(|address| address.parse().expect("the table above holds addresses"))
        .collect()
});

pub(super) fn is_public(address: IpAddr) -> bool {
    !NOT_PUBLIC_NETS.iter().any(|net| net.contains(&address))
}

pub(super) fn is_metadata(address: IpAddr) -> bool {
    METADATA_ADDRESSES.contains(&address)
}

/// An IPv4 address that an IPv6 address may lead to by translation or in a tunnel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Embedded {
    pub address: IpAddr,
    /// The length of the prefix behind which it stands, of NAT64 only (RFC 6052, section 2.2).
    prefix: u8,
    /// Whether only the network knows that it stands there.
    is_one_of_many: bool,
}

impl Embedded {
    fn sure(address: Ipv4Addr) -> Self {
        Self {
            address: address.into(),
            prefix: 96,
            is_one_of_many: false,
        }
    }

    /// Whether the address may be meant where a network with a prefix of that length is listed: what
    /// is within that prefix is no address. `0.0.0.0/8` leads nowhere (RFC 791): where others may be
    /// meant, it says that none stands there.
    pub fn is_meant_within(self, prefix: u8) -> bool {
        let IpAddr::V4(address) = self.address else {
            return true;
        };
        !self.is_one_of_many || self.prefix >= prefix && address.octets()[0] != 0
    }
}

/// The IPv4 addresses that an IPv6 address may lead to. Of a local prefix of NAT64 (RFC 8215) nobody
/// but its network knows where they stand: each is named.
pub(super) fn embedded(address: IpAddr) -> Vec<Embedded> {
    let IpAddr::V6(address) = address else {
        return Vec::new();
    };
    let bits = u128::from(address);
    let at = |shift: u32| low_address(bits >> shift);
    let octets = address.octets();
    // Bits 64 to 71 are zero in these.
    let around = |before: usize| {
        let part = octets[8 - before..8].iter().chain(&octets[9..13 - before]);
        low_address(part.fold(0_u128, |all, octet| all << 8 | u128::from(*octet)))
    };
    match address.segments() {
        // IPv4-compatible, and IPv4-translated; the first two are no such address.
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => Vec::new(),
        [0, 0, 0, 0, 0, 0, ..] | [0, 0, 0, 0, 0xffff, 0, ..] => vec![Embedded::sure(at(0))],
        [0x64, 0xff9b, 0, 0, 0, 0, ..] => vec![Embedded::sure(at(0))],
        [0x64, 0xff9b, 1, ..] => [
            (96, at(0)),
            (48, around(2)),
            (56, around(1)),
            (64, around(0)),
        ]
        .map(|(prefix, address)| Embedded {
            address: address.into(),
            prefix,
            is_one_of_many: true,
        })
        .to_vec(),
        // 6to4.
        [0x2002, ..] => vec![Embedded::sure(at(80))],
        // Teredo: the client, whose bits are inverted; its server forwards only.
        [0x2001, 0, ..] => vec![Embedded::sure(low_address(!bits))],
        _ => Vec::new(),
    }
}

/// The address in the last 32 bits.
fn low_address(bits: u128) -> Ipv4Addr {
    let [.., a, b, c, d] = Ipv6Addr::from_bits(bits).octets();
    Ipv4Addr::new(a, b, c, d)
}

#[cfg(test)]
mod tests {
    use url::Url;

    use super::super::{Denied, Egress};
    use super::*;

    fn checked(allowed: &[&str], host: &str) -> Result<(), Denied> {
        let listed = allowed.iter().map(|net| net.parse().unwrap());
        Egress::new(listed).check_literal(&Url::parse(&format!("https://{host}/token")).unwrap())
    }

    fn written(address: &str) -> String {
        match address.contains(':') {
            true => format!("[{address}]"),
            false => address.to_owned(),
        }
    }

    #[test]
    fn a_metadata_address_is_denied_unless_it_is_listed_itself() {
        for address in METADATA {
            let host = written(address);
            let everything = &["0.0.0.0/0", "::/0"];
            for allowed in [&[][..], everything] {
                let denied = checked(allowed, &host);
                assert!(
                    matches!(denied, Err(Denied::Metadata(_))),
                    "{address}: {denied:?}"
                );
            }
            let itself = if address.contains(':') {
                format!("{address}/128")
            } else {
                format!("{address}/32")
            };
            assert_eq!(checked(&[&itself], &host), Ok(()), "{address}");
        }
        assert_eq!(checked(&["169.254.0.0/16"], "169.254.7.7"), Ok(()));
    }

    #[test]
    fn a_metadata_address_is_denied_in_each_form_that_is_translated_or_tunnelled() {
        let everything = &["0.0.0.0/0", "::/0"];
        for host in [
            "[::ffff:169.254.169.254]",
            "[::ffff:0:169.254.169.254]",
            "[::169.254.169.254]",
            "[64:ff9b::a9fe:a9fe]",
            "[64:ff9b:1::a9fe:a9fe]",
            // In a prefix of 48, 56 and 64 bits.
            "[64:ff9b:1:a9fe:a9:fe00::]",
            "[64:ff9b:1:a9:fe:a9fe::]",
            "[64:ff9b:1:0:a9:fea9:fe00:0]",
            "[2002:a9fe:a9fe::1]",
            "[2001:0:102:304:0:ffff:5601:5601]",
            "[64:ff9b::168.63.129.16]",
        ] {
            let literal = host.trim_matches(['[', ']']);
            let around = [48, 56, 64, 96, 128].map(|prefix| format!("{literal}/{prefix}"));
            let listed = around.iter().map(|network| vec![network.as_str()]);
            for allowed in listed.chain([everything.to_vec()]) {
                let denied = checked(&allowed, host);
                assert!(
                    matches!(denied, Err(Denied::Metadata(_))),
                    "{host} in {allowed:?}: {denied:?}"
                );
            }
        }
    }

    #[test]
    fn a_listed_network_of_translated_addresses_leads_to_nothing_that_is_not_permitted_itself() {
        let nat64 = &["64:ff9b::/96"];
        assert_eq!(checked(nat64, "[64:ff9b::8.8.8.8]"), Ok(()));
        for inside in ["127.0.0.1", "10.1.2.3", "192.168.0.1"] {
            let denied = checked(nat64, &format!("[64:ff9b::{inside}]"));
            assert!(matches!(denied, Err(Denied::NotPublic(_))), "{inside}");
        }
        let with_inside = &["64:ff9b::/96", "10.0.0.0/8"];
        assert_eq!(checked(with_inside, "[64:ff9b::10.1.2.3]"), Ok(()));
        let egress = Egress::new(nat64.map(|net| net.parse().unwrap()));
        let plain = egress.check_literal(&Url::parse("http://[64:ff9b::8.8.8.8]/").unwrap());
        assert!(matches!(plain, Err(Denied::PlainHttp(_))), "{plain:?}");
    }
    /// RFC 8215, with a prefix of each length that RFC 6052 has.
    #[test]
    fn a_listed_local_network_of_nat64_leads_to_nothing_that_is_not_permitted_itself() {
        let written = |prefix: u8, [a, b, c, d]: [u8; 4]| match prefix {
            48 => format!("64:ff9b:1:{a:02x}{b:02x}:{c:x}:{d:02x}00::"),
            56 => format!("64:ff9b:1:{a:x}:{b:x}:{c:02x}{d:02x}::"),
            64 => format!("64:ff9b:1:0:{a:x}:{b:02x}{c:02x}:{d:02x}00:0"),
            _ => format!("64:ff9b:1::{a}.{b}.{c}.{d}"),
        };
        for prefix in [48, 56, 64, 96] {
            let own = &*format!("64:ff9b:1::/{prefix}");
            for listed in ["64:ff9b:1::/48", own] {
                for inside in [[127, 0, 0, 1], [10, 1, 2, 3], [192, 168, 0, 1]] {
                    let host = format!("[{}]", written(prefix, inside));
                    let denied = checked(&[listed], &host);
                    assert!(
                        matches!(denied, Err(Denied::NotPublic(_))),
                        "{host} in {listed}: {denied:?}"
                    );
                    let with_inside = [listed, "127.0.0.0/8", "10.0.0.0/8", "192.168.0.0/16"];
                    assert_eq!(checked(&with_inside, &host), Ok(()), "{host} in {listed}");
                }
                let host = format!("[{}]", written(prefix, [8, 8, 8, 8]));
                assert_eq!(checked(&[listed], &host), Ok(()), "{host} in {listed}");
            }
        }
        // What is within the listed prefix is no part of an address.
        let host = "[64:ff9b:1:a00:0:0:808:808]";
        assert_eq!(checked(&["64:ff9b:1:a00::/96"], host), Ok(()));
        let denied = checked(&["64:ff9b:1::/48"], host);
        assert!(matches!(denied, Err(Denied::NotPublic(_))), "{denied:?}");
    }
}
