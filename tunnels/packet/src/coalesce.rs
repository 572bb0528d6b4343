//! Joins packets of a flow into super-packets, the inverse of [`segment()`](crate::segment()).

use core::ops::Range;

use crate::Sum;
use crate::candidate::{Candidate, Kind, examine, examine_frame};
use crate::field::{put_u16, u16_at};
use crate::flow::{Flow, Flows};
use crate::ip::{self, V6_LEN, Version};
use crate::transport::{TCP_FLAGS, Transport, UDP_LENGTH, flag};
use crate::virtio::{self, VirtioNetHdr};

/// What may be joined, and how much.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Join TCP segments (`TUN_F_TSO4`, `TUN_F_TSO6`).
    pub tcp: bool,
    /// Join UDP datagrams (`TUN_F_USO4`, `TUN_F_USO6`, Linux 6.2).
    pub udp: bool,
    /// Bytes of a super-packet, IP header included, in both families; an Ethernet header does not count. At most 65,535.
    pub max_len: usize,
    /// Packets in a super-packet; UDP never has more than 64. With the virtio header, a `writev` of
    /// the pieces needs one vector more.
    pub max_segments: usize,
    /// Packets taken between two calls of [`Coalescer::clear`]. Memory is bounded by it.
    pub capacity: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { tcp: true, udp: true, max_len: 65_535, max_segments: 128, capacity: 1024 }
    }
}

/// Why a packet was not taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// `Limits::capacity` packets are held: finish, write, clear, and push it again.
    #[error("coalescer is full")]
    Full,
    /// The range does not lie in the arena.
    #[error("packet lies outside of the arena")]
    OutOfBounds,
}

/// Joins the packets of one batch, all of which lie in one arena.
///
/// ```text
/// push, push, ...   in order of arrival; packets are only looked at
/// finish            the first header of each super-packet is rewritten in the arena
/// items             one write each; then clear
/// ```
///
/// Packets are joined if the receiver cannot tell the difference: one flow, consecutive, equal in
/// length but for a shorter last one, equal in every header field but those that
/// [`segment()`](crate::segment()) writes anew, all checksums right. Only the IPv4 identification of
/// packets that may not be fragmented is not restored (RFC 6864, section 4.1). All other packets go
/// out alone, as they are. A flow's packets never change their order; flows may overtake each other.
///
/// Frames are joined if their packets are, and their Ethernet headers are equal. Those for more than one station go out
/// alone, as do those that carry no IP packet, which are of no flow. Padding up to the minimum length of a frame
/// ([`ethernet`](crate::ethernet)) is left off when frames are joined; one that goes out alone keeps it, and one with
/// more than padding behind its packet goes out alone.
#[derive(Debug)]
pub struct Coalescer {
    limits: Limits,
    packets: Vec<Packet>,
    items: Vec<Joined>,
    flows: Flows,
}

