//! Joining undoes cutting, for one flow and for many at once.

use core::ops::Range;

use adit_packet::{Coalescer, Limits, Refused, VirtioNetHdr, segment, virtio};
use proptest::prelude::*;
use proptest::sample::Index;

use crate::model::{ACK, Checksum, Family, PSH, Packet, Tcp, joinable_super};

/// What one item looks like to the one who writes it.
pub(crate) struct Written {
    pub(crate) hdr: VirtioNetHdr,
    pub(crate) bytes: Vec<u8>,
    pub(crate) packets: usize,
}

pub(crate) type Push = fn(&mut Coalescer, &[u8], Range<usize>) -> Result<(), Refused>;

/// Pushes packets that lie in an arena with gaps between them; returns what would be written.
pub(crate) fn coalesce(packets: &[Vec<u8>], limits: Limits) -> Vec<Written> {
    coalesce_by(Coalescer::push, packets, limits)
}

/// The same by one of the ways to push.
pub(crate) fn coalesce_by(push: Push, packets: &[Vec<u8>], limits: Limits) -> Vec<Written> {
    let mut arena = vec![0x5a; 7];
    let mut places = Vec::new();
    for packet in packets {
        places.push(arena.len()..arena.len() + packet.len());
        arena.extend(packet);
        arena.extend([0xa5; 21]);
    }
    let mut coalescer = Coalescer::new(Limits { capacity: packets.len(), ..limits });
    for at in places {
        push(&mut coalescer, &arena, at).unwrap();
    }
    assert_eq!(coalescer.len(), packets.len());
    coalescer.finish(&mut arena);
    coalescer
        .items()
        .map(|(hdr, pieces)| Written {
            hdr,
            packets: pieces.len(),
            bytes: pieces.flat_map(|at| arena[at].to_vec()).collect(),
        })
        .collect()
}

/// The packets that the kernel makes of what was written, one list for each item.
fn cut_again(written: &[Written]) -> Vec<Vec<Vec<u8>>> {
    let cut = |item: &Written| {
        let mut buf = item.bytes.clone();
        buf.resize(200_000, 0);
        let segments = segment(&mut buf, item.bytes.len(), &item.hdr, |size| size).unwrap();
        segments.iter().map(|(at, len)| buf[at..at + len].to_vec()).collect()
    };
    written.iter().map(cut).collect()
}

/// Something a flow does next.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// Consecutive packets of a full size, the last one perhaps shorter and pushed.
    Burst { size: u16, len: usize, push: bool },
    /// A packet that is not the next one, or not like the last one.
    Odd(Oddity),
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Oddity {
    Ack,
    Finish,
    Congested,
    AccurateEcn,
    Jump,
    Window,
    Options,
    Ttl,
    Tos,
    Label,
    Id,
    Fragment,
    IpOptions,
    CorruptData,
    CorruptHeader,
    NoChecksum,
    Padded,
}

const ODDITIES: [Oddity; 17] = [
    Oddity::Ack,
    Oddity::Finish,
    Oddity::Congested,
    Oddity::AccurateEcn,
    Oddity::Jump,
    Oddity::Window,
    Oddity::Options,
    Oddity::Ttl,
    Oddity::Tos,
    Oddity::Label,
    Oddity::Id,
    Oddity::Fragment,
    Oddity::IpOptions,
    Oddity::CorruptData,
    Oddity::CorruptHeader,
    Oddity::NoChecksum,
    Oddity::Padded,
];

pub(crate) fn any_event() -> impl Strategy<Value = Event> {
    // Few sizes and often no short last packet, so that bursts can continue one another.
    let size = proptest::sample::select(&[100_u16, 200, 201][..]);
    let burst = (size, 1_usize..12, prop_oneof![Just(0), 1_usize..100], any::<bool>()).prop_map(
        |(size, count, tail, push)| Event::Burst { size, len: usize::from(size) * count + tail, push },
    );
    prop_oneof![
        2 => burst,
        1 => proptest::sample::select(&ODDITIES[..]).prop_map(Event::Odd),
    ]
}

