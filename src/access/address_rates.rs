//! How many calls without a good key an address may make, and how many handshakes of TLS, on this
//! replica. Only addresses that made some are remembered, and so many at most: those that have not
//! called for longest are forgotten.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

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
    buckets: Cache<CallerAddress, Arc<Bucket>>,
}

/// What is one caller: an address of IPv4, or a network of IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CallerAddress(IpAddr);

impl CallerAddress {
    pub fn of(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(v6) => {
                let network = v6.to_bits() >> NETWORK_BITS << NETWORK_BITS;
                IpAddr::V6(Ipv6Addr::from_bits(network))
            }
            v4 => v4,
        })
    }
}

impl fmt::Display for CallerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<IpAddr> for CallerAddress {
    fn from(address: IpAddr) -> Self {
        Self::of(address)
    }
}

impl AddressRates {
    pub fn new(rate: Option<Rate>) -> Self {
        Self {
            rate,
            buckets: Cache::new(ADDRESSES_MAX),
        }
    }

    /// Counts a call, before anything is done for it. Who turns out to have a good key has it given
    /// back.
    ///
    /// # Errors
    ///
    /// Where it is one too many: how long to wait for the next.
    pub fn take(&self, address: impl Into<CallerAddress>, now: BootMs) -> Result<(), Ms> {
        match self.bucket(address.into()) {
            Some(bucket) => bucket.take(now),
            None => Ok(()),
        }
    }

    /// Takes back what was counted.
    pub fn give_back(&self, address: impl Into<CallerAddress>) {
        if let Some(bucket) = self.buckets.get(&address.into()) {
            bucket.give_back();
        }
    }

    /// Counts a call without a good key that was made already.
    pub fn charge(&self, address: impl Into<CallerAddress>, now: BootMs) {
        if let Some(bucket) = self.bucket(address.into()) {
            bucket.charge(now);
        }
    }

    fn bucket(&self, address: CallerAddress) -> Option<Arc<Bucket>> {
        let rate = self.rate?;
        let new = || Ok::<_, std::convert::Infallible>(Arc::new(Bucket::new(rate)));
        let Ok(bucket) = self.buckets.get_or_insert_with(&address, new);
        Some(bucket)
    }
}

/// A handshake that was counted, until a good key comes on its connection.
#[derive(Clone)]
pub struct ChargedHandshake(Arc<Charge>);

struct Charge {
    rates: Arc<AddressRates>,
    address: CallerAddress,
    stands: AtomicBool,
}

impl ChargedHandshake {
    /// Counts a handshake, before any work is done for it.
    ///
    /// # Errors
    ///
    /// Where it is one too many: how long to wait for the next.
    pub fn take(
        rates: &Arc<AddressRates>,
        address: CallerAddress,
        now: BootMs,
    ) -> Result<Self, Ms> {
        rates.take(address, now)?;
        Ok(Self(Arc::new(Charge {
            rates: rates.clone(),
            address,
            stands: AtomicBool::new(true),
        })))
    }

    pub fn stands(&self) -> bool {
        self.0.stands.load(Relaxed)
    }

    /// A good key has come: the handshake is counted no more.
    pub fn give_back(&self) {
        if self.0.stands.swap(false, Relaxed) {
            self.0.rates.give_back(self.0.address);
        }
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
                assert_eq!(rates.take(address(calls_from), NOW), Ok(()));
            }
            assert_eq!(rates.take(address(calls_from), NOW), Err(Ms(500)));
            assert_eq!(rates.take(address(same), NOW), Err(Ms(500)));
            assert_eq!(rates.take(address(other), NOW), Ok(()));
        }
    }

    #[test]
    fn a_handshake_is_given_back_once() {
        let rates = Arc::new(rates());
        let from = CallerAddress::of(address("192.0.2.1"));
        let take = || ChargedHandshake::take(&rates, from, NOW);
        let (first, second) = (take().unwrap(), take().unwrap());
        assert!(take().is_err());
        assert!(first.stands());
        for _ in 0..3 {
            first.give_back();
        }
        assert!(!first.stands() && second.stands());
        assert!(take().is_ok());
        assert!(take().is_err());
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
        assert_eq!(rates.take(address("192.0.2.1"), NOW), Ok(()));
        assert_eq!(rates.buckets.len(), 0);
    }
}
