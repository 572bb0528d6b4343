//! What one opened packet is to the coalescer.

use core::ops::Range;

use crate::Sum;
use crate::coalesce::Limits;
use crate::ethernet::EthernetHeader;
use crate::field::{u16_at, u32_at};
use crate::flow::Key;
use crate::ip::{self, IpHeader, Version};
use crate::transport::{TCP_FLAGS, TCP_SEQUENCE, Transport, UDP_LENGTH, flag};

/// The "don't fragment" bit of the IPv4 word at offset 6.
const DONT_FRAGMENT: u16 = 0x4000;

/// What a packet means for the flows that are open.
#[derive(Debug)]
pub(crate) enum Kind {
    /// Of no flow at all.
    Stranger,
    /// Of some flow between two addresses, a fragment for instance.
    Portless(Key),
    /// Of a flow, but never joined.
    Single(Key),
    /// May be joined if its checksums are right.
    Candidate(Candidate),
}

/// A packet that may be joined, by what its own headers say.
#[derive(Debug)]
pub(crate) struct Candidate {
    pub(crate) key: Key,
    pub(crate) transport: Transport,
    pub(crate) ip_len: usize,
    /// Bytes of IP and transport header.
    pub(crate) header_len: usize,
    /// Not zero.
    pub(crate) payload_len: usize,
    /// TCP sequence number; 0 in UDP.
    pub(crate) sequence: u32,
    /// TCP push: nothing may follow.
    pub(crate) push: bool,
    /// IPv4 identification; 0 in IPv6.
    pub(crate) id: u16,
    /// Whether identifications mean nothing (RFC 6864, section 4.1).
    pub(crate) dont_fragment: bool,
}

/// Sorts `frame` by its headers, and tells where the IP packet in it lies.
///
/// Only frames for a single station are candidates. What lies behind the packet is no part of it if it is padding, and
/// keeps the frame from being joined if not.
// It has one caller.
#[inline(always)]
pub(crate) fn examine_frame(frame: &[u8], limits: &Limits) -> (Kind, Range<usize>) {
    let stranger = (Kind::Stranger, 0..frame.len());
    let Some(link) = EthernetHeader::parse(frame) else {
        return stranger;
    };
    let Some(at) = link.packet(frame) else {
        return stranger;
    };
    let Some(packet) = frame.get(at.clone()) else {
        return stranger;
    };
    let joinable = !link.group && (at.end == frame.len() || link.is_padded(frame.len()));
    let mut kind = examine(packet, limits);
    if let Kind::Candidate(Candidate { key, .. }) = &kind
        && !joinable
    {
        kind = Kind::Single(*key);
    }
    match &mut kind {
        Kind::Stranger => {}
        // At most 22 bytes.
        Kind::Portless(key) | Kind::Single(key) | Kind::Candidate(Candidate { key, .. }) => {
            key.link = link.header_len as u8;
        }
    }
    (kind, at)
}

/// Sorts `packet` by its headers; its checksums are left to [`Candidate::verify`].
pub(crate) fn examine(packet: &[u8], limits: &Limits) -> Kind {
    let Some(ip) = IpHeader::parse(packet) else {
        return Kind::Stranger;
    };
    let Some(mut key) = portless(packet, &ip) else {
        return Kind::Stranger;
    };
    let Some(transport) = Transport::of(ip.protocol).filter(|_| !ip.fragment) else {
        return Kind::Portless(key);
    };
    let data = packet.get(ip.header_len..ip.total_len);
    let Some(ports) = data.and_then(|data| data.first_chunk()) else {
        return Kind::Portless(key);
    };
    key.ports = *ports;
    let wanted = match transport {
        Transport::Tcp => limits.tcp,
        Transport::Udp => limits.udp,
    };
    if !wanted || ip.options || ip.total_len != packet.len() {
        return Kind::Single(key);
    }
    Candidate::read(packet, &ip, transport, key).map_or(Kind::Single(key), Kind::Candidate)
}

