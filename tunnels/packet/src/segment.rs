//! Segmentation of a super-packet of a TUN or TAP device, in place.
//!
//! ```text
//!  before  |headers|aaaaaaaa|bbbbbbbb|cccc|                  free room                     |
//!  after   |headers|aaaaaaaa| gap |headers|bbbbbbbb| gap |headers|cccc| gap and unused room |
//!          |<------- stride ----->|<------ stride ------>|<------ stride ------>|
//! ```
//!
//! A TAP device's headers begin with that of Ethernet.

use crate::Sum;
use crate::ethernet::EthernetHeader;
use crate::field::{put_u16, put_u32, u16_at, u32_at};
use crate::ip::{self, IpHeader, V6_LEN, Version};
use crate::transport::{TCP_FLAGS, TCP_SEQUENCE, Transport, UDP_LENGTH, flag};
use crate::virtio::{self, VirtioNetHdr};

/// The most segments one super-packet may be cut into. 64 KiB in segments of 64 bytes: whoever asks
/// for more wants to waste our time.
pub const MAX_SEGMENTS: usize = 1024;

/// Why a packet could not be segmented. The buffer is as it was.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A header or a checksum field reaches beyond the packet, or the packet beyond the buffer.
    #[error("packet is shorter than its headers say")]
    Truncated,
    /// The virtio header contradicts the packet, or itself.
    #[error("virtio header does not fit the packet")]
    BadGso,
    /// The buffer has fewer than the `needed` bytes.
    #[error("segments need a buffer of {needed} bytes")]
    NoRoom {
        /// Segments times stride.
        needed: usize,
    },
    /// More than [`MAX_SEGMENTS`].
    #[error("too many segments")]
    TooManySegments,
    /// A `gso_type` that was never asked for.
    #[error("unsupported kind of segmentation offload")]
    Unsupported,
    /// The stride given is less than the length of a segment.
    #[error("stride is less than a segment")]
    Stride,
}

/// Where the segments lie: segment `i` begins at `i * stride`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Segments {
    /// How many there are; at least 1.
    pub count: usize,
    /// Bytes of each but the last.
    pub size: usize,
    /// Bytes of the last one; at most `size`.
    pub last: usize,
    /// Bytes from the start of one to the start of the next.
    pub stride: usize,
}

impl Segments {
    /// Offset and length of each segment, in order.
    pub fn iter(
        &self,
    ) -> impl DoubleEndedIterator<Item = (usize, usize)> + ExactSizeIterator + Clone + use<> {
        let Self { count, size, last, stride } = *self;
        (0..count).map(move |i| (i * stride, if i + 1 == count { last } else { size }))
    }

    /// Lays out `count` segments in a buffer of `room` bytes. Each one, the last one too, gets
    /// `stride` bytes to itself.
    fn lay_out(
        count: usize,
        size: usize,
        last: usize,
        stride: impl FnOnce(usize) -> usize,
        room: usize,
    ) -> Result<Self, Error> {
        let stride = stride(size);
        if stride < size {
            return Err(Error::Stride);
        }
        match count.saturating_mul(stride) {
            needed if needed > room => Err(Error::NoRoom { needed }),
            _ => Ok(Self { count, size, last, stride }),
        }
    }
}

/// Cuts the packet in `buf[..len]` into the packets it stands for, each with whole headers and
/// checksums.
///
/// `hdr` came with the packet; of it `hdr_len` is not trusted, nor the checksum fields of a
/// super-packet: the packet's own headers tell the same. `stride` is given the length of a full
/// segment and answers how far apart the segments are to begin: enough for the segment, the trailer
/// behind it and the header ahead of the next. `buf` must hold that many bytes for every segment.
///
/// The gaps between segments hold remains of the packet: whoever pads a segment clears them.
///
/// TCP (with or without [`GSO_ECN`](virtio::GSO_ECN)) and UDP over IPv4 and IPv6 are cut. As the
/// kernel does, FIN and PSH stay on the last segment alone, CWR on the first, and IPv4
/// identifications count up. Any other packet remains one segment, its partial checksum completed.
///
/// # Errors
/// See [`Error`]. The buffer is untouched then.
pub fn segment(
    buf: &mut [u8],
    len: usize,
    hdr: &VirtioNetHdr,
    stride: impl FnOnce(usize) -> usize,
) -> Result<Segments, Error> {
    if hdr.gso_type == virtio::GSO_NONE {
        lone(buf, len, len, hdr, stride)
    } else {
        several(buf, len, 0, hdr, stride)
    }
}

