//! The journey of a packet. Read it from top to bottom.
//!
//! ```text
//!   outward   TUN queue ──gather──▶ packets ──seal──▶ datagrams ──send──▶ UDP socket
//!   inward    UDP socket ──receive──▶ datagrams ──sort──▶ ──open──▶ packets ──deliver──▶ TUN queue
//! ```
//!
//! A worker is two threads that share one queue and one socket: one runs [`Outward`], the other [`Inward`], each batch to
//! completion. The unit of work is a batch of slots in one arena, which is all the memory that packets ever take: what does
//! not fit waits in the kernel. There is no lock, no clock and no allocation for each packet, and every packet that does not
//! reach the other side is counted in the thread's [`Tally`] under its [`Reason`], and shown to whoever watches the
//! [`Tracer`].

mod context;
mod drops;
mod feed;
mod inbox;
mod mailbox;
mod opened;
mod sync;
mod table;
mod tally;
#[cfg(test)]
#[cfg(not(loom))]
mod tests;
mod trace;
mod train;
mod worker;

use std::io::{self, ErrorKind, IoSlice};
use std::ops::Range;
use std::sync::Arc;

use adit_packet::{Coalescer, Ecn, Limits, Slot, VirtioNetHdr, ip, segment, virtio};
use adit_wireguard::message::Message;
use adit_wireguard::{Endpoint, PeerId, Session, Udp};

pub use context::Context;
pub use drops::{Drops, Reason};
pub use inbox::{Closed, Handshake, Inbox, Note, Taken, UNDER_LOAD};
pub use mailbox::Mailbox;
pub use table::{Change, Table};
pub use tally::{Batches, Tally};
pub use trace::{Dropped, Tracer};
pub use worker::{Letter, Setting, Worker};

use self::opened::{accept, authentic};
use self::train::{Train, run};
use crate::net::offload::Offloads;
use crate::net::tun::TunQueue;
use crate::net::udp::{self, UdpSocket};

/// Bytes after which a batch is full: one super-packet, or many small packets.
const BATCH: usize = 1 << 16;
/// Reads of a batch at most: so that packets that are dropped at once do not keep the other direction waiting.
const READS: usize = 256;
/// The most that one read or receive can bring.
const READ: usize = 1 << 16;
/// Bytes of one arena: a batch, one read more, and the headers and tags that cutting it adds.
const ARENA: usize = BATCH + READ + (1 << 16);
/// Packets of one batch at most: what fits, were all of them keepalives.
const SLOTS: usize = ARENA / 32;
/// Packets that one super-packet to the TUN device joins at most.
const JOIN: usize = 128;

// ---------------------------------------------------------------------------------------------------------- outward

/// From the TUN device to the network.
#[derive(Debug)]
pub struct Outward {
    arena: Vec<u8>,
    used: usize,
    slots: Vec<Slot>,
    groups: Vec<Outgoing>,
    /// The next group to be sealed.
    unsealed: usize,
    /// The next slot to be sent, and the group that it is in.
    next: (usize, usize),
    /// Slots before this one are sent one by one: their train was refused.
    singly: usize,
    /// All slots are sent one by one.
    apart: bool,
}

/// Slots that follow one another and go to one peer.
#[derive(Debug)]
struct Outgoing {
    peer: PeerId,
    slots: Range<usize>,
    to: Option<Endpoint>,
}

impl Default for Outward {
    fn default() -> Self {
        let (slots, groups) = (Vec::with_capacity(SLOTS), Vec::with_capacity(SLOTS));
        Self {
            arena: vec![0; ARENA],
            used: 0,
            slots,
            groups,
            unsealed: 0,
            next: (0, 0),
            singly: 0,
            apart: false,
        }
    }
}

impl Outward {
    /// True while sealed datagrams wait for room in the socket.
    #[must_use]
    pub fn is_blocked(&self) -> bool {
        self.next.0 < self.slots.len()
    }

