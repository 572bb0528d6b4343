//! How many there are at a time, in all and of each source: so that no one keeps all others out.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

/// Who is there, by source.
#[derive(Clone, Debug)]
pub(crate) struct Crowd<S: Eq + Hash>(Arc<Room<S>>);

#[derive(Debug)]
struct Room<S: Eq + Hash> {
    all: usize,
    each: usize,
    there: Mutex<HashMap<S, usize>>,
}

/// A place, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place<S: Eq + Hash> {
    room: Arc<Room<S>>,
    source: S,
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Full {
    /// The source has all of its own.
    Own,
    /// There is none for anybody.
    All,
}

impl<S: Copy + Eq + Hash> Crowd<S> {
    /// Nobody is there yet; at most so many are to be, and so many of one source.
    pub(crate) fn new(all: usize, each: usize) -> Self {
        Self(Arc::new(Room { all, each, there: Mutex::default() }))
    }

    /// A place for one more, if there is one.
    ///
    /// # Errors
    /// Which limit is reached.
    pub(crate) fn enter(&self, source: S) -> Result<Place<S>, Full> {
        let Room { all, each, there } = &*self.0;
        let mut there = there.lock().unwrap_or_else(PoisonError::into_inner);
        if there.get(&source).is_some_and(|count| count >= each) {
            return Err(Full::Own);
        }
        if there.values().sum::<usize>() >= *all {
            return Err(Full::All);
        }
        *there.entry(source).or_default() += 1;
        Ok(Place { room: self.0.clone(), source })
    }
}

impl<S: Eq + Hash> Drop for Place<S> {
    fn drop(&mut self) {
        let mut there = self.room.there.lock().unwrap_or_else(PoisonError::into_inner);
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
    use super::*;

    #[test]
    fn a_source_takes_its_own_places_and_gives_them_back() {
        let crowd = Crowd::new(8, 2);
        let mut places: Vec<_> = (0..2).map(|_| crowd.enter(1).unwrap()).collect();
        assert_eq!(crowd.enter(1).unwrap_err(), Full::Own);
        for source in 2..=4 {
            places.extend((0..2).map(|_| crowd.enter(source).unwrap()));
        }
        assert_eq!(crowd.enter(5).unwrap_err(), Full::All);
        places.truncate(1);
        assert!(crowd.enter(1).is_ok());
        drop(places);
        assert!(crowd.0.there.lock().unwrap().is_empty());
    }
}
