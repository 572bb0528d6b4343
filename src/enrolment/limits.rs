//! How often a source may fail. Those who get what they ask for are not counted: many can be behind one address.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use adit_noise::Time;

/// How many failures a source has at once.
const BURST: u32 = 10;
/// How long it takes until it has one more.
const EACH: Duration = Duration::from_secs(6);
/// The most sources that are remembered.
const SOURCES: usize = 16_384;

/// Failures by source: an IPv4 address, or a /64 of IPv6.
#[derive(Debug, Default)]
pub struct Limits {
    /// When the failures of a source will be forgiven.
    sources: HashMap<IpAddr, Time>,
}

impl Limits {
    /// Refuses a source that has failed too often; tells in how many seconds it may try again.
    ///
    /// # Errors
    /// The seconds.
    pub fn check(&self, source: IpAddr, now: Time) -> Result<(), u64> {
        let Some(forgiven) = self.sources.get(&network(source)) else { return Ok(()) };
        let left = forgiven.since(now);
        let over = left.saturating_sub(EACH * (BURST - 1));
        if over.is_zero() { Ok(()) } else { Err(over.as_secs() + 1) }
    }

    /// Counts a failure.
    pub fn failed(&mut self, source: IpAddr, now: Time) {
        if self.sources.len() >= SOURCES {
            self.sources.retain(|_, forgiven| *forgiven > now);
        }
        // Where even that leaves no room, somebody has thousands of addresses, and a limit for each is none.
        if self.sources.len() >= SOURCES {
            self.sources.clear();
        }
        let forgiven = self.sources.entry(network(source)).or_insert(now);
        *forgiven = (*forgiven).max(now) + EACH;
    }
}

pub(super) fn network(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Time {
        Time::from_nanos(seconds * 1_000_000_000)
    }

    #[test]
    fn ten_failures_are_granted_and_one_more_every_six_seconds() {
        let mut limits = Limits::default();
        let source = "192.0.2.1".parse().unwrap();
        for _ in 0..BURST {
            assert_eq!(limits.check(source, at(100)), Ok(()));
            limits.failed(source, at(100));
        }
        assert_eq!(limits.check(source, at(100)), Err(7));
        assert_eq!(limits.check(source, at(105)), Err(2));
        assert_eq!(limits.check(source, at(106)), Ok(()));
        limits.failed(source, at(106));
        assert!(limits.check(source, at(106)).is_err());
        assert_eq!(limits.check(source, at(166)), Ok(()));
    }

    #[test]
    fn a_network_of_ipv6_is_one_source_and_others_are_not_touched() {
        let mut limits = Limits::default();
        for host in 0..=BURST {
            limits.failed(format!("2001:db8:1:1::{host}").parse().unwrap(), at(1));
        }
        assert!(limits.check("2001:db8:1:1:ffff::1".parse().unwrap(), at(1)).is_err());
        assert!(limits.check("2001:db8:1:2::1".parse().unwrap(), at(1)).is_ok());
        for _ in 0..=BURST {
            limits.failed("192.0.2.1".parse().unwrap(), at(1));
        }
        assert!(
            limits.check("::ffff:192.0.2.1".parse().unwrap(), at(1)).is_err(),
            "the same address otherwise written"
        );
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut limits = Limits::default();
        for number in 0..3 * SOURCES as u32 {
            limits.failed(std::net::Ipv4Addr::from_bits(number).into(), at(1));
        }
        assert!(limits.sources.len() <= SOURCES);
    }
}
