//! Joining packets, and what must come out when they are cut again.

use std::ops::Range;

use adit_packet::{Coalescer, Limits, Refused, VirtioNetHdr, segment, virtio};

use crate::{Input, packet};

/// What may be joined where nothing else is said.
pub(crate) const LIMITS: Limits =
    Limits { tcp: true, udp: true, max_len: 65_535, max_segments: 128, capacity: 2_048 };

/// Packets of a few flows, ranges that are none, and a coalescer with any limits.
pub fn packet_coalesce(data: &[u8]) {
    let mut input = Input::new(data);
    let flags = input.byte();
    let limits = Limits {
        tcp: flags & 1 == 0,
        udp: flags & 2 == 0,
        max_len: if flags & 4 == 0 { 65_535 } else { input.word().into() },
        max_segments: if flags & 8 == 0 { 128 } else { input.byte().into() },
        capacity: if flags & 16 == 0 { 256 } else { input.byte().into() },
    };
    let (mut arena, mut ranges) = (Vec::new(), Vec::<Range<usize>>::new());
    for _ in 0..64 {
        let before = ranges.get(ranges.len().wrapping_sub(1 + input.below(3))).cloned();
        let bytes = match (input.byte() % 4, before) {
            _ if input.is_empty() || arena.len() > 1 << 17 => break,
            (0, _) | (_, None) => packet::any(&mut input),
            (1, Some(before)) => arena[before].to_vec(),
            (_, Some(before)) => packet::follow(&arena[before], usize::from(input.byte()) * 8),
        };
        arena.extend(std::iter::repeat_n(0xee, input.below(4)));
        ranges.push(arena.len()..arena.len() + bytes.len());
        arena.extend(bytes);
    }
    rejoin(arena.clone(), &ranges, limits);
    if flags & 32 != 0 {
        wild(arena, &ranges, limits, &mut input);
    }
}

/// Joins the packets at `ranges`, which do not overlap, and cuts what comes out: the receiver gets the same packets, and
/// those of a flow in the same order.
pub(crate) fn rejoin(mut arena: Vec<u8>, ranges: &[Range<usize>], limits: Limits) {
    let mut coalescer = Coalescer::new(limits);
    let mut packets = Vec::new();
    for range in ranges {
        match coalescer.push(&arena, range.clone()) {
            Ok(()) => packets.push(arena[range.clone()].to_vec()),
            Err(refused) => {
                assert_eq!(refused, Refused::Full);
                assert_eq!(coalescer.len(), limits.capacity);
            }
        }
    }
    assert_eq!(coalescer.len(), packets.len());
    coalescer.finish(&mut arena);
    let mut cut = Vec::new();
    for (header, pieces) in coalescer.items() {
        assert!(pieces.len() <= limits.max_segments.max(1));
        assert!(header.gso() != virtio::GSO_UDP_L4 || pieces.len() <= 64, "more than the kernel takes");
        let bytes: Vec<u8> = pieces.flat_map(|piece| arena[piece].to_vec()).collect();
        cut.extend(unjoin(&header, &bytes, limits));
    }
    same(&packets, &cut);
    coalescer.clear();
    assert!(coalescer.is_empty() && coalescer.items().next().is_none());
}

/// The packets of one write, as the kernel cuts it.
pub(crate) fn unjoin(header: &VirtioNetHdr, bytes: &[u8], limits: Limits) -> Vec<Vec<u8>> {
    if header.gso_type == virtio::GSO_NONE {
        assert_eq!(*header, VirtioNetHdr::default());
        return vec![bytes.to_vec()];
    }
    assert!(bytes.len() <= limits.max_len);
    assert!(if header.gso() == virtio::GSO_UDP_L4 { limits.udp } else { limits.tcp });
    let mut buffer = bytes.to_vec();
    // Twice the payload, and a header for each packet.
    buffer.resize(bytes.len() * 2 + 256 * 128, 0);
    let segments = segment(&mut buffer, bytes.len(), header, |size| size);
    let segments = segments.expect("what is joined can be cut");
    segments.iter().map(|(at, len)| buffer[at..at + len].to_vec()).collect()
}

/// Both are the same packets for whoever receives them, and the packets of a flow follow one another in the same order.
pub(crate) fn same(sent: &[Vec<u8>], received: &[Vec<u8>]) {
    let meaning = |packets: &[Vec<u8>]| {
        let mut packets: Vec<_> =
            packets.iter().map(|packet| (flow(packet), packet::meaning(packet))).collect();
        // Stable: within a flow the order stays.
        packets.sort_by(|(one, _), (other, _)| one.cmp(other));
        packets
    };
    let (sent, received) = (meaning(sent), meaning(received));
    assert_eq!(sent.len(), received.len());
    for ((_, sent), (_, received)) in sent.iter().zip(&received) {
        assert!(sent == received, "sent {sent:02x?}\nreceived {received:02x?}");
    }
}

/// What must not be reordered: the addresses of a packet; of what is not IP, nothing is known.
fn flow(packet: &[u8]) -> Vec<u8> {
    let header = adit_packet::IpHeader::parse(packet);
    let Some(header) = header.filter(|header| !header.fragment) else { return Vec::new() };
    let ports = match header.protocol {
        6 | 17 => packet.get(header.header_len..header.header_len + 4).unwrap_or_default(),
        _ => &[],
    };
    [adit_packet::ip::addresses(packet).unwrap_or_default(), &[header.protocol], ports].concat()
}

/// Ranges that overlap, are reversed or lie outside, and an arena that is another one at the end: all in bounds.
fn wild(mut arena: Vec<u8>, ranges: &[Range<usize>], limits: Limits, input: &mut Input<'_>) {
    let mut coalescer = Coalescer::new(limits);
    let mut pushed = Vec::new();
    let strange = (0..input.below(8)).map(|_| usize::from(input.word())..usize::from(input.word()));
    for range in ranges.iter().cloned().chain(strange.collect::<Vec<_>>()).chain(ranges.iter().cloned()) {
        let inside = range.start <= range.end && range.end <= arena.len();
        match coalescer.push(&arena, range.clone()) {
            Ok(()) => {
                assert!(inside);
                pushed.push(range);
            }
            Err(Refused::Full) => assert_eq!(coalescer.len(), limits.capacity),
            Err(_) => assert!(!inside),
        }
    }
    if input.flag() {
        arena.truncate(arena.len() / 2);
    }
    coalescer.finish(&mut arena);
    let mut count = 0;
    for piece in coalescer.items().flat_map(|(_, pieces)| pieces) {
        count += 1;
        assert!(piece.start <= piece.end);
        assert!(pushed.iter().any(|range| range.start <= piece.start && range.end == piece.end));
    }
    assert_eq!(count, pushed.len(), "each packet is written once");
}