/// Cuts the Ethernet frame in `buf[..len]` as [`segment()`] does a packet: the IP packet in it is
/// cut, and each segment begins with the whole Ethernet header, up to two VLAN tags included.
///
/// `hdr` counts from the frame's first byte (Virtio 1.2, section 5.1.6.2), and `stride` is given the
/// length of a full frame. Segments may be shorter than [`MIN_FRAME`](crate::ethernet::MIN_FRAME).
/// Any frame may come alone, also one that carries no IP packet. A partial checksum does not cover
/// the padding behind an IP packet.
///
/// # Errors
/// See [`Error`]. The buffer is untouched then.
pub fn segment_frame(
    buf: &mut [u8],
    len: usize,
    hdr: &VirtioNetHdr,
    stride: impl FnOnce(usize) -> usize,
) -> Result<Segments, Error> {
    let frame = buf.get(..len).ok_or(Error::Truncated)?;
    let link = EthernetHeader::parse(frame);
    if hdr.gso_type == virtio::GSO_NONE {
        let packet = link.and_then(|link| link.packet(frame));
        return lone(buf, len, packet.map_or(len, |packet| packet.end), hdr, stride);
    }
    let link = link.ok_or(Error::Truncated)?;
    let version = frame.get(link.header_len..).and_then(Version::of);
    if version.is_none() || version != link.version() {
        return Err(Error::BadGso);
    }
    several(buf, len, link.header_len, hdr, stride)
}

/// Leaves `buf[..len]` one segment, and completes a partial checksum that ends with `buf[..covered]`.
fn lone(
    buf: &mut [u8],
    len: usize,
    covered: usize,
    hdr: &VirtioNetHdr,
    stride: impl FnOnce(usize) -> usize,
) -> Result<Segments, Error> {
    let room = buf.len();
    let covered = buf.get_mut(..len).and_then(|packet| packet.get_mut(..covered)).ok_or(Error::Truncated)?;
    let segments = Segments::lay_out(1, len, len, stride, room)?;
    if hdr.flags & virtio::NEEDS_CSUM != 0 {
        complete_checksum(covered, hdr).ok_or(Error::Truncated)?;
    }
    Ok(segments)
}

/// Cuts the packet behind `link` bytes of `buf[..len]`, and copies these ahead of each segment.
fn several(
    buf: &mut [u8],
    len: usize,
    link: usize,
    hdr: &VirtioNetHdr,
    stride: impl FnOnce(usize) -> usize,
) -> Result<Segments, Error> {
    let room = buf.len();
    let packet = buf.get_mut(..len).and_then(|frame| frame.get_mut(link..)).ok_or(Error::Truncated)?;
    let template = Template::parse(packet, hdr)?;
    let payload = packet.len() - template.header_len;
    let gso_size = usize::from(hdr.gso_size);
    let count = payload.div_ceil(gso_size).max(1);
    if count > MAX_SEGMENTS {
        return Err(Error::TooManySegments);
    }
    let size = template.header_len + payload.min(gso_size);
    let last = template.header_len + payload - (count - 1) * gso_size;
    let segments = Segments::lay_out(count, link + size, link + last, stride, room)?;
    // Seen from behind the first link header, packets lie as if there were none, and that far apart.
    let packets = buf.get_mut(link..).ok_or(Error::Truncated)?;
    template.cut(packets, &Segments { size, last, ..segments }, gso_size).ok_or(Error::Truncated)?;
    if link > 0 {
        repeat(buf, link, &segments).ok_or(Error::Truncated)?;
    }
    Ok(segments)
}

/// Copies the first `link` bytes ahead of every other segment.
fn repeat(buf: &mut [u8], link: usize, segments: &Segments) -> Option<()> {
    for (at, _) in segments.iter().skip(1) {
        let (first, rest) = buf.split_at_mut_checked(at)?;
        rest.get_mut(..link)?.copy_from_slice(first.get(..link)?);
    }
    Some(())
}

/// Completes a checksum whose field holds the sum of the pseudo-header (Virtio 1.2, section
/// 5.1.6.2).
fn complete_checksum(packet: &mut [u8], hdr: &VirtioNetHdr) -> Option<()> {
    let covered = packet.get_mut(hdr.csum_start.into()..)?;
    let sum = Sum::of(covered);
    let offset = usize::from(hdr.csum_offset);
    let checksum =
        if offset == Transport::Udp.checksum_offset() { sum.udp_checksum() } else { sum.checksum() };
    put_u16(covered, offset, checksum)
}

/// What all segments of a super-packet have in common, read before anything is written.
struct Template {
    version: Version,
    transport: Transport,
    ip_len: usize,
    header_len: usize,
    /// IPv4 header without lengths, identification and checksum.
    ip_sum: Sum,
    /// Pseudo-header without length, and transport header without what `emit` writes.
    transport_sum: Sum,
    id: u16,
    sequence: u32,
    gso_size: u32,
    /// The TCP word of data offset and flags.
    flags: u16,
}

