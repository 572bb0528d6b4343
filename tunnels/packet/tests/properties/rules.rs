//! Each rule of joining, broken alone.

use adit_packet::{Coalescer, Limits, Refused, VirtioNetHdr, checksum};

use crate::join::coalesce;
use crate::model::{ACK, CWR, Checksum, FIN, Family, PSH, Packet, Tcp, Transport};

pub(crate) fn tcp(family: Family) -> Packet {
    Packet {
        family,
        source: [1; 16],
        destination: [2; 16],
        tos: 0x02,
        ttl: 64,
        id: 0xfffe,
        fragment: 0,
        label: 77,
        options: 0,
        ports: [443, 50_000],
        transport: Transport::Tcp(Tcp {
            sequence: 0xffff_ff80,
            ack: 9,
            flags: ACK,
            window: 500,
            urgent: 0,
            options: vec![1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2],
        }),
        payload: vec![3; 400],
    }
}

pub(crate) fn udp(family: Family) -> Packet {
    Packet { transport: Transport::Udp, ..tcp(family) }
}

/// How many packets each item has if `change` is applied to the third of five packets.
fn counts(packet: &Packet, change: impl Fn(&mut Packet)) -> Vec<usize> {
    let mut packets = packet.cut(100);
    let mut fifth = packets[3].clone();
    fifth.advance(1);
    packets.push(fifth);
    change(&mut packets[2]);
    written(&packets)
}

fn written(packets: &[Packet]) -> Vec<usize> {
    let bytes: Vec<_> = packets.iter().map(|p| p.bytes(Checksum::Whole)).collect();
    counts_of(&bytes)
}

fn counts_of(packets: &[Vec<u8>]) -> Vec<usize> {
    coalesce(packets, Limits::default()).iter().map(|item| item.packets).collect()
}

/// How many packets each item has if a changed copy of the third of five comes ahead of it.
fn inserted(packet: &Packet, change: impl Fn(&mut Packet)) -> Vec<usize> {
    let mut packets = packet.cut(80);
    let mut stranger = packets[2].clone();
    change(&mut stranger);
    packets.insert(2, stranger);
    written(&packets)
}

fn change_tcp(change: impl Fn(&mut Tcp)) -> impl Fn(&mut Packet) {
    move |packet| packet.tcp().into_iter().for_each(&change)
}

#[test]
fn five_like_packets_are_one_item() {
    for family in [Family::V4, Family::V6] {
        assert_eq!(counts(&tcp(family), |_| ()), [5]);
        assert_eq!(counts(&udp(family), |_| ()), [5]);
    }
}

#[test]
fn a_packet_unlike_the_others_begins_an_item_that_the_others_do_not_join() {
    for family in [Family::V4, Family::V6] {
        for packet in [tcp(family), udp(family)] {
            assert_eq!(counts(&packet, |p| p.tos ^= 1), [2, 1, 2], "ECN");
            assert_eq!(counts(&packet, |p| p.tos ^= 4), [2, 1, 2], "DSCP");
            assert_eq!(counts(&packet, |p| p.ttl ^= 1), [2, 1, 2], "TTL");
        }
        let tcp = tcp(family);
        let count = |change: &dyn Fn(&mut Packet)| counts(&tcp, change);
        assert_eq!(count(&change_tcp(|tcp| tcp.sequence ^= 1 << 20)), [2, 1, 2], "sequence");
        assert_eq!(count(&change_tcp(|tcp| tcp.ack += 1)), [2, 1, 2], "ack");
        assert_eq!(count(&change_tcp(|tcp| tcp.window += 1)), [2, 1, 2], "window");
        assert_eq!(count(&change_tcp(|tcp| tcp.urgent += 1)), [2, 1, 2], "urgent pointer");
        assert_eq!(count(&change_tcp(|tcp| tcp.options[4] ^= 1)), [2, 1, 2], "option");
        assert_eq!(count(&change_tcp(|tcp| tcp.options.extend([1; 4]))), [2, 1, 2], "more options");
    }
    assert_eq!(counts(&tcp(Family::V6), |p| p.label ^= 1), [2, 1, 2], "flow label");
    assert_eq!(counts(&tcp(Family::V4), |p| p.id ^= 8), [2, 1, 2], "identification");
    assert_eq!(counts(&tcp(Family::V4), |p| p.fragment = 0x4000), [2, 1, 2], "DF");
}

