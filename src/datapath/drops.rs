//! Drops, each with its reason and its counter.

use std::sync::atomic::{AtomicU64, Ordering};

use adit_macsec::agreement;
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
    /// A frame longer than its link carries.
    Oversized,
    /// A datagram that is no WireGuard message.
    NotWireguard,
    /// A datagram that is neither a MACsec frame nor a message of its key agreement.
    NotMacsec,
    /// Handshake messages came faster than they could be looked at.
    HandshakeQueueFull,
    /// A data message for a session that does not exist.
    UnknownSession,
    /// A data message for a session too old.
    Expired,
    /// A packet from an address that its peer may not use.
    Source,
    /// A packet of a client for an address that clients may not reach.
    Access,
    /// Congestion experienced outside, but the packet inside cannot say so (RFC 6040).
    Congestion,
    /// The TUN device did not take a packet.
    DeliverFailed,
    /// WireGuard refused it.
    Protocol(Refused),
    /// MACsec refused it.
    Macsec(adit_macsec::Refused),
    /// The key agreement of MACsec refused it.
    Agreement(agreement::Refused),
}

use Reason::{
    Access, Agreement, Congestion, DeliverFailed, Expired, HandshakeQueueFull, Loop, Macsec, Malformed,
    NoCarrier, NoRoute, NotMacsec, NotWireguard, Oversized, Protocol, ReceiveQueueFull, SendFailed, Source,
    Truncated, UnknownSession, UnsentQueueFull,
};

/// The reasons of the data path itself, in the order of the packet's journey, with their stable names.
const OWN: [(Reason, &str); 18] = [
    (Malformed, "malformed"),
    (NoRoute, "no_route"),
    (Loop, "loop"),
    (NoCarrier, "no_carrier"),
    (UnsentQueueFull, "unsent_queue_full"),
    (SendFailed, "send_failed"),
    (Oversized, "oversized"),
    (ReceiveQueueFull, "receive_queue_full"),
    (Truncated, "truncated"),
    (NotWireguard, "not_wireguard"),
    (NotMacsec, "not_macsec"),
    (HandshakeQueueFull, "handshake_queue_full"),
    (UnknownSession, "unknown_session"),
    (Expired, "expired"),
    (Source, "source"),
    (Congestion, "congestion"),
    (DeliverFailed, "deliver_failed"),
    (Access, "access"),
];

/// How many reasons there are.
const REASONS: usize = AGREEMENT + agreement::Refused::ALL.len();
/// Where those of each protocol begin.
const PROTOCOL: usize = OWN.len();
const MACSEC: usize = PROTOCOL + Refused::ALL.len();
const AGREEMENT: usize = MACSEC + adit_macsec::Refused::ALL.len();

impl Reason {
    /// Every reason. Those of tunnels of different kinds share names where they are the same.
    pub fn all() -> impl Iterator<Item = Self> {
        OWN.iter()
            .map(|(reason, _)| *reason)
            .chain(Self::refused_by_wireguard())
            .chain(Self::refused_by_macsec())
    }

    /// Those that a WireGuard tunnel may have: no two share a name.
    pub fn of_wireguard() -> impl Iterator<Item = Self> {
        let own = OWN.iter().map(|(reason, _)| *reason).filter(|reason| *reason != NotMacsec);
        own.chain(Self::refused_by_wireguard())
    }

    /// Those that an encrypted link may have: no two share a name.
    pub fn of_macsec() -> impl Iterator<Item = Self> {
        let own = OWN.iter().map(|(reason, _)| *reason).filter(|reason| *reason != NotWireguard);
        own.chain(Self::refused_by_macsec())
    }

    fn refused_by_wireguard() -> impl Iterator<Item = Self> {
        Refused::ALL.iter().copied().map(Protocol)
    }

    fn refused_by_macsec() -> impl Iterator<Item = Self> {
        let agreement = agreement::Refused::ALL.iter().copied().map(Agreement);
        adit_macsec::Refused::ALL.iter().copied().map(Macsec).chain(agreement)
    }

    /// A stable name, for metrics and log lines.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Protocol(refused) => refused.as_str(),
            Macsec(refused) => refused.as_str(),
            Agreement(refused) => refused.as_str(),
            Malformed | NoRoute | Loop | NoCarrier | UnsentQueueFull | SendFailed | Oversized
            | ReceiveQueueFull | Truncated | NotWireguard | NotMacsec | HandshakeQueueFull
            | UnknownSession | Expired | Source | Congestion | DeliverFailed | Access => OWN[self.number()].1,
        }
    }

    fn number(self) -> usize {
        match self {
            Malformed => 0,
            NoRoute => 1,
            Loop => 2,
            NoCarrier => 3,
            UnsentQueueFull => 4,
            SendFailed => 5,
            Oversized => 6,
            ReceiveQueueFull => 7,
            Truncated => 8,
            NotWireguard => 9,
            NotMacsec => 10,
            HandshakeQueueFull => 11,
            UnknownSession => 12,
            Expired => 13,
            Source => 14,
            Congestion => 15,
            DeliverFailed => 16,
            Access => 17,
            Protocol(refused) => PROTOCOL + refused as usize,
            Macsec(refused) => MACSEC + refused as usize,
            Agreement(refused) => AGREEMENT + refused as usize,
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
    fn each_reason_has_its_own_counter() {
        let drops = Drops::default();
        for (at, reason) in Reason::all().enumerate() {
            assert_eq!(reason.number(), at);
            drops.add(reason, at as u64 + 1);
        }
        for (at, reason) in Reason::all().enumerate() {
            assert_eq!(drops.of(reason), at as u64 + 1);
        }
    }

    #[test]
    fn each_reason_has_a_name_of_its_own_among_those_of_one_tunnel() {
        for all in [Reason::of_wireguard().collect::<Vec<_>>(), Reason::of_macsec().collect()] {
            let mut names: Vec<_> = all.iter().map(|reason| reason.as_str()).collect();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), all.len(), "{names:?}");
        }
    }
}