    /// Reads packets until the device has no more or the batch is full, and cuts super-packets. True if there were any.
    ///
    /// # Errors
    /// What the device says but `WouldBlock`: it is gone.
    pub fn gather<C>(&mut self, tun: &TunQueue, context: &mut Context<'_, C>) -> io::Result<bool> {
        self.clear();
        let mut read_any = false;
        for _ in 0..READS {
            if !self.has_room(context.mtu) {
                break;
            }
            // The virtio header lands in the room for the datagram's header, the packet where it is sealed.
            let start = self.used + Session::HEAD;
            let buffer = &mut self.arena[start - virtio::LEN..start + READ];
            match tun.read(buffer) {
                Ok(read) => {
                    read_any = true;
                    self.admit(start, read.saturating_sub(virtio::LEN), context);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.raw_os_error() == Some(libc::EBADFD) => return Err(error),
                // One packet that the kernel could not hand over.
                Err(_) => context.drop(Reason::Malformed, &[]),
            }
        }
        Ok(read_any)
    }

    /// No more than one train carries: what is left over would be sent alone, at the price of the train.
    fn has_room(&self, mtu: usize) -> bool {
        self.used == 0 || self.used + Session::sealed_len(mtu, mtu) <= udp::TRAIN_MAX
    }

    fn clear(&mut self) {
        self.slots.clear();
        self.groups.clear();
        (self.used, self.unsealed, self.next, self.singly) = (0, 0, (0, 0), 0);
    }

    /// Finds the peer for what was read to `start`, and cuts it where it is into packets with room around each.
    pub(crate) fn admit<C>(&mut self, start: usize, len: usize, context: &mut Context<'_, C>) {
        let packet = &self.arena[start..start + len];
        let Some(destination) = ip::destination(packet) else {
            return context.drop(Reason::Malformed, packet);
        };
        let Some(peer) = context.table.route(destination) else {
            return context.drop(Reason::NoRoute, packet);
        };
        if context.table.is_loop(peer, packet) {
            return context.drop(Reason::Loop, packet);
        }
        let Some(header) = VirtioNetHdr::parse(&self.arena[start - virtio::LEN..]) else {
            return context.drop(Reason::Malformed, packet);
        };
        let ecn = Ecn::of(packet);
        let stride = |len| Session::sealed_len(len, context.mtu);
        let room = self.arena.len() - Session::TAIL;
        let Ok(segments) = segment(&mut self.arena[start..room], len, &header, stride) else {
            return context.drop(Reason::Malformed, &self.arena[start..start + len]);
        };
        let first = self.slots.len();
        for (offset, len) in segments.iter() {
            self.slots.push(Slot { start: start + offset, len, number: 0, ecn, kept: true });
            self.used = start + offset - Session::HEAD + Session::sealed_len(len, context.mtu);
        }
        match self.groups.last_mut() {
            Some(last) if last.peer == peer => last.slots.end = self.slots.len(),
            _ => self.groups.push(Outgoing { peer, slots: first..self.slots.len(), to: None }),
        }
    }

    /// Seals the batch in place, or leaves a peer's packets to the control thread if there is no session to seal with. False
    /// if a session may have come meanwhile: then it is called again after the mailbox was read.
    pub fn seal<C>(&mut self, context: &mut Context<'_, C>) -> bool {
        while let Some(group) = self.groups.get_mut(self.unsealed) {
            let slots = &mut self.slots[group.slots.clone()];
            let path = context.table.peer(group.peer).map(|peer| (peer.traffic.clone(), peer.path()));
            let Some((traffic, path)) = path else {
                slots.iter_mut().for_each(|slot| slot.kept = false);
                context.drop_slots(Reason::NoRoute, &self.arena, slots);
                self.unsealed += 1;
                continue;
            };
            if let Some((session, endpoint)) = path.filter(|(session, _)| session.is_fresh(context.now)) {
                let sealed = session.seal(&mut self.arena, slots, context.mtu);
                if (sealed.is_err() || session.is_stale_for_sending(context.now)) && traffic.want_handshake()
                {
                    context.inbox.note(Note::Want(group.peer));
                }
                if sealed.is_ok() {
                    let bytes = slots.iter().map(|slot| slot.len as u64).sum();
                    traffic.note_sent(bytes, true, context.now);
                    group.to = Some(endpoint);
                    self.unsealed += 1;
                    continue;
                }
            }
            let packets = slots.iter().map(|slot| &self.arena[slot.range()]);
            let Some(left) = context.inbox.unsent(group.peer, packets, context.table.edition()) else {
                return false;
            };
            slots.iter_mut().for_each(|slot| slot.kept = false);
            context.drop_slots(Reason::UnsentQueueFull, &self.arena, &slots[left..]);
            if let Some(peer) = context.table.peer(group.peer) {
                peer.leave();
            }
            self.unsealed += 1;
        }
        context.tally.outward.count(self.slots.len());
        true
    }

    /// Sends what is sealed, equal lengths that follow one another as one train. Stops where the socket has no room; it is
    /// called again then.
    pub fn send<C>(&mut self, socket: &UdpSocket, context: &mut Context<'_, C>) {
        while let Some(group) = self.groups.get(self.next.1) {
            let (Some(Endpoint::Udp(path)), false) = (group.to, self.next.0 >= group.slots.end) else {
                self.next = (group.slots.end, self.next.1 + 1);
                continue;
            };
            let trains = socket.sends_trains() && !self.apart && self.next.0 >= self.singly;
            let train =
                run(&self.slots[self.next.0..group.slots.end], if trains { udp::TRAIN_SEGMENTS } else { 1 });
            let slots = &self.slots[self.next.0..self.next.0 + train];
            let (first, last) = (slots[0], slots[train - 1]);
            match socket.send(&path, &self.arena[first.start..last.range().end], first.len, first.ecn) {
                Ok(()) => self.next.0 += train,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if train > 1 => {
                    // EIO is the interface's last word: it cannot make the checksums of a train.
                    if error.raw_os_error() == Some(libc::EIO) && !std::mem::replace(&mut self.apart, true) {
                        tracing::error!("trains of datagrams are refused; each is sent alone from now on");
                    }
                    self.singly = self.next.0 + train;
                }
                Err(error) if path.local.is_some() && udp::is_no_address(&error) => {
                    self.forget_local(context)
                }
                Err(_) => {
                    context.drop(Reason::SendFailed, &self.arena[first.range()]);
                    self.next.0 += 1;
                }
            }
        }
    }

    /// Gives the batch up, when there is no socket.
    pub fn discard<C>(&mut self, context: &mut Context<'_, C>) {
        for group in self.groups.iter().filter(|group| group.to.is_some()) {
            let unsent = group.slots.start.max(self.next.0)..group.slots.end.max(self.next.0);
            context.drop_slots(Reason::NoCarrier, &self.arena, &self.slots[unsent]);
        }
        self.next = (self.slots.len(), self.groups.len());
    }

    /// The kernel did not take the local address: it may be gone. The route chooses another.
    fn forget_local<C>(&mut self, context: &mut Context<'_, C>) {
        let group = &mut self.groups[self.next.1];
        let gone = group.to;
        group.to = gone.map(Endpoint::without_local);
        if let Some(peer) = context.table.peer(group.peer) {
            // The peer may have moved since the batch was sealed: that stays.
            peer.traffic
                .endpoint
                .update(|now| if now == gone { now.map(Endpoint::without_local) } else { now });
        }
    }
}

// ----------------------------------------------------------------------------------------------------------- inward

/// From the network to the TUN device.
#[derive(Debug)]
pub struct Inward {
    arena: Vec<u8>,
    used: usize,
    trains: Vec<Train>,
    /// Datagrams that the socket had no room for.
    lost: usize,
    slots: Vec<Slot>,
    groups: Vec<Incoming>,
    /// Sessions under which the first packet came.
    confirmed: Vec<Arc<Session>>,
    limits: Limits,
    joined: Coalescer,
}

/// Slots that follow one another, name one session and came by one path.
#[derive(Debug)]
struct Incoming {
    index: u32,
    path: Udp,
    slots: Range<usize>,
}

impl Inward {
    /// A direction that joins packets as the TUN device can take them.
    #[must_use]
    pub fn new(offloads: &Offloads) -> Self {
        let (tcp, udp) = (offloads.tun_tso, offloads.tun_uso);
        let limits = Limits { tcp, udp, max_segments: JOIN, capacity: SLOTS, ..Limits::default() };
        Self {
            arena: vec![0; ARENA],
            used: 0,
            trains: Vec::with_capacity(SLOTS),
            lost: 0,
            slots: Vec::with_capacity(SLOTS),
            groups: Vec::with_capacity(SLOTS),
            confirmed: Vec::new(),
            limits,
            joined: Coalescer::new(limits),
        }
    }

