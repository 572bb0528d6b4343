//! What became of leases and of those who asked for them, counted since the start.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::enrolment::Lost;

/// Counters since the start.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) granted: AtomicU64,
    pub(super) expired: AtomicU64,
    pub(super) ended: AtomicU64,
    /// Refused requests by the API's words.
    refused: Mutex<BTreeMap<&'static str, u64>>,
    /// Connections that ended without an answer.
    lost: [AtomicU64; LOST.len()],
}

/// Why connections end without an answer, and how the status calls it.
const LOST: [(Lost, &str); 4] =
    [(Lost::Crowd, "crowd"), (Lost::Handshake, "handshake"), (Lost::Slow, "slow"), (Lost::Broken, "broken")];

impl Tally {
    /// Refused requests by the API's words.
    pub(super) fn refusals(&self) -> BTreeMap<String, u64> {
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.iter().map(|(word, count)| ((*word).to_owned(), *count)).collect()
    }

    /// Connections that ended without an answer, by why.
    pub(super) fn lost(&self) -> BTreeMap<String, u64> {
        let counts = LOST.iter().zip(&self.lost);
        counts.map(|((_, word), count)| ((*word).to_owned(), count.load(Ordering::Relaxed))).collect()
    }

    /// A request was refused.
    pub(super) fn refuse(&self, word: &'static str) {
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner).entry(word).or_default() += 1;
    }

    /// A connection ended without an answer.
    pub(super) fn lose(&self, why: Lost) {
        let counter = LOST.iter().zip(&self.lost).find(|((known, _), _)| *known == why);
        if let Some((_, count)) = counter {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_refused_or_lost_is_counted_by_its_reason() {
        let tally = Tally::default();
        for word in ["full", "used_token", "full"] {
            tally.refuse(word);
        }
        tally.lose(Lost::Slow);
        assert_eq!(tally.refusals(), [("full".to_owned(), 2), ("used_token".to_owned(), 1)].into());
        let lost = tally.lost();
        assert_eq!((lost["slow"], lost["crowd"], lost.len()), (1, 0, LOST.len()));
    }
}
