//! Drops, each with its reason and its counter.

use std::sync::atomic::{AtomicU64, Ordering};

use adit_wireguard::Refused;

/// Why a packet was dropped.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reason {
    /// Not IP, or lengths in it that cannot be true.
    Malformed,
    /// No peer has the destination among its allowed addresses.
    NoRoute,
    /// A datagram of the tunnel itself: the way to the peer's endpoint leads through the peer.
    Loop,
    /// The interface has no socket: it is down, or its port was taken.
    NoCarrier,
    /// Packets that wait for a session take up all the memory that they may.
    UnsentQueueFull,
    /// The kernel did not take a datagram.
    SendFailed,
    /// The socket's queue had no room for a datagram.
    ReceiveQueueFull,
    /// The receive buffer was too short for a datagram.
    Truncated,
    /// A datagram that is no WireGuard message.
    NotWireguard,
    /// Handshake messages came faster than they could be looked at.
    HandshakeQueueFull,
    /// A data message for a session that does not exist.
    UnknownSession,
    /// A data message for a session too old.
    Expired,
    /// A packet from an address that its peer may not use.
    Source,
    /// Congestion experienced outside, but the packet inside cannot say so (RFC 6040).
    Congestion,
    /// The TUN device did not take a packet.
    DeliverFailed,
    /// The protocol refused it.
    Protocol(Refused),
}

use Reason::{
    Congestion, DeliverFailed, Expired, HandshakeQueueFull, Loop, Malformed, NoCarrier, NoRoute,
    NotWireguard, Protocol, ReceiveQueueFull, SendFailed, Source, Truncated, UnknownSession, UnsentQueueFull,
};

/// The reasons of the data path itself, in the order of the packet's journey, with their stable names.
const OWN: [(Reason, &str); 15] = [
    (Malformed, "malformed"),
    (NoRoute, "no_route"),
    (Loop, "loop"),
    (NoCarrier, "no_carrier"),
    (UnsentQueueFull, "unsent_queue_full"),
    (SendFailed, "send_failed"),
    (ReceiveQueueFull, "receive_queue_full"),
    (Truncated, "truncated"),
    (NotWireguard, "not_wireguard"),
    (HandshakeQueueFull, "handshake_queue_full"),
    (UnknownSession, "unknown_session"),
    (Expired, "expired"),
    (Source, "source"),
    (Congestion, "congestion"),
    (DeliverFailed, "deliver_failed"),
];

/// How many reasons there are.
const REASONS: usize = OWN.len() + Refused::ALL.len();

impl Reason {
    /// Every reason.
    pub fn all() -> impl Iterator<Item = Self> {
        OWN.iter().map(|(reason, _)| *reason).chain(Refused::ALL.iter().copied().map(Protocol))
    }

    /// A stable name, for metrics and log lines.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        if let Protocol(refused) = self { refused.as_str() } else { OWN[self.number()].1 }
    }

    fn number(self) -> usize {
        match self {
            Malformed => 0,
            NoRoute => 1,
            Loop => 2,
            NoCarrier => 3,
            UnsentQueueFull => 4,
            SendFailed => 5,
            ReceiveQueueFull => 6,
            Truncated => 7,
            NotWireguard => 8,
            HandshakeQueueFull => 9,
            UnknownSession => 10,
            Expired => 11,
            Source => 12,
            Congestion => 13,
            DeliverFailed => 14,
            Protocol(refused) => OWN.len() + refused as usize,
        }
    }
}

/// Counters of dropped packets, one for each reason. One thread adds; anybody may read.
#[derive(Debug)]
pub struct Drops([AtomicU64; REASONS]);

impl Default for Drops {
    fn default() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }
}

impl Drops {
    /// Counts one dropped packet.
    pub fn count(&self, reason: Reason) {
        self.add(reason, 1);
    }

    /// Counts several.
    pub fn add(&self, reason: Reason, packets: u64) {
        self.0[reason.number()].fetch_add(packets, Ordering::Relaxed);
    }

    /// Packets dropped for a reason so far.
    #[must_use]
    pub fn of(&self, reason: Reason) -> u64 {
        self.0[reason.number()].load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_its_own_counter_and_name() {
        let drops = Drops::default();
        let mut names = Vec::new();
        for (at, reason) in Reason::all().enumerate() {
            assert_eq!(reason.number(), at);
            drops.add(reason, at as u64 + 1);
            names.push(reason.as_str());
        }
        for (at, reason) in Reason::all().enumerate() {
            assert_eq!(drops.of(reason), at as u64 + 1);
        }
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), REASONS);
    }
}
