//! What the control half wants done.

use std::sync::Arc;

use adit_packet::Ecn;

use crate::{AllowedIps, Endpoint, PeerId, Refused, Session, Traffic};

/// One thing to do, in the order in which [`Tunnel::poll_output`](crate::Tunnel::poll_output) yields them.
///
/// The order keeps packets from being lost or overtaken: a session can be opened with before the peer learns of it, and
/// the packets that waited leave before the workers may send with the session that they waited for.
#[derive(Debug)]
pub enum Output {
    /// A UDP payload to send: a handshake message, a cookie reply, a keepalive, or a packet that waited.
    Transmit {
        /// Where it goes.
        to: Endpoint,
        /// The outer congestion mark.
        ecn: Ecn,
        /// The payload.
        datagram: Vec<u8>,
    },
    /// A peer came, or went (`None`).
    Peer(PeerId, Option<Arc<Traffic>>),
    /// Packets that name this index are accepted, or no longer (`None`).
    Session(u32, Option<Arc<Session>>),
    /// The session to send with to a peer, or that there is none.
    Current(PeerId, Option<Arc<Session>>),
    /// The routing table changed. It comes last, once for all changes since the outputs were drained.
    Routes(Arc<AllowedIps<PeerId>>),
    /// So many packets were given up that had been taken in before.
    Dropped(Refused, usize),
}
