//! Watching dropped packets, when somebody asks to.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use adit_noise::Time;

use super::Reason;

/// Drops that wait to be looked at, at most.
const WAITING: usize = 1_024;
/// Bytes of a packet that are kept: the headers that tell what it was.
const SNIPPET: usize = 64;

/// A packet that was dropped, or several that were dropped as one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Dropped {
    /// When, by [`crate::clock::now`].
    pub at: Time,
    /// Why.
    pub reason: Reason,
    /// How many: 1 but for a super-packet, and for packets that only their number is known of.
    pub packets: u64,
    /// The length in bytes of the first, as it was when it was dropped; 0 if nobody knows.
    pub len: usize,
    /// Its first bytes: an IP packet if it came from the device or was opened, else a datagram's payload. Where opening
    /// failed, only its header of 16 bytes is as it came.
    pub head: Vec<u8>,
}

/// Keeps dropped packets for whoever watches. It costs one atomic load for each drop while nobody does.
#[derive(Debug, Default)]
pub struct Tracer {
    on: AtomicBool,
    missed: AtomicU64,
    waiting: Mutex<VecDeque<Dropped>>,
}

impl Tracer {
    /// Begins to keep dropped packets; false if somebody watches already.
    #[must_use]
    pub fn begin(&self) -> bool {
        !self.on.swap(true, Ordering::AcqRel)
    }

    /// Ends it, and forgets what was not taken.
    pub fn end(&self) {
        let mut waiting = self.lock();
        waiting.clear();
        self.missed.store(0, Ordering::Relaxed);
        self.on.store(false, Ordering::Release);
    }

    /// Whether somebody watches.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.on.load(Ordering::Relaxed)
    }

    /// Takes what was dropped since the last time, and how many packets more there were than could be kept.
    pub fn take(&self) -> (Vec<Dropped>, u64) {
        let mut waiting = self.lock();
        (waiting.drain(..).collect(), self.missed.swap(0, Ordering::Relaxed))
    }

    /// Keeps dropped packets, if somebody watches: how many, and the first of them, empty if it is not at hand.
    #[inline]
    pub fn note(&self, reason: Reason, packets: u64, first: &[u8], now: Time) {
        if self.is_on() {
            self.keep(reason, packets, first, now);
        }
    }

    #[cold]
    fn keep(&self, reason: Reason, packets: u64, first: &[u8], now: Time) {
        let mut waiting = self.lock();
        // Whoever watched may have gone in the meantime: the next one is not to see this.
        if !self.is_on() {
            return;
        }
        if waiting.len() >= WAITING {
            self.missed.fetch_add(packets, Ordering::Relaxed);
            return;
        }
        let head = first.iter().copied().take(SNIPPET).collect();
        waiting.push_back(Dropped { at: now, reason, packets, len: first.len(), head });
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Dropped>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Time {
        Time::from_secs(7)
    }

    #[test]
    fn what_was_dropped_is_shown_with_its_beginning() {
        let tracer = Tracer::default();
        assert!(tracer.begin());
        let packet: Vec<u8> = (0..=255).collect();
        tracer.note(Reason::Source, 1, &packet, now());
        tracer.note(Reason::ReceiveQueueFull, 9, &[], now());
        let (head, at) = (packet[..SNIPPET].to_vec(), now());
        let first = Dropped { at, reason: Reason::Source, packets: 1, len: 256, head };
        let second = Dropped { at, reason: Reason::ReceiveQueueFull, packets: 9, len: 0, head: Vec::new() };
        assert_eq!(tracer.take(), (vec![first, second], 0));
        assert_eq!(tracer.take(), (Vec::new(), 0));
    }

    #[test]
    fn one_may_watch_at_a_time_and_sees_nothing_of_before() {
        let tracer = Tracer::default();
        let note = || tracer.note(Reason::NoRoute, 1, &[0x45], now());
        note();
        assert!(tracer.begin() && !tracer.begin() && tracer.is_on());
        assert!(tracer.take().0.is_empty());
        note();
        tracer.end();
        note();
        // As a worker that looked whether somebody watches just before it ended.
        tracer.keep(Reason::NoRoute, 1, &[0x45], now());
        assert!(!tracer.is_on() && tracer.begin());
        assert_eq!(tracer.take(), (Vec::new(), 0));
    }

    #[test]
    fn what_nobody_takes_is_bounded_and_counted() {
        let tracer = Tracer::default();
        assert!(tracer.begin());
        for _ in 0..WAITING + 10 {
            tracer.note(Reason::NotWireguard, 1, &[0; 9_000], now());
        }
        tracer.note(Reason::ReceiveQueueFull, 100, &[], now());
        let (kept, missed) = tracer.take();
        assert_eq!((kept.len(), missed), (WAITING, 110));
        assert!(kept.iter().all(|dropped| dropped.head.len() == SNIPPET));
        tracer.note(Reason::NotWireguard, 1, &[0], now());
        let (kept, missed) = tracer.take();
        assert_eq!((kept.len(), missed), (1, 0));
    }
}