/// All packets of a flow in order.
pub(crate) fn play(mut flow: Packet, events: &[Event]) -> Vec<Vec<u8>> {
    let mut packets = Vec::new();
    for event in events {
        match event {
            Event::Burst { size, len, push } => {
                flow.payload = (0..*len).map(|i| i as u8).collect();
                if let Some(tcp) = flow.tcp() {
                    tcp.flags = if *push { ACK | PSH } else { ACK };
                }
                let cut = flow.cut(*size);
                packets.extend(cut.iter().map(|packet| packet.bytes(Checksum::Whole)));
                flow.advance(cut.len());
            }
            Event::Odd(oddity) => packets.push(odd(&mut flow, *oddity)),
        }
    }
    packets
}

fn set(packet: &mut Packet, change: impl Fn(&mut Tcp)) {
    packet.tcp().into_iter().for_each(change);
}

/// An odd packet of `flow`; some change the flow for good.
fn odd(flow: &mut Packet, oddity: Oddity) -> Vec<u8> {
    flow.payload = vec![oddity as u8; 100];
    let mut once = flow.clone();
    match oddity {
        Oddity::Ack => once.payload.clear(),
        Oddity::Finish => set(&mut once, |tcp| tcp.flags = ACK | 0x01),
        Oddity::Congested => set(&mut once, |tcp| tcp.flags = ACK | 0x80),
        Oddity::AccurateEcn => set(&mut once, |tcp| tcp.flags = ACK | 0x100),
        Oddity::Jump => set(flow, |tcp| tcp.sequence ^= 0x8000),
        Oddity::Window => set(flow, |tcp| tcp.window ^= 1),
        Oddity::Options => set(flow, |tcp| tcp.options.iter_mut().for_each(|o| *o ^= 1)),
        Oddity::Ttl => flow.ttl ^= 1,
        Oddity::Tos => flow.tos ^= 1,
        Oddity::Label => flow.label ^= 1,
        Oddity::Id => flow.id = flow.id.wrapping_add(7),
        Oddity::Fragment => once.fragment |= 0x2000,
        Oddity::IpOptions => once.options = 1,
        Oddity::CorruptData | Oddity::CorruptHeader | Oddity::NoChecksum | Oddity::Padded => {}
    }
    let mut bytes = once.bytes(Checksum::Whole);
    let last = bytes.len() - 1;
    if matches!(oddity, Oddity::CorruptData) {
        bytes[last] ^= 0x40;
    }
    if matches!(oddity, Oddity::CorruptHeader) && flow.family == Family::V4 {
        bytes[10] ^= 0x40;
    }
    if matches!(oddity, Oddity::NoChecksum) && flow.is_udp() {
        let at = flow.ip_len() + 6;
        bytes[at..at + 2].fill(0);
    }
    if matches!(oddity, Oddity::Padded) {
        bytes.extend([0; 9]);
    }
    bytes
}

/// Without what joining is free to change in a packet that may not be fragmented.
pub(crate) fn without_id(packet: &[u8]) -> Vec<u8> {
    let mut packet = packet.to_vec();
    if packet[0] >> 4 == 4 && packet[6] & 0x40 != 0 {
        packet[4..6].fill(0);
        packet[10..12].fill(0);
    }
    packet
}

