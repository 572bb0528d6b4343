//! The handshake that we try, and what keeps the peer's from being replayed.

use core::time::Duration;

use adit_noise::{Initiator, Tai64n, Time};

use super::Refused;
use super::timers::{INITIATION_INTERVAL, RETRY, RETRY_JITTER};
use crate::An;

/// An initiation on its way, whose response names `index`.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) index: u32,
    pub(crate) initiator: Initiator,
    /// The association that we want to receive under.
    pub(crate) an: An,
}

/// It is tried until there is a key, however long that takes: a link that is up must come back by itself, and nobody is
/// there to ask for it again.
#[derive(Debug, Default)]
pub(crate) struct Attempt {
    /// Since when it is tried, and when the next initiation is due.
    running: Option<(Time, Time)>,
    pending: Option<Pending>,
    last_sent: Option<Time>,
    sent_stamp: Option<Tai64n>,
    greatest_stamp: Option<Tai64n>,
    last_consumed: Option<Time>,
}

impl Attempt {
    /// A key is wanted. An attempt that runs goes on.
    pub(crate) fn begin(&mut self, now: Time) {
        let free = self.last_sent.map_or(now, |at| at + RETRY);
        self.running.get_or_insert((now, free.max(now)));
    }

    pub(crate) fn since(&self) -> Option<Time> {
        self.running.map(|(since, _)| since)
    }

    /// When an initiation is to be sent.
    pub(crate) fn due(&self) -> Option<Time> {
        self.running.map(|(_, due)| due)
    }

    /// The association that the response will be received under.
    pub(crate) fn reserved(&self) -> Option<An> {
        self.pending.as_ref().map(|pending| pending.an)
    }

    /// The stamp for an initiation sent now: later than all before.
    pub(crate) fn next_stamp(&mut self, wall: Duration) -> Tai64n {
        let stamp = Tai64n::from_wall(wall);
        let stamp = self.sent_stamp.map_or(stamp, |sent| stamp.next_after(sent));
        *self.sent_stamp.insert(stamp)
    }

    /// An initiation goes out, or could not: then the next one is tried as much later.
    pub(crate) fn initiated(&mut self, pending: Option<Pending>, now: Time) {
        self.pending = pending;
        self.postpone(now);
    }

    /// A response goes out: no initiation shortly after.
    pub(crate) fn postpone(&mut self, now: Time) {
        self.last_sent = Some(now);
        if let Some((_, due)) = &mut self.running {
            *due = now + RETRY + jitter();
        }
    }

    /// Takes the initiation on its way, to finish it; [`Self::put_back`] if that fails.
    pub(crate) fn take_pending(&mut self, index: u32) -> Option<Pending> {
        self.pending.take_if(|pending| pending.index == index)
    }

    /// The response was forged or damaged: the true one may still come.
    pub(crate) fn put_back(&mut self, pending: Pending) {
        self.pending = Some(pending);
    }

    /// There is a key.
    pub(crate) fn end(&mut self) {
        (self.running, self.pending) = (None, None);
    }

    /// Consumes the stamp of an authentic initiation: it must be later than all before it, and not follow the last one at
    /// once.
    pub(crate) fn consume(&mut self, stamp: Tai64n, now: Time) -> Result<(), Refused> {
        if self.greatest_stamp.is_some_and(|greatest| stamp <= greatest) {
            return Err(Refused::TimestampReplayed);
        }
        if self.last_consumed.is_some_and(|last| now.since(last) < INITIATION_INTERVAL) {
            return Err(Refused::Flood);
        }
        (self.greatest_stamp, self.last_consumed) = (Some(stamp), Some(now));
        Ok(())
    }
}

/// A random addition to [`RETRY`]. None without random numbers: it only keeps two ends apart.
fn jitter() -> Duration {
    let part = u128::from(getrandom::u32().unwrap_or(0));
    Duration::from_nanos(((RETRY_JITTER.as_nanos() * part) >> 32) as u64)
}