impl Coalescer {
    /// Allocates all that is ever needed.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits: Limits { max_len: limits.max_len.min(65_535), ..limits },
            packets: Vec::with_capacity(limits.capacity),
            items: Vec::with_capacity(limits.capacity),
            flows: Flows::new(),
        }
    }

    /// Takes the packet at `at`, without padding. It is only looked at, but its bytes must stay
    /// as they are until [`clear`](Self::clear), and `arena` be the same slice in every call.
    ///
    /// # Errors
    /// [`Refused`]; nothing changed then.
    pub fn push(&mut self, arena: &[u8], at: Range<usize>) -> Result<(), Refused> {
        let packet = self.admit(arena, &at)?;
        let kind = examine(packet, &self.limits);
        self.sort(arena, Pushed { at, link: &[], packet }, kind);
        Ok(())
    }

    /// Takes the Ethernet frame at `at`, with its padding, as [`push`](Self::push) does a packet.
    ///
    /// # Errors
    /// [`Refused`]; nothing changed then.
    pub fn push_frame(&mut self, arena: &[u8], at: Range<usize>) -> Result<(), Refused> {
        let frame = self.admit(arena, &at)?;
        let (kind, place) = examine_frame(frame, &self.limits);
        let (link, rest) = frame.split_at_checked(place.start).ok_or(Refused::OutOfBounds)?;
        let packet = rest.get(..place.len()).ok_or(Refused::OutOfBounds)?;
        self.sort(arena, Pushed { at, link, packet }, kind);
        Ok(())
    }

    /// Rewrites the first header of each super-packet in the arena that was given to
    /// [`push`](Self::push). What is pushed from here on joins none of them.
    pub fn finish(&mut self, arena: &mut [u8]) {
        self.flows.clear();
        for item in self.items.iter().filter(|item| item.count > 1) {
            let (Some(first), Some(shape)) = (self.packets.get_mut(item.first), item.shape) else {
                continue;
            };
            let ip = first.at.start + usize::from(shape.link);
            first.at.end = ip + shape.header_len + shape.size;
            // `None` would mean that the arena is another one.
            if let Some(headers) = arena.get_mut(ip..ip + shape.header_len) {
                let _ = shape.emit(headers, item.len, item.push);
            }
        }
    }

    /// What is to be written after [`finish`](Self::finish), in order of the first packets.
    pub fn items(&self) -> Items<'_> {
        Items { coalescer: self, items: self.items.iter() }
    }

    /// Forgets all packets.
    pub fn clear(&mut self) {
        self.flows.clear();
        self.packets.clear();
        self.items.clear();
    }

    /// Packets held.
    pub fn len(&self) -> usize {
        self.packets.len()
    }

    /// Whether no packet is held.
    pub fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    fn admit<'a>(&self, arena: &'a [u8], at: &Range<usize>) -> Result<&'a [u8], Refused> {
        if self.packets.len() >= self.limits.capacity {
            return Err(Refused::Full);
        }
        arena.get(at.clone()).ok_or(Refused::OutOfBounds)
    }

    // A copy for packets and one for frames: without a link header nothing is left of it.
    #[inline(always)]
    fn sort(&mut self, arena: &[u8], pushed: Pushed<'_>, kind: Kind) {
        match kind {
            Kind::Stranger => {}
            Kind::Portless(key) => self.flows.close_between(&key),
            Kind::Single(key) => self.flows.close(&key),
            Kind::Candidate(candidate) => return self.take(arena, pushed, &candidate),
        }
        self.add_item(pushed.at, None);
    }

    /// Joins a candidate to its flow's open item, or else gives it its own.
    #[inline(always)]
    fn take(&mut self, arena: &[u8], pushed: Pushed<'_>, candidate: &Candidate) {
        let Pushed { at, link, packet } = pushed;
        let sound = candidate.verify(packet);
        let first = at.start + link.len();
        if let Some(flow) = self.flows.find(&candidate.key) {
            let joins = sound
                && flow.accepts(arena, packet, candidate, &self.limits)
                && (link.is_empty() || flow.same_link(arena, link));
            let item = flow.item;
            let stays_open = joins && flow.extend(candidate);
            if !stays_open {
                self.flows.close(&candidate.key);
            }
            if joins {
                return self.join(item, at.start..first + packet.len(), candidate);
            }
        }
        let opens = sound && !candidate.push;
        let flow = Flow::new(candidate, self.items.len(), first);
        self.add_item(at, Some(candidate));
        if opens {
            self.flows.open(flow);
        }
    }

    fn add_item(&mut self, at: Range<usize>, candidate: Option<&Candidate>) {
        let first = self.packets.len();
        let shape = candidate.map(Shape::of);
        let len = shape.map_or(0, |shape| shape.header_len + shape.size);
        self.items.push(Joined { first, last: first, count: 1, len, push: false, shape });
        self.packets.push(Packet { at, next: None });
    }

    fn join(&mut self, item: usize, at: Range<usize>, candidate: &Candidate) {
        let new = self.packets.len();
        if let Some(item) = self.items.get_mut(item) {
            if let Some(last) = self.packets.get_mut(item.last) {
                last.next = Some(new);
            }
            item.last = new;
            item.count += 1;
            item.len += candidate.payload_len;
            item.push |= candidate.push;
        }
        self.packets.push(Packet { at, next: None });
    }
}

/// What was pushed: a packet, or a frame around one.
#[derive(Debug)]
struct Pushed<'a> {
    /// Where all of it lies in the arena.
    at: Range<usize>,
    /// The Ethernet header; empty if there is none.
    link: &'a [u8],
    /// What follows it, without padding.
    packet: &'a [u8],
}

/// A packet in the arena, and the one that follows it in its item.
#[derive(Debug)]
struct Packet {
    at: Range<usize>,
    next: Option<usize>,
}

/// A super-packet in the making, or a packet alone.
#[derive(Debug)]
struct Joined {
    /// Index of the first packet.
    first: usize,
    last: usize,
    count: usize,
    /// Bytes of the super-packet without an Ethernet header, if there is a shape.
    len: usize,
    push: bool,
    /// What the headers look like; `None` if nothing can join.
    shape: Option<Shape>,
}