#[test]
fn flags_other_than_ack_and_push_keep_a_packet_alone() {
    for flag in [FIN, 0x02, 0x04, 0x20, 0x40, CWR, 0x100, 0x800] {
        for family in [Family::V4, Family::V6] {
            let result = counts(&tcp(family), change_tcp(|tcp| tcp.flags |= flag));
            assert_eq!(result, [2, 1, 2], "{flag:#x}");
        }
    }
    let result = counts(&tcp(Family::V4), change_tcp(|tcp| tcp.flags = 0));
    assert_eq!(result, [2, 1, 2], "no ACK");
    let result = counts(&tcp(Family::V4), change_tcp(|tcp| tcp.flags = PSH));
    assert_eq!(result, [2, 1, 2], "PSH without ACK");
}

#[test]
fn push_and_a_short_packet_end_an_item() {
    for family in [Family::V4, Family::V6] {
        assert_eq!(counts(&tcp(family), change_tcp(|tcp| tcp.flags |= PSH)), [3, 2]);
        let short = |p: &mut Packet| p.payload.truncate(99);
        assert_eq!(counts(&udp(family), short), [3, 2]);
        assert_eq!(counts(&tcp(family), short), [3, 2], "the next sequence number is ahead, too");
        assert_eq!(counts(&udp(family), |p| p.payload.push(0)), [2, 1 + 1, 1], "longer");
        assert_eq!(counts(&udp(family), |p| p.payload.clear()), [2, 1, 2], "empty");
    }
}

#[test]
fn identifications_are_free_where_fragmentation_is_forbidden() {
    for mut packet in [tcp(Family::V4), udp(Family::V4)] {
        packet.fragment = 0x4000;
        assert_eq!(counts(&packet, |p| p.id ^= 0x5555), [5]);
        assert_eq!(counts(&packet, |p| p.fragment = 0), [2, 1, 2]);
    }
}

#[test]
fn a_packet_with_a_wrong_checksum_goes_out_alone_and_untouched() {
    for packet in [tcp(Family::V4), tcp(Family::V6), udp(Family::V4), udp(Family::V6)] {
        for bad in 0..4 {
            let mut offsets = vec![packet.header_len(), packet.ip_len() + 1];
            if packet.family == Family::V4 {
                offsets.push(10);
            }
            for offset in offsets {
                let mut bytes: Vec<_> = packet.cut(100).iter().map(|p| p.bytes(Checksum::Whole)).collect();
                bytes[bad][offset] ^= 1;
                let items = coalesce(&bytes, Limits::default());
                let alone = items.iter().find(|item| item.bytes == bytes[bad]).unwrap();
                assert_eq!(alone.hdr, VirtioNetHdr::default());
                assert_eq!(alone.packets, 1);
            }
        }
    }
}

#[test]
fn udp_without_a_checksum_is_not_joined() {
    for family in [Family::V4, Family::V6] {
        let packet = udp(family);
        let mut bytes: Vec<_> = packet.cut(100).iter().map(|p| p.bytes(Checksum::Whole)).collect();
        for packet in &mut bytes {
            let at = udp(family).ip_len() + 6;
            packet[at..at + 2].fill(0);
        }
        assert_eq!(coalesce(&bytes, Limits::default()).len(), 4);
    }
}

#[test]
fn fragments_are_not_joined_and_not_overtaken_by_any_flow_of_their_hosts() {
    for packet in [tcp(Family::V4), udp(Family::V4)] {
        for fragment in [0x2000, 0x0010] {
            let among = |change: &dyn Fn(&mut Packet)| {
                inserted(&packet, |p| {
                    p.fragment = fragment;
                    change(p);
                })
            };
            assert_eq!(among(&|_| ()), [2, 1, 3]);
            assert_eq!(among(&|p| p.ports = [7, 7]), [2, 1, 3], "the payload of a later one");
            assert_eq!(among(&|p| p.source[0] ^= 1), [5, 1], "of another host");
            let all = Packet { fragment, ..packet.clone() };
            assert_eq!(counts(&all, |_| ()), [1; 5]);
        }
    }
}

