//! IP packets whose lengths and checksums are right, however the bytes came about.

use adit_packet::{IpHeader, Sum, VirtioNetHdr, ip, virtio};

use crate::Input;

/// Bytes that may be a packet. Mostly the lengths and checksums in them are made true, since bytes from a fuzzer would
/// hardly ever get past them.
pub(crate) fn any(input: &mut Input<'_>) -> Vec<u8> {
    let shape = input.byte();
    let mut packet = match shape & 3 {
        0 => {
            let len = input.byte().into();
            input.bytes(len).to_vec()
        }
        1 => {
            let len = input.word().into();
            input.bytes(len).to_vec()
        }
        _ => {
            let headers = input.byte().into();
            let mut packet = input.bytes(headers).to_vec();
            let len = usize::from(input.word());
            let fill = input.byte();
            packet.extend((packet.len()..len).map(|at| fill.wrapping_mul(at as u8)));
            packet
        }
    };
    if shape & 4 == 0 {
        mend(&mut packet);
    }
    packet
}

/// The packet that follows `before` in its flow, with a payload of `len` bytes.
pub(crate) fn follow(before: &[u8], len: usize) -> Vec<u8> {
    let mut packet = before.to_vec();
    let Some((header_len, transport)) = layout(before) else { return packet };
    let payload = before.len() - header_len;
    packet.resize((header_len + len).min(65_535), 0x5a);
    if packet[0] >> 4 == 4 {
        add(&mut packet[4..6], 1);
    }
    if let Some(sequence) = sequence(before) {
        let at = transport.0 + 4;
        packet[at..at + 4].copy_from_slice(&sequence.wrapping_add(payload as u32).to_be_bytes());
    }
    mend(&mut packet);
    packet
}

const TCP: u8 = 6;
const UDP: u8 = 17;

/// Bytes of all headers of a TCP or UDP packet.
pub(crate) fn header_len(packet: &[u8]) -> Option<usize> {
    layout(packet).map(|(len, _)| len)
}

/// The TCP sequence number.
pub(crate) fn sequence(packet: &[u8]) -> Option<u32> {
    let (_, (at, protocol)) = layout(packet)?;
    let field = packet.get(at + 4..)?.first_chunk()?;
    (protocol == TCP).then_some(u32::from_be_bytes(*field))
}

/// Bytes of all headers; where the transport begins, and which one it is.
fn layout(packet: &[u8]) -> Option<(usize, (usize, u8))> {
    let header = IpHeader::parse(packet)?;
    let data = packet.get(header.header_len..)?;
    let len = match header.protocol {
        TCP => usize::from(data.get(12)? >> 4) * 4,
        UDP => 8,
        _ => return None,
    };
    let least = if header.protocol == TCP { 20 } else { 8 };
    (len >= least && data.len() >= len && !header.fragment)
        .then_some((header.header_len + len, (header.header_len, header.protocol)))
}

/// Makes lengths and checksums true, as far as there are any.
pub(crate) fn mend(packet: &mut [u8]) {
    let len = packet.len();
    match packet.first().map(|first| first >> 4) {
        Some(4) if len >= 20 => {
            put(packet, 2, len as u16);
            let header_len = usize::from(packet[0] & 15) * 4;
            if (20..=len).contains(&header_len) {
                put(packet, 10, 0);
                let checksum = Sum::of(&packet[..header_len]).checksum();
                put(packet, 10, checksum);
            }
        }
        Some(6) if len >= 40 => put(packet, 4, (len - 40) as u16),
        _ => return,
    }
    let Some((_, (at, protocol))) = layout(packet) else { return };
    let field = at + if protocol == TCP { 16 } else { 6 };
    if protocol == UDP {
        put(packet, at + 4, (len - at) as u16);
    }
    put(packet, field, 0);
    let pseudo = Sum::pseudo(ip::addresses(packet).unwrap_or_default(), protocol, (len - at) as u32);
    let sum = pseudo + Sum::of(&packet[at..]);
    put(packet, field, if protocol == UDP { sum.udp_checksum() } else { sum.checksum() });
}

/// A virtio header; mostly the one that the kernel would give with this packet as a super-packet.
pub(crate) fn header(packet: &[u8], input: &mut Input<'_>) -> VirtioNetHdr {
    let wild = VirtioNetHdr {
        flags: input.byte(),
        gso_type: input.byte(),
        hdr_len: 0,
        gso_size: input.word(),
        csum_start: input.byte().into(),
        csum_offset: input.byte().into(),
    };
    match (input.byte() % 4, layout(packet)) {
        (0, _) | (_, None) => wild,
        (1, _) => VirtioNetHdr::default(),
        (_, Some((header_len, (at, protocol)))) => VirtioNetHdr {
            flags: virtio::NEEDS_CSUM,
            gso_type: match (protocol, packet[0] >> 4) {
                (TCP, 4) => virtio::GSO_TCPV4,
                (TCP, _) => virtio::GSO_TCPV6,
                _ => virtio::GSO_UDP_L4,
            },
            hdr_len: header_len as u16,
            gso_size: wild.gso_size,
            csum_start: at as u16,
            csum_offset: if protocol == TCP { 16 } else { 6 },
        },
    }
}

/// The packet as its receiver understands it, for comparison: checksums have two zeros (RFC 1624, section 3), and the
/// IPv4 identification of what may not be fragmented means nothing (RFC 6864, section 4.1).
pub(crate) fn meaning(packet: &[u8]) -> Vec<u8> {
    let mut packet = packet.to_vec();
    let Some((_, (at, protocol))) = layout(&packet) else { return packet };
    if packet[0] >> 4 == 4 {
        if packet[6] & 0x40 != 0 {
            put(&mut packet, 4, 0);
        }
        put(&mut packet, 10, 0);
    }
    let field = at + if protocol == TCP { 16 } else { 6 };
    if packet[field..field + 2] == [0xff; 2] {
        put(&mut packet, field, 0);
    }
    packet
}

/// Whether all checksums are right, as far as there are any.
pub(crate) fn is_sound(packet: &[u8]) -> bool {
    let Some(header) = IpHeader::parse(packet) else { return false };
    let v4 = packet[0] >> 4 == 4;
    if v4 && Sum::of(&packet[..usize::from(packet[0] & 15) * 4]).fold() != 0xffff {
        return false;
    }
    let Some((_, (at, protocol))) = layout(packet) else { return true };
    let data = &packet[at..header.total_len];
    let pseudo = Sum::pseudo(ip::addresses(packet).unwrap_or_default(), protocol, data.len() as u32);
    (pseudo + Sum::of(data)).fold() == 0xffff
}

fn put(packet: &mut [u8], at: usize, value: u16) {
    packet[at..at + 2].copy_from_slice(&value.to_be_bytes());
}

fn add(field: &mut [u8], more: u16) {
    let value = u16::from_be_bytes([field[0], field[1]]).wrapping_add(more);
    field.copy_from_slice(&value.to_be_bytes());
}