    /// Receives datagrams until there are no more or the batch is full. True if there were any.
    pub fn receive(&mut self, socket: &UdpSocket) -> bool {
        self.clear();
        for _ in 0..READS {
            if self.used >= BATCH {
                break;
            }
            match socket.receive(&mut self.arena[self.used..self.used + READ]) {
                Ok(received) => self.admit(&received),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // There is no more; or it is an error of an earlier datagram, and the socket goes on.
                Err(_) => break,
            }
        }
        !self.trains.is_empty()
    }

    /// Receives once more behind what was opened, if the last train was as long as trains can be: a super-packet that was too
    /// long for one has its rest behind it, and delivered together they are one again. True if there was any.
    pub fn receive_rest(&mut self, socket: &UdpSocket) -> bool {
        if !self.trains.last().is_some_and(Train::is_full) || self.arena.len() - self.used < READ {
            return false;
        }
        self.next_round();
        if let Ok(received) = socket.receive(&mut self.arena[self.used..self.used + READ]) {
            self.admit(&received);
        }
        !self.trains.is_empty()
    }

    fn clear(&mut self) {
        self.next_round();
        self.joined.clear();
        self.used = 0;
    }

    /// Forgets what was received, but not what was opened.
    fn next_round(&mut self) {
        self.trains.clear();
        self.slots.clear();
        self.groups.clear();
        self.lost = 0;
    }

