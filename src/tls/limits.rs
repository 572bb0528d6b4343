//! How many connections there may be, in all and from one address, and how often one address may begin a handshake.
//!
//! An IPv4 address is one; of IPv6 a /64 is one, for whoever has an address there has them all. The table of addresses is
//! bounded: in a flood from more addresses than it holds, those without a connection are forgotten first.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// Parts of the table, each with a lock of its own.
const SHARDS: usize = 16;
/// Addresses in one part.
const MOST: usize = 4096;
/// Entries that are looked at to find one to be forgotten.
const GLANCE: usize = 32;
/// Seconds' worth of handshakes that an address may begin at once.
const BURST: f64 = 2.0;

/// What is allowed; what is absent is not limited.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Settings {
    /// `max_connections`: connections at a time.
    pub connections: Option<usize>,
    /// `max_connections_per_address`: the same of one address.
    pub per_address: Option<u32>,
    /// `max_handshakes_per_address`: connections that one address may begin in a second, if it does so all the time.
    pub handshakes: Option<u32>,
}

impl Settings {
    /// Whether anything is limited by address.
    #[must_use]
    pub fn is_by_address(&self) -> bool {
        self.per_address.is_some() || self.handshakes.is_some()
    }
}

/// What a connection is too much for.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Limit {
    /// There are as many as there may be.
    #[error("too many connections")]
    Connections,
    /// There are as many of its address.
    #[error("too many connections of this address")]
    Address,
    /// Its address begins too many.
    #[error("too many handshakes of this address")]
    Rate,
}

/// What is known of an address.
#[derive(Clone, Copy, Debug)]
struct Guest {
    open: u32,
    /// Handshakes that it may begin.
    tokens: f64,
    /// When that was so: nanoseconds of the monotonic time.
    at: u64,
}

/// Who is there.
#[derive(Debug)]
pub struct Limits {
    open: AtomicUsize,
    hasher: RandomState,
    shards: Box<[Mutex<HashMap<u128, Guest>>]>,
}

impl Default for Limits {
    fn default() -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self { open: AtomicUsize::new(0), hasher: RandomState::new(), shards }
    }
}

impl Limits {
    /// A connection came, of whoever.
    ///
    /// # Errors
    /// It may not stay; it is not counted.
    pub fn arrives(&self, settings: &Settings) -> Result<(), Limit> {
        let before = self.open.fetch_add(1, Ordering::Relaxed);
        if settings.connections.is_some_and(|most| before >= most) {
            self.open.fetch_sub(1, Ordering::Relaxed);
            return Err(Limit::Connections);
        }
        Ok(())
    }

