//! Numbers for nonces.

use core::ops::Range;

#[cfg(not(loom))]
use core::sync::atomic::{AtomicU64, Ordering};
#[cfg(loom)]
use loom::sync::atomic::{AtomicU64, Ordering};

/// Gives out the numbers from 0, or from where it is told to begin, up to a limit, each at most once, to any number of
/// threads.
///
/// At the limit it stops for good: it neither wraps nor gives out a last, shorter range. The limit
/// is the protocol's (WireGuard: 2^64 - 2^13 - 1 messages; MACsec: packet numbers below 2^32, or below 2^64 - 1 where they
/// are extended).
#[derive(Debug)]
pub struct Counter {
    next: AtomicU64,
    limit: u64,
}

impl Counter {
    /// A counter that gives out `0..limit`.
    #[cfg(not(loom))]
    #[must_use]
    pub const fn new(limit: u64) -> Self {
        Self { next: AtomicU64::new(0), limit }
    }

    /// A counter that gives out `0..limit`. Loom's atomics cannot be made in a constant.
    #[cfg(loom)]
    #[must_use]
    pub fn new(limit: u64) -> Self {
        Self { next: AtomicU64::new(0), limit }
    }

    /// A counter that gives out `first..limit`: the numbers before were given out elsewhere, or are none.
    #[must_use]
    pub fn starting_at(first: u64, limit: u64) -> Self {
        Self { next: AtomicU64::new(first), limit }
    }

    /// Takes `count` consecutive numbers that nobody else was or will be given.
    ///
    /// `None` if fewer than `count` are left; nothing is taken then.
    #[inline]
    pub fn reserve(&self, count: u64) -> Option<Range<u64>> {
        self.reserve_below(count, u64::MAX)
    }

    /// [`Self::reserve`], for who may use only the numbers below `bound` as yet: those that are written down as used, in
    /// storage that outlives the process.
    #[inline]
    pub fn reserve_below(&self, count: u64, bound: u64) -> Option<Range<u64>> {
        let limit = self.limit.min(bound);
        // Relaxed: a nonce is unique because every update of this one variable sees the one before
        // it. No other memory is published by it.
        let start = self
            .next
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |next| after(next, count, limit))
            .ok()?;
        Some(start..after(start, count, limit)?)
    }

    /// The number that would be given out next: how many were so far, if the first was 0.
    #[inline]
    pub fn used(&self) -> u64 {
        self.next.load(Ordering::Relaxed)
    }
}

/// Where a range of `count` numbers from `next` on ends, if within the limit.
fn after(next: u64, count: u64, limit: u64) -> Option<u64> {
    next.checked_add(count).filter(|end| *end <= limit)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn ranges_follow_one_another_from_zero() {
        static COUNTER: Counter = Counter::new(100);
        assert_eq!(COUNTER.reserve(1), Some(0..1));
        assert_eq!(COUNTER.reserve(64), Some(1..65));
        assert_eq!(COUNTER.used(), 65);
    }

    #[test]
    fn the_last_number_is_one_below_the_limit() {
        let counter = Counter::new(10);
        assert_eq!(counter.reserve(10), Some(0..10));
        assert_eq!(counter.reserve(1), None);
        assert_eq!(counter.used(), 10);
    }

    #[test]
    fn a_refused_range_takes_nothing() {
        let counter = Counter::new(10);
        assert_eq!(counter.reserve(8), Some(0..8));
        assert_eq!(counter.reserve(3), None);
        assert_eq!(counter.reserve(u64::MAX), None);
        assert_eq!(counter.reserve(2), Some(8..10));
    }

    #[test]
    fn the_counter_never_wraps() {
        let counter = Counter::new(u64::MAX);
        assert_eq!(counter.reserve(u64::MAX), Some(0..u64::MAX));
        assert_eq!(counter.reserve(1), None);
        assert_eq!(counter.reserve(u64::MAX), None);
    }

    #[test]
    fn a_counter_that_begins_later_gives_out_nothing_before_and_keeps_its_limit() {
        let counter = Counter::starting_at(7, 10);
        assert_eq!(counter.reserve(2), Some(7..9));
        assert_eq!(counter.reserve(2), None);
        assert_eq!(counter.reserve(1), Some(9..10));
        assert_eq!(Counter::starting_at(11, 10).reserve(1), None);
    }

    #[test]
    fn numbers_from_the_bound_on_wait_until_it_is_raised() {
        let counter = Counter::new(10);
        assert_eq!(counter.reserve_below(5, 4), None);
        assert_eq!(counter.reserve_below(4, 4), Some(0..4));
        assert_eq!(counter.reserve_below(1, 4), None);
        assert_eq!(counter.reserve_below(6, 99), Some(4..10));
        assert_eq!(counter.reserve_below(1, 99), None, "the limit stays");
    }

    #[test]
    fn an_empty_range_is_given_even_at_the_limit() {
        let counter = Counter::new(0);
        assert_eq!(counter.reserve(0), Some(0..0));
        assert_eq!(counter.reserve(1), None);
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use loom::sync::Arc;
    use loom::thread;

    use super::*;

    /// Two workers, each taking two batches, where the limit leaves room for three.
    #[test]
    fn two_threads_never_share_a_number_nor_pass_the_limit() {
        const LIMIT: u64 = 7;
        loom::model(|| {
            let counter = Arc::new(Counter::new(LIMIT));
            let take = |counter: &Counter| [counter.reserve(2), counter.reserve(2)];
            let other = thread::spawn({
                let counter = Arc::clone(&counter);
                move || take(&counter)
            });
            let mine = take(&counter);
            let theirs = other.join().unwrap();

            let mut given: Vec<u64> = mine.into_iter().chain(theirs).flatten().flatten().collect();
            given.sort_unstable();
            assert_eq!(given, (0..6).collect::<Vec<_>>());
            assert_eq!(counter.used(), 6);
            assert_eq!(counter.reserve(2), None);
            assert_eq!(counter.reserve(1), Some(6..LIMIT));
        });
    }

    /// One thread knows a higher bound than the other.
    #[test]
    fn two_threads_with_different_bounds_share_no_number_and_pass_neither_bound() {
        loom::model(|| {
            let counter = Arc::new(Counter::starting_at(1, 100));
            let other = thread::spawn({
                let counter = Arc::clone(&counter);
                move || [counter.reserve_below(2, 4), counter.reserve_below(2, 4)]
            });
            let mine = counter.reserve_below(2, 6);
            let theirs = other.join().unwrap();

            assert!(theirs.iter().flatten().all(|range| range.end <= 4));
            assert!(mine.as_ref().is_none_or(|range| range.end <= 6));
            let mut given: Vec<u64> = theirs.into_iter().chain([mine]).flatten().flatten().collect();
            given.sort_unstable();
            assert_eq!(given, (1..=given.len() as u64).collect::<Vec<_>>());
        });
    }
}
