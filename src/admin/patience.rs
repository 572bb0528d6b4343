//! How long a client is waited for.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

/// A client has to be done this long after it came, or after it last took something of what it watches. Tests
/// wait for its end.
pub(super) const PATIENCE: Duration = Duration::from_secs(if cfg!(test) { 8 } else { 30 });

/// When a client has to be done.
#[derive(Debug)]
pub(super) struct Patience {
    begun: Instant,
    /// Milliseconds after that.
    until: AtomicU64,
}

impl Patience {
    pub(super) fn new() -> Self {
        let patience = Self { begun: Instant::now(), until: AtomicU64::new(0) };
        patience.renew();
        patience
    }

    /// Begins anew.
    pub(super) fn renew(&self) {
        self.extend(PATIENCE);
    }

    /// Lets it take so long from now on.
    pub(super) fn extend(&self, more: Duration) {
        let until = (self.begun.elapsed() + more).as_millis();
        self.until.fetch_max(u64::try_from(until).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Waits for what is to be done; `None` if it takes too long.
    pub(super) async fn wait<T>(&self, done: impl Future<Output = T>) -> Option<T> {
        let mut done = std::pin::pin!(done);
        loop {
            let until = self.until.load(Ordering::Relaxed);
            let done = timeout_at(self.begun + Duration::from_millis(until), done.as_mut()).await;
            if done.is_ok() || self.until.load(Ordering::Relaxed) == until {
                return done.ok();
            }
        }
    }
}
