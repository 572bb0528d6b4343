//! A TCP super-packet, for the benchmarks that cut one into segments and join them again.

use adit_packet::{Sum, VirtioNetHdr, virtio};

/// Bytes of the headers: IPv4, TCP with time stamps.
pub(crate) const HEADERS: usize = 20 + 32;
/// Bytes of TCP payload that an MTU of 1420 leaves.
const SEGMENT: usize = 1420 - HEADERS;
/// Segments of the super-packet: as many as an IPv4 packet holds.
pub(crate) const COUNT: usize = (65_535 - HEADERS) / SEGMENT;
/// Bytes of all of it.
pub(crate) const LEN: usize = HEADERS + COUNT * SEGMENT;
/// Bytes between segments, for the header and the tag of a tunnel.
pub(crate) const GAP: usize = 48;
/// Room for the cut segments.
const ROOM: usize = COUNT * (HEADERS + SEGMENT + GAP);

/// A super-packet as the kernel hands it over, its checksum partial, with room behind it.
pub(crate) fn super_packet() -> (Vec<u8>, VirtioNetHdr) {
    let mut packet: Vec<u8> = (0..LEN).map(|at| (at * 7) as u8).collect();
    packet[..4].copy_from_slice(&[0x45, 0, (LEN >> 8) as u8, LEN as u8]);
    // Identification; "don't fragment"; TTL; TCP; checksum to come.
    packet[4..12].copy_from_slice(&[0, 1, 0x40, 0, 64, 6, 0, 0]);
    packet[12..20].copy_from_slice(&[10, 9, 0, 1, 10, 9, 0, 2]);
    let checksum = Sum::of(&packet[..20]).checksum();
    packet[10..12].copy_from_slice(&checksum.to_be_bytes());
    // Data offset of 8 words, ACK.
    packet[32..34].copy_from_slice(&[0x80, 0x10]);
    let partial = Sum::pseudo(&packet[12..20], 6, (LEN - 20) as u32).fold();
    packet[36..38].copy_from_slice(&partial.to_be_bytes());
    packet.resize(ROOM, 0);
    let header = VirtioNetHdr {
        flags: virtio::NEEDS_CSUM,
        gso_type: virtio::GSO_TCPV4,
        hdr_len: HEADERS as u16,
        gso_size: SEGMENT as u16,
        csum_start: 20,
        csum_offset: 16,
    };
    (packet, header)
}
