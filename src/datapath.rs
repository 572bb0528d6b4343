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

mod carrier;
mod context;
mod drops;
mod feed;
mod framing;
mod inbox;
pub mod macsec;
mod mailbox;
mod sync;
mod tally;
#[cfg(test)]
#[cfg(not(loom))]
mod tests;
mod trace;
mod train;
pub mod wireguard;
mod worker;

use std::io::{self, ErrorKind, IoSlice};
use std::ops::Range;

use adit_packet::{Coalescer, Limits, Slot, VirtioNetHdr, virtio};

pub use carrier::Carrier;
pub use context::Context;
pub use drops::{Drops, Reason};
pub use framing::{Framing, Path, Sealed, Sorted};
pub use inbox::{Closed, Handshake, Inbox, Taken, UNDER_LOAD};
pub use mailbox::Mailbox;
pub use tally::{Batches, Tally};
pub use trace::{Dropped, Tracer};
pub use worker::{Letter, Setting, Worker, default_count};

use self::train::Train;
use crate::net::offload::Offloads;
use crate::net::packet;
use crate::net::tun::TunQueue;
use crate::net::udp;

/// Bytes after which a batch is full: one super-packet, or many small packets.
const BATCH: usize = 1 << 16;
/// Reads of a batch at most: so that packets that are dropped at once do not keep the other direction waiting.
const READS: usize = 256;
/// The most that one read or receive can bring: an IP packet in an Ethernet frame.
const READ: usize = (1 << 16) + 64;
/// Bytes of one arena: a batch, one read more, and the headers and tags that cutting it adds.
const ARENA: usize = BATCH + READ + (1 << 16);
/// Packets of one batch at most: what fits, were all of them keepalives.
const SLOTS: usize = ARENA / 32;
/// Packets that one super-packet to the TUN device joins at most.
const JOIN: usize = 128;

// ---------------------------------------------------------------------------------------------------------- outward

/// From the TUN device to the network.
#[derive(Debug)]
pub struct Outward<F: Framing> {
    arena: Vec<u8>,
    used: usize,
    slots: Vec<Slot>,
    groups: Vec<Outgoing<F::To>>,
    /// The next group to be sealed.
    unsealed: usize,
    /// The next slot to be sent, and the group that it is in.
    next: (usize, usize),
    /// Slots before this one are sent one by one: their train was refused.
    singly: usize,
    /// All slots are sent one by one.
    apart: bool,
    frames: packet::Batch,
}

/// Slots that follow one another and are for one receiver.
#[derive(Debug)]
struct Outgoing<T> {
    to: T,
    slots: Range<usize>,
    path: Option<Path>,
}

impl<F: Framing> Default for Outward<F> {
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
            frames: packet::Batch::default(),
        }
    }
}

impl<F: Framing> Outward<F> {
    /// True while sealed datagrams wait for room in the socket.
    #[must_use]
    pub fn is_blocked(&self) -> bool {
        self.next.0 < self.slots.len()
    }