    /// Takes note of what was received behind what is there already.
    pub(crate) fn admit(&mut self, received: &udp::Received) {
        let udp::Received { len, stride, path, ecn, truncated, lost } = *received;
        let (start, end) = (self.used, self.used + len);
        self.trains.push(Train { start, end, stride: stride.max(1), path, ecn, truncated });
        self.lost += lost as usize;
        // An empty datagram takes a byte, so that each has its place.
        self.used = end + usize::from(start == end);
    }

    /// Takes trains apart: data messages become slots, handshakes go to the control thread.
    pub fn sort<C>(&mut self, context: &mut Context<'_, C>) {
        if self.lost > 0 {
            context.drop_joined(Reason::ReceiveQueueFull, self.lost, &[]);
        }
        for train in &self.trains {
            if train.truncated {
                context.drop(Reason::Truncated, &self.arena[train.start..train.end]);
                continue;
            }
            for start in (train.start..train.end.max(train.start + 1)).step_by(train.stride) {
                let datagram = &self.arena[start..train.end.min(start + train.stride)];
                match Message::parse(datagram) {
                    Some(Message::Data { receiver: index, counter: number }) => {
                        let (at, path, len) = (self.slots.len(), &train.path, datagram.len());
                        self.slots.push(Slot { start, len, number, ecn: train.ecn, kept: true });
                        match self.groups.last_mut() {
                            Some(last) if last.index == index && last.path == *path => {
                                last.slots.end = at + 1
                            }
                            _ => self.groups.push(Incoming { index, path: *path, slots: at..at + 1 }),
                        }
                    }
                    Some(Message::Initiation | Message::Response | Message::CookieReply) => {
                        if !context.inbox.handshake(Endpoint::Udp(train.path), datagram) {
                            context.drop(Reason::HandshakeQueueFull, datagram);
                        }
                    }
                    None => context.drop(Reason::NotWireguard, datagram),
                }
            }
        }
        context.tally.inward.count(self.slots.len());
    }

