//! How many handshakes one source may ask for.

use core::mem;
use core::net::IpAddr;
use core::time::Duration;
use std::collections::HashMap;

use crate::Time;

/// One handshake more every so often: 20 a second, as in the kernel.
pub const INTERVAL: Duration = Duration::from_millis(50);

/// How many handshakes may follow one another at once.
pub const BURST: u32 = 5;

/// The time in which an empty bucket fills.
const REFILL: Duration = Duration::from_millis(INTERVAL.as_millis() as u64 * BURST as u64);

/// A token bucket for each IPv4 address and each IPv6 /64: [`BURST`] tokens, one more every
/// [`INTERVAL`].
///
/// The memory is allotted once. Buckets live in two generations of equal size, and one that is used
/// moves to the younger; when that is full, the elder is forgotten and they change places. A bucket
/// that was not used for [`BURST`] times [`INTERVAL`] is full, and to forget it loses nothing. So
/// the limit holds unless more sources than one generation has room for arrive within that time.
/// Only sources whose mac2 verified should come this far: that many addresses an attacker would
/// have to receive at.
#[derive(Debug)]
pub struct Buckets {
    young: HashMap<Source, Bucket>,
    old: HashMap<Source, Bucket>,
    /// How many buckets each generation holds.
    capacity: usize,
}

impl Buckets {
    /// Room for `sources` buckets, at least two.
    #[must_use]
    pub fn new(sources: usize) -> Self {
        let capacity = (sources / 2).max(1);
        Self { young: HashMap::with_capacity(capacity), old: HashMap::with_capacity(capacity), capacity }
    }

    /// Takes a token of the bucket of `source`: whether there was one.
    pub fn allow(&mut self, source: IpAddr, now: Time) -> bool {
        let source = Source::from(source);
        if !self.young.contains_key(&source) {
            let bucket = self.old.remove(&source).unwrap_or_else(|| Bucket::full(now));
            if self.young.len() >= self.capacity {
                self.turn();
            }
            self.young.insert(source, bucket);
        }
        self.young.get_mut(&source).is_some_and(|bucket| bucket.take(now))
    }

    /// How many sources are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }

    /// Whether no source is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn turn(&mut self) {
        mem::swap(&mut self.young, &mut self.old);
        self.young.clear();
    }
}

/// Whom a bucket is for. A /64 is what one IPv6 customer has.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Source {
    V4([u8; 4]),
    V6([u16; 4]),
}

impl From<IpAddr> for Source {
    fn from(address: IpAddr) -> Self {
        // A socket for both families shows IPv4 sources as mapped IPv6 ones, all in one /64.
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address.octets()),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Self::V6([a, b, c, d])
            }
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// How much was saved up, at most [`REFILL`]; a token costs [`INTERVAL`].
    credit: Duration,
    /// When that was.
    at: Time,
}

impl Bucket {
    const fn full(now: Time) -> Self {
        Self { credit: REFILL, at: now }
    }

    fn take(&mut self, now: Time) -> bool {
        let credit = self.credit.saturating_add(now.since(self.at)).min(REFILL);
        self.at = self.at.max(now);
        let left = credit.checked_sub(INTERVAL);
        self.credit = left.unwrap_or(credit);
        left.is_some()
    }
}

#[cfg(test)]
mod tests {
    use core::net::{Ipv4Addr, Ipv6Addr};

    use proptest::prelude::*;

    use super::*;

    fn v4(n: u32) -> IpAddr {
        Ipv4Addr::from_bits(n).into()
    }

    fn v6(net: u64, host: u64) -> IpAddr {
        Ipv6Addr::from_bits(u128::from(net) << 64 | u128::from(host)).into()
    }

    fn ms(n: u64) -> Time {
        Time::from_nanos(n * 1_000_000)
    }

    /// How many of `asked` handshakes at once are allowed.
    fn burst(buckets: &mut Buckets, source: IpAddr, asked: usize, now: Time) -> usize {
        (0..asked).filter(|_| buckets.allow(source, now)).count()
    }

