//! Watching dropped packets, when somebody asks to.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use adit_noise::Time;

use super::Reason;

/// Dropped packets that wait to be looked at, at most.
const WAITING: usize = 1_024;
/// Bytes of a packet that are kept: the headers that tell what it was.
const SNIPPET: usize = 64;

/// A packet that was dropped.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Dropped {
    /// When, by [`crate::clock::now`].
    pub at: Time,
    /// Why.
    pub reason: Reason,
    /// Its length in bytes, as it was when it was dropped; 0 if nobody knows.
    pub len: usize,
    /// Its first bytes: an IP packet if it came from the device or was opened, else a datagram's payload.
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
        self.on.store(false, Ordering::Release);
        self.lock().clear();
        self.missed.store(0, Ordering::Relaxed);
    }

    /// Whether somebody watches.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.on.load(Ordering::Relaxed)
    }

    /// Takes what was dropped since the last time, and how many more there were than could be kept.
    pub fn take(&self) -> (Vec<Dropped>, u64) {
        (self.lock().drain(..).collect(), self.missed.swap(0, Ordering::Relaxed))
    }

    /// Keeps a dropped packet, if somebody watches.
    pub fn note(&self, at: Time, reason: Reason, packet: &[u8]) {
        if !self.is_on() {
            return;
        }
        let mut waiting = self.lock();
        if waiting.len() >= WAITING {
            self.missed.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let head = packet.iter().copied().take(SNIPPET).collect();
        waiting.push_back(Dropped { at, reason, len: packet.len(), head });
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<Dropped>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