/// The headers of a super-packet.
#[derive(Clone, Copy, Debug)]
struct Shape {
    /// Bytes of the Ethernet header.
    link: u8,
    version: Version,
    transport: Transport,
    ip_len: usize,
    /// Bytes of IP and transport header.
    header_len: usize,
    /// Bytes of payload in all packets but the last.
    size: usize,
}

impl Shape {
    fn of(candidate: &Candidate) -> Self {
        Self {
            link: candidate.key.link,
            version: candidate.key.version,
            transport: candidate.transport,
            ip_len: candidate.ip_len,
            header_len: candidate.header_len,
            size: candidate.payload_len,
        }
    }

    /// Makes the IP and transport headers of the first packet those of a super-packet of `len` bytes.
    fn emit(&self, headers: &mut [u8], len: usize, push: bool) -> Option<()> {
        let data_len = u16::try_from(len - self.ip_len).ok()?;
        match self.version {
            Version::V4 => {
                put_u16(headers, 2, u16::try_from(len).ok()?)?;
                put_u16(headers, 10, 0)?;
                let checksum = Sum::of(headers.get(..self.ip_len)?).checksum();
                put_u16(headers, 10, checksum)?;
            }
            Version::V6 => put_u16(headers, 4, u16::try_from(len - V6_LEN).ok()?)?,
        }
        let protocol = self.transport.protocol();
        let partial = Sum::pseudo(ip::addresses(headers)?, protocol, data_len.into()).fold();
        let header = headers.get_mut(self.ip_len..)?;
        match self.transport {
            Transport::Tcp if push => {
                let flags = u16_at(header, TCP_FLAGS)? | flag::PSH;
                put_u16(header, TCP_FLAGS, flags)?;
            }
            Transport::Tcp => {}
            Transport::Udp => put_u16(header, UDP_LENGTH, data_len)?,
        }
        put_u16(header, self.transport.checksum_offset(), partial)
    }

    fn virtio(&self) -> VirtioNetHdr {
        let link = u16::from(self.link);
        // All of these come from within the headers, or one packet of at most 65,535 bytes.
        VirtioNetHdr {
            flags: virtio::NEEDS_CSUM,
            gso_type: match (self.transport, self.version) {
                (Transport::Tcp, Version::V4) => virtio::GSO_TCPV4,
                (Transport::Tcp, Version::V6) => virtio::GSO_TCPV6,
                (Transport::Udp, _) => virtio::GSO_UDP_L4,
            },
            hdr_len: link + self.header_len as u16,
            gso_size: self.size as u16,
            csum_start: link + self.ip_len as u16,
            csum_offset: self.transport.checksum_offset() as u16,
        }
    }
}

/// The virtio header and the pieces of each write; see [`Coalescer::items`].
#[derive(Clone, Debug)]
pub struct Items<'a> {
    coalescer: &'a Coalescer,
    items: core::slice::Iter<'a, Joined>,
}

impl<'a> Iterator for Items<'a> {
    type Item = (VirtioNetHdr, Pieces<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let item = self.items.next()?;
        let shape = item.shape.filter(|_| item.count > 1);
        let pieces = Pieces {
            packets: &self.coalescer.packets,
            next: Some(item.first),
            left: item.count,
            skip: 0,
            header_len: shape.map_or(0, |shape| usize::from(shape.link) + shape.header_len),
        };
        Some((shape.map_or_else(VirtioNetHdr::default, |shape| shape.virtio()), pieces))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.items.size_hint()
    }
}

impl ExactSizeIterator for Items<'_> {}

/// The ranges of the arena that make up one super-packet: its first packet, then payloads alone.
#[derive(Clone, Debug)]
pub struct Pieces<'a> {
    packets: &'a [Packet],
    next: Option<usize>,
    left: usize,
    /// Bytes to leave out at the front of the next packet.
    skip: usize,
    header_len: usize,
}

impl Iterator for Pieces<'_> {
    type Item = Range<usize>;

    fn next(&mut self) -> Option<Range<usize>> {
        let packet = self.packets.get(self.next?)?;
        let piece = packet.at.start + self.skip..packet.at.end;
        self.next = packet.next;
        self.left = self.left.saturating_sub(1);
        self.skip = self.header_len;
        Some(piece)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Pieces<'_> {}
