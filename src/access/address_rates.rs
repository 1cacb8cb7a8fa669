//! How many calls without a good key an address may make, on this replica. Only addresses that made
//! some are remembered, and so many at most: those that have not called for longest are forgotten.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use quick_cache::sync::Cache;

use crate::foundation::clock::{BootMs, Ms};
use crate::foundation::rate::{Bucket, Rate};

/// Addresses that are remembered at once.
const ADDRESSES_MAX: usize = 65_536;
/// Whoever has one address of IPv6 has all of its network (RFC 6177).
const NETWORK_BITS: u32 = 64;

/// Shared by all requests.
pub struct AddressRates {
    /// None: nobody is limited.
    rate: Option<Rate>,
    buckets: Cache<Caller, Arc<Bucket>>,
}

/// What is one caller: an address of IPv4, or a network of IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Caller(IpAddr);

impl Caller {
    fn of(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(v6) => {
                let network = v6.to_bits() >> NETWORK_BITS << NETWORK_BITS;
                IpAddr::V6(Ipv6Addr::from_bits(network))
            }
            v4 => v4,
        })
    }
}

impl AddressRates {
    pub fn new(rate: Option<Rate>) -> Self {
        Self {
            rate,
            buckets: Cache::new(ADDRESSES_MAX),
        }
    }

    /// Whether an address may make one more call without a good key.
    ///
    /// # Errors
    ///
    /// Where it may not: how long it has to wait.
    pub fn check(&self, address: IpAddr, now: BootMs) -> Result<(), Ms> {
        match self.buckets.get(&Caller::of(address)) {
            Some(bucket) => bucket.check(now),
            None => Ok(()),
        }
    }

    /// Counts a call without a good key.
    pub fn charge(&self, address: IpAddr, now: BootMs) {
        let Some(rate) = self.rate else { return };
        let new = || Ok::<_, std::convert::Infallible>(Arc::new(Bucket::new(rate)));
        let Ok(bucket) = self.buckets.get_or_insert_with(&Caller::of(address), new);
        bucket.charge(now);
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    fn rates() -> AddressRates {
        AddressRates::new(Some(Rate::even(NonZeroU32::new(2).unwrap())))
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    const NOW: BootMs = BootMs(5_000);

    #[test]
    fn a_network_of_ipv6_is_one_caller_and_each_address_of_ipv4() {
        for (calls_from, other, same) in [
            ("192.0.2.1", "192.0.2.2", "::ffff:192.0.2.1"),
            ("2001:db8:0:1::1", "2001:db8:0:2::1", "2001:db8:0:1:ffff::"),
        ] {
            let rates = rates();
            for _ in 0..2 {
                assert_eq!(rates.check(address(calls_from), NOW), Ok(()));
                rates.charge(address(calls_from), NOW);
            }
            assert_eq!(rates.check(address(calls_from), NOW), Err(Ms(500)));
            assert_eq!(rates.check(address(same), NOW), Err(Ms(500)));
            assert_eq!(rates.check(address(other), NOW), Ok(()));
        }
    }

    #[test]
    fn no_number_of_addresses_takes_more_memory_than_the_limit() {
        let rates = rates();
        for number in 0..4 * u32::try_from(ADDRESSES_MAX).unwrap() {
            rates.charge(IpAddr::V4(number.into()), NOW);
        }
        assert!(rates.buckets.len() <= ADDRESSES_MAX);
    }

    #[test]
    fn nobody_is_limited_or_remembered_where_there_is_no_rate() {
        let rates = AddressRates::new(None);
        for _ in 0..1000 {
            rates.charge(address("192.0.2.1"), NOW);
        }
        assert_eq!(rates.check(address("192.0.2.1"), NOW), Ok(()));
        assert_eq!(rates.buckets.len(), 0);
    }
}