    /// Reads packets until the device has no more or the batch is full, and cuts super-packets. True if there were any.
    ///
    /// # Errors
    /// What the device says but `WouldBlock`: it is gone.
    pub fn gather<C>(&mut self, tun: &TunQueue, context: &mut Context<'_, F, C>) -> io::Result<bool> {
        self.clear();
        let mut read_any = self.take_own(context);
        for _ in 0..READS {
            if !self.has_room(context) {
                break;
            }
            // The virtio header lands in the room for the datagram's header, the packet where it is sealed.
            let start = self.used + context.framing.head();
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

    /// Takes what the worker has to send of its own; true if there was anything.
    fn take_own<C>(&mut self, context: &mut Context<'_, F, C>) -> bool {
        let Some(packet) = context.framing.own() else { return false };
        let start = self.used + context.framing.head();
        self.arena[start - virtio::LEN..start].fill(0);
        self.arena[start..start + packet.len()].copy_from_slice(&packet);
        self.admit(start, packet.len(), context);
        true
    }

    /// No more than one train carries: what is left over would be sent alone, at the price of the train.
    fn has_room<C>(&self, context: &Context<'_, F, C>) -> bool {
        let sealed = context.framing.sealed_len(context.mtu, context.mtu);
        self.used == 0 || self.used + sealed <= udp::TRAIN_MAX
    }

    fn clear(&mut self) {
        self.slots.clear();
        self.groups.clear();
        (self.used, self.unsealed, self.next, self.singly) = (0, 0, (0, 0), 0);
    }

    /// Finds out whom it is for what was read to `start`, and cuts it where it is into packets with room around each.
    pub(crate) fn admit<C>(&mut self, start: usize, len: usize, context: &mut Context<'_, F, C>) {
        let packet = &self.arena[start..start + len];
        let to = match context.framing.route(packet) {
            Ok(to) => to,
            Err(reason) => return context.drop(reason, packet),
        };
        let Some(header) = VirtioNetHdr::parse(&self.arena[start - virtio::LEN..]) else {
            return context.drop(Reason::Malformed, packet);
        };
        let ecn = F::ecn(packet);
        let (framing, mtu) = (&*context.framing, context.mtu);
        let room = self.arena.len() - F::TAIL;
        let bytes = &mut self.arena[start..room];
        let Ok(segments) = F::cut(bytes, len, &header, |len| framing.sealed_len(len, mtu)) else {
            return context.drop(Reason::Malformed, &self.arena[start..start + len]);
        };
        let first = self.slots.len();
        for (offset, len) in segments.iter() {
            self.slots.push(Slot { start: start + offset, len, number: 0, ecn, kept: true });
            self.used = start + offset - framing.head() + framing.sealed_len(len, mtu);
        }
        match self.groups.last_mut() {
            Some(last) if last.to == to => last.slots.end = self.slots.len(),
            _ => self.groups.push(Outgoing { to, slots: first..self.slots.len(), path: None }),
        }
    }

    /// Seals the batch in place. False if there may be something to seal with by now: then it is called again after the mailbox
    /// was read.
    pub fn seal<C>(&mut self, context: &mut Context<'_, F, C>) -> bool {
        while let Some(group) = self.groups.get_mut(self.unsealed) {
            let slots = &mut self.slots[group.slots.clone()];
            match F::seal(group.to, &mut self.arena, slots, context) {
                Sealed::To(path) => group.path = Some(path),
                Sealed::Nowhere => {}
                Sealed::Again => return false,
            }
            self.unsealed += 1;
        }
        context.tally.outward.count(self.slots.len());
        true
    }

    /// Sends what is sealed. Stops where the socket has no room; it is called again then.
    pub fn send<C>(&mut self, carrier: &Carrier, context: &mut Context<'_, F, C>) {
        while let Some(group) = self.groups.get(self.next.1) {
            let slots = self.next.0..group.slots.end;
            let done = match (group.path, carrier) {
                _ if slots.is_empty() => true,
                (Some(Path::Udp(path)), Carrier::Udp(socket)) => {
                    self.send_datagrams(&path, slots, socket, context)
                }
                (Some(Path::Link), Carrier::Link { socket, .. }) => self.send_frames(slots, socket, context),
                // Sealed for a carrier that is no more.
                (Some(_), _) => {
                    context.drop_kept(Reason::NoCarrier, &self.arena, &self.slots[slots]);
                    true
                }
                (None, _) => true,
            };
            if !done {
                return;
            }
            let group = &self.groups[self.next.1];
            self.next = (group.slots.end, self.next.1 + 1);
        }
    }

    /// Gives the batch up, when there is no socket.
    pub fn discard<C>(&mut self, context: &mut Context<'_, F, C>) {
        for group in self.groups.iter().filter(|group| group.path.is_some()) {
            let unsent = group.slots.start.max(self.next.0)..group.slots.end.max(self.next.0);
            context.drop_kept(Reason::NoCarrier, &self.arena, &self.slots[unsent]);
        }
        self.next = (self.slots.len(), self.groups.len());
    }
}

// ----------------------------------------------------------------------------------------------------------- inward

/// From the network to the TUN device.
#[derive(Debug)]
pub struct Inward<F: Framing> {
    arena: Vec<u8>,
    used: usize,
    trains: Vec<Train>,
    /// Datagrams that the socket had no room for.
    lost: usize,
    slots: Vec<Slot>,
    groups: Vec<Incoming<F::Source>>,
    /// What whoever sends has to know.
    news: Vec<F::Change>,
    limits: Limits,
    joined: Coalescer,
    frames: packet::Batch,
}

/// Slots that follow one another, have one source and came by one path.
#[derive(Debug)]
struct Incoming<S> {
    source: S,
    path: Path,
    slots: Range<usize>,
}

impl<F: Framing> Inward<F> {
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
            news: Vec::new(),
            limits,
            joined: Coalescer::new(limits),
            frames: packet::Batch::default(),
        }
    }

