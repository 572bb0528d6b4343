//! What the workers and the control half know of a peer together, without a lock for each packet.
//!
//! The timers of the WireGuard paper (section 6) hang on a few moments: when something was last sent or received, since
//! when sent data is unanswered, since when received data awaits any answer. Workers stamp those moments, once a batch;
//! the control half reads them when a deadline may have come. No stamp needs to wake it: a stamp made after a check
//! cannot fall due within `KEEPALIVE_TIMEOUT`, so a check that often misses nothing.

use adit_noise::Time;

use crate::sync::{AtomicBool, AtomicU64, Ordering};
use crate::{Endpoint, PeerId, Published};

/// A peer as the workers see it. All of it is shared; nothing needs `&mut`.
#[derive(Debug)]
pub struct Traffic {
    id: PeerId,
    /// Where the peer is reached; replaced by whoever opens an authentic packet from elsewhere.
    pub endpoint: Published<Option<Endpoint>>,
    sent_bytes: AtomicU64,
    received_bytes: AtomicU64,
    last_sent: AtomicU64,
    last_received: AtomicU64,
    unanswered: AtomicU64,
    owed: AtomicU64,
    wants_handshake: AtomicBool,
}

/// A moment that has not come.
const NEVER: u64 = 0;

fn moment(stamp: &AtomicU64) -> Option<Time> {
    match stamp.load(Ordering::Relaxed) {
        NEVER => None,
        at => Some(Time::from_nanos(at)),
    }
}

impl Traffic {
    /// A peer that has neither sent nor received.
    #[must_use]
    pub fn new(id: PeerId, endpoint: Option<Endpoint>) -> Self {
        let zero = || AtomicU64::new(0);
        Self {
            id,
            endpoint: Published::new(endpoint),
            sent_bytes: zero(),
            received_bytes: zero(),
            last_sent: zero(),
            last_received: zero(),
            unanswered: zero(),
            owed: zero(),
            wants_handshake: AtomicBool::new(false),
        }
    }

    /// The peer's number.
    #[must_use]
    pub fn id(&self) -> PeerId {
        self.id
    }

    /// Authentic packets of `bytes` bytes in all went out; `data` if any was more than a keepalive or a handshake.
    pub fn note_sent(&self, bytes: u64, data: bool, now: Time) {
        self.sent_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.last_sent.store(now.as_nanos(), Ordering::Relaxed);
        self.owed.store(NEVER, Ordering::Relaxed);
        if data && self.unanswered.load(Ordering::Relaxed) == NEVER {
            self.unanswered.store(now.as_nanos(), Ordering::Relaxed);
        }
    }

    /// Authentic packets of `bytes` bytes in all came in; `data` if any was more than a keepalive or a handshake.
    pub fn note_received(&self, bytes: u64, data: bool, now: Time) {
        self.received_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.last_received.store(now.as_nanos(), Ordering::Relaxed);
        self.unanswered.store(NEVER, Ordering::Relaxed);
        if data && self.owed.load(Ordering::Relaxed) == NEVER {
            self.owed.store(now.as_nanos(), Ordering::Relaxed);
        }
    }

    /// Asks for a new session. True for the first that asks since [`Self::clear_want`]: that one tells the control
    /// half.
    pub fn want_handshake(&self) -> bool {
        !self.wants_handshake.load(Ordering::Relaxed) && !self.wants_handshake.swap(true, Ordering::AcqRel)
    }

    /// The wish was met, or given up.
    pub fn clear_want(&self) {
        self.wants_handshake.store(false, Ordering::Release);
    }

    /// Bytes sent to the peer in UDP payloads.
    pub fn sent_bytes(&self) -> u64 {
        self.sent_bytes.load(Ordering::Relaxed)
    }

    /// Bytes received from the peer in authentic UDP payloads.
    pub fn received_bytes(&self) -> u64 {
        self.received_bytes.load(Ordering::Relaxed)
    }

    /// The last moment when anything authentic crossed, either way.
    pub fn last_crossed(&self) -> Option<Time> {
        moment(&self.last_sent).max(moment(&self.last_received))
    }

    /// Since when data is unanswered: the first sent after the last authentic packet came in.
    pub fn unanswered_since(&self) -> Option<Time> {
        moment(&self.unanswered)
    }

    /// Since when an answer is owed: the first data received after the last authentic packet went out.
    pub fn owed_since(&self) -> Option<Time> {
        moment(&self.owed)
    }

    /// Something was done about unanswered data: it counts from the next that is sent.
    pub(crate) fn clear_unanswered(&self) {
        self.unanswered.store(NEVER, Ordering::Relaxed);
    }

    /// Nothing is owed any more: an answer was tried, or there is nobody to answer.
    pub(crate) fn clear_owed(&self) {
        self.owed.store(NEVER, Ordering::Relaxed);
    }

    /// Forgets the moments that drive timers, as when the interface goes down.
    pub fn reset_timers(&self) {
        for stamp in [&self.last_sent, &self.last_received, &self.unanswered, &self.owed] {
            stamp.store(NEVER, Ordering::Relaxed);
        }
        self.clear_want();
    }
}