    /// Opens data messages in place, and joins the packets inside that their peer may send.
    pub fn open<C>(&mut self, context: &mut Context<'_, C>) {
        for group in &self.groups {
            let slots = &mut self.slots[group.slots.clone()];
            let Some(session) = context.table.session(group.index).cloned() else {
                context.drop_slots(Reason::UnknownSession, &self.arena, slots);
                continue;
            };
            if !session.is_fresh(context.now) {
                context.drop_slots(Reason::Expired, &self.arena, slots);
                continue;
            }
            let bytes_of = |slot: &Slot| (slot.len + Session::OVERHEAD) as u64;
            session.open(&mut self.arena, slots, |refused, bytes| {
                context.drop(Reason::Protocol(refused), bytes);
            });
            let bytes: u64 = slots.iter().filter(|slot| slot.kept).map(bytes_of).sum();
            if bytes == 0 {
                continue;
            }
            let data = slots.iter().any(|slot| slot.kept && slot.len > 0);
            if authentic(&session, bytes, data, group.path, context) {
                self.confirmed.push(session.clone());
            }
            for slot in slots.iter_mut().filter(|slot| slot.kept && slot.len > 0) {
                match accept(&mut self.arena, slot, session.peer().id(), context.table) {
                    Ok(()) if self.joined.push(&self.arena, slot.range()).is_ok() => {}
                    Ok(()) => context.drop(Reason::Malformed, &self.arena[slot.range()]),
                    Err(reason) => context.drop(reason, &self.arena[slot.range()]),
                }
            }
        }
    }

    /// Sessions under which the first packet came: whoever sends has to know before that packet is delivered and answered.
    pub fn confirmed(&mut self) -> impl Iterator<Item = Arc<Session>> {
        self.confirmed.drain(..)
    }

    /// Writes the packets, each joined run as one super-packet.
    pub fn deliver<C>(&mut self, tun: &TunQueue, context: &mut Context<'_, C>) {
        self.joined.finish(&mut self.arena);
        let mut refused = None;
        for (header, packets) in self.joined.items() {
            let (gso, header) = (header.gso(), header.to_bytes());
            let mut pieces = [IoSlice::new(&[]); JOIN + 1];
            pieces[0] = IoSlice::new(&header);
            let mut count = 1;
            for piece in packets {
                pieces[count] = IoSlice::new(&self.arena[piece]);
                count += 1;
            }
            if let Err(error) = tun.write(&pieces[..count]) {
                context.drop_joined(Reason::DeliverFailed, count - 1, &pieces[1]);
                if count > 2 && error.raw_os_error() == Some(libc::EINVAL) {
                    refused = Some(gso);
                }
            }
        }
        if let Some(gso) = refused {
            self.join_less(gso);
        }
    }

    /// The device refused a super-packet although it has the offload: such packets are not joined any more.
    fn join_less(&mut self, gso: u8) {
        let (tcp, udp) =
            (self.limits.tcp && gso == virtio::GSO_UDP_L4, self.limits.udp && gso != virtio::GSO_UDP_L4);
        tracing::error!("the TUN device refuses super-packets of kind {gso}; they are not joined any more");
        self.limits = Limits { tcp, udp, ..self.limits };
        self.joined = Coalescer::new(self.limits);
    }
}