    /// Receives datagrams until there are no more or the batch is full. True if there were any.
    pub fn receive(&mut self, carrier: &Carrier) -> bool {
        self.clear();
        match carrier {
            Carrier::Udp(socket) => self.receive_datagrams(socket),
            Carrier::Link { socket, longest } => self.receive_frames(socket, *longest),
        }
        !self.trains.is_empty()
    }

    /// Receives once more behind what was opened, if the last train was as long as trains can be: a super-packet that was too
    /// long for one has its rest behind it, and delivered together they are one again. True if there was any.
    pub fn receive_rest(&mut self, carrier: &Carrier) -> bool {
        let Carrier::Udp(socket) = carrier else { return false };
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
        let (start, end, path) = (self.used, self.used + len, Path::Udp(path));
        self.trains.push(Train { start, end, stride: stride.max(1), path, ecn, truncated });
        self.lost += lost as usize;
        // An empty datagram takes a byte, so that each has its place.
        self.used = end + usize::from(start == end);
    }

    /// Takes trains apart: data messages become slots, handshakes go to the control thread.
    pub fn sort<C>(&mut self, context: &mut Context<'_, F, C>) {
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
                match context.framing.sort(datagram) {
                    Sorted::Data { source, lead, number } => {
                        let (at, path, ecn) = (self.slots.len(), train.path, train.ecn);
                        let (start, len) = (start + lead, datagram.len() - lead);
                        self.slots.push(Slot { start, len, number, ecn, kept: true });
                        match self.groups.last_mut() {
                            Some(last) if last.source == source && last.path == path => {
                                last.slots.end = at + 1
                            }
                            _ => self.groups.push(Incoming { source, path, slots: at..at + 1 }),
                        }
                    }
                    Sorted::Handshake => {
                        if !context.inbox.handshake(train.path, datagram) {
                            context.drop(Reason::HandshakeQueueFull, datagram);
                        }
                    }
                    Sorted::Refused(reason) => context.drop(reason, datagram),
                }
            }
        }
        context.tally.inward.count(self.slots.len());
    }

    /// Opens data messages in place, and joins the packets inside.
    pub fn open<C>(&mut self, context: &mut Context<'_, F, C>) {
        for group in &self.groups {
            let slots = &mut self.slots[group.slots.clone()];
            self.news.extend(F::open(group.source, group.path, &mut self.arena, slots, context));
            for slot in slots.iter().filter(|slot| slot.kept) {
                if F::join(&mut self.joined, &self.arena, slot.range()).is_err() {
                    context.drop(Reason::Malformed, &self.arena[slot.range()]);
                }
            }
        }
    }

    /// What whoever sends has to know before these packets are delivered and answered.
    pub fn news(&mut self) -> impl Iterator<Item = F::Change> {
        self.news.drain(..)
    }

    /// Writes the packets, each joined run as one super-packet.
    pub fn deliver<C>(&mut self, tun: &TunQueue, context: &mut Context<'_, F, C>) {
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
