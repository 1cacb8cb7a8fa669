//! What the head of a request is before anything is made of it: how large, and whether it can be
//! read in one way only.

use poem::Request;
use poem::http::header::{AUTHORIZATION, HOST};
use poem::http::{StatusCode, Version};

use super::problem::Problem;

/// Blanks, and ends of lines.
const BETWEEN: usize = 4;

/// Read in one pass: every request has one.
pub struct Head {
    /// On the wire of HTTP/1.1, near enough for HTTP/2.
    bytes: usize,
    hosts: usize,
    authorizations: usize,
    version: Version,
}

impl Head {
    pub fn of(request: &Request) -> Self {
        let path = request.uri().path_and_query();
        let mut head = Self {
            bytes: path.map_or(0, |path| path.as_str().len()),
            hosts: 0,
            authorizations: 0,
            version: request.version(),
        };
        for (name, value) in request.headers() {
            head.bytes += name.as_str().len() + value.len() + BETWEEN;
            head.hosts += usize::from(*name == HOST);
            head.authorizations += usize::from(*name == AUTHORIZATION);
        }
        head
    }

    /// Why such a head is not read on, if it is not.
    pub fn refusal(&self, max_bytes: usize) -> Option<poem::Error> {
        if self.bytes > max_bytes {
            return Some(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE.into());
        }
        let why = self.ambiguity()?;
        Some(Problem::bad_request("bad_request", why).into())
    }

    /// What can be read in two ways: a proxy in front may have read the other one.
    fn ambiguity(&self) -> Option<&'static str> {
        if self.authorizations > 1 {
            return Some("The request has more than one Authorization header: send one.");
        }
        match (self.hosts, self.version) {
            (0, Version::HTTP_11) => {
                Some("The request has no Host header: HTTP/1.1 wants one (RFC 9112, section 3.2).")
            }
            (0 | 1, _) => None,
            _ => {
                Some("The request has more than one Host header: send one (RFC 9112, section 3.2).")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_host_and_one_key_at_most_can_be_read_in_one_way() {
        for (version, hosts, keys, is_plain) in [
            (Version::HTTP_11, 1, 0, true),
            (Version::HTTP_11, 1, 1, true),
            (Version::HTTP_11, 1, 2, false),
            (Version::HTTP_11, 0, 1, false),
            (Version::HTTP_11, 2, 0, false),
            (Version::HTTP_10, 0, 1, true),
            (Version::HTTP_10, 2, 1, false),
            (Version::HTTP_2, 0, 1, true),
            (Version::HTTP_2, 1, 1, true),
            (Version::HTTP_2, 0, 2, false),
            (Version::HTTP_2, 2, 1, false),
        ] {
            let mut request = Request::builder().version(version);
            for _ in 0..hosts {
                request = request.header(HOST, "h");
            }
            for _ in 0..keys {
                request = request.header(AUTHORIZATION, "Bearer k");
            }
            let head = Head::of(&request.finish());
            assert_eq!(
                head.ambiguity().is_none(),
                is_plain,
                "{version:?} {hosts} {keys}"
            );
        }
    }
}