impl Template {
    fn parse(packet: &[u8], hdr: &VirtioNetHdr) -> Result<Self, Error> {
        let (version, transport) = match hdr.gso() {
            virtio::GSO_TCPV4 => (Some(Version::V4), Transport::Tcp),
            virtio::GSO_TCPV6 => (Some(Version::V6), Transport::Tcp),
            virtio::GSO_UDP_L4 => (None, Transport::Udp),
            _ => return Err(Error::Unsupported),
        };
        let ip = IpHeader::parse(packet).ok_or(Error::Truncated)?;
        if version.is_some_and(|version| version != ip.version)
            || Transport::of(ip.protocol) != Some(transport)
            || ip.fragment
            || ip.total_len != packet.len()
            || hdr.gso_size == 0
        {
            return Err(Error::BadGso);
        }
        Self::read(packet, &ip, transport, hdr.gso_size).ok_or(Error::Truncated)
    }

    fn read(packet: &[u8], ip: &IpHeader, transport: Transport, gso_size: u16) -> Option<Self> {
        let (ip_header, data) = packet.split_at_checked(ip.header_len)?;
        let header_len = transport.header_len(data)?;
        let header = data.get(..header_len)?;
        let mut template = Self {
            version: ip.version,
            transport,
            ip_len: ip.header_len,
            header_len: ip.header_len + header_len,
            ip_sum: Sum::default(),
            transport_sum: Sum::pseudo(ip::addresses(packet)?, ip.protocol, 0)
                + Sum::of(header).without(u16_at(header, transport.checksum_offset())?),
            id: 0,
            sequence: 0,
            gso_size: gso_size.into(),
            flags: 0,
        };
        if ip.version == Version::V4 {
            template.id = u16_at(ip_header, 4)?;
            template.ip_sum = Sum::of(ip_header)
                .without(u16_at(ip_header, 2)?)
                .without(template.id)
                .without(u16_at(ip_header, 10)?);
        }
        match transport {
            Transport::Tcp => {
                template.sequence = u32_at(header, TCP_SEQUENCE)?;
                template.flags = u16_at(header, TCP_FLAGS)?;
                template.transport_sum = template
                    .transport_sum
                    .without(u16_at(header, TCP_SEQUENCE)?)
                    .without(u16_at(header, TCP_SEQUENCE + 2)?)
                    .without(template.flags);
            }
            Transport::Udp => {
                let length = u16_at(header, UDP_LENGTH)?;
                template.transport_sum = template.transport_sum.without(length);
            }
        }
        Some(template)
    }

    /// Moves payloads and copies headers from the last segment to the first. A segment never begins
    /// ahead of its payload's old place, so it overwrites only what has been moved already.
    fn cut(&self, buf: &mut [u8], segments: &Segments, gso_size: usize) -> Option<()> {
        for (i, (at, len)) in segments.iter().enumerate().rev() {
            if i > 0 {
                let from = self.header_len + i * gso_size;
                let end = from + len - self.header_len;
                // The bounds are checked here so that `copy_within` cannot panic.
                buf.get(from..end)?;
                buf.get(at..at + len)?;
                buf.copy_within(from..end, at + self.header_len);
                buf.copy_within(..self.header_len, at);
            }
            let segment = buf.get_mut(at..at + len)?;
            self.emit(segment, u16::try_from(i).ok()?, i + 1 == segments.count)?;
        }
        Some(())
    }

    /// Writes what differs from segment to segment into the headers of number `i`.
    fn emit(&self, segment: &mut [u8], i: u16, is_last: bool) -> Option<()> {
        let len = segment.len();
        let (ip, data) = segment.split_at_mut_checked(self.ip_len)?;
        match self.version {
            Version::V4 => {
                let len = u16::try_from(len).ok()?;
                let id = self.id.wrapping_add(i);
                put_u16(ip, 2, len)?;
                put_u16(ip, 4, id)?;
                put_u16(ip, 10, self.ip_sum.with(len).with(id).checksum())?;
            }
            Version::V6 => put_u16(ip, 4, u16::try_from(len - V6_LEN).ok()?)?,
        }

        let data_len = u16::try_from(data.len()).ok()?;
        let (header, payload) = data.split_at_mut_checked(self.header_len - self.ip_len)?;
        let sum = self.transport_sum.with(data_len) + Sum::of(payload);
        let checksum = match self.transport {
            Transport::Tcp => {
                let sequence = self.sequence.wrapping_add(u32::from(i).wrapping_mul(self.gso_size));
                let flags = self.flags_of(i == 0, is_last);
                put_u32(header, TCP_SEQUENCE, sequence)?;
                put_u16(header, TCP_FLAGS, flags)?;
                sum.with((sequence >> 16) as u16).with(sequence as u16).with(flags).checksum()
            }
            Transport::Udp => {
                put_u16(header, UDP_LENGTH, data_len)?;
                sum.with(data_len).udp_checksum()
            }
        };
        put_u16(header, self.transport.checksum_offset(), checksum)
    }

    fn flags_of(&self, is_first: bool, is_last: bool) -> u16 {
        let mut flags = self.flags;
        if !is_last {
            flags &= !(flag::FIN | flag::PSH);
        }
        if !is_first {
            flags &= !flag::CWR;
        }
        flags
    }
}
