//! The latest status, and what it reads like in each format: the same for all clients, however many ask, and however slowly
//! they take it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use adit_noise::Time;
use hyper::body::Bytes;
use tokio::time::{MissedTickBehavior, interval};

use super::metrics;
use super::rates::{self, Rates};
use crate::clock;
use crate::gateway::{Ending, Handle};
use crate::status::Status;

/// How long a status is the latest. To tell it costs a look at every peer.
const FRESH: Duration = Duration::from_secs(1);

/// Asks the gateway for its status, at most once in [`FRESH`] unless it was reloaded.
#[derive(Debug)]
pub(super) struct Latest {
    handle: Handle,
    rates: Mutex<Rates>,
    /// Held while the gateway is asked: whoever wants to know meanwhile is told the same.
    last: tokio::sync::Mutex<Option<Arc<Snapshot>>>,
    reloads: AtomicU64,
}

/// The status at one moment.
#[derive(Debug)]
pub(super) struct Snapshot {
    pub(super) status: Arc<Status>,
    at: Time,
    /// Reloads before it was asked for.
    reloads: u64,
    json: OnceLock<Bytes>,
    open_metrics: OnceLock<Bytes>,
    text: OnceLock<Bytes>,
}

impl Latest {
    pub(super) fn new(handle: Handle) -> Self {
        Self {
            handle,
            rates: Mutex::default(),
            last: tokio::sync::Mutex::default(),
            reloads: AtomicU64::new(0),
        }
    }

    /// The status, with rates.
    ///
    /// # Errors
    /// [`Ending`]
    pub(super) async fn snapshot(&self) -> Result<Arc<Snapshot>, Ending> {
        let mut last = self.last.lock().await;
        let reloads = self.reloads.load(Ordering::Acquire);
        let fresh = |last: &&Arc<Snapshot>| last.reloads == reloads && clock::now().since(last.at) < FRESH;
        if let Some(last) = last.as_ref().filter(fresh) {
            return Ok(last.clone());
        }
        let mut status = self.handle.status().await?;
        let at = clock::now();
        self.rates.lock().unwrap_or_else(PoisonError::into_inner).fill(&mut status, at);
        Ok(last.insert(Arc::new(Snapshot::new(status, at, reloads))).clone())
    }

    /// Whoever asks from now on sees what a reload has changed.
    pub(super) fn reloaded(&self) {
        self.reloads.fetch_add(1, Ordering::Release);
    }

    /// Takes the samples that rates come from, for ever.
    pub(super) async fn sample(&self) {
        let mut ticks = interval(rates::INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if let Ok(Snapshot { status, at, .. }) = self.snapshot().await.as_deref() {
                self.rates.lock().unwrap_or_else(PoisonError::into_inner).note(status, *at);
            }
        }
    }
}

impl Snapshot {
    fn new(status: Status, at: Time, reloads: u64) -> Self {
        let (json, open_metrics, text) = Default::default();
        Self { status: Arc::new(status), at, reloads, json, open_metrics, text }
    }

    /// As JSON.
    ///
    /// # Errors
    /// It cannot be said in JSON.
    pub(super) fn json(&self) -> serde_json::Result<Bytes> {
        if let Some(known) = self.json.get() {
            return Ok(known.clone());
        }
        let json = serde_json::to_vec(&*self.status)?.into();
        Ok(self.json.get_or_init(|| json).clone())
    }

    /// As [`metrics::render`] has it.
    pub(super) fn open_metrics(&self) -> Bytes {
        self.open_metrics.get_or_init(|| metrics::render(&self.status).into()).clone()
    }

    /// As [`metrics::render_text`] has it.
    pub(super) fn text(&self) -> Bytes {
        self.text.get_or_init(|| metrics::render_text(&self.status).into()).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::sample;

    #[test]
    fn all_clients_are_sent_the_same_bytes() {
        let snapshot = Snapshot::new(sample::full(), clock::now(), 0);
        let json = || snapshot.json().unwrap();
        for ask in [&json as &dyn Fn() -> Bytes, &|| snapshot.open_metrics(), &|| snapshot.text()] {
            let (one, other) = (ask(), ask());
            assert!(!one.is_empty() && one.as_ptr() == other.as_ptr());
        }
        assert_eq!(json(), serde_json::to_vec(&sample::full()).unwrap());
        assert_ne!(snapshot.open_metrics(), snapshot.text());
    }
}