    /// One that arrived is over.
    pub fn left(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    /// It is of this address. Whether it is counted there, and [`Self::forget`] has to be told of its end.
    ///
    /// # Errors
    /// It may not stay.
    pub fn introduce(&self, settings: &Settings, address: IpAddr, now: u64) -> Result<bool, Limit> {
        if !settings.is_by_address() {
            return Ok(false);
        }
        let key = key(address);
        let mut shard = self.shard(key);
        if !shard.contains_key(&key) && shard.len() >= MOST && !make_room(&mut shard) {
            // As many addresses have connections: the limit of all is what holds now.
            return Ok(false);
        }
        let burst = settings.handshakes.map_or(1.0, |rate| f64::from(rate) * BURST);
        let guest = shard.entry(key).or_insert(Guest { open: 0, tokens: burst, at: now });
        if settings.per_address.is_some_and(|most| guest.open >= most) {
            return Err(Limit::Address);
        }
        if let Some(rate) = settings.handshakes {
            let seconds = now.saturating_sub(guest.at) as f64 / 1e9;
            guest.tokens = (guest.tokens + seconds * f64::from(rate)).min(burst);
            guest.at = now;
            if guest.tokens < 1.0 {
                return Err(Limit::Rate);
            }
            guest.tokens -= 1.0;
        }
        guest.open += 1;
        Ok(true)
    }

    /// A connection that was counted at this address is over.
    pub fn forget(&self, address: IpAddr) {
        let key = key(address);
        if let Some(guest) = self.shard(key).get_mut(&key) {
            guest.open = guest.open.saturating_sub(1);
        }
    }

    fn shard(&self, key: u128) -> std::sync::MutexGuard<'_, HashMap<u128, Guest>> {
        // Nobody outside knows which addresses share a part.
        let at = self.hasher.hash_one(key) as usize % SHARDS;
        self.shards[at].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Forgets an address without a connection, if one is found soon.
fn make_room(shard: &mut HashMap<u128, Guest>) -> bool {
    let idle = shard.iter().take(GLANCE).find(|(_, guest)| guest.open == 0).map(|(key, _)| *key);
    idle.is_some_and(|key| shard.remove(&key).is_some())
}

fn key(address: IpAddr) -> u128 {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits() & !u128::from(u64::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn there_are_no_more_connections_than_may_be() {
        let limits = Limits::default();
        let two = Settings { connections: Some(2), ..Settings::default() };
        let come = |settings| limits.arrives(settings);
        assert_eq!([come(&two), come(&two), come(&two)], [Ok(()), Ok(()), Err(Limit::Connections)]);
        limits.left();
        assert_eq!((come(&two), come(&Settings::default())), (Ok(()), Ok(())));
    }

    #[test]
    fn an_address_has_its_own_limit_and_of_ipv6_a_64_is_one() {
        let limits = Limits::default();
        let settings = Settings { per_address: Some(2), ..Settings::default() };
        let come = |text| limits.introduce(&settings, address(text), SECOND);
        for (first, same, other) in [
            ("192.0.2.1", "192.0.2.1", "192.0.2.2"),
            ("2001:db8::1", "2001:db8::ffff:0:0:2", "2001:db8:0:1::1"),
            ("198.51.100.1", "::ffff:198.51.100.1", "::1"),
        ] {
            assert_eq!((come(first), come(same), come(same)), (Ok(true), Ok(true), Err(Limit::Address)));
            assert_eq!(come(other), Ok(true));
            limits.forget(address(first));
            assert_eq!((come(same), come(first)), (Ok(true), Err(Limit::Address)));
        }
        assert_eq!(limits.introduce(&Settings::default(), address("192.0.2.1"), SECOND), Ok(false));
    }

    #[test]
    fn an_address_begins_so_many_in_a_second_and_some_at_once() {
        let limits = Limits::default();
        let settings = Settings { handshakes: Some(5), ..Settings::default() };
        let taken = |now: u64| {
            let come = |_: &u32| limits.introduce(&settings, address("192.0.2.1"), now) == Ok(true);
            (0..100).filter(come).count()
        };
        let second = |tenths: u64| SECOND * tenths / 10;
        assert_eq!(
            [taken(second(10)), taken(second(10)), taken(second(12)), taken(second(22))],
            [10, 0, 1, 5]
        );
        assert_eq!(taken(second(1000)), 10);
        assert_eq!(limits.introduce(&settings, address("192.0.2.1"), second(1000)), Err(Limit::Rate));
    }

    #[test]
    fn a_flood_of_addresses_takes_no_more_memory_and_forgets_nobody_who_is_there() {
        let limits = Limits::default();
        let settings = Settings { per_address: Some(1), handshakes: Some(1), ..Settings::default() };
        assert_eq!(limits.introduce(&settings, address("192.0.2.1"), SECOND), Ok(true));
        for number in 0..200_000_u32 {
            let one = IpAddr::from(number.to_be_bytes());
            if limits.introduce(&settings, one, SECOND) == Ok(true) {
                limits.forget(one);
            }
        }
        let held: usize = limits.shards.iter().map(|shard| shard.lock().unwrap().len()).sum();
        assert!(held <= SHARDS * MOST, "{held}");
        assert_eq!(limits.introduce(&settings, address("192.0.2.1"), SECOND), Err(Limit::Address));
    }
}
