//! What the data threads count.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use super::hello::HelloError;
use super::limits::Limit;
use super::proxy::ProxyError;
use super::record::RecordError;

/// A number that one thread counts up and anybody may read.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds to it.
    pub fn add(&self, more: u64) {
        // One thread writes, so nothing comes between load and store; it spares the price of an atomic addition.
        self.0.store(self.get().wrapping_add(more), Ordering::Relaxed);
    }

    /// What was counted.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Why a connection ended before its time. Each variant is one counter.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// The first message is none.
    #[error(transparent)]
    Hello(#[from] HelloError),
    /// The client went before its handshake was done.
    #[error("the client left during the handshake")]
    Left,
    /// The handshake took too long.
    #[error("the handshake took too long")]
    HandshakeTime,
    /// rustls refused the handshake.
    #[error("handshake: {0}")]
    Handshake(rustls::Error),
    /// The route refused the client.
    #[error("refused")]
    Refused,
    /// No backend could be reached.
    #[error("no backend")]
    NoBackend,
    /// The client's connection broke, or ended without `close_notify`: what came may not be all.
    #[error("the client's stream was cut short")]
    Truncated,
    /// A record from the client was refused.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The backend's connection broke.
    #[error("the backend broke off")]
    Backend,
    /// Nothing came for too long.
    #[error("idle for too long")]
    Idle,
    /// Who passes connections on did not say for whom.
    #[error(transparent)]
    Proxy(#[from] ProxyError),
    /// It was one too many.
    #[error(transparent)]
    Limit(#[from] Limit),
}

/// Numbers of the [`Failure`]s, in their order.
pub const FAILURES: [&str; 14] = [
    "hello",
    "left",
    "handshake_time",
    "handshake",
    "refused",
    "no_backend",
    "truncated",
    "record",
    "backend",
    "idle",
    "proxy",
    "limit",
    "address_limit",
    "address_rate",
];

impl Failure {
    fn index(&self) -> usize {
        match self {
            Self::Hello(_) => 0,
            Self::Left => 1,
            Self::HandshakeTime => 2,
            Self::Handshake(_) => 3,
            Self::Refused => 4,
            Self::NoBackend => 5,
            Self::Truncated => 6,
            Self::Record(_) => 7,
            Self::Backend => 8,
            Self::Idle => 9,
            Self::Proxy(_) => 10,
            Self::Limit(Limit::Connections) => 11,
            Self::Limit(Limit::Address) => 12,
            Self::Limit(Limit::Rate) => 13,
        }
    }

    /// Its name among the counters.
    #[must_use]
    pub fn name(&self) -> &'static str {
        FAILURES[self.index()]
    }
}

/// The counters of one data thread.
#[derive(Default)]
pub struct Counters {
    /// Connections accepted.
    pub accepted: Counter,
    /// Connections that are over.
    pub ended: Counter,
    /// Handshakes done in full.
    pub full: Counter,
    /// Handshakes resumed by a ticket.
    pub resumed: Counter,
    /// Connections passed through untouched.
    pub passed: Counter,
    /// Connections turned away since there were too many.
    pub crowded: Counter,
    /// Bytes from clients to backends, decrypted.
    pub upward: Counter,
    /// Bytes from backends to clients, before they are encrypted.
    pub downward: Counter,
    failures: [Counter; FAILURES.len()],
}

impl Counters {
    /// Counts why a connection ended.
    pub fn fail(&self, failure: &Failure) {
        self.failures[failure.index()].add(1);
        if matches!(failure, Failure::Limit(_)) {
            self.crowded.add(1);
        }
    }

    /// Ends before the time, by name.
    pub fn failures(&self) -> impl Iterator<Item = (&'static str, u64)> {
        FAILURES.into_iter().zip(self.failures.iter().map(Counter::get))
    }

    /// Connections now.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.accepted.get().saturating_sub(self.ended.get())
    }
}

impl fmt::Debug for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Counters")
            .field("accepted", &self.accepted.get())
            .field("ended", &self.ended.get())
            .field("full", &self.full.get())
            .field("resumed", &self.resumed.get())
            .field("failures", &self.failures().filter(|(_, count)| *count > 0).collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_too_many_is_turned_away_whenever_that_is_known() {
        let counters = Counters::default();
        for limit in [Limit::Connections, Limit::Address, Limit::Rate] {
            counters.fail(&limit.into());
        }
        counters.fail(&Failure::Left);
        assert_eq!(counters.crowded.get(), 3);
    }
}
