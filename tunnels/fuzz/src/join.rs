//! Joining packets, and what must come out when they are cut again.

use std::ops::Range;

use adit_packet::{Coalescer, Limits, Refused, VirtioNetHdr, segment, segment_frame, virtio};

use crate::{Input, frame, packet};

/// What may be joined where nothing else is said.
pub(crate) const LIMITS: Limits =
    Limits { tcp: true, udp: true, max_len: 65_535, max_segments: 128, capacity: 2_048 };

type Push = fn(&mut Coalescer, &[u8], Range<usize>) -> Result<(), Refused>;

/// What the packets of a TUN device and the frames of a TAP device do not have in common.
#[derive(Clone, Copy)]
pub(crate) struct Kind {
    any: fn(&mut Input<'_>) -> Vec<u8>,
    follow: fn(&[u8], usize, &mut Input<'_>) -> Vec<u8>,
    /// Where the IP header lies.
    start: fn(&[u8]) -> usize,
    push: Push,
    /// The segments of what is as long as the number says.
    cut: fn(&mut [u8], usize, &VirtioNetHdr) -> Vec<Range<usize>>,
    flow: fn(&[u8]) -> Vec<u8>,
    meaning: fn(&[u8]) -> Vec<u8>,
    /// Bytes that a super-packet may have ahead of its IP header.
    ahead: usize,
}

/// Packets of a TUN device.
pub(crate) const PACKETS: Kind = Kind {
    any: packet::any,
    follow: |before, len, _| packet::follow(before, len),
    start: |_| 0,
    push: Coalescer::push,
    cut: |buffer, len, header| ranges(segment(buffer, len, header, |size| size)),
    flow,
    meaning: packet::meaning,
    ahead: 0,
};

/// Frames of a TAP device.
pub(crate) const FRAMES: Kind = Kind {
    any: |input| {
        let link = frame::link(input);
        let packet = packet::any(input);
        let mut frame = frame::around(&link, &packet, input);
        frame::pad(&mut frame, input);
        frame
    },
    follow: frame::follow,
    start: |bytes| frame::place(bytes).expect("only IP packets are joined").start,
    push: Coalescer::push_frame,
    cut: |buffer, len, header| ranges(segment_frame(buffer, len, header, |size| size)),
    flow: |bytes| {
        frame::place(bytes).map_or(vec![0], |at| {
            let mut flow = flow(&bytes[at.clone()]);
            flow.insert(0, at.start as u8);
            flow
        })
    },
    meaning: |bytes| {
        frame::place(bytes).map_or(bytes.to_vec(), |at| {
            [&bytes[..at.start], &packet::meaning(&bytes[at.clone()]), frame::trailer(bytes, &at)].concat()
        })
    },
    ahead: 22,
};

fn ranges(segments: Result<adit_packet::Segments, adit_packet::Error>) -> Vec<Range<usize>> {
    segments.expect("what is joined can be cut").iter().map(|(at, len)| at..at + len).collect()
}

/// Packets of a few flows, ranges that are none, and a coalescer with any limits.
pub fn packet_coalesce(data: &[u8]) {
    coalesce(data, &PACKETS);
}

/// The same of frames.
pub fn packet_coalesce_frames(data: &[u8]) {
    coalesce(data, &FRAMES);
}

fn coalesce(data: &[u8], kind: &Kind) {
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
            (0, _) | (_, None) => (kind.any)(&mut input),
            (1, Some(before)) => arena[before].to_vec(),
            (_, Some(before)) => {
                let len = usize::from(input.byte()) * 8;
                (kind.follow)(&arena[before], len, &mut input)
            }
        };
        arena.extend(std::iter::repeat_n(0xee, input.below(4)));
        ranges.push(arena.len()..arena.len() + bytes.len());
        arena.extend(bytes);
    }
    rejoin(arena.clone(), &ranges, limits, kind);
    if flags & 32 != 0 {
        wild(arena, &ranges, limits, &mut input, kind);
    }
}

/// Joins the packets at `ranges`, which do not overlap, and cuts what comes out: the receiver gets the same packets, and
/// those of a flow in the same order.
pub(crate) fn rejoin(mut arena: Vec<u8>, ranges: &[Range<usize>], limits: Limits, kind: &Kind) {
    let mut coalescer = Coalescer::new(limits);
    let mut packets = Vec::new();
    for range in ranges {
        match (kind.push)(&mut coalescer, &arena, range.clone()) {
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
        if pieces.len() == 1 {
            let mut alone = pieces.clone();
            assert!(alone.all(|piece| ranges.contains(&piece)), "whole, padding and all");
        }
        let bytes: Vec<u8> = pieces.flat_map(|piece| arena[piece].to_vec()).collect();
        cut.extend(kind.unjoin(&header, &bytes, limits));
    }
    kind.same(&packets, &cut);
    coalescer.clear();
    assert!(coalescer.is_empty() && coalescer.items().next().is_none());
}

impl Kind {
    /// The packets of one write, as the kernel cuts it.
    pub(crate) fn unjoin(&self, header: &VirtioNetHdr, bytes: &[u8], limits: Limits) -> Vec<Vec<u8>> {
        if header.gso_type == virtio::GSO_NONE {
            assert_eq!(*header, VirtioNetHdr::default());
            return vec![bytes.to_vec()];
        }
        assert!(bytes.len() <= limits.max_len + self.ahead);
        let start = (self.start)(bytes);
        let headers = packet::header_len(&bytes[start..]).expect("only TCP and UDP are joined");
        let ip_len = adit_packet::IpHeader::parse(&bytes[start..]).map(|ip| ip.header_len);
        assert_eq!(usize::from(header.hdr_len), start + headers);
        assert_eq!(ip_len, usize::from(header.csum_start).checked_sub(start));
        assert!(if header.gso() == virtio::GSO_UDP_L4 { limits.udp } else { limits.tcp });
        let mut buffer = bytes.to_vec();
        // Twice the payload, and a header for each packet.
        buffer.resize(bytes.len() * 2 + 256 * 128, 0);
        let segments = (self.cut)(&mut buffer, bytes.len(), header);
        segments.into_iter().map(|at| buffer[at].to_vec()).collect()
    }

    /// Both are the same packets for whoever receives them, and the packets of a flow follow one another in the same
    /// order.
    pub(crate) fn same(&self, sent: &[Vec<u8>], received: &[Vec<u8>]) {
        let meaning = |packets: &[Vec<u8>]| {
            let mut packets: Vec<_> =
                packets.iter().map(|packet| ((self.flow)(packet), (self.meaning)(packet))).collect();
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
fn wild(mut arena: Vec<u8>, ranges: &[Range<usize>], limits: Limits, input: &mut Input<'_>, kind: &Kind) {
    let mut coalescer = Coalescer::new(limits);
    let mut pushed = Vec::new();
    let strange = (0..input.below(8)).map(|_| usize::from(input.word())..usize::from(input.word()));
    for range in ranges.iter().cloned().chain(strange.collect::<Vec<_>>()).chain(ranges.iter().cloned()) {
        let inside = range.start <= range.end && range.end <= arena.len();
        match (kind.push)(&mut coalescer, &arena, range.clone()) {
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
        let ends = |end| piece.end == end || (kind.ahead > 0 && piece.end <= end);
        assert!(pushed.iter().any(|range| range.start <= piece.start && ends(range.end)));
    }
    assert_eq!(count, pushed.len(), "each packet is written once");
}
