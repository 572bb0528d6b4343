//! What comes of datagrams that were opened: for their peer, and for the packets inside.

use std::sync::Arc;

use adit_packet::{Slot, ecn, ip};
use adit_wireguard::{Endpoint, PeerId, Session, Udp};

use super::{Context, Note, Reason, Table};

/// Authentic packets came under a session: the peer is there, has the keys, and may have moved. True if they are the first.
pub(super) fn authentic<C>(
    session: &Arc<Session>,
    bytes: u64,
    data: bool,
    path: Udp,
    context: &mut Context<'_, C>,
) -> bool {
    let traffic = session.peer();
    traffic.note_received(bytes, data, context.now);
    if let Some(peer) = context.table.peer(traffic.id()) {
        peer.roam(Endpoint::Udp(path));
    }
    let is_first = session.confirm();
    if is_first {
        context.inbox.note(Note::Confirmed(session.local_index()));
    }
    if session.is_stale_for_receiving(context.now) && traffic.want_handshake() {
        context.inbox.note(Note::Want(traffic.id()));
    }
    is_first
}

/// Looks at an opened packet: it must be IP, from an address that is its peer's. Takes the padding off and the outer
/// congestion mark over.
pub(super) fn accept(arena: &mut [u8], slot: &mut Slot, peer: PeerId, table: &Table) -> Result<(), Reason> {
    let packet = arena.get_mut(slot.range()).ok_or(Reason::Malformed)?;
    slot.len = ip::trim(packet).ok_or(Reason::Malformed)?;
    let source = ip::source(packet).ok_or(Reason::Malformed)?;
    if table.route(source) != Some(peer) {
        return Err(Reason::Source);
    }
    ecn::decapsulate(packet, slot.ecn).map_err(|_| Reason::Congestion)
}
