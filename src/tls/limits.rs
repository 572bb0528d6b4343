//! How many connections there may be, in all and from one address, and how often one address may begin a handshake.
//!
//! An IPv4 address is one; of IPv6 a /64 is one, for whoever has an address there has them all. The table of addresses is
//! bounded: in a flood from more addresses than it holds, those without a connection are forgotten, the longest gone first; if
//! all of them have connections, nobody else may come.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// Parts of the table, each with a lock of its own.
const SHARDS: usize = 16;
/// Addresses in one part.
const MOST: usize = 8192;
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
    /// It is among those that may be forgotten, where it stays until it is looked at.
    idle: bool,
    /// Handshakes that it may begin.
    tokens: f64,
    /// When that was so: nanoseconds of the monotonic time.
    at: u64,
}

impl Guest {
    /// Counts one more connection of it.
    fn admit(&mut self, settings: &Settings, now: u64) -> Result<(), Limit> {
        if settings.per_address.is_some_and(|most| self.open >= most) {
            return Err(Limit::Address);
        }
        if let Some(rate) = settings.handshakes {
            let seconds = now.saturating_sub(self.at) as f64 / 1e9;
            self.tokens = (self.tokens + seconds * f64::from(rate)).min(burst(settings));
            self.at = now;
            if self.tokens < 1.0 {
                return Err(Limit::Rate);
            }
            self.tokens -= 1.0;
        }
        self.open += 1;
        Ok(())
    }
}

/// What an address that nobody knows may begin at once.
fn burst(settings: &Settings) -> f64 {
    settings.handshakes.map_or(1.0, |rate| f64::from(rate) * BURST)
}

/// A part of the table.
#[derive(Debug, Default)]
struct Shard {
    guests: HashMap<u128, Guest>,
    /// Those that had no connection when they were put here; each is here once.
    idle: VecDeque<u128>,
}

impl Shard {
    /// What is known of an address. `None` if there is no room for another.
    fn guest(&mut self, key: u128, settings: &Settings, now: u64) -> Option<&mut Guest> {
        if !self.guests.contains_key(&key) && self.guests.len() >= MOST && !self.make_room() {
            return None;
        }
        let new = || Guest { open: 0, idle: false, tokens: burst(settings), at: now };
        Some(self.guests.entry(key).or_insert_with(new))
    }

    /// Forgets the address that has been without a connection for longest.
    fn make_room(&mut self) -> bool {
        while let Some(key) = self.idle.pop_front() {
            let Some(guest) = self.guests.get_mut(&key) else { continue };
            guest.idle = false;
            if guest.open == 0 {
                return self.guests.remove(&key).is_some();
            }
        }
        false
    }

    /// Lets an address be forgotten if it has no connection.
    fn rest(&mut self, key: u128) {
        if let Some(guest) = self.guests.get_mut(&key).filter(|guest| guest.open == 0 && !guest.idle) {
            guest.idle = true;
            self.idle.push_back(key);
        }
    }
}

/// Who is there.
#[derive(Debug)]
pub struct Limits {
    open: AtomicUsize,
    hasher: RandomState,
    shards: Box<[Mutex<Shard>]>,
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
        // Whoever fills the table with connections must not be rid of the limits by that.
        let guest = shard.guest(key, settings, now).ok_or(Limit::Address)?;
        if let Err(limit) = guest.admit(settings, now) {
            shard.rest(key);
            return Err(limit);
        }
        Ok(true)
    }

    /// A connection that was counted at this address is over.
    pub fn forget(&self, address: IpAddr) {
        let key = key(address);
        let mut shard = self.shard(key);
        if let Some(guest) = shard.guests.get_mut(&key) {
            guest.open = guest.open.saturating_sub(1);
        }
        shard.rest(key);
    }

    fn shard(&self, key: u128) -> std::sync::MutexGuard<'_, Shard> {
        // Nobody outside knows which addresses share a part.
        let at = self.hasher.hash_one(key) as usize % SHARDS;
        self.shards[at].lock().unwrap_or_else(PoisonError::into_inner)
    }
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

    /// As many as there is room for, and as many again.
    fn crowd() -> impl Iterator<Item = IpAddr> {
        (0..2 * (SHARDS * MOST) as u32).map(|number| IpAddr::from(number.to_be_bytes()))
    }

    fn held(limits: &Limits) -> usize {
        let shards = limits.shards.iter().map(|shard| shard.lock().unwrap());
        shards.map(|shard| shard.guests.len().max(shard.idle.len())).sum()
    }

    #[test]
    fn a_flood_of_addresses_takes_no_more_memory_and_forgets_nobody_who_is_there() {
        let limits = Limits::default();
        let settings = Settings { per_address: Some(1), handshakes: Some(1), ..Settings::default() };
        assert_eq!(limits.introduce(&settings, address("192.0.2.1"), SECOND), Ok(true));
        for one in crowd() {
            assert_eq!(limits.introduce(&settings, one, SECOND), Ok(true));
            limits.forget(one);
        }
        assert!(held(&limits) <= SHARDS * MOST, "{}", held(&limits));
        assert_eq!(limits.introduce(&settings, address("192.0.2.1"), SECOND), Err(Limit::Address));
    }

    #[test]
    fn whoever_fills_the_table_with_connections_keeps_others_out_only_until_one_is_idle() {
        let limits = Limits::default();
        let settings = Settings { per_address: Some(1), ..Settings::default() };
        let come = |one: &IpAddr| limits.introduce(&settings, *one, SECOND);
        let (inside, outside): (Vec<_>, Vec<_>) = crowd().partition(|one| come(one) == Ok(true));
        assert_eq!(inside.len(), SHARDS * MOST);
        assert!(outside.iter().all(|one| come(one) == Err(Limit::Address)));
        // There is room for as many others, whoever is left beside it.
        inside.iter().skip(SHARDS * MOST / 2).for_each(|one| limits.forget(*one));
        let taken = outside.iter().filter(|one| come(one) == Ok(true)).count();
        assert_eq!((taken, held(&limits)), (SHARDS * MOST / 2, SHARDS * MOST));
    }

    #[test]
    fn of_those_who_are_gone_the_longest_gone_is_forgotten_first() {
        let mut shard = Shard::default();
        let settings = Settings { per_address: Some(1), ..Settings::default() };
        for key in 0..MOST as u128 {
            shard.guest(key, &settings, SECOND).unwrap().admit(&settings, SECOND).unwrap();
        }
        for key in [7, 5, 6] {
            shard.guests.get_mut(&key).unwrap().open = 0;
            shard.rest(key);
        }
        // It has come again.
        shard.guest(7, &settings, SECOND).unwrap().admit(&settings, SECOND).unwrap();
        shard.guest(u128::MAX, &settings, SECOND).unwrap();
        let there = |key: u128| shard.guests.contains_key(&key);
        assert_eq!([there(5), there(6), there(7), there(u128::MAX)], [false, true, true, true]);
    }
}