#[test]
fn what_cannot_be_joined_is_not_overtaken_by_its_flow() {
    for family in [Family::V4, Family::V6] {
        for packet in [tcp(family), udp(family)] {
            assert_eq!(inserted(&packet, |p| p.payload.clear()), [2, 1, 3], "empty");
            assert_eq!(inserted(&packet, |p| p.options = 1), [2, 1, 3], "options");
            let mut bytes: Vec<_> = packet.cut(80).iter().map(|p| p.bytes(Checksum::Whole)).collect();
            let mut corrupt = bytes[2].clone();
            corrupt[packet.header_len()] ^= 1;
            bytes.insert(2, corrupt);
            assert_eq!(counts_of(&bytes), [2, 1, 3], "corrupt");
        }
    }
}

/// Changes the 16-bit word at `at` of the transport header, and the checksum so that it is right.
fn patch(packet: &Packet, bytes: &mut [u8], at: usize, new: u16) {
    let word = |bytes: &[u8], at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
    let ip_len = packet.ip_len();
    let sum_at = ip_len + if packet.is_udp() { 6 } else { 16 };
    let sum = checksum::update(word(bytes, sum_at), word(bytes, ip_len + at), new);
    bytes[sum_at..sum_at + 2].copy_from_slice(&sum.to_be_bytes());
    bytes[ip_len + at..ip_len + at + 2].copy_from_slice(&new.to_be_bytes());
}

#[test]
fn contradictory_lengths_keep_a_packet_alone_although_its_checksum_is_right() {
    for family in [Family::V4, Family::V6] {
        let packet = udp(family);
        for len in [107, 109, 8, 0] {
            let mut bytes: Vec<_> = packet.cut(100).iter().map(|p| p.bytes(Checksum::Whole)).collect();
            bytes.iter_mut().for_each(|bytes| patch(&packet, bytes, 4, len));
            assert_eq!(counts_of(&bytes), [1; 4], "UDP length {len}");
        }
        // DF, so that identifications do not matter.
        let packet = Packet { payload: vec![3; 100], fragment: 0x4000, ..tcp(family) };
        for words in 0..=8 {
            let mut first = packet.bytes(Checksum::Whole);
            patch(&packet, &mut first, 12, words << 12 | ACK);
            patch(&packet, &mut first, 6, 0x1000);
            // The sequence number that follows if all behind the shortened header is payload.
            let mut second = first.clone();
            patch(&packet, &mut second, 6, 0x1000 + 132 - 4 * words);
            let expected: &[usize] = if words < 5 { &[1, 1] } else { &[2] };
            assert_eq!(counts_of(&[first, second]), expected, "data offset {words}");
        }
    }
    // The IP length leaves out bytes which the checksum covers.
    let mut bytes: Vec<_> = tcp(Family::V6).cut(100).iter().map(|p| p.bytes(Checksum::Whole)).collect();
    bytes.iter_mut().for_each(|bytes| bytes[5] -= 4);
    assert_eq!(counts_of(&bytes), [1; 4]);
}

#[test]
fn a_udp_checksum_of_zero_is_none_even_where_the_sum_is_right() {
    let mut packet = udp(Family::V4);
    packet.payload = vec![0; 100];
    packet.fragment = 0x4000;
    let bytes = packet.bytes(Checksum::Whole);
    packet.payload[..2].copy_from_slice(&bytes[26..28]);
    let mut bytes = packet.bytes(Checksum::Whole);
    assert_eq!(bytes[26..28], [0xff, 0xff]);
    assert_eq!(counts_of(&[bytes.clone(), bytes.clone()]), [2]);
    bytes[26..28].fill(0);
    assert_eq!(counts_of(&[bytes.clone(), bytes]), [1, 1]);
}

#[test]
fn udp_items_have_64_datagrams_at_most() {
    for family in [Family::V4, Family::V6] {
        let packet = Packet { payload: vec![1; 700], ..udp(family) };
        assert_eq!(written(&packet.cut(10)), [64, 6]);
        let packet = Packet { payload: vec![1; 700], ..tcp(family) };
        assert_eq!(written(&packet.cut(10)), [70]);
    }
}