proptest! {
    #[test]
    fn joining_undoes_cutting((packet, gso_size) in joinable_super()) {
        let cut = packet.cut(gso_size);
        let bytes: Vec<_> = cut.iter().map(|packet| packet.bytes(Checksum::Whole)).collect();
        let written = coalesce(&bytes, Limits::default());
        prop_assert_eq!(written.len(), 1);
        prop_assert_eq!(written[0].packets, cut.len());
        if cut.len() == 1 {
            prop_assert_eq!(written[0].hdr, VirtioNetHdr::default());
            prop_assert_eq!(&written[0].bytes, &bytes[0]);
        } else {
            prop_assert_eq!(written[0].hdr, packet.virtio(gso_size));
            prop_assert_eq!(&written[0].bytes, &packet.bytes(Checksum::Partial));
        }
    }

    #[test]
    fn mixed_flows_keep_every_packet_and_its_order(
        flows in proptest::collection::vec(
            (joinable_super(), proptest::collection::vec(any_event(), 1..8)), 1..6),
        same_hosts: bool,
        mut picks in proptest::collection::vec(any::<Index>(), 0..200),
    ) {
        // A flow's source port tells which one it is.
        let (host, _) = flows[0].0.clone();
        let sent: Vec<Vec<Vec<u8>>> = flows
            .into_iter()
            .enumerate()
            .map(|(i, ((mut packet, _), events))| {
                packet.ports[0] = i as u16;
                if same_hosts {
                    packet.source = host.source;
                    packet.destination = host.destination;
                }
                play(packet, &events)
            })
            .collect();

        let mut queues: Vec<_> = sent.iter().map(|packets| packets.iter()).collect();
        let mut mixed: Vec<Vec<u8>> = Vec::new();
        while queues.iter().any(|queue| queue.len() > 0) {
            let at = picks.pop().map_or(0, |pick| pick.index(queues.len()));
            match queues[at].next() {
                Some(packet) => mixed.push(packet.clone()),
                None => drop(queues.remove(at)),
            }
        }

        let written = coalesce(&mixed, Limits::default());
        let mut received: Vec<Vec<(Vec<u8>, bool)>> = vec![Vec::new(); sent.len()];
        for (item, packets) in written.iter().zip(cut_again(&written)) {
            prop_assert_eq!(packets.len(), item.packets);
            for packet in packets {
                let ip_len = match packet[0] >> 4 {
                    4 => usize::from(packet[0] & 15) * 4,
                    _ if packet[6] == 0 => 48,
                    _ => 40,
                };
                received[usize::from(packet[ip_len + 1])].push((packet, item.packets > 1));
            }
        }
        for (sent, received) in sent.iter().zip(received) {
            prop_assert_eq!(sent.len(), received.len());
            for (sent, (received, joined)) in sent.iter().zip(&received) {
                if *joined {
                    prop_assert_eq!(without_id(sent), without_id(received));
                } else {
                    prop_assert_eq!(sent, received);
                }
            }
        }
    }

    #[test]
    fn interleaved_bulk_flows_come_out_as_one_item_each(
        flows in proptest::collection::vec(joinable_super(), 1..16),
    ) {
        let mut expected = Vec::new();
        let mut queues = Vec::new();
        for (i, (mut packet, _)) in flows.into_iter().enumerate() {
            packet.ports[0] = i as u16;
            packet.payload.truncate(5000);
            let cut = packet.cut(100);
            queues.push(cut.iter().map(|p| p.bytes(Checksum::Whole)).collect::<Vec<_>>().into_iter());
            expected.push(cut.len());
        }
        let mut mixed = Vec::new();
        loop {
            let round: Vec<_> = queues.iter_mut().filter_map(Iterator::next).collect();
            if round.is_empty() {
                break;
            }
            mixed.extend(round);
        }
        let counts: Vec<_> = coalesce(&mixed, Limits::default()).iter().map(|i| i.packets).collect();
        prop_assert_eq!(counts, expected);
    }

    #[test]
    fn no_item_exceeds_the_limits(
        (packet, gso_size) in joinable_super(),
        max_len in 100_usize..70_000,
        max_segments in 0_usize..70,
        copies in 1_usize..3,
    ) {
        let limits = Limits { max_len, max_segments, ..Limits::default() };
        let mut flow = packet;
        let mut packets = Vec::new();
        for _ in 0..copies {
            let cut = flow.cut(gso_size);
            packets.extend(cut.iter().map(|packet| packet.bytes(Checksum::Whole)));
            flow.advance(cut.len());
        }
        for item in coalesce(&packets, limits) {
            prop_assert!(item.packets == 1 || item.bytes.len() <= max_len.min(65_535));
            prop_assert!(item.packets <= max_segments.max(1));
            prop_assert!(item.hdr.gso_type != virtio::GSO_UDP_L4 || item.packets <= 64);
            prop_assert_eq!(item.packets > 1, item.hdr != VirtioNetHdr::default());
        }
    }
}
