//! Requests of one route: how they ended, and how long they took.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hyper::StatusCode;

/// Classes of answers.
pub const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];
/// Upper ends of the histogram's buckets, in milliseconds; one more has the rest.
pub const MILLISECONDS: [u64; 10] = [1, 5, 10, 50, 100, 500, 1_000, 5_000, 10_000, 60_000];

/// What all threads count of one route.
#[derive(Debug, Default)]
pub struct Counters {
    classes: [AtomicU64; CLASSES.len()],
    buckets: [AtomicU64; MILLISECONDS.len() + 1],
    /// Microseconds of all requests.
    time: AtomicU64,
    retried: AtomicU64,
    left: AtomicU64,
}

impl Counters {
    /// A request is over, from its head to the last byte of its answer.
    pub(super) fn note(&self, status: StatusCode, took: Duration) {
        let class = usize::from(status.as_u16() / 100).saturating_sub(1);
        if let Some(class) = self.classes.get(class) {
            class.fetch_add(1, Ordering::Relaxed);
        }
        let milliseconds = took.as_micros().div_ceil(1_000);
        let at = MILLISECONDS.iter().take_while(|end| u128::from(**end) < milliseconds).count();
        if let Some(bucket) = self.buckets.get(at) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.time.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// What came was no request.
    pub(super) fn refuse(&self) {
        let [_, _, _, client, _] = &self.classes;
        client.fetch_add(1, Ordering::Relaxed);
    }

    /// A client left before its request was answered.
    pub(super) fn leave(&self) {
        self.left.fetch_add(1, Ordering::Relaxed);
    }

    /// A request was sent once more.
    pub(super) fn retry(&self) {
        self.retried.fetch_add(1, Ordering::Relaxed);
    }

    /// Requests by the class of their answer.
    pub fn classes(&self) -> impl Iterator<Item = (&'static str, u64)> {
        CLASSES.into_iter().zip(self.classes.iter().map(|class| class.load(Ordering::Relaxed)))
    }

    /// Requests by the time that they took: each bucket by itself.
    #[must_use]
    pub fn buckets(&self) -> Vec<u64> {
        self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).collect()
    }

    /// Seconds that all requests took.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        Duration::from_micros(self.time.load(Ordering::Relaxed)).as_secs_f64()
    }

    /// Requests that clients left before they were answered.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.left.load(Ordering::Relaxed)
    }

    /// Requests that were sent once more.
    #[must_use]
    pub fn retried(&self) -> u64 {
        self.retried.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_in_the_bucket_whose_end_it_does_not_pass() {
        let counters = Counters::default();
        for (status, micros) in [(200, 1_000), (204, 1_001), (404, 5_000), (502, 60_001_000)] {
            counters.note(StatusCode::from_u16(status).unwrap(), Duration::from_micros(micros));
        }
        assert_eq!(counters.buckets(), [1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        let classes: Vec<_> = counters.classes().filter(|(_, count)| *count > 0).collect();
        assert_eq!(classes, [("2xx", 2), ("4xx", 1), ("5xx", 1)]);
        assert!((counters.seconds() - 60.008_001).abs() < 1e-9);
    }
}
