//! Addresses for clients: a number stands for one of each family.

use std::net::{Ipv4Addr, Ipv6Addr};

/// The most addresses that a pool gives out: 2 MiB of memory, whatever the size of an IPv6 network.
const MOST: u32 = 1 << 24;

/// Addresses from the first to the last, both included.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Range<A> {
    /// The first.
    pub first: A,
    /// The last.
    pub last: A,
}

/// What clients get addresses from. The gateway's own addresses, and those that name a network, are no part of it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Pool {
    /// IPv4.
    pub v4: Option<Range<Ipv4Addr>>,
    /// IPv6.
    pub v6: Option<Range<Ipv6Addr>>,
}

impl Pool {
    /// How many clients can have addresses: as many as the smaller range has.
    #[must_use]
    pub fn size(&self) -> u32 {
        let v4 = self.v4.map(|range| count(range.first.to_bits().into(), range.last.to_bits().into()));
        let v6 = self.v6.map(|range| count(range.first.to_bits(), range.last.to_bits()));
        match (v4, v6) {
            (None, None) => 0,
            (one, other) => one.unwrap_or(MOST).min(other.unwrap_or(MOST)),
        }
    }

    /// The addresses that a number stands for.
    #[must_use]
    pub fn addresses(&self, number: u32) -> (Option<Ipv4Addr>, Option<Ipv6Addr>) {
        let v4 = self.v4.map(|range| Ipv4Addr::from_bits(range.first.to_bits().saturating_add(number)));
        let v6 =
            self.v6.map(|range| Ipv6Addr::from_bits(range.first.to_bits().saturating_add(number.into())));
        (v4, v6)
    }
}

fn count(first: u128, last: u128) -> u32 {
    let count = last.checked_sub(first).map_or(0, |distance| distance.saturating_add(1));
    u32::try_from(count).unwrap_or(MOST).min(MOST)
}

/// Which numbers are given out. A number that came back is the last to be given out again, lest a stray packet for the one
/// before reaches the one after.
#[derive(Debug)]
pub(super) struct Numbers {
    used: Vec<u64>,
    size: u32,
    free: u32,
    next: u32,
}

impl Numbers {
    pub(super) fn new(size: u32) -> Self {
        Self { used: vec![0; size.div_ceil(64) as usize], size, free: size, next: 0 }
    }

    pub(super) fn is_free(&self, number: u32) -> bool {
        let word = self.used.get(number as usize / 64);
        number < self.size && word.is_some_and(|word| word >> (number % 64) & 1 == 0)
    }

    /// Marks a number as given out. It was free.
    pub(super) fn take(&mut self, number: u32) {
        if let (true, Some(word)) = (self.is_free(number), self.used.get_mut(number as usize / 64)) {
            *word |= 1 << (number % 64);
            self.free -= 1;
        }
    }

    /// Marks a number as free.
    pub(super) fn give_back(&mut self, number: u32) {
        let used = number < self.size && !self.is_free(number);
        if let (true, Some(word)) = (used, self.used.get_mut(number as usize / 64)) {
            *word &= !(1 << (number % 64));
            self.free += 1;
        }
    }

    /// Takes the next free number.
    pub(super) fn take_next(&mut self) -> Option<u32> {
        if self.free == 0 {
            return None;
        }
        let mut number = self.next;
        loop {
            if number >= self.size {
                number = 0;
            }
            // A word that is full is passed at once.
            if number.is_multiple_of(64) && self.used.get(number as usize / 64) == Some(&u64::MAX) {
                number += 64;
                continue;
            }
            if self.is_free(number) {
                self.take(number);
                self.next = number + 1;
                return Some(number);
            }
            number += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn pool() -> Pool {
        Pool {
            v4: Some(Range { first: Ipv4Addr::new(10, 9, 0, 2), last: Ipv4Addr::new(10, 9, 0, 254) }),
            v6: Some(Range {
                first: "fd09::2".parse().unwrap(),
                last: "fd09::ffff:ffff:ffff".parse().unwrap(),
            }),
        }
    }

    #[test]
    fn a_pool_is_as_large_as_its_smaller_range() {
        assert_eq!(pool().size(), 253);
        assert_eq!(Pool { v4: None, ..pool() }.size(), MOST);
        assert_eq!(Pool::default().size(), 0);
        let empty = Range { first: Ipv4Addr::new(10, 0, 0, 2), last: Ipv4Addr::new(10, 0, 0, 1) };
        assert_eq!(Pool { v4: Some(empty), v6: None }.size(), 0);
        let all = Range { first: Ipv4Addr::UNSPECIFIED, last: Ipv4Addr::BROADCAST };
        assert_eq!(Pool { v4: Some(all), v6: None }.size(), MOST);
    }

    #[test]
    fn a_number_stands_for_one_address_of_each_family() {
        let (v4, v6) = pool().addresses(252);
        assert_eq!((v4, v6), (Some(Ipv4Addr::new(10, 9, 0, 254)), Some("fd09::fe".parse().unwrap())));
    }

    #[test]
    fn a_number_that_came_back_is_given_out_last() {
        let mut numbers = Numbers::new(3);
        assert_eq!([numbers.take_next(), numbers.take_next()], [Some(0), Some(1)]);
        numbers.give_back(0);
        assert_eq!([numbers.take_next(), numbers.take_next(), numbers.take_next()], [Some(2), Some(0), None]);
    }

    proptest! {
        #[test]
        fn numbers_agree_with_a_set(size in 1_u32..200, steps in prop::collection::vec((0_u8..3, 0_u32..200), 0..300)) {
            let mut numbers = Numbers::new(size);
            let mut used = BTreeSet::new();
            for (step, number) in steps {
                match step {
                    0 => match numbers.take_next() {
                        Some(number) => prop_assert!(number < size && used.insert(number)),
                        None => prop_assert_eq!(used.len(), size as usize),
                    },
                    1 => {
                        numbers.give_back(number);
                        used.remove(&number);
                    }
                    _ => {
                        prop_assert_eq!(numbers.is_free(number), number < size && !used.contains(&number));
                        if numbers.is_free(number) {
                            numbers.take(number);
                            used.insert(number);
                        }
                    }
                }
            }
        }
    }
}
