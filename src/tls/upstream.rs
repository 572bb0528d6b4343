//! A backend, and how it does.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::choice::{BackendAddress, BackendEvent};
use super::health::Health;
use super::lookup::Name;

/// A backend that failed comes after the others for so long.
pub(super) const REST: Duration = Duration::from_secs(5);

/// A backend, and how it does.
#[derive(Debug)]
pub struct Upstream {
    /// Where it is.
    pub address: BackendAddress,
    /// The name that led there.
    pub name: Option<Arc<Name>>,
    /// What checks say of it.
    pub health: Health,
    /// No other has the same, be it at the same address later.
    id: usize,
    /// Connections that it has.
    open: AtomicU64,
    /// Connections that it took.
    taken: AtomicU64,
    /// Attempts that it refused, or did not answer in time.
    failed: AtomicU64,
    /// When it last did so, since it last took one: nanoseconds of the monotonic time; 0 if it did not.
    failed_at: AtomicU64,
    /// Why the last attempt failed that did.
    why: Mutex<String>,
}

impl Upstream {
    /// A backend that nobody has tried yet.
    #[must_use]
    pub fn new(address: BackendAddress, name: Option<Arc<Name>>) -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let zero = AtomicU64::default;
        Self {
            address,
            name,
            health: Health::default(),
            id: NUMBER.fetch_add(1, Ordering::Relaxed),
            open: zero(),
            taken: zero(),
            failed: zero(),
            failed_at: zero(),
            why: Mutex::default(),
        }
    }

    /// What events call it.
    #[must_use]
    pub fn id(&self) -> usize {
        self.id
    }

    /// Connections that it has.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.open.load(Ordering::Relaxed)
    }

    /// Connections that it took so far.
    #[must_use]
    pub fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    /// Attempts that failed so far.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// Whether the last attempt failed.
    #[must_use]
    pub fn is_failing(&self) -> bool {
        self.failed_at.load(Ordering::Relaxed) != 0
    }

    /// Why the last attempt failed, if it did.
    #[must_use]
    pub fn error(&self) -> Option<String> {
        let why = || self.why.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.is_failing().then(why).filter(|why| !why.is_empty())
    }

    pub(super) fn complain(&self, error: &str) {
        error.clone_into(&mut self.why.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// When it failed, if that was lately, else 0: the later, the worse.
    pub(super) fn rests(&self, now: u64) -> u64 {
        let failed_at = self.failed_at.load(Ordering::Relaxed);
        if now.saturating_sub(failed_at) < REST.as_nanos() as u64 { failed_at } else { 0 }
    }

    pub(super) fn note(&self, event: &BackendEvent<'_>, now: u64) {
        match event {
            BackendEvent::Connected => {
                self.open.fetch_add(1, Ordering::Relaxed);
                self.taken.fetch_add(1, Ordering::Relaxed);
                self.failed_at.store(0, Ordering::Relaxed);
            }
            BackendEvent::Refused | BackendEvent::TimedOut => {
                self.failed.fetch_add(1, Ordering::Relaxed);
                self.failed_at.store(now, Ordering::Relaxed);
            }
            BackendEvent::Closed { .. } => {
                self.open.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }
}