    #[test]
    fn five_may_come_at_once_and_then_one_every_fifty_milliseconds() {
        let mut buckets = Buckets::new(100);
        assert_eq!(burst(&mut buckets, v4(1), 100, ms(0)), 5);
        assert_eq!(burst(&mut buckets, v4(1), 100, ms(49)), 0);
        assert_eq!(burst(&mut buckets, v4(1), 100, ms(50)), 1);
        assert_eq!(burst(&mut buckets, v4(1), 100, ms(99)), 0);
        assert_eq!(burst(&mut buckets, v4(1), 100, ms(200)), 3);
        assert_eq!(burst(&mut buckets, v4(1), 100, ms(60_000)), 5, "saved up no more than a burst");
    }

    #[test]
    fn steady_asking_gets_twenty_a_second() {
        let mut buckets = Buckets::new(100);
        let allowed = (0..10_000).filter(|n| buckets.allow(v4(1), ms(*n))).count();
        assert_eq!(allowed, 5 + 199);
    }

    #[test]
    fn sources_do_not_share_a_bucket() {
        let mut buckets = Buckets::new(100);
        for n in 0..50 {
            assert_eq!(burst(&mut buckets, v4(n), 100, ms(0)), 5);
        }
    }

    #[test]
    fn an_ipv6_network_shares_one_bucket() {
        let mut buckets = Buckets::new(100);
        assert_eq!((0..100).filter(|host| buckets.allow(v6(7, *host), ms(0))).count(), 5);
        assert_eq!(burst(&mut buckets, v6(8, 0), 100, ms(0)), 5);
    }

    #[test]
    fn a_mapped_address_is_the_ipv4_address() {
        let mut buckets = Buckets::new(100);
        let mapped = |n| IpAddr::from(Ipv4Addr::from_bits(n).to_ipv6_mapped());
        assert_eq!(burst(&mut buckets, v4(1), 3, ms(0)), 3);
        assert_eq!(burst(&mut buckets, mapped(1), 100, ms(0)), 2);
        assert_eq!(burst(&mut buckets, mapped(2), 100, ms(0)), 5);
    }

    #[test]
    fn a_flood_of_sources_does_not_grow_the_table() {
        let mut buckets = Buckets::new(64);
        let room = (buckets.young.capacity(), buckets.old.capacity());
        for n in 0..100_000 {
            assert!(buckets.allow(v4(n), ms(u64::from(n) / 1000)));
            assert!(buckets.len() <= 64);
        }
        let (a, b) = (buckets.young.capacity(), buckets.old.capacity());
        assert_eq!((a.max(b), a.min(b)), (room.0.max(room.1), room.0.min(room.1)));
    }

    #[test]
    fn a_source_that_keeps_asking_is_not_forgotten_in_a_flood() {
        let mut buckets = Buckets::new(64);
        let mut allowed = 0;
        for n in 1..10_000 {
            buckets.allow(v4(n), ms(0));
            if n % 16 == 0 {
                allowed += burst(&mut buckets, v4(0), 1, ms(0));
            }
        }
        assert_eq!(allowed, 5);
    }

    #[test]
    fn time_that_runs_backwards_gives_no_tokens() {
        let mut buckets = Buckets::new(100);
        assert_eq!(burst(&mut buckets, v4(1), 100, ms(1000)), 5);
        assert_eq!(burst(&mut buckets, v4(1), 100, ms(0)), 0);
        assert_eq!(burst(&mut buckets, v4(1), 100, ms(1000)), 0);
    }

    proptest! {
        /// Against buckets that are never forgotten. Five steps take the time that fills a bucket,
        /// and a generation has room for five sources.
        #[test]
        fn forgetting_is_not_noticed(
            steps in proptest::collection::vec((0u32..12, 0usize..8, 50u64..100), 1..300),
        ) {
            let mut buckets = Buckets::new(10);
            let mut model: HashMap<u32, Bucket> = HashMap::new();
            let mut now = 0;
            for (source, asked, wait) in steps {
                let bucket = model.entry(source).or_insert(Bucket::full(ms(now)));
                let expected = (0..asked).filter(|_| bucket.take(ms(now))).count();
                prop_assert_eq!(burst(&mut buckets, v4(source), asked, ms(now)), expected);
                now += wait;
            }
        }
    }
}