#[test]
fn options_and_extension_headers_keep_a_packet_alone() {
    for packet in [tcp(Family::V4), udp(Family::V4), tcp(Family::V6), udp(Family::V6)] {
        assert_eq!(counts(&packet, |p| p.options = 1), [2, 1, 2]);
        let all = Packet { options: 1, ..packet };
        assert_eq!(counts(&all, |_| ()), [1; 5]);
    }
}

#[test]
fn flows_differ_in_every_part_of_their_address() {
    for family in [Family::V4, Family::V6] {
        for packet in [tcp(family), udp(family)] {
            assert_eq!(inserted(&packet, |p| p.ports[0] ^= 1), [5, 1]);
            assert_eq!(inserted(&packet, |p| p.ports[1] ^= 1), [5, 1]);
            assert_eq!(inserted(&packet, |p| p.source[3] ^= 1), [5, 1]);
            assert_eq!(inserted(&packet, |p| p.destination[0] ^= 1), [5, 1]);
        }
        assert_eq!(inserted(&tcp(family), |p| p.transport = Transport::Udp), [5, 1]);
        assert_eq!(inserted(&udp(family), |p| p.transport = tcp(family).transport), [5, 1]);
    }
}

#[test]
fn what_is_switched_off_is_not_joined() {
    let limits = Limits { tcp: false, ..Limits::default() };
    let bytes = |p: Packet| p.cut(100).iter().map(|p| p.bytes(Checksum::Whole)).collect::<Vec<_>>();
    assert_eq!(coalesce(&bytes(tcp(Family::V4)), limits).len(), 4);
    assert_eq!(coalesce(&bytes(udp(Family::V4)), limits).len(), 1);
    let limits = Limits { udp: false, ..Limits::default() };
    assert_eq!(coalesce(&bytes(tcp(Family::V6)), limits).len(), 1);
    assert_eq!(coalesce(&bytes(udp(Family::V6)), limits).len(), 4);
}

#[test]
fn more_flows_than_the_table_holds_lose_joins_but_no_packets() {
    let mut bytes = Vec::new();
    for round in 0..2 {
        for port in 0..40 {
            let packet = Packet { ports: [port, 1], ..udp(Family::V6) };
            bytes.push(packet.cut(100)[round].bytes(Checksum::Whole));
        }
    }
    let items = coalesce(&bytes, Limits::default());
    assert_eq!(items.iter().map(|item| item.packets).sum::<usize>(), 80);
    assert_eq!(items.len(), 80, "the table is too small for this round trip");
}

#[test]
fn a_full_coalescer_and_a_range_out_of_bounds_are_refused() {
    let limits = Limits { capacity: 2, ..Limits::default() };
    let mut coalescer = Coalescer::new(limits);
    let arena = udp(Family::V4).bytes(Checksum::Whole);
    let whole = 0..arena.len();
    assert_eq!(coalescer.push(&arena, 0..arena.len() + 1), Err(Refused::OutOfBounds));
    #[allow(clippy::reversed_empty_ranges)]
    let reversed = 5..2;
    assert_eq!(coalescer.push(&arena, reversed), Err(Refused::OutOfBounds));
    assert!(coalescer.is_empty());
    assert_eq!(coalescer.push(&arena, whole.clone()), Ok(()));
    assert_eq!(coalescer.push(&arena, whole.clone()), Ok(()));
    assert_eq!(coalescer.push(&arena, whole.clone()), Err(Refused::Full));
    coalescer.clear();
    assert_eq!(coalescer.push(&arena, whole), Ok(()));
    assert_eq!(coalescer.items().count(), 1);
}

#[test]
fn nothing_joins_an_item_that_is_finished() {
    let mut arena = Vec::new();
    for packet in udp(Family::V4).cut(100) {
        arena.extend(packet.bytes(Checksum::Whole));
    }
    let len = arena.len() / 4;
    let mut coalescer = Coalescer::new(Limits::default());
    for i in 0..2 {
        coalescer.push(&arena, i * len..(i + 1) * len).unwrap();
    }
    coalescer.finish(&mut arena);
    for i in 2..4 {
        coalescer.push(&arena, i * len..(i + 1) * len).unwrap();
    }
    coalescer.finish(&mut arena);
    let counts: Vec<_> = coalescer.items().map(|(_, pieces)| pieces.len()).collect();
    assert_eq!(counts, [2, 2]);
}