fn portless(packet: &[u8], ip: &IpHeader) -> Option<Key> {
    let from = ip::addresses(packet)?;
    let mut addresses = [0; 32];
    // Two copies of known length rather than one of any.
    match ip.version {
        Version::V4 => *addresses.first_chunk_mut::<8>()? = *from.first_chunk()?,
        Version::V6 => addresses = *from.first_chunk()?,
    }
    Some(Key { link: 0, version: ip.version, protocol: ip.protocol, ports: [0; 4], addresses })
}

impl Candidate {
    fn read(packet: &[u8], ip: &IpHeader, transport: Transport, key: Key) -> Option<Self> {
        let data = packet.get(ip.header_len..)?;
        let header_len = transport.header_len(data)?;
        let payload_len = data.len() - header_len;
        let (sequence, push) = match transport {
            Transport::Tcp => {
                let flags = u16_at(data, TCP_FLAGS)? & flag::ALL;
                if flags & !flag::PSH != flag::ACK {
                    return None;
                }
                (u32_at(data, TCP_SEQUENCE)?, flags & flag::PSH != 0)
            }
            Transport::Udp => {
                let whole = usize::from(u16_at(data, UDP_LENGTH)?) == data.len();
                // No checksum (RFC 768) is not the same as one computed by the offload.
                let summed = u16_at(data, transport.checksum_offset())? != 0;
                (whole && summed).then_some((0, false))?
            }
        };
        let (id, dont_fragment) = match ip.version {
            Version::V4 => (u16_at(packet, 4)?, u16_at(packet, 6)? & DONT_FRAGMENT != 0),
            Version::V6 => (0, true),
        };
        (payload_len > 0).then_some(Self {
            key,
            transport,
            ip_len: ip.header_len,
            header_len: ip.header_len + header_len,
            payload_len,
            sequence,
            push,
            id,
            dont_fragment,
        })
    }

    /// The TCP sequence number of the packet that continues this one; 0 in UDP.
    pub(crate) fn next_sequence(&self) -> u32 {
        match self.transport {
            // At most 65,535 bytes.
            Transport::Tcp => self.sequence.wrapping_add(self.payload_len as u32),
            Transport::Udp => 0,
        }
    }

    /// Whether the checksums of `packet` are right. What is joined gets new ones, which must not
    /// make a corrupt packet look sound.
    pub(crate) fn verify(&self, packet: &[u8]) -> bool {
        let Some((ip, data)) = packet.split_at_checked(self.ip_len) else {
            return false;
        };
        let addresses = match self.key.version {
            Version::V4 if Sum::of(ip).fold() != 0xffff => return false,
            Version::V4 => self.key.addresses.get(..8),
            Version::V6 => Some(self.key.addresses.as_slice()),
        };
        let pseudo = Sum::pseudo(addresses.unwrap_or_default(), self.transport.protocol(), data.len() as u32);
        (pseudo + Sum::of(data)).fold() == 0xffff
    }

    /// Whether `first`, as many bytes of another packet of this flow, are the same header, but for
    /// what [`Flow::accepts`](crate::flow::Flow::accepts) compares and what is written anew.
    pub(crate) fn same_header(&self, first: &[u8], packet: &[u8]) -> bool {
        let same = |range: Range<usize>| match (first.get(range.clone()), packet.get(range)) {
            (Some(first), Some(second)) => first == second,
            _ => false,
        };
        let ip = match self.key.version {
            // Header length and TOS; DF, TTL.
            Version::V4 => same(0..2) && same(6..9),
            // Traffic class and flow label; hop limit.
            Version::V6 => same(0..4) && same(7..8),
        };
        let tcp = |range: Range<usize>| same(self.ip_len + range.start..self.ip_len + range.end);
        ip && match self.transport {
            // Acknowledgement and data offset; window; urgent pointer and options.
            Transport::Tcp => tcp(8..13) && tcp(14..16) && tcp(18..self.header_len - self.ip_len),
            Transport::Udp => true,
        }
    }
}
