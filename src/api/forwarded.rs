//! Which address a request comes from, and by what, where proxies are in between.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use poem::http::{HeaderMap, HeaderName};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

fn is_trusted(address: IpAddr, trusted: &[IpNet]) -> bool {
    trusted.iter().any(|network| network.contains(&address))
}

/// The address of who connected; of a trusted proxy, the address that it says it was asked from.
/// Each proxy adds to the end of `X-Forwarded-For`, so that is read from its end, and what a caller
/// wrote into it himself is before the first address that no trusted proxy has.
pub fn address_of(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let mut address = peer.to_canonical();
    let lines = headers.get_all(FORWARDED_FOR).into_iter().rev();
    let texts = lines.map(|line| line.to_str().unwrap_or_default());
    let mut hops = texts.flat_map(|text| text.rsplit(','));
    while is_trusted(address, trusted) {
        // What cannot be read was not written by the proxy, or says nothing.
        let Some(before) = hops.next().and_then(read) else {
            break;
        };
        address = before;
    }
    address
}

/// Whether who connected is a trusted proxy that was asked by TLS, as it says itself: with the last
/// word of `X-Forwarded-Proto`.
pub fn came_by_tls(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> bool {
    let last = headers.get_all(FORWARDED_PROTO).into_iter().next_back();
    let last = last.and_then(|line| line.to_str().ok());
    let last = last.and_then(|line| line.rsplit(',').next());
    is_trusted(peer.to_canonical(), trusted)
        && last.is_some_and(|scheme| scheme.trim().eq_ignore_ascii_case("https"))
}

/// An address, as proxies write it: with a port or without.
fn read(hop: &str) -> Option<IpAddr> {
    let hop = hop.trim();
    let bare = hop
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let address = bare.unwrap_or(hop).parse::<IpAddr>().ok();
    let with_port = || hop.parse::<SocketAddr>().ok().map(|both| both.ip());
    address
        .or_else(with_port)
        .map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use poem::http::HeaderValue;

    use super::*;

    fn seen(peer: &str, lines: &[&'static str], trusted: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(FORWARDED_FOR, HeaderValue::from_static(line));
        }
        let trusted: Vec<IpNet> = trusted.iter().map(|net| net.parse().unwrap()).collect();
        address_of(peer.parse().unwrap(), &headers, &trusted).to_string()
    }

    #[test]
    fn nobody_is_believed_who_is_not_trusted() {
        for trusted in [&[][..], &["10.0.0.0/8"]] {
            let said = seen("192.0.2.1", &["198.51.100.7"], trusted);
            assert_eq!(said, "192.0.2.1");
        }
    }

    #[test]
    fn a_trusted_proxy_says_that_it_was_asked_by_tls_and_nobody_else_does() {
        let trusted = ["10.0.0.0/8".parse().unwrap()];
        for (peer, lines, expected) in [
            ("10.0.0.1", &["https"][..], true),
            ("::ffff:10.0.0.1", &["HTTPS"], true),
            // What a caller wrote himself is before it.
            ("10.0.0.1", &["http, https"], true),
            ("10.0.0.1", &["https, http"], false),
            ("10.0.0.1", &["https", "http"], false),
            ("10.0.0.1", &["http"], false),
            ("10.0.0.1", &[], false),
            ("192.0.2.1", &["https"], false),
        ] {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(FORWARDED_PROTO, HeaderValue::from_static(line));
            }
            let seen = came_by_tls(peer.parse().unwrap(), &headers, &trusted);
            assert_eq!(seen, expected, "{peer} {lines:?}");
        }
    }

    #[test]
    fn of_a_trusted_proxy_the_last_address_counts_that_is_none_of_a_proxy() {
        let trusted = ["10.0.0.0/8", "fd00::/8"];
        for (peer, lines, expected) in [
            ("10.0.0.1", &["198.51.100.7"][..], "198.51.100.7"),
            // What a caller wrote himself is before it.
            ("10.0.0.1", &["203.0.113.9, 198.51.100.7"], "198.51.100.7"),
            ("10.0.0.1", &["203.0.113.9", "198.51.100.7"], "198.51.100.7"),
            (
                "10.0.0.1",
                &["203.0.113.9, 198.51.100.7, 10.0.0.2"],
                "198.51.100.7",
            ),
            ("::ffff:10.0.0.1", &["198.51.100.7:4711"], "198.51.100.7"),
            ("fd00::1", &["[2001:db8::1]:443"], "2001:db8::1"),
            ("fd00::1", &["[2001:db8::1]"], "2001:db8::1"),
            ("fd00::1", &["::ffff:198.51.100.7"], "198.51.100.7"),
            // It says nothing that can be read.
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["203.0.113.9, unknown"], "10.0.0.1"),
            ("10.0.0.1", &["203.0.113.9, "], "10.0.0.1"),
            ("10.0.0.1", &["unknown, 10.0.0.2"], "10.0.0.2"),
        ] {
            assert_eq!(seen(peer, lines, &trusted), expected, "{lines:?}");
        }
    }
}
