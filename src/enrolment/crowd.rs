//! How many connections there are, in all and from one source.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use super::limits::network;

/// Connections at a time, from everywhere.
const ALL: usize = 1_024;
/// Connections at a time from one source: an IPv4 address, behind which an office may be, or a /64 of IPv6.
const EACH: usize = 256;

/// Who is there.
#[derive(Clone, Debug, Default)]
pub(super) struct Crowd(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// A place, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    crowd: Crowd,
    source: IpAddr,
}

impl Crowd {
    /// A place for a connection, if there is one.
    pub(super) fn enter(&self, source: IpAddr) -> Option<Place> {
        let source = network(source);
        let mut there = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if there.values().sum::<usize>() >= ALL || there.get(&source).is_some_and(|count| *count >= EACH) {
            return None;
        }
        *there.entry(source).or_default() += 1;
        Some(Place { crowd: self.clone(), source })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut there = self.crowd.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = there.get_mut(&self.source) {
            *count -= 1;
            if *count == 0 {
                there.remove(&self.source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn a_source_takes_a_quarter_of_the_places_and_gives_them_back() {
        let crowd = Crowd::default();
        let source = |number: u32| IpAddr::from(Ipv4Addr::from_bits(number));
        let mut places: Vec<_> = (0..EACH).map(|_| crowd.enter(source(1)).unwrap()).collect();
        assert!(crowd.enter(source(1)).is_none());
        for number in 2..=4 {
            places.extend((0..EACH).map(|_| crowd.enter(source(number)).unwrap()));
        }
        assert!(crowd.enter(source(5)).is_none(), "it is full");
        places.truncate(EACH - 1);
        assert!(crowd.enter(source(1)).is_some());
        drop(places);
        assert!(crowd.0.lock().unwrap().is_empty());
    }
}
