//! When each peer is to be looked at, and what is done then (WireGuard paper, section 6).
//!
//! Nobody sets a timer when a packet crosses. A peer with a session is looked at at the earliest of its deadlines or
//! [`timers::KEEPALIVE_TIMEOUT`] after the last look; how that misses nothing is told in `traffic.rs`.

use core::time::Duration;
use std::collections::BTreeSet;

use adit_noise::{Now, Time};

use crate::device::Device;
use crate::peer::Peer;
use crate::{PeerId, timers};

/// At most one deadline for each peer.
#[derive(Debug, Default)]
pub(crate) struct Deadlines(BTreeSet<(Time, PeerId)>);

impl Deadlines {
    /// Moves the deadline of `peer` from `held`, where the peer keeps a copy of it, to `to`.
    pub(crate) fn set(&mut self, peer: PeerId, held: &mut Option<Time>, to: Option<Time>) {
        if *held == to {
            return;
        }
        if let Some(at) = std::mem::replace(held, to) {
            self.0.remove(&(at, peer));
        }
        if let Some(at) = to {
            self.0.insert((at, peer));
        }
    }

    /// The first deadline.
    pub(crate) fn first(&self) -> Option<Time> {
        self.0.first().map(|(at, _)| *at)
    }

    /// The peer whose deadline is first, if that has come.
    pub(crate) fn due(&self, now: Time) -> Option<PeerId> {
        let (at, peer) = self.0.first()?;
        (*at <= now).then_some(*peer)
    }
}

impl Peer {
    /// When this peer must be looked at next.
    pub(crate) fn next_deadline(&self, device: &Device, now: Time) -> Option<Time> {
        if !device.up {
            return None;
        }
        let look = self.keypairs.any_fresh(now).then(|| now + timers::KEEPALIVE_TIMEOUT);
        [
            self.handshake.deadline(),
            self.erase_at,
            self.unanswered_at(),
            self.owed_at(),
            self.persistent_at(now),
            look,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Does whatever is due.
    pub(crate) fn handle_timeout(&mut self, device: &mut Device, now: Now) {
        let due = |at: Option<Time>| at.is_some_and(|at| at <= now.mono);
        self.advance(device, now);
        if due(self.erase_at) {
            self.erase(device);
        }
        if due(self.unanswered_at()) {
            self.traffic.clear_unanswered();
            self.forget_local();
            self.begin(device, now);
        }
        if due(self.owed_at()) {
            self.traffic.clear_owed();
            self.send_keepalive(device, now);
        }
        if due(self.persistent_at(now.mono)) {
            self.persistent_sent = Some(now.mono);
            self.send_keepalive(device, now);
        }
    }

    /// When sent data has been unanswered for so long that the session must be broken (section 6.5).
    fn unanswered_at(&self) -> Option<Time> {
        let since = self.traffic.unanswered_since()?;
        let patience = timers::KEEPALIVE_TIMEOUT + timers::REKEY_TIMEOUT;
        Some(since + patience + self.handshake.jitter())
    }

    /// When received data has gone without any answer for so long that an empty one is sent (section 6.5).
    fn owed_at(&self) -> Option<Time> {
        Some(self.traffic.owed_since()? + timers::KEEPALIVE_TIMEOUT)
    }

    /// When it has been silent for so long that a firewall on the way could forget us. At once if nothing ever crossed.
    fn persistent_at(&self, now: Time) -> Option<Time> {
        if self.persistent_keepalive == 0 || self.endpoint().is_none() {
            return None;
        }
        let interval = Duration::from_secs(self.persistent_keepalive.into());
        let last = self.traffic.last_crossed().max(self.persistent_sent);
        Some(last.map_or(now, |last| last + interval))
    }
}
