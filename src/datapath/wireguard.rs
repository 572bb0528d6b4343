//! WireGuard: IP packets in data messages, each peer with sessions of its own.

mod access;
mod table;

use std::ops::Range;

use adit_packet::{Coalescer, Ecn, Error, Refused, Segments, Slot, VirtioNetHdr, ecn, ip};
use adit_wireguard::message::Message;
use adit_wireguard::{Endpoint, PeerId, Session, Udp};

use super::framing::{Framing, Path, Sealed, Sorted};
use super::{Context, Reason};

pub use access::Access;
pub use table::{Change, Table};

/// What a worker has to say. Few: each is said once until it is answered.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Note {
    /// A packet had to go to a peer without a session.
    Unsent(PeerId, Vec<u8>),
    /// A peer's session should be renewed.
    Want(PeerId),
    /// The first authentic packet came under a session, named by its index.
    Confirmed(u32),
}

impl Framing for Table {
    type To = PeerId;
    /// The index of a session.
    type Source = u32;
    type Change = Change;
    type Note = Note;

    const TAIL: usize = Session::TAIL;

    fn head(&self) -> usize {
        Session::HEAD
    }

    fn sealed_len(&self, len: usize, mtu: usize) -> usize {
        Session::sealed_len(len, mtu)
    }

    fn apply(&mut self, change: Change) {
        self.change(change);
    }

    fn route(&self, packet: &[u8]) -> Result<PeerId, Reason> {
        let destination = ip::destination(packet).ok_or(Reason::Malformed)?;
        let peer = self.peer_of(destination).ok_or(Reason::NoRoute)?;
        if self.is_loop(peer, packet) { Err(Reason::Loop) } else { Ok(peer) }
    }

    fn cut(
        bytes: &mut [u8],
        len: usize,
        header: &VirtioNetHdr,
        stride: impl FnOnce(usize) -> usize,
    ) -> Result<Segments, Error> {
        adit_packet::segment(bytes, len, header, stride)
    }

    fn ecn(packet: &[u8]) -> Ecn {
        Ecn::of(packet)
    }

    /// Without a session to seal with, packets are left to the control thread.
    fn seal<C>(
        to: PeerId,
        arena: &mut [u8],
        slots: &mut [Slot],
        context: &mut Context<'_, Self, C>,
    ) -> Sealed {
        let path = context.framing.peer(to).map(|peer| (peer.traffic.clone(), peer.path()));
        let Some((traffic, path)) = path else {
            drop_all(Reason::NoRoute, arena, slots, context);
            return Sealed::Nowhere;
        };
        if let Some((session, Endpoint::Udp(path))) =
            path.filter(|(session, _)| session.is_fresh(context.now))
        {
            let sealed = session.seal(arena, slots, context.mtu);
            if (sealed.is_err() || session.is_stale_for_sending(context.now)) && traffic.want_handshake() {
                context.inbox.note(Note::Want(to));
            }
            if sealed.is_ok() {
                let bytes = slots.iter().map(|slot| slot.len as u64).sum();
                traffic.note_sent(bytes, true, context.now);
                return Sealed::To(Path::Udp(path));
            }
        }
        let packets = slots.iter().map(|slot| &arena[slot.range()]);
        let Some(left) = context.inbox.unsent(to, packets, context.framing.edition()) else {
            return Sealed::Again;
        };
        let (left, refused) = slots.split_at_mut(left);
        left.iter_mut().for_each(|slot| slot.kept = false);
        drop_all(Reason::UnsentQueueFull, arena, refused, context);
        if let Some(peer) = context.framing.peer(to) {
            peer.leave();
        }
        Sealed::Nowhere
    }

    fn forget_local(&mut self, to: PeerId, gone: Udp) {
        if let Some(peer) = self.peer(to) {
            let gone = Some(Endpoint::Udp(gone));
            // The peer may have moved since the batch was sealed: that stays.
            peer.traffic
                .endpoint
                .update(|now| if now == gone { now.map(Endpoint::without_local) } else { now });
        }
    }

    fn sort(&self, datagram: &[u8]) -> Sorted<u32> {
        match Message::parse(datagram) {
            Some(Message::Data { receiver, counter }) => {
                Sorted::Data { source: receiver, lead: 0, number: counter }
            }
            Some(Message::Initiation | Message::Response | Message::CookieReply) => Sorted::Handshake,
            None => Sorted::Refused(Reason::NotWireguard),
        }
    }

    fn open<C>(
        source: u32,
        path: Path,
        arena: &mut [u8],
        slots: &mut [Slot],
        context: &mut Context<'_, Self, C>,
    ) -> Option<Change> {
        let Some(session) = context.framing.session(source).cloned() else {
            drop_all(Reason::UnknownSession, arena, slots, context);
            return None;
        };
        if !session.is_fresh(context.now) {
            drop_all(Reason::Expired, arena, slots, context);
            return None;
        }
        session.open(arena, slots, |refused, bytes| context.drop(Reason::Protocol(refused), bytes));
        let bytes_of = |slot: &Slot| (slot.len + Session::OVERHEAD) as u64;
        let bytes: u64 = slots.iter().filter(|slot| slot.kept).map(bytes_of).sum();
        if bytes == 0 {
            return None;
        }
        // An empty one is a keepalive: there is nothing to deliver.
        slots.iter_mut().for_each(|slot| slot.kept &= slot.len > 0);
        let data = slots.iter().any(|slot| slot.kept);
        let is_first = authentic(&session, bytes, data, path, context);
        for slot in slots.iter_mut().filter(|slot| slot.kept) {
            if let Err(reason) = accept(arena, slot, session.peer().id(), context.framing) {
                slot.kept = false;
                context.drop(reason, &arena[slot.range()]);
            }
        }
        is_first.then_some(Change::Confirmed(session))
    }

    fn join(joined: &mut Coalescer, arena: &[u8], packet: Range<usize>) -> Result<(), Refused> {
        joined.push(arena, packet)
    }
}

fn drop_all<C>(reason: Reason, arena: &[u8], slots: &mut [Slot], context: &Context<'_, Table, C>) {
    slots.iter_mut().for_each(|slot| slot.kept = false);
    context.drop_slots(reason, arena, slots);
}

/// Authentic packets came under a session: the peer is there, has the keys, and may have moved. True if they are the first.
fn authentic<C>(
    session: &Session,
    bytes: u64,
    data: bool,
    path: Path,
    context: &mut Context<'_, Table, C>,
) -> bool {
    let traffic = session.peer();
    traffic.note_received(bytes, data, context.now);
    if let (Some(peer), Path::Udp(path)) = (context.framing.peer(traffic.id()), path) {
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

/// Looks at an opened packet: it must be IP, from an address that is its peer's, and for one that it may reach. Takes the padding off and the outer
/// congestion mark over.
fn accept(arena: &mut [u8], slot: &mut Slot, peer: PeerId, table: &Table) -> Result<(), Reason> {
    let packet = arena.get_mut(slot.range()).ok_or(Reason::Malformed)?;
    slot.len = ip::trim(packet).ok_or(Reason::Malformed)?;
    let source = ip::source(packet).ok_or(Reason::Malformed)?;
    if table.peer_of(source) != Some(peer) {
        return Err(Reason::Source);
    }
    if let Some(access) = table.access() {
        let destination = ip::destination(packet).ok_or(Reason::Malformed)?;
        if !access.admits(source, destination) {
            return Err(Reason::Access);
        }
    }
    ecn::decapsulate(packet, slot.ecn).map_err(|_| Reason::Congestion)
}
